//! Proof of P-2 on the data at hand: the live state against the same SQL run from scratch over the lake.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch},
    compute::kernels::cmp::not_distinct,
    datatypes::{DataType, Float64Type},
    util::display::array_value_to_string,
};
use futures::StreamExt;
use revgauge_contract::{
    ErrorKind, Position,
    cut::{Cut, CutReader, LakeTable},
    invariant::Invariant,
};
use serde::Serialize;

use crate::{
    batch::Asked,
    engine::{Engine, View},
    error::PipelineError,
    plan::normalised,
    runtime::Runtime,
};

/// Floats count as equal within this relative difference: sums in another order round differently.
pub const FLOAT_TOLERANCE: f64 = 1e-9;
/// Differences described in a report.
const DESCRIBED: usize = 5;

/// What verifying one pipeline found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PipelineReport {
    /// Which pipeline.
    pub pipeline: &'static str,
    /// Journal position of both sides.
    pub position: Position,
    /// Rows of the live state.
    pub rows: u64,
    /// Rows of the batch query.
    pub batch_rows: u64,
    /// Rows that differ or are on one side only.
    pub differing: u64,
    /// The first of them, for people.
    pub first_differences: Vec<String>,
    /// Seconds the batch query took, comparison included.
    pub batch_seconds: f64,
}

impl PipelineReport {
    /// Whether the live state equals the batch query.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.differing == 0
    }
}

/// Compares each pipeline's live state with the batch query over the lake at the same journal position.
///
/// Deliveries wait only while the position is brought in line; the comparison works on a view of the state.
///
/// # Errors
/// `Limit` when live state and lake do not come to one position in time.
pub async fn verify(
    runtime: &Arc<Runtime>,
    cuts: &Arc<dyn CutReader>,
) -> Result<Vec<PipelineReport>, PipelineError> {
    let (cut, views) = settle(runtime, cuts).await?;
    let mut reports = Vec::with_capacity(views.len());
    for (engine, view) in runtime.engines().iter().zip(views) {
        let report = compare(runtime, engine, &view, cut.clone()).await?;
        Invariant::IncrementalEqualsBatch.check(
            report.holds(),
            format_args!("{}: {:?}", report.pipeline, report.first_differences),
        );
        reports.push(report);
    }
    Ok(reports)
}

/// Opens the gate again, however verification ends.
struct Gate<'a>(&'a Runtime);

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        self.0.open_gate();
    }
}

/// A cut and the state at its position.
///
/// Everything acknowledged is waited for first, with deliveries flowing. Where more comes than can be waited for, what
/// was delivered by then is compared: both sides stand at one position all the same. While the gate is closed the lake can
/// run ahead of the state by the one position that waits at the gate, so the cut may not wait for more.
async fn settle(
    runtime: &Arc<Runtime>,
    cuts: &Arc<dyn CutReader>,
) -> Result<(Cut, Vec<View>), PipelineError> {
    match cuts.cut(LakeTable::Events).await {
        Err(failure) if failure.kind != ErrorKind::Limit => return Err(failure.into()),
        _ => {}
    }
    let gate = Gate(runtime);
    runtime.close_gate().await;
    let cut = cuts.delivered(LakeTable::Events).await?;
    let wait = Duration::from_millis(runtime.settings().verify_wait_ms);
    let reached = tokio::time::timeout(wait, runtime.advance_to(cut.position)).await;
    let reached = reached.unwrap_or_else(|_| runtime.position());
    if reached != cut.position {
        return Err(PipelineError::NotSettled(format!(
            "the live state stands at position {reached}, the lake at {}",
            cut.position
        )));
    }
    let views = runtime.engines().iter().map(|engine| engine.view()).collect();
    drop(gate);
    Ok((cut, views))
}

async fn compare(
    runtime: &Runtime,
    engine: &Engine,
    view: &View,
    cut: Cut,
) -> Result<PipelineReport, PipelineError> {
    let pipeline = &engine.plan().pipeline;
    let position = cut.position;
    let started = std::time::Instant::now();
    let mut stream = runtime.queries().stream(pipeline, cut, Asked::ALL).await?;
    let mut report = PipelineReport {
        pipeline: pipeline.name,
        position,
        rows: view.groups().count() as u64,
        batch_rows: 0,
        differing: 0,
        first_differences: Vec::new(),
        batch_seconds: 0.0,
    };
    let mut matched = 0;
    while let Some(rows) = stream.next().await {
        let failed = |error| PipelineError::query(pipeline.name, "run the batch query of", error);
        let rows = normalised(&rows.map_err(failed)?, &engine.plan().output).map_err(failed)?;
        report.batch_rows += rows.num_rows() as u64;
        matched += compare_rows(engine, view, &rows, &mut report)?;
    }
    if matched < report.rows {
        report.differing += report.rows - matched;
        report.first_differences.push(format!(
            "{} rows are in the live state only",
            report.rows - matched
        ));
    }
    report.batch_seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// Compares rows of the batch query with the live rows of the same keys; gives how many have live rows.
fn compare_rows(
    engine: &Engine,
    view: &View,
    rows: &RecordBatch,
    report: &mut PipelineReport,
) -> Result<u64, PipelineError> {
    let Some(groups) = engine.find(rows)? else {
        return Err(PipelineError::Malformed {
            pipeline: report.pipeline.to_owned(),
            message: "its output leaves out a key of its GROUP BY, so rows cannot be matched".to_owned(),
        });
    };
    let (mut places, mut found) = (Vec::new(), Vec::new());
    for (row, group) in groups.into_iter().enumerate() {
        match group.filter(|group| view.holds(*group)) {
            Some(group) => {
                places.push(row as u64);
                found.push(group);
            }
            None => describe(report, || {
                format!("only in the batch query: {}", row_text(rows, row))
            }),
        }
    }
    let live = engine.viewed_rows(view, &found)?;
    let places = arrow::array::UInt64Array::from(places);
    let failed =
        |error: arrow::error::ArrowError| PipelineError::query(report_name(engine), "compare", error.into());
    let batch = arrow::compute::take_record_batch(rows, &places).map_err(failed)?;
    let mut equal = vec![true; found.len()];
    for (live, batch) in live.columns().iter().zip(batch.columns()) {
        let same = same_values(live, batch).map_err(failed)?;
        for (row, equal) in equal.iter_mut().enumerate() {
            *equal &= same.value(row);
        }
    }
    for (row, _) in equal.iter().enumerate().filter(|(_, equal)| !**equal) {
        describe(report, || {
            format!(
                "live {} but batch {}",
                row_text(&live, row),
                row_text(&batch, row)
            )
        });
    }
    Ok(found.len() as u64)
}

fn report_name(engine: &Engine) -> &'static str {
    engine.plan().pipeline.name
}

fn describe(report: &mut PipelineReport, text: impl FnOnce() -> String) {
    report.differing += 1;
    if report.first_differences.len() < DESCRIBED {
        report.first_differences.push(text());
    }
}

fn same_values(left: &ArrayRef, right: &ArrayRef) -> Result<BooleanArray, arrow::error::ArrowError> {
    if left.data_type() != &DataType::Float64 {
        return not_distinct(left, right);
    }
    let (left, right) = (
        left.as_primitive::<Float64Type>(),
        right.as_primitive::<Float64Type>(),
    );
    let same = left.iter().zip(right.iter()).map(|pair| {
        Some(match pair {
            (Some(left), Some(right)) => {
                left == right || (left - right).abs() <= FLOAT_TOLERANCE * left.abs().max(right.abs())
            }
            (left, right) => left.is_none() && right.is_none(),
        })
    });
    Ok(same.collect())
}

fn row_text(rows: &RecordBatch, row: usize) -> String {
    let values = rows.columns().iter().map(|column| {
        if column.is_null(row) {
            "NULL".to_owned()
        } else {
            array_value_to_string(column, row).unwrap_or_else(|error| error.to_string())
        }
    });
    format!("({})", values.collect::<Vec<_>>().join(", "))
}
