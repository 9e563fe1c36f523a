//! Answers for scores, now and as of the past: gathers facts, calls the pure functions, says why.

mod changes;
mod drift;
mod explain;
mod memory;
mod objects;
mod ownership;
mod table;
#[cfg(test)]
mod tests;
mod texts;
mod trial;
mod view;

use std::{collections::BTreeSet, sync::Arc};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use hashbrown::HashMap;
use parking_lot::RwLock;
use revgauge_contract::{
    Clock, ErrorKind, Timestamp,
    error::Failure,
    models::ModelTarget,
    score::{
        Alert, ChangeExplanation, DuplicateAccounts, EntityKind, EntityScores, RecordChanges, ScoreRows,
        ScoreService,
    },
    statistics::{Knowledge, StatisticsSource},
    text::TextSignal,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::kept::KeptSettings;
pub use drift::DriftLook;
pub(crate) use memory::log_entries;
pub use memory::{Memories, TenantCuts, TierLog, TierMemory};
pub(crate) use view::{AccountView, ContactView, Tiers, View, account_scores, contact_scores};

use crate::{
    definitions::{Definitions, history::History},
    gather::{Directories, DirectorySettings, Which},
    kept::{KINDS, Kept},
    win::Served,
};

/// Settings of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoringSettings {
    /// Entities gathered at once when all are scored: bounds memory.
    pub chunk_entities: usize,
    /// Recent events read to split a contribution.
    pub explain_events: usize,
    /// Directories of past instants.
    pub directories: DirectorySettings,
    /// Rows of scores kept between questions.
    pub kept: KeptSettings,
}

impl Default for ScoringSettings {
    fn default() -> Self {
        Self {
            chunk_entities: 2_000,
            explain_events: 500,
            directories: DirectorySettings::default(),
            kept: KeptSettings::default(),
        }
    }
}

/// The definition sets in force, each with the instant from which it was.
type Sets = Vec<(Timestamp, Arc<Definitions>)>;

/// The score service. Cheap to share; knows no clock of its own.
pub struct Scoring {
    pub(crate) source: Arc<dyn StatisticsSource>,
    pub(crate) directories: Arc<Directories>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: ScoringSettings,
    pub(crate) kept: Kept,
    definitions: RwLock<HashMap<Option<Arc<str>>, Sets>>,
    memories: RwLock<Memories>,
    /// Trained models by tenant and what they predict.
    models: RwLock<HashMap<(Arc<str>, ModelTarget), WinModels>>,
    /// Looks for drift by tenant, in the order of their instants.
    drift_looks: RwLock<HashMap<Arc<str>, Vec<DriftLook>>>,
}

/// Models of one target in the order of the instants from which they were in force; none where none was.
pub type WinModels = Vec<(Timestamp, Option<Served>)>;

impl std::fmt::Debug for Scoring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scoring")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Scoring {
    /// A service with one definition set for all tenants and no memory of tiers yet (see [`Self::set_memories`]).
    #[must_use]
    pub fn new(
        source: Arc<dyn StatisticsSource>,
        definitions: Arc<Definitions>,
        clock: Arc<dyn Clock>,
        settings: ScoringSettings,
    ) -> Self {
        let first = vec![(Timestamp(i64::MIN), definitions)];
        Self {
            source,
            directories: Arc::new(Directories::new(settings.directories.clone())),
            clock,
            kept: Kept::new(settings.kept.clone()),
            settings,
            definitions: RwLock::new(std::iter::once((None, first)).collect()),
            memories: RwLock::default(),
            models: RwLock::default(),
            drift_looks: RwLock::default(),
        }
    }

    /// Replaces the models of a tenant that predict `target`: each with the instant from which it was in force, in order.
    /// Answers as of an earlier instant are given by the model of that instant (S-2).
    pub fn set_models(&self, tenant_id: &str, target: ModelTarget, models: WinModels) {
        self.models.write().insert((tenant_id.into(), target), models);
        self.kept.renew_all(Some(tenant_id), &KINDS);
    }

    /// The model of a tenant in force: the latest, or the one of an instant.
    #[must_use]
    pub fn model(&self, tenant_id: &str, target: ModelTarget, knowledge: Knowledge) -> Option<Served> {
        let models = self.models.read();
        let models = models.get(&(Arc::from(tenant_id), target))?;
        let in_force = match knowledge {
            Knowledge::Now => models.last(),
            Knowledge::At(at) => models.iter().rev().find(|(since, _)| *since <= at),
        };
        in_force.and_then(|(_, model)| model.clone())
    }

    /// Where tiers before and cut-offs are remembered. Without memory, hysteresis starts afresh at every answer and
    /// tiers are cut absolutely.
    pub fn set_memories(&self, memories: Memories) {
        *self.memories.write() = memories;
    }

    /// Puts a definition set in force for a tenant, or with `None` for all tenants without their own, from an instant
    /// on. Answers as of an earlier instant keep the set that was in force then.
    pub fn set_definitions(&self, tenant_id: Option<&str>, since: Timestamp, definitions: Arc<Definitions>) {
        let mut sets = self.definitions.write();
        let sets = sets.entry(tenant_id.map(Arc::from)).or_default();
        sets.retain(|(at, _)| *at != since);
        sets.push((since, definitions));
        sets.sort_by_key(|(at, _)| *at);
        self.kept.renew_all(tenant_id, &KINDS);
    }

    /// Replaces all sets by what was in force when. The first set also answers for every instant before it.
    pub fn set_history(&self, history: &History) {
        let tenants: BTreeSet<&str> = history.iter().flat_map(|(_, sets)| sets.tenants()).collect();
        let mut all: HashMap<Option<Arc<str>>, Sets> = HashMap::new();
        for (place, (since, sets)) in history.iter().enumerate() {
            let since = if place == 0 { Timestamp(i64::MIN) } else { *since };
            let mut put = |tenant: Option<&str>, set: &Arc<Definitions>| {
                all.entry(tenant.map(Arc::from))
                    .or_default()
                    .push((since, Arc::clone(set)));
            };
            put(None, sets.common());
            for tenant in &tenants {
                put(Some(tenant), sets.of_tenant(tenant));
            }
        }
        if !history.is_empty() {
            *self.definitions.write() = all;
            self.kept.renew_all(None, &KINDS);
        }
    }

    /// The definition set in force for a tenant: the latest, or the one of an instant.
    ///
    /// # Panics
    /// Never: the common set is there from the start.
    #[must_use]
    pub fn definitions(&self, tenant_id: &str, knowledge: Knowledge) -> Arc<Definitions> {
        let sets = self.definitions.read();
        let in_force = |sets: &Sets| match knowledge {
            Knowledge::Now => sets.last().map(|(_, set)| Arc::clone(set)),
            Knowledge::At(at) => sets
                .iter()
                .rev()
                .find(|(since, _)| *since <= at)
                .map(|(_, set)| Arc::clone(set)),
        };
        let own = sets.get(&Some(Arc::from(tenant_id))).and_then(in_force);
        own.or_else(|| sets.get(&None).and_then(in_force))
            .expect("the common set is in force from the earliest instant")
    }

    /// Where layer 1 is read.
    #[must_use]
    pub fn source(&self) -> Arc<dyn StatisticsSource> {
        Arc::clone(&self.source)
    }

    /// The directories, which live scoring shares.
    #[must_use]
    pub fn directories(&self) -> &Arc<Directories> {
        &self.directories
    }

    pub(crate) fn memory(&self, knowledge: Knowledge) -> Option<Arc<dyn TierMemory>> {
        let memories = self.memories.read();
        match knowledge {
            Knowledge::Now => memories.live.as_ref().map(Arc::clone),
            Knowledge::At(_) => memories.past.as_ref().map(Arc::clone),
        }
    }

    pub(crate) async fn view(&self, tenant_id: &str, knowledge: Knowledge) -> Result<View, Failure> {
        View::open(self, tenant_id, knowledge).await
    }

    /// Alerts of open deals, looked at anew.
    pub(crate) async fn alerts_at(
        &self,
        tenant_id: &str,
        ids: Option<&[String]>,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<Vec<Alert>, Failure> {
        let view = self.view(tenant_id, knowledge).await?;
        let deals: Vec<Arc<str>> = match ids {
            Some(ids) => {
                let known = ids
                    .iter()
                    .filter_map(|id| view.resolve(EntityKind::Deal, id).ok());
                known.collect::<BTreeSet<_>>().into_iter().collect()
            }
            None => view.open_deals(),
        };
        let mut alerts = Vec::new();
        for ids in deals.chunks(self.settings.chunk_entities.max(1)) {
            for facts in view.deals(Which::These(ids), at).await? {
                alerts.extend(crate::deal::deal_alerts(&view.definitions, &facts, at));
            }
        }
        Ok(alerts)
    }

    /// What was known at an instant; the live state when it is not yet past, which saves a replay.
    fn knowledge_at(&self, at: Timestamp) -> Knowledge {
        if at >= self.clock.now() {
            Knowledge::Now
        } else {
            Knowledge::At(at)
        }
    }
}

/// Nothing is known of the entity.
pub(crate) fn not_found(kind: EntityKind, id: &str) -> Failure {
    let clipped: String = id.chars().take(64).collect();
    Failure::new(
        ErrorKind::NotFound,
        format!(
            "nothing is known of {} '{clipped}' (as of the instant asked for)",
            kind.as_str()
        ),
    )
}

#[async_trait]
impl ScoreService for Scoring {
    async fn scores(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<EntityScores, Failure> {
        let view = self.view(tenant_id, knowledge).await?;
        let id = view.resolve(entity_kind, entity_id)?;
        view.entity_scores(entity_kind, &id, at).await
    }

    async fn explain(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<EntityScores, Failure> {
        let view = self.view(tenant_id, knowledge).await?;
        let id = view.resolve(entity_kind, entity_id)?;
        view.explained(entity_kind, &id, at, self.settings.explain_events)
            .await
    }

    async fn explain_change(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<ChangeExplanation>, Failure> {
        if from > to {
            let message =
                format!("cannot explain a change from {from} to {to}: give the earlier instant first");
            return Err(Failure::new(ErrorKind::User, message));
        }
        let before = self.view(tenant_id, Knowledge::At(from)).await?;
        let after = self.view(tenant_id, self.knowledge_at(to)).await?;
        let id = after.resolve(entity_kind, entity_id)?;
        changes::explain(&before, &after, entity_kind, &id, from, to).await
    }

    async fn table(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        rows: &ScoreRows,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<Vec<RecordBatch>, Failure> {
        if knowledge == Knowledge::Now
            && let Some(kept) = self.kept_table(tenant_id, entity_kind, rows).await?
        {
            return Ok(kept);
        }
        let view = self.view(tenant_id, knowledge).await?;
        table::all(&view, entity_kind, rows, at, self.settings.chunk_entities).await
    }

    async fn own_records(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        ids: Option<&[String]>,
    ) -> Result<Vec<Value>, Failure> {
        let view = self.view(tenant_id, Knowledge::Now).await?;
        objects::own(&view, entity_kind, ids, self.settings.chunk_entities).await
    }

    async fn changed_since(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        revision: u64,
    ) -> Result<Option<RecordChanges>, Failure> {
        Ok(self.kept.changed_since(tenant_id, entity_kind, revision))
    }

    async fn objects(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        ids: Option<&[String]>,
        knowledge: Knowledge,
    ) -> Result<Vec<Value>, Failure> {
        let view = self.view(tenant_id, knowledge).await?;
        let at = match knowledge {
            Knowledge::Now => self.clock.now(),
            Knowledge::At(at) => at,
        };
        objects::all(&view, entity_kind, ids, at, self.settings.chunk_entities).await
    }

    async fn alerts(
        &self,
        tenant_id: &str,
        ids: Option<&[String]>,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<Vec<Alert>, Failure> {
        let kept = match knowledge {
            Knowledge::Now => self.kept_alerts(tenant_id, ids).await?,
            Knowledge::At(_) => None,
        };
        let mut alerts = match kept {
            Some(kept) => kept,
            None => self.alerts_at(tenant_id, ids, at, knowledge).await?,
        };
        if ids.is_none() {
            alerts.extend(self.drift_alerts(tenant_id, knowledge));
        }
        let rank = |alert: &Alert| match alert.severity.as_str() {
            "high" => 0,
            "medium" => 1,
            _ => 2,
        };
        alerts.sort_by(|a, b| (rank(a), &a.entity_id, &a.rule).cmp(&(rank(b), &b.entity_id, &b.rule)));
        Ok(alerts)
    }

    async fn duplicates(
        &self,
        tenant_id: &str,
        knowledge: Knowledge,
    ) -> Result<Vec<DuplicateAccounts>, Failure> {
        let view = self.view(tenant_id, knowledge).await?;
        let found = view.directory.read().duplicates().into_iter();
        Ok(found
            .map(|group| DuplicateAccounts {
                shared: group.reason.as_str().to_owned(),
                key: group.key,
                account_ids: group.account_ids.iter().map(ToString::to_string).collect(),
                confidence: group.confidence,
                evidence: group.evidence,
            })
            .collect())
    }

    async fn text_signals(
        &self,
        tenant_id: &str,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<Vec<TextSignal>, Failure> {
        let view = self.view(tenant_id, knowledge).await?;
        texts::all(&view, at, self.settings.chunk_entities).await
    }

    async fn keys(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        knowledge: Knowledge,
    ) -> Result<Vec<String>, Failure> {
        let view = self.view(tenant_id, knowledge).await?;
        let id = view.resolve(entity_kind, entity_id)?;
        let keys = view.directory.read().keys(entity_kind, &id);
        Ok(keys.iter().map(ToString::to_string).collect())
    }
}
