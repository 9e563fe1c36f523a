//! Loading the state fast from the lake when there is no checkpoint.

use std::sync::Arc;

use arrow::{array::RecordBatch, compute::concat_batches};
use datafusion::{error::DataFusionError, physical_plan::SendableRecordBatchStream};
use futures::{Stream, StreamExt};
use revgauge_contract::{Position, cut::Cut, error::Failure};

use super::Runtime;
use crate::{engine::Engine, error::PipelineError, plan::Source};

/// Rows gathered before they are applied: merging into the state costs less a row in large batches.
const REBUILD_ROWS: usize = 65_536;

impl Runtime {
    /// Loads all events up to `through` into an empty state, in any order.
    ///
    /// # Errors
    /// `User` when the state is not empty, else what the stream or the engine met; the state is then of no use.
    pub async fn rebuild<S>(self: &Arc<Self>, mut events: S, through: Position) -> Result<u64, PipelineError>
    where
        S: Stream<Item = Result<RecordBatch, Failure>> + Send + Unpin,
    {
        let mut due = self.writer.lock().await;
        self.check_empty()?;
        let mut rows = 0;
        while let Some(batch) = events.next().await {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            // Position 1 is above that of the empty engines and never above `through`, which is set at the end.
            self.apply(batch, Position(1), false).await?;
            for engine in &self.engines {
                engine.set_position(Position::START);
            }
        }
        self.rebuilt(through);
        due.rows += rows;
        Ok(rows)
    }

    /// Loads a cut of the events table into an empty state and stands at the cut's position. Two threads: one lane
    /// reads and feeds the pipelines of events, the other those of CRM fields and then helps.
    ///
    /// # Errors
    /// As [`Self::rebuild`].
    pub async fn rebuild_from(self: &Arc<Self>, cut: Cut) -> Result<u64, PipelineError> {
        let mut due = self.writer.lock().await;
        self.check_empty()?;
        let through = cut.position;
        let (of_events, of_fields): (Vec<_>, Vec<_>) = self
            .engines
            .iter()
            .map(Arc::clone)
            .partition(|engine| engine.plan().source == Source::Events);
        let fields = self.queries().events(cut.clone(), true).await?;
        self.feed(&of_fields, fields).await?;
        let events = self.queries().events(cut, false).await?;
        let rows = self.feed(&of_events, events).await?;
        self.rebuilt(through);
        due.rows += rows;
        Ok(rows)
    }

    fn check_empty(&self) -> Result<(), PipelineError> {
        let empty = self.position() == Position::START
            && self.engines.iter().all(|engine| engine.statistics().groups == 0);
        if empty {
            return Ok(());
        }
        Err(PipelineError::Elsewhere(Failure::new(
            revgauge_contract::ErrorKind::User,
            "cannot rebuild layer 1: its state is not empty",
        )))
    }

    fn rebuilt(&self, through: Position) {
        for engine in &self.engines {
            engine.set_position(through);
        }
        self.set_position(through);
    }

    /// Feeds source rows to some engines, reading ahead while they work.
    async fn feed(
        self: &Arc<Self>,
        engines: &[Arc<Engine>],
        mut stream: SendableRecordBatchStream,
    ) -> Result<u64, PipelineError> {
        let mut total = 0;
        let mut next = gather(&mut stream).await?;
        while let Some(rows) = next {
            total += rows.num_rows() as u64;
            let lanes = self.settings().apply_threads.clamp(1, engines.len().max(1));
            let queue = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let working: Vec<_> = (0..lanes)
                .map(|_| {
                    let (runtime, rows, queue) = (Arc::clone(self), rows.clone(), Arc::clone(&queue));
                    let engines: Vec<Arc<Engine>> = engines.iter().map(Arc::clone).collect();
                    tokio::task::spawn_blocking(move || {
                        while let Some(engine) =
                            engines.get(queue.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                        {
                            engine.apply(&rows, REBUILD_ROWS, false)?;
                        }
                        runtime.keep_within_memory()
                    })
                })
                .collect();
            next = gather(&mut stream).await?;
            for lane in working {
                lane.await
                    .map_err(|error| PipelineError::Task(error.to_string()))??;
            }
        }
        Ok(total)
    }
}

/// The next rows of a stream, joined to a large batch; `None` at its end.
async fn gather(stream: &mut SendableRecordBatchStream) -> Result<Option<RecordBatch>, PipelineError> {
    let failed = |error: DataFusionError| PipelineError::query("events", "read the lake for", error);
    let (mut batches, mut rows) = (Vec::new(), 0);
    while rows < REBUILD_ROWS
        && let Some(batch) = stream.next().await
    {
        let batch = batch.map_err(failed)?;
        rows += batch.num_rows();
        batches.push(batch);
    }
    let Some(first) = batches.first() else {
        return Ok(None);
    };
    concat_batches(&first.schema(), &batches)
        .map(Some)
        .map_err(|error| failed(error.into()))
}
