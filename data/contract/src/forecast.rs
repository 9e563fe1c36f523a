//! Forecasts of the revenue of a period: what is asked, what is answered, and who answers.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, error::Failure};

/// A change of one deal in a what-if question; what is stored stays as it is (N-17).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DealOverlay {
    /// The open deal.
    pub deal_id: String,
    /// Amount to take instead, in the deal's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<f64>,
    /// Probability of being won within the period to take instead, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Forecast category to take instead: `commit`, `best_case`, `pipeline` or `omitted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Close date to take instead: moves the deal into or out of the period's categories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_date: Option<Timestamp>,
}

/// Which forecast is asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForecastQuestion {
    /// Name of the period, such as `2026-Q4`; the current quarter when neither it nor start and end are given.
    pub period: Option<String>,
    /// Start of the period, included; with `end`, instead of `period`.
    pub start: Option<Timestamp>,
    /// End of the period, excluded.
    pub end: Option<Timestamp>,
    /// Month with which the fiscal year begins, 1 to 12; as set for the deployment when absent.
    pub fiscal_year_starts: Option<u32>,
    /// Only what was known then is used; now when absent.
    pub as_of: Option<Timestamp>,
    /// Owners that count; all when absent.
    pub owner_ids: Option<Vec<String>>,
    /// Only this person and everyone below, by `manager_id`.
    pub team_of: Option<String>,
    /// Sales pipeline that counts; all when absent.
    pub pipeline: Option<String>,
    /// Deals to leave out, as if they did not exist.
    pub without_deals: Vec<String>,
    /// Probabilities of the quantiles wanted, 0 to 1; 0.1, 0.25, 0.5, 0.75 and 0.9 when empty.
    pub quantiles: Vec<f64>,
    /// Deals to see otherwise.
    pub what_if: Vec<DealOverlay>,
    /// Quota of the period, in the unit of every currency asked for; its attainment is answered when given.
    pub quota: Option<f64>,
    /// Currency to tell all amounts in, by dated rates; each currency apart when absent.
    pub currency: Option<String>,
    /// Whether even what is learnt of deals in general comes from those of the owners asked for alone: for callers who may
    /// see no others. Never asked for by a caller.
    #[serde(skip)]
    pub confined: bool,
}

/// Why a row is in the forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForecastRowKind {
    /// Won within the period, before the instant of the forecast.
    Closed,
    /// Open at that instant.
    Open,
    /// All deals of an owner not yet created that may be created and won within the period.
    NotYetCreated,
}

/// One addend of the expected revenue. The contributions of all rows sum to [`Forecast::expected`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastRow {
    /// Why it is there.
    pub kind: ForecastRowKind,
    /// The deal; empty for deals not yet created.
    pub deal_id: String,
    /// Its owner, empty where unknown.
    pub owner_id: String,
    /// Its stage, empty where unknown.
    pub stage: String,
    /// Its forecast category, empty where unknown.
    pub category: String,
    /// Amount of the deal; for deals not yet created the mean amount of one.
    pub amount: f64,
    /// Probability of being won within the period; for deals not yet created the expected number of them won.
    pub probability: f64,
    /// `amount * probability`.
    pub contribution: f64,
    /// Of an open deal: median instant of being won, of those worlds in which it is won within 540 days.
    #[serde(default)]
    pub expected_close: Option<Timestamp>,
    /// Its P10.
    #[serde(default)]
    pub expected_close_p10: Option<Timestamp>,
    /// Its P90.
    #[serde(default)]
    pub expected_close_p90: Option<Timestamp>,
}

/// What one method says, and what it is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodForecast {
    /// `category_roll_up`, `stage_weighted`, `time_aware`, `hazard`, `seasonal` or `naive`.
    pub method: String,
    /// Revenue of the period by this method.
    pub value: f64,
    /// Its share in the blend, 0 to 1; the shares sum to 1 (N-14).
    pub weight: f64,
    /// Sum of absolute errors over the sum of actual revenue, at the same elapsed share of past periods; absent without
    /// a past period with revenue (N-13).
    pub wape: Option<f64>,
    /// Sum of (forecast - actual) over the sum of actual revenue there; positive is too high.
    pub bias: Option<f64>,
}

/// A value that the revenue stays below with a probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// Probability, 0 to 1.
    pub probability: f64,
    /// Revenue.
    pub value: f64,
}

/// What somebody submitted as their forecast of a person's number for a period. Each stays as it was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// Id of the object it was sent as.
    pub submission_id: String,
    /// Who says so.
    pub user_id: String,
    /// About whose number: their own or that of somebody below.
    pub about: String,
    /// Category, such as `commit`.
    pub category: String,
    /// The number, in the currency.
    pub amount: f64,
    /// Currency; empty where none was given.
    pub currency: String,
    /// When, where that was sent with it.
    pub submitted_at: Option<Timestamp>,
    /// Whether it is the one that counts: from highest above, then newest.
    pub stands: bool,
}

/// How a forecast stands against the categories summed, the quota, and what people say themselves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Closed and commit.
    pub commit_cumulative: f64,
    /// Closed, commit and best case.
    pub best_case_cumulative: f64,
    /// Commit, best case and pipeline: all that is open in the period but what is omitted.
    pub pipeline_cumulative: f64,
    /// The quota: the one asked with, else those stored for the people asked about.
    pub quota: Option<f64>,
    /// `pipeline_cumulative / (quota - closed)`; absent without a quota or once it is reached.
    pub coverage: Option<f64>,
    /// Share of a past period's revenue that was won by the same elapsed share, over all past periods measured on.
    pub usual_closed_share: Option<f64>,
    /// `attainment / usual_closed_share`: 1 is on pace.
    pub pacing: Option<f64>,
    /// What the people asked about submitted as commit, as it stands.
    pub submitted: Option<f64>,
    /// Every submission about them for exactly this period.
    pub submissions: Vec<Submission>,
}

/// How good one method was for one node, in the periods before, at one elapsed share (N-13).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastAccuracy {
    /// Currency of the amounts.
    pub currency: String,
    /// A person; empty for all.
    pub node: String,
    /// `all`, `team` (the person and everyone below) or `person`.
    pub node_kind: String,
    /// Share of the period that had passed, 0 to 1.
    pub elapsed: f64,
    /// A method, or `blend`.
    pub method: String,
    /// Past periods judged.
    pub periods: u32,
    /// Revenue that came in them.
    pub actual: f64,
    /// Sum of absolute errors over that revenue.
    pub wape: f64,
    /// Sum of (forecast - actual) over it.
    pub bias: f64,
    /// Of the blend: periods inside the 80 % range given then.
    pub covered: Option<u32>,
    /// WAPE that the hazard's own distribution would have if it were right.
    pub noise_floor: f64,
}

/// Forecast of one node of the hierarchy in one currency.
///
/// `closed`, `open`, `not_yet_created`, `expected` and `value` of the nodes right below a node sum to its own; quantiles do
/// not, for people are seldom lucky or unlucky all at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastNode {
    /// Currency of the amounts.
    pub currency: String,
    /// Name of the period; empty where it was given by its ends.
    pub period: String,
    /// What was known then was used.
    pub as_of: Timestamp,
    /// Start of the period.
    pub start: Timestamp,
    /// End of the period.
    pub end: Timestamp,
    /// A person; empty for all, and for a person where the owner is unknown.
    pub node: String,
    /// `all`, `team` (the person and everyone below) or `person` (its own deals alone).
    pub node_kind: String,
    /// The node above; absent at the top.
    pub parent: Option<String>,
    /// Its kind.
    pub parent_kind: Option<String>,
    /// Steps from the top, which is 0.
    pub depth: u32,
    /// Won within the period so far.
    pub closed: f64,
    /// Expected of open deals, by the hazard.
    pub open: f64,
    /// Expected of deals not yet created, by the hazard.
    pub not_yet_created: f64,
    /// Sum of the three: the hazard's mean.
    pub expected: f64,
    /// The node's part in the blend of all that is asked about: `closed + (expected - closed) * factor`, with one factor for
    /// all nodes, so at the top it is the blend (unless that lies beyond 0.2 to 5 times what the hazard expects of the rest).
    pub value: f64,
    /// Quantiles of the node's simulated revenue, moved by that factor; those asked for, else P10, P25, P50, P75 and P90.
    pub quantiles: Vec<Quantile>,
    /// The quota stored for it, at the top that asked with. None for somebody with reports as a person: theirs is the team's.
    pub quota: Option<f64>,
    /// `closed / quota`.
    pub attainment: Option<f64>,
    /// Probability that the revenue reaches the quota.
    pub attainment_probability: Option<f64>,
    /// What its people submitted as commit, as it stands; none where it has no quota for the same reason.
    pub submitted: Option<f64>,
}

/// Forecast of the revenue of a period in one currency. Amounts in its unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Currency code; empty where deals carry none. Currencies are never mixed.
    pub currency: String,
    /// Name of the period; empty where it was given by its ends.
    pub period: String,
    /// What was known then was used.
    pub as_of: Timestamp,
    /// Start of the period.
    pub start: Timestamp,
    /// End of the period.
    pub end: Timestamp,
    /// Won within the period so far.
    pub closed: f64,
    /// Open with a close date in the period and category commit; single, without the later categories.
    pub commit: f64,
    /// As [`Self::commit`], category best case.
    pub best_case: f64,
    /// As [`Self::commit`], category pipeline or none.
    pub pipeline: f64,
    /// As [`Self::commit`], category omitted; in no roll-up.
    pub omitted: f64,
    /// Mean by the hazard method: the sum of the rows' contributions.
    pub expected: f64,
    /// Blend of the methods by weight.
    pub blend: f64,
    /// Sum of absolute errors over sum of actual revenue of the blend on past periods at the same elapsed share, each with
    /// the weights that the periods before it gave; absent without a past that brought revenue (N-13).
    pub blend_wape: Option<f64>,
    /// Sum of (forecast - actual) over sum of actual revenue there.
    pub blend_bias: Option<f64>,
    /// Quantiles of the simulated revenue, rising; those asked for, else P10, P25, P50, P75 and P90.
    pub quantiles: Vec<Quantile>,
    /// The methods side by side.
    pub methods: Vec<MethodForecast>,
    /// Past periods the methods were measured on.
    pub past_periods: u32,
    /// Past periods whose revenue was inside the 80 % interval given for them at the same elapsed share (N-15).
    pub past_covered: u32,
    /// WAPE that a forecast by the hazard's own distribution would have if it were right: mean absolute deviation from
    /// the median over the median; absent where the median is 0 (N-13).
    pub noise_floor: Option<f64>,
    /// Ended deals the win curves were learnt from; few means wide doubt (N-24).
    pub ended_deals: u32,
    /// `closed / quota`, where a quota above 0 was given.
    pub attainment: Option<f64>,
    /// Probability that the revenue reaches the quota.
    pub attainment_probability: Option<f64>,
    /// Cumulative categories, quota, and what people submitted.
    #[serde(flatten)]
    pub standing: Standing,
    /// The addends ("see the math"): closed, then open by contribution, then not yet created.
    pub rows: Vec<ForecastRow>,
}

/// Answers forecasts of a tenant.
#[async_trait]
pub trait ForecastService: Send + Sync {
    /// One forecast a currency, by currency. Cost: one load of the deals' change log and a pass over it for the answer
    /// and for each past period it is measured on.
    ///
    /// # Errors
    /// `User` for a period that cannot be read or ends before it starts, a cycle in the team asked for, a rate that is
    /// missing for the currency asked for, or an overlay that names no open deal or gives numbers out of range; else what
    /// the lake met.
    async fn forecast(&self, tenant_id: &str, question: &ForecastQuestion) -> Result<Vec<Forecast>, Failure>;

    /// The forecast of each team and person with deals, a row a currency and node, each after the node above it. Cost: beside
    /// that of a forecast, for each node a sorting of the draws.
    ///
    /// # Errors
    /// As [`ForecastService::forecast`]; also for any cycle in the hierarchy, and for more than a thousand nodes.
    async fn by_node(
        &self,
        tenant_id: &str,
        question: &ForecastQuestion,
    ) -> Result<Vec<ForecastNode>, Failure>;

    /// How good the forecasts were of the periods before the one asked about, each as of its own time: a row a currency,
    /// node (all, teams, people), elapsed share and method. Cost: that of a forecast for each elapsed share.
    ///
    /// # Errors
    /// As [`ForecastService::forecast`].
    async fn accuracy(
        &self,
        tenant_id: &str,
        question: &ForecastQuestion,
    ) -> Result<Vec<ForecastAccuracy>, Failure>;
}
