//! `authority.toml`: what a title says about the power to buy, and what evidence adds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Check, Definition};
use crate::words::Lexicon;

/// Buying authority of a contact, 0-1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// `authority`.
    pub name: String,
    /// Rises with every change of meaning.
    pub version: u32,
    /// Base of somebody known by deeds alone, 0-1.
    pub unknown_title: f64,
    /// Field names.
    pub fields: AuthorityFields,
    /// Levels by name.
    pub levels: BTreeMap<String, Level>,
    /// Functions by name, with the words that mean them.
    pub functions: BTreeMap<String, Function>,
    /// Roles in the purchase as the CRM states them, with their base.
    pub roles: BTreeMap<String, Role>,
    /// What deeds add.
    pub evidence: Evidence,
    #[serde(skip)]
    pub(crate) level_words: Lexicon,
    #[serde(skip)]
    pub(crate) function_words: Lexicon,
}

/// Where to read from, first known name first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityFields {
    /// Job title.
    pub title: Vec<String>,
    /// Level as the CRM or a vendor states it; goes before the title.
    pub seniority: Vec<String>,
    /// Function as the CRM or a vendor states it; goes before the title.
    pub department: Vec<String>,
    /// Role in the purchase.
    pub role: Vec<String>,
}

/// A level of seniority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// When a title names several levels the highest rank counts, except under a level that overrides.
    pub rank: u32,
    /// Whether it counts before higher ones ("assistant to the CEO").
    #[serde(default)]
    pub overrides: bool,
    /// Base authority, 0-1.
    pub base: f64,
    /// Base for certain functions in place of `base`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_function: BTreeMap<String, f64>,
    /// Words and phrases that mean it.
    pub words: Vec<String>,
}

/// A business function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// Words and phrases that mean it.
    pub words: Vec<String>,
}

/// A role in the purchase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Base authority, 0-1; counts when it is above that of the title.
    pub base: f64,
    /// Words and phrases that mean it.
    pub words: Vec<String>,
}

/// Deeds that show authority. Each moves the score from its base towards 1 by at most `most` of the way:
/// `share = most * (1 - exp(-x))`, x the sum of the weighted counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Share of the way to 1 that deeds can make, 0-1.
    pub most: f64,
    /// Half-life class in days of the counts.
    pub half_life_days: u16,
    /// Weight of a meeting attended.
    pub meeting: f64,
    /// Weight of a call that took place.
    pub call: f64,
    /// Weight of answering every mail (times the share of mails answered, shrunk by `reply_prior`).
    pub reply_share: f64,
    /// Mails assumed unanswered before any is sent.
    pub reply_prior: f64,
}

impl Definition for Authority {
    const NAME: &'static str = "authority";
    const SHIPPED: &'static str = include_str!("../../definitions/authority.toml");

    fn header(&self) -> (&str, u32) {
        (&self.name, self.version)
    }

    fn check(&self, check: &mut Check) {
        check.within(&["unknown_title"], self.unknown_title, 0.0, 1.0);
        check.ensure(
            &["fields", "title"],
            !self.fields.title.is_empty(),
            "must name at least one field",
        );
        for (name, level) in &self.levels {
            check.within(&["levels", name, "base"], level.base, 0.0, 1.0);
            for (function, base) in &level.by_function {
                let at = ["levels", name, "by_function", function];
                check.one_of(&at, function, self.functions.keys().map(String::as_str));
                check.within(&at, *base, 0.0, 1.0);
            }
            words(check, &["levels", name, "words"], &level.words);
        }
        for (name, function) in &self.functions {
            words(check, &["functions", name, "words"], &function.words);
        }
        for (name, role) in &self.roles {
            check.within(&["roles", name, "base"], role.base, 0.0, 1.0);
            words(check, &["roles", name, "words"], &role.words);
        }
        self.evidence.check(check);
    }

    fn prepare(&mut self) {
        self.level_words = Lexicon::new(self.levels.values().map(|level| level.words.as_slice()));
        self.function_words = Lexicon::new(self.functions.values().map(|function| function.words.as_slice()));
    }
}

impl Evidence {
    fn check(&self, check: &mut Check) {
        check.within(&["evidence", "most"], self.most, 0.0, 1.0);
        check.half_life(
            &["evidence", "half_life_days"],
            self.half_life_days,
            crate::decay::CONTACT_HALF_LIVES,
        );
        check.within(&["evidence", "meeting"], self.meeting, 0.0, 100.0);
        check.within(&["evidence", "call"], self.call, 0.0, 100.0);
        check.within(&["evidence", "reply_share"], self.reply_share, 0.0, 100.0);
        check.positive(&["evidence", "reply_prior"], self.reply_prior);
    }
}

fn words(check: &mut Check, path: &[&str], words: &[String]) {
    let empty = words.is_empty() || words.iter().any(|word| crate::words::normal(word).is_empty());
    check.ensure(path, !empty, "must list at least one word, and no empty one");
}
