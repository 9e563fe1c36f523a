//! The wall between layer 1 and layer 2: rows of statistics for entities, now or as known at an instant.

use arrow::array::RecordBatch;
use async_trait::async_trait;

use crate::{Position, Timestamp, error::Failure};

/// Which knowledge is asked for (bitemporal: "as of t" is what was known at t).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Knowledge {
    /// Everything known now: the live state.
    Now,
    /// What was known at the instant: `known_at <= t`, replayed (S-3).
    At(Timestamp),
}

/// Which entities are asked for.
#[derive(Debug, Clone, Copy)]
pub enum Keys<'a> {
    /// All of the tenant.
    All,
    /// These, by the pipeline's entity key.
    These(&'a [String]),
}

/// Reads layer-1 statistics. Column names and types of the answer are the pipeline's output
/// (`pipelines/sql/<pipeline>.sql`), tenant and entity key included. Rows come in no order.
#[async_trait]
pub trait StatisticsSource: Send + Sync {
    /// Rows of a pipeline for a tenant's entities.
    ///
    /// Cost: a hash look-up per key for [`Knowledge::Now`]; a query over lake and tail for [`Knowledge::At`].
    ///
    /// # Errors
    /// `NotFound` for an unknown pipeline, else what the state or the lake met.
    async fn rows(
        &self,
        pipeline: &str,
        tenant_id: &str,
        keys: Keys<'_>,
        knowledge: Knowledge,
    ) -> Result<Vec<RecordBatch>, Failure>;

    /// Hands all rows of a pipeline for a tenant on, a slice at a time, so that nobody holds them all.
    ///
    /// For the live state each slice is read at its own instant: right for folds that commute with the changes heard
    /// meanwhile.
    ///
    /// # Errors
    /// As [`Self::rows`]; what was handed on before stays.
    async fn each(
        &self,
        pipeline: &str,
        tenant_id: &str,
        knowledge: Knowledge,
        take: &mut (dyn FnMut(RecordBatch) + Send),
    ) -> Result<(), Failure> {
        for batch in self.rows(pipeline, tenant_id, Keys::All, knowledge).await? {
            take(batch);
        }
        Ok(())
    }

    /// As [`Self::each`] for a reader of few columns: the batches hold at least the named ones, and what the others cost
    /// may be saved.
    ///
    /// # Errors
    /// As [`Self::each`]; a column that the pipeline has not is an error or missing.
    async fn each_of(
        &self,
        pipeline: &str,
        tenant_id: &str,
        columns: &'static [&'static str],
        knowledge: Knowledge,
        take: &mut (dyn FnMut(RecordBatch) + Send),
    ) -> Result<(), Failure> {
        let _ = columns;
        self.each(pipeline, tenant_id, knowledge, take).await
    }

    /// A number that is another one whenever rows of the pipeline's live state may have changed, of whatever tenant: what was
    /// read after it was asked for holds as long as it stays. `None` where the source does not tell. It means nothing
    /// after a restart. Cost: a load of one atomic.
    fn version(&self, pipeline: &str) -> Option<u64> {
        let _ = pipeline;
        None
    }

    /// Raw recent events of one entity for explanations, newest first, at most `limit`, in the events schema.
    /// `column` is `contact`, `account` or `deal`; any of `keys` matches.
    ///
    /// # Errors
    /// What the lake met.
    async fn recent_events(
        &self,
        column: EntityColumn,
        tenant_id: &str,
        keys: &[String],
        knowledge: Knowledge,
        limit: usize,
    ) -> Result<Vec<RecordBatch>, Failure>;
}

/// By which entity raw events are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntityColumn {
    /// `coalesce(contact_id, email)`.
    Contact,
    /// `coalesce(account_id, domain)`.
    Account,
    /// `deal_id`.
    Deal,
}

/// Changed rows of one pipeline after one micro-batch.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Pipeline name.
    pub pipeline: &'static str,
    /// Changed output rows (new values).
    pub rows: RecordBatch,
}

/// Hears what layer 1 changed. Implemented by the live scorer.
#[async_trait]
pub trait StatisticsListener: Send + Sync {
    /// Called once per journal position in order, after the live state holds the change. `as_of` is the instant the
    /// journal object was written. Must not wait long: it queues, and back-pressure is its own setting.
    ///
    /// # Errors
    /// Whatever keeps it from taking the change; the engine's delivery stops with it.
    async fn changed(
        &self,
        position: Position,
        as_of: Timestamp,
        changed: Vec<Changed>,
    ) -> Result<(), Failure>;
}
