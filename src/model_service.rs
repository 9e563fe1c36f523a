//! Trains, keeps, promotes and watches the models of a tenant: joins registry, trainers and scorer.

#[cfg(feature = "training")]
mod cards;
#[cfg(feature = "training")]
mod training;

use std::sync::Arc;

use async_trait::async_trait;
use object_store::ObjectStore;
use revgauge_contract::{
    Clock, ErrorKind, Timestamp,
    cut::CutReader,
    error::Failure,
    models::{
        Comparison, Drift, ModelEntry, ModelService, ModelStanding, ModelTarget, Trained, TrainingQuestion,
    },
};
use revgauge_models::{
    service::{DriftLook, Scoring},
    win::Served,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    model_registry::{Action, Decision, Decisions, ModelRegistry, StoredModel},
    read_your_writes::Caught,
};

/// Settings of trained models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ModelSettings {
    /// Hours between two trainings of each tenant that has a model; 0 trains only when asked.
    pub(crate) retrain_hours: u32,
    /// Hours between two looks for drift of each serving model, the first at the start; 0 looks only when asked.
    pub(crate) drift_hours: u32,
    /// Longest a training, comparison or look for drift waits for what was acknowledged before it, milliseconds; past it, it
    /// reads what there is.
    pub(crate) read_wait_ms: u64,
    /// Rows of a training at most; more are thinned evenly.
    pub(crate) max_rows: usize,
    /// Most changes of deals read.
    pub(crate) max_changes: usize,
    /// Forests whose mean the trees of a model are, 1 to 10.
    pub(crate) forests: u64,
    /// Rows of the fits that only probe for leaks; 0 leaves those probes out.
    pub(crate) probe_rows: usize,
    /// Seed of everything random.
    pub(crate) seed: u64,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            retrain_hours: 24,
            drift_hours: 24,
            read_wait_ms: 30_000,
            max_rows: 60_000,
            max_changes: 20_000_000,
            forests: 3,
            probe_rows: 6_000,
            seed: 20_261_120,
        }
    }
}

/// The model service.
pub(crate) struct Models {
    registry: ModelRegistry,
    scoring: Arc<Scoring>,
    clock: Arc<dyn Clock>,
    settings: ModelSettings,
    #[cfg_attr(
        not(feature = "training"),
        expect(dead_code, reason = "read by training alone")
    )]
    cuts: Arc<dyn CutReader>,
    #[cfg_attr(
        not(feature = "training"),
        expect(dead_code, reason = "read by training alone")
    )]
    store: Arc<dyn ObjectStore>,
    #[cfg_attr(
        not(feature = "training"),
        expect(dead_code, reason = "waited for by training alone")
    )]
    caught: Caught,
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Models")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn user(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::User, message)
}

impl Models {
    pub(crate) fn new(
        store: &Arc<dyn ObjectStore>,
        scoring: &Arc<Scoring>,
        clock: &Arc<dyn Clock>,
        cuts: &Arc<dyn CutReader>,
        caught: Caught,
        settings: ModelSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            registry: ModelRegistry::new(Arc::clone(store)),
            scoring: Arc::clone(scoring),
            clock: Arc::clone(clock),
            settings,
            cuts: Arc::clone(cuts),
            store: Arc::clone(store),
            caught,
        })
    }

    /// Puts the stored decisions of all tenants in force. A model that cannot be used is left out and said aloud: the
    /// server starts without it.
    ///
    /// # Errors
    /// What listing the store met.
    pub(crate) async fn restore(&self) -> Result<(), Failure> {
        for tenant_id in self.registry.tenants().await? {
            for target in ModelTarget::ALL {
                if let Err(error) = self.put_in_force(&tenant_id, target).await {
                    let target = target.as_str();
                    tracing::error!(%error, tenant_id, target, "the tenant's model is not in force");
                }
            }
        }
        Ok(())
    }

    /// Reads the decisions of a tenant and gives the scorer the model of every instant.
    async fn put_in_force(&self, tenant_id: &str, target: ModelTarget) -> Result<(), Failure> {
        let all = self.registry.decisions(tenant_id, target).await?;
        let mut stored: Vec<StoredModel> = Vec::new();
        let mut models = Vec::with_capacity(all.0.len());
        for count in 1..=all.0.len() {
            let until = Decisions(all.0[..count].to_vec());
            let mut served = None;
            if let Some(serving) = until.serving() {
                let serving = self.held(tenant_id, target, serving, &mut stored).await?;
                let shadow = match until.shadow() {
                    Some(shadow) => Some(self.held(tenant_id, target, shadow, &mut stored).await?),
                    None => None,
                };
                served = Some(Served {
                    version: serving.version,
                    sha256: serving.sha256.as_str().into(),
                    model: Arc::clone(&serving.model),
                    shadow: shadow.map(|shadow| (shadow.version, shadow.model)),
                });
            }
            models.push((all.0[count - 1].at, served));
        }
        self.scoring.set_models(tenant_id, target, models);
        Ok(())
    }

    async fn held(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        version: u32,
        stored: &mut Vec<StoredModel>,
    ) -> Result<StoredModel, Failure> {
        if let Some(held) = stored.iter().find(|held| held.version == version) {
            return Ok(held.clone());
        }
        let read = self.registry.read(tenant_id, target, version).await?;
        stored.push(read.clone());
        Ok(read)
    }

    async fn decide(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        seen: &Decisions,
        action: Action,
    ) -> Result<(), Failure> {
        let decision = Decision {
            at: self.now_after(seen),
            action,
        };
        self.registry.decide(tenant_id, target, seen, &decision).await?;
        self.put_in_force(tenant_id, target).await
    }

    /// Now, or just after the last decision where clocks disagree: decisions are in force in their order.
    fn now_after(&self, seen: &Decisions) -> Timestamp {
        let now = self.clock.now();
        seen.0.last().map_or(now, |last| now.max(last.at.plus_micros(1)))
    }

    async fn entry_of(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        version: u32,
    ) -> Result<ModelEntry, Failure> {
        let decisions = self.registry.decisions(tenant_id, target).await?;
        let model = self.registry.read(tenant_id, target, version).await?;
        Ok(model.entry(decisions.standing(version)))
    }

    /// Trains every tenant with a model again and again, promoting what is better, until told to stop.
    pub(crate) async fn retrain(self: Arc<Self>, stop: tokio_util::sync::CancellationToken) {
        let hours = u64::from(self.settings.retrain_hours);
        if hours == 0 {
            return;
        }
        let every = std::time::Duration::from_secs(hours * 3_600);
        while stop
            .run_until_cancelled(tokio::time::sleep(every))
            .await
            .is_some()
        {
            let tenants = self.registry.tenants().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot list the tenants to train");
                Vec::new()
            });
            for (tenant_id, target) in each_target(tenants) {
                if !self.is_trained(&tenant_id, target).await {
                    continue;
                }
                let question = TrainingQuestion {
                    promote: true,
                    ..TrainingQuestion::default()
                };
                match self.train(&tenant_id, target, &question).await {
                    Ok(trained) => tracing::info!(
                        tenant_id,
                        target = target.as_str(),
                        version = trained.entry.version,
                        promotion = trained.promotion,
                        "model trained"
                    ),
                    Err(error) => tracing::warn!(%error, tenant_id, "training on schedule failed"),
                }
            }
        }
    }

    /// Whether a target was ever trained: what was not is not trained on schedule either.
    async fn is_trained(&self, tenant_id: &str, target: ModelTarget) -> bool {
        let versions = self.registry.versions(tenant_id, target).await;
        versions.is_ok_and(|versions| !versions.is_empty())
    }

    /// Looks for drift of every serving model, now and again and again, until told to stop. What it finds is logged as a
    /// warning and stands among the tenant's alerts.
    pub(crate) async fn watch(self: Arc<Self>, stop: tokio_util::sync::CancellationToken) {
        let hours = u64::from(self.settings.drift_hours);
        if hours == 0 || cfg!(not(feature = "training")) {
            return;
        }
        let every = std::time::Duration::from_secs(hours * 3_600);
        loop {
            let tenants = self.registry.tenants().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot list the tenants whose models may drift");
                Vec::new()
            });
            for (tenant_id, target) in each_target(tenants) {
                match self.drift(&tenant_id, target).await {
                    Ok(drift) => {
                        for alarm in drift.alarms {
                            let (version, alarm) = (drift.version, alarm.message);
                            tracing::warn!(tenant_id, version, alarm, "the model has drifted");
                        }
                    }
                    // Trained, and none promoted: there is nothing to watch.
                    Err(error) if error.kind == ErrorKind::NotFound => {}
                    Err(error) => tracing::warn!(%error, tenant_id, "cannot look for drift"),
                }
            }
            if stop
                .run_until_cancelled(tokio::time::sleep(every))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    #[cfg(not(feature = "training"))]
    fn untrained() -> Failure {
        user(
            "cannot train here: this program was built without the feature 'training'; train where it is built with it",
        )
    }
}

#[async_trait]
impl ModelService for Models {
    async fn list(&self, tenant_id: &str) -> Result<Vec<ModelEntry>, Failure> {
        let mut entries = Vec::new();
        for target in ModelTarget::ALL {
            let decisions = self.registry.decisions(tenant_id, target).await?;
            for version in self.registry.versions(tenant_id, target).await?.into_iter().rev() {
                let model = self.registry.read(tenant_id, target, version).await?;
                entries.push(model.entry(decisions.standing(version)));
            }
        }
        Ok(entries)
    }

    async fn card(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        version: Option<u32>,
    ) -> Result<Value, Failure> {
        let decisions = self.registry.decisions(tenant_id, target).await?;
        let version = version.or_else(|| decisions.serving()).ok_or_else(|| {
            let message = format!(
                "no model of {} serves: name a version, or train one",
                target.as_str()
            );
            Failure::new(ErrorKind::NotFound, message)
        })?;
        let model = self.registry.read(tenant_id, target, version).await?;
        let mut card = model.card.clone();
        if let Some(card) = card.as_object_mut() {
            let entry = model.entry(decisions.standing(version));
            card.insert(
                "entry".to_owned(),
                serde_json::to_value(entry).unwrap_or_default(),
            );
        }
        Ok(card)
    }

    async fn train(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        question: &TrainingQuestion,
    ) -> Result<Trained, Failure> {
        #[cfg(feature = "training")]
        {
            self.train_now(tenant_id, target, question).await
        }
        #[cfg(not(feature = "training"))]
        {
            let _ = (tenant_id, target, question);
            Err(Self::untrained())
        }
    }

    async fn promote(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        version: u32,
        even_if_worse: bool,
    ) -> Result<ModelEntry, Failure> {
        let seen = self.registry.decisions(tenant_id, target).await?;
        let model = self.registry.read(tenant_id, target, version).await?;
        if seen.serving() == Some(version) {
            return Ok(model.entry(ModelStanding::Serving));
        }
        if !even_if_worse && let Some(serving) = seen.serving() {
            let compared = self.compare(tenant_id, target, [serving, version]).await?;
            better(&compared).map_err(user)?;
        }
        self.decide(tenant_id, target, &seen, Action::Promote(version))
            .await?;
        self.entry_of(tenant_id, target, version).await
    }

    async fn rollback(&self, tenant_id: &str, target: ModelTarget) -> Result<ModelEntry, Failure> {
        let seen = self.registry.decisions(tenant_id, target).await?;
        let before = seen
            .before()
            .ok_or_else(|| user("cannot roll back: no version served before the one that serves"))?;
        // A version that cannot be used must not come into force again.
        self.registry.read(tenant_id, target, before).await?;
        self.decide(tenant_id, target, &seen, Action::Rollback(before))
            .await?;
        self.entry_of(tenant_id, target, before).await
    }

    async fn shadow(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        version: Option<u32>,
    ) -> Result<(), Failure> {
        let seen = self.registry.decisions(tenant_id, target).await?;
        if let Some(version) = version {
            self.registry.read(tenant_id, target, version).await?;
        }
        self.decide(tenant_id, target, &seen, Action::Shadow(version))
            .await
    }

    async fn compare(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        versions: [u32; 2],
    ) -> Result<Comparison, Failure> {
        #[cfg(feature = "training")]
        {
            self.compare_now(tenant_id, target, versions).await
        }
        #[cfg(not(feature = "training"))]
        {
            let _ = (tenant_id, target, versions);
            Err(Self::untrained())
        }
    }

    async fn drift(&self, tenant_id: &str, target: ModelTarget) -> Result<Drift, Failure> {
        #[cfg(feature = "training")]
        {
            let drift = self.drift_now(tenant_id, target).await?;
            let look = DriftLook {
                target,
                at: self.clock.now(),
                version: drift.version,
                alarms: drift.alarms.clone(),
            };
            self.scoring.set_drift(tenant_id, look);
            Ok(drift)
        }
        #[cfg(not(feature = "training"))]
        {
            let _ = (tenant_id, target);
            Err(Self::untrained())
        }
    }
}

/// Each tenant with each thing that a model may predict.
fn each_target(tenants: Vec<String>) -> impl Iterator<Item = (String, ModelTarget)> {
    tenants
        .into_iter()
        .flat_map(|tenant_id| ModelTarget::ALL.map(|target| (tenant_id.clone(), target)))
}

/// Whether the second of two versions is better than the first; in words when it is not.
///
/// Better is a lower log-loss and a calibration error that is not larger by more than chance: half of
/// `sqrt(0.25 / rows)`, the standard error of a share.
fn better(compared: &Comparison) -> Result<String, String> {
    let [old, new] = compared.measures;
    let chance = 0.5 * (0.25 / compared.rows.max(1) as f64).sqrt();
    let words = format!(
        "log-loss {:.4} against {:.4}, calibration error {:.3} against {:.3} on {} rows",
        new.log_loss, old.log_loss, new.calibration_error, old.calibration_error, compared.rows
    );
    if new.log_loss < old.log_loss && new.calibration_error <= old.calibration_error + chance {
        Ok(words)
    } else {
        let [serving, candidate] = compared.versions;
        Err(format!(
            "cannot promote version {candidate}: it is not better than version {serving}, which serves ({words}); say --even-if-worse to promote it all the same"
        ))
    }
}
