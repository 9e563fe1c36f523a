//! What is scored of a company: intent, fit, and what its contacts add up to.

mod engagement;
mod fit;
mod health;
mod intent;
mod members;
mod relationship;
#[cfg(test)]
mod tests;

use revgauge_contract::{Timestamp, score::Score};

pub use self::intent::intent_crossing;
use crate::{
    assembly::Detail, definitions::Definitions, facts::AccountFacts, fingerprint::account_fingerprint,
};

/// The scores of an account at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountScores {
    /// Intent 0-1.
    pub intent: Score,
    /// Fit 0-1.
    pub fit: Score,
    /// Engagement 0-100, rolled up from the contacts.
    pub engagement: Score,
    /// Relationship strength 0-100.
    pub relationship: Score,
    /// Account health 0-100.
    pub health: Score,
}

/// Scores an account. A pure function of definitions, facts (its members already scored) and instant.
#[must_use]
pub fn score_account(
    definitions: &Definitions,
    facts: &AccountFacts,
    at: Timestamp,
    detail: Detail,
) -> AccountScores {
    let fingerprint = account_fingerprint(facts);
    let engagement = engagement::score(&definitions.account_engagement, facts, &fingerprint, detail);
    let relationship = relationship::score(&definitions.relationship, facts, &fingerprint, at, detail);
    let rolled_up = health::RolledUp {
        engagement: engagement.value,
        relationship: relationship.value,
    };
    AccountScores {
        intent: intent::score(&definitions.intent, facts, &fingerprint, at, detail),
        fit: fit::score(&definitions.fit, facts, &fingerprint, at, detail),
        health: health::score(
            &definitions.account_health,
            facts,
            rolled_up,
            &fingerprint,
            at,
            detail,
        ),
        engagement,
        relationship,
    }
}
