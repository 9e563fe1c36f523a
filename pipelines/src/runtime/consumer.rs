//! The runtime as a reader of the journal.

use std::sync::Arc;

use async_trait::async_trait;
use revgauge_contract::{
    Position, Timestamp,
    cut::{Delivered, JournalConsumer},
    error::Failure,
    statistics::{Changed, StatisticsListener},
};

use super::{Due, Runtime};

/// Feeds delivered batches to the runtime and tells the listener what changed.
pub struct PipelineConsumer {
    runtime: Arc<Runtime>,
    listener: Option<Arc<dyn StatisticsListener>>,
    /// Changes already in the state that the listener did not take yet.
    unheard: Option<(Position, Timestamp, Vec<Changed>)>,
}

impl std::fmt::Debug for PipelineConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PipelineConsumer")
            .field("position", &self.runtime.position())
            .field("listens", &self.listener.is_some())
            .finish_non_exhaustive()
    }
}

impl Runtime {
    /// The reader of the journal that keeps this runtime up to date; there must be only one at a time.
    #[must_use]
    pub fn consumer(
        self: &Arc<Self>,
        listener: Option<Arc<dyn StatisticsListener>>,
    ) -> Box<dyn JournalConsumer> {
        Box::new(PipelineConsumer {
            runtime: Arc::clone(self),
            listener,
            unheard: None,
        })
    }

    /// The writer's turn for a position: waits while a gate holds deliveries back.
    async fn turn(&self, position: Position) -> tokio::sync::MutexGuard<'_, Due> {
        let mut gate = self.gate.subscribe();
        let open = |gate: &Option<Position>| gate.is_none_or(|last| position <= last);
        loop {
            // The sender lives as long as the runtime, so waiting cannot fail.
            let _ = gate.wait_for(open).await;
            let turn = self.writer.lock().await;
            if open(&gate.borrow()) {
                return turn;
            }
        }
    }
}

impl PipelineConsumer {
    async fn tell(&mut self) -> Result<(), Failure> {
        let Some((position, as_of, changed)) = &self.unheard else {
            return Ok(());
        };
        if let Some(listener) = &self.listener {
            listener.changed(*position, *as_of, changed.clone()).await?;
        }
        self.unheard = None;
        Ok(())
    }
}

#[async_trait]
impl JournalConsumer for PipelineConsumer {
    fn name(&self) -> &'static str {
        "pipelines"
    }

    /// The live state's own position: what a checkpoint or a rebuild brought, and everything delivered since. A new
    /// process asks before the first delivery and gets the durable position.
    fn resume_after(&self) -> Position {
        self.runtime.position()
    }

    async fn deliver(&mut self, delivered: &Arc<Delivered>) -> Result<(), Failure> {
        self.tell().await?;
        let position = delivered.position;
        if position <= self.runtime.position() {
            return Ok(());
        }
        {
            let mut due = self.runtime.turn(position).await;
            let report = self.listener.is_some();
            let batch = delivered.batch.clone();
            let changed = self.runtime.apply(batch, position, report).await?;
            self.runtime.set_position(position);
            self.unheard = Some((position, delivered.written_at, changed));
            due.rows += delivered.batch.num_rows() as u64;
            self.runtime.checkpoint_if_due(&mut due);
        }
        self.tell().await
    }
}

impl Runtime {
    /// Holds deliveries back at the present position.
    pub(crate) async fn close_gate(&self) {
        let turn = self.writer.lock().await;
        self.gate.send_replace(Some(self.position()));
        drop(turn);
    }

    /// Lets deliveries through up to a position and waits until the state stands there, or beyond.
    pub(crate) async fn advance_to(&self, position: Position) -> Position {
        self.gate.send_replace(Some(position));
        let mut reached = self.position.subscribe();
        let waited = reached.wait_for(|reached| *reached >= position).await;
        waited.map_or_else(|_| self.position(), |reached| *reached)
    }

    /// Lets all deliveries through.
    pub(crate) fn open_gate(&self) {
        self.gate.send_replace(None);
    }
}
