//! From record batches of layer 1 to the rows that scoring reads.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, Float64Array, Int64Array, RecordBatch, StringViewArray},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type},
};
use hashbrown::HashMap;
use revgauge_contract::{
    ErrorKind, Timestamp,
    error::Failure,
    event::{Direction, MachineClass},
    schema::{text_column, time_column},
};

use crate::{
    deal::FieldValue,
    facts::{ActivityRow, RhythmRow},
    text::DealText,
};

/// Entities asked for, and which key belongs to which of them.
pub(super) struct Grouped {
    pub(super) ids: Vec<Arc<str>>,
    pub(super) entity_of_key: HashMap<Arc<str>, usize>,
}

pub(super) fn misshapen(pipeline: &str) -> Failure {
    Failure::new(
        ErrorKind::Data,
        format!("cannot read rows of pipeline '{pipeline}': a column is missing or of another type"),
    )
}

fn integers(batch: &RecordBatch, name: &str) -> Option<Int64Array> {
    as_type(batch.column_by_name(name)?, &DataType::Int64)?
        .as_primitive_opt::<Int64Type>()
        .cloned()
}

fn floats(batch: &RecordBatch, name: &str) -> Option<Float64Array> {
    as_type(batch.column_by_name(name)?, &DataType::Float64)?
        .as_primitive_opt::<Float64Type>()
        .cloned()
}

fn as_type(column: &ArrayRef, data_type: &DataType) -> Option<ArrayRef> {
    if column.data_type() == data_type {
        return Some(Arc::clone(column));
    }
    cast(column, data_type).ok()
}

/// Columns of an activity pipeline, looked up once a batch.
pub(super) struct ActivityColumns<'a> {
    keys: &'a StringViewArray,
    types: &'a StringViewArray,
    directions: &'a StringViewArray,
    classes: &'a StringViewArray,
    era: Int64Array,
    n: Int64Array,
    sums: Vec<(u16, Float64Array)>,
    value_sum: Float64Array,
    value_max: Float64Array,
    times: [&'a arrow::array::TimestampMicrosecondArray; 2],
}

impl<'a> ActivityColumns<'a> {
    pub(super) fn of(batch: &'a RecordBatch, key: &str) -> Option<Self> {
        let mut sums = Vec::new();
        for field in batch.schema_ref().fields() {
            if let Some(days) = field
                .name()
                .strip_prefix("s_days_")
                .and_then(|days| days.parse().ok())
            {
                sums.push((days, floats(batch, field.name())?));
            }
        }
        Some(Self {
            keys: text_column(batch, key)?,
            types: text_column(batch, "type")?,
            directions: text_column(batch, "direction")?,
            classes: text_column(batch, "machine_class")?,
            era: integers(batch, "era")?,
            n: integers(batch, "n")?,
            sums,
            value_sum: floats(batch, "value_sum")?,
            value_max: floats(batch, "value_max")?,
            times: [
                time_column(batch, "first_time")?,
                time_column(batch, "last_time")?,
            ],
        })
    }

    pub(super) fn key(&self, row: usize) -> Option<&'a str> {
        (!self.keys.is_null(row)).then(|| self.keys.value(row))
    }

    pub(super) fn row(&self, row: usize, names: &mut HashMap<String, Arc<str>>) -> ActivityRow {
        ActivityRow {
            event_type: Arc::clone(
                names
                    .entry_ref(self.types.value(row))
                    .or_insert_with(|| self.types.value(row).into()),
            ),
            direction: direction(self.directions, row),
            machine_class: machine_class(self.classes, row),
            era: self.era.value(row),
            n: self.n.value(row),
            sums: self
                .sums
                .iter()
                .map(|(days, sums)| (*days, or_zero(sums, row)))
                .collect(),
            value_sum: or_zero(&self.value_sum, row),
            value_max: (!self.value_max.is_null(row)).then(|| self.value_max.value(row)),
            first_time: Timestamp(self.times[0].value(row)),
            last_time: Timestamp(self.times[1].value(row)),
        }
    }
}

fn or_zero(column: &Float64Array, row: usize) -> f64 {
    if column.is_null(row) {
        0.0
    } else {
        column.value(row)
    }
}

fn direction(column: &StringViewArray, row: usize) -> Option<Direction> {
    if column.is_null(row) {
        return None;
    }
    match column.value(row) {
        "inbound" => Some(Direction::Inbound),
        "outbound" => Some(Direction::Outbound),
        _ => None,
    }
}

fn machine_class(column: &StringViewArray, row: usize) -> MachineClass {
    match column.value(row) {
        "proxy" => MachineClass::Proxy,
        "scanner" => MachineClass::Scanner,
        "bot" => MachineClass::Bot,
        _ => MachineClass::None,
    }
}

/// Adds a row to an entity's; rows of merged keys become one, as if they had always been one key (N-22).
pub(super) fn add(rows: &mut Vec<ActivityRow>, new: ActivityRow) {
    let same = rows.iter_mut().find(|row| {
        row.era == new.era
            && row.event_type == new.event_type
            && row.direction == new.direction
            && row.machine_class == new.machine_class
    });
    let Some(held) = same else {
        rows.push(new);
        return;
    };
    held.n += new.n;
    for (held, new) in held.sums.iter_mut().zip(&new.sums) {
        held.1 += new.1;
    }
    held.value_sum += new.value_sum;
    held.value_max = match (held.value_max, new.value_max) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    };
    held.first_time = held.first_time.min(new.first_time);
    held.last_time = held.last_time.max(new.last_time);
}

/// One order for the same rows, whatever order they came in.
pub(super) fn sort(rows: &mut [ActivityRow]) {
    let key = |row: &ActivityRow| {
        (
            row.era,
            row.direction.map(Direction::as_str),
            row.machine_class.as_str(),
        )
    };
    rows.sort_by(|a, b| a.event_type.cmp(&b.event_type).then_with(|| key(a).cmp(&key(b))));
}

pub(super) fn rhythm(batches: &[RecordBatch], grouped: &Grouped) -> Vec<Vec<RhythmRow>> {
    let mut rhythm: Vec<Vec<RhythmRow>> = vec![Vec::new(); grouped.ids.len()];
    let mut names: HashMap<String, Arc<str>> = HashMap::new();
    for batch in batches {
        let (Some(keys), Some(types), Some(classes), Some(hours), Some(n)) = (
            text_column(batch, "contact_key"),
            text_column(batch, "type"),
            text_column(batch, "machine_class"),
            integers(batch, "hour_of_week"),
            integers(batch, "n"),
        ) else {
            continue;
        };
        for row in 0..batch.num_rows() {
            let Some(place) = grouped.entity_of_key.get(keys.value(row)) else {
                continue;
            };
            let Ok(hour_of_week @ 0..168) = u8::try_from(hours.value(row)) else {
                continue;
            };
            let event_type = Arc::clone(
                names
                    .entry_ref(types.value(row))
                    .or_insert_with(|| types.value(row).into()),
            );
            let machine_class = machine_class(classes, row);
            let same = rhythm[*place].iter_mut().find(|held| {
                held.hour_of_week == hour_of_week
                    && held.event_type == event_type
                    && held.machine_class == machine_class
            });
            match same {
                Some(held) => held.n += n.value(row),
                None => rhythm[*place].push(RhythmRow {
                    event_type,
                    machine_class,
                    hour_of_week,
                    n: n.value(row),
                }),
            }
        }
    }
    for rows in &mut rhythm {
        rows.sort_by(|a, b| {
            (&a.event_type, a.hour_of_week, a.machine_class.as_str()).cmp(&(
                &b.event_type,
                b.hour_of_week,
                b.machine_class.as_str(),
            ))
        });
    }
    rhythm
}

/// Values of each field of each deal.
pub(super) fn histories(
    batches: &[RecordBatch],
    grouped: &Grouped,
) -> Vec<BTreeMap<String, Vec<FieldValue>>> {
    let mut histories: Vec<BTreeMap<String, Vec<FieldValue>>> = vec![BTreeMap::new(); grouped.ids.len()];
    for batch in batches {
        let (Some(deals), Some(fields), Some(keys), Some(values)) = (
            text_column(batch, "deal_id"),
            text_column(batch, "field"),
            text_column(batch, "order_key"),
            text_column(batch, "value"),
        ) else {
            continue;
        };
        for row in 0..batch.num_rows() {
            let Some(place) = grouped.entity_of_key.get(deals.value(row)) else {
                continue;
            };
            let change = FieldValue {
                order_key: keys.value(row).to_owned(),
                value: (!values.is_null(row)).then(|| values.value(row).to_owned()),
            };
            let changes = histories[*place].entry(fields.value(row).to_owned()).or_default();
            if !changes.contains(&change) {
                changes.push(change);
            }
        }
    }
    histories
}

/// Inbound human events of each contact key on each deal; keys seen only outbound have none.
pub(super) fn deal_people(batches: &[RecordBatch], grouped: &Grouped) -> Vec<HashMap<Arc<str>, i64>> {
    let mut people: Vec<HashMap<Arc<str>, i64>> = vec![HashMap::new(); grouped.ids.len()];
    for batch in batches {
        let (Some(deals), Some(keys), Some(directions), Some(classes), Some(n)) = (
            text_column(batch, "deal_id"),
            text_column(batch, "contact_key"),
            text_column(batch, "direction"),
            text_column(batch, "machine_class"),
            integers(batch, "n"),
        ) else {
            continue;
        };
        for row in 0..batch.num_rows() {
            if keys.is_null(row) {
                continue;
            }
            if let Some(place) = grouped.entity_of_key.get(deals.value(row)) {
                let answered = direction(directions, row) == Some(Direction::Inbound)
                    && machine_class(classes, row) == MachineClass::None;
                let count = people[*place].entry(keys.value(row).into()).or_default();
                *count += if answered { n.value(row) } else { 0 };
            }
        }
    }
    people
}

/// Texts of each deal.
pub(super) fn deal_texts(batches: &[RecordBatch], grouped: &Grouped) -> Vec<Vec<DealText>> {
    let mut texts: Vec<Vec<DealText>> = vec![Vec::new(); grouped.ids.len()];
    for batch in batches {
        let column = |name| text_column(batch, name);
        let (
            Some(deals),
            Some(events),
            Some(types),
            Some(users),
            Some(payloads),
            Some(directions),
            Some(times),
        ) = (
            column("deal_id"),
            column("event_id"),
            column("type"),
            column("user_id"),
            column("payload"),
            column("direction"),
            time_column(batch, "event_time"),
        )
        else {
            continue;
        };
        for row in 0..batch.num_rows() {
            if let Some(place) = grouped.entity_of_key.get(deals.value(row)) {
                texts[*place].push(DealText {
                    event_id: events.value(row).to_owned(),
                    event_type: types.value(row).to_owned(),
                    at: Timestamp(times.value(row)),
                    user_id: (!users.is_null(row)).then(|| users.value(row).to_owned()),
                    direction: direction(directions, row),
                    payload: payloads.value(row).to_owned(),
                });
            }
        }
    }
    texts
}
