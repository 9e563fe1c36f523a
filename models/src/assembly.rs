//! How a score is put together, and the one place where S-1 and S-4 are checked.

use std::collections::BTreeMap;

use revgauge_contract::{
    invariant::Invariant,
    score::{Contribution, Score},
};
use serde_json::Value;

/// How much of a score is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// Value, tier, definition and fingerprint: for scoring many, where nobody reads reasons.
    Value,
    /// Contributions, reasons and facts too.
    #[default]
    Full,
}

impl Detail {
    /// Whether contributions, reasons and facts are wanted.
    #[must_use]
    pub const fn is_full(self) -> bool {
        matches!(self, Self::Full)
    }
}

/// Facts of a score by name.
pub(crate) type ScoreFacts = BTreeMap<String, Value>;

/// Names the maker of a score (S-2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maker<'a> {
    /// Score name.
    pub(crate) name: &'a str,
    /// `name@version+hash` of the definition.
    pub(crate) definition: &'a str,
    /// Fingerprint of the features.
    pub(crate) fingerprint: &'a str,
}

impl Maker<'_> {
    /// A score with a value; the contributions sum to it (S-1) unless there are none because nobody asked.
    pub(crate) fn scored(
        self,
        value: f64,
        mut contributions: Vec<Contribution>,
        facts: ScoreFacts,
        detail: Detail,
    ) -> Score {
        if detail.is_full() {
            let sum: f64 = contributions.iter().map(|part| part.points).sum();
            let scale = value.abs().max(1.0);
            Invariant::ContributionsSum.check(
                (sum - value).abs() <= 1e-9 * scale,
                format_args!("{} is {value} but its parts sum to {sum}", self.name),
            );
        }
        contributions.sort_by(|a, b| {
            b.points
                .abs()
                .total_cmp(&a.points.abs())
                .then_with(|| a.factor.cmp(&b.factor))
        });
        self.score(Some(value), None, contributions, facts)
    }

    /// No value, and why (S-4).
    pub(crate) fn unscored(self, because: impl Into<String>, facts: ScoreFacts) -> Score {
        self.score(None, Some(because.into()), Vec::new(), facts)
    }

    fn score(
        self,
        value: Option<f64>,
        unscored_because: Option<String>,
        contributions: Vec<Contribution>,
        facts: ScoreFacts,
    ) -> Score {
        Invariant::UnscoredIsNull.check(value.is_some() != unscored_because.is_some(), self.name);
        let named = !self.definition.is_empty() && !self.fingerprint.is_empty();
        Invariant::ScoreNamesItsMaker.check(named, self.name);
        Score {
            name: self.name.to_owned(),
            value,
            unscored_because,
            tier: None,
            contributions,
            definition: self.definition.to_owned(),
            fingerprint: self.fingerprint.to_owned(),
            facts,
        }
    }
}

/// A part of a score.
pub(crate) fn part(factor: impl Into<String>, points: f64, reason: impl Into<String>) -> Contribution {
    Contribution {
        factor: factor.into(),
        points,
        reason: reason.into(),
        advice: None,
    }
}
