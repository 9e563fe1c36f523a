//! One contact, account or deal: object, scores, history, explanation, changes, timeline.

use std::sync::Arc;

use axum::response::Response;
use datafusion::{
    common::ScalarValue,
    logical_expr::{Expr, SortExpr, col, lit},
};
use revgauge_contract::{
    Timestamp,
    access::Caller,
    score::{EntityKind, EntityScores, ScoreService},
    statistics::Knowledge,
};
use serde_json::Value;

use super::{
    arguments::{Arguments, Moment},
    records::{Source, answer, strip, table_rows, unfold, value},
};
use crate::{api::Api, freshness::Freshness, problem::Problem};

/// A request about one entity.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) api: Arc<Api>,
    pub(super) caller: Caller,
    pub(super) arguments: Arguments,
    pub(super) kind: EntityKind,
    pub(super) id: String,
}

impl Asked {
    pub(super) fn moment(&self) -> Result<Moment, Problem> {
        self.arguments.moment(self.api.clock.now())
    }

    /// Freshness of the answer; for the past, as of then.
    pub(super) fn freshness(&self, as_of: Timestamp) -> Freshness {
        Freshness {
            as_of,
            ..self.api.freshness(&self.caller.tenant_id)
        }
    }

    /// Scores and objects as the caller sees them.
    pub(super) fn service(&self) -> Arc<dyn ScoreService> {
        self.api.scores(&self.caller)
    }

    pub(super) async fn entity_scores(&self, moment: Moment) -> Result<EntityScores, Problem> {
        let service = self.service();
        let (tenant_id, knowledge) = (&self.caller.tenant_id, moment.knowledge);
        Ok(service
            .scores(tenant_id, self.kind, &self.id, moment.at, knowledge)
            .await?)
    }

    async fn rows(
        &self,
        table: &'static str,
        filter: Expr,
        order: Vec<SortExpr>,
        limit: usize,
    ) -> Result<(Vec<Value>, Freshness, bool), Problem> {
        table_rows(
            &self.api,
            &self.caller,
            Source::Table(table),
            filter,
            order,
            limit,
        )
        .await
    }

    async fn keys(&self) -> Result<Vec<String>, Problem> {
        let service = self.service();
        let mut keys = service
            .keys(&self.caller.tenant_id, self.kind, &self.id, Knowledge::Now)
            .await?;
        if !keys.contains(&self.id) {
            keys.push(self.id.clone());
        }
        Ok(keys)
    }
}

/// `GET /v1/{kind}/{id}`
pub(super) async fn object(asked: Asked) -> Result<Response, Problem> {
    let moment = asked.moment()?;
    // An entity may exist without a score, and be scored without a record.
    let (id, scores) = match asked.entity_scores(moment).await {
        Ok(found) => (found.entity_id, found.scores),
        Err(problem) if problem.status == 404 => (asked.id.clone(), Vec::new()),
        Err(problem) => return Err(problem),
    };
    let ids = [id.clone()];
    let objects = asked
        .service()
        .objects(&asked.caller.tenant_id, asked.kind, Some(&ids), moment.knowledge)
        .await?;
    let object = objects.into_iter().next().unwrap_or(Value::Null);
    if object.is_null() && scores.is_empty() {
        return Err(not_found(&asked));
    }
    let members = [
        ("entity_kind", value(asked.kind)?),
        ("entity_id", value(id)?),
        ("object", object),
        ("scores", value(scores)?),
    ];
    Ok(answer(&asked.freshness(moment.at), members))
}

pub(super) fn not_found(asked: &Asked) -> Problem {
    let id: String = asked.id.chars().take(120).collect();
    Problem::new(
        axum::http::StatusCode::NOT_FOUND,
        "not_found",
        format!("nothing is known of {} '{id}'", asked.kind.as_str()),
    )
}

/// `GET /v1/{kind}/{id}/scores`
pub(super) async fn scores(asked: Asked) -> Result<Response, Problem> {
    let moment = asked.moment()?;
    let found = asked.entity_scores(moment).await?;
    entity_answer(&asked, found)
}

/// `GET /v1/{kind}/{id}/explain`
pub(super) async fn explain(asked: Asked) -> Result<Response, Problem> {
    let moment = asked.moment()?;
    let found = asked
        .service()
        .explain(
            &asked.caller.tenant_id,
            asked.kind,
            &asked.id,
            moment.at,
            moment.knowledge,
        )
        .await?;
    entity_answer(&asked, found)
}

fn entity_answer(asked: &Asked, found: EntityScores) -> Result<Response, Problem> {
    let members = [
        ("entity_kind", value(found.entity_kind)?),
        ("entity_id", value(found.entity_id)?),
        ("scores", value(found.scores)?),
    ];
    Ok(answer(&asked.freshness(found.as_of), members))
}

/// `GET /v1/{kind}/{id}/changes`
pub(super) async fn changes(asked: Asked) -> Result<Response, Problem> {
    let now = asked.api.clock.now();
    let from = asked.arguments.instant("from")?.ok_or_else(|| {
        Problem::bad("bad_parameter", "parameter 'from' is missing")
            .hint("say between which instants: ?from=2026-01-01T00:00:00Z&to=2026-01-08T00:00:00Z")
    })?;
    let to = asked.arguments.instant("to")?.unwrap_or(now);
    if to > now {
        return Err(Problem::bad("as_of_ahead", format!("to {to} is still to come")));
    }
    let changes = asked
        .service()
        .explain_change(&asked.caller.tenant_id, asked.kind, &asked.id, from, to)
        .await?;
    let members = [
        ("entity_kind", value(asked.kind)?),
        ("entity_id", value(&asked.id)?),
        ("from", value(from)?),
        ("to", value(to)?),
        ("changes", value(changes)?),
    ];
    Ok(answer(&asked.freshness(to), members))
}

/// `GET /v1/{kind}/{id}/scores/history`
pub(super) async fn history(asked: Asked) -> Result<Response, Problem> {
    let limit = asked.arguments.limit(&asked.api.settings.http)?;
    let mut filter = col("entity_kind")
        .eq(lit(asked.kind.as_str()))
        .and(any_of("entity_id", &asked.keys().await?));
    if let Some(score) = asked.arguments.text("score") {
        filter = filter.and(col("score").eq(lit(score)));
    }
    if let Some(before) = asked.arguments.instant("before")? {
        filter = filter.and(col("as_of").lt(instant(before)));
    }
    let newest_first = ["as_of", "position", "row"].map(|name| col(name).sort(false, false));
    let query = asked
        .rows("score_changes", filter, newest_first.to_vec(), limit)
        .await?;
    let (mut entries, freshness, more) = query;
    unfold(&mut entries, &["detail"]);
    strip(&mut entries);
    let members = [
        ("entity_kind", value(asked.kind)?),
        ("entity_id", value(&asked.id)?),
        ("entries", Value::Array(entries)),
        ("more", Value::Bool(more)),
    ];
    Ok(answer(&freshness, members))
}

/// `GET /v1/{kind}/{id}/timeline`
pub(super) async fn timeline(asked: Asked) -> Result<Response, Problem> {
    let limit = asked.arguments.limit(&asked.api.settings.http)?;
    let keys = asked.keys().await?;
    let columns: &[&str] = match asked.kind {
        EntityKind::Contact => &["contact_id", "email"],
        EntityKind::Account => &["account_id", "domain"],
        EntityKind::Deal | EntityKind::Tenant => &["deal_id"],
    };
    let mut filter = columns
        .iter()
        .map(|column| any_of(column, &keys))
        .reduce(Expr::or)
        .unwrap_or_else(|| lit(false));
    if let Some(before) = place(&asked.arguments)? {
        filter = filter.and(before);
    }
    let newest_first = ["event_time", "event_id"].map(|name| col(name).sort(false, false));
    let (mut events, freshness, more) = asked.rows("events", filter, newest_first.to_vec(), limit).await?;
    let next = if more {
        events.last().and_then(place_after)
    } else {
        None
    };
    unfold(&mut events, &["payload"]);
    strip(&mut events);
    let members = [
        ("entity_kind", value(asked.kind)?),
        ("entity_id", value(&asked.id)?),
        ("events", Value::Array(events)),
        ("next", value(next)?),
    ];
    Ok(answer(&freshness, members))
}

/// Where a timeline goes on: an instant, or `instant~event_id` as a page before gave it.
fn place(arguments: &Arguments) -> Result<Option<Expr>, Problem> {
    let Some(text) = arguments.text("before") else {
        return Ok(None);
    };
    let Some((at, event_id)) = text.split_once('~') else {
        let at = arguments.instant("before")?.unwrap_or_default();
        return Ok(Some(col("event_time").lt(instant(at))));
    };
    let at: Timestamp = at
        .parse()
        .map_err(|error| Problem::bad("bad_parameter", format!("parameter 'before': {error}")))?;
    let earlier = col("event_time").lt(instant(at));
    let same = col("event_time")
        .eq(instant(at))
        .and(col("event_id").lt(lit(event_id)));
    Ok(Some(earlier.or(same)))
}

fn place_after(event: &Value) -> Option<String> {
    let text = |name| event.get(name).and_then(Value::as_str);
    Some(format!("{}~{}", text("event_time")?, text("event_id")?))
}

pub(super) fn any_of(column: &str, values: &[String]) -> Expr {
    col(column).in_list(values.iter().map(|value| lit(value.as_str())).collect(), false)
}

fn instant(at: Timestamp) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(at.micros()), None))
}
