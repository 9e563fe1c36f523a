//! What reports are: the waterfall between two instants, and what a standard report says of itself.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, error::Failure};

/// Which moves of the pipeline are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaterfallQuestion {
    /// Earlier instant: the state of knowledge at the start.
    pub from: Timestamp,
    /// Later instant.
    pub to: Timestamp,
    /// `to` is the instant of asking: stages and people are those known now, and no past state has to be read.
    pub latest: bool,
    /// Every move in between (gross), or the difference of the two states alone (net).
    pub gross: bool,
    /// Only deals whose close date is in `[start, end)`; all when absent.
    pub period: Option<(Timestamp, Timestamp)>,
    /// Only deals of these owners; all when absent.
    pub owner_ids: Option<Vec<String>>,
    /// Only deals of the people below this one and its own, by `manager_id`.
    pub team_of: Option<String>,
    /// Only deals of this sales pipeline.
    pub pipeline: Option<String>,
    /// Balance each group by itself.
    pub group_by: WaterfallGroup,
}

impl WaterfallQuestion {
    /// All deals, net, in one group per currency.
    #[must_use]
    pub const fn net(from: Timestamp, to: Timestamp) -> Self {
        Self {
            from,
            to,
            latest: false,
            gross: false,
            period: None,
            owner_ids: None,
            team_of: None,
            pipeline: None,
            group_by: WaterfallGroup::None,
        }
    }
}

/// By what a waterfall is split; currencies are always apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaterfallGroup {
    /// Not at all.
    #[default]
    None,
    /// By stage.
    Stage,
    /// By forecast category.
    ForecastCategory,
    /// By owner.
    Owner,
    /// By sales pipeline.
    Pipeline,
}

impl WaterfallGroup {
    /// All, for messages.
    pub const NAMES: [&'static str; 5] = ["none", "stage", "forecast_category", "owner", "pipeline"];

    /// By the name used in requests.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "stage" => Some(Self::Stage),
            "forecast_category" => Some(Self::ForecastCategory),
            "owner" => Some(Self::Owner),
            "pipeline" => Some(Self::Pipeline),
            _ => None,
        }
    }
}

/// A bar of the waterfall. `Start` plus all bars between equals `End`, to the cent (F-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// Open and in scope at the earlier instant.
    Start,
    /// Not known at all before.
    Created,
    /// Deleted, or merged into another, and now back.
    Restored,
    /// Closed before, open again.
    Reopened,
    /// Close date moved into the period from later.
    PulledIn,
    /// Close date moved into the period from earlier, or given at last.
    SlippedIn,
    /// Owner or pipeline came into the scope.
    TransferredIn,
    /// Came into this group from another one.
    MovedIn,
    /// Amount raised.
    AmountUp,
    /// Amount lowered.
    AmountDown,
    /// Left this group for another one.
    MovedOut,
    /// Owner or pipeline left the scope.
    TransferredOut,
    /// Close date moved to after the period.
    SlippedOut,
    /// Close date moved to before the period, or taken away.
    PulledOut,
    /// Closed won.
    Won,
    /// Closed lost.
    Lost,
    /// Merged into another deal.
    Merged,
    /// Deleted.
    Deleted,
    /// Open and in scope at the later instant.
    End,
}

impl Bucket {
    /// The text shown in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Created => "created",
            Self::Restored => "restored",
            Self::Reopened => "reopened",
            Self::PulledIn => "pulled_in",
            Self::SlippedIn => "slipped_in",
            Self::TransferredIn => "transferred_in",
            Self::MovedIn => "moved_in",
            Self::AmountUp => "amount_up",
            Self::AmountDown => "amount_down",
            Self::MovedOut => "moved_out",
            Self::TransferredOut => "transferred_out",
            Self::SlippedOut => "slipped_out",
            Self::PulledOut => "pulled_out",
            Self::Won => "won",
            Self::Lost => "lost",
            Self::Merged => "merged",
            Self::Deleted => "deleted",
            Self::End => "end",
        }
    }
}

/// What one deal adds to one bar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaterfallPart {
    /// Which deal.
    pub deal_id: String,
    /// The bar.
    pub bucket: Bucket,
    /// Signed amount, hundredths of the currency unit.
    pub amount_cents: i64,
    /// Currency; empty when the deal names none.
    pub currency: String,
    /// Group it belongs to; empty when not grouped.
    pub group: String,
    /// When it became known: an instant between the two for gross, the later one for net.
    pub at: Timestamp,
    /// Owner after the move.
    pub owner_id: String,
    /// Stage before the move; empty when there was none.
    pub stage_from: String,
    /// Stage after the move.
    pub stage_to: String,
}

/// How what was won is divided among the kinds of touch before it (EC-11, EC-30).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributionModel {
    /// To the kind that came first.
    First,
    /// To the kind that was used last before the close.
    Last,
    /// To each kind alike.
    Linear,
    /// 40 % first, 40 % last, the rest alike.
    Position,
    /// By nearness to the close, half-life 7 days.
    TimeDecay,
    /// By what a chain of touches loses without the kind.
    Markov,
    /// By the kind's mean difference to the win rate over all sets of kinds; may be negative.
    Shapley,
}

impl AttributionModel {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::First,
        Self::Last,
        Self::Linear,
        Self::Position,
        Self::TimeDecay,
        Self::Markov,
        Self::Shapley,
    ];

    /// The name used in requests and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Last => "last",
            Self::Linear => "linear",
            Self::Position => "position",
            Self::TimeDecay => "time_decay",
            Self::Markov => "markov",
            Self::Shapley => "shapley",
        }
    }

    /// By the name used in requests.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.as_str() == name)
    }
}

/// What one kind of touch is credited with, in one currency.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttributedCredit {
    /// Kind of touch: an event type, or `other` for the rarest.
    pub kind: String,
    /// Currency; empty where the deals name none.
    pub currency: String,
    /// Won deals whose account had a touch of this kind before the close.
    pub touched_deals: usize,
    /// Share of won deals credited; sums to the won deals with a touch.
    pub deals: f64,
    /// Worth credited, currency units; sums to what the won deals with a touch were worth.
    pub amount: f64,
}

/// Answers for reports that SQL alone cannot compute. Implemented by `models`.
#[async_trait]
pub trait ReportService: Send + Sync {
    /// The parts of a waterfall, by group, currency, bucket, then deal. For each group and currency the amounts of all
    /// parts but [`Bucket::End`] sum to those of `End`.
    ///
    /// Cost: the tenant's deal change log in memory, one pass over it.
    ///
    /// # Errors
    /// `User` when the instants or the period are the wrong way round, `Limit` when the log is too large.
    async fn waterfall(
        &self,
        tenant_id: &str,
        question: &WaterfallQuestion,
    ) -> Result<Vec<WaterfallPart>, Failure>;

    /// What each kind of touch is credited with for the deals that closed in `[start, end)`, as known at an instant, or now
    /// when that is absent; by currency, then most credited. `period` absent: all closed deals. Touches by machines are
    /// left out.
    ///
    /// Cost: the tenant's deal change log and the statistics of the accounts whose deals closed; for an instant, also the
    /// CRM as it was then, many times as much.
    ///
    /// # Errors
    /// `User` when the period is the wrong way round, `Limit` when the log is too large.
    async fn attribution(
        &self,
        tenant_id: &str,
        model: AttributionModel,
        period: Option<(Timestamp, Timestamp)>,
        as_of: Option<Timestamp>,
    ) -> Result<Vec<AttributedCredit>, Failure>;
}

/// How a column of a report is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnFormat {
    /// As it is.
    Text,
    /// A whole number.
    Integer,
    /// A number with decimals.
    Decimal,
    /// An amount of money in the currency of the row.
    Money,
    /// A share, 0-1, shown as per cent.
    Percent,
    /// A span in days.
    Days,
    /// An instant, shown as a date.
    Date,
    /// An instant.
    Instant,
    /// Yes or no.
    Flag,
}

/// Whether a measure may be added up (N-20).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Additivity {
    /// Over every dimension: counts and amounts of things that happened.
    Additive,
    /// Over every dimension but time: levels, such as the open pipeline. Over time the last value stands.
    SemiAdditive,
    /// Over none: rates, medians, averages.
    NonAdditive,
}

/// How a report is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chart {
    /// Rows and columns.
    Table,
    /// Bars, a category each.
    Bar,
    /// A line over time.
    Line,
    /// Steps that narrow.
    Funnel,
    /// A single number.
    Number,
}

/// A column of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportColumn {
    /// Name as the SQL gives it.
    pub name: String,
    /// How it is shown.
    pub format: ColumnFormat,
    /// Whether it may be added up; absent for dimensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additivity: Option<Additivity>,
}

/// A standard report: a named SQL view and what a reader must know of it (EC-26).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Name; the view is `report_<name>`.
    pub name: String,
    /// Subject it is listed under: `pipeline`, `forecast`, `activity`, ...
    pub group: String,
    /// For people.
    pub title: String,
    /// The question it answers.
    pub question: String,
    /// How it is computed, where that is not plain.
    pub description: String,
    /// What one row is.
    pub grain: String,
    /// How it is drawn; the first column is the axis.
    pub chart: Chart,
    /// Its columns in order.
    pub columns: Vec<ReportColumn>,
    /// The query. `{as_of}` stands for the instant of the answer.
    pub sql: String,
}
