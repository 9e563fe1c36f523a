//! Live scoring: hears what layer 1 changed, scores what that touched, and writes what moved into the feed.
//!
//! One loop does all scoring, so the memory of what was last written has one writer. What is heard is queued by
//! entity: ten events of a contact between two turns of the loop are one scoring. Each turn takes some of every kind
//! of work and ends in one durable append; only then does the memory move on. `covers` of that append is the last
//! position of which nothing is left in the queues, so after a crash the scorer resumes above it: nothing is missed,
//! and what was written before the crash is compared with and not written twice.

mod crossing;
mod emitted;
mod pulse;
mod queue;
mod recut;
mod rescore;
mod settings;
mod snapshot;
mod sweep;
#[cfg(test)]
mod tests;
mod timers;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use revgauge_contract::{
    Clock, Position, Timestamp,
    error::Failure,
    feed::FeedSink,
    score::{Cause, EntityKind, ScoreChange},
    statistics::{Changed, Knowledge, StatisticsListener},
};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

pub use settings::{LiveSettings, MinimumChange};
pub use snapshot::{Held, SNAPSHOT_LAYOUT, Snapshot};

use crate::{
    definitions::Definitions,
    kept::Touch,
    service::{Scoring, TenantCuts, TierMemory},
};
use emitted::{Emitted, Update};
use pulse::Pulse;
use queue::Queues;
use recut::Recut;
use sweep::Sweep;
use timers::Timers;

/// How far live scoring is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Last position heard.
    pub applied: Position,
    /// Last position of which everything is scored and in the feed.
    pub covered: Position,
    /// Contacts waiting to be scored.
    pub contacts: usize,
    /// Accounts waiting for their roll-up.
    pub accounts: usize,
    /// Deals waiting to be scored.
    pub deals: usize,
    /// Entities left in background passes (after a restart, a recut or a new definition).
    pub sweeping: usize,
}

/// Work waiting, and how far it came.
#[derive(Debug, Default)]
struct State {
    queues: Queues,
    sweeps: Vec<Sweep>,
    applied: Position,
    as_of: Timestamp,
    /// `covers` of the last append.
    covered: Position,
    /// Last position of the feed whose entries are in memory.
    fed: Position,
    /// `covers` as restored: positions up to here were scored before the restart.
    resume_after: Position,
    /// A turn of the loop is under way: what it took from queues and timers is in neither.
    in_turn: bool,
    /// Restored from a checkpoint taken at rest: nothing is to be looked at anew.
    at_rest: bool,
}

/// What the stored feed says was last written of each score: read on its own, so that a restart can restore the state of
/// layer 1 at the same time.
#[derive(Debug, Default)]
pub struct FeedMemory {
    emitted: Emitted,
    /// Of a checkpoint taken while nothing waited: the definitions in force then.
    at_rest: Option<String>,
}

impl FeedMemory {
    /// Takes a batch of the stored feed; call in feed order.
    pub fn take(&mut self, batch: &RecordBatch) {
        if batch.num_rows() > 0 {
            self.at_rest = None;
        }
        self.emitted.restore(batch);
    }

    /// Says that layer 1 went on after the checkpoint: what it took has to be looked at.
    pub fn overtaken(&mut self) {
        self.at_rest = None;
    }
}

/// What one turn of the loop wants written.
#[derive(Debug, Default)]
struct Turn {
    changes: Vec<ScoreChange>,
    updates: Vec<Update>,
    worked: bool,
}

/// The live scorer.
pub struct LiveScorer {
    scoring: Arc<Scoring>,
    feed: Arc<dyn FeedSink>,
    clock: Arc<dyn Clock>,
    settings: LiveSettings,
    state: Mutex<State>,
    memory: RwLock<Emitted>,
    timers: Mutex<Timers>,
    recuts: Mutex<HashMap<Arc<str>, Recut>>,
    rolled_up: Mutex<Timestamp>,
    wake: Notify,
    drained: Notify,
    pulse: Pulse,
}

impl std::fmt::Debug for LiveScorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveScorer")
            .field("lag", &self.lag())
            .finish_non_exhaustive()
    }
}

impl LiveScorer {
    /// A scorer with an empty memory. Give it to [`Scoring::set_memories`] as the live memory, call [`Self::restore`]
    /// with the stored feed and [`Self::watch`] with the tenants, then [`Self::run`].
    #[must_use]
    pub fn new(
        scoring: Arc<Scoring>,
        feed: Arc<dyn FeedSink>,
        settings: LiveSettings,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            scoring,
            feed,
            clock,
            settings,
            state: Mutex::default(),
            memory: RwLock::default(),
            timers: Mutex::default(),
            recuts: Mutex::default(),
            rolled_up: Mutex::default(),
            wake: Notify::new(),
            drained: Notify::new(),
            pulse: Pulse::default(),
        })
    }

    /// Takes what the stored feed says was last written as its memory; call before [`Self::watch`]. `fed` is the feed's
    /// position up to which the memory was read, and `covers` that of the feed: positions up to it are not scored again,
    /// though they still reach the directories.
    pub fn restore(&self, memory: FeedMemory, fed: Position, covers: Position) {
        let FeedMemory { mut emitted, at_rest } = memory;
        let at_rest = at_rest.is_some_and(|definitions| definitions == self.definitions());
        emitted.rearm(&mut self.timers.lock(), at_rest);
        *self.memory.write() = emitted;
        let mut state = self.state.lock();
        state.at_rest = at_rest;
        state.fed = state.fed.max(fed);
        state.resume_after = state.resume_after.max(covers);
        state.covered = state.resume_after;
        state.applied = state.applied.max(state.resume_after);
    }

    /// Loads the directories of tenants and queues a background pass over their entities that scores what has no score
    /// yet, writes tiers that changed while nothing ran, and arms the timers. After a checkpoint taken at rest there is no
    /// need of one: the timers are armed, and those that fell due meanwhile fire.
    ///
    /// `state_position` is the position that layer 1 was restored to. Where it is past what the feed covers, changes
    /// in between were never heard, and the pass writes every difference.
    ///
    /// # Errors
    /// What loading a directory met.
    pub async fn watch(&self, tenants: &[Arc<str>], state_position: Position) -> Result<(), Failure> {
        for tenant in tenants {
            self.scoring
                .directories
                .get(&*self.scoring.source, tenant, Knowledge::Now)
                .await?;
            let (missed, at_rest) = {
                let mut state = self.state.lock();
                state.applied = state.applied.max(state_position);
                (state_position > state.resume_after, state.at_rest)
            };
            if missed {
                self.sweep(tenant, Sweep::ALL_CHANGES, Cause::Event);
            } else if !at_rest {
                self.sweep(tenant, Sweep::TIERS_ONLY, Cause::Event);
            }
            if self.memory.read().cuts(tenant).is_some() {
                self.recut_after_interval(tenant);
            }
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Puts a definition set in force from now on and rescores with it: those of the tenant, or with `None` of all
    /// tenants. Changes say `definition` as their cause.
    pub fn set_definitions(&self, tenant_id: Option<&str>, definitions: Arc<Definitions>) {
        self.scoring
            .set_definitions(tenant_id, self.clock.now(), definitions);
        self.definitions_changed(tenant_id);
    }

    /// Rescores a tenant, or with `None` all tenants, after other definitions came into force. Changes say `definition`
    /// as their cause.
    pub fn definitions_changed(&self, tenant_id: Option<&str>) {
        let tenants = match tenant_id {
            Some(tenant) => vec![Arc::from(tenant)],
            None => self.scoring.directories.tenants(),
        };
        for tenant in &tenants {
            self.sweep(tenant, Sweep::ALL_CHANGES, Cause::Definition);
            self.recut_now(tenant);
        }
        self.wake.notify_one();
    }

    /// How far it is.
    #[must_use]
    pub fn lag(&self) -> Lag {
        let state = self.state.lock();
        Lag {
            applied: state.applied,
            covered: state.covered,
            contacts: state.queues.contacts.len(),
            accounts: state.queues.accounts.len(),
            deals: state.queues.deals.len(),
            sweeping: state.sweeps.iter().map(Sweep::left).sum(),
        }
    }

    /// Counts upwards with each change of the tenant's statistics that is heard, whether or not it moves a score.
    #[must_use]
    pub fn last_change(&self, tenant_id: &str) -> u64 {
        self.pulse.last(tenant_id)
    }

    /// Waits for a change of the tenant's statistics after this one.
    pub async fn changed_after(&self, tenant_id: &str, change: u64) {
        self.pulse.after(tenant_id, change).await;
    }

    /// Scores until told to stop. What is in the queues then is not lost: the feed does not cover it, so it is heard
    /// again after the restart.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let idle = Duration::from_millis(self.settings.poll_ms.max(1));
        loop {
            // A turn is dropped only to stop for good: what it had taken from the queues is heard again then.
            let worked = tokio::select! {
                worked = self.turn() => worked,
                _ = shutdown.wait_for(|stop| *stop) => return,
            };
            if !worked {
                tokio::select! {
                    _ = timeout(idle, self.wake.notified()) => {}
                    _ = shutdown.wait_for(|stop| *stop) => return,
                }
            }
        }
    }

    /// Does what is due now and returns when nothing is: for imports, tests and a drained stop.
    pub async fn settle(&self) {
        while self.turn().await || self.recut_finished().await {}
    }

    /// Some of every kind of work, each written before the next is compared with memory. Says whether there was any.
    async fn turn(&self) -> bool {
        self.state.lock().in_turn = true;
        let mut worked = self.write(self.score_contacts().await).await;
        worked |= self.write(self.score_deals().await).await;
        worked |= self.write(self.score_accounts().await).await;
        worked |= self.write(self.fire_timers().await).await;
        worked |= self.write(self.sweep_on().await).await;
        worked |= self.recut_due().await;
        self.state.lock().in_turn = false;
        self.drained.notify_waiters();
        worked
    }

    /// Appends to the feed until it holds, then moves the memory. Says whether there was work.
    async fn write(&self, turn: Turn) -> bool {
        let worked = turn.worked;
        let covers = {
            let state = self.state.lock();
            let covers = state.queues.covers(state.applied);
            // An append that only moves `covers` costs a durable write: it waits until there is nothing to score.
            let idle = !turn.worked;
            if turn.changes.is_empty() && (covers == state.covered || !idle) {
                drop(state);
                self.remember(turn.updates);
                return worked;
            }
            covers
        };
        let mut wait_ms = self.settings.retry_ms.max(1);
        let mut told = false;
        let fed = loop {
            match self.feed.append(turn.changes.clone(), covers).await {
                Ok(position) => break position,
                Err(failure) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(error = %failure, changes = turn.changes.len(), "score feed does not take changes, retrying");
                    }
                    self.pause(&mut wait_ms).await;
                }
            }
        };
        self.remember(turn.updates);
        let mut state = self.state.lock();
        state.covered = covers;
        state.fed = state.fed.max(fed);
        worked
    }

    /// Waits before another try, longer each time.
    async fn pause(&self, wait_ms: &mut u64) {
        let _ = timeout(Duration::from_millis(*wait_ms), std::future::pending::<()>()).await;
        *wait_ms = (*wait_ms * 2).min(self.settings.retry_max_ms.max(1));
    }

    fn remember(&self, updates: Vec<Update>) {
        let mut memory = self.memory.write();
        let mut timers = self.timers.lock();
        for update in updates {
            if let Update::Cuts { tenant, .. } = &update {
                // Priorities and stalls are read against the population.
                let kinds = [EntityKind::Contact, EntityKind::Deal];
                self.scoring.kept.renew_all(Some(tenant), &kinds);
            }
            memory.take(update, &mut timers);
        }
    }

    fn sweep(&self, tenant: &Arc<str>, mode: sweep::Mode, cause: Cause) {
        let Some(directory) = self.scoring.directories.loaded(tenant) else {
            return;
        };
        let directory = directory.read();
        let mut state = self.state.lock();
        state.sweeps.retain(|sweep| !sweep.is_of(tenant, mode, cause));
        for kind in [EntityKind::Account, EntityKind::Contact, EntityKind::Deal] {
            state
                .sweeps
                .push(Sweep::new(tenant, kind, directory.ids(kind), mode, cause));
        }
    }

    /// Ids of the definitions in force for each tenant that is heard of.
    fn definitions(&self) -> String {
        let tenants = self.scoring.directories.tenants().into_iter();
        let of = tenants.map(|tenant| {
            let set = self.scoring.definitions(&tenant, Knowledge::Now);
            let ids = Definitions::NAMES.iter().filter_map(|name| set.id(name));
            format!("{tenant} {}", ids.collect::<Vec<_>>().join(" "))
        });
        of.collect::<Vec<_>>().join("\n")
    }

    fn cuts(&self, tenant: &str) -> Arc<TenantCuts> {
        self.memory.read().cuts(tenant).unwrap_or_default()
    }
}

#[async_trait]
impl StatisticsListener for LiveScorer {
    async fn changed(
        &self,
        position: Position,
        as_of: Timestamp,
        changed: Vec<Changed>,
    ) -> Result<(), Failure> {
        loop {
            let drained = self.drained.notified();
            if self.state.lock().queues.len() < self.settings.max_pending {
                break;
            }
            drained.await;
        }
        let touched = self.touched(&changed);
        self.mark_kept(&touched);
        self.pulse
            .beat(touched.queued.iter().map(|(_, tenant, _)| tenant));
        let mut state = self.state.lock();
        state.applied = state.applied.max(position);
        state.as_of = state.as_of.max(as_of);
        if position > state.resume_after {
            state.queues.push(touched.queued, position);
        }
        drop(state);
        for tenant in touched.restaged {
            self.sweep(&tenant, Sweep::ALL_CHANGES, Cause::Event);
        }
        self.wake.notify_one();
        Ok(())
    }
}

/// What a call of the listener touched.
struct Heard {
    queued: Vec<(EntityKind, Arc<str>, Arc<str>)>,
    /// Entities whose records changed.
    records: Vec<(EntityKind, Arc<str>, Arc<str>)>,
    /// Accounts of which fit or intent may have moved, which their contacts' priorities read.
    leading: Vec<(Arc<str>, Arc<str>)>,
    restaged: BTreeSet<Arc<str>>,
}

impl LiveScorer {
    /// Takes rows into the directories and lists what to score.
    fn touched(&self, changed: &[Changed]) -> Heard {
        let mut heard = Heard {
            queued: Vec::new(),
            records: Vec::new(),
            leading: Vec::new(),
            restaged: BTreeSet::new(),
        };
        for Changed { pipeline, rows } in changed {
            for (tenant, touched) in self.scoring.directories.apply(pipeline, rows) {
                let kinds = [
                    (EntityKind::Contact, touched.contacts),
                    (EntityKind::Account, touched.accounts),
                    (EntityKind::Deal, touched.deals),
                ];
                for (kind, ids) in kinds {
                    let named = ids.into_iter().map(|id| (kind, Arc::clone(&tenant), id));
                    heard.records.extend(named);
                }
                if touched.stages {
                    heard.restaged.insert(tenant);
                }
            }
        }
        heard.queued.extend(heard.records.iter().cloned());
        for Changed { pipeline, rows } in changed {
            let before = heard.queued.len();
            queue::entities_of(&self.scoring.directories, pipeline, rows, &mut heard.queued);
            match &**pipeline {
                "account_signals" => {
                    let accounts = heard.queued[before..].iter();
                    heard
                        .leading
                        .extend(accounts.map(|(_, tenant, id)| (Arc::clone(tenant), Arc::clone(id))));
                }
                "deal_history" => heard.records.extend(heard.queued[before..].iter().cloned()),
                _ => {}
            }
        }
        heard
    }

    /// Marks what kept rows have to be made again for.
    fn mark_kept(&self, heard: &Heard) {
        let kept = &self.scoring.kept;
        if !kept.any() {
            return;
        }
        kept.touch(&heard.queued, Touch::Scores);
        kept.touch(&heard.records, Touch::Record);
        // Contacts and deals name their account, and contacts are called in its order.
        let accounts = heard
            .records
            .iter()
            .filter(|(kind, _, _)| *kind == EntityKind::Account);
        let named = accounts.map(|(_, tenant, id)| (tenant, id, Touch::Record));
        let led = heard
            .leading
            .iter()
            .map(|(tenant, id)| (tenant, id, Touch::Scores));
        for (tenant, account, what) in named.chain(led) {
            let Some(directory) = self.scoring.directories.loaded(tenant) else {
                continue;
            };
            let below = {
                let directory = directory.read();
                let of =
                    |kind, ids: Vec<Arc<str>>| ids.into_iter().map(move |id| (kind, Arc::clone(tenant), id));
                let mut below: Vec<_> = of(EntityKind::Contact, directory.contacts_of(account)).collect();
                if what == Touch::Record {
                    below.extend(of(EntityKind::Deal, directory.deals_of(account)));
                }
                below
            };
            kept.touch(&below, what);
        }
        for tenant in &heard.restaged {
            kept.change_all(tenant, EntityKind::Deal);
        }
    }
}

#[async_trait]
impl TierMemory for LiveScorer {
    async fn tiers(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        ids: Option<&[Arc<str>]>,
        _knowledge: Knowledge,
    ) -> Result<HashMap<(Arc<str>, String), String>, Failure> {
        Ok(self.memory.read().tiers(tenant_id, entity_kind, ids))
    }

    async fn cuts(&self, tenant_id: &str, _knowledge: Knowledge) -> Result<Option<Arc<TenantCuts>>, Failure> {
        Ok(self.memory.read().cuts(tenant_id))
    }
}
