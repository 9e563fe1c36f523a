//! What had happened on a deal, as known at an instant? Running sums in order of knowledge, joined as of.

use std::collections::HashMap;

use arrow::{
    array::{Array as _, RecordBatch, StringViewArray},
    datatypes::TimeUnit,
};
use polars::prelude::{AsofJoinBy as _, AsofStrategy, Column as PolarsColumn, DataFrame, DataType};
use revgauge_contract::{
    Timestamp,
    schema::{text_column, time_column},
    time::DAY_US,
};
use revgauge_models::win::rows::{FIRST_ACTIVITY, NUMBERS};

/// Half-lives of the decayed counts, days.
const HALF_LIVES: [f64; 2] = [14.0, 60.0];
const COLUMNS: usize = NUMBERS.len() - FIRST_ACTIVITY;
/// Running columns: inbound, outbound (two half-lives each), meetings, last inbound, last event.
const NAMES: [&str; COLUMNS] = ["i14", "i60", "o14", "o60", "m60", "last_inbound", "last_event"];

#[derive(Debug, Clone, Copy)]
struct Event {
    deal: u32,
    known: i64,
    at: i64,
    human: bool,
    inbound: bool,
    outbound: bool,
    meeting: bool,
}

/// Engagement events of people on deals, or on other objects that rows are made of.
#[derive(Debug, Clone, Default)]
pub struct Activity {
    deals: HashMap<String, u32>,
    events: Vec<Event>,
}

impl Activity {
    /// Takes rows of the events table: `deal_id`, `type`, `direction`, `machine_class`, `event_time`, `known_at`.
    ///
    /// Rows without a deal, and of machines but for meetings, are left out.
    ///
    /// # Errors
    /// Names the first column that is missing or of another type.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let deals = text_column(batch, "deal_id").ok_or_else(|| wrong(batch, "deal_id"))?;
        self.push_of(deals, batch)
    }

    /// As [`Activity::push`], of the objects named row by row in `deals`, which need not be deals.
    ///
    /// # Errors
    /// As [`Activity::push`].
    pub fn push_of(&mut self, deals: &StringViewArray, batch: &RecordBatch) -> Result<(), String> {
        let text = |name: &str| text_column(batch, name).ok_or_else(|| wrong(batch, name));
        let time = |name: &str| time_column(batch, name).ok_or_else(|| wrong(batch, name));
        let types = text("type")?;
        let (directions, classes) = (text("direction")?, text("machine_class")?);
        let (happened, known) = (time("event_time")?, time("known_at")?);
        for row in 0..batch.num_rows() {
            if deals.is_null(row) {
                continue;
            }
            let human = matches!(classes.value(row), "none" | "");
            let meeting = types.value(row) == "meeting.attended";
            if !human && !meeting {
                continue;
            }
            let deal = self.number_of(deals.value(row));
            let direction = if directions.is_null(row) {
                ""
            } else {
                directions.value(row)
            };
            self.events.push(Event {
                deal,
                known: known.value(row),
                at: happened.value(row),
                human,
                inbound: human && direction == "inbound",
                outbound: human && direction == "outbound",
                meeting,
            });
        }
        Ok(())
    }

    /// Takes one mail of a person on a deal, known when it happened.
    pub fn add(&mut self, deal_id: &str, at_us: i64, inbound: bool) {
        let deal = self.number_of(deal_id);
        self.events.push(Event {
            deal,
            known: at_us,
            at: at_us,
            human: true,
            inbound,
            outbound: !inbound,
            meeting: false,
        });
    }

    fn number_of(&mut self, deal_id: &str) -> u32 {
        if let Some(deal) = self.deals.get(deal_id) {
            return *deal;
        }
        let next = self.deals.len() as u32;
        self.deals.insert(deal_id.to_owned(), next);
        next
    }

    /// Number of events held.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The activity columns of deals at instants, in the order asked: one `Vec` a column, as [`NUMBERS`] has them. `running`
    /// is [`Activity::running`], made once for several questions.
    pub(crate) fn as_of(
        &self,
        running: &DataFrame,
        asked: &[(&str, Timestamp)],
    ) -> Result<Vec<Vec<f64>>, String> {
        let mut order: Vec<usize> = (0..asked.len()).collect();
        order.sort_by_key(|place| asked[*place].1);
        // A deal without any event gets a number that no event has.
        let ids: Vec<u32> = order
            .iter()
            .map(|place| self.deals.get(asked[*place].0).copied().unwrap_or(u32::MAX))
            .collect();
        let instants: Vec<i64> = order.iter().map(|place| asked[*place].1.micros()).collect();
        let left = DataFrame::new_infer_height(vec![
            PolarsColumn::new("deal".into(), ids),
            PolarsColumn::new("at".into(), instants.as_slice()),
        ])
        .map_err(|error| error.to_string())?;
        let joined = left
            .join_asof_by(
                running,
                "at",
                "known",
                ["deal"],
                ["deal"],
                AsofStrategy::Backward,
                None,
                true,
                false,
            )
            .map_err(|error| error.to_string())?;
        let mut columns = Vec::with_capacity(COLUMNS);
        for (place, name) in NAMES.iter().enumerate() {
            let values = joined.column(name).map_err(|error| error.to_string())?;
            let values = values
                .cast(&DataType::Float64)
                .map_err(|error| error.to_string())?;
            let values = values.f64().map_err(|error| error.to_string())?;
            let mut column = vec![f64::NAN; asked.len()];
            for ((value, row), at) in values.iter().zip(&order).zip(&instants) {
                column[*row] = brought(place, value, *at);
            }
            columns.push(column);
        }
        Ok(columns)
    }

    /// Running sums of each deal in order of knowledge, then sorted by knowledge alone for the join.
    pub(crate) fn running(&self) -> Result<DataFrame, String> {
        let mut order: Vec<u32> = (0..self.events.len() as u32).collect();
        order.sort_by_key(|place| {
            let event = &self.events[*place as usize];
            (event.known, event.deal, event.at)
        });
        let mut sums: Vec<[f64; COLUMNS]> = vec![START; self.deals.len()];
        let mut columns: Vec<Vec<f64>> = (0..COLUMNS).map(|_| Vec::with_capacity(order.len())).collect();
        let (mut deals, mut known) = (Vec::with_capacity(order.len()), Vec::with_capacity(order.len()));
        for place in order {
            let event = self.events[place as usize];
            let held = &mut sums[event.deal as usize];
            for (half_life, days) in HALF_LIVES.iter().enumerate() {
                let weight = forward(event.at, *days);
                held[half_life] += if event.inbound { weight } else { 0.0 };
                held[2 + half_life] += if event.outbound { weight } else { 0.0 };
            }
            held[4] += if event.meeting {
                forward(event.at, HALF_LIVES[1])
            } else {
                0.0
            };
            if event.inbound {
                held[5] = held[5].max(event.at as f64);
            }
            if event.human {
                held[6] = held[6].max(event.at as f64);
            }
            for (column, value) in columns.iter_mut().zip(held) {
                column.push(*value);
            }
            deals.push(event.deal);
            known.push(event.known);
        }
        let mut all = vec![
            PolarsColumn::new("deal".into(), deals),
            PolarsColumn::new("known".into(), known),
        ];
        all.extend(
            NAMES
                .iter()
                .zip(columns)
                .map(|(name, values)| PolarsColumn::new((*name).into(), values)),
        );
        DataFrame::new_infer_height(all).map_err(|error| error.to_string())
    }
}

const START: [f64; COLUMNS] = [0.0, 0.0, 0.0, 0.0, 0.0, f64::NEG_INFINITY, f64::NEG_INFINITY];
/// Middle of the instants for which forward decay is exact: 2010-01-01, a thousand half-lives either way.
const LANDMARK_US: i64 = 14_610 * DAY_US;

/// `2^((t - landmark) / half-life)`.
fn forward(at: i64, half_life_days: f64) -> f64 {
    ((at - LANDMARK_US) as f64 / DAY_US as f64 / half_life_days).exp2()
}

/// A running value brought to an instant: decayed sums decayed to it, last times as days since them.
fn brought(place: usize, value: Option<f64>, at: i64) -> f64 {
    match place {
        0..5 => value.map_or(0.0, |sum| {
            let half_life = if place == 0 || place == 2 {
                HALF_LIVES[0]
            } else {
                HALF_LIVES[1]
            };
            sum / forward(at, half_life)
        }),
        _ => match value {
            Some(last) if last.is_finite() => ((at as f64 - last) / DAY_US as f64).max(0.0),
            _ => f64::NAN,
        },
    }
}

fn wrong(batch: &RecordBatch, name: &str) -> String {
    let held = batch
        .schema_ref()
        .field_with_name(name)
        .map(|field| field.data_type().clone());
    let wanted = arrow::datatypes::DataType::Timestamp(TimeUnit::Microsecond, None);
    match held {
        Ok(held) => format!("column {name} of the events is {held}, neither a text view nor {wanted}"),
        Err(_) => format!("the events have no column {name}"),
    }
}
