//! The PostgreSQL door of a server: its certificate, its socket, its task.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use revgauge_query_api::{Api, pg::PgDoor, settings::PostgresSettings};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

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
    let tls = tls(settings)?;
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

fn tls(settings: &PostgresSettings) -> Result<Arc<ServerConfig>> {
    let (chain, key) = match (&settings.tls_certificate, &settings.tls_key) {
        (Some(certificate), Some(key)) => {
            let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect)
                .with_context(|| format!("cannot read the certificate {}", certificate.display()))?;
            let key = PrivateKeyDer::from_pem_file(key)
                .with_context(|| format!("cannot read the private key {}", key.display()))?;
            (chain, key)
        }
        (None, None) => {
            let own = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
            let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
            (vec![own.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
        }
        _ => {
            return Err(anyhow!(
                "'api.postgres.tls_certificate' and 'api.postgres.tls_key' go together: set both or none"
            ));
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the private key do not fit")?;
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Arc::new(config))
}
