//! `revgauge serve`: a node behind a listening socket, until it is told to stop.

use std::{
    io::{ErrorKind, Write},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, anyhow};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::ServeArgs,
    commands::Context,
    flight, postgres, privacy,
    run_file::RunningServer,
    settings::Settings,
    signals::{Signal, Signals},
    tls,
    wire::{Node, Purpose},
};

/// Runs the server until Ctrl-C or SIGTERM.
///
/// # Errors
/// The address or the store cannot be had, or the last flush failed.
pub(crate) async fn run(mut context: Context, args: ServeArgs) -> Result<()> {
    if let Some(listen) = args.listen {
        context.settings.server.listen = listen;
    }
    // From the first moment: a supervisor may stop a server that has only just said that it listens, or not even that.
    let mut signals = Signals::listen()?;
    while let Ended::ForRound = run_once(&mut context.settings, &mut signals).await? {}
    Ok(())
}

/// Why a server ended.
enum Ended {
    Stopped,
    /// To take words past their retention off a store at rest; it begins again at once.
    ForRound,
}

async fn run_once(settings: &mut Settings, signals: &mut Signals) -> Result<Ended> {
    let server = {
        let settings = settings.clone();
        // A task of its own, so that what keeps a core busy while the store opens does not hold the signal up.
        let mut starting = tokio::spawn(async move { Server::start(&settings).await });
        tokio::select! {
            started = &mut starting => started??,
            () = signals.stop() => {
                starting.abort();
                say("stopped before it listened; what was acknowledged is in the journal");
                return Ok(Ended::Stopped);
            }
        }
    };
    // Should it begin again, clients find it where it was.
    if let Some((_, address)) = server.url().split_once("://") {
        address.clone_into(&mut settings.server.listen);
    }
    say(&format!("listening on {}  (Ctrl-C stops)", server.url()));
    if let Some((address, _)) = &server.postgres {
        say(&format!(
            "PostgreSQL clients: {address}, user = key id, password = the key"
        ));
    }
    if let Some((address, _)) = &server.flight {
        say(&format!(
            "Arrow Flight SQL clients: grpc+tls://{address}, bearer = the key"
        ));
    }
    say(&format!(
        "assistants (MCP): {}/mcp, bearer = the key",
        server.url()
    ));
    let ended = tokio::select! {
        () = until_stopped(settings, &server, signals) => Ended::Stopped,
        () = round(privacy::until_round(settings).await?) => Ended::ForRound,
    };
    match ended {
        Ended::Stopped => say("stopping: open requests end, what is buffered is written"),
        Ended::ForRound => say("the doors are closed for a moment: words past their retention go"),
    }
    server.stop().await?;
    Ok(ended)
}

/// Waits for the next round; for ever when there is none.
async fn round(wait: Option<Duration>) {
    match wait {
        Some(wait) => {
            let _ = tokio::time::timeout(wait, std::future::pending::<()>()).await;
        }
        None => std::future::pending().await,
    }
}

/// Waits for the signal to stop; at each SIGHUP meanwhile the definition files are read again.
async fn until_stopped(settings: &Settings, server: &Server, signals: &mut Signals) {
    while let Signal::Reload = signals.next().await {
        match server.node().reload_definitions(settings).await {
            Ok(true) => say("definitions read again: everything is scored with them"),
            Ok(false) => say("definitions read again: nothing is different"),
            Err(error) => tracing::error!("definitions are not taken, those in force stay: {error:#}"),
        }
    }
}

/// Prints a line; a reader that has gone away is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn cannot_listen(listen: &str, error: &std::io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there; stop it, or choose another address with --listen"
        }
        ErrorKind::InvalidInput => "write it as HOST:PORT, such as 127.0.0.1:8780",
        ErrorKind::PermissionDenied => "ports below 1024 are for privileged users; choose another",
        _ => "use an address of this machine, such as 127.0.0.1:8780",
    };
    format!("cannot listen on '{listen}': {error}; {advice}")
}

/// The certificate of the HTTP doors, when there is one.
fn tls_of(server: &crate::settings::Server) -> Result<Option<Arc<rustls::ServerConfig>>> {
    match (&server.tls_certificate, &server.tls_key) {
        (Some(certificate), Some(key)) => tls::from_files(certificate, key, &[b"h2", b"http/1.1"]).map(Some),
        (None, None) => Ok(None),
        _ => Err(anyhow!(
            "'server.tls_certificate' and 'server.tls_key' go together: set both or none"
        )),
    }
}

fn serve_tls(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    node: &Node,
    stop: &CancellationToken,
    grace: Duration,
) -> Result<JoinHandle<std::io::Result<()>>> {
    let handle = axum_server::Handle::new();
    let (stopped, ending) = (stop.clone(), handle.clone());
    tokio::spawn(async move {
        stopped.cancelled().await;
        ending.graceful_shutdown(Some(grace));
    });
    let config = axum_server::tls_rustls::RustlsConfig::from_config(config);
    let server = axum_server::from_tcp_rustls(listener.into_std()?, config).handle(handle);
    let router = node.router();
    Ok(tokio::spawn(server.serve(router.into_make_service())))
}

/// A node that listens.
#[derive(Debug)]
pub(crate) struct Server {
    node: Node,
    url: String,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    postgres: Option<(String, JoinHandle<()>)>,
    flight: Option<(String, JoinHandle<()>)>,
    grace: Duration,
}

impl Server {
    /// Opens the store, binds the address and serves.
    ///
    /// # Errors
    /// The address is taken, or the store cannot be opened.
    pub(crate) async fn start(settings: &Settings) -> Result<Self> {
        let listen = &settings.server.listen;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| anyhow!(cannot_listen(listen, &error)))?;
        let tls = tls_of(&settings.server)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        Box::pin(privacy::run_waiting(settings)).await?;
        Box::pin(privacy::run_when_due(settings)).await?;
        let node = Node::open(settings, Purpose::Serve).await?;
        node.announce(&RunningServer {
            url: url.clone(),
            pid: std::process::id(),
            operator_secret: node.operator_secret().to_owned(),
        })?;
        let stop = CancellationToken::new();
        let postgres = postgres::open(node.api(), &settings.api.postgres, &stop).await?;
        let flight = flight::open(node.api(), &settings.api.flight, &stop).await?;
        let grace = Duration::from_millis(settings.server.shutdown_grace_ms);
        let serving = match tls {
            None => {
                let (router, stopped) = (node.router(), stop.clone());
                tokio::spawn(async move {
                    axum::serve(listener, router.into_make_service())
                        .with_graceful_shutdown(async move { stopped.cancelled().await })
                        .await
                })
            }
            Some(config) => serve_tls(listener, config, &node, &stop, grace)?,
        };
        Ok(Self {
            node,
            url,
            stop,
            serving,
            postgres,
            flight,
            grace,
        })
    }

    /// Base URL of the doors.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The node behind the doors.
    pub(crate) const fn node(&self) -> &Node {
        &self.node
    }

    /// Ends open requests within the grace, then writes what is buffered.
    ///
    /// # Errors
    /// What the last flush met.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        let abort = self.serving.abort_handle();
        if tokio::time::timeout(self.grace, self.serving).await.is_err() {
            abort.abort();
        }
        for (_, serving) in [self.postgres, self.flight].into_iter().flatten() {
            let _ = tokio::time::timeout(self.grace, serving).await;
        }
        self.node.close(self.grace).await
    }
}
