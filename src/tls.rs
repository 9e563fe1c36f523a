//! Certificates of the listening sockets: TLS 1.2 and 1.3 by rustls, from PEM files or made at start.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
};

/// The configuration of a socket whose certificate lies in two PEM files.
///
/// # Errors
/// A file cannot be read, or they do not fit together.
pub(crate) fn from_files(certificate: &Path, key: &Path, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read the certificate {}", certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read the private key {}", key.display()))?;
    configured(chain, key, protocols)
}

/// The configuration of a socket with a certificate of its own, which clients must not verify.
///
/// # Errors
/// The certificate cannot be made.
pub(crate) fn self_signed(protocols: &[&[u8]]) -> Result<Arc<ServerConfig>> {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    configured(vec![own.cert.der().clone()], PrivateKeyDer::Pkcs8(key), protocols)
}

fn configured(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the private key do not fit")?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}
