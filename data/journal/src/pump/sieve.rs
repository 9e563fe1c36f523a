//! The first half of the pump: reads ahead, drops duplicates, saves the dedup checkpoint.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use revgauge_contract::{Classified, Position, cut::Delivered};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::Settled;
use crate::{
    Deduplicator, DurableDedup, Journal, JournalError, PumpSettings,
    backoff::Backoff,
    dedup::{Checkpoints, Draft},
};

pub(super) struct Sieve {
    pub(super) journal: Arc<Journal>,
    pub(super) dedup: Option<DurableDedup>,
    pub(super) settled: Settled,
    pub(super) settings: PumpSettings,
    pub(super) seed: u64,
    pub(super) trouble: watch::Sender<Option<String>>,
    /// Positions of the checkpoints that a restart can choose from; `None` without dedup.
    pub(super) restorable: watch::Sender<Option<Vec<Position>>>,
}

impl Sieve {
    /// Ends with the shutdown, with the receiver, or with what no waiting mends.
    pub(super) async fn run(
        self,
        start: Position,
        out: mpsc::Sender<Arc<Delivered>>,
        shutdown: CancellationToken,
    ) -> Result<(), JournalError> {
        let mut batches = std::pin::pin!(self.read_from(start));
        let mut filter = self.dedup.map(|durable| {
            Filter::new(
                durable,
                self.settings.clone(),
                Arc::clone(&self.settled),
                self.restorable,
            )
        });
        let mut result = Ok(());
        loop {
            let next = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                next = batches.next() => next,
            };
            let Some(read) = next else { break };
            let passed = match (read, &mut filter) {
                (Ok(delivered), Some(filter)) => filter.pass(delivered).await,
                (read, _) => read,
            };
            match passed {
                Ok(delivered) => {
                    if out.send(delivered).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "journal cannot be read on");
                    self.trouble.send_replace(Some(error.to_string()));
                    result = Err(error);
                    break;
                }
            }
        }
        if let Some(filter) = filter {
            filter.finish().await;
        }
        result
    }

    /// Positions from `start` on, read and decoded ahead, each as soon as it is durable.
    fn read_from(
        &self,
        start: Position,
    ) -> impl Stream<Item = Result<Arc<Delivered>, JournalError>> + Send + use<> {
        let positions = stream::unfold((start, self.journal.watch()), |(at, mut durable)| async move {
            // The sender lives as long as the journal, which the reads below keep alive.
            durable.wait_for(|last| *last >= at).await.ok()?;
            Some((at, (at.next(), durable)))
        });
        let (journal, settings) = (Arc::clone(&self.journal), self.settings.clone());
        let (seed, trouble) = (self.seed, self.trouble.clone());
        positions
            .map(move |at| {
                let (journal, trouble) = (Arc::clone(&journal), trouble.clone());
                let backoff = Backoff::new(settings.retry_initial_ms, settings.retry_max_ms, seed ^ at.0);
                read_until_it_succeeds(journal, at, backoff, trouble)
            })
            .buffered(self.settings.read_ahead_objects.max(1))
    }
}

async fn read_until_it_succeeds(
    journal: Arc<Journal>,
    at: Position,
    mut backoff: Backoff,
    trouble: watch::Sender<Option<String>>,
) -> Result<Arc<Delivered>, JournalError> {
    loop {
        match journal.read(at).await {
            Err(error) if error.retryable() => {
                let wait = backoff.next();
                tracing::warn!(position = at.0, %error, wait_ms = wait.as_millis() as u64, "read failed, repeated");
                trouble.send_replace(Some(error.to_string()));
                tokio::time::sleep(wait).await;
            }
            other => {
                if backoff.failures() > 0 {
                    trouble.send_replace(None);
                }
                return other;
            }
        }
    }
}

type Saving = JoinHandle<(Checkpoints, Result<(), (Draft, JournalError)>)>;

/// The deduplicator and its checkpoints, which are written beside it.
struct Filter {
    /// Away only while a blocking thread has it.
    dedup: Option<Deduplicator>,
    /// Here when no save is under way.
    checkpoints: Option<Checkpoints>,
    saving: Option<Saving>,
    /// A draft whose save failed.
    unsaved: Option<Draft>,
    checkpoint_ids: usize,
    saved_at: Instant,
    saved_position: Position,
    settled: Settled,
    settings: PumpSettings,
    restorable: watch::Sender<Option<Vec<Position>>>,
}

impl Filter {
    fn new(
        durable: DurableDedup,
        settings: PumpSettings,
        settled: Settled,
        restorable: watch::Sender<Option<Vec<Position>>>,
    ) -> Self {
        restorable.send_replace(Some(durable.checkpoints.positions()));
        Self {
            checkpoint_ids: durable.checkpoints.settings().checkpoint_ids,
            saved_position: durable.dedup.position(),
            dedup: Some(durable.dedup),
            checkpoints: Some(durable.checkpoints),
            saving: None,
            unsaved: None,
            saved_at: Instant::now(),
            settled,
            settings,
            restorable,
        }
    }

    async fn pass(&mut self, delivered: Arc<Delivered>) -> Result<Arc<Delivered>, JournalError> {
        let lost = || JournalError::Task("drops duplicates");
        let mut dedup = self.dedup.take().ok_or_else(lost)?;
        let filtered = spawn_blocking(move || {
            let passed = dedup.filter(&delivered);
            (dedup, passed)
        });
        let (dedup, passed) = filtered.await.map_err(|_| lost())?;
        let position = dedup.position();
        let fresh = dedup.fresh_ids();
        self.dedup = Some(dedup);
        let due = fresh >= self.checkpoint_ids
            || position.0.saturating_sub(self.saved_position.0) >= self.settings.checkpoint_positions
            || self.saved_at.elapsed() >= Duration::from_millis(self.settings.checkpoint_every_ms);
        if due && position > self.saved_position {
            // With twice as many ids as a checkpoint takes, the store is too slow: wait for it.
            self.collect(fresh >= 2 * self.checkpoint_ids).await;
            self.start_save();
        }
        passed
    }

    /// Takes back the checkpoints when their save is over, or waits for that.
    async fn collect(&mut self, wait: bool) {
        let Some(saving) = self.saving.take_if(|saving| wait || saving.is_finished()) else {
            return;
        };
        let Ok((checkpoints, result)) = saving.await else {
            tracing::error!("the task that saves dedup checkpoints ended early, none will be saved");
            return;
        };
        if let Err((draft, error)) = result {
            tracing::warn!(%error, "dedup checkpoint could not be saved, repeated with the next one");
            self.unsaved = Some(draft);
        }
        self.restorable.send_replace(Some(checkpoints.positions()));
        self.checkpoints = Some(checkpoints);
    }

    fn start_save(&mut self) {
        let (Some(dedup), Some(mut checkpoints)) = (&mut self.dedup, self.checkpoints.take()) else {
            return;
        };
        let mut draft = dedup.draft();
        if let Some(unsaved) = self.unsaved.take() {
            draft = unsaved.followed_by(draft);
        }
        self.saved_position = dedup.position();
        self.saved_at = Instant::now();
        let settled = (self.settled)();
        self.saving = Some(tokio::spawn(async move {
            let saved = checkpoints.save(&draft, settled).await;
            let result = saved.map(drop).map_err(|error| (draft, error));
            (checkpoints, result)
        }));
    }

    /// Saves a last checkpoint.
    async fn finish(mut self) {
        self.collect(true).await;
        let moved = self
            .dedup
            .as_ref()
            .is_some_and(|dedup| dedup.position() > self.saved_position);
        if moved || self.unsaved.is_some() {
            self.start_save();
            self.collect(true).await;
        }
    }
}
