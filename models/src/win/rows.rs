//! What is known of a deal at an instant, as the named columns that win models read? One making for training and serving.

use revgauge_contract::{
    Timestamp,
    event::{Direction, MachineClass},
};

use super::encode::Cell;
use crate::{
    changelog::ObjectLog,
    deal::{DealFacts, DealHistory, FieldValue, widened},
    decay::decayed,
    directory::{STAGE_FIELDS, StageCatalogue, number},
    facts::{ActivityRow, Fields},
    text::TextFindings,
};

/// Prefix of a column that is a CRM field as it stands, such as `field:lead_source`.
pub const FIELD_PREFIX: &str = "field:";
/// The column of the stage.
pub const STAGE: &str = "stage";

/// Names of the derived numbers, in the order of [`DealRow`].
///
/// Days are counted to the row's instant; `inbound_14` and its like are decayed counts of events of people with a
/// half-life of so many days (SO-11: engagement speaks in the probability).
pub const NUMBERS: [&str; 19] = [
    "age_days",
    "stage_days",
    "stages_entered",
    "slips",
    "slipped_days",
    "pull_ins",
    "days_to_close",
    "amount",
    "amount_changes",
    "amount_growth",
    "owner_changes",
    "quiet_days",
    "inbound_14",
    "inbound_60",
    "outbound_14",
    "outbound_60",
    "meetings_60",
    "days_since_inbound",
    "days_since_activity",
];
/// Place of the first number that is read from activity; the rest is read from the change log.
pub const FIRST_ACTIVITY: usize = 12;

/// CRM fields that the derived numbers already speak for.
const SPOKEN_FOR: [&str; 11] = [
    "amount",
    "close_date",
    "closedate",
    "expected_close_date",
    "created_at",
    "create_date",
    "createdate",
    "created_date",
    "created",
    "name",
    "deal_name",
];

/// The columns of one deal at one instant.
#[derive(Debug, Clone)]
pub struct DealRow<'a> {
    /// In the order of [`NUMBERS`]; NaN where unknown.
    pub numbers: [f64; NUMBERS.len()],
    stage: Option<&'a str>,
    fields: &'a Fields,
}

impl<'a> DealRow<'a> {
    /// Reads the facts of a deal as known at `at`. Cost: a pass over its activity rows.
    pub fn of(facts: &'a DealFacts, at: Timestamp) -> Self {
        let mut numbers = [f64::NAN; NUMBERS.len()];
        let history = &facts.history;
        let since = |then: Option<Timestamp>| then.map_or(f64::NAN, |then| at.days_since(then).max(0.0));
        numbers[0] = since(history.created_at);
        numbers[1] = since(history.stage_entered_at().or(history.created_at));
        numbers[2] = history.stages.len() as f64;
        numbers[3] = history.slips.len() as f64;
        numbers[4] = history.slips.iter().filter_map(moved_days).sum();
        numbers[5] = history.pull_ins.len() as f64;
        numbers[6] = history.close_date.map_or(f64::NAN, |close| close.days_since(at));
        numbers[7] = facts
            .fields
            .get("amount")
            .and_then(|text| number(text))
            .unwrap_or(f64::NAN);
        numbers[8] = history.amounts.len() as f64;
        numbers[9] = growth(history).unwrap_or(0.0);
        numbers[10] = history.owners.len() as f64;
        numbers[11] = since(history.last_change);
        activity(&facts.activity, at, &mut numbers);
        Self {
            numbers,
            stage: STAGE_FIELDS
                .iter()
                .find_map(|name| facts.fields.get(*name))
                .map(String::as_str),
            fields: &facts.fields,
        }
    }

    /// The value of a column by its name; a column that is not known here is missing.
    pub fn cell(&self, column: &str) -> Cell<'a> {
        if column == STAGE {
            return self.stage.map_or(Cell::Missing, Cell::Text);
        }
        if let Some(field) = column.strip_prefix(FIELD_PREFIX) {
            return self
                .fields
                .get(field)
                .map_or(Cell::Missing, |text| Cell::Text(text));
        }
        match NUMBERS.iter().position(|name| *name == column) {
            Some(place) if self.numbers[place].is_finite() => Cell::Number(self.numbers[place]),
            _ => Cell::Missing,
        }
    }

    /// The CRM fields that are columns of their own, by field name.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| !SPOKEN_FOR.contains(name) && !STAGE_FIELDS.contains(name))
    }
}

fn moved_days(change: &crate::deal::Change) -> Option<f64> {
    let (from, to) = (
        crate::deal::instant(&change.from)?,
        crate::deal::instant(&change.to)?,
    );
    Some(to.days_since(from))
}

/// `ln(last amount / first amount)`.
fn growth(history: &DealHistory) -> Option<f64> {
    let first = number(&history.amounts.first()?.from)?;
    let last = number(&history.amounts.last()?.to)?;
    (first > 0.0 && last > 0.0).then(|| (last / first).ln())
}

/// Fills the numbers from [`FIRST_ACTIVITY`] on.
pub(super) fn activity(rows: &[ActivityRow], at: Timestamp, numbers: &mut [f64; NUMBERS.len()]) {
    numbers[12..17].fill(0.0);
    let (mut inbound, mut any): (Option<Timestamp>, Option<Timestamp>) = (None, None);
    for row in rows.iter().filter(|row| row.machine_class == MachineClass::None) {
        any = any.max(Some(row.last_time));
        let place = match row.direction {
            Some(Direction::Inbound) => {
                inbound = inbound.max(Some(row.last_time));
                12
            }
            Some(Direction::Outbound) => 14,
            None => continue,
        };
        numbers[place] += decayed(row, 14, at);
        numbers[place + 1] += decayed(row, 60, at);
    }
    for row in rows.iter().filter(|row| &*row.event_type == "meeting.attended") {
        numbers[16] += decayed(row, 60, at);
    }
    let since = |then: Option<Timestamp>| then.map_or(f64::NAN, |then| at.days_since(then).max(0.0));
    numbers[17] = since(inbound);
    numbers[18] = since(any);
}

/// The facts of a deal as its change log knew them at an instant, without activity and people; none when the deal was not
/// known then, deleted or merged away. Cost: a pass over the changes known then.
pub fn facts_at(log: ObjectLog<'_>, stages: &StageCatalogue, at: Timestamp) -> Option<DealFacts> {
    let state = log.state_at(at);
    if !state.exists() {
        return None;
    }
    let fields = state.fields();
    let mut values: std::collections::BTreeMap<String, Vec<FieldValue>> = std::collections::BTreeMap::new();
    let mut span = None;
    for change in log.changes().take_while(|change| change.known_at <= at) {
        span = widened(span, change.event_time);
        if !DealHistory::reads(change.field) {
            continue;
        }
        let value = FieldValue {
            order_key: change.order.key(),
            value: change.value.map(str::to_owned),
        };
        match values.get_mut(change.field) {
            Some(held) => held.push(value),
            None => {
                values.insert(change.field.to_owned(), vec![value]);
            }
        }
    }
    Some(DealFacts {
        deal_id: log.id().to_owned(),
        account_id: None,
        outcome: stages.outcome(&fields),
        history: DealHistory::fold_read(values, span, stages),
        fields,
        activity: Vec::new(),
        contacts: Vec::new(),
        stage_median: None,
        texts: Vec::new(),
        findings: TextFindings::default(),
    })
}
