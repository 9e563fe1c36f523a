//! How do rows at landmarks of an object's life become a training set? What sets of deals and of leads have in common.

use std::collections::BTreeMap;

use revgauge_contract::{Timestamp, time::DAY_US};
use revgauge_models::{
    changelog::ObjectLog,
    win::{
        encode::Cell,
        rows::{DealRow, FIELD_PREFIX, FIRST_ACTIVITY, NUMBERS, STAGE},
    },
};

use crate::{
    deals::{Activity, DealSet, DealSetError},
    table::{Column, Table},
};

/// Share of rows that must hold a CRM field for it to be a column.
const FIELD_SHARE: f64 = 0.01;

/// A deal or a lead at an instant, and what came of it.
pub(crate) struct Landmark<'a> {
    pub(crate) log: ObjectLog<'a>,
    /// Place of the object in its log, which gives its objects by id.
    pub(crate) number: usize,
    pub(crate) at: Timestamp,
    /// When its outcome was known.
    pub(crate) known: Timestamp,
    /// Whether what is predicted came within the horizon.
    pub(crate) came: bool,
}

/// Days since 1970.
fn days(at: Timestamp) -> f64 {
    at.micros() as f64 / DAY_US as f64
}

/// The instants so many days after an object was first known.
pub(crate) fn landmarks<'l>(
    object: ObjectLog<'_>,
    ages: &'l [f64],
) -> impl Iterator<Item = Timestamp> + use<'l> {
    let first = object.changes().next().map(|change| change.known_at);
    ages.iter()
        .filter_map(move |age| Some(first?.plus_micros((age * DAY_US as f64) as i64)))
}

/// Puts rows in order of time, those of one instant by object, and thins them evenly to `most`.
pub(crate) fn thin(rows: &mut Vec<Landmark<'_>>, most: usize) {
    rows.sort_by_key(|row| (row.at, row.number));
    let (all, mut place) = (rows.len(), 0..);
    rows.retain(|_| stays(place.next().unwrap_or(0), all, most));
}

/// Whether the row at `place` of `all` stays when rows are thinned evenly to `most`.
const fn stays(place: usize, all: usize, most: usize) -> bool {
    all <= most || (place + 1) * most / all > place * most / all
}

/// The set of rows in order of time: what was held of each at its instant and what is known last, joined with activity as
/// of the instant and of the outcome.
///
/// # Errors
/// [`DealSetError::Join`].
pub(crate) fn judged(
    rows: &[Landmark<'_>],
    (held, newest): (Builder, Builder),
    activity: &Activity,
    max_fields: usize,
    horizon_days: f64,
) -> Result<DealSet, DealSetError> {
    let running = activity.running().map_err(DealSetError::Join)?;
    let joined = |of: fn(&Landmark<'_>) -> Timestamp| {
        let asked: Vec<(&str, Timestamp)> = rows.iter().map(|row| (row.log.id(), of(row))).collect();
        activity.as_of(&running, &asked).map_err(DealSetError::Join)
    };
    let (then, last) = (joined(|row| row.at)?, joined(|row| row.known)?);
    let fields = held.frequent_fields(max_fields);
    let won: Vec<bool> = rows.iter().map(|row| row.came).collect();
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

/// The table of rows whose outcome does not count, of the given columns, joined with activity as asked: of which object, and as
/// of when. Every outcome is false.
///
/// # Errors
/// [`DealSetError::Join`].
pub(crate) fn unjudged(
    held: &Builder,
    asked: &[(&str, Timestamp)],
    activity: &Activity,
    columns: &[String],
) -> Result<Table, DealSetError> {
    let running = activity.running().map_err(DealSetError::Join)?;
    let activity = activity.as_of(&running, asked).map_err(DealSetError::Join)?;
    let fields: Vec<String> = columns
        .iter()
        .filter_map(|column| column.strip_prefix(FIELD_PREFIX).map(str::to_owned))
        .collect();
    let at = asked.iter().map(|(_, at)| days(*at)).collect();
    Ok(held.table(&fields, activity, vec![false; asked.len()], at))
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
    groups: Vec<usize>,
    group_of: BTreeMap<String, usize>,
    rows: usize,
}

impl Builder {
    pub(crate) fn push(&mut self, row: &DealRow<'_>, account: Option<&String>, deal_id: &str) {
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

    fn frequent_fields(&self, most: usize) -> Vec<String> {
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
    fn table(&self, fields: &[String], activity: Vec<Vec<f64>>, won: Vec<bool>, at: Vec<f64>) -> Table {
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
