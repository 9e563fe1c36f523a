//! The wall between connectors and the journal: durable append, and dead letters.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Position, Timestamp,
    error::Failure,
    event::{Event, Refusal},
};

/// Takes accepted events into the durable log.
///
/// When [`EventIntake::append`] returns, the events survive `kill -9` and power loss (J-1) and the next query sees
/// them. Callers may be many; the journal groups their appends into one object. Duplicates are welcome: they are
/// removed where the journal is read (P-1).
#[async_trait]
pub trait EventIntake: Send + Sync {
    /// Appends and waits until the events are durable. An empty list is a no-op at the current position.
    ///
    /// # Errors
    /// `Limit` when the queue is full (retry later), `External` when the store fails (nothing is acknowledged, though
    /// the events may have been written; a retry with the same ids is safe).
    async fn append(&self, events: Vec<Event>) -> Result<Position, Failure>;

    /// Appends record batches of the events schema: the fast lane of imports. Same contract.
    ///
    /// # Errors
    /// As [`Self::append`].
    async fn append_batch(&self, batch: arrow::array::RecordBatch) -> Result<Position, Failure>;
}

/// A refused event, kept with its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Whose.
    pub tenant_id: String,
    /// When it was refused.
    pub refused_at: Timestamp,
    /// The connector that refused it.
    pub source: String,
    /// Why.
    pub refusal: Refusal,
    /// The bytes as received (lossless: base64 in JSON form when not UTF-8).
    pub body: String,
    /// Whether `body` is base64.
    pub body_is_base64: bool,
}

/// Keeps refused events, readable and replayable.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Keeps letters durably. Past the configured number per tenant the oldest go, counted.
    ///
    /// # Errors
    /// `External` when the store fails.
    async fn keep(&self, letters: Vec<DeadLetter>) -> Result<(), Failure>;
}
