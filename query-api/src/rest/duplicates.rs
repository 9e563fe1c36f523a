//! `GET /v1/accounts/duplicates`: companies that are several accounts (SO-68).

use std::sync::Arc;

use axum::{Extension, extract::State, response::Response};
use revgauge_contract::access::Caller;

use super::{
    arguments::Arguments,
    records::{answer, value},
};
use crate::{api::Api, freshness::Freshness, problem::Problem};

/// Groups of accounts that look like one company, the surest first.
pub(super) async fn duplicates(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
) -> Result<Response, Problem> {
    let limit = arguments.limit(&api.settings.http)?;
    let moment = arguments.moment(api.clock.now())?;
    let shared = arguments.one_of("shared", &["domain", "name"])?;
    let (scores, tenant_id) = (api.scores(&caller), Arc::clone(&caller.tenant_id));
    let mut found = api
        .aside(async move { scores.duplicates(&tenant_id, moment.knowledge).await })
        .await?;
    found.retain(|group| shared.is_none_or(|shared| group.shared == shared));
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
