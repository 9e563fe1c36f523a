//! `GET /v1/forecast`, and `POST /v1/forecast` for what-if questions: the revenue of a period, with its math;
//! `GET /v1/forecast/nodes`: that of each team and person.

use std::sync::Arc;

use axum::{
    Extension,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    response::Response,
};
use revgauge_contract::{Timestamp, access::Caller, forecast::ForecastQuestion};
use serde_json::{Value, json};

use super::{
    arguments::{Arguments, json_body},
    records::{answer, value},
};
use crate::{api::Api, freshness::Freshness, problem::Problem};

/// The forecast of a period.
pub(super) async fn forecast(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
) -> Result<Response, Problem> {
    let limit = arguments.limit(&api.settings.http)?;
    let question = question_of(&arguments)?;
    told(&api, &caller, question, limit).await
}

/// The forecast of a period in which some deals are seen otherwise; nothing that is stored changes.
pub(super) async fn what_if(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let limit = arguments.limit(&api.settings.http)?;
    told(&api, &caller, json_body(body)?, limit).await
}

/// The forecast of each team and person.
pub(super) async fn by_node(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
) -> Result<Response, Problem> {
    let limit = arguments.limit(&api.settings.http)?;
    let question = question_of(&arguments)?;
    let at = instant_of(&api, &question)?;
    let (service, tenant_id) = (api.forecasts(&api.sight(&caller)), Arc::clone(&caller.tenant_id));
    let mut nodes = api
        .aside(async move { service.by_node(&tenant_id, &question).await })
        .await?;
    let freshness = told_at(&api, &caller, at, nodes.iter().map(|node| node.as_of));
    let total = nodes.len();
    nodes.truncate(limit);
    let members = [
        ("total", json!(total)),
        ("truncated", json!(total > limit)),
        ("nodes", value(nodes)?),
    ];
    Ok(answer(&freshness, members))
}

async fn told(
    api: &Arc<Api>,
    caller: &Caller,
    question: ForecastQuestion,
    limit: usize,
) -> Result<Response, Problem> {
    let (freshness, members) = forecasts(api, caller, question, limit).await?;
    Ok(answer(&freshness, members))
}

/// The forecasts of a period, at most `limit` rows each, as a caller sees them.
///
/// # Errors
/// As the service; and for an instant that is still to come.
pub(crate) async fn forecasts(
    api: &Arc<Api>,
    caller: &Caller,
    question: ForecastQuestion,
    limit: usize,
) -> Result<(Freshness, [(&'static str, Value); 3]), Problem> {
    let at = instant_of(api, &question)?;
    let (service, tenant_id) = (api.forecasts(&api.sight(caller)), Arc::clone(&caller.tenant_id));
    let mut forecasts = api
        .aside(async move { service.forecast(&tenant_id, &question).await })
        .await?;
    let truncated = forecasts.iter().any(|forecast| forecast.rows.len() > limit);
    for forecast in &mut forecasts {
        forecast.rows.truncate(limit);
    }
    let freshness = told_at(api, caller, at, forecasts.iter().map(|forecast| forecast.as_of));
    let members = [
        ("total", json!(forecasts.len())),
        ("truncated", json!(truncated)),
        ("forecasts", value(forecasts)?),
    ];
    Ok((freshness, members))
}

/// The instant asked about.
///
/// # Errors
/// It is still to come.
fn instant_of(api: &Api, question: &ForecastQuestion) -> Result<Timestamp, Problem> {
    let now = api.clock.now();
    let at = question.as_of.unwrap_or(now);
    if at > now {
        return Err(
            Problem::bad("as_of_ahead", format!("as_of {at} is still to come"))
                .hint("what will be known cannot be known; 'period' may lie ahead"),
        );
    }
    Ok(at)
}

/// Freshness of answers made at `told`: an answer about now may be of a moment ago, since which no deal changed.
fn told_at(api: &Api, caller: &Caller, asked: Timestamp, told: impl Iterator<Item = Timestamp>) -> Freshness {
    Freshness {
        as_of: told.min().unwrap_or(asked),
        ..api.freshness(&caller.tenant_id)
    }
}

fn question_of(arguments: &Arguments) -> Result<ForecastQuestion, Problem> {
    let text = |name| arguments.text(name).map(str::to_owned);
    let quantiles = arguments
        .text("quantiles")
        .map(|list| {
            list.split(',')
                .map(|number| number.trim().parse())
                .collect::<Result<Vec<f64>, _>>()
        })
        .transpose()
        .map_err(|_| {
            Problem::bad("bad_parameter", "parameter 'quantiles' is no list of numbers")
                .hint("write probabilities from 0 to 1 with commas between, such as quantiles=0.1,0.5,0.9")
        })?;
    Ok(ForecastQuestion {
        period: text("period"),
        start: arguments.instant("period_start")?,
        end: arguments.instant("period_end")?,
        fiscal_year_starts: arguments.parsed("fiscal_year_starts")?,
        as_of: arguments.instant("as_of")?,
        owner_ids: arguments
            .text("owner_id")
            .map(|list| list.split(',').map(|owner| owner.trim().to_owned()).collect()),
        team_of: text("team_of"),
        pipeline: text("pipeline"),
        quantiles: quantiles.unwrap_or_default(),
        quota: arguments.parsed("quota")?,
        currency: text("currency"),
        ..ForecastQuestion::default()
    })
}
