//! From the journal to its readers: read ahead, drop duplicates, deliver in order, save, trim.
//!
//! Two tasks with a bounded channel between them. The *sieve* reads and decodes ahead, drops duplicates and saves the
//! dedup checkpoint; the *delivery* hands each position to each reader in order and trims behind them. A failing reader
//! stops the delivery, and by the bounds the sieve; nothing is skipped.

mod delivery;
mod sieve;

use std::{fmt, sync::Arc};

use revgauge_contract::{Position, cut::JournalConsumer};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{DurableDedup, Journal, JournalError, PumpSettings};
use delivery::{Delivery, Trimmer};
use sieve::Sieve;

/// Says up to which position everything is durable behind the readers (lake and state checkpoint).
pub type Settled = Arc<dyn Fn() -> Position + Send + Sync>;

/// Drives a journal's readers.
pub struct Pump {
    journal: Arc<Journal>,
    consumers: Vec<Box<dyn JournalConsumer>>,
    dedup: Option<DurableDedup>,
    settled: Settled,
    settings: PumpSettings,
    seed: u64,
    progress: watch::Sender<Position>,
    trouble: watch::Sender<Option<String>>,
}

impl fmt::Debug for Pump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.consumers.iter().map(|consumer| consumer.name()).collect();
        f.debug_struct("Pump")
            .field("journal", &self.journal)
            .field("consumers", &names)
            .field("progress", &*self.progress.borrow())
            .finish_non_exhaustive()
    }
}

impl Pump {
    /// A pump that stands before its first position.
    ///
    /// `settled` is asked every `trim_every_ms`; the journal is trimmed to the least of it and the dedup checkpoint
    /// that a restart would choose. `seed` feeds the jitter of repetitions.
    #[must_use]
    pub fn new(
        journal: Arc<Journal>,
        consumers: Vec<Box<dyn JournalConsumer>>,
        dedup: Option<DurableDedup>,
        settled: Settled,
        settings: PumpSettings,
        seed: u64,
    ) -> Self {
        let resume = least_resume(&consumers).unwrap_or_else(|| journal.last());
        Self {
            journal,
            consumers,
            dedup,
            settled,
            settings,
            seed,
            progress: watch::Sender::new(resume),
            trouble: watch::Sender::new(None),
        }
    }

    /// Follows the last position delivered to all readers.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Position> {
        self.progress.subscribe()
    }

    /// Follows what holds the pump up at the moment, for people; `None` while all goes well.
    #[must_use]
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// Delivers until cancelled; a position begun is delivered to all readers first, and a last dedup checkpoint is
    /// saved.
    ///
    /// Failing reads and readers are repeated with growing waits for as long as it takes.
    ///
    /// # Errors
    /// [`JournalError::ResumeTrimmed`] when a reader resumes below what the journal keeps; a damaged object
    /// ([`JournalError::Corrupt`], [`JournalError::TooNew`]). Nothing of these passes by waiting.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), JournalError> {
        let start = self.start()?;
        let (send, receive) = mpsc::channel(self.settings.deliver_ahead_batches.max(1));
        let (restorable, checkpoints) = watch::channel(None);
        let sieve = Sieve {
            journal: Arc::clone(&self.journal),
            dedup: self.dedup,
            settled: Arc::clone(&self.settled),
            settings: self.settings.clone(),
            seed: self.seed,
            trouble: self.trouble.clone(),
            restorable,
        };
        let delivery = Delivery {
            consumers: self.consumers,
            trimmer: Trimmer {
                journal: self.journal,
                settled: self.settled,
                checkpoints,
            },
            settings: self.settings,
            seed: self.seed ^ 1,
            progress: self.progress,
            trouble: self.trouble,
        };
        // Either side ends the other: a dropped channel stops the sieve, a finished sieve the delivery.
        let sieve = tokio::spawn(sieve.run(start, send, shutdown.clone()));
        let delivered = tokio::spawn(delivery.run(start, receive, shutdown));
        let sieved = sieve
            .await
            .unwrap_or(Err(JournalError::Task("reads the journal")));
        let delivered = delivered
            .await
            .map_err(|_| JournalError::Task("delivers the journal"));
        sieved.and(delivered)
    }

    /// The first position to read: what the least reader needs, or what the deduplicator has not noted yet.
    fn start(&self) -> Result<Position, JournalError> {
        let first = self.journal.first();
        let journal = self.journal.name().as_str();
        for consumer in &self.consumers {
            let resume = consumer.resume_after();
            if resume.next() < first {
                return Err(JournalError::ResumeTrimmed {
                    journal,
                    reader: consumer.name().to_owned(),
                    resume,
                    first,
                });
            }
        }
        let resume = *self.progress.borrow();
        let Some(noted) = self.dedup.as_ref().map(|durable| durable.dedup.position()) else {
            return Ok(resume.next());
        };
        if noted.next() < first {
            tracing::warn!(
                journal,
                noted = noted.0,
                first = first.0,
                "ids of trimmed positions are not known: their repetitions will not be recognised"
            );
        }
        Ok(resume.min(noted).next().max(first))
    }
}

fn least_resume(consumers: &[Box<dyn JournalConsumer>]) -> Option<Position> {
    consumers.iter().map(|consumer| consumer.resume_after()).min()
}

#[cfg(test)]
mod tests;
