//! Runs an import or tries it out: settings, reports, progress.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::Instant,
};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use revgauge_contract::{
    Timestamp,
    error::Failure,
    event::{Reception, Trust},
    intake::DeadLetter,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{runtime::Handle, sync::mpsc};

use super::{
    error::ImportError,
    input::{Input, Opener},
    plan::Plan,
    sink::{EventSink, ndjson_of},
    work::{Piece, assign, work},
};

/// Limits of an import.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportSettings {
    /// Events handed on at once.
    pub batch_rows: usize,
    /// Batches read ahead of the receiver.
    pub queue_batches: usize,
    /// Problems reported one by one; the others are only counted.
    pub max_problems: usize,
    /// Events shown by a dry run.
    pub first_rows: usize,
    /// Longest row taken.
    pub max_row_bytes: u64,
    /// Rows of lookup files kept in memory.
    pub max_lookup_rows: u64,
    /// Bytes fetched from an object store at once.
    pub read_ahead_bytes: u64,
}

impl Default for ImportSettings {
    fn default() -> Self {
        Self {
            batch_rows: 16_384,
            queue_batches: 4,
            max_problems: 100,
            first_rows: 10,
            max_row_bytes: 1 << 20,
            max_lookup_rows: 5_000_000,
            read_ahead_bytes: 8 << 20,
        }
    }
}

/// One fault of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// File name.
    pub file: String,
    /// Line (row number for Parquet and Arrow), from 1.
    pub line: u64,
    /// Column or field, where one is at fault.
    pub column: Option<String>,
    /// Stable reason, as for events refused elsewhere.
    pub code: String,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(column) = &self.column {
            write!(f, "{column}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// How far an import is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The file at hand.
    pub file: String,
    /// Files finished.
    pub files_done: usize,
    /// Files in all.
    pub files: usize,
    /// Bytes read, as stored.
    pub bytes_done: u64,
    /// Bytes in all.
    pub bytes: u64,
    /// Rows read.
    pub rows: u64,
    /// Events accepted.
    pub accepted: u64,
    /// Rows refused.
    pub refused: u64,
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ImportReport {
    /// Rows read.
    pub rows: u64,
    /// Events accepted and handed on.
    pub accepted: u64,
    /// Rows that give no event by the mapping's own conditions.
    pub skipped: u64,
    /// Refused rows by reason.
    pub refused: BTreeMap<String, u64>,
    /// The first problems; `refused` counts all.
    pub problems: Vec<Problem>,
    /// Accepted events by type.
    pub events: BTreeMap<String, u64>,
    /// Rows of each file.
    pub files: BTreeMap<String, u64>,
    /// Inputs that no table names.
    pub unused_files: Vec<String>,
    /// Wall-clock duration, seconds.
    pub seconds: f64,
}

impl ImportReport {
    /// Rows refused in all.
    #[must_use]
    pub fn refused_rows(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// What an import would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DryRun {
    /// The first events as they would be accepted, in the JSON form of `POST /v1/events`.
    pub first: Vec<Value>,
    /// Counts and problems over all rows.
    pub report: ImportReport,
}

/// The reception of an import: history is trusted to say when it was known.
#[must_use]
pub fn reception(tenant_id: Arc<str>, received_at: Timestamp) -> Reception {
    Reception {
        trust: Trust::History,
        ..Reception::live(tenant_id, received_at, "import")
    }
}

/// Imports the inputs and hands the events to the sink, in bounded memory.
///
/// Ids are the source's or follow from the content, so importing again doubles nothing. Rows at fault go to
/// [`EventSink::refuse`]; they do not stop the import. `progress` is called after each batch.
///
/// # Errors
/// [`ImportError`]; what was handed on before stays.
pub async fn run(
    plan: &Plan,
    inputs: &[Input],
    reception: &Reception,
    settings: &ImportSettings,
    sink: &mut dyn EventSink,
    progress: &mut (dyn FnMut(&Progress) + Send),
) -> Result<ImportReport, ImportError> {
    let started = Instant::now();
    let mut report = ImportReport::default();
    let mut state = start(plan, inputs, &mut report)?;
    let done = Arc::new(AtomicU64::new(0));
    let (deliver, mut pieces) = mpsc::channel::<Piece>(settings.queue_batches.max(1));
    let worker = {
        let (plan, inputs, reception, settings) =
            (plan.clone(), inputs.to_vec(), reception.clone(), settings.clone());
        let opener = Opener {
            runtime: Handle::current(),
            read_ahead_bytes: settings.read_ahead_bytes.max(1),
            done: Arc::clone(&done),
        };
        tokio::task::spawn_blocking(move || {
            let mut hand_on = |piece| deliver.blocking_send(piece).map_err(|_| ImportError::Stopped);
            work(&plan, &inputs, &reception, &settings, &opener, &mut hand_on)
        })
    };
    let mut failed = None;
    while let Some(mut piece) = pieces.recv().await {
        let events = piece.events.take();
        let letters = std::mem::take(&mut piece.letters);
        if let Err(failure) = hand_on(sink, events, letters).await {
            failed = Some(failure);
            break;
        }
        report.add(&mut state, piece);
        state.bytes_done = done.load(Ordering::Relaxed).min(state.bytes);
        progress(&state);
    }
    drop(pieces);
    let worked = worker.await.unwrap_or(Err(ImportError::Stopped));
    if let Some(failure) = failed {
        return Err(ImportError::Sink(failure));
    }
    worked?;
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

async fn hand_on(
    sink: &mut dyn EventSink,
    events: Option<RecordBatch>,
    letters: Vec<DeadLetter>,
) -> Result<(), Failure> {
    if let Some(events) = events {
        sink.take(events).await?;
    }
    if letters.is_empty() {
        Ok(())
    } else {
        sink.refuse(letters).await
    }
}

fn start(plan: &Plan, inputs: &[Input], report: &mut ImportReport) -> Result<Progress, ImportError> {
    let assigned = assign(plan, inputs);
    let read_by_lookup = |name: &str| {
        plan.lookups().iter().any(|lookup| {
            lookup
                .patterns
                .iter()
                .any(|pattern| super::pattern::matches(pattern, name))
        })
    };
    report.unused_files = inputs
        .iter()
        .filter(|input| {
            assigned.iter().all(|(used, _)| used.name != input.name) && !read_by_lookup(&input.name)
        })
        .map(|input| input.name.clone())
        .collect();
    if assigned.is_empty() {
        let names: Vec<_> = inputs.iter().take(8).map(|input| input.name.as_str()).collect();
        return Err(ImportError::NothingMatches {
            mapping: plan.name().to_owned(),
            files: names.join(", "),
        });
    }
    Ok(Progress {
        files: assigned.len(),
        bytes: assigned.iter().map(|(input, _)| input.bytes).sum(),
        ..Progress::default()
    })
}

impl ImportReport {
    fn add(&mut self, state: &mut Progress, piece: Piece) {
        self.rows += piece.rows;
        self.accepted += piece.accepted;
        self.skipped += piece.skipped;
        *self.files.entry(piece.file.clone()).or_default() += piece.rows;
        for (code, count) in piece.refused_by {
            *self.refused.entry(code).or_default() += count;
        }
        for (event_type, count) in piece.by_type {
            *self.events.entry(event_type).or_default() += count;
        }
        self.problems.extend(piece.problems);
        state.file = piece.file;
        state.files_done += usize::from(piece.file_ended);
        state.rows = self.rows;
        state.accepted = self.accepted;
        state.refused = self.refused_rows();
    }
}

/// Reads and judges everything as [`run`] would, and keeps only the first events and the problems.
///
/// # Errors
/// As [`run`].
pub async fn dry_run(
    plan: &Plan,
    inputs: &[Input],
    reception: &Reception,
    settings: &ImportSettings,
    progress: &mut (dyn FnMut(&Progress) + Send),
) -> Result<DryRun, ImportError> {
    let mut sink = FirstRows {
        left: settings.first_rows,
        first: Vec::new(),
    };
    let report = run(plan, inputs, reception, settings, &mut sink, progress).await?;
    Ok(DryRun {
        first: sink.first,
        report,
    })
}

struct FirstRows {
    left: usize,
    first: Vec<Value>,
}

#[async_trait]
impl EventSink for FirstRows {
    async fn take(&mut self, events: RecordBatch) -> Result<(), Failure> {
        let wanted = self.left.min(events.num_rows());
        let lines = ndjson_of(&events.slice(0, wanted));
        self.first.extend(
            lines
                .split(|byte| *byte == b'\n')
                .filter_map(|line| serde_json::from_slice(line).ok()),
        );
        self.left -= wanted;
        Ok(())
    }

    async fn refuse(&mut self, _: Vec<DeadLetter>) -> Result<(), Failure> {
        Ok(())
    }
}
