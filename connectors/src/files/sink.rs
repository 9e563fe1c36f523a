//! Where imported events go: into an intake of the same process, or as NDJSON to a running server.

use std::{fmt, sync::Arc};

use arrow::array::{Array, Float64Array, RecordBatch, StringViewArray};
use async_trait::async_trait;
use revgauge_contract::{
    Timestamp,
    error::Failure,
    intake::{DeadLetter, DeadLetters, EventIntake},
    schema::{text_column, time_column},
};
use serde::Serialize;
use serde_json::value::RawValue;

/// Takes what an import makes. The import waits for each call, so a slow receiver slows it and memory stays bounded.
#[async_trait]
pub trait EventSink: Send {
    /// Takes accepted events in the events schema; at return they count as imported.
    ///
    /// # Errors
    /// Whatever keeps it from taking them; the import stops. Repeating it is safe, ids are the same.
    async fn take(&mut self, events: RecordBatch) -> Result<(), Failure>;

    /// Keeps refused rows with their reasons.
    ///
    /// # Errors
    /// As [`Self::take`].
    async fn refuse(&mut self, letters: Vec<DeadLetter>) -> Result<(), Failure>;
}

/// The receiver in the same process.
pub struct IntakeSink {
    intake: Arc<dyn EventIntake>,
    letters: Arc<dyn DeadLetters>,
}

impl IntakeSink {
    /// A sink that appends to the intake and keeps refused rows as dead letters.
    #[must_use]
    pub fn new(intake: Arc<dyn EventIntake>, letters: Arc<dyn DeadLetters>) -> Self {
        Self { intake, letters }
    }
}

impl fmt::Debug for IntakeSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntakeSink").finish_non_exhaustive()
    }
}

#[async_trait]
impl EventSink for IntakeSink {
    async fn take(&mut self, events: RecordBatch) -> Result<(), Failure> {
        self.intake.append_batch(events).await.map(|_| ())
    }

    async fn refuse(&mut self, letters: Vec<DeadLetter>) -> Result<(), Failure> {
        self.letters.keep(letters).await
    }
}

/// One event as `POST /v1/events` reads it. Tenant and receipt time belong to the receiver.
#[derive(Serialize)]
struct Line<'a> {
    event_id: Option<&'a str>,
    #[serde(rename = "type")]
    event_type: Option<&'a str>,
    kind: Option<&'a str>,
    event_time: Option<Timestamp>,
    known_at: Option<Timestamp>,
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deal_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine_class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    payload: Option<&'a RawValue>,
}

/// A batch of the events schema as NDJSON that [`super::draft_from_json`] and `POST /v1/events` read back.
#[must_use]
pub fn ndjson_of(batch: &RecordBatch) -> Vec<u8> {
    let text = |name: &str| text_column(batch, name);
    let value = batch
        .column_by_name("value")
        .and_then(|column| column.as_any().downcast_ref::<Float64Array>());
    let mut out = Vec::with_capacity(batch.num_rows() * 320);
    for row in 0..batch.num_rows() {
        let cell = |column: Option<&'_ StringViewArray>| -> Option<String> {
            column
                .filter(|column| !column.is_null(row))
                .map(|column| column.value(row).to_owned())
        };
        let time = |name: &str| time_column(batch, name).map(|column| Timestamp(column.value(row)));
        let texts = [
            "event_id",
            "type",
            "kind",
            "source",
            "account_id",
            "contact_id",
            "deal_id",
            "user_id",
            "email",
            "domain",
            "direction",
            "machine_class",
            "payload",
        ]
        .map(|name| cell(text(name)));
        let at = |index: usize| texts[index].as_deref();
        let line = Line {
            event_id: at(0),
            event_type: at(1),
            kind: at(2),
            event_time: time("event_time"),
            known_at: time("known_at"),
            source: at(3),
            account_id: at(4),
            contact_id: at(5),
            deal_id: at(6),
            user_id: at(7),
            email: at(8),
            domain: at(9),
            direction: at(10),
            machine_class: at(11).filter(|class| *class != "none"),
            value: value
                .filter(|column| !column.is_null(row))
                .map(|column| column.value(row)),
            payload: at(12).and_then(|text| serde_json::from_str(text).ok()),
        };
        // Texts and finite numbers always serialise; a line that did not would only be missing.
        if serde_json::to_writer(&mut out, &line).is_ok() {
            out.push(b'\n');
        }
    }
    out
}
