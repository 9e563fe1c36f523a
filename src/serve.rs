//! `revgauge serve`: a node behind a listening socket, until it is told to stop.

use std::{
    io::{ErrorKind, Write},
    time::Duration,
};

use anyhow::{Result, anyhow};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::ServeArgs,
    commands::Context,
    postgres,
    run_file::RunningServer,
    settings::Settings,
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
    let server = Server::start(&context.settings).await?;
    say(&format!("listening on {}  (Ctrl-C stops)", server.url()));
    if let Some((address, _)) = &server.postgres {
        say(&format!(
            "PostgreSQL clients: {address}, user = key id, password = the key"
        ));
    }
    stop_signal().await?;
    say("stopping: open requests end, what is buffered is written");
    server.stop().await
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

/// Waits for Ctrl-C or SIGTERM.
///
/// # Errors
/// The signals cannot be listened for.
pub(crate) async fn stop_signal() -> Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            done = tokio::signal::ctrl_c() => done?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// A node that listens.
#[derive(Debug)]
pub(crate) struct Server {
    node: Node,
    url: String,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    postgres: Option<(String, JoinHandle<()>)>,
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
        let url = format!("http://{}", listener.local_addr()?);
        let node = Node::open(settings, Purpose::Serve).await?;
        node.announce(&RunningServer {
            url: url.clone(),
            pid: std::process::id(),
            operator_secret: node.operator_secret().to_owned(),
        })?;
        let stop = CancellationToken::new();
        let postgres = postgres::open(node.api(), &settings.api.postgres, &stop).await?;
        let (router, stopped) = (node.router(), stop.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, router.into_make_service())
                .with_graceful_shutdown(async move { stopped.cancelled().await })
                .await
        });
        let grace = Duration::from_millis(settings.server.shutdown_grace_ms);
        Ok(Self {
            node,
            url,
            stop,
            serving,
            postgres,
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
        if let Some((_, serving)) = self.postgres {
            let _ = tokio::time::timeout(self.grace, serving).await;
        }
        self.node.close(self.grace).await
    }
}
