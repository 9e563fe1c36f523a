//! Trained models of a tenant: which there are, which one serves, and what may be asked of them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Timestamp, error::Failure};

/// What a model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelTarget {
    /// That an open deal is won.
    Deals,
    /// That a contact in no deal yet comes into one within 90 days.
    Leads,
}

impl ModelTarget {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Deals, Self::Leads];

    /// The text used in paths and arguments.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deals => "deals",
            Self::Leads => "leads",
        }
    }

    /// Reads [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.as_str() == text)
    }
}

/// How a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelStanding {
    /// Its probability is the one shown.
    Serving,
    /// Its probability is computed beside the serving one's and shown among the facts.
    Shadow,
    /// Kept; can be promoted.
    Kept,
}

/// How good a model is on rows it has not seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Rows judged.
    pub rows: usize,
    /// Mean negative log-likelihood, nats.
    pub log_loss: f64,
    /// Expected calibration error, ten bins.
    pub calibration_error: f64,
    /// Chance that a won row is ranked above a lost one.
    pub auc: f64,
    /// Log-loss of the base rate known then.
    pub base_rate_log_loss: f64,
}

/// One version of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// What it predicts.
    pub target: ModelTarget,
    /// Rising from 1.
    pub version: u32,
    /// How it stands.
    pub standing: ModelStanding,
    /// When it was trained.
    pub trained_at: Timestamp,
    /// Rows it learnt from, and those of them that were won.
    pub rows: usize,
    /// Rows that were won.
    pub won: usize,
    /// Whether held-out ranking beat chance; without, it says the base rate.
    pub signal: bool,
    /// Held-out measures.
    pub held_out: HeldOut,
    /// SHA-256 of artifact and card.
    pub sha256: String,
}

/// How to train.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingQuestion {
    /// Days within which a win counts; absent: nine of ten wins fall within it.
    pub horizon_days: Option<f64>,
    /// Columns to keep although a probe refuses them.
    pub allow_leaky: Vec<String>,
    /// Promote the new version when it is better (or the first with a signal).
    pub promote: bool,
}

/// What training came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// The new version.
    pub entry: ModelEntry,
    /// Columns refused by a probe, with the reason.
    pub refused: Vec<(String, String)>,
    /// What was chosen, for people.
    pub choice: String,
    /// Why it was promoted or not; absent when that was not asked for.
    pub promotion: Option<String>,
    /// Seconds of making the rows, and of fitting.
    pub seconds: [f64; 2],
}

/// Two versions on the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The versions.
    pub versions: [u32; 2],
    /// Rows that neither had learnt from when it answered.
    pub rows: usize,
    /// Measures of either.
    pub measures: [HeldOut; 2],
    /// Mean distance between the two probabilities.
    pub mean_difference: f64,
}

/// How far the world has moved from a model's training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// The serving version.
    pub version: u32,
    /// Population stability index of each column, open deals against training rows, the largest first. Above 0.25 the
    /// population has moved; below 0.1 it has not.
    pub columns: Vec<(String, f64)>,
    /// Rows whose outcome became known since the training.
    pub outcomes: usize,
    /// Mean probability given to them.
    pub mean_probability: f64,
    /// Share of them that was won.
    pub win_rate: f64,
    /// Standard error of that share under the model.
    pub standard_error: f64,
    /// What is wrong; empty when nothing is. The same alarms are among the tenant's alerts until a newer look or version.
    pub alarms: Vec<DriftAlarm>,
}

/// One thing that has moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftAlarm {
    /// What kind of thing: the population of a column, or outcomes against what was said.
    pub rule: DriftRule,
    /// For people.
    pub message: String,
}

/// Kinds of drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftRule {
    /// Outcomes miss the probabilities given.
    ModelCalibration,
    /// A column's values are of another population than the training's.
    ModelPopulation,
}

impl DriftRule {
    /// The rule's name among alerts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ModelCalibration => "model_calibration",
            Self::ModelPopulation => "model_population",
        }
    }
}

/// Answers questions about models and trains them. All changes are durable when they return.
#[async_trait]
pub trait ModelService: Send + Sync {
    /// All versions, newest first.
    ///
    /// # Errors
    /// What the store met.
    async fn list(&self, tenant_id: &str) -> Result<Vec<ModelEntry>, Failure>;

    /// The card of a version (the serving one when absent): the JSON document, which holds its Markdown under `markdown`.
    ///
    /// # Errors
    /// `NotFound` without such a version, `Data` when artifact or card were changed after training.
    async fn card(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        version: Option<u32>,
    ) -> Result<Value, Failure>;

    /// Trains a new version on what is known now.
    ///
    /// # Errors
    /// `User` when there is too little to learn from, else what was met.
    async fn train(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        question: &TrainingQuestion,
    ) -> Result<Trained, Failure>;

    /// Makes a version the serving one. Refused unless it has a lower log-loss than the serving one on the same rows, and a
    /// calibration error no larger but for chance; `even_if_worse` overrides.
    ///
    /// # Errors
    /// `NotFound`, or `User` when refused, saying the measures.
    async fn promote(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        version: u32,
        even_if_worse: bool,
    ) -> Result<ModelEntry, Failure>;

    /// Makes the version that served before the serving one again.
    ///
    /// # Errors
    /// `User` when none served before.
    async fn rollback(&self, tenant_id: &str, target: ModelTarget) -> Result<ModelEntry, Failure>;

    /// Judges beside the serving version with this one; none ends it.
    ///
    /// # Errors
    /// `NotFound` without such a version.
    async fn shadow(&self, tenant_id: &str, target: ModelTarget, version: Option<u32>)
    -> Result<(), Failure>;

    /// Two versions on the same rows of history.
    ///
    /// # Errors
    /// `NotFound` without such versions; `User` when there are no rows yet.
    async fn compare(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        versions: [u32; 2],
    ) -> Result<Comparison, Failure>;

    /// Drift of the serving version.
    ///
    /// # Errors
    /// `NotFound` when none serves.
    async fn drift(&self, tenant_id: &str, target: ModelTarget) -> Result<Drift, Failure>;
}
