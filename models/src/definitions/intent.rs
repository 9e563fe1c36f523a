//! `intent.toml`: families of signals, each with its own half-life and cap, and the surge.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::{Check, Definition, engagement::MachineWeights};
use crate::{decay::ACCOUNT_HALF_LIVES, saturation::Curve};

/// Intent of an account, 0-1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// `intent`.
    pub name: String,
    /// Rises with every change of meaning.
    pub version: u32,
    /// Sum at which 0.63 is reached.
    pub saturation: f64,
    /// Worth of events that a machine made.
    pub machine: MachineWeights,
    /// Families of signals.
    pub families: BTreeMap<String, Family>,
    /// Event types and the family each belongs to.
    pub events: BTreeMap<String, Signal>,
    /// The acceleration of first-party activity.
    pub surge: Surge,
    /// Event types, those of a family together.
    #[serde(skip)]
    pub(crate) order: Vec<RankedSignal>,
    #[serde(skip)]
    index: HashMap<String, usize>,
}

/// A family of signals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// Half-life class in days: 7, 14, 60, 90 or 180.
    pub half_life_days: u16,
    /// Most that the family's decayed weights can add up to.
    pub cap: f64,
}

/// What one signal is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// Family it belongs to.
    pub family: String,
    /// Worth when fresh; above 0.
    pub weight: f64,
    /// Multiplier for outbound events; 1 unless stated.
    #[serde(default = "one")]
    pub outbound: f64,
    /// What one is called.
    pub singular: String,
    /// What several are called.
    pub plural: String,
}

const fn one() -> f64 {
    1.0
}

/// When activity counts as accelerating.
///
/// `z = (fast - expected) / sqrt(expected / 2 + 1/2)`, where `fast` is the decayed count at the fast half-life and
/// `expected` what it would be at the rate that the slow half-life shows; the half is the variance of a decayed
/// Poisson count, the other the guard against certainty from nothing. The strength is a logistic of z, 0 for z <= 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Surge {
    /// Families whose events are counted.
    pub families: Vec<String>,
    /// Fast half-life class in days.
    pub fast_days: u16,
    /// Slow half-life class in days; above the fast one.
    pub slow_days: u16,
    /// Worth of a full surge.
    pub weight: f64,
    /// z at which half of the weight is reached.
    pub midpoint_z: f64,
    /// Steepness of the logistic.
    pub slope: f64,
    /// Below this many fast-decayed events there is no surge; it counts in full from twice as many.
    pub min_count: f64,
}

/// A signal at its place in the order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RankedSignal {
    pub(crate) event_type: String,
    pub(crate) family: usize,
    pub(crate) half_life_days: u16,
    pub(crate) cap: f64,
    pub(crate) surges: bool,
    pub(crate) signal: Signal,
}

impl Intent {
    /// The place of an event type in the order; `None` when it is no signal.
    pub(crate) fn place(&self, event_type: &str) -> Option<usize> {
        self.index.get(event_type).copied()
    }

    /// The saturating curve.
    pub(crate) const fn curve(&self) -> Curve {
        Curve {
            top: 1.0,
            scale: self.saturation,
        }
    }
}

impl Surge {
    /// Strength 0-1 from fast and slow decayed counts. Falls as time passes without events.
    #[must_use]
    pub fn strength(&self, fast: f64, slow: f64) -> f64 {
        let expected = slow * f64::from(self.fast_days) / f64::from(self.slow_days);
        let z = (fast - expected) / (expected / 2.0 + 0.5).sqrt();
        let guard = ((fast - self.min_count) / self.min_count).clamp(0.0, 1.0);
        if z <= 0.0 || guard <= 0.0 {
            return 0.0;
        }
        let logistic = |z: f64| 1.0 / (1.0 + (-self.slope * (z - self.midpoint_z)).exp());
        let floor = logistic(0.0);
        guard * (logistic(z) - floor) / (1.0 - floor)
    }

    fn check(&self, check: &mut Check, families: &BTreeMap<String, Family>) {
        for (place, family) in self.families.iter().enumerate() {
            check.one_of(
                &["surge", "families", &place.to_string()],
                family,
                families.keys().map(String::as_str),
            );
        }
        check.half_life(&["surge", "fast_days"], self.fast_days, ACCOUNT_HALF_LIVES);
        check.half_life(&["surge", "slow_days"], self.slow_days, ACCOUNT_HALF_LIVES);
        let rising = self.fast_days < self.slow_days;
        check.ensure(
            &["surge", "slow_days"],
            rising,
            format!("must be above fast_days ({})", self.fast_days),
        );
        check.within(&["surge", "weight"], self.weight, 0.0, 100.0);
        check.finite(&["surge", "midpoint_z"], self.midpoint_z);
        check.positive(&["surge", "slope"], self.slope);
        check.positive(&["surge", "min_count"], self.min_count);
    }
}

impl Definition for Intent {
    const NAME: &'static str = "intent";
    const SHIPPED: &'static str = include_str!("../../definitions/intent.toml");

    fn header(&self) -> (&str, u32) {
        (&self.name, self.version)
    }

    fn check(&self, check: &mut Check) {
        check.positive(&["saturation"], self.saturation);
        self.machine.check(check);
        for (name, family) in &self.families {
            check.half_life(
                &["families", name, "half_life_days"],
                family.half_life_days,
                ACCOUNT_HALF_LIVES,
            );
            check.positive(&["families", name, "cap"], family.cap);
        }
        for (name, signal) in &self.events {
            let at = |key| ["events", name.as_str(), key];
            check.event_type(&["events", name], name);
            check.one_of(
                &at("family"),
                &signal.family,
                self.families.keys().map(String::as_str),
            );
            check.positive(&at("weight"), signal.weight);
            check.within(&at("outbound"), signal.outbound, 0.0, 10.0);
            check.named(&at("singular"), &signal.singular);
            check.named(&at("plural"), &signal.plural);
        }
        self.surge.check(check, &self.families);
    }

    fn prepare(&mut self) {
        let families: Vec<(&String, &Family)> = self.families.iter().collect();
        for (event_type, signal) in &self.events {
            if let Some(family) = families.iter().position(|(name, _)| **name == signal.family) {
                let limits = families[family].1;
                self.order.push(RankedSignal {
                    event_type: event_type.clone(),
                    family,
                    half_life_days: limits.half_life_days,
                    cap: limits.cap,
                    surges: self.surge.families.contains(&signal.family),
                    signal: signal.clone(),
                });
            }
        }
        self.order.sort_by_key(|ranked| ranked.family);
        for (place, ranked) in self.order.iter().enumerate() {
            self.index.insert(ranked.event_type.clone(), place);
        }
    }
}
