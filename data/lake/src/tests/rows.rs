//! Rows to deliver.

use std::sync::Arc;

use arrow::array::RecordBatch;
use revgauge_contract::{
    Event, Position, Timestamp, cut::Delivered, event::MachineClass, event_type::EventKind, schema::batch_of,
};

/// A row with what the tests care for.
#[derive(Debug, Clone)]
pub(crate) struct EventRow {
    tenant: String,
    at: i64,
    source: String,
    value: u64,
}

impl EventRow {
    /// A row of a tenant at an instant in microseconds.
    pub(crate) fn new(tenant: &str, at: i64) -> Self {
        Self {
            tenant: tenant.to_owned(),
            at,
            source: "test".to_owned(),
            value: 0,
        }
    }

    pub(crate) fn of_source(mut self, source: &str) -> Self {
        source.clone_into(&mut self.source);
        self
    }

    fn with_value(mut self, value: u64) -> Self {
        self.value = value;
        self
    }

    fn event(&self) -> Event {
        let at = Timestamp(self.at);
        Event {
            tenant_id: self.tenant.as_str().into(),
            event_id: format!("e{}", self.value),
            kind: EventKind::Engagement,
            event_type: "email.opened".to_owned(),
            event_time: at,
            ingested_at: at,
            known_at: at,
            source: self.source.clone(),
            account_id: None,
            contact_id: Some(format!("c{}", self.value % 7)),
            deal_id: None,
            user_id: None,
            email: None,
            domain: None,
            direction: None,
            machine_class: MachineClass::None,
            value: Some(self.value as f64),
            payload: "{}".to_owned(),
        }
    }
}

/// The rows as a batch of events.
pub(crate) fn batch(rows: &[EventRow]) -> RecordBatch {
    let events: Vec<Event> = rows.iter().map(EventRow::event).collect();
    batch_of(&events)
}

/// A delivery of so many rows; row `r` of position `p` has value `p * 1000 + r` and happened `p` seconds after 2026.
pub(crate) fn delivered(position: u64, rows: usize) -> Arc<Delivered> {
    let at = 1_767_225_600_000_000 + position as i64 * 1_000_000;
    let row = |number: usize| {
        EventRow::new(
            if number.is_multiple_of(2) { "a" } else { "b" },
            at + number as i64,
        )
        .with_value(position * 1_000 + number as u64)
    };
    Arc::new(Delivered {
        position: Position(position),
        written_at: Timestamp(at),
        covers: Position(position),
        batch: batch(&(0..rows).map(row).collect::<Vec<_>>()),
    })
}

/// The delivery of a position: 0 to 4 rows, by its number.
pub(crate) fn at(position: u64) -> Arc<Delivered> {
    delivered(position, (position % 5) as usize)
}
