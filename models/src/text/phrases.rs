//! All phrases of a definition as one automaton (Aho and Corasick 1975): one pass over a text finds every one.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::definitions::text_signals::{Negated, TextSignals};

/// What a phrase stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A hit of the signal at this place of the rules; `bool`: a negation takes it back.
    Hit(usize, bool),
    /// Takes back hits of that signal in its sentence.
    Unless(usize),
    /// Names a competitor.
    Competitor,
    /// Answers a price objection.
    Answer,
    /// Is the disclosure.
    Disclosure,
}

/// The compiled phrases.
#[derive(Debug)]
pub struct Automaton {
    search: AhoCorasick,
    meanings: Vec<Meaning>,
}

/// A phrase found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) range: Range<usize>,
    pub(super) meaning: Meaning,
}

impl Automaton {
    /// Compiles the phrases; `None` when they are too many for one automaton (four thousand million states).
    pub(crate) fn of(rules: &TextSignals) -> Option<Self> {
        let mut phrases: Vec<String> = Vec::new();
        let mut meanings = Vec::new();
        let mut add = |phrase: &str, meaning: Meaning| {
            phrases.push(phrase.to_owned());
            meanings.push(meaning);
            if phrase.contains('\'') {
                phrases.push(phrase.replace('\'', "’"));
                meanings.push(meaning);
            }
        };
        for (place, rule) in rules.signals.values().enumerate() {
            for phrase in &rule.phrases {
                let negatable = rule.negated == Negated::Skip && !rule.negated_keep.contains(phrase);
                add(phrase, Meaning::Hit(place, negatable));
            }
            for phrase in &rule.unless {
                add(phrase, Meaning::Unless(place));
            }
        }
        for phrase in &rules.competitors {
            add(phrase, Meaning::Competitor);
        }
        for phrase in &rules.answers.phrases {
            add(phrase, Meaning::Answer);
        }
        for phrase in &rules.disclosure.phrases {
            add(phrase, Meaning::Disclosure);
        }
        let search = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(&phrases)
            .ok()?;
        Some(Self { search, meanings })
    }

    /// Every phrase that stands in the text between word bounds, by its place.
    ///
    /// A pattern is whole UTF-8 text and only ASCII is folded, so that a match lies on character bounds.
    pub(super) fn find(&self, text: &str) -> Vec<Found> {
        let mut found: Vec<Found> = self
            .search
            .find_overlapping_iter(text)
            .filter(|hit| is_bound(text, hit.start()) && is_bound(text, hit.end()))
            .map(|hit| Found {
                range: hit.range(),
                meaning: self.meanings[hit.pattern().as_usize()],
            })
            .collect();
        found.sort_by_key(|found| (found.range.start, std::cmp::Reverse(found.range.end)));
        found
    }
}

/// Whether a place does not lie within a word or number.
fn is_bound(text: &str, place: usize) -> bool {
    let wordy = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    !(wordy(text[..place].chars().next_back()) && wordy(text[place..].chars().next()))
}
