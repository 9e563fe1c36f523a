//! The one place that maps errors to HTTP: problem details (RFC 9457) with a stable code and a hint.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use revgauge_contract::{Classified, ErrorKind, error::Failure};
use serde::Serialize;

use crate::{
    access::{AccessError, UserError},
    reports::SavedError,
    sql::SqlError,
};

/// An error as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Problem {
    /// `about:blank`: the code says it all.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status in words.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Stable, for programs.
    pub code: &'static str,
    /// For people: what was wrong.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Seconds after which a repetition may help; also in `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

impl Problem {
    /// A problem without a hint.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            hint: None,
            retry_after_seconds: None,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with a time to wait.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds.max(1));
        self
    }

    /// A bad request.
    #[must_use]
    pub fn bad(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn status_of(kind: ErrorKind) -> (StatusCode, &'static str) {
    match kind {
        ErrorKind::User => (StatusCode::BAD_REQUEST, "bad_request"),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        ErrorKind::Limit => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        ErrorKind::External => (StatusCode::SERVICE_UNAVAILABLE, "source_failed"),
        ErrorKind::Data | ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

fn of_kind(kind: ErrorKind, message: String) -> Problem {
    let (status, code) = status_of(kind);
    if matches!(kind, ErrorKind::Data | ErrorKind::Internal) {
        tracing::error!(error = %message, "request failed inside");
        return Problem::new(status, code, "the server failed on this request")
            .hint("the log of the server says why; give the x-request-id of this answer when you ask");
    }
    let problem = Problem::new(status, code, message);
    if matches!(kind, ErrorKind::Limit | ErrorKind::External) {
        return problem.retry_after(1);
    }
    problem
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        of_kind(failure.kind, failure.message)
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        of_kind(error.kind(), error.to_string())
    }
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        of_kind(error.kind(), error.to_string())
    }
}

impl From<SavedError> for Problem {
    fn from(error: SavedError) -> Self {
        of_kind(error.kind(), error.to_string())
    }
}

impl From<SqlError> for Problem {
    fn from(error: SqlError) -> Self {
        let status = match error.code {
            "too_many_queries" => StatusCode::TOO_MANY_REQUESTS,
            "read_only" => StatusCode::FORBIDDEN,
            // Not 408: some clients send a request again on that by themselves.
            "memory_limit" | "row_limit" | "time_limit" => StatusCode::UNPROCESSABLE_ENTITY,
            _ => status_of(error.kind).0,
        };
        let mut problem = Self::new(status, error.code, error.message);
        problem.hint = error.hint;
        if error.code == "too_many_queries" {
            problem = problem.retry_after(1);
        }
        problem
    }
}
