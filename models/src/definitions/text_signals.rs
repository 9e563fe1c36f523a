//! `text_signals.toml`: the phrases of each text signal, who may say them, and what to say instead.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize};

use super::{Check, Definition, deal_health::Severity};
use crate::text::{Automaton, Role};

/// The signals that the text code can find, by name.
pub const TEXT_SIGNALS: &[&str] = &[
    "vague_next_step",
    "price_objection",
    "competitor_named",
    "decision_maker",
    "decision_maker_absent",
    "pricing",
    "unapproved_claim",
    "disparagement",
    "pricing_mismatch",
    "missing_disclosure",
];

/// What is looked for in transcripts, mails and notes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSignals {
    /// `text_signals`.
    pub name: String,
    /// Rises with every change of meaning.
    pub version: u32,
    /// Language of the phrases, as in a payload's `language` (`en`).
    pub language: String,
    /// Days after which a text is neither read nor quoted (AC-22).
    pub retention_days: f64,
    /// Event types analysed only with consent.
    pub consent_required: Vec<String>,
    /// Bytes of a text that are analysed.
    pub max_text_bytes: usize,
    /// The tenant's competitors.
    pub competitors: Vec<String>,
    /// Words that negate.
    pub negations: Vec<String>,
    /// How many words before a phrase a negation reaches.
    pub negation_words: usize,
    /// Words after which a full stop ends no sentence.
    pub abbreviations: Vec<String>,
    /// Names of the sides.
    pub speakers: Speakers,
    /// What answers a price objection.
    pub answers: Answers,
    /// What must be said.
    pub disclosure: Disclosure,
    /// How stated amounts are compared.
    pub pricing: Pricing,
    /// Signals by name; one left out is off.
    pub signals: BTreeMap<String, SignalRule>,
    /// All phrases compiled, at the first text.
    #[serde(skip)]
    automaton: Arc<OnceLock<Option<Automaton>>>,
}

/// Names of the sides, lower case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speakers {
    /// Ours.
    pub rep: Vec<String>,
    /// Theirs.
    pub buyer: Vec<String>,
}

/// What answers a price objection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Sentences after the objection in which an answer counts.
    pub within_sentences: usize,
    /// Phrases of which one is an answer.
    pub phrases: Vec<String>,
}

/// What our side must say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disclosure {
    /// Event types in which it must be said.
    pub types: Vec<String>,
    /// Phrases of which one is enough.
    pub phrases: Vec<String>,
}

/// How stated amounts are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pricing {
    /// Share by which a stated amount may differ.
    pub tolerance: f64,
}

impl TextSignals {
    /// All phrases compiled; `None` when they are too many for one automaton.
    pub(crate) fn automaton(&self) -> Option<&Automaton> {
        self.automaton.get_or_init(|| Automaton::of(self)).as_ref()
    }
}

/// What a negation does to a phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Negated {
    /// Takes the hit back.
    Skip,
    /// Changes nothing.
    Keep,
}

/// One signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalRule {
    /// How bad.
    pub severity: Severity,
    /// Who must say it; anybody when absent. A speaker who is not known may be either side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker: Option<Role>,
    /// Phrases of which one is a hit.
    pub phrases: Vec<String>,
    /// Phrases in the same sentence that take the hit back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unless: Vec<String>,
    /// Whether a competitor must be named in the same sentence.
    #[serde(default)]
    pub with_competitor: bool,
    /// What a negation before the phrase does.
    pub negated: Negated,
    /// Phrases that carry their own negation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub negated_keep: Vec<String>,
    /// What to do or say instead (AC-09).
    pub suggestion: String,
}

impl Definition for TextSignals {
    const NAME: &'static str = "text_signals";
    const SHIPPED: &'static str = include_str!("../../definitions/text_signals.toml");

    fn header(&self) -> (&str, u32) {
        (&self.name, self.version)
    }

    fn check(&self, check: &mut Check) {
        check.named(&["language"], &self.language);
        check.within(&["retention_days"], self.retention_days, 0.0, 3_650.0);
        check.within(&["pricing", "tolerance"], self.pricing.tolerance, 0.0, 1.0);
        check.ensure(
            &["max_text_bytes"],
            (1..=16_000_000).contains(&self.max_text_bytes),
            "must be from 1 to 16000000",
        );
        for (key, types) in [
            ("consent_required", &self.consent_required),
            ("disclosure", &self.disclosure.types),
        ] {
            for name in types {
                check.event_type(&[key], name);
            }
        }
        phrases(check, &["competitors"], &self.competitors);
        phrases(check, &["answers", "phrases"], &self.answers.phrases);
        phrases(check, &["disclosure", "phrases"], &self.disclosure.phrases);
        for (name, rule) in &self.signals {
            check.one_of(&["signals", name], name, TEXT_SIGNALS.iter().copied());
            check.named(&["signals", name, "suggestion"], &rule.suggestion);
            phrases(check, &["signals", name, "phrases"], &rule.phrases);
            phrases(check, &["signals", name, "unless"], &rule.unless);
            for phrase in &rule.negated_keep {
                check.ensure(
                    &["signals", name, "negated_keep"],
                    rule.phrases.contains(phrase),
                    format!("'{phrase}' is no phrase of the signal"),
                );
            }
        }
    }
}

fn phrases(check: &mut Check, path: &[&str], phrases: &[String]) {
    for phrase in phrases {
        check.ensure(
            path,
            phrase.chars().any(char::is_alphanumeric) && phrase.trim() == phrase && phrase.len() <= 200,
            format!("'{phrase}' must hold a letter or digit, no outer spaces, and at most 200 bytes"),
        );
    }
}
