//! What the feed remembers and pure functions need: the tier before (hysteresis) and the tenant's cut-offs.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::Float64Type;
use async_trait::async_trait;
use hashbrown::HashMap;
use revgauge_contract::{
    Timestamp,
    error::Failure,
    schema::{text_column, time_column},
    score::EntityKind,
    statistics::Knowledge,
};
use serde::{Deserialize, Serialize};

use crate::{deal::StageMedians, priority::CutOffs};

/// What a tenant's population said when it was last looked at: a versioned fact in the feed, so that a replay reads the
/// same (score name `cutoffs`, in `detail`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TenantCuts {
    /// Percentiles of raw priority.
    pub cut_offs: Option<CutOffs>,
    /// Usual days in each stage.
    pub stage_medians: StageMedians,
    /// Weighted answers by hour of the week, all contacts together; 168 numbers or none.
    pub segment_rhythm: Vec<f64>,
}

impl TenantCuts {
    /// The rhythm as an array; flat when there is none.
    #[must_use]
    pub fn rhythm(&self) -> [f64; 168] {
        self.segment_rhythm.as_slice().try_into().unwrap_or([0.0; 168])
    }
}

/// Looks up what the feed said before an instant of knowledge.
#[async_trait]
pub trait TierMemory: Send + Sync {
    /// Tier of each entity and score as last logged, by `(entity id, score name)`. `ids` limits to some. Entities
    /// without a tier are left out.
    ///
    /// # Errors
    /// What reading the log met.
    async fn tiers(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        ids: Option<&[Arc<str>]>,
        knowledge: Knowledge,
    ) -> Result<HashMap<(Arc<str>, String), String>, Failure>;

    /// The tenant's cut-offs as last logged.
    ///
    /// # Errors
    /// What reading the log met.
    async fn cuts(&self, tenant_id: &str, knowledge: Knowledge) -> Result<Option<Arc<TenantCuts>>, Failure>;
}

/// The memories of the present and of the past.
#[derive(Clone, Default)]
pub struct Memories {
    /// For [`Knowledge::Now`]: the live scorer.
    pub live: Option<Arc<dyn TierMemory>>,
    /// For [`Knowledge::At`]: the logged feed.
    pub past: Option<Arc<dyn TierMemory>>,
}

impl std::fmt::Debug for Memories {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memories")
            .field("live", &self.live.is_some())
            .field("past", &self.past.is_some())
            .finish()
    }
}

/// One entry of the feed as read back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogEntry<'a> {
    pub(crate) tenant_id: &'a str,
    pub(crate) kind: EntityKind,
    pub(crate) entity_id: &'a str,
    pub(crate) score: &'a str,
    pub(crate) value: Option<f64>,
    pub(crate) tier: Option<&'a str>,
    pub(crate) as_of: Timestamp,
    pub(crate) detail: &'a str,
}

/// Reads a batch of [`revgauge_contract::score::score_changes`] entry by entry, in its order; one of another shape has
/// none.
pub(crate) fn log_entries(batch: &RecordBatch) -> impl Iterator<Item = LogEntry<'_>> {
    entries(batch).into_iter().flatten()
}

fn entries(batch: &RecordBatch) -> Option<impl Iterator<Item = LogEntry<'_>>> {
    let text = |name| text_column(batch, name);
    let (tenants, kinds, ids, scores) = (
        text("tenant_id")?,
        text("entity_kind")?,
        text("entity_id")?,
        text("score")?,
    );
    let (tiers, details) = (text("new_tier")?, text("detail")?);
    let values = batch
        .column_by_name("new_value")?
        .as_primitive_opt::<Float64Type>()?;
    let times = time_column(batch, "as_of")?;
    Some((0..batch.num_rows()).filter_map(move |row| {
        let kind = match kinds.value(row) {
            "contact" => EntityKind::Contact,
            "account" => EntityKind::Account,
            "deal" => EntityKind::Deal,
            "tenant" => EntityKind::Tenant,
            _ => return None,
        };
        Some(LogEntry {
            tenant_id: tenants.value(row),
            kind,
            entity_id: ids.value(row),
            score: scores.value(row),
            value: (!values.is_null(row)).then(|| values.value(row)),
            tier: (!tiers.is_null(row)).then(|| tiers.value(row)),
            as_of: Timestamp(times.value(row)),
            detail: details.value(row),
        })
    }))
}

/// The feed of one tenant up to an instant, folded: for a [`TierMemory`] over the stored feed.
#[derive(Debug, Clone, Default)]
pub struct TierLog {
    tiers: HashMap<(EntityKind, Arc<str>, String), String>,
    cuts: Option<Arc<TenantCuts>>,
}

impl TierLog {
    /// Folds batches of the feed, in feed order, leaving out other tenants and entries for later than `until`.
    #[must_use]
    pub fn read<'a>(
        batches: impl IntoIterator<Item = &'a RecordBatch>,
        tenant_id: &str,
        until: Timestamp,
    ) -> Self {
        let mut log = Self::default();
        let entries = batches.into_iter().flat_map(log_entries);
        for entry in entries.filter(|entry| entry.tenant_id == tenant_id && entry.as_of <= until) {
            if entry.kind == EntityKind::Tenant {
                if let Ok(cuts) = serde_json::from_str(entry.detail) {
                    log.cuts = Some(Arc::new(cuts));
                }
                continue;
            }
            let key = (entry.kind, entry.entity_id.into(), entry.score.to_owned());
            match entry.tier {
                Some(tier) => log.tiers.insert(key, tier.to_owned()),
                None => log.tiers.remove(&key),
            };
        }
        log
    }

    /// Tiers of a kind, in the form of [`TierMemory::tiers`].
    #[must_use]
    pub fn tiers(&self, kind: EntityKind, ids: Option<&[Arc<str>]>) -> HashMap<(Arc<str>, String), String> {
        self.tiers
            .iter()
            .filter(|((of, id, _), _)| *of == kind && ids.is_none_or(|ids| ids.contains(id)))
            .map(|((_, id, score), tier)| ((Arc::clone(id), score.clone()), tier.clone()))
            .collect()
    }

    /// The last cut-offs.
    #[must_use]
    pub fn cuts(&self) -> Option<Arc<TenantCuts>> {
        self.cuts.as_ref().map(Arc::clone)
    }
}
