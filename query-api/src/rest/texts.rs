//! `GET /v1/text-signals` and `GET /v1/compliance`

use std::{collections::BTreeMap, sync::Arc};

use axum::{Extension, extract::State, response::Response};
use revgauge_contract::{access::Caller, text::TextSignal};
use serde_json::{Value, json};

use super::{
    arguments::{Arguments, Moment},
    records::{answer, value},
};
use crate::{api::Api, freshness::Freshness, problem::Problem};

/// The signals that are matters of compliance (AC-23).
pub(crate) const COMPLIANCE: [&str; 4] = [
    "disparagement",
    "missing_disclosure",
    "pricing_mismatch",
    "unapproved_claim",
];

/// Signals found in texts, oldest first within a deal.
pub(super) async fn text_signals(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
) -> Result<Response, Problem> {
    let (limit, moment, mut found) = asked(&api, &caller, &arguments).await?;
    let (signal, deal) = (arguments.text("signal"), arguments.text("deal_id"));
    found.retain(|hit| {
        signal.is_none_or(|signal| hit.signal.as_deref() == Some(signal))
            && deal.is_none_or(|deal| hit.deal_id == deal)
    });
    let total = found.len();
    found.truncate(limit);
    let members = [("total", value(total)?), ("items", value(found)?)];
    Ok(answer(&freshness(&api, &caller, moment), members))
}

/// The compliance report: hits per rep, signal and severity, the hits themselves, and texts not read.
pub(super) async fn compliance(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
) -> Result<Response, Problem> {
    let (limit, moment, found) = asked(&api, &caller, &arguments).await?;
    let not_read = found.iter().filter(|hit| hit.withheld.is_some()).count();
    let summary = report(&found);
    let mut items: Vec<TextSignal> = found.into_iter().filter(is_compliance).collect();
    let total = items.len();
    items.truncate(limit);
    let members = [
        ("total", value(total)?),
        ("texts_not_read", value(not_read)?),
        ("summary", Value::Array(summary)),
        ("items", value(items)?),
    ];
    Ok(answer(&freshness(&api, &caller, moment), members))
}

fn is_compliance(hit: &TextSignal) -> bool {
    hit.signal
        .as_deref()
        .is_some_and(|signal| COMPLIANCE.contains(&signal))
}

/// One record per rep, signal and severity: number of hits, texts and deals, first and last.
pub(crate) fn report(found: &[TextSignal]) -> Vec<Value> {
    let mut groups: BTreeMap<_, Vec<&TextSignal>> = BTreeMap::new();
    for hit in found.iter().filter(|hit| is_compliance(hit)) {
        let group = (
            hit.user_id.as_deref(),
            hit.signal.as_deref(),
            hit.severity.as_deref(),
        );
        groups.entry(group).or_default().push(hit);
    }
    groups
        .into_iter()
        .map(|((user_id, signal, severity), hits)| {
            let distinct = |of: fn(&TextSignal) -> &str| {
                hits.iter()
                    .map(|hit| of(hit))
                    .collect::<std::collections::BTreeSet<&str>>()
                    .len()
            };
            json!({
                "user_id": user_id,
                "signal": signal,
                "severity": severity,
                "hits": hits.len(),
                "texts": distinct(|hit| &hit.event_id),
                "deals": distinct(|hit| &hit.deal_id),
                "without_stated_consent": hits.iter().filter(|hit| hit.consent != "given").count(),
                "last_said_at": hits.iter().map(|hit| hit.said_at).max(),
                "suggestion": hits[0].suggestion,
            })
        })
        .collect()
}

async fn asked(
    api: &Arc<Api>,
    caller: &Caller,
    arguments: &Arguments,
) -> Result<(usize, Moment, Vec<TextSignal>), Problem> {
    let limit = arguments.limit(&api.settings.http)?;
    let moment = arguments.moment(api.clock.now())?;
    let severity = arguments.one_of("severity", &["high", "medium", "low"])?;
    let user = arguments.text("user_id");
    let (scores, tenant_id) = (api.scores(caller), Arc::clone(&caller.tenant_id));
    let mut found = api
        .aside(async move { scores.text_signals(&tenant_id, moment.at, moment.knowledge).await })
        .await?;
    found.retain(|hit| {
        severity.is_none_or(|severity| hit.severity.as_deref() == Some(severity))
            && user.is_none_or(|user| hit.user_id.as_deref() == Some(user))
    });
    Ok((limit, moment, found))
}

fn freshness(api: &Api, caller: &Caller, moment: Moment) -> Freshness {
    Freshness {
        as_of: moment.at,
        ..api.freshness(&caller.tenant_id)
    }
}
