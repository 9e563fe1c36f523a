//! The Arrow Flight SQL door of a server: its certificate, its socket, its task.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use revgauge_query_api::{Api, flight::FlightDoor, settings::FlightSettings};
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
    settings: &FlightSettings,
    stop: &CancellationToken,
) -> Result<Option<(String, JoinHandle<()>)>> {
    if !settings.enabled {
        return Ok(None);
    }
    let tls = match (&settings.tls_certificate, &settings.tls_key) {
        (Some(certificate), Some(key)) => tls::from_files(certificate, key, &[b"h2"])?,
        (None, None) => tls::self_signed(&[b"h2"])?,
        _ => {
            return Err(anyhow!(
                "'api.flight.tls_certificate' and 'api.flight.tls_key' go together: set both or none"
            ));
        }
    };
    let listener = match TcpListener::bind(&settings.listen).await {
        Ok(listener) => listener,
        Err(error) if settings.listen == FlightSettings::default().listen => {
            tracing::warn!(%error, listen = settings.listen, "the Flight SQL door stays shut: set 'api.flight.listen'");
            return Ok(None);
        }
        Err(error) => {
            return Err(anyhow!(
                "cannot listen for Flight SQL clients on '{}': {error}; choose another 'api.flight.listen', or set \
                 'api.flight.enabled = false'",
                settings.listen
            ));
        }
    };
    let address = listener.local_addr()?.to_string();
    let door = FlightDoor::new(Arc::clone(api), tls);
    let stopped = stop.clone();
    let serving = tokio::spawn(async move {
        if let Err(error) = door.serve(listener, stopped.cancelled_owned()).await {
            tracing::error!(%error, "the Flight SQL door ended");
        }
    });
    Ok(Some((address, serving)))
}
