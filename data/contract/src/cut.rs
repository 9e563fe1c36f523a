//! One consistent cut through the lake and the journal tail above it (L-2).

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::RecordBatch;
use async_trait::async_trait;

use crate::{Position, Timestamp, error::Failure};

/// The tables of the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LakeTable {
    /// Every accepted event once, in [`crate::schema::events`].
    Events,
    /// The score feed, in [`crate::score::score_changes`].
    ScoreChanges,
}

impl LakeTable {
    /// Folder and SQL name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::ScoreChanges => "score_changes",
        }
    }
}

/// A Parquet file of a pinned snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Path within the object store of the deployment (no URL).
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Rows.
    pub rows: u64,
}

/// Freshness of one source (Q-3, N-23).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// Latest event time seen.
    pub event_time: Timestamp,
    /// Latest receipt.
    pub ingested_at: Timestamp,
    /// Events seen.
    pub events: u64,
}

/// Everything a reader needs to read one table as of one moment: files of one snapshot, plus the batches of the
/// journal tail above that snapshot's position. No row is in both.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The table.
    pub table: LakeTable,
    /// Last position that the files hold.
    pub lake_position: Position,
    /// Last position that the tail holds (equals `lake_position` when it is empty).
    pub position: Position,
    /// Files of the snapshot.
    pub files: Vec<DataFile>,
    /// Tail batches in position order.
    pub tail: Vec<RecordBatch>,
}

/// Reads cuts. Implemented by the lake.
#[async_trait]
pub trait CutReader: Send + Sync {
    /// A cut holding at least everything acknowledged before the call.
    ///
    /// # Errors
    /// `Limit` when the readers of the journal do not catch up within the configured wait.
    async fn cut(&self, table: LakeTable) -> Result<Cut, Failure>;

    /// A cut of what has been delivered by now. It waits for nothing, so it can be had while deliveries are held back.
    ///
    /// # Errors
    /// As for [`Self::cut`], but never for being behind.
    async fn delivered(&self, table: LakeTable) -> Result<Cut, Failure> {
        self.cut(table).await
    }

    /// Watermarks per `tenant/source`.
    fn watermarks(&self, tenant_id: &str) -> BTreeMap<String, Watermark>;
}

/// A deduplicated batch as handed to the readers of the journal, in position order.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The journal object it came from.
    pub position: Position,
    /// When that object was written; `as_of` of everything computed from it.
    pub written_at: Timestamp,
    /// For score changes: the event position they were computed from; for events equal to `position`.
    pub covers: Position,
    /// First-seen rows only (may be empty: the position still moves).
    pub batch: RecordBatch,
}

/// A reader of the journal. The pump calls it with every position once, in order, from the position after
/// [`Self::resume_after`].
#[async_trait]
pub trait JournalConsumer: Send {
    /// Name for logs and metrics.
    fn name(&self) -> &'static str;

    /// Last position this reader already holds durably; delivery starts after it.
    fn resume_after(&self) -> Position;

    /// Takes one batch. Returning an error stops the pump, which retries with back-off.
    ///
    /// # Errors
    /// Whatever kept the reader from taking the batch.
    async fn deliver(&mut self, delivered: &Arc<Delivered>) -> Result<(), Failure>;
}
