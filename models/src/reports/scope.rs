//! What a waterfall reads from a deal at one state of knowledge, and whether the deal counts then.

use std::collections::BTreeSet;

use revgauge_contract::{Timestamp, reports::WaterfallGroup};

use crate::{
    changelog::ObjectState,
    deal::instant,
    directory::{Outcome, STAGE_FIELDS, StageCatalogue, number},
    facts::Fields,
};

/// Fields under which deals carry their close date, the first that has a value counts.
const CLOSE_FIELDS: &[&str] = &["close_date", "closedate", "expected_close_date"];
/// Fields that say whether a deal is closed.
const OUTCOME_FIELDS: &[&str] = &[
    "is_won",
    "won",
    "is_closed",
    "closed",
    "status",
    "deal_status",
    "outcome",
];

/// Which deals count, all but their being open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Close date in `[start, end)`.
    pub period: Option<(Timestamp, Timestamp)>,
    /// Owners; all when absent.
    pub owner_ids: Option<BTreeSet<String>>,
    /// Sales pipeline; all when absent.
    pub pipeline: Option<String>,
    /// By what the deals are grouped.
    pub group_by: WaterfallGroup,
}

/// Where a close date lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Before,
    Within,
    After,
    Unknown,
}

/// A deal at one state of knowledge.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Snapshot<'a> {
    /// Anything was ever known of it.
    pub(super) known: bool,
    /// Neither deleted nor merged.
    pub(super) exists: bool,
    pub(super) merged: bool,
    pub(super) outcome: Outcome,
    pub(super) transferred: bool,
    pub(super) place: Place,
    pub(super) cents: i64,
    pub(super) currency: &'a str,
    pub(super) group: &'a str,
    pub(super) owner_id: &'a str,
    pub(super) stage: &'a str,
}

impl<'a> Snapshot<'a> {
    pub(super) fn of(state: &ObjectState<'a>, scope: &Scope, stages: &StageCatalogue) -> Self {
        let owner_id = state.first(&["owner_id"]).unwrap_or("");
        let pipeline = state.first(&["pipeline"]).unwrap_or("");
        let stage = state.first(STAGE_FIELDS).unwrap_or("");
        let category = state.first(&["forecast_category"]).unwrap_or("");
        let fields: Fields = OUTCOME_FIELDS
            .iter()
            .chain(STAGE_FIELDS)
            .filter_map(|field| Some(((*field).to_owned(), state.value(field)?.to_owned())))
            .collect();
        let owned = scope
            .owner_ids
            .as_ref()
            .is_none_or(|owners| owners.contains(owner_id));
        let in_pipeline = scope.pipeline.as_deref().is_none_or(|wanted| wanted == pipeline);
        let close = state.first(CLOSE_FIELDS).and_then(instant);
        let place = match (scope.period, close) {
            (None, _) => Place::Within,
            (Some(_), None) => Place::Unknown,
            (Some((start, _)), Some(close)) if close < start => Place::Before,
            (Some((_, end)), Some(close)) if close >= end => Place::After,
            (Some(_), Some(_)) => Place::Within,
        };
        Self {
            known: !state.is_empty(),
            exists: state.exists(),
            merged: state.merged_into().is_some(),
            outcome: stages.outcome(&fields),
            transferred: !(owned && in_pipeline),
            place,
            cents: state.first(&["amount"]).and_then(number).map_or(0, cents),
            currency: state.first(&["currency"]).unwrap_or(""),
            group: match scope.group_by {
                WaterfallGroup::None => "",
                WaterfallGroup::Stage => stage,
                WaterfallGroup::ForecastCategory => category,
                WaterfallGroup::Owner => owner_id,
                WaterfallGroup::Pipeline => pipeline,
            },
            owner_id,
            stage,
        }
    }

    /// Open, in scope, there: its amount is in the pipeline.
    pub(super) fn counts(&self) -> bool {
        self.exists && self.outcome == Outcome::Open && !self.transferred && self.place == Place::Within
    }
}

/// Hundredths of the unit, rounded half away from zero. Amounts beyond 10 trillion units are held there, so that the
/// sum of a million of them still fits.
fn cents(amount: f64) -> i64 {
    const MOST: f64 = 1e15;
    (amount * 100.0).round().clamp(-MOST, MOST) as i64
}
