//! Saved reports over REST: keep a query, schedule it, see how its deliveries went.

use std::sync::Arc;

use axum::{
    Extension,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::StatusCode,
    response::Response,
};
use revgauge_contract::access::{Caller, Role};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    arguments::json_body,
    records::{answer, value},
};
use crate::{
    api::Api,
    problem::Problem,
    reports::{SavedReport, Target},
    sql::{SqlRequest, run_sql},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaveRequest {
    title: String,
    sql: String,
    #[serde(default)]
    schedule: Option<ScheduleRequest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduleRequest {
    cron: String,
    #[serde(default = "utc")]
    timezone: String,
    target: Target,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// A report for a reader: with its next instant, and its webhook's secret only when that was just made.
fn shown(api: &Api, report: &SavedReport, with_secret: bool) -> Result<Value, Problem> {
    let mut shown = value(report)?;
    if let Some(members) = shown.as_object_mut() {
        members.remove("tenant_id");
        members.insert("next_due".to_owned(), json!(api.saved.next_due(report)));
    }
    if !with_secret
        && let Some(target) = shown
            .pointer_mut("/schedule/target")
            .and_then(Value::as_object_mut)
    {
        target.remove("secret");
    }
    Ok(shown)
}

/// `GET /v1/saved-reports`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let reports = shown_to(&api, &caller);
    let items: Result<Vec<Value>, Problem> =
        reports.iter().map(|report| shown(&api, report, false)).collect();
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("items", json!(items?))],
    ))
}

/// `POST /v1/saved-reports`: the query is tried before it is kept.
pub(super) async fn save(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let wanted: SaveRequest = json_body(body)?;
    let schedule = wanted
        .schedule
        .map(|plan| (plan.cron, plan.timezone, plan.target));
    let report = keep(&api, &caller, &wanted.title, &wanted.sql, schedule).await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("report", shown(&api, &report, true)?)],
    ))
}

/// The reports a caller may see: those of its tenant, or its own when it may not see everything.
pub(crate) fn shown_to(api: &Api, caller: &Caller) -> Vec<SavedReport> {
    let limited = api.sight(caller).is_limited();
    let mut reports = api.saved.list(&caller.tenant_id);
    reports.retain(|report| !limited || report.created_by == *caller.key_id);
    reports
}

/// One of [`shown_to`].
pub(crate) fn one_shown_to(api: &Api, caller: &Caller, report_id: &str) -> Result<SavedReport, Problem> {
    let report = api.saved.get(&caller.tenant_id, report_id)?;
    if api.sight(caller).is_limited() && report.created_by != *caller.key_id {
        // As one that does not exist.
        return Ok(api.saved.get("", report_id)?);
    }
    Ok(report)
}

/// A report is sent with its maker's rights, so only its maker and administrators say where it goes.
pub(crate) fn check_own(api: &Api, caller: &Caller, report_id: &str) -> Result<(), Problem> {
    let report = one_shown_to(api, caller, report_id)?;
    if caller.role == Role::Admin || report.created_by == *caller.key_id {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "not_yours",
        "a saved report is changed, scheduled and sent by its maker or an administrator",
    )
    .hint("save the query as a report of your own"))
}

/// Tries a query, keeps it and schedules it; what cannot be scheduled is not kept.
pub(crate) async fn keep(
    api: &Arc<Api>,
    caller: &Caller,
    title: &str,
    sql: &str,
    schedule: Option<(String, String, Target)>,
) -> Result<SavedReport, Problem> {
    let trial = SqlRequest {
        sql: sql.to_owned(),
        limit_rows: Some(1),
        ..SqlRequest::default()
    };
    run_sql(api, caller, trial).await?;
    let saved = &api.saved;
    let report = saved.save(&caller.tenant_id, &caller.key_id, title, sql).await?;
    let Some((cron, timezone, target)) = schedule else {
        return Ok(report);
    };
    let scheduled = saved
        .schedule(
            &caller.tenant_id,
            &report.report_id,
            Some((&cron, &timezone, target)),
        )
        .await;
    match scheduled {
        Ok(report) => Ok(report),
        Err(error) => {
            saved.remove(&caller.tenant_id, &report.report_id).await?;
            Err(error.into())
        }
    }
}

/// `GET /v1/saved-reports/{report_id}`
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(report_id): Path<String>,
) -> Result<Response, Problem> {
    let report = one_shown_to(&api, &caller, &report_id)?;
    let deliveries = value(api.saved.deliveries(&caller.tenant_id, &report_id))?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [
            ("report", shown(&api, &report, false)?),
            ("deliveries", deliveries),
        ],
    ))
}

/// `DELETE /v1/saved-reports/{report_id}`
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(report_id): Path<String>,
) -> Result<Response, Problem> {
    check_own(&api, &caller, &report_id)?;
    let report = api.saved.remove(&caller.tenant_id, &report_id).await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("report", shown(&api, &report, false)?)],
    ))
}

/// `POST /v1/saved-reports/{report_id}/schedule`: an empty body takes the schedule away.
pub(super) async fn schedule(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(report_id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let wanted: Option<ScheduleRequest> = match &body {
        Ok(bytes) if bytes.is_empty() => None,
        _ => Some(json_body(body)?),
    };
    let wanted = wanted
        .as_ref()
        .map(|plan| (plan.cron.as_str(), plan.timezone.as_str(), plan.target.clone()));
    check_own(&api, &caller, &report_id)?;
    let report = api.saved.schedule(&caller.tenant_id, &report_id, wanted).await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("report", shown(&api, &report, true)?)],
    ))
}

/// `POST /v1/saved-reports/{report_id}/deliveries`: due now, beside its pattern.
pub(super) async fn send(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(report_id): Path<String>,
) -> Result<Response, Problem> {
    check_own(&api, &caller, &report_id)?;
    let delivery = value(api.saved.send_now(&caller.tenant_id, &report_id).await?)?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("delivery", delivery)],
    ))
}
