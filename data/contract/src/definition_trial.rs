//! Trying a definition before it goes live: what is asked, what is answered, and who answers (N-11, N-26).

use async_trait::async_trait;
use serde::Serialize;

use crate::{Timestamp, error::Failure, score::EntityKind};

/// A definition that scores for a tenant now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DefinitionInForce {
    /// Its name, such as `deal_health`.
    pub name: String,
    /// `name@version+hash`, as scores name it.
    pub id: String,
    /// Whether it was published for this tenant by an administrator.
    pub published: bool,
    /// Its TOML text.
    pub text: String,
}

/// A key that differs between two texts of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedKey {
    /// Key path.
    pub key: String,
    /// Value before as TOML; absent where the key is new.
    pub before: Option<String>,
    /// Value after as TOML; absent where the key is gone.
    pub after: Option<String>,
}

/// What a definition would do, beside what the one in force does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DefinitionTrial {
    /// The definition in force.
    pub id_before: String,
    /// The one that is tried.
    pub id_after: String,
    /// What differs in their texts; comments and layout do not count.
    pub changed_keys: Vec<ChangedKey>,
    /// Instants of the past at which both were asked.
    pub origins: Vec<Timestamp>,
    /// Scores of which at least one value or tier is another, or that tell of an outcome.
    pub scores: Vec<ScoreTrial>,
}

/// One score under both definitions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreTrial {
    /// Whose score.
    pub entity_kind: EntityKind,
    /// Its name.
    pub score: String,
    /// Entities that are scored now under either.
    pub entities: usize,
    /// Those whose value moves by more than 1e-9, or whose tier is another.
    pub changed: usize,
    /// Mean value before.
    pub mean_before: Option<f64>,
    /// Mean value after.
    pub mean_after: Option<f64>,
    /// Each tier with the entities in it before and after.
    pub tiers: Vec<(String, usize, usize)>,
    /// The largest moves.
    pub moves: Vec<ScoreMove>,
    /// How well it told what came, for scores that say something of an outcome.
    pub backtest: Option<Backtest>,
}

/// One entity whose score would be another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreMove {
    /// The entity.
    pub entity_id: String,
    /// Value and tier before.
    pub before: (Option<f64>, Option<String>),
    /// Value and tier after.
    pub after: (Option<f64>, Option<String>),
}

/// Scores at instants of the past against what came after them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backtest {
    /// What is looked for, in words.
    pub outcome: String,
    /// Entities and instants looked at.
    pub rows: usize,
    /// Of these, where it came.
    pub came: usize,
    /// Probability that one where it came stands above one where it did not, before and after: 0.5 tells nothing.
    pub auc: (Option<f64>, Option<f64>),
    /// Share where it came among the top tenth over the share among all, before and after.
    pub lift: (Option<f64>, Option<f64>),
    /// Each tier with the share where it came, before and after.
    pub tiers: Vec<(String, Option<f64>, Option<f64>)>,
}

/// Shows, tries and publishes the definitions of a tenant.
#[async_trait]
pub trait DefinitionDesk: Send + Sync {
    /// What scores for a tenant now, by name.
    fn in_force(&self, tenant_id: &str) -> Vec<DefinitionInForce>;

    /// Scores everything with a text in place of the definition in force, now and at instants of the past. Nothing is
    /// stored. Cost: a pass over all entities under both for each instant.
    ///
    /// # Errors
    /// `User` for an unknown name or a text that states something that cannot be meant, with file, line and key.
    async fn try_out(&self, tenant_id: &str, name: &str, text: &str) -> Result<DefinitionTrial, Failure>;

    /// Puts a text in force for a tenant from now on, or with none what is configured. Recorded before anything is scored
    /// with it, and kept over restarts.
    ///
    /// # Errors
    /// As [`Self::try_out`]; else what the store met, and nothing is changed then.
    async fn publish(&self, tenant_id: &str, name: &str, text: Option<&str>) -> Result<(), Failure>;
}
