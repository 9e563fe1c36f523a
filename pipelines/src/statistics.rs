//! The wall to layer 2: rows of statistics, now or as known at an instant.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use object_store::ObjectStore;
use revgauge_contract::{
    cut::{CutReader, LakeTable},
    error::Failure,
    invariant::Invariant,
    statistics::{EntityColumn, Keys, Knowledge, StatisticsSource},
};

use crate::{
    batch::{Asked, BatchQueries},
    error::PipelineError,
    replays::{Replay, Replays},
    runtime::Runtime,
    settings::PipelineSettings,
};

/// Answers from the live state, and by replay over the lake for the past.
pub struct Statistics {
    runtime: Arc<Runtime>,
    cuts: Arc<dyn CutReader>,
    queries: BatchQueries,
    replays: Replays,
}

impl std::fmt::Debug for Statistics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statistics")
            .field("position", &self.runtime.position())
            .finish_non_exhaustive()
    }
}

impl Statistics {
    /// Reads the live state of `runtime` and cuts of the lake whose files lie in `store`.
    ///
    /// # Errors
    /// `Internal` when DataFusion's memory pool cannot be set up.
    pub fn new(
        runtime: Arc<Runtime>,
        cuts: Arc<dyn CutReader>,
        store: Arc<dyn ObjectStore>,
        settings: &PipelineSettings,
    ) -> Result<Self, PipelineError> {
        Ok(Self {
            runtime,
            cuts,
            queries: BatchQueries::new(settings, store)?,
            replays: Replays::new(settings.past_rows_bytes),
        })
    }

    async fn live(
        &self,
        pipeline: &str,
        tenant_id: &str,
        keys: Keys<'_>,
    ) -> Result<Vec<RecordBatch>, PipelineError> {
        let engine = self.runtime.engine(pipeline)?;
        match keys {
            Keys::These(keys) => Runtime::rows(&engine, &engine.groups_of(tenant_id, &distinct(keys))),
            Keys::All => {
                let tenant_id = tenant_id.to_owned();
                let scan = move || Runtime::rows(&engine, &engine.all_groups(Some(&tenant_id)));
                tokio::task::spawn_blocking(scan)
                    .await
                    .map_err(|error| PipelineError::Task(error.to_string()))?
            }
        }
    }

    /// Hands on all rows of a tenant, whole or the named columns of the live state.
    async fn walk(
        &self,
        pipeline: &str,
        tenant_id: &str,
        columns: Option<&'static [&'static str]>,
        knowledge: Knowledge,
        take: &mut (dyn FnMut(RecordBatch) + Send),
    ) -> Result<(), Failure> {
        if knowledge != Knowledge::Now || self.runtime.plan(pipeline)?.aggregation.is_none() {
            for batch in self.rows(pipeline, tenant_id, Keys::All, knowledge).await? {
                take(batch);
            }
            return Ok(());
        }
        let engine = self.runtime.engine(pipeline)?;
        let groups = engine.all_groups(Some(tenant_id));
        let mut slices = groups.chunks(EACH_GROUPS);
        let read = |slices: &mut std::slice::Chunks<'_, u32>| {
            let (engine, slice) = (Arc::clone(&engine), slices.next()?.to_vec());
            Some(tokio::task::spawn_blocking(move || {
                Runtime::columns(&engine, &slice, columns)
            }))
        };
        // The next slice is read while this one is taken.
        let mut ahead = read(&mut slices);
        while let Some(reading) = ahead {
            let rows = reading
                .await
                .map_err(|error| PipelineError::Task(error.to_string()));
            ahead = read(&mut slices);
            rows.and_then(|rows| rows)?.into_iter().for_each(&mut *take);
        }
        Ok(())
    }
}

/// Groups read at once by a walk over all of a tenant's: about what fits into a few megabytes.
const EACH_GROUPS: usize = 65_536;

/// The keys, each once: a row must not be counted twice because its key was asked for twice.
fn distinct(keys: &[String]) -> Vec<String> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[async_trait]
impl StatisticsSource for Statistics {
    async fn rows(
        &self,
        pipeline: &str,
        tenant_id: &str,
        keys: Keys<'_>,
        knowledge: Knowledge,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let plan = self.runtime.plan(pipeline)?;
        if knowledge == Knowledge::Now && plan.aggregation.is_some() {
            return Ok(self.live(pipeline, tenant_id, keys).await?);
        }
        let known = self.runtime.position();
        let cut = self.cuts.cut(LakeTable::Events).await?;
        Invariant::AsOfEqualsReplay.check(
            cut.position >= known,
            format_args!(
                "the replay ends at {}, the live state stood at {known}",
                cut.position
            ),
        );
        let replay = match (keys, knowledge) {
            (Keys::All, Knowledge::At(instant)) => Some(Replay::of(pipeline, tenant_id, instant, &cut)),
            _ => None,
        };
        if let Some(rows) = replay.as_ref().and_then(|replay| self.replays.get(replay)) {
            return Ok(rows);
        }
        let asked = Asked {
            tenant: Some(tenant_id),
            keys,
            knowledge,
        };
        let mut rows = self.queries.rows(&plan.pipeline, cut, asked).await?;
        if rows.is_empty() {
            rows.push(RecordBatch::new_empty(Arc::clone(&plan.output)));
        }
        if let Some(replay) = replay {
            self.replays.keep(replay, &rows);
        }
        Ok(rows)
    }

    async fn each(
        &self,
        pipeline: &str,
        tenant_id: &str,
        knowledge: Knowledge,
        take: &mut (dyn FnMut(RecordBatch) + Send),
    ) -> Result<(), Failure> {
        self.walk(pipeline, tenant_id, None, knowledge, take).await
    }

    async fn each_of(
        &self,
        pipeline: &str,
        tenant_id: &str,
        columns: &'static [&'static str],
        knowledge: Knowledge,
        take: &mut (dyn FnMut(RecordBatch) + Send),
    ) -> Result<(), Failure> {
        self.walk(pipeline, tenant_id, Some(columns), knowledge, take)
            .await
    }

    fn version(&self, pipeline: &str) -> Option<u64> {
        Some(self.runtime.engine(pipeline).ok()?.version())
    }

    async fn recent_events(
        &self,
        column: EntityColumn,
        tenant_id: &str,
        keys: &[String],
        knowledge: Knowledge,
        limit: usize,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let cut = self.cuts.cut(LakeTable::Events).await?;
        Ok(self
            .queries
            .recent(cut, column, tenant_id, keys, knowledge, limit)
            .await?)
    }
}
