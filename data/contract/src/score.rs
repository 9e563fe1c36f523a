//! Scores as values: what a score is, what it is made of, how it changed, and the feed's schema.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Timestamp, error::Failure, schema::timestamp_type, statistics::Knowledge, text::TextSignal};

/// What is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntityKind {
    /// A person.
    Contact,
    /// A company.
    Account,
    /// An opportunity.
    Deal,
    /// The tenant itself: its cut-offs.
    Tenant,
}

impl EntityKind {
    /// The text stored in `entity_kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Account => "account",
            Self::Deal => "deal",
            Self::Tenant => "tenant",
        }
    }
}

/// One part of a score; the parts of a score sum to its value (S-1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// Stable name such as `email.replied` or `rule:no_next_meeting`.
    pub factor: String,
    /// Points of the score it stands for; negative for penalties.
    pub points: f64,
    /// For people: "3 replies, the last 2 days ago".
    pub reason: String,
    /// What to do about it, for risks (AC-09).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub advice: Option<String>,
}

/// One score of one entity at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Name: `engagement`, `intent`, `fit`, `authority`, `priority`, `health`, ...
    pub name: String,
    /// The value; `None` means unscored, and then `unscored_because` says why (S-4).
    pub value: Option<f64>,
    /// Why there is no value.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unscored_because: Option<String>,
    /// Tier or band label where the score has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tier: Option<String>,
    /// Parts that sum to the value.
    pub contributions: Vec<Contribution>,
    /// Definition that made it, `name@version` (S-2).
    pub definition: String,
    /// Fingerprint of the features read (S-2).
    pub fingerprint: String,
    /// Facts beside the value: completeness, crossing time, best hour, counts with and without machines, ...
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub facts: BTreeMap<String, Value>,
}

/// All scores of an entity at an instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntityScores {
    /// What.
    pub entity_kind: EntityKind,
    /// Canonical id (after merges).
    pub entity_id: String,
    /// The instant the scores are for: decay is computed to it, knowledge ends at it.
    pub as_of: Timestamp,
    /// The scores.
    pub scores: Vec<Score>,
}

/// Why a score changed between two instants: parts that sum to the difference, decay named as its own part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeExplanation {
    /// Score name.
    pub name: String,
    /// Earlier instant.
    pub from: Timestamp,
    /// Later instant.
    pub to: Timestamp,
    /// Value at `from`.
    pub old_value: Option<f64>,
    /// Value at `to`.
    pub new_value: Option<f64>,
    /// Parts: factor `decay` is what time alone did, the others what became known in between.
    pub parts: Vec<Contribution>,
}

/// An alert on a deal, contact or account, or on the tenant's own models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What.
    pub entity_kind: EntityKind,
    /// Which.
    pub entity_id: String,
    /// Rule name.
    pub rule: String,
    /// `high`, `medium` or `low`.
    pub severity: String,
    /// For people.
    pub message: String,
    /// What to do (AC-09).
    pub advice: String,
    /// Since when the rule holds, where known.
    pub since: Option<Timestamp>,
    /// The instant it was looked at.
    pub as_of: Timestamp,
}

/// Accounts that look like one company but are not merged in the CRM (SO-68).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DuplicateAccounts {
    /// What they share: `domain` or `name`.
    pub shared: String,
    /// The shared registered domain, or the shared name without case, punctuation and legal form.
    pub key: String,
    /// Canonical account ids, at least two, sorted.
    pub account_ids: Vec<String>,
    /// How much the evidence says that they are one company, 0 to 1: a rank, not a calibrated probability.
    pub confidence: f64,
    /// What speaks for it and against it, for people.
    pub evidence: Vec<String>,
}

/// Why an entry was written to the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// New events.
    Event,
    /// Time alone, at its computed instant (N-5).
    Decay,
    /// A new definition version.
    Definition,
    /// The tenant's cut-offs were cut anew.
    Recut,
}

impl Cause {
    /// The text stored in `cause`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Decay => "decay",
            Self::Definition => "definition",
            Self::Recut => "recut",
        }
    }
}

/// One entry of the score feed (N-21).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreChange {
    /// Whose.
    pub tenant_id: String,
    /// What.
    pub entity_kind: EntityKind,
    /// Which.
    pub entity_id: String,
    /// Score name; `cutoffs` for a tenant's cut-offs (then `detail` holds them).
    pub score: String,
    /// Value in the entry before.
    pub old_value: Option<f64>,
    /// Value now.
    pub new_value: Option<f64>,
    /// Tier in the entry before.
    pub old_tier: Option<String>,
    /// Tier now.
    pub new_tier: Option<String>,
    /// The largest part of the change, for people.
    pub reason: String,
    /// Why it was written.
    pub cause: Cause,
    /// The instant it is for.
    pub as_of: Timestamp,
    /// `name@version` of the definition.
    pub definition: String,
    /// Fingerprint of the features.
    pub fingerprint: String,
    /// JSON: contributions, or the cut-offs.
    pub detail: String,
}

static SCORE_CHANGES: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8View, nullable);
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    Arc::new(Schema::new(vec![
        text("tenant_id", false),
        Field::new("position", DataType::Int64, false),
        Field::new("row", DataType::Int64, false),
        text("entity_kind", false),
        text("entity_id", false),
        text("score", false),
        number("old_value"),
        number("new_value"),
        text("old_tier", true),
        text("new_tier", true),
        text("reason", false),
        text("cause", false),
        Field::new("as_of", timestamp_type(), false),
        text("definition", false),
        text("fingerprint", false),
        text("detail", false),
    ]))
});

/// Schema of the score feed; `position` and `row` are the cursor of the entry.
#[must_use]
pub fn score_changes() -> SchemaRef {
    Arc::clone(&SCORE_CHANGES)
}

/// Which rows and columns of [`scores_table`] are asked for, so that no others are computed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScoreRows {
    /// Canonical ids; all when `None`.
    pub ids: Option<Vec<String>>,
    /// Names of scores; all when `None`.
    pub scores: Option<BTreeSet<String>>,
    /// Columns that are read; all when `None`. Any other may hold anything of its type.
    pub columns: Option<BTreeSet<String>>,
}

impl ScoreRows {
    /// Every row and column.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Whether a score is asked for.
    #[must_use]
    pub fn wants_score(&self, name: &str) -> bool {
        self.scores.as_ref().is_none_or(|scores| scores.contains(name))
    }

    /// Whether a column is read.
    #[must_use]
    pub fn reads(&self, column: &str) -> bool {
        self.columns
            .as_ref()
            .is_none_or(|columns| columns.contains(column))
    }
}

/// What changed between two revisions of a tenant's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordChanges {
    /// The revision now, to be asked about next time; never zero.
    pub revision: u64,
    /// Canonical ids whose records may be others, or are gone.
    pub ids: Vec<String>,
    /// These are all there are: what was read before is to be forgotten.
    pub whole: bool,
}

/// Answers for scores, now and as of the past. Implemented by `models`, called by every door.
#[async_trait]
pub trait ScoreService: Send + Sync {
    /// Scores of one entity. The id may be any key of it (id, address, domain, merged id).
    ///
    /// `at` is the instant decay is computed to; `knowledge` what was known. For "as of t" both are t.
    ///
    /// # Errors
    /// `NotFound` when nothing is known of the entity.
    async fn scores(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<EntityScores, Failure>;

    /// Like [`Self::scores`], with contributions split down to single recent events where they are known.
    ///
    /// # Errors
    /// As [`Self::scores`].
    async fn explain(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<EntityScores, Failure>;

    /// Why each score changed between two instants, knowledge as of each.
    ///
    /// # Errors
    /// `User` when `from > to`; `NotFound` when nothing is known of the entity at `to`.
    async fn explain_change(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<ChangeExplanation>, Failure>;

    /// Scores of the entities of a kind, in long form: columns of [`scores_table`].
    ///
    /// About the past, every row is for `at`. About now, each row says in `as_of` for which instant it is: `at`, or where
    /// rows are kept and neither names nor explanations are asked for, one shortly before. Its value is what scoring at
    /// that instant gave.
    ///
    /// # Errors
    /// What the statistics met.
    async fn table(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        rows: &ScoreRows,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<Vec<RecordBatch>, Failure>;

    /// Like [`Self::objects`] as of now, without what is known through other entities: the CRM's own fields, identity, and
    /// what follows from a deal's history. Costs a fraction of it.
    ///
    /// # Errors
    /// What the statistics met.
    async fn own_records(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        ids: Option<&[String]>,
    ) -> Result<Vec<Value>, Failure> {
        self.objects(tenant_id, entity_kind, ids, Knowledge::Now).await
    }

    /// Which records of a kind may answer [`Self::own_records`] otherwise than at an earlier revision; `None` when that is
    /// not followed, so that nobody keeps answers. Everything acknowledged before the call is in it.
    ///
    /// # Errors
    /// What the statistics met.
    async fn changed_since(
        &self,
        _tenant_id: &str,
        _entity_kind: EntityKind,
        _revision: u64,
    ) -> Result<Option<RecordChanges>, Failure> {
        Ok(None)
    }

    /// CRM state of all objects of a kind as JSON records: contacts, accounts, deals with derived facts
    /// (`contact_keys`, `stage_entered_at`, `slips`, ...). `ids` limits to some.
    ///
    /// # Errors
    /// What the statistics met.
    async fn objects(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        ids: Option<&[String]>,
        knowledge: Knowledge,
    ) -> Result<Vec<Value>, Failure>;

    /// Alerts that hold at the instant, most severe first; with ids those of these deals alone. About now, an alert may be
    /// told as it stood shortly before: see [`Alert::as_of`].
    ///
    /// # Errors
    /// What the statistics met.
    async fn alerts(
        &self,
        tenant_id: &str,
        ids: Option<&[String]>,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<Vec<Alert>, Failure>;

    /// Companies that are several accounts (SO-68), the surest first. Costs one pass over all accounts.
    ///
    /// # Errors
    /// What the statistics met.
    async fn duplicates(
        &self,
        tenant_id: &str,
        knowledge: Knowledge,
    ) -> Result<Vec<DuplicateAccounts>, Failure>;

    /// Signals in the texts of all deals that are within their retention at the instant, and the texts not read.
    ///
    /// # Errors
    /// What the statistics met.
    async fn text_signals(
        &self,
        tenant_id: &str,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<Vec<TextSignal>, Failure>;

    /// Every layer-1 key that is this entity (ids, addresses, domains, merged ids), for timelines.
    ///
    /// # Errors
    /// `NotFound` when nothing is known of the entity.
    async fn keys(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        knowledge: Knowledge,
    ) -> Result<Vec<String>, Failure>;
}

static SCORES_TABLE: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8View, nullable);
    Arc::new(Schema::new(vec![
        text("tenant_id", false),
        text("entity_kind", false),
        text("entity_id", false),
        text("name", true),
        text("account_id", true),
        text("owner_id", true),
        text("score", false),
        Field::new("value", DataType::Float64, true),
        text("tier", true),
        text("unscored_because", true),
        text("reasons", false),
        text("contributions", false),
        text("facts", false),
        text("definition", false),
        text("fingerprint", false),
        Field::new("as_of", timestamp_type(), false),
    ]))
});

/// Schema of [`ScoreService::table`]: one row per entity and score; `reasons` is the top three for people,
/// `contributions` and `facts` are JSON text.
#[must_use]
pub fn scores_table() -> SchemaRef {
    Arc::clone(&SCORES_TABLE)
}
