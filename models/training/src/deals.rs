//! Which rows may a win model of deals learn from? Several instants of each deal's life, each with what was known then.
//!
//! CRM fields are read from the bitemporal change log at the row's instant. Activity comes by an as-of join: forward-decayed
//! sums are running sums in order of knowledge, so the sum as known at an instant is the last one before it, brought to
//! the instant, which is the very number that serving reads from layer 1 (M-1, M-2).

mod activity;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use revgauge_contract::{Timestamp, time::DAY_US};
use revgauge_models::{
    changelog::{ChangeLog, ObjectLog},
    deal::DealFacts,
    directory::{Outcome, StageCatalogue},
    win::{
        encode::Cell,
        hazard::{LANDMARK_DAYS, ended},
        rows::{DealRow, FIELD_PREFIX, FIRST_ACTIVITY, NUMBERS, STAGE, facts_at},
    },
};
use serde::{Deserialize, Serialize};

pub use self::activity::Activity;
use crate::table::{Column, Table};

/// Share of rows that must hold a CRM field for it to be a column.
const FIELD_SHARE: f64 = 0.01;

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

struct Row<'a> {
    log: ObjectLog<'a>,
    /// Place of the deal in the log.
    number: usize,
    at: Timestamp,
    known: Timestamp,
    won: bool,
}

/// Days since 1970.
pub(crate) fn days(at: Timestamp) -> f64 {
    at.micros() as f64 / DAY_US as f64
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
        let Some(first) = deal.changes().next().map(|change| change.known_at) else {
            continue;
        };
        if !deal.state_at(now).exists() {
            continue;
        }
        for age in &settings.landmark_days {
            let at = first.plus_micros((age * DAY_US as f64) as i64);
            let mature = at.plus_micros(horizon);
            // Quick outcomes of rows too young for slow ones would make every deal look quick, so neither counts.
            if mature > now || end.is_some_and(|(ended, _)| ended <= at) {
                break;
            }
            let (known, won) = match end {
                Some((ended, outcome)) if *ended <= mature => (*ended, *outcome == Outcome::Won),
                _ => (mature, false),
            };
            rows.push(Row {
                log: deal,
                number,
                at,
                known,
                won,
            });
        }
    }
    // Rows of one instant stand by deal: the log gives its deals by id.
    rows.sort_by_key(|row| (row.at, row.number));
    let (all, mut place) = (rows.len(), 0..);
    rows.retain(|_| stays(place.next().unwrap_or(0), all, settings.max_rows));
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
    let mut rows: Vec<Option<Row<'_>>> = rows.into_iter().map(Some).collect();
    let rows: Vec<Row<'_>> = order.iter().filter_map(|place| rows[*place].take()).collect();

    let running = activity.running().map_err(DealSetError::Join)?;
    let asked = |of: fn(&Row<'_>) -> Timestamp| -> Vec<(&str, Timestamp)> {
        rows.iter().map(|row| (row.log.id(), of(row))).collect()
    };
    let then = activity
        .as_of(&running, &asked(|row| row.at))
        .map_err(DealSetError::Join)?;
    let last = activity
        .as_of(&running, &asked(|row| row.known))
        .map_err(DealSetError::Join)?;
    let fields = held.frequent_fields(settings.max_fields);
    let won: Vec<bool> = rows.iter().map(|row| row.won).collect();
    let at: Vec<f64> = rows.iter().map(|row| days(row.at)).collect();
    Ok(DealSet {
        table: held.table(&fields, then, won.clone(), at.clone()),
        latest: newest.table(&fields, last, won, at.clone()),
        ids: rows.iter().map(|row| row.log.id().to_owned()).collect(),
        known: rows.iter().map(|row| days(row.known)).collect(),
        groups: held.groups,
        at,
        horizon_days,
    })
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
        let Some(first) = deal.changes().next().map(|change| change.known_at) else {
            continue;
        };
        for age in ages {
            let at = first.plus_micros((age * DAY_US as f64) as i64);
            if at <= from || at > to {
                continue;
            }
            if let Some(facts) = facts_at(deal, stages, at).filter(|facts| facts.outcome == Outcome::Open) {
                held.push(&DealRow::of(&facts, at), None, deal.id());
                asked.push((deal.id(), at));
            }
        }
    }
    let running = activity.running().map_err(DealSetError::Join)?;
    let activity = activity.as_of(&running, &asked).map_err(DealSetError::Join)?;
    let fields = fields_of(columns);
    let at = asked.iter().map(|(_, at)| days(*at)).collect();
    Ok(held.table(&fields, activity, vec![false; asked.len()], at))
}

/// The fields among the names of columns.
pub(crate) fn fields_of(columns: &[String]) -> Vec<String> {
    columns
        .iter()
        .filter_map(|column| column.strip_prefix(FIELD_PREFIX).map(str::to_owned))
        .collect()
}

/// Whether the row at `place` of `all` stays when rows are thinned evenly to `most`.
pub(crate) const fn stays(place: usize, all: usize, most: usize) -> bool {
    all <= most || (place + 1) * most / all > place * most / all
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

/// Whether a field holds mail addresses: a model must not keep what an erasure has to find.
fn names_people(values: &[(usize, String)]) -> bool {
    values.iter().any(|(_, value)| value.contains('@'))
}

/// Columns as they grow, a row at a time.
#[derive(Default)]
pub(crate) struct Builder {
    numbers: Vec<Vec<f64>>,
    stages: Vec<Option<String>>,
    fields: BTreeMap<String, Vec<(usize, String)>>,
    pub(crate) groups: Vec<usize>,
    group_of: BTreeMap<String, usize>,
    rows: usize,
}

impl Builder {
    fn push(&mut self, row: &DealRow<'_>, account: Option<&String>, deal_id: &str) {
        self.numbers.resize(FIRST_ACTIVITY, Vec::new());
        for (column, number) in self.numbers.iter_mut().zip(row.numbers) {
            column.push(number);
        }
        let stage = match row.cell(STAGE) {
            Cell::Text(stage) => Some(stage.to_owned()),
            Cell::Number(_) | Cell::Missing => None,
        };
        let group = account.map_or_else(
            || format!("deal {deal_id}"),
            |account| format!("account {account}"),
        );
        self.push_fields(stage, row.fields(), group);
    }

    /// A row without leading numbers, or the rest of one whose leading numbers are in.
    pub(crate) fn push_fields<'f>(
        &mut self,
        stage: Option<String>,
        fields: impl Iterator<Item = (&'f str, &'f str)>,
        group: String,
    ) {
        self.stages.push(stage);
        for (name, value) in fields {
            match self.fields.get_mut(name) {
                Some(values) => values.push((self.rows, value.to_owned())),
                None => {
                    self.fields
                        .insert(name.to_owned(), vec![(self.rows, value.to_owned())]);
                }
            }
        }
        let next = self.group_of.len();
        self.groups.push(*self.group_of.entry(group).or_insert(next));
        self.rows += 1;
    }

    /// Puts the rows in another order: the row at `order[place]` comes to `place`.
    pub(crate) fn reorder(&mut self, order: &[usize]) {
        for column in &mut self.numbers {
            *column = order.iter().map(|row| column[*row]).collect();
        }
        self.stages = order.iter().map(|row| self.stages[*row].take()).collect();
        self.groups = order.iter().map(|row| self.groups[*row]).collect();
        let mut place_of = vec![0; order.len()];
        for (place, row) in order.iter().enumerate() {
            place_of[*row] = place;
        }
        for (row, _) in self.fields.values_mut().flatten() {
            *row = place_of[*row];
        }
    }

    pub(crate) fn frequent_fields(&self, most: usize) -> Vec<String> {
        let least = (self.rows as f64 * FIELD_SHARE).max(1.0) as usize;
        let mut found: Vec<(usize, &String)> = self
            .fields
            .iter()
            .filter(|(_, values)| values.len() >= least && !names_people(values))
            .map(|(name, values)| (values.len(), name))
            .collect();
        found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        found
            .into_iter()
            .take(most)
            .map(|(_, name)| name.clone())
            .collect()
    }

    /// The table of all rows: leading numbers where there are any, then those of activity, the stage where one is known, and
    /// the fields.
    pub(crate) fn table(
        &self,
        fields: &[String],
        activity: Vec<Vec<f64>>,
        won: Vec<bool>,
        at: Vec<f64>,
    ) -> Table {
        let mut table = Table {
            won,
            at: Some(at),
            ..Table::default()
        };
        let numbers = self.numbers.iter().cloned().chain(activity);
        let names = NUMBERS.iter().skip(FIRST_ACTIVITY - self.numbers.len());
        for (name, values) in names.zip(numbers) {
            table.push(name, Column::Numeric(values));
        }
        if self.stages.iter().any(Option::is_some) {
            table.push(STAGE, Column::Text(self.stages.clone()));
        }
        for field in fields {
            let mut values = vec![None; self.rows];
            for (row, value) in self.fields.get(field).into_iter().flatten() {
                values[*row] = Some(value.clone());
            }
            table.push(&format!("{FIELD_PREFIX}{field}"), Column::infer(values));
        }
        table
    }
}
