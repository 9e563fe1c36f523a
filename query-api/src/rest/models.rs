//! `/v1/models`: which trained models there are, their cards, training, promotion, rollback, shadow, comparison, drift.

use std::sync::Arc;

use axum::{
    Extension,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::StatusCode,
    response::Response,
};
use revgauge_contract::{
    access::Caller,
    models::{ModelTarget, TrainingQuestion},
};
use serde::Deserialize;

use super::{
    arguments::{Arguments, json_body},
    records::{answer, value},
};
use crate::{api::Api, problem::Problem};

fn target(text: &str) -> Result<ModelTarget, Problem> {
    ModelTarget::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        let known: Vec<&str> = ModelTarget::ALL.iter().map(|target| target.as_str()).collect();
        Problem::new(
            StatusCode::NOT_FOUND,
            "unknown_model_target",
            format!("no models predict '{shown}'"),
        )
        .hint(format!("there are models of {}", known.join(", ")))
    })
}

fn version(text: &str) -> Result<u32, Problem> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_argument",
            format!("'{shown}' is no version of a model"),
        )
        .hint("give a whole number from /v1/models")
    })
}

/// `GET /v1/models`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let items = value(api.models.list(&caller.tenant_id).await?)?;
    Ok(answer(&api.freshness(&caller.tenant_id), [("items", items)]))
}

/// `GET /v1/models/{target}/card`
pub(super) async fn card(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
    Path(of): Path<String>,
) -> Result<Response, Problem> {
    let version = arguments.text("version").map(version).transpose()?;
    let card = api.models.card(&caller.tenant_id, target(&of)?, version).await?;
    Ok(answer(&api.freshness(&caller.tenant_id), [("card", card)]))
}

/// `POST /v1/models/{target}/train`
pub(super) async fn train(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let question: TrainingQuestion = json_body(body)?;
    let target = target(&of)?;
    let trained = api.models.train(&caller.tenant_id, target, &question).await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("trained", value(trained)?)],
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromotionRequest {
    version: u32,
    #[serde(default)]
    even_if_worse: bool,
}

/// `POST /v1/models/{target}/promote`
pub(super) async fn promote(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let wanted: PromotionRequest = json_body(body)?;
    let entry = api
        .models
        .promote(
            &caller.tenant_id,
            target(&of)?,
            wanted.version,
            wanted.even_if_worse,
        )
        .await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("model", value(entry)?)],
    ))
}

/// `POST /v1/models/{target}/rollback`
pub(super) async fn rollback(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<String>,
) -> Result<Response, Problem> {
    let entry = api.models.rollback(&caller.tenant_id, target(&of)?).await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("model", value(entry)?)],
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShadowRequest {
    version: Option<u32>,
}

/// `POST /v1/models/{target}/shadow`
pub(super) async fn shadow(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let wanted: ShadowRequest = json_body(body)?;
    api.models
        .shadow(&caller.tenant_id, target(&of)?, wanted.version)
        .await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("shadow", value(wanted.version)?)],
    ))
}

/// `GET /v1/models/{target}/compare`
pub(super) async fn compare(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
    Path(of): Path<String>,
) -> Result<Response, Problem> {
    let given = |name: &str| version(arguments.text(name).unwrap_or_default());
    let versions = [given("from")?, given("to")?];
    let compared = api
        .models
        .compare(&caller.tenant_id, target(&of)?, versions)
        .await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("comparison", value(compared)?)],
    ))
}

/// `GET /v1/models/{target}/drift`
pub(super) async fn drift(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(of): Path<String>,
) -> Result<Response, Problem> {
    let drift = api.models.drift(&caller.tenant_id, target(&of)?).await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("drift", value(drift)?)],
    ))
}
