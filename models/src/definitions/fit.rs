//! `fit.toml`: criteria over the known fields of a company.

use serde::{Deserialize, Serialize};

use super::{Check, Definition};

/// Fit of an account, 0-1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// `fit`.
    pub name: String,
    /// Rises with every change of meaning.
    pub version: u32,
    /// How sure old firmographics still are (SO-71).
    pub certainty: Certainty,
    /// The criteria.
    pub criteria: Vec<Criterion>,
}

/// Ageing of firmographics: with age the fit moves from what the fields say towards `prior`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certainty {
    /// Field that holds the time of the last enrichment; without it fields count as fresh.
    pub field: String,
    /// Days after which half of the certainty is left.
    pub half_life_days: f64,
    /// Fit of a company of which nothing is certain any more, 0-1.
    pub prior: f64,
}

/// One criterion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Criterion {
    /// Name, which is the factor of its contribution.
    pub name: String,
    /// Weight; above 0.
    pub weight: f64,
    /// Names of the field, the first known one is read. A name that ends in `:` means all fields that begin so, and
    /// reads what follows (`tech:` reads the technologies).
    pub fields: Vec<String>,
    /// Rules in order, the first that matches gives the points.
    pub rules: Vec<Rule>,
    /// Points of a known value that no rule matches.
    #[serde(default)]
    pub otherwise: f64,
}

/// One rule of a criterion: words, or a range of numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Matches when the value contains one of these as whole words, case aside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<String>,
    /// Matches numbers from here (inclusive).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Matches numbers below here (exclusive).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// -1 to 1; negative takes away from the fit.
    pub points: f64,
}

impl Criterion {
    /// Whether it can add to the fit; only such criteria count in the denominator.
    pub(crate) fn can_gain(&self) -> bool {
        self.otherwise > 0.0 || self.rules.iter().any(|rule| rule.points > 0.0)
    }

    fn check(&self, check: &mut Check, place: &str) {
        let at = |key| ["criteria", place, key];
        check.named(&at("name"), &self.name);
        check.positive(&at("weight"), self.weight);
        check.ensure(
            &at("fields"),
            !self.fields.is_empty(),
            "must name at least one field",
        );
        check.within(&at("otherwise"), self.otherwise, -1.0, 1.0);
        check.ensure(
            &at("rules"),
            !self.rules.is_empty(),
            "must have at least one rule",
        );
        for (number, rule) in self.rules.iter().enumerate() {
            rule.check(check, place, &number.to_string());
        }
    }
}

impl Rule {
    fn check(&self, check: &mut Check, place: &str, number: &str) {
        let here = ["criteria", place, "rules", number];
        check.within(
            &["criteria", place, "rules", number, "points"],
            self.points,
            -1.0,
            1.0,
        );
        let numeric = self.min.is_some() || self.max.is_some();
        check.ensure(
            &here,
            numeric == self.any_of.is_empty(),
            "must have either 'any_of' or 'min'/'max'",
        );
        if let (Some(min), Some(max)) = (self.min, self.max) {
            check.ensure(
                &here,
                min < max,
                format!("'min' ({min}) must be below 'max' ({max})"),
            );
        }
        for bound in [self.min, self.max].into_iter().flatten() {
            check.finite(&here, bound);
        }
    }
}

impl Definition for Fit {
    const NAME: &'static str = "fit";
    const SHIPPED: &'static str = include_str!("../../definitions/fit.toml");

    fn header(&self) -> (&str, u32) {
        (&self.name, self.version)
    }

    fn check(&self, check: &mut Check) {
        check.named(&["certainty", "field"], &self.certainty.field);
        check.positive(&["certainty", "half_life_days"], self.certainty.half_life_days);
        check.within(&["certainty", "prior"], self.certainty.prior, 0.0, 1.0);
        let can_gain = self.criteria.iter().any(Criterion::can_gain);
        check.ensure(
            &["criteria"],
            can_gain,
            "at least one criterion must be able to add to the fit",
        );
        for (place, criterion) in self.criteria.iter().enumerate() {
            criterion.check(check, &place.to_string());
            let twice = self.criteria[..place]
                .iter()
                .any(|earlier| earlier.name == criterion.name);
            check.ensure(
                &["criteria", &place.to_string(), "name"],
                !twice,
                format!("'{}' is there twice", criterion.name),
            );
        }
    }

    fn prepare(&mut self) {
        for rule in self
            .criteria
            .iter_mut()
            .flat_map(|criterion| &mut criterion.rules)
        {
            for word in &mut rule.any_of {
                *word = crate::words::normal(word);
            }
        }
    }
}
