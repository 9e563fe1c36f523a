//! Lists: objects by page, entities by score.

use std::{collections::HashSet, sync::Arc};

use axum::{Extension, extract::State, response::Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use datafusion::logical_expr::{col, lit};
use revgauge_contract::{
    access::Caller,
    error::Failure,
    score::{EntityKind, ScoreRows, ScoreService},
    statistics::Knowledge,
};
use serde_json::Value;

use super::{
    arguments::{Arguments, Moment},
    records::{Source, answer, strip, table_rows, unfold, value},
};
use crate::{api::Api, freshness::Freshness, problem::Problem, sql::text_of};

/// The score whose tier is a kind's tier.
pub(super) const fn leading_score(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::Contact | EntityKind::Account => "priority",
        EntityKind::Deal | EntityKind::Tenant => "health",
    }
}

fn id_names(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        EntityKind::Contact => &["contact_id", "id"],
        EntityKind::Account => &["account_id", "id"],
        EntityKind::Deal | EntityKind::Tenant => &["deal_id", "id"],
    }
}

struct Filter {
    owner_id: Option<String>,
    account_id: Option<String>,
    text: Option<String>,
    after: Option<String>,
}

impl Filter {
    fn keeps(&self, object: &Value, id: &str) -> bool {
        let is = |wanted: &Option<String>, name| {
            wanted
                .as_deref()
                .is_none_or(|wanted| text_of(object, &[name]).as_deref() == Some(wanted))
        };
        let holds = |text: &String| {
            let within =
                |value: Option<String>| value.is_some_and(|v| v.to_lowercase().contains(text.as_str()));
            id.to_lowercase().contains(text.as_str())
                || ["name", "email", "domain"]
                    .iter()
                    .any(|name| within(text_of(object, &[name])))
        };
        self.after.as_deref().is_none_or(|after| id > after)
            && is(&self.owner_id, "owner_id")
            && is(&self.account_id, "account_id")
            && self.text.as_ref().is_none_or(holds)
    }
}

/// `GET /v1/{kind}`
pub(super) async fn objects(
    api: Arc<Api>,
    caller: Caller,
    arguments: Arguments,
    kind: EntityKind,
) -> Result<Response, Problem> {
    let limit = arguments.limit(&api.settings.http)?;
    let moment = arguments.moment(api.clock.now())?;
    let owned = |name| arguments.text(name).map(str::to_owned);
    let filter = Filter {
        owner_id: owned("owner_id"),
        account_id: owned("account_id"),
        text: owned("q").map(|text| text.to_lowercase()),
        after: arguments.text("cursor").map(read_cursor).transpose()?,
    };
    let tier = owned("tier");
    let freshness = Freshness {
        as_of: moment.at,
        ..api.freshness(&caller.tenant_id)
    };
    let (scores, tenant_id) = (api.scores(&caller), Arc::clone(&caller.tenant_id));
    let found = api.aside(async move {
        let in_tier = match tier {
            Some(tier) => Some(ids_in_tier(scores.as_ref(), &tenant_id, kind, &tier, moment).await?),
            None => None,
        };
        let all = scores.objects(&tenant_id, kind, None, moment.knowledge).await?;
        let mut kept: Vec<(String, Value)> = all
            .into_iter()
            .filter_map(|object| Some((text_of(&object, id_names(kind))?, object)))
            .filter(|(id, object)| {
                in_tier.as_ref().is_none_or(|ids| ids.contains(id)) && filter.keeps(object, id)
            })
            .collect();
        kept.sort_by(|a, b| a.0.cmp(&b.0));
        Ok::<_, Failure>(kept)
    });
    let mut found = found.await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found
        .last()
        .filter(|_| more)
        .map(|(id, _)| URL_SAFE_NO_PAD.encode(id));
    let page = found.into_iter().map(|(_, object)| object).collect();
    Ok(answer(
        &freshness,
        [("items", Value::Array(page)), ("next", value(next)?)],
    ))
}

fn read_cursor(cursor: &str) -> Result<String, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            Problem::bad("bad_cursor", "parameter 'cursor' is no cursor")
                .hint("use 'next' of an earlier answer, or leave it out to start at the beginning")
        })
}

async fn ids_in_tier(
    scores: &dyn ScoreService,
    tenant_id: &str,
    kind: EntityKind,
    tier: &str,
    moment: Moment,
) -> Result<HashSet<String>, Failure> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let asked = ScoreRows {
        ids: None,
        scores: Some(texts(&[leading_score(kind)])),
        columns: Some(texts(&["entity_id", "score", "tier"])),
    };
    let batches = scores
        .table(tenant_id, kind, &asked, moment.at, moment.knowledge)
        .await?;
    let mut ids = HashSet::new();
    for batch in &batches {
        let text = |name| revgauge_contract::schema::text_column(batch, name);
        if let (Some(entities), Some(scores), Some(tiers)) = (text("entity_id"), text("score"), text("tier"))
        {
            let rows = entities.iter().zip(scores).zip(tiers);
            ids.extend(rows.filter_map(|((id, score), own)| {
                let fits = score == Some(leading_score(kind))
                    && own.is_some_and(|own| own.eq_ignore_ascii_case(tier));
                id.filter(|_| fits).map(str::to_owned)
            }));
        }
    }
    Ok(ids)
}

/// `GET /v1/scores`
pub(super) async fn queue(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
) -> Result<Response, Problem> {
    let limit = arguments.limit(&api.settings.http)?;
    let kind = arguments.entity_kind()?.unwrap_or(EntityKind::Contact);
    let score = arguments.text("score").unwrap_or(leading_score(kind)).to_owned();
    let order = arguments.one_of("order", &["asc", "desc"])?;
    let ascending = order.map_or(score == "health", |order| order == "asc");
    let moment = arguments.moment(api.clock.now())?;
    let mut filter = col("entity_kind")
        .eq(lit(kind.as_str()))
        .and(col("score").eq(lit(score.as_str())));
    for name in ["tier", "owner_id", "account_id"] {
        if let Some(wanted) = arguments.text(name) {
            filter = filter.and(col(name).eq(lit(wanted)));
        }
    }
    let source = match moment.knowledge {
        Knowledge::Now => Source::Table("scores"),
        Knowledge::At(at) => Source::ScoresAsOf(at),
    };
    // The unscored come last either way (S-4).
    let order = vec![
        col("value").sort(ascending, false),
        col("entity_id").sort(true, false),
    ];
    let (mut items, freshness, more) = table_rows(&api, &caller, source, filter, order, limit).await?;
    unfold(&mut items, &["contributions", "facts"]);
    strip(&mut items);
    let freshness = match moment.knowledge {
        Knowledge::Now => freshness,
        Knowledge::At(as_of) => Freshness { as_of, ..freshness },
    };
    let members = [
        ("entity_kind", value(kind)?),
        ("score", value(score)?),
        ("items", Value::Array(items)),
        ("more", value(more)?),
    ];
    Ok(answer(&freshness, members))
}
