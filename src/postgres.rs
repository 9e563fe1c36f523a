//! The PostgreSQL door of a server: its certificate, its socket, its task.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use revgauge_query_api::{Api, pg::PgDoor, settings::PostgresSettings};
use rustls::ServerConfig;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::tls;

/// Opens the door and serves it until told to stop; gives its address. `None` when it is off, or when its address is taken
/// and nothing but the default asked for it.
///
/// # Errors
/// The certificate cannot be read, or the address that the settings ask for cannot be had.
pub(crate) async fn open(
    api: &Arc<Api>,
    settings: &PostgresSettings,
    stop: &CancellationToken,
) -> Result<Option<(String, JoinHandle<()>)>> {
    if !settings.enabled {
        return Ok(None);
    }
    let tls = certificate(settings)?;
    let listener = match TcpListener::bind(&settings.listen).await {
        Ok(listener) => listener,
        Err(error) if settings.listen == PostgresSettings::default().listen => {
            tracing::warn!(%error, listen = settings.listen, "the PostgreSQL door stays shut: set 'api.postgres.listen'");
            return Ok(None);
        }
        Err(error) => {
            return Err(anyhow!(
                "cannot listen for PostgreSQL clients on '{}': {error}; choose another 'api.postgres.listen', or set \
                 'api.postgres.enabled = false'",
                settings.listen
            ));
        }
    };
    let address = listener.local_addr()?.to_string();
    let door = PgDoor::new(Arc::clone(api), Some(tls))?;
    let stopped = stop.clone();
    let serving = tokio::spawn(async move { door.serve(listener, stopped.cancelled_owned()).await });
    Ok(Some((address, serving)))
}

fn certificate(settings: &PostgresSettings) -> Result<Arc<ServerConfig>> {
    const PROTOCOLS: &[&[u8]] = &[b"postgresql"];
    match (&settings.tls_certificate, &settings.tls_key) {
        (Some(certificate), Some(key)) => tls::from_files(certificate, key, PROTOCOLS),
        (None, None) => tls::self_signed(PROTOCOLS),
        _ => Err(anyhow!(
            "'api.postgres.tls_certificate' and 'api.postgres.tls_key' go together: set both or none"
        )),
    }
}
