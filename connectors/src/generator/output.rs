//! The organisation's events as files: NDJSON for any reader, Parquet in the events schema.

use std::{io::Write, sync::Arc};

use parquet::{
    arrow::ArrowWriter, basic::Compression, errors::ParquetError, file::properties::WriterProperties,
};
use revgauge_contract::{
    Timestamp,
    error::{Classified, ErrorKind},
    event::{EventDraft, Reception, Refusal, Trust},
    schema::{EventBatchBuilder, events},
    time::DAY_US,
};

/// Rows a record batch of a Parquet file holds.
const BATCH_ROWS: usize = 65_536;

/// Why events could not be written to a file.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The file's own failure.
    #[error("cannot write the events: {0}")]
    Write(#[from] std::io::Error),
    /// Parquet's failure.
    #[error("cannot write the events as Parquet: {0}")]
    Parquet(#[from] ParquetError),
    /// JSON's failure.
    #[error("cannot write the events as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A generated event broke the contract's rules.
    #[error("a generated event was refused: {0}")]
    Refused(#[from] Refusal),
}

impl Classified for OutputError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Write(_) | Self::Parquet(_) => ErrorKind::External,
            Self::Json(_) | Self::Refused(_) => ErrorKind::Internal,
        }
    }
}

/// Appends a draft as one line of NDJSON.
///
/// # Errors
/// What writing met.
pub fn write_ndjson(out: &mut impl Write, draft: &EventDraft) -> Result<(), OutputError> {
    serde_json::to_writer(&mut *out, draft)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// Writes accepted events to a Parquet file in [`events`], as history: known when they happened.
#[derive(Debug)]
pub struct ParquetOutput<W: Write + Send> {
    writer: ArrowWriter<W>,
    builder: EventBatchBuilder,
    reception: Reception,
    rows: u64,
}

impl<W: Write + Send> ParquetOutput<W> {
    /// Starts a file for a tenant. `until` is an instant no event lies after.
    ///
    /// # Errors
    /// What starting the file met.
    pub fn new(out: W, tenant_id: &str, until: Timestamp) -> Result<Self, OutputError> {
        let level = parquet::basic::ZstdLevel::try_new(1)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .build();
        let writer = ArrowWriter::try_new(out, events(), Some(properties))?;
        let live = Reception::live(Arc::from(tenant_id), until, "simulator");
        let reception = Reception {
            trust: Trust::History,
            max_future_us: 30 * DAY_US,
            ..live
        };
        Ok(Self {
            writer,
            builder: EventBatchBuilder::default(),
            reception,
            rows: 0,
        })
    }

    /// Adds an event.
    ///
    /// # Errors
    /// What writing met, or a refused draft.
    pub fn write(&mut self, draft: EventDraft) -> Result<(), OutputError> {
        self.builder.append(&draft.accept(&self.reception)?);
        self.rows += 1;
        if self.builder.len() >= BATCH_ROWS {
            self.writer.write(&self.builder.finish())?;
        }
        Ok(())
    }

    /// Ends the file and tells how many rows it has.
    ///
    /// # Errors
    /// What writing met.
    pub fn finish(mut self) -> Result<u64, OutputError> {
        if !self.builder.is_empty() {
            self.writer.write(&self.builder.finish())?;
        }
        self.writer.close()?;
        Ok(self.rows)
    }
}
