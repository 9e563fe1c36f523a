//! All pipelines of a deployment: opened, fed in journal order, checkpointed, read.

mod consumer;
mod rebuild;
mod snapshot;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use arrow::array::RecordBatch;
use object_store::ObjectStore;
use parking_lot::Mutex;
use revgauge_contract::{
    Clock, Position, Timestamp, crm::explode, invariant::Invariant, statistics::Changed,
};
use tokio::sync::watch;

use crate::{
    batch::BatchQueries,
    catalog::{self, Pipeline},
    checkpoint::Checkpoints,
    engine::{Engine, SpillFolder, StateStatistics},
    error::PipelineError,
    plan::{self, CutPlan, Source},
    settings::PipelineSettings,
};

pub use consumer::PipelineConsumer;

/// Rows of a batch below which one thread applies it to all pipelines: handing work over costs about as much as they do.
const SIDE_BY_SIDE_ROWS: usize = 256;
/// Output rows evaluated at a time.
const SLICE: usize = 16_384;

/// What a pipeline may keep in memory whatever the bound: its newest chunks, too small to be worth a file each.
const UNSPILLED_BYTES: u64 = 8 << 20;

static RUNTIMES: AtomicU64 = AtomicU64::new(0);

/// The live state of layer 1.
///
/// One writer (a [`PipelineConsumer`] or a rebuild) feeds it; any number of readers look rows up meanwhile and wait at
/// most for a micro-batch's index updates.
#[derive(Debug)]
pub struct Runtime {
    settings: PipelineSettings,
    clock: Arc<dyn Clock>,
    engines: Vec<Arc<Engine>>,
    /// Append-only pipelines: planned, without state.
    stateless: Vec<CutPlan>,
    queries: BatchQueries,
    checkpoints: Checkpoints,
    /// Held while a batch is applied or a checkpoint captured: state stands at one position outside of it.
    writer: tokio::sync::Mutex<Due>,
    /// Held while a checkpoint is written.
    checkpointing: Arc<tokio::sync::Mutex<()>>,
    position: watch::Sender<Position>,
    checkpointed: AtomicU64,
    /// Deliveries wait at this position (verify).
    gate: watch::Sender<Option<Position>>,
}

/// What has happened since the last checkpoint.
#[derive(Debug)]
struct Due {
    rows: u64,
    since: Timestamp,
}

impl Runtime {
    /// Plans all pipelines and restores the newest checkpoint that is whole; without one the state is empty at
    /// position 0.
    ///
    /// A changed SQL text makes a checkpoint unfit, and so does a damaged part; both are said in the log, and the
    /// checkpoint before is tried.
    ///
    /// # Errors
    /// `User` when a pipeline is refused, `External` when the store or the spill folder fails.
    pub async fn open(
        settings: PipelineSettings,
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, PipelineError> {
        Self::open_with(settings, store, clock, catalog::all()).await
    }

    /// [`Self::open`] with other pipelines than the shipped ones: for tests and benchmarks.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(
        settings: PipelineSettings,
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        pipelines: &[Pipeline],
    ) -> Result<Arc<Self>, PipelineError> {
        let distinct = RUNTIMES.fetch_add(1, Ordering::Relaxed);
        let spill = SpillFolder::create(settings.spill_dir.as_deref(), distinct)?;
        let (mut engines, mut stateless) = (Vec::new(), Vec::new());
        for pipeline in pipelines {
            let plan = plan::cut(pipeline).await?;
            match Engine::new(plan.clone(), Arc::clone(&spill)) {
                Some(engine) => engines.push(Arc::new(engine)),
                None => stateless.push(plan),
            }
        }
        let checkpoints = Checkpoints::open(Arc::clone(&store), settings.checkpoints_kept).await?;
        let mut runtime = Self {
            queries: BatchQueries::new(&settings, store)?,
            checkpoints,
            writer: tokio::sync::Mutex::new(Due {
                rows: 0,
                since: clock.now(),
            }),
            checkpointing: Arc::default(),
            position: watch::Sender::new(Position::START),
            checkpointed: AtomicU64::new(0),
            gate: watch::Sender::new(None),
            settings,
            clock,
            engines,
            stateless,
        };
        runtime.restore(&spill).await?;
        Ok(Arc::new(runtime))
    }

    /// Last journal position that the live state holds.
    #[must_use]
    pub fn position(&self) -> Position {
        *self.position.borrow()
    }

    /// Last journal position that every kept checkpoint holds: the journal may be trimmed up to it, and a damaged
    /// newest checkpoint still finds the journal objects after the one before.
    #[must_use]
    pub fn checkpoint_position(&self) -> Position {
        let kept = self.checkpoints.newest_first();
        kept.last().map_or(Position::START, |oldest| oldest.position)
    }

    /// Names of the pipelines that keep state.
    pub fn pipelines(&self) -> impl Iterator<Item = &Pipeline> {
        self.engines.iter().map(|engine| &engine.plan().pipeline)
    }

    /// Size of a pipeline's state; zeros for an append-only pipeline.
    ///
    /// # Errors
    /// `Unknown` when there is no such pipeline.
    pub fn statistics(&self, pipeline: &str) -> Result<StateStatistics, PipelineError> {
        match self.engine(pipeline) {
            Ok(engine) => Ok(engine.statistics()),
            Err(_) if self.stateless.iter().any(|plan| plan.pipeline.name == pipeline) => {
                Ok(StateStatistics::default())
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) const fn settings(&self) -> &PipelineSettings {
        &self.settings
    }

    pub(crate) const fn queries(&self) -> &BatchQueries {
        &self.queries
    }

    pub(crate) fn engines(&self) -> &[Arc<Engine>] {
        &self.engines
    }

    pub(crate) fn engine(&self, pipeline: &str) -> Result<Arc<Engine>, PipelineError> {
        self.engines
            .iter()
            .find(|engine| engine.plan().pipeline.name == pipeline)
            .map(Arc::clone)
            .ok_or_else(|| PipelineError::Unknown(pipeline.to_owned()))
    }

    pub(crate) fn plan(&self, pipeline: &str) -> Result<&CutPlan, PipelineError> {
        let kept = self.engines.iter().map(|engine| engine.plan());
        kept.chain(&self.stateless)
            .find(|plan| plan.pipeline.name == pipeline)
            .ok_or_else(|| PipelineError::Unknown(pipeline.to_owned()))
    }

    /// Output rows of groups, in slices; with none, one empty batch.
    pub(crate) fn rows(engine: &Engine, groups: &[u32]) -> Result<Vec<RecordBatch>, PipelineError> {
        if groups.is_empty() {
            return Ok(vec![RecordBatch::new_empty(Arc::clone(&engine.plan().output))]);
        }
        groups.chunks(SLICE).map(|slice| engine.rows(slice)).collect()
    }

    /// As [`Self::rows`], with the named columns only when some are named.
    pub(crate) fn columns(
        engine: &Engine,
        groups: &[u32],
        columns: Option<&[&str]>,
    ) -> Result<Vec<RecordBatch>, PipelineError> {
        match columns {
            None => Self::rows(engine, groups),
            Some(columns) => groups
                .chunks(SLICE)
                .map(|slice| engine.columns_of(slice, columns))
                .collect(),
        }
    }

    fn set_position(&self, position: Position) {
        self.position.send_replace(position);
    }

    /// Applies events to all pipelines that do not hold `position` yet, side by side when there are many rows.
    /// Gives the changed rows when asked to.
    async fn apply(
        self: &Arc<Self>,
        events: RecordBatch,
        position: Position,
        report: bool,
    ) -> Result<Vec<Changed>, PipelineError> {
        let lanes = if events.num_rows() < SIDE_BY_SIDE_ROWS {
            1
        } else {
            self.settings.apply_threads.clamp(1, self.engines.len().max(1))
        };
        let job = Arc::new(ApplyJob {
            runtime: Arc::clone(self),
            events,
            fields: OnceLock::new(),
            position,
            report,
            next: AtomicUsize::new(0),
            changed: Mutex::default(),
        });
        let lanes: Vec<_> = (0..lanes)
            .map(|_| {
                let job = Arc::clone(&job);
                tokio::task::spawn_blocking(move || job.run())
            })
            .collect();
        let mut outcome = Ok(());
        for lane in lanes {
            let result = lane
                .await
                .unwrap_or_else(|error| Err(PipelineError::Task(error.to_string())));
            outcome = outcome.and(result);
        }
        outcome?;
        Ok(std::mem::take(&mut *job.changed.lock()))
    }

    /// Spills the coldest chunks of the largest states until memory is within its bound (P-3).
    fn keep_within_memory(&self) -> Result<(), PipelineError> {
        loop {
            let sizes = self.engines.iter().map(|engine| (engine.state_bytes(), engine));
            let mut sizes: Vec<_> = sizes.collect();
            let total: u64 = sizes.iter().map(|(bytes, _)| bytes).sum();
            if total <= self.settings.state_memory_bytes {
                return Ok(());
            }
            sizes.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
            let mut spilled = false;
            for (_, engine) in sizes {
                if engine.spill_one()? {
                    spilled = true;
                    break;
                }
            }
            if !spilled {
                let bound = self.settings.state_memory_bytes + self.engines.len() as u64 * UNSPILLED_BYTES;
                Invariant::BoundedState.check(
                    total <= bound,
                    format_args!("{total} bytes of state stay in memory"),
                );
                return Ok(());
            }
        }
    }
}

/// One batch on its way through the pipelines; the lanes take the next pipeline until none is left.
struct ApplyJob {
    runtime: Arc<Runtime>,
    events: RecordBatch,
    fields: OnceLock<RecordBatch>,
    position: Position,
    report: bool,
    next: AtomicUsize,
    changed: Mutex<Vec<Changed>>,
}

impl ApplyJob {
    fn run(&self) -> Result<(), PipelineError> {
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(engine) = self.runtime.engines.get(at) else {
                break;
            };
            if engine.position() < self.position {
                self.one(engine)?;
            }
        }
        self.runtime.keep_within_memory()
    }

    fn one(&self, engine: &Engine) -> Result<(), PipelineError> {
        let rows = match engine.plan().source {
            Source::Events => &self.events,
            Source::CrmFields => self.fields.get_or_init(|| explode(&self.events)),
        };
        let changed = engine.apply(rows, self.runtime.settings.micro_batch_rows, self.report)?;
        engine.set_position(self.position);
        self.changed
            .lock()
            .extend(changed.into_iter().map(|rows| Changed {
                pipeline: engine.plan().pipeline.name,
                rows,
            }));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
