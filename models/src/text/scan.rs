//! Finds the signals of one text: phrases, negations, sentences and speakers put together.

use std::ops::Range;

use crate::{
    definitions::{
        deal_health::Severity,
        text_signals::{SignalRule, TextSignals},
    },
    text::{
        amounts::{Amount, amounts},
        document::{Consent, Document, Role, Turn},
        phrases::{Found, Meaning},
        sentences::sentences,
    },
};

/// A signal at a place of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Signal name.
    pub signal: String,
    /// How bad.
    pub severity: Severity,
    /// Bytes of the phrase, on character bounds; of the whole first sentence for a missing disclosure.
    pub span: Range<usize>,
    /// Bytes of its sentence.
    pub sentence: Range<usize>,
    /// Speaker as given.
    pub speaker: Option<String>,
    /// Side, where it is told.
    pub role: Option<Role>,
    /// For price objections: whether our side answered soon after.
    pub answered: Option<bool>,
    /// For named competitors and pricing mismatches: the name or figure as said.
    pub value: Option<String>,
    /// What to do or say instead.
    pub suggestion: String,
}

/// Why a text was not analysed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// No consent where it is needed, or refused.
    Consent,
    /// In another language than the phrases.
    Language,
}

impl Withheld {
    /// The text in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consent => "no consent",
            Self::Language => "another language",
        }
    }
}

/// What a text says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Analysis {
    /// Hits by their place.
    pub hits: Vec<Hit>,
    /// Why nothing was looked for.
    pub withheld: Option<Withheld>,
}

/// Whether a text may be analysed.
fn withheld(rules: &TextSignals, document: &Document) -> Option<Withheld> {
    let needed = rules.consent_required.contains(&document.event_type);
    match document.consent {
        Consent::Refused => return Some(Withheld::Consent),
        Consent::Unknown if needed => return Some(Withheld::Consent),
        Consent::Given | Consent::Unknown => {}
    }
    let other = document
        .language
        .as_deref()
        .is_some_and(|language| language.split(['-', '_']).next() != Some(rules.language.as_str()));
    other.then_some(Withheld::Language)
}

struct Sentence<'a> {
    range: Range<usize>,
    turn: &'a Turn,
    found: Vec<Found>,
}

impl Sentence<'_> {
    fn means(&self, meaning: Meaning) -> bool {
        self.found.iter().any(|found| found.meaning == meaning)
    }

    /// Whether that side says it, or may: a speaker who is not known counts as either.
    fn may_be_by(&self, role: Option<Role>) -> bool {
        role.is_none_or(|role| self.turn.role.is_none_or(|said_by| said_by == role))
    }
}

/// Finds the signals of a text. Amounts are those the deal has had; without any, no price can mismatch.
///
/// Cost: one pass of the automaton and one over the sentences; a text longer than `max_text_bytes` is cut there.
#[must_use]
pub fn analyse(rules: &TextSignals, document: &Document, deal_amounts: &[f64]) -> Analysis {
    if let Some(reason) = withheld(rules, document) {
        return Analysis {
            hits: Vec::new(),
            withheld: Some(reason),
        };
    }
    let Some(automaton) = rules.automaton() else {
        return Analysis::default();
    };
    let mut limit = document.text.len().min(rules.max_text_bytes);
    while !document.text.is_char_boundary(limit) {
        limit -= 1;
    }
    let text = &document.text[..limit];
    let said = in_sentences(rules, document, text, automaton.find(text));
    let mut hits = Vec::new();
    for (number, sentence) in said.iter().enumerate() {
        for (place, (name, rule)) in rules.signals.iter().enumerate() {
            let Some((span, value)) = hit(rules, text, sentence, place, name, rule, deal_amounts) else {
                continue;
            };
            hits.push(Hit {
                answered: (name == "price_objection").then(|| answered(rules, &said[number..])),
                ..told(name, rule, sentence, span, value)
            });
        }
    }
    if let (Some(first), Some(rule)) = (said.first(), rules.signals.get("missing_disclosure"))
        && rules.disclosure.types.contains(&document.event_type)
        && !said
            .iter()
            .any(|sentence| sentence.may_be_by(Some(Role::Rep)) && sentence.means(Meaning::Disclosure))
    {
        hits.push(told("missing_disclosure", rule, first, first.range.clone(), None));
    }
    hits.sort_by(|a, b| (a.span.start, a.span.end, &a.signal).cmp(&(b.span.start, b.span.end, &b.signal)));
    Analysis { hits, withheld: None }
}

/// Sentences of all turns with the phrases that lie within each.
fn in_sentences<'a>(
    rules: &TextSignals,
    document: &'a Document,
    text: &str,
    found: Vec<Found>,
) -> Vec<Sentence<'a>> {
    let mut said: Vec<Sentence<'a>> = Vec::new();
    for turn in &document.turns {
        if turn.range.start >= text.len() {
            break;
        }
        let within = turn.range.start..turn.range.end.min(text.len());
        let ranges = sentences(text, within, &rules.abbreviations);
        said.extend(ranges.into_iter().map(|range| Sentence {
            range,
            turn,
            found: Vec::new(),
        }));
    }
    for found in found {
        let place = said.partition_point(|sentence| sentence.range.end < found.range.end);
        if let Some(sentence) = said
            .get_mut(place)
            .filter(|sentence| sentence.range.start <= found.range.start)
        {
            sentence.found.push(found);
        }
    }
    said
}

/// The first and longest phrase of a signal in a sentence, if the sentence is a hit.
fn hit(
    rules: &TextSignals,
    text: &str,
    sentence: &Sentence<'_>,
    place: usize,
    name: &str,
    rule: &SignalRule,
    deal_amounts: &[f64],
) -> Option<(Range<usize>, Option<String>)> {
    if !sentence.may_be_by(rule.speaker) || sentence.means(Meaning::Unless(place)) {
        return None;
    }
    if rule.with_competitor && !sentence.means(Meaning::Competitor) {
        return None;
    }
    let named = |found: &&Found| name == "competitor_named" && found.meaning == Meaning::Competitor;
    if let Some(found) = sentence.found.iter().find(named) {
        return Some((found.range.clone(), Some(text[found.range.clone()].to_owned())));
    }
    let phrase = sentence.found.iter().find(|found| match found.meaning {
        Meaning::Hit(of, negatable) => {
            of == place && !(negatable && negated(rules, &text[sentence.range.start..found.range.start]))
        }
        _ => false,
    })?;
    if name != "pricing_mismatch" {
        return Some((phrase.range.clone(), None));
    }
    let amount = mismatch(
        amounts(text, sentence.range.clone()),
        deal_amounts,
        rules.pricing.tolerance,
    )?;
    let value = text[amount.range.clone()].to_owned();
    Some((amount.range, Some(value)))
}

/// The first amount that is far from all that the deal has had.
fn mismatch(stated: Vec<Amount>, deal_amounts: &[f64], tolerance: f64) -> Option<Amount> {
    let near = |value: f64| {
        deal_amounts
            .iter()
            .any(|amount| (value - amount).abs() <= tolerance * amount.abs())
    };
    if deal_amounts.is_empty() || stated.iter().any(|amount| near(amount.value)) {
        return None;
    }
    stated.into_iter().next()
}

/// Whether one of the last words before a phrase negates it.
fn negated(rules: &TextSignals, before: &str) -> bool {
    before
        .rsplit(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '’'))
        .filter(|word| !word.is_empty())
        .take(rules.negation_words)
        .any(|word| {
            let word = word.to_lowercase();
            word.ends_with("n't") || word.ends_with("n’t") || rules.negations.contains(&word)
        })
}

/// Whether our side answers in the sentence of an objection or in one of the next.
fn answered(rules: &TextSignals, from: &[Sentence<'_>]) -> bool {
    from.iter()
        .take(rules.answers.within_sentences + 1)
        .any(|sentence| sentence.turn.role != Some(Role::Buyer) && sentence.means(Meaning::Answer))
}

fn told(
    name: &str,
    rule: &SignalRule,
    sentence: &Sentence<'_>,
    span: Range<usize>,
    value: Option<String>,
) -> Hit {
    Hit {
        signal: name.to_owned(),
        severity: rule.severity,
        span,
        sentence: sentence.range.clone(),
        speaker: sentence.turn.speaker.clone(),
        role: sentence.turn.role,
        answered: None,
        value,
        suggestion: rule.suggestion.clone(),
    }
}
