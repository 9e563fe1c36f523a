//! Traces by OTLP: a receiver gets them, and a collector that is away is in nobody's way.
//!
//! The receiver is a small HTTP listener, not a collector: it keeps the protobuf bodies, in which names and routes stand as
//! plain text.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, routing::post};

use crate::process::Process;

type Bodies = Arc<Mutex<Vec<Bytes>>>;

async fn receiver() -> (String, Bodies) {
    let bodies = Bodies::default();
    let keep = |State(bodies): State<Bodies>, body: Bytes| async move {
        bodies.lock().expect("not poisoned").push(body);
    };
    let router = Router::new()
        .route("/v1/traces", post(keep))
        .with_state(Arc::clone(&bodies));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, bodies)
}

fn holds(bodies: &Bodies, text: &str) -> bool {
    let bodies = bodies.lock().expect("not poisoned");
    bodies
        .iter()
        .any(|body| body.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_gets_a_span_a_request_and_no_id_of_a_contact() {
    let (url, bodies) = receiver().await;
    let folder = tempfile::tempdir().expect("folder");
    let process = Process::start(
        folder.path(),
        &[
            ("REVGAUGE__TELEMETRY__OTLP__ENDPOINT", url.as_str()),
            ("REVGAUGE__TELEMETRY__OTLP__DELAY_MS", "20"),
        ],
    );
    assert_eq!(process.get("/v1/contacts/jo@acme.io/scores").await.0, 404);
    let started = Instant::now();
    while !holds(&bodies, "GET /v1/contacts/{id}/scores") {
        assert!(started.elapsed() < Duration::from_secs(20), "no span came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(holds(&bodies, "service.name") && holds(&bodies, "revgauge"));
    assert!(!holds(&bodies, "jo@acme.io"), "personal data in a trace");
    // What is asked last is sent before the process ends.
    assert_eq!(process.get("/v1/pipelines").await.0, 200);
    process.stop();
    assert!(holds(&bodies, "GET /v1/pipelines"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_delays_and_loses_nothing_but_traces() {
    let folder = tempfile::tempdir().expect("folder");
    let process = Process::start(
        folder.path(),
        &[
            ("REVGAUGE__TELEMETRY__OTLP__ENDPOINT", "http://127.0.0.1:9"),
            ("REVGAUGE__TELEMETRY__OTLP__QUEUE_SPANS", "2"),
            ("REVGAUGE__TELEMETRY__OTLP__TIMEOUT_MS", "300"),
        ],
    );
    for _ in 0..50 {
        assert_eq!(process.get("/v1/pipelines").await.0, 200);
    }
    process.stop();
}
