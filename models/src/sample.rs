//! Layer 1 for tests, computed the plain way: every row from scratch over all events.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray,
        TimestampMicrosecondArray,
    },
    datatypes::{Field, Schema},
};
use async_trait::async_trait;
use parking_lot::RwLock;
use revgauge_contract::{
    Position, Timestamp,
    crm::{self, order_key},
    error::Failure,
    event::{Direction, Event, EventDraft, Reception, Trust},
    event_type::EventKind,
    feed::FeedSink,
    schema::{batch_of, text_column, time_column},
    score::ScoreChange,
    statistics::{Changed, EntityColumn, Keys, Knowledge, StatisticsSource},
    time::DAY_US,
};
use serde_json::{Map, Value, json};

use crate::decay::era_start;

pub(crate) const TENANT: &str = "t1";
/// 2026-01-01T00:00:00Z.
pub(crate) const DAY_ZERO: Timestamp = Timestamp(1_767_225_600_000_000);

/// An instant some days after [`DAY_ZERO`].
pub(crate) fn day(days: f64) -> Timestamp {
    DAY_ZERO.plus_micros((days * DAY_US as f64) as i64)
}

/// Accepts a draft as known when it happened.
pub(crate) fn accept(draft: EventDraft) -> Event {
    let reception = Reception {
        tenant_id: TENANT.into(),
        received_at: day(5_000.0),
        source: "test",
        trust: Trust::History,
        max_future_us: DAY_US,
    };
    draft.accept(&reception).expect("a good draft")
}

/// An engagement event of a contact key (an address or an id).
pub(crate) fn act(event_type: &str, contact: &str, at: Timestamp) -> EventDraft {
    let address = contact.contains('@');
    EventDraft {
        event_type: Some(event_type.to_owned()),
        event_time: Some(at),
        contact_id: (!address).then(|| contact.to_owned()),
        email: address.then(|| contact.to_owned()),
        ..EventDraft::default()
    }
}

/// A CRM event with its fields; the id goes where the object has it.
pub(crate) fn crm_event(event_type: &str, id: &str, at: Timestamp, payload: Value) -> EventDraft {
    let mut draft = EventDraft {
        event_type: Some(event_type.to_owned()),
        event_time: Some(at),
        payload: match payload {
            Value::Object(map) => map,
            _ => Map::new(),
        },
        ..EventDraft::default()
    };
    let place = match event_type.split('.').next().unwrap_or_default() {
        "contact" | "person" => &mut draft.contact_id,
        "account" | "company" => &mut draft.account_id,
        "deal" => &mut draft.deal_id,
        "user" => &mut draft.user_id,
        _ => {
            draft.payload.insert("id".into(), json!(id));
            return draft;
        }
    };
    *place = Some(id.to_owned());
    draft
}

/// A `crm_state` batch from `(object, id, field, version, value)`.
pub(crate) fn crm_state(rows: &[(&str, &str, &str, i64, Option<&str>)]) -> RecordBatch {
    let mut table = Table::default();
    for (object, id, field, version, value) in rows {
        let key = order_key(Some(*version), *version);
        table.text("tenant_id", Some(TENANT));
        table.text("object", Some(object));
        table.text("object_id", Some(id));
        table.text("field", Some(field));
        table.integer("n", 1);
        table.text(
            "latest",
            Some(&value.map_or(format!("{key}-"), |value| format!("{key}={value}"))),
        );
        table.time("known_at", Timestamp(*version));
    }
    table.finish()
}

#[derive(Default)]
struct Table {
    names: Vec<&'static str>,
    columns: BTreeMap<&'static str, Cells>,
}

enum Cells {
    Text(Vec<Option<String>>),
    Integer(Vec<i64>),
    Float(Vec<Option<f64>>),
    Time(Vec<i64>),
}

impl Table {
    fn column(&mut self, name: &'static str, empty: impl FnOnce() -> Cells) -> &mut Cells {
        if !self.columns.contains_key(name) {
            self.names.push(name);
        }
        self.columns.entry(name).or_insert_with(empty)
    }

    fn text(&mut self, name: &'static str, value: Option<&str>) {
        if let Cells::Text(cells) = self.column(name, || Cells::Text(Vec::new())) {
            cells.push(value.map(str::to_owned));
        }
    }

    fn integer(&mut self, name: &'static str, value: i64) {
        if let Cells::Integer(cells) = self.column(name, || Cells::Integer(Vec::new())) {
            cells.push(value);
        }
    }

    fn float(&mut self, name: &'static str, value: Option<f64>) {
        if let Cells::Float(cells) = self.column(name, || Cells::Float(Vec::new())) {
            cells.push(value);
        }
    }

    fn time(&mut self, name: &'static str, value: Timestamp) {
        if let Cells::Time(cells) = self.column(name, || Cells::Time(Vec::new())) {
            cells.push(value.micros());
        }
    }

    fn finish(mut self) -> RecordBatch {
        let mut fields = Vec::new();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for name in self.names {
            let array: ArrayRef = match self.columns.remove(name).expect("named") {
                Cells::Text(cells) => Arc::new(cells.into_iter().collect::<StringViewArray>()),
                Cells::Integer(cells) => Arc::new(Int64Array::from(cells)),
                Cells::Float(cells) => Arc::new(Float64Array::from(cells)),
                Cells::Time(cells) => Arc::new(TimestampMicrosecondArray::from(cells)),
            };
            fields.push(Field::new(name, array.data_type().clone(), true));
            arrays.push(array);
        }
        let rows = arrays.first().map_or(0, |array| array.len());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .expect("equal lengths")
    }
}

#[derive(Default)]
struct Sums {
    n: i64,
    sums: BTreeMap<u16, f64>,
    value_sum: f64,
    value_max: Option<f64>,
    account: Option<String>,
    email: Option<String>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl Sums {
    fn add(&mut self, event: &Event, half_lives: &[u16]) {
        let era = event.event_time.era();
        self.n += 1;
        for half_life in half_lives {
            let age = event.event_time.days_since(era_start(era)) / f64::from(*half_life);
            *self.sums.entry(*half_life).or_default() += age.exp2();
        }
        self.value_sum += event.value.unwrap_or(0.0);
        self.value_max = self.value_max.max_with(event.value);
        self.account = self.account.take().max(event.account_key().map(str::to_owned));
        self.email = self.email.take().max(event.email.clone());
        self.first = Some(
            self.first
                .map_or(event.event_time, |first| first.min(event.event_time)),
        );
        self.last = self.last.max(Some(event.event_time));
    }

    fn write(&self, table: &mut Table) {
        table.integer("n", self.n);
        for (half_life, sum) in &self.sums {
            let name = match half_life {
                3 => "s_days_3",
                7 => "s_days_7",
                14 => "s_days_14",
                30 => "s_days_30",
                60 => "s_days_60",
                90 => "s_days_90",
                _ => "s_days_180",
            };
            table.float(name, Some(*sum));
        }
        table.float("value_sum", Some(self.value_sum));
        table.float("value_max", self.value_max);
        table.text("account_key", self.account.as_deref());
        table.text("email", self.email.as_deref());
        table.time("first_time", self.first.unwrap_or_default());
        table.time("last_time", self.last.unwrap_or_default());
    }
}

trait MaxWith {
    fn max_with(self, other: Self) -> Self;
}

impl MaxWith for Option<f64> {
    fn max_with(self, other: Self) -> Self {
        match (self, other) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        }
    }
}

/// All events, and the rows of layer 1 over them.
#[derive(Default)]
pub(crate) struct Layer1 {
    events: RwLock<Vec<Event>>,
}

pub(crate) const PIPELINES: [&str; 8] = [
    "contact_engagement",
    "contact_rhythm",
    "account_signals",
    "deal_activity",
    "deal_contacts",
    "deal_texts",
    "crm_state",
    "deal_history",
];

impl Layer1 {
    pub(crate) fn of(drafts: impl IntoIterator<Item = EventDraft>) -> Arc<Self> {
        let layer = Self::default();
        layer.events.write().extend(drafts.into_iter().map(accept));
        Arc::new(layer)
    }

    /// Adds events; answers the changed rows, as the engine would after a micro-batch.
    pub(crate) fn push(&self, drafts: impl IntoIterator<Item = EventDraft>) -> Vec<Changed> {
        let new: Vec<Event> = drafts.into_iter().map(accept).collect();
        self.events.write().extend(new.iter().cloned());
        let changed = |pipeline: &'static str| {
            let column = key_column(pipeline);
            let keys: BTreeSet<String> = compute(pipeline, &new)
                .iter()
                .flat_map(|batch| texts(batch, column))
                .collect();
            let keys: Vec<String> = keys.into_iter().collect();
            let rows = self.select(pipeline, Keys::These(&keys), Knowledge::Now);
            rows.into_iter()
                .map(move |rows| Changed { pipeline, rows })
                .collect::<Vec<_>>()
        };
        PIPELINES.into_iter().flat_map(changed).collect()
    }

    fn select(&self, pipeline: &str, keys: Keys<'_>, knowledge: Knowledge) -> Vec<RecordBatch> {
        let events: Vec<Event> = self
            .events
            .read()
            .iter()
            .filter(|event| match knowledge {
                Knowledge::Now => true,
                Knowledge::At(at) => event.known_at <= at,
            })
            .cloned()
            .collect();
        let batches = compute(pipeline, &events);
        let Keys::These(keys) = keys else { return batches };
        batches
            .into_iter()
            .map(|batch| {
                let kept: Vec<bool> = texts(&batch, key_column(pipeline))
                    .map(|key| keys.contains(&key))
                    .collect();
                arrow::compute::filter_record_batch(&batch, &kept.into()).expect("same length")
            })
            .filter(|batch| batch.num_rows() > 0)
            .collect()
    }
}

fn key_column(pipeline: &str) -> &'static str {
    match pipeline {
        "contact_engagement" | "contact_rhythm" => "contact_key",
        "account_signals" => "account_key",
        "crm_state" => "object_id",
        _ => "deal_id",
    }
}

fn texts<'a>(batch: &'a RecordBatch, column: &str) -> impl Iterator<Item = String> + use<'a> {
    let column = text_column(batch, column).expect("a text column");
    (0..batch.num_rows()).map(|row| column.value(row).to_owned())
}

fn compute(pipeline: &str, events: &[Event]) -> Vec<RecordBatch> {
    let table = match pipeline {
        "contact_engagement" => sums(events, "contact_key", &[3, 14, 30, 60], Event::contact_key),
        "account_signals" => sums(events, "account_key", &[7, 14, 60, 90, 180], Event::account_key),
        "deal_activity" => sums(events, "deal_id", &[14, 60], |event| event.deal_id.as_deref()),
        "contact_rhythm" => rhythm(events),
        "deal_contacts" => deal_contacts(events),
        "deal_texts" => deal_texts(events),
        "crm_state" => states(events),
        _ => history(events),
    };
    if table.names.is_empty() {
        Vec::new()
    } else {
        vec![table.finish()]
    }
}

fn scored(event: &&Event) -> bool {
    event.kind != EventKind::Crm && !event.event_type.ends_with(".enriched")
}

fn sums(
    events: &[Event],
    key_name: &'static str,
    half_lives: &[u16],
    key: impl Fn(&Event) -> Option<&str>,
) -> Table {
    let mut groups: BTreeMap<_, Sums> = BTreeMap::new();
    for event in events.iter().filter(scored) {
        if let Some(key) = key(event) {
            let group = (
                key.to_owned(),
                event.event_time.era(),
                event.event_type.clone(),
                event.direction.map(Direction::as_str),
                event.machine_class.as_str(),
            );
            groups.entry(group).or_default().add(event, half_lives);
        }
    }
    let mut table = Table::default();
    for ((key, era, event_type, direction, class), sums) in groups {
        table.text("tenant_id", Some(TENANT));
        if key_name != "account_key" {
            table.text(key_name, Some(&key));
        }
        table.integer("era", era);
        table.text("type", Some(&event_type));
        table.text("direction", direction);
        table.text("machine_class", Some(class));
        sums.write(&mut table);
    }
    table
}

fn rhythm(events: &[Event]) -> Table {
    let mut groups: BTreeMap<_, i64> = BTreeMap::new();
    for event in events.iter().filter(scored) {
        if let Some(key) = event.contact_key() {
            let hours = event.event_time.micros().div_euclid(3_600_000_000);
            // 1970-01-01 was a Thursday.
            let hour_of_week = (hours + 72).rem_euclid(168);
            let group = (
                key.to_owned(),
                event.event_type.clone(),
                event.machine_class.as_str(),
                hour_of_week,
            );
            *groups.entry(group).or_default() += 1;
        }
    }
    let mut table = Table::default();
    for ((key, event_type, class, hour), n) in groups {
        table.text("tenant_id", Some(TENANT));
        table.text("contact_key", Some(&key));
        table.text("type", Some(&event_type));
        table.text("machine_class", Some(class));
        table.integer("hour_of_week", hour);
        table.integer("n", n);
    }
    table
}

fn deal_texts(events: &[Event]) -> Table {
    let mut table = Table::default();
    for event in events.iter().filter(scored) {
        if let Some(deal) = event
            .deal_id
            .as_deref()
            .filter(|_| event.payload.contains("\"text\""))
        {
            table.text("tenant_id", Some(TENANT));
            table.text("deal_id", Some(deal));
            table.text("event_id", Some(&event.event_id));
            table.text("type", Some(&event.event_type));
            table.text("direction", event.direction.map(Direction::as_str));
            table.text("user_id", event.user_id.as_deref());
            table.text("payload", Some(&event.payload));
            table.time("event_time", event.event_time);
        }
    }
    table
}

fn deal_contacts(events: &[Event]) -> Table {
    let mut groups: BTreeMap<_, Sums> = BTreeMap::new();
    for event in events.iter().filter(scored) {
        if let (Some(deal), Some(key)) = (&event.deal_id, event.contact_key()) {
            let group = (
                deal.clone(),
                key.to_owned(),
                event.direction.map(Direction::as_str),
                event.machine_class.as_str(),
            );
            groups.entry(group).or_default().add(event, &[]);
        }
    }
    let mut table = Table::default();
    for ((deal, key, direction, class), sums) in groups {
        table.text("tenant_id", Some(TENANT));
        table.text("deal_id", Some(&deal));
        table.text("contact_key", Some(&key));
        table.text("direction", direction);
        table.text("machine_class", Some(class));
        table.integer("n", sums.n);
        table.time("first_time", sums.first.unwrap_or_default());
        table.time("last_time", sums.last.unwrap_or_default());
    }
    table
}

fn states(events: &[Event]) -> Table {
    let rows = crm::explode(&batch_of(events));
    let text = |name: &str, row| {
        let column = text_column(&rows, name).expect("text");
        use arrow::array::Array as _;
        (!column.is_null(row)).then(|| column.value(row).to_owned())
    };
    let mut groups: BTreeMap<_, (i64, String)> = BTreeMap::new();
    for row in 0..rows.num_rows() {
        let key = (text("object", row), text("object_id", row), text("field", row));
        let order = text("order_key", row).expect("not null");
        let latest = text("value", row).map_or(format!("{order}-"), |value| format!("{order}={value}"));
        let held = groups.entry(key).or_default();
        held.0 += 1;
        held.1 = held.1.clone().max(latest);
    }
    let mut table = Table::default();
    for ((object, id, field), (n, latest)) in groups {
        table.text("tenant_id", Some(TENANT));
        table.text("object", object.as_deref());
        table.text("object_id", id.as_deref());
        table.text("field", field.as_deref());
        table.integer("n", n);
        table.text("latest", Some(&latest));
    }
    table
}

fn history(events: &[Event]) -> Table {
    let rows = crm::explode(&batch_of(events));
    let column = |name| text_column(&rows, name).expect("text");
    let times = time_column(&rows, "event_time").expect("time");
    let known = time_column(&rows, "known_at").expect("time");
    let mut table = Table::default();
    for row in 0..rows.num_rows() {
        use arrow::array::Array as _;
        if column("object").value(row) != "deal" {
            continue;
        }
        let values = column("value");
        table.text("tenant_id", Some(TENANT));
        table.text("deal_id", Some(column("object_id").value(row)));
        table.text("field", Some(column("field").value(row)));
        table.text("order_key", Some(column("order_key").value(row)));
        table.text("value", (!values.is_null(row)).then(|| values.value(row)));
        table.integer("n", 1);
        table.time("event_time", Timestamp(times.value(row)));
        table.time("known_at", Timestamp(known.value(row)));
    }
    table
}

#[async_trait]
impl StatisticsSource for Layer1 {
    async fn rows(
        &self,
        pipeline: &str,
        _tenant_id: &str,
        keys: Keys<'_>,
        knowledge: Knowledge,
    ) -> Result<Vec<RecordBatch>, Failure> {
        Ok(self.select(pipeline, keys, knowledge))
    }

    fn version(&self, _pipeline: &str) -> Option<u64> {
        Some(self.events.read().len() as u64)
    }

    async fn recent_events(
        &self,
        column: EntityColumn,
        _tenant_id: &str,
        keys: &[String],
        knowledge: Knowledge,
        limit: usize,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let mut events: Vec<Event> = self
            .events
            .read()
            .iter()
            .filter(|event| match knowledge {
                Knowledge::Now => true,
                Knowledge::At(at) => event.known_at <= at,
            })
            .filter(|event| {
                let key = match column {
                    EntityColumn::Contact => event.contact_key(),
                    EntityColumn::Account => event.account_key(),
                    EntityColumn::Deal => event.deal_id.as_deref(),
                };
                key.is_some_and(|key| keys.iter().any(|wanted| wanted == key))
            })
            .cloned()
            .collect();
        events.sort_by_key(|event| std::cmp::Reverse(event.event_time));
        events.truncate(limit);
        Ok(vec![batch_of(&events)])
    }
}

/// Events as the journal holds them.
pub(crate) fn event_batch(drafts: Vec<EventDraft>) -> RecordBatch {
    batch_of(&drafts.into_iter().map(accept).collect::<Vec<_>>())
}

/// A feed that keeps what it is given.
#[derive(Default)]
pub(crate) struct Feed {
    pub(crate) changes: RwLock<Vec<ScoreChange>>,
    pub(crate) covers: RwLock<Position>,
}

#[async_trait]
impl FeedSink for Feed {
    async fn append(&self, changes: Vec<ScoreChange>, covers: Position) -> Result<Position, Failure> {
        self.changes.write().extend(changes);
        let mut held = self.covers.write();
        assert!(covers >= *held, "covers never falls");
        *held = covers;
        Ok(covers)
    }
}

/// Changes as the stored feed holds them.
pub(crate) fn feed_batch(changes: &[ScoreChange]) -> RecordBatch {
    let mut table = Table::default();
    for (row, change) in changes.iter().enumerate() {
        table.text("tenant_id", Some(&change.tenant_id));
        table.integer("position", 1);
        table.integer("row", row as i64);
        table.text("entity_kind", Some(change.entity_kind.as_str()));
        table.text("entity_id", Some(&change.entity_id));
        table.text("score", Some(&change.score));
        table.float("old_value", change.old_value);
        table.float("new_value", change.new_value);
        table.text("old_tier", change.old_tier.as_deref());
        table.text("new_tier", change.new_tier.as_deref());
        table.text("reason", Some(&change.reason));
        table.text("cause", Some(change.cause.as_str()));
        table.time("as_of", change.as_of);
        table.text("definition", Some(&change.definition));
        table.text("fingerprint", Some(&change.fingerprint));
        table.text("detail", Some(&change.detail));
    }
    table.finish()
}
