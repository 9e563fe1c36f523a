//! `priority.toml`: how fit, intent and engagement become one number, and which numbers are which tier.

use serde::{Deserialize, Serialize};

use super::{Check, Definition};

/// Priority and tier of a contact, 0-1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Priority {
    /// `priority`.
    pub name: String,
    /// Rises with every change of meaning.
    pub version: u32,
    /// How the axes are combined.
    pub combination: Combination,
    /// Weights of the axes.
    pub weights: AxisWeights,
    /// How tiers are cut.
    pub policy: TierPolicy,
    /// Lower bounds of tiers 3, 2 and 1 of the priority, rising: 0.40, 0.60, 0.80.
    pub cut_offs: [f64; 3],
    /// Shares of the population below tiers 3, 2 and 1, rising: 0.20, 0.50, 0.80.
    pub shares: [f64; 3],
    /// Hysteresis: a tier is left only when the priority is this far beyond its bound.
    pub band: f64,
    /// Below this many scored contacts there are no percentiles to speak of, and tiers are cut absolutely.
    pub min_population: usize,
}

/// How the axes are combined, over those that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combination {
    /// Weighted arithmetic mean.
    WeightedMean,
    /// Weighted geometric mean: a zero on one axis cannot be made up for.
    Geometric,
}

/// Weights of the axes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AxisWeights {
    /// Fit of the account.
    pub fit: f64,
    /// Intent of the account.
    pub intent: f64,
    /// Engagement of the contact; 0 leaves it out.
    pub engagement: f64,
}

/// How tiers are cut (REQUIREMENTS part 2, item 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TierPolicy {
    /// `cut_offs` on the raw priority.
    Absolute,
    /// The tenant's percentiles of the raw priority at `shares`.
    Quantile,
    /// The raw priority is mapped so that the percentiles at `shares` become `cut_offs`; both hold at once.
    Anchored,
}

impl Definition for Priority {
    const NAME: &'static str = "priority";
    const SHIPPED: &'static str = include_str!("../../definitions/priority.toml");

    fn header(&self) -> (&str, u32) {
        (&self.name, self.version)
    }

    fn check(&self, check: &mut Check) {
        let AxisWeights {
            fit,
            intent,
            engagement,
        } = self.weights;
        for (axis, weight) in [("fit", fit), ("intent", intent), ("engagement", engagement)] {
            check.within(&["weights", axis], weight, 0.0, 1_000.0);
        }
        check.ensure(
            &["weights"],
            fit + intent + engagement > 0.0,
            "at least one axis must have a weight",
        );
        for (key, bounds) in [("cut_offs", &self.cut_offs), ("shares", &self.shares)] {
            check.ascending(&[key], bounds);
            for (place, bound) in bounds.iter().enumerate() {
                check.within(&[key, &place.to_string()], *bound, 0.001, 0.999);
            }
        }
        let closest = self
            .cut_offs
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .fold(1.0, f64::min);
        let apart = self.band >= 0.0 && 2.0 * self.band < closest;
        let message = format!(
            "must be from 0 to below half the distance of the cut-offs, got {}",
            self.band
        );
        check.ensure(&["band"], apart, message);
    }
}
