//! Checkpoints of the runtime: when, what, and back.

use std::sync::{Arc, atomic::Ordering};

use revgauge_contract::{Position, Timestamp};

use super::{Due, Runtime};
use crate::{
    checkpoint::{Manifest, Part, PipelineParts, encode_part},
    engine::{Captured, Engine, SpillFolder},
    error::PipelineError,
};

/// Groups of one part object.
const PART_GROUPS: usize = 262_144;
/// Groups of one record batch within a part.
const BATCH_GROUPS: usize = 16_384;

/// The changed groups of all pipelines at one position.
struct Capture {
    position: Position,
    engines: Vec<EngineCapture>,
}

struct EngineCapture {
    engine: Arc<Engine>,
    captured: Captured,
    /// Parts that still count, before the new ones.
    base: Option<PipelineParts>,
}

impl EngineCapture {
    fn in_place_order(self) -> Self {
        Self {
            captured: self.captured.in_place_order(),
            ..self
        }
    }

    fn encode(&self, from: usize, to: usize) -> Result<Vec<u8>, PipelineError> {
        let starts = (from..to).step_by(BATCH_GROUPS);
        let batches = starts.map(|start| {
            let end = to.min(start + BATCH_GROUPS);
            self.engine.captured_rows(&self.captured, start, end)
        });
        encode_part(
            self.engine.plan().pipeline.name,
            &batches.collect::<Result<Vec<_>, _>>()?,
        )
    }
}

/// Runs work that would hold a thread of the runtime for long.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PipelineError> + Send + 'static,
) -> Result<T, PipelineError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| PipelineError::Task(error.to_string()))?
}

impl Runtime {
    /// Starts a checkpoint in the background when enough time or rows have passed and none is being written.
    pub(super) fn checkpoint_if_due(self: &Arc<Self>, due: &mut Due) {
        let now = self.clock.now();
        let waited_ms = (now.micros() - due.since.micros()).max(0) as u64 / 1000;
        let by_time = due.rows > 0 && waited_ms >= self.settings.checkpoint_interval_ms;
        if !by_time && due.rows < self.settings.checkpoint_rows {
            return;
        }
        let Ok(turn) = Arc::clone(&self.checkpointing).try_lock_owned() else {
            return;
        };
        let capture = self.capture();
        *due = Due { rows: 0, since: now };
        let runtime = Arc::clone(self);
        tokio::spawn(async move {
            let position = capture.position;
            if let Err(error) = runtime.write(capture).await {
                tracing::warn!(%error, %position, "checkpoint was not written; the next one will hold its changes");
            }
            drop(turn);
        });
    }

    /// Takes a checkpoint of the state as it is now and waits until it is durable.
    ///
    /// # Errors
    /// `External` when the store fails; the checkpoints before stay valid.
    pub async fn checkpoint_now(self: &Arc<Self>) -> Result<Position, PipelineError> {
        let turn = Arc::clone(&self.checkpointing).lock_owned().await;
        let capture = {
            let mut due = self.writer.lock().await;
            *due = Due {
                rows: 0,
                since: self.clock.now(),
            };
            self.capture()
        };
        let position = capture.position;
        if position.0 != self.checkpointed.load(Ordering::Acquire) {
            self.write(capture).await?;
        }
        drop(turn);
        Ok(position)
    }

    /// Must be called while no batch is being applied.
    fn capture(&self) -> Capture {
        let newest = self.checkpoints.newest_first().into_iter().next();
        let engines = self.engines.iter().map(|engine| {
            let pipeline = &engine.plan().pipeline;
            let base = newest.iter().flat_map(|manifest| &manifest.pipelines);
            let base = base
                .into_iter()
                .find(|parts| parts.name == pipeline.name && parts.fingerprint == pipeline.fingerprint())
                .filter(|parts| self.builds_on(parts, engine))
                .cloned();
            EngineCapture {
                captured: engine.capture(base.is_none()),
                engine: Arc::clone(engine),
                base,
            }
        });
        Capture {
            position: self.position(),
            engines: engines.collect(),
        }
    }

    /// Whether an incremental checkpoint on top of these parts still beats a full one.
    fn builds_on(&self, parts: &PipelineParts, engine: &Engine) -> bool {
        let rows: u64 = parts.parts.iter().map(|part| part.rows).sum();
        parts.deltas < self.settings.checkpoint_deltas && rows <= 2 * engine.statistics().groups
    }

    async fn write(&self, capture: Capture) -> Result<(), PipelineError> {
        let Capture { position, engines } = capture;
        let ordering = move || engines.into_iter().map(EngineCapture::in_place_order);
        let engines: Vec<_> = blocking(move || Ok(ordering().map(Arc::new).collect())).await?;
        let written = match self.write_parts(position, &engines).await {
            Ok(manifest) => self.checkpoints.publish(manifest).await,
            Err(error) => Err(error),
        };
        match &written {
            Ok(()) => self.checkpointed.store(position.0, Ordering::Release),
            Err(_) => {
                for one in &engines {
                    one.engine.uncapture(&one.captured);
                }
            }
        }
        written
    }

    async fn write_parts(
        &self,
        position: Position,
        engines: &[Arc<EngineCapture>],
    ) -> Result<Manifest, PipelineError> {
        let id = self.checkpoints.next_id().await?;
        let mut pipelines = Vec::with_capacity(engines.len());
        for one in engines {
            let pipeline = &one.engine.plan().pipeline;
            let mut parts = one.base.clone().unwrap_or_else(|| PipelineParts {
                name: pipeline.name.to_owned(),
                fingerprint: pipeline.fingerprint(),
                deltas: 0,
                parts: Vec::new(),
            });
            let new = self.write_groups(id, one).await?;
            parts.deltas += usize::from(one.base.is_some() && !new.is_empty());
            parts.parts.extend(new);
            pipelines.push(parts);
        }
        Ok(Manifest {
            id,
            position,
            taken_at: self.clock.now(),
            pipelines,
        })
    }

    async fn write_groups(&self, id: u64, one: &Arc<EngineCapture>) -> Result<Vec<Part>, PipelineError> {
        let total = one.captured.groups.len();
        let mut parts = Vec::new();
        for from in (0..total).step_by(PART_GROUPS) {
            let to = total.min(from + PART_GROUPS);
            let encoding = Arc::clone(one);
            let bytes = blocking(move || encoding.encode(from, to)).await?;
            let name = one.engine.plan().pipeline.name;
            let part = self
                .checkpoints
                .write_part(id, name, parts.len(), (to - from) as u64, bytes);
            parts.push(part.await?);
        }
        Ok(parts)
    }

    /// Restores the newest checkpoint that is whole.
    pub(super) async fn restore(&mut self, spill: &Arc<SpillFolder>) -> Result<(), PipelineError> {
        for manifest in self.checkpoints.newest_first() {
            if let Some(changed) = self.unfit(&manifest) {
                tracing::warn!(
                    checkpoint = manifest.id,
                    pipeline = changed,
                    "checkpoint was made by another SQL text; the state is rebuilt"
                );
                self.checkpoints.forget(manifest.id);
                continue;
            }
            match self.load(&manifest).await {
                Ok(()) => {
                    self.checkpointed.store(manifest.position.0, Ordering::Release);
                    self.set_position(manifest.position);
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(checkpoint = manifest.id, %error, "checkpoint cannot be restored; trying the one before");
                    self.checkpoints.forget(manifest.id);
                    self.empty(spill);
                }
            }
        }
        Ok(())
    }

    /// A pipeline whose state this checkpoint does not hold.
    fn unfit(&self, manifest: &Manifest) -> Option<&'static str> {
        let fits = |engine: &Arc<Engine>| {
            let pipeline = &engine.plan().pipeline;
            manifest
                .pipelines
                .iter()
                .any(|parts| parts.name == pipeline.name && parts.fingerprint == pipeline.fingerprint())
        };
        let unfit = self.engines.iter().find(|engine| !fits(engine));
        unfit.map(|engine| engine.plan().pipeline.name)
    }

    fn empty(&mut self, spill: &Arc<SpillFolder>) {
        let fresh = self
            .engines
            .iter()
            .filter_map(|engine| Engine::new(engine.plan().clone(), Arc::clone(spill)));
        self.engines = fresh.map(Arc::new).collect();
    }

    async fn load(&self, manifest: &Manifest) -> Result<(), PipelineError> {
        let loads = self.engines.iter().map(|engine| {
            let name = engine.plan().pipeline.name;
            let parts = manifest.pipelines.iter().find(|parts| parts.name == name);
            let parts = parts.map(|parts| parts.parts.clone()).unwrap_or_default();
            self.load_one(Arc::clone(engine), parts, manifest.position)
        });
        for loaded in futures::future::join_all(loads).await {
            loaded?;
        }
        Ok(())
    }

    async fn load_one(
        &self,
        engine: Arc<Engine>,
        parts: Vec<Part>,
        position: Position,
    ) -> Result<(), PipelineError> {
        // The next part is read while this one is restored.
        let mut parts = parts.into_iter().peekable();
        let mut ahead = match parts.peek() {
            Some(part) => self.checkpoints.read_part(part).await?,
            None => Vec::new(),
        };
        while let Some(part) = parts.next() {
            let batches = std::mem::take(&mut ahead);
            let restoring = Arc::clone(&engine);
            let restored = blocking(move || {
                let rows: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
                if rows != part.rows {
                    return Err(PipelineError::Corrupt {
                        path: part.path,
                        message: format!("it has {rows} rows instead of {}", part.rows),
                    });
                }
                batches.iter().try_for_each(|batch| restoring.restore(batch))
            });
            let reading = async {
                match parts.peek() {
                    Some(part) => self.checkpoints.read_part(part).await,
                    None => Ok(Vec::new()),
                }
            };
            let (restored, read) = futures::join!(restored, reading);
            restored?;
            ahead = read?;
            self.keep_within_memory()?;
        }
        engine.settled();
        engine.set_position(position);
        Ok(())
    }
}

/// What is known of a checkpoint, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointStatus {
    /// Last journal position in it.
    pub position: Position,
    /// When it was taken.
    pub taken_at: Timestamp,
}

impl Runtime {
    /// The newest checkpoint, when there is one.
    #[must_use]
    pub fn newest_checkpoint(&self) -> Option<CheckpointStatus> {
        let newest = self.checkpoints.newest_first().into_iter().next()?;
        Some(CheckpointStatus {
            position: newest.position,
            taken_at: newest.taken_at,
        })
    }
}
