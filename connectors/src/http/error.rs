//! Why a whole request is turned away, and how that looks at each door.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use revgauge_contract::{Classified, ErrorKind, error::Failure};

/// A request that is turned away whole.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum DoorError {
    #[error(
        "no api key came with the request; send 'Authorization: Bearer <key>', or make one with 'revgauge keys create'"
    )]
    NoKey,
    #[error("the api key is not known; make one with 'revgauge keys create'")]
    UnknownKey,
    #[error("the api key may read but not send events; use one of role 'service' or 'admin'")]
    ReadOnlyKey,
    #[error("the api key may not send history; use one of role 'admin', or leave '?history=true' out")]
    NoHistory,
    #[error("this address takes POST only")]
    OnlyPost,
    #[error("the body is longer than {limit_bytes} bytes; send the events in smaller batches")]
    TooLong { limit_bytes: usize },
    #[error("the request holds more than {limit} events; send them in smaller batches")]
    TooMany { limit: usize },
    #[error("cannot read content-encoding '{0}'; use gzip, deflate, zstd or none")]
    UnknownEncoding(String),
    #[error("cannot decompress the body as '{encoding}': {detail}")]
    BrokenEncoding { encoding: &'static str, detail: String },
    #[error("the body did not arrive within {timeout_ms} ms")]
    Slow { timeout_ms: u64 },
    #[error("the body broke off: {0}")]
    Cut(String),
    #[error("the body is empty; send one json object, an array of them or one a line")]
    Empty,
    #[error("too many {what} with this key; retry after {retry_after_s} s")]
    Rate { what: &'static str, retry_after_s: u64 },
    #[error("too many requests are being worked on; retry after {retry_after_s} s")]
    Busy { retry_after_s: u64 },
    #[error("cannot take the events in: {failure}")]
    Intake { failure: Failure, retry_after_s: u64 },
    #[error("cannot keep the refused events: {failure}; send the request again, nothing is counted twice")]
    Letters { failure: Failure, retry_after_s: u64 },
    #[error("the work on the request was lost: {0}")]
    Lost(String),
}

impl DoorError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoKey | Self::UnknownKey => StatusCode::UNAUTHORIZED,
            Self::ReadOnlyKey | Self::NoHistory => StatusCode::FORBIDDEN,
            Self::OnlyPost => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLong { .. } | Self::TooMany { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnknownEncoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BrokenEncoding { .. } | Self::Cut(_) | Self::Empty => StatusCode::BAD_REQUEST,
            Self::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Rate { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Intake { failure, .. } | Self::Letters { failure, .. } => match failure.kind {
                ErrorKind::Limit => StatusCode::TOO_MANY_REQUESTS,
                ErrorKind::External => StatusCode::SERVICE_UNAVAILABLE,
                ErrorKind::User | ErrorKind::NotFound | ErrorKind::Data | ErrorKind::Internal => {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
            },
            Self::Lost(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoKey => "missing_key",
            Self::UnknownKey => "unknown_key",
            Self::ReadOnlyKey => "read_only_key",
            Self::NoHistory => "no_history",
            Self::OnlyPost => "method_not_allowed",
            Self::TooLong { .. } => "body_too_long",
            Self::TooMany { .. } => "too_many_events",
            Self::UnknownEncoding(_) => "unknown_encoding",
            Self::BrokenEncoding { .. } => "broken_encoding",
            Self::Slow { .. } => "body_too_slow",
            Self::Cut(_) => "body_cut",
            Self::Empty => "empty_body",
            Self::Rate { .. } => "too_many_requests",
            Self::Busy { .. } => "busy",
            Self::Intake { .. } => "intake_failed",
            Self::Letters { .. } => "dead_letters_failed",
            Self::Lost(_) => "internal",
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Rate { retry_after_s, .. }
            | Self::Busy { retry_after_s }
            | Self::Intake { retry_after_s, .. }
            | Self::Letters { retry_after_s, .. } => Some(*retry_after_s),
            _ => None,
        }
    }

    /// The native form: `application/problem+json` (RFC 9457).
    pub(crate) fn into_problem(self) -> Response<Body> {
        let status = self.status();
        let body = serde_json::json!({
            "type": format!("urn:revgauge:problem:{}", self.code()),
            "title": status.canonical_reason().unwrap_or("error"),
            "status": status.as_u16(),
            "code": self.code(),
            "detail": self.to_string(),
        });
        self.dress(body.to_string(), "application/problem+json")
    }

    /// The form that Segment's and RudderStack's SDKs read: an object with `code` and `message`.
    pub(crate) fn into_segment(self) -> Response<Body> {
        let body = serde_json::json!({ "code": self.code(), "message": self.to_string() });
        self.dress(body.to_string(), "application/json")
    }

    fn dress(&self, body: String, content_type: &'static str) -> Response<Body> {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"revgauge\""),
            );
        }
        if matches!(self, Self::OnlyPost) {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

impl Classified for DoorError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Rate { .. } | Self::Busy { .. } => ErrorKind::Limit,
            Self::Slow { .. } => ErrorKind::External,
            Self::Intake { failure, .. } | Self::Letters { failure, .. } => failure.kind,
            Self::Lost(_) => ErrorKind::Internal,
            _ => ErrorKind::User,
        }
    }
}
