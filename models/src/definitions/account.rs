//! `account_engagement.toml`, `relationship.toml`, `account_health.toml`: what a company's contacts add up to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Check, Definition};
use crate::{decay::ACCOUNT_HALF_LIVES, saturation::Curve};

/// Engagement of an account, 0-100, rolled up from its contacts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountEngagement {
    /// `account_engagement`.
    pub name: String,
    /// Rises with every change of meaning.
    pub version: u32,
    /// How members are combined.
    pub policy: RollUp,
    /// `champion`: share of the most engaged member; the rest of the weight is on the mean of the others.
    pub champion_share: f64,
    /// `max_breadth`: share of breadth; the rest of the weight is on the most engaged member.
    pub breadth_share: f64,
    /// `max_breadth`: engaged members at which breadth is full.
    pub breadth_contacts: u32,
    /// `max_breadth`: engagement from which on a member counts as engaged.
    pub engaged_from: f64,
    /// `seniority_weighted`: weight of a member without any authority, against 1 for full authority.
    pub seniority_floor: f64,
    /// Members named in contributions; the others are one part together.
    pub listed_members: usize,
}

/// How members are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollUp {
    /// `share * max + (1 - share) * mean(others)`; without others their mean is 0.
    Champion,
    /// `(1 - share) * max + share * 100 * min(1, engaged / breadth_contacts)`.
    MaxBreadth,
    /// Mean weighted by authority.
    SeniorityWeighted,
}

impl Definition for AccountEngagement {
    const NAME: &'static str = "account_engagement";
    const SHIPPED: &'static str = include_str!("../../definitions/account_engagement.toml");

    fn header(&self) -> (&str, u32) {
        (&self.name, self.version)
    }

    fn check(&self, check: &mut Check) {
        check.within(&["champion_share"], self.champion_share, 0.0, 1.0);
        check.within(&["breadth_share"], self.breadth_share, 0.0, 1.0);
        check.ensure(
            &["breadth_contacts"],
            self.breadth_contacts > 0,
            "must be 1 or more",
        );
        check.within(&["engaged_from"], self.engaged_from, 0.0, 100.0);
        check.within(&["seniority_floor"], self.seniority_floor, 0.01, 1.0);
        check.ensure(&["listed_members"], self.listed_members > 0, "must be 1 or more");
    }
}

/// Relationship strength of an account, 0-100: a saturated sum over its contacts of
/// `two-way * recency * authority`, so that more people, more senior and more recent all count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relationship {
    /// `relationship`.
    pub name: String,
    /// Rises with every change of meaning.
    pub version: u32,
    /// Sum at which 63 points are reached; one two-way contact of full authority heard today is 1.
    pub saturation: f64,
    /// Days without a word after which a contact counts half.
    pub half_life_days: f64,
    /// Weight of a contact who was heard but never answered, against 1.
    pub one_way: f64,
    /// Weight of a contact without any authority, against 1 for full authority.
    pub authority_floor: f64,
    /// Authority assumed where it is unscored.
    pub unknown_authority: f64,
    /// Members named in contributions; the others are one part together.
    pub listed_members: usize,
}

impl Relationship {
    /// The saturating curve.
    pub(crate) const fn curve(&self) -> Curve {
        Curve {
            top: 100.0,
            scale: self.saturation,
        }
    }
}

impl Definition for Relationship {
    const NAME: &'static str = "relationship";
    const SHIPPED: &'static str = include_str!("../../definitions/relationship.toml");

    fn header(&self) -> (&str, u32) {
        (&self.name, self.version)
    }

    fn check(&self, check: &mut Check) {
        check.positive(&["saturation"], self.saturation);
        check.positive(&["half_life_days"], self.half_life_days);
        check.within(&["one_way"], self.one_way, 0.0, 1.0);
        check.within(&["authority_floor"], self.authority_floor, 0.0, 1.0);
        check.within(&["unknown_authority"], self.unknown_authority, 0.0, 1.0);
        check.ensure(&["listed_members"], self.listed_members > 0, "must be 1 or more");
    }
}

/// Health of an account, 0-100: a weighted mean of what is known, less penalties.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountHealth {
    /// `account_health`.
    pub name: String,
    /// Rises with every change of meaning.
    pub version: u32,
    /// Weights of the components.
    pub weights: HealthWeights,
    /// The trend component.
    pub trend: Trend,
    /// The outcome component.
    pub outcomes: Outcomes,
    /// Half-life class in days of penalties.
    pub penalty_half_life_days: u16,
    /// Points taken by one fresh event of a type.
    pub penalties: BTreeMap<String, Penalty>,
}

/// Weights of the components of account health.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthWeights {
    /// Engagement of the account.
    pub engagement: f64,
    /// Whether activity rises or falls.
    pub trend: f64,
    /// Relationship strength.
    pub relationship: f64,
    /// Deals won and lost.
    pub outcomes: f64,
}

/// Fast decayed rate of first-party activity against the slow one: `log2(fast / slow)` from `-span` to `span` is 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trend {
    /// Event types counted (people only).
    pub events: Vec<String>,
    /// Fast half-life class in days.
    pub fast_days: u16,
    /// Slow half-life class in days; above the fast one.
    pub slow_days: u16,
    /// Doublings from the middle to either end.
    pub span: f64,
    /// Slow-decayed events below which there is no trend to speak of.
    pub min_count: f64,
}

/// `(won + prior * strength) / (won + lost + strength)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcomes {
    /// Win rate assumed before any deal closed, 0-1.
    pub prior: f64,
    /// Deals that the assumption is worth.
    pub strength: f64,
}

/// A penalty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Penalty {
    /// Points taken by one fresh event; above 0.
    pub points: f64,
    /// What one is called.
    pub singular: String,
    /// What several are called.
    pub plural: String,
}

impl Definition for AccountHealth {
    const NAME: &'static str = "account_health";
    const SHIPPED: &'static str = include_str!("../../definitions/account_health.toml");

    fn header(&self) -> (&str, u32) {
        (&self.name, self.version)
    }

    fn check(&self, check: &mut Check) {
        let HealthWeights {
            engagement,
            trend,
            relationship,
            outcomes,
        } = self.weights;
        let weights = [
            ("engagement", engagement),
            ("trend", trend),
            ("relationship", relationship),
            ("outcomes", outcomes),
        ];
        for (name, weight) in weights {
            check.positive(&["weights", name], weight);
        }
        self.trend.check(check);
        check.within(&["outcomes", "prior"], self.outcomes.prior, 0.0, 1.0);
        check.positive(&["outcomes", "strength"], self.outcomes.strength);
        check.half_life(
            &["penalty_half_life_days"],
            self.penalty_half_life_days,
            ACCOUNT_HALF_LIVES,
        );
        for (name, penalty) in &self.penalties {
            check.event_type(&["penalties", name], name);
            check.positive(&["penalties", name, "points"], penalty.points);
            check.named(&["penalties", name, "singular"], &penalty.singular);
            check.named(&["penalties", name, "plural"], &penalty.plural);
        }
    }
}

impl Trend {
    fn check(&self, check: &mut Check) {
        for (place, name) in self.events.iter().enumerate() {
            check.event_type(&["trend", "events", &place.to_string()], name);
        }
        check.half_life(&["trend", "fast_days"], self.fast_days, ACCOUNT_HALF_LIVES);
        check.half_life(&["trend", "slow_days"], self.slow_days, ACCOUNT_HALF_LIVES);
        let rising = self.fast_days < self.slow_days;
        check.ensure(
            &["trend", "slow_days"],
            rising,
            format!("must be above fast_days ({})", self.fast_days),
        );
        check.positive(&["trend", "span"], self.span);
        check.positive(&["trend", "min_count"], self.min_count);
    }
}
