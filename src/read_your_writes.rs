//! L-2 for scores and trainings: a question about now waits until what was acknowledged before it is in the live state.

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use revgauge_contract::{
    Position, Timestamp,
    error::Failure,
    score::{
        Alert, ChangeExplanation, DuplicateAccounts, EntityKind, EntityScores, RecordChanges, ScoreRows,
        ScoreService,
    },
    statistics::Knowledge,
};
use revgauge_journal::Journal;
use serde_json::Value;
use tokio::sync::watch;

/// Follows the readers of the journal.
#[derive(Debug, Clone)]
pub(crate) struct Caught {
    journal: Arc<Journal>,
    delivered: watch::Receiver<Position>,
    wait: Duration,
}

impl Caught {
    /// `wait` is the longest a question is held; past it, it is answered from what there is.
    pub(crate) const fn new(
        journal: Arc<Journal>,
        delivered: watch::Receiver<Position>,
        wait: Duration,
    ) -> Self {
        Self {
            journal,
            delivered,
            wait,
        }
    }

    /// Waits until the readers hold everything acknowledged before the call. Costs nothing when they do.
    pub(crate) async fn up(&self) {
        let last = self.journal.last();
        if *self.delivered.borrow() >= last {
            return;
        }
        let mut delivered = self.delivered.clone();
        let _ = tokio::time::timeout(self.wait, delivered.wait_for(|position| *position >= last)).await;
    }
}

/// A score service that first catches up.
pub(crate) struct ReadYourWrites {
    inner: Arc<dyn ScoreService>,
    caught: Caught,
}

impl ReadYourWrites {
    pub(crate) fn new(inner: Arc<dyn ScoreService>, caught: Caught) -> Self {
        Self { inner, caught }
    }

    /// The service, once it may be asked with this knowledge: a question about the past waits for nothing.
    async fn caught_up(&self, knowledge: Knowledge) -> &dyn ScoreService {
        if knowledge == Knowledge::Now {
            self.caught.up().await;
        }
        &*self.inner
    }
}

#[async_trait]
impl ScoreService for ReadYourWrites {
    async fn scores(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<EntityScores, Failure> {
        self.caught_up(knowledge)
            .await
            .scores(tenant_id, entity_kind, entity_id, at, knowledge)
            .await
    }

    async fn explain(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<EntityScores, Failure> {
        self.caught_up(knowledge)
            .await
            .explain(tenant_id, entity_kind, entity_id, at, knowledge)
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
        self.caught_up(Knowledge::Now)
            .await
            .explain_change(tenant_id, entity_kind, entity_id, from, to)
            .await
    }

    async fn table(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        rows: &ScoreRows,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<Vec<RecordBatch>, Failure> {
        self.caught_up(knowledge)
            .await
            .table(tenant_id, entity_kind, rows, at, knowledge)
            .await
    }

    async fn own_records(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        ids: Option<&[String]>,
    ) -> Result<Vec<Value>, Failure> {
        self.caught_up(Knowledge::Now)
            .await
            .own_records(tenant_id, entity_kind, ids)
            .await
    }

    async fn changed_since(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        revision: u64,
    ) -> Result<Option<RecordChanges>, Failure> {
        self.caught_up(Knowledge::Now)
            .await
            .changed_since(tenant_id, entity_kind, revision)
            .await
    }

    async fn objects(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        ids: Option<&[String]>,
        knowledge: Knowledge,
    ) -> Result<Vec<Value>, Failure> {
        self.caught_up(knowledge)
            .await
            .objects(tenant_id, entity_kind, ids, knowledge)
            .await
    }

    async fn alerts(
        &self,
        tenant_id: &str,
        ids: Option<&[String]>,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<Vec<Alert>, Failure> {
        self.caught_up(knowledge)
            .await
            .alerts(tenant_id, ids, at, knowledge)
            .await
    }

    async fn duplicates(
        &self,
        tenant_id: &str,
        knowledge: Knowledge,
    ) -> Result<Vec<DuplicateAccounts>, Failure> {
        self.caught_up(knowledge)
            .await
            .duplicates(tenant_id, knowledge)
            .await
    }

    async fn text_signals(
        &self,
        tenant_id: &str,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<Vec<revgauge_contract::text::TextSignal>, Failure> {
        self.caught_up(knowledge)
            .await
            .text_signals(tenant_id, at, knowledge)
            .await
    }

    async fn keys(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        knowledge: Knowledge,
    ) -> Result<Vec<String>, Failure> {
        self.caught_up(knowledge)
            .await
            .keys(tenant_id, entity_kind, entity_id, knowledge)
            .await
    }
}
