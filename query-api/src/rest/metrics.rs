//! `GET /v1/metrics` and `GET /v1/metrics/{name}`: the semantic layer. (`/metrics` is the process's own numbers.)

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use revgauge_contract::access::Caller;

use super::{
    arguments::Arguments,
    records::{answer, objects, value},
};
use crate::{
    api::Api,
    freshness::Freshness,
    metrics::MetricQuestion,
    problem::Problem,
    sql::{SqlRequest, run_sql},
};

/// All metrics.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let metrics: Vec<_> = api.metric_definitions.all().collect();
    let freshness = api.freshness(&caller.tenant_id);
    Ok(answer(
        &freshness,
        [("total", value(metrics.len())?), ("items", value(metrics)?)],
    ))
}

/// Values of one metric.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let metric = api.metric_definitions.get(&name)?;
    let now = api.clock.now();
    let as_of = arguments.instant("as_of")?;
    if let Some(ahead) = as_of.filter(|at| *at > now) {
        return Err(Problem::bad(
            "as_of_ahead",
            format!("as_of {ahead} is still to come"),
        ));
    }
    let by = arguments.text("by").unwrap_or_default();
    let question = MetricQuestion {
        by: by
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        every: arguments.text("every").map(str::to_owned),
        from: arguments.instant("from")?,
        to: arguments.instant("to")?,
        as_of,
    };
    let sql = metric.sql(&question, now)?;
    let request = SqlRequest {
        sql: sql.clone(),
        limit_rows: Some(arguments.limit(&api.settings.http)?),
        ..SqlRequest::default()
    };
    let rows = run_sql(&api, &caller, request).await?;
    let freshness = Freshness {
        as_of: as_of.unwrap_or(rows.freshness.as_of),
        ..rows.freshness
    };
    Ok(answer(
        &freshness,
        [
            ("metric", value(metric)?),
            ("sql", value(sql)?),
            ("truncated", value(rows.truncated)?),
            ("rows", value(objects(&rows.batches)?)?),
        ],
    ))
}
