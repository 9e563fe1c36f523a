//! Which rows may a win model of deals learn from? Several instants of each deal's life, each with what was known then.
//!
//! CRM fields are read from the bitemporal change log at the row's instant. Activity comes by an as-of join: forward-decayed
//! sums are running sums in order of knowledge, so the sum as known at an instant is the last one before it, brought to
//! the instant, which is the very number that serving reads from layer 1 (M-1, M-2).

mod activity;
#[cfg(test)]
mod tests;

use revgauge_contract::{Timestamp, time::DAY_US};
use revgauge_models::{
    changelog::ChangeLog,
    deal::DealFacts,
    directory::{Outcome, StageCatalogue},
    win::{
        hazard::{LANDMARK_DAYS, ended},
        rows::{DealRow, facts_at},
    },
};
use serde::{Deserialize, Serialize};

pub use self::activity::Activity;
use crate::{
    landmarks::{Builder, Landmark, judged, landmarks, thin, unjudged},
    table::Table,
};

/// How a training set of deals is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DealSetSettings {
    /// Days after a deal was first known at which it gives a row while it is open.
    pub landmark_days: Vec<f64>,
    /// A row counts as won when its deal is won within so many days; absent: nine of ten wins fall within it.
    pub horizon_days: Option<f64>,
    /// Rows beyond which they are thinned evenly.
    pub max_rows: usize,
    /// CRM fields that become columns at most, the most often filled in first.
    pub max_fields: usize,
}

impl Default for DealSetSettings {
    fn default() -> Self {
        Self {
            landmark_days: LANDMARK_DAYS.to_vec(),
            horizon_days: None,
            max_rows: 60_000,
            max_fields: 40,
        }
    }
}

/// Why there is no training set.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DealSetError {
    /// No landmark has run its horizon.
    #[error(
        "cannot make a training set of {objects} {what}: none was known for the {horizon_days:.0} days after which an outcome counts; wait for more history, or give a shorter horizon"
    )]
    NoneMature {
        /// Objects in the log.
        objects: usize,
        /// What they are: `deals` or `leads`.
        what: &'static str,
        /// The horizon.
        horizon_days: f64,
    },
    /// The as-of join failed.
    #[error("cannot join activity to the rows of the training set: {0}")]
    Join(String),
}

/// Point-in-time rows of deals, or of leads, in order of their instants.
#[derive(Debug, Clone)]
pub struct DealSet {
    /// What was known at each row's instant, and whether the deal was won within the horizon.
    pub table: Table,
    /// The same rows and columns with what is known last.
    pub latest: Table,
    /// Deal or lead of each row.
    pub ids: Vec<String>,
    /// Instant of each row, days since 1970.
    pub at: Vec<f64>,
    /// Instant at which the row's outcome was known, days since 1970.
    pub known: Vec<f64>,
    /// Account of each row as a number; the deal where the account is unknown.
    pub groups: Vec<usize>,
    /// The horizon of the outcome.
    pub horizon_days: f64,
}

/// Makes the training set with what is known at `now`.
///
/// Cost: a reading of a deal's log a row, and one sort of the activity. Memory: the rows, twice.
///
/// # Errors
/// [`DealSetError`] when no row has an outcome yet.
pub fn deal_set(
    log: &ChangeLog,
    stages: &StageCatalogue,
    activity: &Activity,
    now: Timestamp,
    settings: &DealSetSettings,
) -> Result<DealSet, DealSetError> {
    let ends: Vec<Option<(Timestamp, Outcome)>> = log.logs().map(|deal| ended(deal, stages, now)).collect();
    let horizon_days = settings
        .horizon_days
        .unwrap_or_else(|| horizon(log, &ends))
        .clamp(1.0, 730.0);
    let horizon = (horizon_days * DAY_US as f64) as i64;
    let mut rows = Vec::new();
    for (number, (deal, end)) in log.logs().zip(&ends).enumerate() {
        if !deal.state_at(now).exists() {
            continue;
        }
        for at in landmarks(deal, &settings.landmark_days) {
            let mature = at.plus_micros(horizon);
            // Quick outcomes of rows too young for slow ones would make every deal look quick, so neither counts.
            if mature > now || end.is_some_and(|(ended, _)| ended <= at) {
                break;
            }
            let (known, won) = match end {
                Some((ended, outcome)) if *ended <= mature => (*ended, *outcome == Outcome::Won),
                _ => (mature, false),
            };
            rows.push(Landmark {
                log: deal,
                number,
                at,
                known,
                came: won,
            });
        }
    }
    thin(&mut rows, settings.max_rows);
    // A deal's newest facts are read once for all its rows, so rows are made deal by deal and put in order of time after.
    rows.sort_by_key(|row| (row.number, row.at));
    let (mut held, mut newest) = (Builder::default(), Builder::default());
    let mut last: Option<(usize, DealFacts)> = None;
    rows.retain(|row| {
        let Some(facts) = facts_at(row.log, stages, row.at).filter(|facts| facts.outcome == Outcome::Open)
        else {
            return false;
        };
        if last.as_ref().is_none_or(|(number, _)| *number != row.number) {
            last = facts_at(row.log, stages, now).map(|facts| (row.number, facts));
        }
        let Some((_, last)) = &last else { return false };
        held.push(
            &DealRow::of(&facts, row.at),
            facts.fields.get("account_id"),
            row.log.id(),
        );
        newest.push(&DealRow::of(last, row.known), None, row.log.id());
        true
    });
    if rows.is_empty() {
        return Err(DealSetError::NoneMature {
            objects: log.objects().len(),
            what: "deals",
            horizon_days,
        });
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|place| (rows[*place].at, rows[*place].number));
    held.reorder(&order);
    newest.reorder(&order);
    rows.sort_by_key(|row| (row.at, row.number));
    judged(&rows, (held, newest), activity, settings.max_fields, horizon_days)
}

/// Rows of landmarks in `(from, to]` while their deals were open, of the given columns, whether or not the outcome is known:
/// what drift is measured on. Every outcome is false.
///
/// # Errors
/// [`DealSetError::Join`].
pub fn landmark_rows(
    log: &ChangeLog,
    stages: &StageCatalogue,
    activity: &Activity,
    (from, to): (Timestamp, Timestamp),
    ages: &[f64],
    columns: &[String],
) -> Result<Table, DealSetError> {
    let mut held = Builder::default();
    let mut asked = Vec::new();
    for deal in log.logs() {
        for at in landmarks(deal, ages).filter(|at| *at > from && *at <= to) {
            if let Some(facts) = facts_at(deal, stages, at).filter(|facts| facts.outcome == Outcome::Open) {
                held.push(&DealRow::of(&facts, at), None, deal.id());
                asked.push((deal.id(), at));
            }
        }
    }
    unjudged(&held, &asked, activity, columns)
}

/// The days within which nine of ten wins fall, counted from when a deal was first known; 180 before any win.
fn horizon(log: &ChangeLog, ends: &[Option<(Timestamp, Outcome)>]) -> f64 {
    let mut cycles: Vec<f64> = log
        .logs()
        .zip(ends)
        .filter_map(|(deal, end)| {
            let (ended, outcome) = end.as_ref()?;
            let first = deal.changes().next()?.known_at;
            (*outcome == Outcome::Won).then(|| ended.days_since(first).max(0.0))
        })
        .collect();
    cycles.sort_by(f64::total_cmp);
    cycles
        .get(cycles.len() * 9 / 10)
        .map_or(180.0, |days| days.ceil().clamp(30.0, 365.0))
}
