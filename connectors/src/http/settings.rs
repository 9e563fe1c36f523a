//! Settings of the HTTP doors: limits with their units, and which browsers may call.

use axum::http::{HeaderValue, Method};
use serde::{Deserialize, Serialize};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// Limits and habits of the HTTP doors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// Longest body as it comes over the wire, bytes; longer ones get 413.
    pub max_wire_bytes: usize,
    /// Longest body after decompression, bytes; longer ones get 413.
    pub max_body_bytes: usize,
    /// Most events in one request; more get 413.
    pub max_events: usize,
    /// Longest a client may take to send its body, milliseconds; then 408.
    pub body_timeout_ms: u64,
    /// Requests worked on at once over all keys; more get 503. Bounds memory to this times the body limits.
    pub max_in_flight: usize,
    /// Requests a second and key; 0 means no limit. More get 429.
    pub requests_per_second: u32,
    /// Events a second and key; 0 means no limit. More get 429. A burst of one second or one full request is let
    /// through, whichever is more.
    pub events_per_second: u32,
    /// What `Retry-After` says when a queue is full or the store fails, seconds.
    pub retry_after_s: u64,
    /// How far ahead of its receipt an event may lie, seconds.
    pub max_future_s: u32,
    /// Bodies above this are parsed on a blocking thread, bytes, so that they hold up no other request.
    pub inline_bytes: usize,
    /// A Segment client whose clock is off by less than this keeps its own times, milliseconds.
    ///
    /// Within it, a retry (same `messageId`, fresh `sentAt`) gives the very same event.
    pub clock_skew_tolerance_ms: u32,
    /// Origins whose browsers may call the Segment routes; `*` for all, empty for none.
    pub cors_allowed_origins: Vec<String>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            max_wire_bytes: 10 * 1024 * 1024,
            max_body_bytes: 10 * 1024 * 1024,
            max_events: 20_000,
            body_timeout_ms: 30_000,
            max_in_flight: 256,
            requests_per_second: 5_000,
            events_per_second: 500_000,
            retry_after_s: 1,
            max_future_s: 86_400,
            inline_bytes: 512 * 1024,
            clock_skew_tolerance_ms: 30_000,
            cors_allowed_origins: Vec::new(),
        }
    }
}

impl HttpSettings {
    /// Takes the rate limits away: for measuring.
    pub fn unlimited(&mut self) {
        self.requests_per_second = 0;
        self.events_per_second = 0;
    }
}

/// A setting that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpSettingsError {
    /// A limit of zero lets nothing in.
    #[error("cannot open the http doors: setting '{0}' is 0; give at least 1")]
    Zero(&'static str),
    /// An origin that is no header value.
    #[error(
        "cannot open the http doors: '{0}' in 'cors_allowed_origins' is no origin; write 'https://host[:port]' or '*'"
    )]
    Origin(String),
}

impl revgauge_contract::Classified for HttpSettingsError {
    fn kind(&self) -> revgauge_contract::ErrorKind {
        revgauge_contract::ErrorKind::User
    }
}

impl HttpSettings {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// A limit of zero, or an origin that is none.
    pub fn check(&self) -> Result<(), HttpSettingsError> {
        let limits = [
            ("max_wire_bytes", self.max_wire_bytes),
            ("max_body_bytes", self.max_body_bytes),
            ("max_events", self.max_events),
            ("max_in_flight", self.max_in_flight),
            ("body_timeout_ms", usize::from(self.body_timeout_ms > 0)),
        ];
        if let Some((name, _)) = limits.iter().find(|(_, limit)| *limit == 0) {
            return Err(HttpSettingsError::Zero(name));
        }
        match self.cors_allowed_origins.iter().find(|origin| !is_origin(origin)) {
            Some(origin) => Err(HttpSettingsError::Origin(origin.clone())),
            None => Ok(()),
        }
    }

    /// The layer that answers browsers; `None` when no origin may call.
    pub(crate) fn cors_layer(&self) -> Option<CorsLayer> {
        if self.cors_allowed_origins.is_empty() {
            return None;
        }
        let origins = if self.cors_allowed_origins.iter().any(|origin| origin == "*") {
            AllowOrigin::any()
        } else {
            let values = self.cors_allowed_origins.iter();
            AllowOrigin::list(values.filter_map(|origin| HeaderValue::from_str(origin).ok()))
        };
        // `Access-Control-Allow-Headers: *` does not cover `Authorization`, so the asked ones are mirrored.
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::POST])
            .allow_headers(AllowHeaders::mirror_request())
            .max_age(std::time::Duration::from_secs(86_400));
        Some(layer)
    }
}

fn is_origin(text: &str) -> bool {
    text == "*"
        || (url::Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text)
            && HeaderValue::from_str(text).is_ok())
}
