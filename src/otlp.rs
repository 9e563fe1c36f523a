//! Traces to an OpenTelemetry collector (OTLP over HTTP, protobuf): off unless an endpoint is set, and never in the way.
//!
//! Ended spans wait in a queue of fixed length; one task sends them in batches. When the collector is away or slow the
//! queue fills and further spans are dropped and counted, and the count is logged: no request waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, anyhow};
use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// Where traces go, and how many may wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OtlpSettings {
    /// Base URL of the collector's HTTP receiver, such as `http://127.0.0.1:4318`; empty exports nothing.
    pub(crate) endpoint: String,
    /// Ended spans that may wait; further ones are dropped and counted.
    pub(crate) queue_spans: usize,
    /// Most spans of one request.
    pub(crate) batch_spans: usize,
    /// Longest a span waits for its batch to fill.
    pub(crate) delay_ms: u64,
    /// Longest a request may take.
    pub(crate) timeout_ms: u64,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            queue_spans: 2_048,
            batch_spans: 512,
            delay_ms: 1_000,
            timeout_ms: 5_000,
        }
    }
}

/// A running export.
#[derive(Debug)]
pub(crate) struct TraceExport {
    provider: SdkTracerProvider,
    stop: CancellationToken,
    sending: JoinHandle<()>,
    patience: Duration,
}

impl TraceExport {
    /// Makes spans.
    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("revgauge")
    }

    /// Sends what waits, within one request's time.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        let abort = self.sending.abort_handle();
        if tokio::time::timeout(self.patience, self.sending).await.is_err() {
            abort.abort();
        }
    }
}

/// Starts the export when an endpoint is set.
///
/// # Errors
/// The endpoint is no URL of an HTTP server.
pub(crate) fn start(settings: &OtlpSettings) -> Result<Option<TraceExport>> {
    if settings.endpoint.is_empty() {
        return Ok(None);
    }
    let known = url::Url::parse(&settings.endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if !known {
        return Err(anyhow!(
            "cannot send traces to '{}' of telemetry.otlp.endpoint: write it as http://127.0.0.1:4318",
            settings.endpoint
        ));
    }
    let timeout = Duration::from_millis(settings.timeout_ms.max(1));
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", settings.endpoint.trim_end_matches('/')))
        .with_timeout(timeout)
        .build()
        .map_err(|error| anyhow!("cannot send traces to '{}': {error}", settings.endpoint))?;
    let resource = Resource::builder()
        .with_service_name("revgauge")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    exporter.set_resource(&resource);
    let (queue, waiting) = mpsc::channel(settings.queue_spans.max(1));
    let stop = CancellationToken::new();
    let dropped = Arc::new(AtomicU64::new(0));
    let sender = Sender {
        exporter,
        dropped: Arc::clone(&dropped),
        settings: settings.clone(),
    };
    let sending = tokio::spawn(sender.run(waiting, stop.clone()));
    let provider = SdkTracerProvider::builder()
        .with_span_processor(Queue { queue, dropped })
        .with_resource(resource)
        .build();
    Ok(Some(TraceExport {
        provider,
        stop,
        sending,
        patience: timeout + Duration::from_millis(100),
    }))
}

/// Hands ended spans to the task that sends them.
#[derive(Debug)]
struct Queue {
    queue: mpsc::Sender<SpanData>,
    dropped: Arc<AtomicU64>,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.queue.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends what the queue holds.
struct Sender {
    exporter: SpanExporter,
    dropped: Arc<AtomicU64>,
    settings: OtlpSettings,
}

impl Sender {
    async fn run(self, mut waiting: mpsc::Receiver<SpanData>, stop: CancellationToken) {
        let most = self.settings.batch_spans.max(1);
        let delay = Duration::from_millis(self.settings.delay_ms);
        let mut away = false;
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                received = waiting.recv_many(&mut batch, most) => if received == 0 { return },
                () = stop.cancelled() => {}
            }
            if batch.len() < most {
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = stop.cancelled() => {}
                }
            }
            while batch.len() < most
                && let Ok(span) = waiting.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            self.send(batch, &mut away).await;
        }
    }

    /// Sends one batch. A collector that is away for a day is one line in the log, and one when it is back.
    async fn send(&self, batch: Vec<SpanData>, away: &mut bool) {
        let spans = batch.len() as u64;
        let timeout = Duration::from_millis(self.settings.timeout_ms.max(1));
        let failure = match tokio::time::timeout(timeout, self.exporter.export(batch)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        let endpoint = self.settings.endpoint.as_str();
        if let Some(error) = failure {
            self.dropped.fetch_add(spans, Ordering::Relaxed);
            if !std::mem::replace(away, true) {
                tracing::warn!(error, endpoint, "traces cannot be sent and are dropped");
            }
        } else {
            *away = false;
            let dropped_spans = self.dropped.swap(0, Ordering::Relaxed);
            if dropped_spans > 0 {
                tracing::warn!(
                    dropped_spans,
                    endpoint,
                    "traces are sent again, those before were dropped"
                );
            }
        }
    }
}

/// One span a request at any door: method, route as written in the list of doors, status. No id, query or body is in it.
pub(crate) async fn traced(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unknown", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{} {route}", request.method()),
        otel.kind = "server",
        http.request.method = %request.method(),
        http.route = route,
        http.response.status_code = tracing::field::Empty,
    );
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}
