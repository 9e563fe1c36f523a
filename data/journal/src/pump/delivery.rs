//! The second half of the pump: hands positions to the readers in order, and trims behind them.

use std::{sync::Arc, time::Duration};

use revgauge_contract::{
    Position,
    cut::{Delivered, JournalConsumer},
    error::Failure,
    invariant::Invariant,
};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::Settled;
use crate::{Journal, PumpSettings, backoff::Backoff};

pub(super) struct Delivery {
    pub(super) consumers: Vec<Box<dyn JournalConsumer>>,
    pub(super) trimmer: Trimmer,
    pub(super) settings: PumpSettings,
    pub(super) seed: u64,
    pub(super) progress: watch::Sender<Position>,
    pub(super) trouble: watch::Sender<Option<String>>,
}

/// Trims behind the readers.
pub(super) struct Trimmer {
    pub(super) journal: Arc<Journal>,
    pub(super) settled: Settled,
    /// Positions of the dedup checkpoints; `None` without dedup.
    pub(super) checkpoints: watch::Receiver<Option<Vec<Position>>>,
}

impl Delivery {
    /// `start` is the first position that the sieve reads. Ends when the sieve does; what it read before a shutdown is left for the next start.
    pub(super) async fn run(
        mut self,
        start: Position,
        mut batches: mpsc::Receiver<Arc<Delivered>>,
        shutdown: CancellationToken,
    ) {
        // What the sieve has not read yet stays, also where every reader holds it: it is read for the deduplicator's sake, and
        // which checkpoint of that a restart would choose is told with the first position.
        let mut read = Position(start.0.saturating_sub(1));
        let mut trim = interval(Duration::from_millis(self.settings.trim_every_ms.max(1)));
        trim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = trim.tick() => {
                    let delivered = *self.progress.borrow();
                    self.trimmer.trim(delivered.min(read)).await;
                }
                next = batches.recv() => match next {
                    Some(delivered) => {
                        read = delivered.position;
                        if !self.deliver(&delivered, &shutdown).await {
                            return;
                        }
                    }
                    None => return,
                },
            }
        }
    }

    /// Whether all readers took the position; no only at shutdown.
    async fn deliver(&mut self, delivered: &Arc<Delivered>, shutdown: &CancellationToken) -> bool {
        let before = *self.progress.borrow();
        if delivered.position <= before {
            // Read for the deduplicator's sake only.
            return true;
        }
        Invariant::PositionsWithoutGaps.check(
            before.next() == delivered.position,
            "deliveries follow each other",
        );
        let mut backoff = Backoff::new(
            self.settings.retry_initial_ms,
            self.settings.retry_max_ms,
            self.seed ^ delivered.position.0,
        );
        for index in 0..self.consumers.len() {
            // Read once a position: a reader may move on its own (a rebuild).
            if self.consumers[index].resume_after() >= delivered.position {
                continue;
            }
            while let Err(error) = self.consumers[index].deliver(delivered).await {
                self.report(index, delivered.position, &error);
                tokio::select! {
                    () = shutdown.cancelled() => return false,
                    () = tokio::time::sleep(backoff.next()) => {}
                }
            }
            if backoff.failures() > 0 {
                backoff.reset();
                self.trouble.send_replace(None);
            }
        }
        self.progress.send_replace(delivered.position);
        true
    }

    fn report(&self, index: usize, position: Position, error: &Failure) {
        let consumer = self.consumers[index].name();
        tracing::error!(consumer, position = position.0, %error, "reader failed to take a position, repeated");
        let text = format!("reader '{consumer}' failed to take position {position}: {error}");
        self.trouble.send_replace(Some(text));
    }
}

impl Trimmer {
    async fn trim(&self, delivered: Position) {
        let settled = (self.settled)().min(delivered);
        let through = match &*self.checkpoints.borrow() {
            None => settled,
            Some(checkpoints) => restorable(checkpoints, settled),
        };
        if through < self.journal.first() {
            return;
        }
        if let Err(error) = self.journal.trim_through(through).await {
            tracing::warn!(%error, through = through.0, "journal could not be trimmed, repeated later");
        }
    }
}

/// The checkpoint that a restart would choose when every reader resumes at or after `settled`: what lies above it must
/// stay.
fn restorable(checkpoints: &[Position], settled: Position) -> Position {
    let usable = checkpoints.iter().filter(|at| **at <= settled).max();
    usable.copied().unwrap_or(Position::START)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_keeps_what_a_restart_would_read() {
        let at = |settled| restorable(&[Position(3), Position(7), Position(12)], Position(settled)).0;
        assert_eq!([at(2), at(3), at(11), at(100)], [0, 3, 7, 12]);
    }
}
