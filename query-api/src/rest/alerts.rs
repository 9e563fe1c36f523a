//! `GET /v1/alerts`

use std::sync::Arc;

use axum::{Extension, extract::State, response::Response};
use revgauge_contract::access::Caller;

use super::{
    arguments::Arguments,
    records::{answer, value},
};
use crate::{api::Api, freshness::Freshness, problem::Problem};

/// Alerts that hold at the instant, most severe first.
pub(super) async fn alerts(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
) -> Result<Response, Problem> {
    let limit = arguments.limit(&api.settings.http)?;
    let moment = arguments.moment(api.clock.now())?;
    let kind = arguments.entity_kind()?;
    let severity = arguments.one_of("severity", &["high", "medium", "low"])?;
    let rule = arguments.text("rule");
    let (scores, tenant_id) = (api.scores(&caller), Arc::clone(&caller.tenant_id));
    let mut found = api
        .aside(async move { scores.alerts(&tenant_id, None, moment.at, moment.knowledge).await })
        .await?;
    found.retain(|alert| {
        kind.is_none_or(|kind| alert.entity_kind == kind)
            && severity.is_none_or(|severity| alert.severity == severity)
            && rule.is_none_or(|rule| alert.rule == rule)
    });
    let total = found.len();
    found.truncate(limit);
    let freshness = Freshness {
        as_of: moment.at,
        ..api.freshness(&caller.tenant_id)
    };
    Ok(answer(
        &freshness,
        [("total", value(total)?), ("items", value(found)?)],
    ))
}
