//! Puts definitions in force: recorded first, then scored with, then noted as applied.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use object_store::ObjectStore;
use parking_lot::RwLock;
use revgauge_contract::{Clock, Timestamp};
use revgauge_journal::DefinitionLog;
use revgauge_models::{
    definitions::history::{DefinitionSets, History},
    live::LiveScorer,
    service::Scoring,
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::wire::Purpose;

/// How often it is looked whether everything is scored with new definitions.
const LOOK: Duration = Duration::from_millis(500);

/// What was in force when, and the log that keeps it.
#[derive(Debug)]
pub(crate) struct DefinitionHistory {
    log: Mutex<DefinitionLog>,
    history: RwLock<History>,
    /// What a command scores with now, which is not recorded.
    unrecorded: Option<(Timestamp, DefinitionSets)>,
    clock: Arc<dyn Clock>,
}

impl DefinitionHistory {
    /// Reads what was in force when. A server then puts the configured definitions in force, durably, when they are not
    /// those of the newest record; a command scores with them and records nothing, for it scores nothing that stays.
    ///
    /// # Errors
    /// What the store met.
    pub(crate) async fn open(
        store: Arc<dyn ObjectStore>,
        configured: DefinitionSets,
        clock: Arc<dyn Clock>,
        purpose: Purpose,
    ) -> Result<Self> {
        let log = DefinitionLog::open(store).await?;
        let mut history = History::new();
        for record in log.records() {
            let (sets, problems) = DefinitionSets::of_record(record, configured.common());
            for problem in problems {
                tracing::warn!(%problem, "a definition of the past cannot be read by this program: the configured one answers for it");
            }
            history.push((record.since, sets));
        }
        let mut opened = Self {
            log: Mutex::new(log),
            history: RwLock::new(history),
            unrecorded: None,
            clock,
        };
        match purpose {
            Purpose::Serve => opened.record(configured).await.map(drop)?,
            Purpose::Command => opened.unrecorded = Some((opened.clock.now(), configured)),
        }
        Ok(opened)
    }

    /// Records sets as in force from now on; `false` when they already are.
    ///
    /// # Errors
    /// What the store met; nothing is changed then.
    pub(crate) async fn record(&self, configured: DefinitionSets) -> Result<bool> {
        let mut log = self.log.lock().await;
        let same = |(_, sets): &(_, DefinitionSets)| sets.says_the_same(&configured);
        if self.history.read().last().is_some_and(same) {
            return Ok(false);
        }
        let (common, tenants) = configured.texts();
        let first = log.records().is_empty();
        let since = log.append(self.clock.now(), common, tenants).await?.since;
        if first {
            // Nothing was scored with others before.
            log.mark_applied().await?;
        }
        tracing::info!(%since, "definitions in force");
        self.history.write().push((since, configured));
        Ok(true)
    }

    /// What was in force when.
    pub(crate) fn history(&self) -> History {
        self.history.read().clone()
    }

    /// Gives the scorer what was in force when.
    pub(crate) fn install(&self, scoring: &Scoring) {
        let mut history = self.history();
        history.extend(self.unrecorded.clone());
        scoring.set_history(&history);
    }

    /// Scores everything anew when the newest record was not yet applied, and notes it once that is done.
    pub(crate) async fn apply(&self, live: &LiveScorer, stop: &CancellationToken) {
        if self.log.lock().await.is_applied() {
            return;
        }
        live.definitions_changed(None);
        while live.lag().sweeping > 0 {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        if let Err(error) = self.log.lock().await.mark_applied().await {
            tracing::warn!(%error, "cannot note that the new definitions are applied: the next start scores with them once more");
        }
    }
}
