//! What every page request passes: session, same origin, headers that lock the page down.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use revgauge_contract::Timestamp;

use super::{
    form::{Pairs, encode},
    layout::Oops,
    session::Session,
    visit::Visit,
};
use crate::{access::AuditAction, api::Api, problem::Problem};

const COOKIE: &str = "revgauge_session";

/// With it the page's script says of when a change is that it asks again for, microseconds.
const SINCE: &str = "x-revgauge-since";

/// Nothing but our own files; no script in the page itself; nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Lets signed-in people through; sends the others to sign in.
pub(super) async fn gate(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    match enter(&api, &request) {
        Ok(Some(visit)) => {
            let caller = visit.session.caller.clone();
            let changes = request.method() != Method::GET;
            let path = visit.path.clone();
            request.extensions_mut().insert(visit);
            let response = next.run(request).await;
            // What a page reads is noted query by query.
            let action = match response.status() {
                StatusCode::FORBIDDEN => Some(AuditAction::Denied),
                status if changes && !status.is_client_error() && !status.is_server_error() => {
                    Some(AuditAction::Change)
                }
                _ => None,
            };
            if let Some(action) = action {
                let status = response.status();
                api.audit.note(&caller, action, "web", &path, status.as_str());
            }
            response
        }
        Ok(None) => {
            let wanted = request
                .uri()
                .path_and_query()
                .map_or("/ui/", |path| path.as_str());
            Redirect::to(&format!("/ui/sign-in?next={}", encode(wanted))).into_response()
        }
        Err(problem) => Oops(problem).into_response(),
    }
}

/// For pages that score changes make fetch themselves again, and that may so show an answer from before for a moment.
pub(super) async fn fetches_itself_again(mut request: Request, next: Next) -> Response {
    if let Some(visit) = request.extensions_mut().get_mut::<Visit>() {
        visit.fetches_itself_again = true;
    }
    next.run(request).await
}

fn enter(api: &Arc<Api>, request: &Request) -> Result<Option<Visit>, Problem> {
    let Some(session) = session_of(api, request.headers()) else {
        return Ok(None);
    };
    if request.method() != Method::GET {
        same_origin(request.headers())?;
    }
    let pairs = Pairs::of_uri(request.uri())?;
    let path = request.uri().path().to_owned();
    let mut visit = Visit::new(Arc::clone(api), session, path, pairs)?;
    // From our own script; what it cannot have sent is ignored.
    let since = request.headers().get(SINCE).and_then(|value| value.to_str().ok());
    visit.since = since
        .and_then(|since| since.parse().ok())
        .map(Timestamp)
        .filter(|since| *since <= visit.now);
    Ok(Some(visit))
}

/// The session of a cookie, if its key or user is still good.
fn session_of(api: &Api, headers: &HeaderMap) -> Option<Session> {
    let session = api.web.find(&cookie(headers)?, api.clock.now())?;
    session.is_good(api).then_some(session)
}

/// Browsers say where a form comes from; another site's is refused before its token is looked at.
pub(super) fn same_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text(HeaderName::from_static("sec-fetch-site"));
    let foreign_site = site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let origin_host =
        text(header::ORIGIN).map(|origin| origin.split_once("://").map_or("", |(_, host)| host));
    let foreign_origin = origin_host.is_some_and(|host| Some(host) != text(header::HOST));
    if foreign_site || foreign_origin {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "foreign_form",
            "this form was sent from another site",
        ));
    }
    Ok(())
}

/// The token in the request's cookie.
pub(super) fn cookie(headers: &HeaderMap) -> Option<String> {
    named_cookie(headers, COOKIE)
}

/// The value of a cookie.
pub(super) fn named_cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
        .map(str::to_owned)
}

/// The cookie of a session; an empty token removes it. Sent over plain HTTP only to this very machine.
pub(super) fn set_cookie(headers: &HeaderMap, token: &str, seconds: u64) -> HeaderValue {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let local = ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| {
        host.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    });
    let secure = if local { "" } else { "; Secure" };
    let text = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// Headers of every answer of the dashboards.
pub(super) async fn lock_down(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
