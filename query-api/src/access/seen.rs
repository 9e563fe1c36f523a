//! Services as one caller sees them: the same answers, without the records its rule hides, with masked fields.
//!
//! The doors have no other way to these services, so what a row rule hides is hidden at each of them. A hidden record is
//! answered for exactly as one that does not exist.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use revgauge_contract::{
    ErrorKind, Timestamp,
    error::Failure,
    feed::{FeedPage, FeedReader},
    forecast::{Forecast, ForecastAccuracy, ForecastNode, ForecastQuestion, ForecastService},
    position::{Cursor, Position},
    reports::{AttributedCredit, AttributionModel, ReportService, WaterfallPart, WaterfallQuestion},
    score::{
        Alert, ChangeExplanation, Contribution, DuplicateAccounts, EntityKind, EntityScores, ScoreRows,
        ScoreService,
    },
    statistics::Knowledge,
    text::TextSignal,
};
use serde_json::Value;

use super::{sight::Sight, tenant_exec::RowGate, visible::Visible};

/// Scores, objects, alerts and texts as one caller sees them.
pub(crate) struct SeenScores {
    pub(crate) inner: Arc<dyn ScoreService>,
    pub(crate) sight: Arc<Sight>,
}

fn not_found(kind: EntityKind, id: &str) -> Failure {
    let clipped: String = id.chars().take(64).collect();
    Failure::new(
        ErrorKind::NotFound,
        format!(
            "nothing is known of {} '{clipped}' (as of the instant asked for)",
            kind.as_str()
        ),
    )
}

impl SeenScores {
    /// Refuses what may not be seen, as the service refuses what it does not know.
    async fn check(&self, tenant_id: &str, kind: EntityKind, id: &str) -> Result<(), Failure> {
        if self.sight.masks.email() && id.contains('@') {
            // Asking by a hidden address would tell whether it is known.
            return Err(not_found(kind, id));
        }
        let Some(visible) = self.sight.visible().await? else {
            return Ok(());
        };
        if visible.holds(kind, id) {
            return Ok(());
        }
        // Written otherwise than stored: upper case, a full address for a domain.
        let keys = self.inner.keys(tenant_id, kind, id, Knowledge::Now).await;
        match keys {
            Ok(keys) if keys.iter().any(|key| visible.holds(kind, key)) => Ok(()),
            _ => Err(not_found(kind, id)),
        }
    }

    fn mask_scores(&self, mut found: EntityScores) -> EntityScores {
        let masks = &self.sight.masks;
        if masks.any() {
            masks.in_place(&mut found.entity_id);
            for score in &mut found.scores {
                score
                    .contributions
                    .iter_mut()
                    .for_each(|part| self.mask_part(part));
                score.facts.values_mut().for_each(|fact| {
                    masks.value(fact);
                });
            }
        }
        found
    }

    fn mask_part(&self, part: &mut Contribution) {
        self.sight.masks.in_place(&mut part.reason);
        if let Some(advice) = &mut part.advice {
            self.sight.masks.in_place(advice);
        }
    }
}

/// Names by which a record of a kind gives its id.
fn id_of(kind: EntityKind, record: &Value) -> Option<&str> {
    let name = match kind {
        EntityKind::Contact => "contact_id",
        EntityKind::Account => "account_id",
        EntityKind::Deal => "deal_id",
        EntityKind::Tenant => return None,
    };
    record.get(name).or_else(|| record.get("id"))?.as_str()
}

fn holds(visible: Option<&Arc<Visible>>, kind: EntityKind, id: &str) -> bool {
    visible.is_none_or(|visible| visible.holds(kind, id))
}

#[async_trait]
impl ScoreService for SeenScores {
    async fn scores(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<EntityScores, Failure> {
        self.check(tenant_id, entity_kind, entity_id).await?;
        let found = self
            .inner
            .scores(tenant_id, entity_kind, entity_id, at, knowledge)
            .await?;
        Ok(self.mask_scores(found))
    }

    async fn explain(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<EntityScores, Failure> {
        self.check(tenant_id, entity_kind, entity_id).await?;
        let found = self
            .inner
            .explain(tenant_id, entity_kind, entity_id, at, knowledge)
            .await?;
        Ok(self.mask_scores(found))
    }

    async fn explain_change(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<ChangeExplanation>, Failure> {
        self.check(tenant_id, entity_kind, entity_id).await?;
        let mut changes = self
            .inner
            .explain_change(tenant_id, entity_kind, entity_id, from, to)
            .await?;
        if self.sight.masks.any() {
            for change in &mut changes {
                change.parts.iter_mut().for_each(|part| self.mask_part(part));
            }
        }
        Ok(changes)
    }

    async fn table(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        rows: &ScoreRows,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let mut rows = rows.clone();
        if let Some(columns) = &mut rows.columns {
            // What tells whose a row is.
            columns.extend(["tenant_id", "entity_kind", "entity_id"].map(str::to_owned));
        }
        if let Some(ids) = &mut rows.ids {
            // Asking by a hidden address would tell whether it is known.
            ids.retain(|id| !(self.sight.masks.email() && id.contains('@')));
        }
        let batches = self
            .inner
            .table(tenant_id, entity_kind, &rows, at, knowledge)
            .await?;
        let visible = self.sight.visible().await?;
        if visible.is_none() && !self.sight.masks.any() {
            return Ok(batches);
        }
        let seen = batches.iter().map(|batch| {
            let gate = RowGate::whole(&batch.schema(), &self.sight, visible.as_ref());
            gate.pass(batch)
                .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))
        });
        seen.collect()
    }

    async fn objects(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        ids: Option<&[String]>,
        knowledge: Knowledge,
    ) -> Result<Vec<Value>, Failure> {
        let asked_by_address = |id: &String| self.sight.masks.email() && id.contains('@');
        let allowed: Option<Vec<String>> =
            ids.map(|ids| ids.iter().filter(|id| !asked_by_address(id)).cloned().collect());
        let mut records = self
            .inner
            .objects(tenant_id, entity_kind, allowed.as_deref(), knowledge)
            .await?;
        if let Some(visible) = self.sight.visible().await? {
            records
                .retain(|record| id_of(entity_kind, record).is_some_and(|id| visible.holds(entity_kind, id)));
        }
        if self.sight.masks.any() {
            records.iter_mut().for_each(|record| {
                self.sight.masks.value(record);
            });
        }
        Ok(records)
    }

    async fn alerts(
        &self,
        tenant_id: &str,
        ids: Option<&[String]>,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<Vec<Alert>, Failure> {
        let mut alerts = self.inner.alerts(tenant_id, ids, at, knowledge).await?;
        let visible = self.sight.visible().await?;
        alerts.retain(|alert| holds(visible.as_ref(), alert.entity_kind, &alert.entity_id));
        if self.sight.masks.any() {
            for alert in &mut alerts {
                self.sight.masks.in_place(&mut alert.entity_id);
                self.sight.masks.in_place(&mut alert.message);
                self.sight.masks.in_place(&mut alert.advice);
            }
        }
        Ok(alerts)
    }

    /// A group is shown to who may see each account of it.
    async fn duplicates(
        &self,
        tenant_id: &str,
        knowledge: Knowledge,
    ) -> Result<Vec<DuplicateAccounts>, Failure> {
        let mut groups = self.inner.duplicates(tenant_id, knowledge).await?;
        let visible = self.sight.visible().await?;
        groups.retain(|group| {
            let mut ids = group.account_ids.iter();
            ids.all(|id| holds(visible.as_ref(), EntityKind::Account, id))
        });
        if self.sight.masks.any() {
            for group in &mut groups {
                self.sight.masks.in_place(&mut group.key);
                group
                    .evidence
                    .iter_mut()
                    .for_each(|text| self.sight.masks.in_place(text));
            }
        }
        Ok(groups)
    }

    async fn text_signals(
        &self,
        tenant_id: &str,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<Vec<TextSignal>, Failure> {
        let mut signals = self.inner.text_signals(tenant_id, at, knowledge).await?;
        let visible = self.sight.visible().await?;
        signals.retain(|signal| holds(visible.as_ref(), EntityKind::Deal, &signal.deal_id));
        if self.sight.masks.any() {
            let masks = &self.sight.masks;
            for signal in &mut signals {
                let said = [&mut signal.quote, &mut signal.value, &mut signal.speaker];
                said.into_iter().flatten().for_each(|words| masks.words(words));
            }
        }
        Ok(signals)
    }

    async fn keys(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        knowledge: Knowledge,
    ) -> Result<Vec<String>, Failure> {
        self.check(tenant_id, entity_kind, entity_id).await?;
        self.inner
            .keys(tenant_id, entity_kind, entity_id, knowledge)
            .await
    }
}

/// Waterfalls as one caller sees them: of the deals it may see, owned by its people.
pub(crate) struct SeenReports {
    pub(crate) inner: Arc<dyn ReportService>,
    pub(crate) sight: Arc<Sight>,
}

#[async_trait]
impl ReportService for SeenReports {
    async fn waterfall(
        &self,
        tenant_id: &str,
        question: &WaterfallQuestion,
    ) -> Result<Vec<WaterfallPart>, Failure> {
        let Some(visible) = self.sight.visible().await? else {
            return self.inner.waterfall(tenant_id, question).await;
        };
        let mut owners: Vec<String> = visible.owners.iter().cloned().collect();
        if let Some(asked) = &question.owner_ids {
            owners.retain(|owner| asked.contains(owner));
        }
        owners.sort();
        let question = WaterfallQuestion {
            owner_ids: Some(owners),
            ..question.clone()
        };
        // The parts of one deal balance among themselves, so leaving whole deals out keeps the sum.
        let mut parts = self.inner.waterfall(tenant_id, &question).await?;
        parts.retain(|part| visible.holds(EntityKind::Deal, &part.deal_id));
        Ok(parts)
    }

    /// Credits are of all deals together and say of nobody whose they are: who may not see everything sees none.
    async fn attribution(
        &self,
        tenant_id: &str,
        model: AttributionModel,
        period: Option<(Timestamp, Timestamp)>,
        as_of: Option<Timestamp>,
    ) -> Result<Vec<AttributedCredit>, Failure> {
        if self.sight.is_limited() {
            return Ok(Vec::new());
        }
        self.inner.attribution(tenant_id, model, period, as_of).await
    }
}

/// Forecasts as one caller sees them: of the deals it may see, owned by its people.
pub(crate) struct SeenForecasts {
    pub(crate) inner: Arc<dyn ForecastService>,
    pub(crate) sight: Arc<Sight>,
}

impl SeenForecasts {
    /// The question as a caller with a row rule may ask it, and its answer: of the owners it may see, without the deals it
    /// may not. Nothing for a caller without a rule.
    async fn confined(
        &self,
        tenant_id: &str,
        question: &ForecastQuestion,
    ) -> Result<Option<(ForecastQuestion, Vec<Forecast>)>, Failure> {
        let Some(visible) = self.sight.visible().await? else {
            return Ok(None);
        };
        let mut owners: Vec<String> = visible.owners.iter().cloned().collect();
        if let Some(asked) = &question.owner_ids {
            owners.retain(|owner| asked.contains(owner));
        }
        owners.sort();
        let mut question = ForecastQuestion {
            owner_ids: Some(owners),
            confined: true,
            ..question.clone()
        };
        let found = self.inner.forecast(tenant_id, &question).await?;
        let hidden: Vec<String> = found
            .iter()
            .flat_map(|forecast| &forecast.rows)
            .filter(|row| !row.deal_id.is_empty() && !visible.holds(EntityKind::Deal, &row.deal_id))
            .map(|row| row.deal_id.clone())
            .collect();
        if hidden.is_empty() {
            return Ok(Some((question, found)));
        }
        // A number in which a hidden deal is would tell its amount: it is made again without them.
        question.without_deals.extend(hidden);
        let found = self.inner.forecast(tenant_id, &question).await?;
        Ok(Some((question, found)))
    }
}

#[async_trait]
impl ForecastService for SeenForecasts {
    async fn forecast(&self, tenant_id: &str, question: &ForecastQuestion) -> Result<Vec<Forecast>, Failure> {
        match self.confined(tenant_id, question).await? {
            Some((_, found)) => Ok(found),
            None => self.inner.forecast(tenant_id, question).await,
        }
    }

    async fn by_node(
        &self,
        tenant_id: &str,
        question: &ForecastQuestion,
    ) -> Result<Vec<ForecastNode>, Failure> {
        match self.confined(tenant_id, question).await? {
            Some((question, _)) => self.inner.by_node(tenant_id, &question).await,
            None => self.inner.by_node(tenant_id, question).await,
        }
    }

    async fn accuracy(
        &self,
        tenant_id: &str,
        question: &ForecastQuestion,
    ) -> Result<Vec<ForecastAccuracy>, Failure> {
        match self.confined(tenant_id, question).await? {
            Some((question, _)) => self.inner.accuracy(tenant_id, &question).await,
            None => self.inner.accuracy(tenant_id, question).await,
        }
    }
}

/// The score feed as one caller sees it. Cursors stay those of the log.
pub(crate) struct SeenFeed {
    pub(crate) inner: Arc<dyn FeedReader>,
    pub(crate) sight: Arc<Sight>,
}

#[async_trait]
impl FeedReader for SeenFeed {
    async fn read(&self, tenant_id: &str, after: Cursor, limit: usize) -> Result<FeedPage, Failure> {
        let mut page = self.inner.read(tenant_id, after, limit).await?;
        page.entries
            .retain(|(_, change)| change.tenant_id == **self.sight.tenant_id());
        let visible = self.sight.visible().await?;
        page.entries
            .retain(|(_, change)| holds(visible.as_ref(), change.entity_kind, &change.entity_id));
        let masks = &self.sight.masks;
        if masks.any() {
            for (_, change) in &mut page.entries {
                masks.in_place(&mut change.entity_id);
                masks.in_place(&mut change.reason);
                masks.in_place(&mut change.detail);
            }
        }
        Ok(page)
    }

    async fn grown_past(&self, position: Position) {
        self.inner.grown_past(position).await;
    }
}
