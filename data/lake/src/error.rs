//! What may go wrong in the lake.

use arrow::error::ArrowError;
use deltalake::DeltaTableError;
use parquet::errors::ParquetError;
use revgauge_contract::{Classified, ErrorKind, Position, error::Failure};

/// An error of the lake.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// A setting with which the lake cannot work.
    #[error("lake setting '{name}' must be {rule}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// The object store failed.
    #[error("cannot {what} '{path}' in the store: {source}")]
    Store {
        /// What was attempted.
        what: &'static str,
        /// On which object.
        path: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// The Delta log could not be read or written.
    #[error("cannot {what} of delta table '{table}': {source}")]
    Delta {
        /// What was attempted.
        what: &'static str,
        /// The table.
        table: &'static str,
        /// What the Delta library said.
        source: Box<DeltaTableError>,
    },
    /// A Parquet file could not be written or read.
    #[error("cannot {what} parquet file of '{table}': {source}")]
    Parquet {
        /// What was attempted.
        what: &'static str,
        /// The table.
        table: &'static str,
        /// What the Parquet library said.
        source: ParquetError,
    },
    /// A batch did not have the table's shape.
    #[error("a batch does not fit table '{table}': {source}")]
    Batch {
        /// The table.
        table: &'static str,
        /// What arrow said.
        source: ArrowError,
    },
    /// The stored table is not one this version can keep.
    #[error("delta table '{table}' cannot be used: {reason}")]
    Foreign {
        /// The table.
        table: &'static str,
        /// What is wrong with it and what can be done.
        reason: String,
    },
    /// A delivery would leave a hole.
    #[error(
        "table '{table}' was handed position {got} after {after}: journal objects in between are missing; \
         restore them, or start a new lake from the oldest object"
    )]
    Gap {
        /// The table.
        table: &'static str,
        /// Last position held.
        after: Position,
        /// Position handed over.
        got: Position,
    },
    /// The tail stayed full.
    #[error("tail of '{table}' is full since {waited_ms} ms because commits do not keep up; retry later")]
    TailFull {
        /// The table.
        table: &'static str,
        /// How long the delivery waited.
        waited_ms: u64,
    },
    /// The readers of the journal are behind what was acknowledged.
    #[error(
        "table '{table}' holds position {held} while {wanted} is acknowledged, after {waited_ms} ms; retry later"
    )]
    Behind {
        /// The table.
        table: &'static str,
        /// Last position held.
        held: Position,
        /// Position acknowledged.
        wanted: Position,
        /// How long the reader waited.
        waited_ms: u64,
    },
    /// Other writers took every version that was tried.
    #[error(
        "commit to '{table}' lost against other writers {attempts} times; stop the other writers or retry"
    )]
    Contended {
        /// The table.
        table: &'static str,
        /// Attempts made.
        attempts: u32,
    },
    /// A background task ended early.
    #[error("task to {what} of '{table}' ended early: {reason}")]
    Task {
        /// What it did.
        what: &'static str,
        /// For which table.
        table: &'static str,
        /// Why it ended.
        reason: String,
    },
}

impl Classified for LakeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Setting { .. } => ErrorKind::User,
            Self::Store { .. } | Self::Delta { .. } | Self::Contended { .. } => ErrorKind::External,
            Self::Parquet { .. } | Self::Foreign { .. } | Self::Gap { .. } => ErrorKind::Data,
            Self::Batch { .. } | Self::Task { .. } => ErrorKind::Internal,
            Self::TailFull { .. } | Self::Behind { .. } => ErrorKind::Limit,
        }
    }
}

impl From<LakeError> for Failure {
    fn from(error: LakeError) -> Self {
        Self::from_error(&error)
    }
}
