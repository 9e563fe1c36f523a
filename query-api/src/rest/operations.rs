//! Health, metrics, and what the rooms behind tell about themselves.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use revgauge_contract::{access::Caller, error::Failure, intake::DeadLetter};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    arguments::Arguments,
    records::{answer, value},
};
use crate::{access::HIDDEN, api::Api, problem::Problem};

/// Whether the process can answer rightly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether it can.
    pub ready: bool,
    /// What is missing, in words.
    pub waiting_for: Vec<String>,
}

/// How far each reader of the log has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DataHealth {
    /// Last acknowledged position of the journal.
    pub journal_position: u64,
    /// Last position each reader holds durably: `lake`, `state`, `scores`, ...
    pub positions: BTreeMap<String, u64>,
    /// Milliseconds from the last acknowledged event to now, for readers that are behind; 0 when they are not.
    pub lag_ms: BTreeMap<String, u64>,
    /// Refused events kept for this tenant.
    pub dead_letters: u64,
    /// Events of types Revgauge does not score, by type, of this tenant.
    pub unknown_types: BTreeMap<String, u64>,
    /// Anything else worth knowing, in words.
    pub notes: Vec<String>,
}

/// One pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PipelineInfo {
    /// Name; also the SQL table of its live state.
    pub name: String,
    /// What it keeps.
    pub description: String,
    /// Its SQL text.
    pub sql: String,
    /// Whether it aggregates or appends.
    pub kind: String,
    /// Sizes of its state: groups, bytes, spilled bytes, position. Of the deployment, not of one tenant.
    pub state: BTreeMap<String, u64>,
}

/// What a replay of dead letters did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// Events now taken.
    pub accepted: u64,
    /// Events refused again.
    pub refused: u64,
}

/// What the rooms behind tell about themselves. Implemented by the composition root.
///
/// Everything with a `tenant_id` argument answers for that tenant only; the doors pass the caller's and nothing else.
#[async_trait]
pub trait StatusSource: Send + Sync {
    /// Whether answers are right now. Must not wait.
    fn readiness(&self) -> Readiness;

    /// Counts upwards with each change of what is known of a tenant, whether or not it moves a score.
    fn last_change(&self, tenant_id: &str) -> u64;

    /// Resolves when something changed of the tenant after this.
    async fn changed_after(&self, tenant_id: &str, change: u64);

    /// Positions and lag.
    ///
    /// # Errors
    /// What the rooms met.
    async fn data_health(&self, tenant_id: &str) -> Result<DataHealth, Failure>;

    /// All pipelines.
    ///
    /// # Errors
    /// What the rooms met.
    async fn pipelines(&self) -> Result<Vec<PipelineInfo>, Failure>;

    /// One pipeline: its SQL, plan, columns and state, as a JSON record.
    ///
    /// # Errors
    /// `NotFound` for an unknown name.
    async fn explain_pipeline(&self, name: &str) -> Result<Value, Failure>;

    /// Compares every pipeline's live state with its batch query over the lake (P-2): a JSON list of reports with
    /// `pipeline`, `rows`, `batch_rows`, `differing` and `batch_seconds`. Costs a batch query a pipeline.
    ///
    /// # Errors
    /// What the comparison met.
    async fn verify_pipelines(&self) -> Result<Value, Failure>;

    /// Refused events of a tenant, newest first, at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn dead_letters(&self, tenant_id: &str, limit: usize) -> Result<Vec<DeadLetter>, Failure>;

    /// Keeps rows that an import refused, durably.
    ///
    /// # Errors
    /// When they cannot be written.
    async fn keep_dead_letters(&self, letters: Vec<DeadLetter>) -> Result<(), Failure>;

    /// Judges a tenant's refused events again; those that pass are taken and leave the dead letters.
    ///
    /// # Errors
    /// When they cannot be read or taken.
    async fn replay_dead_letters(&self, tenant_id: &str) -> Result<ReplayReport, Failure>;

    /// Keeps a request to erase a contact of the caller's tenant, durably; gives what was kept, as JSON.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn request_erasure(
        &self,
        caller: &Caller,
        subject: String,
        also: Vec<String>,
    ) -> Result<Value, Failure>;

    /// A tenant's requests for erasure that wait and reports of those done: JSON with `waiting` and `done`.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn erasures(&self, tenant_id: &str) -> Result<Value, Failure>;
}

/// `GET /v1/data-health`
pub(super) async fn data_health(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let health = api.status.data_health(&caller.tenant_id).await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("health", value(health)?)],
    ))
}

/// `GET /v1/pipelines`
pub(super) async fn pipelines(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let pipelines = api.status.pipelines().await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("items", value(pipelines)?)],
    ))
}

/// `GET /v1/pipelines/{name}`
pub(super) async fn pipeline(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let pipeline = api.status.explain_pipeline(&name).await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("pipeline", pipeline)],
    ))
}

/// `POST /v1/pipelines/verify`
pub(super) async fn verify(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let mut reports = api.status.verify_pipelines().await?;
    // Differences quote rows of any tenant; only the operator may see them.
    if &*caller.key_id != "operator" {
        for report in reports
            .as_array_mut()
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            report.remove("first_differences");
        }
    }
    Ok(answer(&api.freshness(&caller.tenant_id), [("items", reports)]))
}

/// `GET /v1/dead-letters`
pub(super) async fn dead_letters(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
) -> Result<Response, Problem> {
    let limit = arguments.limit(&api.settings.http)?;
    let mut letters = api.status.dead_letters(&caller.tenant_id, limit).await?;
    letters.retain(|letter| letter.tenant_id == *caller.tenant_id);
    letters.truncate(limit);
    if api.sight(&caller).masks.any() {
        // A refused body is not read as anything, so nothing in it can be masked alone.
        letters
            .iter_mut()
            .for_each(|letter| HIDDEN.clone_into(&mut letter.body));
    }
    let mut letters = value(letters)?;
    if let Value::Array(letters) = &mut letters {
        super::records::strip(letters);
    }
    Ok(answer(&api.freshness(&caller.tenant_id), [("items", letters)]))
}

/// `POST /v1/dead-letters/replay`
pub(super) async fn replay(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let report = api.status.replay_dead_letters(&caller.tenant_id).await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("report", value(report)?)],
    ))
}

/// `GET /health/live`
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// `GET /health/ready`
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Response {
    let readiness = api.status.readiness();
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "as_of": api.clock.now(),
        "status": if readiness.ready { "ready" } else { "waiting" },
        "waiting_for": readiness.waiting_for,
    });
    (status, Json(body)).into_response()
}

/// `GET /metrics`
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], api.metrics.render()).into_response()
}
