//! `deal_health.toml`: which rules lower a deal's health, from where to where, and what to do about each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Check, Definition, engagement::Band};

/// The rules that the deal code can measure, by name.
pub const DEAL_RULES: &[&str] = &[
    "no_activity",
    "no_follow_up",
    "ghosted",
    "champion_gone_dark",
    "no_next_meeting",
    "overdue",
    "single_threaded",
    "no_power",
    "stalled",
    "slips",
    "vague_next_step",
    "price_objection",
    "competitor_named",
    "decision_maker_absent",
    "pricing_not_mentioned",
    "red_flag",
];

/// Those of [`DEAL_RULES`] that read what was said.
pub const TEXT_RULES: &[&str] = &[
    "vague_next_step",
    "price_objection",
    "competitor_named",
    "decision_maker_absent",
    "pricing_not_mentioned",
    "red_flag",
];

/// Health of a deal, 1-100.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DealHealth {
    /// `deal_health`.
    pub name: String,
    /// Rises with every change of meaning.
    pub version: u32,
    /// Points beyond a bound at which a deal leaves its band.
    pub band_margin: f64,
    /// Usual days in a stage while the tenant has too few deals to tell.
    pub default_stage_days: f64,
    /// Spells in a stage from which the tenant's own median is used.
    pub min_stage_spells: usize,
    /// Bands by their lower bound, rising.
    pub bands: Vec<Band>,
    /// Event types by what they mean for a deal.
    pub activity: ActivityKinds,
    /// How engaged contacts count.
    pub contacts: ContactRules,
    /// Rules by name; a rule left out is off.
    pub rules: BTreeMap<String, HealthRule>,
}

/// Event types by what they mean for a deal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivityKinds {
    /// Either side reached the other.
    pub contact: Vec<String>,
    /// The buyer answered.
    pub answer: Vec<String>,
    /// We tried.
    pub attempt: Vec<String>,
}

/// How engaged contacts count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactRules {
    /// Days after the last answer until which a contact counts fully.
    pub fresh_days: f64,
    /// Days after the last answer from which it does not count.
    pub faded_days: f64,
    /// Engaged contacts a deal should have.
    pub required: f64,
    /// Buying authority, 0-1, from which one contact is power enough.
    pub power: f64,
    /// Age in days at which missing people begin to count.
    pub grace_start_days: f64,
    /// Age in days at which they count fully.
    pub grace_full_days: f64,
}

/// How bad an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Act today.
    High,
    /// Act this week.
    Medium,
    /// Know it.
    Low,
}

impl Severity {
    /// The text in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// One rule: `points * ramp(quantity)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthRule {
    /// What the quantity is, for people.
    pub measure: String,
    /// Quantity at which the penalty begins.
    pub start: f64,
    /// Quantity at which it is full; above `start`.
    pub full: f64,
    /// Points taken when full.
    pub points: f64,
    /// Quantity from which the rule is an alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<f64>,
    /// How bad.
    pub severity: Severity,
    /// What to do (AC-09).
    pub advice: String,
}

impl HealthRule {
    /// The share of the points taken at a quantity, 0-1.
    #[must_use]
    pub fn ramp(&self, quantity: f64) -> f64 {
        ((quantity - self.start) / (self.full - self.start)).clamp(0.0, 1.0)
    }
}

impl DealHealth {
    /// The band of a value; one held before is left only beyond the margin.
    #[must_use]
    pub fn band(&self, value: f64, previous: Option<&str>) -> Option<&str> {
        let raw = self.bands.iter().rposition(|band| value >= band.at_least)?;
        let held = previous.and_then(|label| self.bands.iter().position(|band| band.label == label));
        let stays = held.is_some_and(|held| {
            let low = self.bands[held].at_least - self.band_margin;
            let high = self
                .bands
                .get(held + 1)
                .map_or(f64::INFINITY, |next| next.at_least + self.band_margin);
            value >= low && value < high
        });
        let place = held.filter(|_| stays).unwrap_or(raw);
        Some(&self.bands[place].label)
    }
}

impl Definition for DealHealth {
    const NAME: &'static str = "deal_health";
    const SHIPPED: &'static str = include_str!("../../definitions/deal_health.toml");

    fn header(&self) -> (&str, u32) {
        (&self.name, self.version)
    }

    fn check(&self, check: &mut Check) {
        check.within(&["band_margin"], self.band_margin, 0.0, 50.0);
        check.positive(&["default_stage_days"], self.default_stage_days);
        self.check_bands(check);
        let lists = [
            ("contact", &self.activity.contact),
            ("answer", &self.activity.answer),
            ("attempt", &self.activity.attempt),
        ];
        for (key, types) in lists {
            for (place, name) in types.iter().enumerate() {
                check.event_type(&["activity", key, &place.to_string()], name);
            }
        }
        let contacts = &self.contacts;
        check.positive(&["contacts", "required"], contacts.required);
        check.positive(&["contacts", "fresh_days"], contacts.fresh_days);
        check.within(&["contacts", "power"], contacts.power, 0.01, 1.0);
        check.ascending(
            &["contacts", "faded_days"],
            &[contacts.fresh_days, contacts.faded_days],
        );
        check.ascending(
            &["contacts", "grace_full_days"],
            &[contacts.grace_start_days, contacts.grace_full_days],
        );
        for (name, rule) in &self.rules {
            check.one_of(&["rules", name], name, DEAL_RULES.iter().copied());
            check.finite(&["rules", name, "start"], rule.start);
            check.finite(&["rules", name, "full"], rule.full);
            check.ascending(&["rules", name, "full"], &[rule.start, rule.full]);
            check.within(&["rules", name, "points"], rule.points, 0.0, 99.0);
            if let Some(alert) = rule.alert {
                check.finite(&["rules", name, "alert"], alert);
            }
            check.named(&["rules", name, "advice"], &rule.advice);
        }
    }
}

impl DealHealth {
    fn check_bands(&self, check: &mut Check) {
        check.ensure(&["bands"], !self.bands.is_empty(), "must hold at least one band");
        let bounds: Vec<f64> = self.bands.iter().map(|band| band.at_least).collect();
        check.ascending(&["bands"], &bounds);
        for (place, band) in self.bands.iter().enumerate() {
            let place = place.to_string();
            check.within(&["bands", &place, "at_least"], band.at_least, 0.0, 100.0);
            check.named(&["bands", &place, "label"], &band.label);
        }
    }
}
