//! What every request passes: id, deadline, key, role, rate, parameters, a log line, a metric.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use revgauge_contract::{access::Caller, invariant::Invariant};

use super::{
    arguments::Arguments,
    doors::{self, Access, Door},
};
use crate::{
    access::{AuditAction, Oidc},
    api::Api,
    freshness::AS_OF,
    problem::Problem,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The outermost layer of every door.
pub(super) async fn guard(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let began = tokio::time::Instant::now();
    let method = request.method().clone();
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let door = path.as_deref().and_then(|path| doors::find(&method, path));
    let id = request_id(&api, request.headers());
    let uri_path = request.uri().path().to_owned();
    let identified = identify(&api, door, request.headers()).await;
    let known = identified.as_ref().ok().cloned().flatten();
    let admitted = identified
        .and_then(|caller| admit(&api, door, caller.as_ref(), request.uri()).map(|ok| (caller, ok)));
    let key_id = known.as_ref().map(|caller| Arc::clone(&caller.key_id));
    let mut response = match admitted {
        Err(problem) => problem.into_response(),
        Ok((caller, arguments)) => {
            let limit = time_limit(&api, &arguments);
            request.extensions_mut().insert(arguments);
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            match tokio::time::timeout(limit, next.run(request)).await {
                Ok(response) => response,
                Err(_) => Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "timeout",
                    format!("no answer within {} ms", limit.as_millis()),
                )
                .retry_after(1)
                .into_response(),
            }
        }
    };
    if let (Some(caller), Some(door)) = (&known, door) {
        note(&api, caller, door, &uri_path, response.status());
    }
    let name = path.as_deref().unwrap_or("unknown");
    check_freshness(door, &response);
    record(
        &method,
        name,
        response.status(),
        began.elapsed(),
        key_id.as_deref(),
        &id,
    );
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    // Answers are personal data of one tenant: no cache may keep them.
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// What of a request goes into the audit log. Queries are noted where their tables are known.
fn note(api: &Api, caller: &Caller, door: &Door, path: &str, status: StatusCode) {
    let action = match status {
        StatusCode::FORBIDDEN => AuditAction::Denied,
        status if !status.is_success() || door.path == "/v1/sql" || door.path.starts_with("/v1/queries") => {
            return;
        }
        _ if door.method != "GET" => AuditAction::Change,
        _ if door.shows_people() => AuditAction::Read,
        _ => return,
    };
    let object = if door.method == "GET" {
        path.to_owned()
    } else {
        format!("{} {path}", door.method)
    };
    api.audit.note(caller, action, "rest", &object, status.as_str());
}

/// The document of the doors and the metrics of the process are about no data.
fn check_freshness(door: Option<&Door>, response: &Response) {
    let about_data =
        |door: &&Door| door.access != Access::Open && !["/metrics", "/v1/openapi.json"].contains(&door.path);
    if let Some(door) = door.filter(about_data)
        && response.status().is_success()
        && !Invariant::AnswersSayHowFresh.check(response.headers().contains_key(AS_OF), door.path)
    {
        tracing::error!(path = door.path, "answer does not say how fresh it is");
    }
}

async fn identify(api: &Api, door: Option<&Door>, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    if door.is_some_and(|door| is_open(api, door)) {
        return Ok(None);
    }
    let refused = || {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "this needs a valid API key",
        )
        .hint("send 'Authorization: Bearer <key>'; 'revgauge keys create' makes one")
    };
    let key = key_of(headers).ok_or_else(refused)?;
    let caller = if Oidc::is_token(&key) {
        api.oidc.authenticate(&key).await
    } else {
        api.keys.authenticate_fresh(&key).await
    };
    caller.ok_or_else(refused).map(Some)
}

fn is_open(api: &Api, door: &Door) -> bool {
    door.access == Access::Open || (door.path == "/metrics" && !api.settings.http.metrics_need_key)
}

fn admit(api: &Api, door: Option<&Door>, caller: Option<&Caller>, uri: &Uri) -> Result<Arguments, Problem> {
    if let Some(caller) = caller
        && let Err(wait) = api.rates.check(caller)
    {
        let seconds = wait.as_secs() + 1;
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "this key makes more requests than it may",
        )
        .retry_after(seconds));
    }
    let Some(door) = door else {
        return Ok(Arguments::default());
    };
    if let Some(caller) = caller
        && !door.access.allows(caller.role)
    {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("{} {} needs {}", door.method, door.path, door.access.wording()),
        ));
    }
    if let Some(caller) = caller
        && let Some(scope) = door.scope()
        && !caller.has_scope(scope)
    {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "out_of_scope",
            format!(
                "{} {} is not among the scopes of this key",
                door.method, door.path
            ),
        )
        .hint("ask an administrator for a key with the scope that this needs"));
    }
    Arguments::read(door, uri)
}

/// Bearer, `x-api-key`, or Basic with the key as user name or password (what `curl -u` and old tools send).
fn key_of(headers: &HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(API_KEY) {
        return value.to_str().ok().map(str::to_owned);
    }
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        let (user, password) = pair.split_once(':')?;
        return Some(if password.is_empty() { user } else { password }.to_owned());
    }
    None
}

/// The caller's own id when it is short and plain, else ours.
fn request_id(api: &Api, headers: &HeaderMap) -> String {
    let plain = |text: &&str| {
        (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let given = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(plain);
    given.map_or_else(|| api.request_id(), str::to_owned)
}

fn time_limit(api: &Api, arguments: &Arguments) -> Duration {
    let wait = arguments
        .text("wait_seconds")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let wait = Duration::from_secs(wait.min(api.settings.feed.max_wait_seconds));
    // A query may ask for more time than a request has; it keeps its own limit.
    let own = api
        .settings
        .http
        .timeout_ms
        .max(api.settings.sql.max_timeout_ms + 1_000);
    Duration::from_millis(own) + wait
}

/// One line and two numbers a request; no secret, no body, no query string.
fn record(
    method: &Method,
    path: &str,
    status: StatusCode,
    took: Duration,
    key_id: Option<&str>,
    request_id: &str,
) {
    let labels = [
        ("method", method.as_str().to_owned()),
        ("path", path.to_owned()),
        ("status", status.as_u16().to_string()),
    ];
    metrics::counter!("revgauge_http_requests_total", &labels).increment(1);
    metrics::histogram!("revgauge_http_request_seconds", "path" => path.to_owned())
        .record(took.as_secs_f64());
    tracing::info!(
        %method,
        path,
        status = status.as_u16(),
        took_ms = took.as_secs_f64() * 1e3,
        key_id,
        request_id,
        "request answered"
    );
}
