//! From addresses to pages.

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    http::StatusCode,
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use tower_http::{CompressionLevel, catch_panic::CatchPanicLayer, compression::CompressionLayer};

use super::{
    accuracy, admin,
    asset::{ICON, SCRIPT, STYLE},
    audit, coaching, data, deal, deals, definitions, forecast,
    gate::{fetches_itself_again, gate, lock_down},
    layout::Oops,
    leads, live, moves, oidc, outlook, people, reports, saved, sign_in, team, what_if, workbench,
};
use crate::{api::Api, problem::Problem};

/// Pages under `/ui/`, and `/` that leads there. It has no fallback of its own.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let live_pages = Router::new()
        .route("/ui/forecast", get(forecast::forecast))
        .route("/ui/deals", get(deals::deals))
        .route("/ui/deals/{id}", get(deal::deal))
        .route("/ui/leads", get(leads::leads))
        .route("/ui/accounts", get(people::accounts))
        .route("/ui/accounts/{id}", get(people::account))
        .route("/ui/contacts", get(people::contacts))
        .route("/ui/contacts/{id}", get(people::contact))
        .route("/ui/team", get(team::team))
        .route("/ui/coaching", get(coaching::coaching))
        .route("/ui/tv", get(team::tv))
        .route("/ui/data", get(data::data))
        .route_layer(from_fn(fetches_itself_again));
    let pages = Router::new()
        .route("/ui/", get(async || Redirect::to("/ui/forecast")))
        .route("/ui/forecast/model", get(outlook::model))
        .route("/ui/forecast/moves", get(moves::moves))
        .route("/ui/forecast/fan", get(outlook::fan))
        .route("/ui/forecast/math", get(outlook::math))
        .route("/ui/forecast/what-if", get(what_if::what_if))
        .route("/ui/accuracy", get(accuracy::accuracy))
        .route("/ui/accuracy/methods", get(accuracy::methods))
        .route("/ui/accuracy/reliability", get(accuracy::reliability))
        .route("/ui/leads/answer", post(leads::answer))
        .route("/ui/coaching/skills", get(coaching::skills))
        .route("/ui/coaching/priorities", get(coaching::priorities))
        .route("/ui/reports", get(reports::reports))
        .route("/ui/reports/{name}", get(reports::report))
        .route("/ui/saved", get(saved::list).post(saved::save))
        .route("/ui/saved/{id}", get(saved::one))
        .route("/ui/saved/{id}/schedule", post(saved::schedule))
        .route("/ui/saved/{id}/send", post(saved::send))
        .route("/ui/saved/{id}/remove", post(saved::remove))
        .route("/ui/sql", get(workbench::workbench))
        .route("/ui/sql.csv", get(workbench::csv))
        .route("/ui/admin", get(admin::admin))
        .route("/ui/admin/audit", get(audit::audit))
        .route("/ui/admin/definitions/{name}", get(definitions::definition))
        .route("/ui/admin/definitions/{name}/try", post(definitions::try_out))
        .route("/ui/admin/definitions/{name}/publish", post(definitions::publish))
        .route("/ui/admin/keys", post(admin::make_key))
        .route("/ui/admin/keys/revoke", post(admin::revoke_key))
        .route("/ui/admin/users", post(admin::make_user))
        .route("/ui/admin/users/end", post(admin::end_user))
        .route("/ui/sign-out", post(sign_in::leave))
        .route("/ui/{*rest}", get(nowhere))
        .merge(live_pages)
        // A page is made for one reader: its packing costs more of the server than a third more bytes cost the line.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .route("/ui/live", get(live::live))
        .layer(from_fn_with_state(Arc::clone(&api), gate));
    let open = Router::new()
        .route("/", get(async || Redirect::to("/ui/forecast")))
        .route("/ui", get(async || Redirect::to("/ui/forecast")))
        .route("/ui/sign-in", get(sign_in::form).post(sign_in::enter))
        .route("/ui/oidc/start", get(oidc::start))
        .route("/ui/oidc/callback", get(oidc::callback))
        .route(STYLE.path, get(|query| STYLE.answer(query)))
        .route(SCRIPT.path, get(|query| SCRIPT.answer(query)))
        .route(ICON.path, get(|query| ICON.answer(query)))
        .layer(CompressionLayer::new());
    pages
        .merge(open)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(axum::extract::DefaultBodyLimit::max(
            api.settings.http.max_body_bytes,
        ))
        .layer(from_fn(lock_down))
        .with_state(api)
}

async fn nowhere(uri: axum::http::Uri) -> Oops {
    let path: String = uri.path().chars().take(80).collect();
    Oops(Problem::new(
        StatusCode::NOT_FOUND,
        "unknown_page",
        format!("there is no page '{path}'"),
    ))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that the panic layer calls"
)]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no text");
    tracing::error!(panic = text, "page handler panicked");
    Oops(Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "the server failed on this page; its log says why",
    ))
    .into_response()
}
