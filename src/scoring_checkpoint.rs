//! Layer 2's checkpoint: written beside the state's, read at a restart, and brought up to the restored state.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use hashbrown::HashMap;
use object_store::ObjectStore;
use revgauge_contract::{Position, statistics::StatisticsSource};
use revgauge_journal::Journal;
use revgauge_models::{
    directory::Directory,
    gather::TouchedKeys,
    live::{FeedMemory, Held, LiveScorer, SNAPSHOT_LAYOUT},
    service::Scoring,
};
use revgauge_pipelines::{CompanionCheckpoints, CompanionManifest};
use tokio::task::spawn_blocking;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::doors::PastTiers;

/// Bytes of one part object.
const PART_BYTES: usize = 16 << 20;
/// No checkpoint yet: nothing holds the journal back.
const NONE: u64 = u64::MAX;

/// What layer 2 remembers at a restart.
#[derive(Debug)]
pub(crate) struct Remembered {
    /// What the feed last said, up to `fed`.
    pub(crate) memory: FeedMemory,
    /// Last position of the feed in `memory`.
    pub(crate) fed: Position,
    directories: HashMap<Arc<str>, Directory>,
    /// Last event position that the directories hold; none when they have to be read from the state.
    position: Option<Position>,
}

/// Reads the newest checkpoint, and the feed from where it ends. Needs nothing of layer 1.
///
/// # Errors
/// What reading the feed met; a checkpoint that cannot be read is said in the log and done without.
pub(crate) async fn remember(store: Arc<dyn ObjectStore>, past: Arc<PastTiers>) -> Result<Remembered> {
    let checkpoints = CompanionCheckpoints::new(store, SNAPSHOT_LAYOUT);
    let mut remembered = match newest(&checkpoints).await {
        Ok(Some(held)) => held,
        Ok(None) => Remembered::nothing(),
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "checkpoint of layer 2 cannot be read; what it held is computed anew"
            );
            Remembered::nothing()
        }
    };
    let (fed, mut entries) = past.after(remembered.fed).await?;
    while let Some(batch) = entries.next().await {
        remembered.memory.take(&batch?);
    }
    remembered.fed = fed;
    Ok(remembered)
}

async fn newest(checkpoints: &CompanionCheckpoints) -> Result<Option<Remembered>> {
    let Some(manifest) = checkpoints.newest().await? else {
        return Ok(None);
    };
    let manifest = Arc::new(manifest);
    let read = |number: usize| {
        let (checkpoints, manifest) = (checkpoints.clone(), Arc::<CompanionManifest>::clone(&manifest));
        AbortOnDropHandle::new(tokio::spawn(
            async move { checkpoints.part(&manifest, number).await },
        ))
    };
    let mut held = Held::default();
    // The next part is read while this one is taken.
    let mut ahead = read(0);
    for number in 0..manifest.parts() {
        let part = std::mem::replace(&mut ahead, read(number + 1)).await??;
        held = spawn_blocking(move || held.take(&part).map(|()| held)).await??;
    }
    let (memory, directories) = held.open()?;
    Ok(Some(Remembered {
        memory,
        fed: manifest.fed,
        directories,
        position: Some(manifest.position),
    }))
}

impl Remembered {
    fn nothing() -> Self {
        Self {
            memory: FeedMemory::default(),
            fed: Position::START,
            directories: HashMap::new(),
            position: None,
        }
    }

    /// Hands the directories to layer 2 and reads into them what layer 1 took between the checkpoint and `state`.
    /// Directories that cannot be brought up are left out: they are read from the state.
    pub(crate) async fn give_directories(
        &mut self,
        scoring: &Scoring,
        source: &dyn StatisticsSource,
        journal: &Journal,
        state: Position,
    ) -> Result<()> {
        let Some(position) = self.position else {
            return Ok(());
        };
        if position != state {
            self.memory.overtaken();
        }
        let touched = match touched_between(journal, position, state).await {
            Ok(touched) => touched,
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the checkpoint of layer 2 is behind the state; its directories are read anew"
                );
                return Ok(());
            }
        };
        scoring
            .directories()
            .install(std::mem::take(&mut self.directories));
        touched.refresh(scoring.directories(), source).await?;
        Ok(())
    }
}

/// Keys of the events after one position and up to another. Duplicates among them do no harm: their rows are read from
/// the state, which took them once.
async fn touched_between(journal: &Journal, after: Position, through: Position) -> Result<TouchedKeys> {
    let mut touched = TouchedKeys::default();
    if after < through && journal.first() > after.next() {
        bail!(
            "the journal begins at position {}, after {after}",
            journal.first()
        );
    }
    let mut position = after.next();
    while position <= through {
        let delivered = journal
            .read(position)
            .await
            .with_context(|| format!("cannot read position {position} again"))?;
        touched.add(&delivered.batch);
        position = position.next();
    }
    Ok(touched)
}

/// Writes the checkpoints.
#[derive(Debug)]
pub(crate) struct ScoringCheckpoints {
    checkpoints: CompanionCheckpoints,
    live: Arc<LiveScorer>,
    position: AtomicU64,
    fed: AtomicU64,
    writing: tokio::sync::Mutex<()>,
}

impl ScoringCheckpoints {
    /// Goes on from what was remembered.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, live: Arc<LiveScorer>, from: &Remembered) -> Arc<Self> {
        Arc::new(Self {
            checkpoints: CompanionCheckpoints::new(store, SNAPSHOT_LAYOUT),
            live,
            position: AtomicU64::new(from.position.map_or(NONE, |position| position.0)),
            fed: AtomicU64::new(NONE),
            writing: tokio::sync::Mutex::default(),
        })
    }

    /// The scorer whose memory they hold.
    pub(crate) const fn live(&self) -> &Arc<LiveScorer> {
        &self.live
    }

    /// Events after this position are read again when the newest checkpoint is restored: the journal keeps them.
    pub(crate) fn position(&self) -> Position {
        Position(self.position.load(Ordering::Acquire))
    }

    /// Writes a checkpoint, unless nothing moved since the one before.
    ///
    /// # Errors
    /// What the store met; the checkpoint before stays valid.
    pub(crate) async fn save(&self) -> Result<()> {
        let turn = self.writing.lock().await;
        let mut snapshot = self.live.snapshot();
        let (position, fed) = (snapshot.position(), snapshot.fed());
        if position == self.position() && fed.0 == self.fed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut draft = self.checkpoints.begin().await?;
        loop {
            let (taken, part) = spawn_blocking(move || {
                let part = snapshot.next_part(PART_BYTES);
                (snapshot, part)
            })
            .await?;
            snapshot = taken;
            let Some(part) = part else { break };
            self.checkpoints.add(&mut draft, &part).await?;
        }
        self.checkpoints.publish(draft, position, fed).await?;
        self.position.store(position.0, Ordering::Release);
        self.fed.store(fed.0, Ordering::Release);
        drop(turn);
        Ok(())
    }

    /// Writes one at every interval until told to stop.
    pub(crate) async fn run(self: Arc<Self>, interval: Duration, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.save().await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "checkpoint of layer 2 was not written; the next one will hold its changes"
                );
            }
        }
    }
}
