//! The PostgreSQL door of the real executable: SCRAM inside TLS, with the certificate that the settings name.

use std::sync::Arc;

use revgauge_testkit::wire::Wire;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde_json::json;

use crate::process::Process;

/// An address nobody listens on at the moment.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_over_tls_proves_both_sides() {
    let folder = tempfile::tempdir().expect("folder");
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.path().join("own.pem"), folder.path().join("own.key"));
    std::fs::write(&certificate, own.cert.pem()).expect("written");
    std::fs::write(&key, own.signing_key.serialize_pem()).expect("written");
    let address = free_address();
    let process = Process::start(
        folder.path(),
        &[
            ("REVGAUGE__API__POSTGRES__LISTEN", &address),
            (
                "REVGAUGE__API__POSTGRES__TLS_CERTIFICATE",
                certificate.to_str().expect("UTF-8"),
            ),
            ("REVGAUGE__API__POSTGRES__TLS_KEY", key.to_str().expect("UTF-8")),
        ],
    );
    let event = json!({"event_id": "a", "type": "email.replied", "email": "jo@acme.io"}).to_string();
    let (status, _) = process
        .post("/v1/events", "application/x-ndjson", event.into_bytes())
        .await
        .expect("answered");
    assert_eq!(status, 200);
    let body = json!({"role": "revops", "name": "psql"}).to_string();
    let (status, made) = process
        .post("/v1/keys", "application/json", body.into_bytes())
        .await
        .expect("answered");
    assert!((200..300).contains(&status), "{made}");
    let secret = made["secret"].as_str().expect("shown once");
    let user = made["key"]["key_id"].as_str().expect("an id");
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).expect("a root");
    let trusting = |roots: RootCertStore| {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Some(Arc::new(config))
    };
    let mut wire = Wire::open(&address, trusting(roots.clone()), user, secret)
        .await
        .expect("connects")
        .expect("lets in");
    let reply = wire.query("select email from events").await.expect("answered");
    assert_eq!(
        (reply.refusal.clone(), reply.texts()),
        (None, vec![vec!["jo@acme.io".to_owned()]])
    );
    assert!(
        Wire::connect(&address, trusting(RootCertStore::empty()))
            .await
            .is_err(),
        "another certificate would not do"
    );
    let refused = Wire::open(&address, trusting(roots), user, "rg_live_x_y")
        .await
        .expect("connects");
    assert_eq!(refused.expect_err("a wrong key").code, "28P01");
    process.stop();
}
