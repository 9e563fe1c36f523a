//! Which deals were known at an instant, and what was known of each?

use std::collections::BTreeSet;

use revgauge_contract::Timestamp;

use crate::{
    changelog::{ChangeLog, ObjectLog},
    deal::instant,
    directory::{Outcome, STAGE_FIELDS, StageCatalogue, number},
};

const CLOSE_FIELDS: &[&str] = &["close_date", "closedate", "expected_close_date"];
const CLOSED_AT_FIELDS: &[&str] = &["closed_at", "closed_date", "won_time", "lost_time"];
const CREATED_FIELDS: &[&str] = &[
    "created_at",
    "create_date",
    "createdate",
    "created_date",
    "created",
];

/// Which deals count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Owners of the deals that count, also for what is learnt; all when absent.
    pub owner_ids: Option<BTreeSet<String>>,
    /// Sales pipeline; all when absent.
    pub pipeline: Option<String>,
    /// Deals that do not count.
    pub without: BTreeSet<String>,
}

/// A deal as known at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct BookDeal {
    /// Its id.
    pub deal_id: String,
    /// Owner, empty where unknown.
    pub owner_id: String,
    /// Stage, empty where unknown.
    pub stage: String,
    /// Forecast category in lower case with spaces, empty where unknown.
    pub category: String,
    /// Currency, empty where unknown.
    pub currency: String,
    /// Amount; 0 where unknown, negative or not a number.
    pub amount: f64,
    /// When it was created, by its own field, else when it was first heard of.
    pub created: Timestamp,
    /// Expected close date.
    pub close_date: Option<Timestamp>,
    /// When it ended; absent while it is open.
    pub ended: Option<Timestamp>,
    /// How it stands.
    pub outcome: Outcome,
    /// Open stages and when each was entered, by time.
    pub path: Vec<(Timestamp, String)>,
}

/// The deals in scope as known at an instant, by id. Deleted and merged deals are left out. Cost: a pass over the log.
#[must_use]
pub fn read_book(log: &ChangeLog, stages: &StageCatalogue, at: Timestamp, scope: &Scope) -> Vec<BookDeal> {
    log.logs()
        .filter_map(|deal| read_deal(deal, stages, at, scope))
        .collect()
}

fn read_deal(log: ObjectLog<'_>, stages: &StageCatalogue, at: Timestamp, scope: &Scope) -> Option<BookDeal> {
    let state = log.state_at(at);
    if !state.exists() || scope.without.contains(log.id()) {
        return None;
    }
    let text = |fields: &[&str]| state.first(fields).unwrap_or("").to_owned();
    let owner_id = text(&["owner_id"]);
    if let Some(owners) = &scope.owner_ids
        && !owners.contains(&owner_id)
    {
        return None;
    }
    if let Some(pipeline) = &scope.pipeline
        && state.first(&["pipeline"]) != Some(pipeline.as_str())
    {
        return None;
    }
    let outcome = stages.outcome(&state.fields());
    let mut entered: Vec<(Timestamp, String)> = Vec::new();
    let mut first_heard = at;
    for change in log.changes().take_while(|change| change.known_at <= at) {
        first_heard = first_heard.min(change.event_time);
        if STAGE_FIELDS.contains(&change.field)
            && let Some(stage) = change.value
        {
            entered.push((change.event_time, stage.to_owned()));
        }
    }
    entered.sort();
    let last_change = entered.last().map(|(entered, _)| *entered);
    let ended = (outcome != Outcome::Open).then(|| {
        state
            .first(CLOSED_AT_FIELDS)
            .and_then(instant)
            .or(last_change)
            .or_else(|| state.first(CLOSE_FIELDS).and_then(instant))
            .unwrap_or(at)
    });
    if ended.is_some() {
        // The last entry is the closing itself where it is a change of stage.
        entered.pop();
    }
    entered.dedup_by(|next, before| next.1 == before.1);
    let created = state
        .first(CREATED_FIELDS)
        .and_then(instant)
        .unwrap_or(first_heard);
    if entered.is_empty() {
        entered.push((created, String::new()));
    }
    Some(BookDeal {
        deal_id: log.id().to_owned(),
        owner_id,
        stage: text(STAGE_FIELDS),
        category: text(&["forecast_category"])
            .to_lowercase()
            .replace(['_', '-'], " "),
        currency: text(&["currency"]),
        amount: state
            .first(&["amount"])
            .and_then(number)
            .filter(|amount| amount.is_finite() && *amount > 0.0)
            .map_or(0.0, |amount| amount.min(1e13)),
        created,
        close_date: state.first(CLOSE_FIELDS).and_then(instant),
        ended,
        outcome,
        path: entered,
    })
}
