//! The one Arrow schema of events, and the builder that turns events into record batches.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{
        ArrayRef, AsArray, Float64Builder, RecordBatch, StringViewArray, StringViewBuilder,
        TimestampMicrosecondArray, TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType},
};

use crate::{
    Timestamp,
    event::{Direction, Event},
    judge::JudgedEvent,
};

/// Version of [`events`]; stored with every journal object. A new column raises it.
pub const EVENTS_VERSION: u32 = 1;

/// Columns of the events schema, in order.
pub const EVENT_COLUMNS: [&str; 18] = [
    "tenant_id",
    "event_id",
    "kind",
    "type",
    "event_time",
    "ingested_at",
    "known_at",
    "source",
    "account_id",
    "contact_id",
    "deal_id",
    "user_id",
    "email",
    "domain",
    "direction",
    "machine_class",
    "value",
    "payload",
];

/// UTC microseconds without a zone: the portable dialect knows no TIMESTAMPTZ.
#[must_use]
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

static EVENTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8View, nullable);
    let time = |name: &str| Field::new(name, timestamp_type(), false);
    Arc::new(Schema::new(vec![
        text("tenant_id", false),
        text("event_id", false),
        text("kind", false),
        text("type", false),
        time("event_time"),
        time("ingested_at"),
        time("known_at"),
        text("source", false),
        text("account_id", true),
        text("contact_id", true),
        text("deal_id", true),
        text("user_id", true),
        text("email", true),
        text("domain", true),
        text("direction", true),
        text("machine_class", false),
        Field::new("value", DataType::Float64, true),
        text("payload", false),
    ]))
});

/// The events schema (version [`EVENTS_VERSION`]): journal, engine, lake and SQL share it.
#[must_use]
pub fn events() -> SchemaRef {
    Arc::clone(&EVENTS)
}

/// Builds event batches row by row.
#[derive(Debug)]
pub struct EventBatchBuilder {
    text: [StringViewBuilder; 14],
    times: [TimestampMicrosecondBuilder; 3],
    value: Float64Builder,
    rows: usize,
}

impl Default for EventBatchBuilder {
    fn default() -> Self {
        Self {
            text: std::array::from_fn(|_| StringViewBuilder::new()),
            times: std::array::from_fn(|_| TimestampMicrosecondBuilder::new()),
            value: Float64Builder::new(),
            rows: 0,
        }
    }
}

impl EventBatchBuilder {
    /// Rows appended since the last [`Self::finish`].
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows
    }

    /// Whether nothing was appended since the last [`Self::finish`].
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Appends one event.
    pub fn append(&mut self, event: &Event) {
        let texts: [Option<&str>; 14] = [
            Some(&event.tenant_id),
            Some(&event.event_id),
            Some(event.kind.as_str()),
            Some(&event.event_type),
            Some(&event.source),
            event.account_id.as_deref(),
            event.contact_id.as_deref(),
            event.deal_id.as_deref(),
            event.user_id.as_deref(),
            event.email.as_deref(),
            event.domain.as_deref(),
            event.direction.map(Direction::as_str),
            Some(event.machine_class.as_str()),
            Some(&event.payload),
        ];
        let times = [event.event_time, event.ingested_at, event.known_at];
        self.append_row(texts, times, event.value);
    }

    /// Appends one event judged on borrowed text, of the tenant whose reception judged it.
    pub fn append_judged(&mut self, tenant_id: &str, event: &JudgedEvent<'_>) {
        let texts: [Option<&str>; 14] = [
            Some(tenant_id),
            Some(&event.event_id),
            Some(event.kind.as_str()),
            Some(&event.event_type),
            Some(&event.source),
            event.account_id.as_deref(),
            event.contact_id.as_deref(),
            event.deal_id.as_deref(),
            event.user_id.as_deref(),
            event.email.as_deref(),
            event.domain.as_deref(),
            event.direction.map(Direction::as_str),
            Some(event.machine_class.as_str()),
            Some(&event.payload),
        ];
        let times = [event.event_time, event.ingested_at, event.known_at];
        self.append_row(texts, times, event.value);
    }

    fn append_row(&mut self, texts: [Option<&str>; 14], times: [Timestamp; 3], value: Option<f64>) {
        for (builder, text) in self.text.iter_mut().zip(texts) {
            builder.append_option(text);
        }
        for (builder, at) in self.times.iter_mut().zip(times) {
            builder.append_value(at.micros());
        }
        self.value.append_option(value);
        self.rows += 1;
    }

    /// The batch of all appended events; the builder is empty again.
    ///
    /// # Panics
    /// Never: columns and schema are made side by side in this file.
    #[must_use]
    pub fn finish(&mut self) -> RecordBatch {
        self.rows = 0;
        let mut text = self
            .text
            .iter_mut()
            .map(|builder| Arc::new(builder.finish()) as ArrayRef);
        let mut times = self
            .times
            .iter_mut()
            .map(|builder| Arc::new(builder.finish()) as ArrayRef);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(EVENT_COLUMNS.len());
        columns.extend(text.by_ref().take(4));
        columns.extend(times.by_ref());
        columns.extend(text.by_ref().take(9));
        columns.push(Arc::new(self.value.finish()));
        columns.extend(text);
        RecordBatch::try_new(events(), columns).expect("columns are built in schema order")
    }
}

/// One batch of many events.
#[must_use]
pub fn batch_of<'a>(events: impl IntoIterator<Item = &'a Event>) -> RecordBatch {
    let mut builder = EventBatchBuilder::default();
    for event in events {
        builder.append(event);
    }
    builder.finish()
}

/// A text column of a batch by name; `None` when absent or of another type.
#[must_use]
pub fn text_column<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a StringViewArray> {
    batch.column_by_name(name)?.as_string_view_opt()
}

/// A time column of a batch by name; `None` when absent or of another type.
#[must_use]
pub fn time_column<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a TimestampMicrosecondArray> {
    batch
        .column_by_name(name)?
        .as_primitive_opt::<TimestampMicrosecondType>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Timestamp,
        event::{EventDraft, Reception},
    };

    #[test]
    fn columns_stand_where_the_schema_says() {
        let reception = Reception::live("t1".into(), Timestamp(1_770_000_000_000_000), "test");
        let draft = EventDraft {
            event_id: Some("e1".into()),
            event_type: Some("call.completed".into()),
            contact_id: Some("c1".into()),
            direction: Some(Direction::Inbound),
            value: Some(61.5),
            ..EventDraft::default()
        };
        let batch = batch_of(&[draft.accept(&reception).expect("accepted")]);
        let names: Vec<_> = batch
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        assert_eq!(names, EVENT_COLUMNS);
        let text = |name| text_column(&batch, name).expect("text").value(0).to_owned();
        assert_eq!(
            (
                text("tenant_id"),
                text("type"),
                text("source"),
                text("contact_id"),
                text("direction"),
                text("payload")
            ),
            (
                "t1".into(),
                "call.completed".into(),
                "test".into(),
                "c1".into(),
                "inbound".into(),
                "{}".into()
            )
        );
        assert_eq!(
            time_column(&batch, "known_at").expect("time").value(0),
            1_770_000_000_000_000
        );
    }
}
