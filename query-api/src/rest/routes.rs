//! From doors to handlers.

use std::{any::Any, sync::Arc};

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, Path, State},
    http::{Method, StatusCode, Uri},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, post},
};
use revgauge_contract::{access::Caller, score::EntityKind};
use tower_http::{catch_panic::CatchPanicLayer, compression::CompressionLayer};

use super::{
    alerts, arguments::Arguments, audit, briefing, dead_letters, deal, doors, duplicates, entity, feed,
    forecast, guard::guard, keys, lists, metrics, models, openapi, operations, privacy, queries, reports,
    saved, texts, users,
};
use crate::{api::Api, assistant, problem::Problem, sql::post_sql};

/// Builds the router.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let mut routes = Router::new();
    for (plural, kind) in [
        ("contacts", EntityKind::Contact),
        ("accounts", EntityKind::Account),
        ("deals", EntityKind::Deal),
    ] {
        routes = entity_routes(routes, plural, kind);
    }
    routes
        .route("/v1/deals/{id}/stakeholders", get(deal::stakeholders))
        .route("/v1/accounts/duplicates", get(duplicates::duplicates))
        .route("/v1/scores", get(lists::queue))
        .route("/v1/alerts", get(alerts::alerts))
        .route("/v1/text-signals", get(texts::text_signals))
        .route("/v1/briefing", get(briefing::briefing))
        .route("/v1/compliance", get(texts::compliance))
        .route("/v1/score-feed", get(feed::long_poll))
        .route("/v1/score-feed/stream", get(feed::stream))
        .route("/v1/reports", get(reports::list))
        .route("/v1/reports/{name}", get(reports::one))
        .route("/v1/waterfall", get(reports::waterfall))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{target}/card", get(models::card))
        .route("/v1/models/{target}/train", post(models::train))
        .route("/v1/models/{target}/promote", post(models::promote))
        .route("/v1/models/{target}/rollback", post(models::rollback))
        .route("/v1/models/{target}/shadow", post(models::shadow))
        .route("/v1/models/{target}/compare", get(models::compare))
        .route("/v1/models/{target}/drift", get(models::drift))
        .route("/v1/forecast", get(forecast::forecast).post(forecast::what_if))
        .route("/v1/forecast/nodes", get(forecast::by_node))
        .route("/v1/metrics", get(metrics::list))
        .route("/v1/metrics/{name}", get(metrics::one))
        .route("/v1/sql", post(post_sql))
        .route("/v1/queries", post(queries::start))
        .route("/v1/queries/{id}", get(queries::look).delete(queries::forget))
        .route("/v1/queries/{id}/result", get(queries::result))
        .route_service(assistant::PATH, assistant::service(&api))
        .route("/v1/data-health", get(operations::data_health))
        .route("/v1/pipelines", get(operations::pipelines))
        .route("/v1/pipelines/{name}", get(operations::pipeline))
        .route("/v1/pipelines/verify", post(operations::verify))
        .route(
            "/v1/dead-letters",
            get(operations::dead_letters).post(dead_letters::keep),
        )
        .route("/v1/dead-letters/replay", post(operations::replay))
        .route("/v1/keys", get(keys::list).post(keys::create))
        .route("/v1/keys/{key_id}", delete(keys::revoke))
        .route("/v1/keys/{key_id}/rotate", post(keys::rotate))
        .route("/v1/users", get(users::list).post(users::create))
        .route("/v1/users/{login}", delete(users::end))
        .route("/v1/audit-log", get(audit::log))
        .route("/v1/privacy/export", get(privacy::export))
        .route("/v1/privacy/erasures", get(privacy::list).post(privacy::request))
        .route("/v1/sign-in-links", post(users::sign_in_link))
        .route("/v1/saved-reports", get(saved::list).post(saved::save))
        .route(
            "/v1/saved-reports/{report_id}",
            get(saved::one).delete(saved::remove),
        )
        .route("/v1/saved-reports/{report_id}/schedule", post(saved::schedule))
        .route("/v1/saved-reports/{report_id}/deliveries", post(saved::send))
        .route("/v1/openapi.json", get(openapi::document))
        .route("/health/live", get(operations::live))
        .route("/health/ready", get(operations::ready))
        .route("/metrics", get(operations::metrics))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(&api), guard))
        .layer(DefaultBodyLimit::max(api.settings.http.max_body_bytes))
        .layer(CompressionLayer::new())
        .with_state(api)
}

type Routes = Router<Arc<Api>>;
type EntityArguments = (
    State<Arc<Api>>,
    Extension<Caller>,
    Extension<Arguments>,
    Path<String>,
);

/// The doors that contacts, accounts and deals share.
fn entity_routes(routes: Routes, plural: &str, kind: EntityKind) -> Routes {
    let path = |rest: &str| format!("/v1/{plural}{rest}");
    routes
        .route(
            &path(""),
            get(
                move |State(api), Extension(caller): Extension<Caller>, Extension(arguments)| {
                    lists::objects(api, caller, arguments, kind)
                },
            ),
        )
        .route(&path("/{id}"), of_entity(kind, entity::object))
        .route(&path("/{id}/scores"), of_entity(kind, entity::scores))
        .route(&path("/{id}/scores/history"), of_entity(kind, entity::history))
        .route(&path("/{id}/explain"), of_entity(kind, entity::explain))
        .route(&path("/{id}/changes"), of_entity(kind, entity::changes))
        .route(&path("/{id}/timeline"), of_entity(kind, entity::timeline))
}

fn of_entity<F, T>(kind: EntityKind, handler: F) -> MethodRouter<Arc<Api>>
where
    F: Fn(entity::Asked) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = Result<Response, Problem>> + Send + 'static,
{
    get(
        move |(State(api), Extension(caller), Extension(arguments), Path(id)): EntityArguments| {
            handler(entity::Asked {
                api,
                caller,
                arguments,
                kind,
                id,
            })
        },
    )
}

async fn unknown_path(uri: Uri) -> Problem {
    let paths: Vec<&str> = doors::all().map(|door| door.path).collect();
    let problem = Problem::new(
        StatusCode::NOT_FOUND,
        "unknown_path",
        format!("nothing at '{}'", short(uri.path())),
    );
    match crate::sql::nearest(uri.path(), &paths) {
        Some(near) => problem.hint(format!(
            "did you mean '{near}'? /v1/openapi.json lists what there is"
        )),
        None => problem.hint("/v1/openapi.json lists what there is"),
    }
}

async fn unknown_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("'{}' does not take {method}", short(uri.path())),
    )
    .hint("/v1/openapi.json lists the methods of each path")
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
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
    tracing::error!(panic = text, "request handler panicked");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "the server failed on this request",
    )
    .hint("the log of the server says why; give the x-request-id of this answer when you ask")
    .into_response()
}
