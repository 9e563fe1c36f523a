//! What the texts of one deal say together, at an instant.

use std::collections::BTreeSet;

use revgauge_contract::{Timestamp, time::DAY_US};

use super::{Analysis, DealText, Document, Hit, analyse};
use crate::definitions::text_signals::TextSignals;

/// A text with what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysed {
    /// The text.
    pub document: Document,
    /// From then on it is neither read nor quoted.
    pub expires: Timestamp,
    /// What it says.
    pub analysis: Analysis,
}

/// The texts of one deal, analysed, oldest first. A function of the set of texts: arrival order is nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TextFindings {
    texts: Vec<Analysed>,
}

impl TextFindings {
    /// Analyses rows with text. One that comes twice under one event id counts once.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "ten years fit in f64 microseconds"
    )]
    pub fn of(rules: &TextSignals, rows: &[DealText], deal_amounts: &[f64]) -> Self {
        let retention_us = (rules.retention_days * DAY_US as f64) as i64;
        let mut texts: Vec<Analysed> = rows
            .iter()
            .filter_map(|row| Document::read(row, &rules.speakers))
            .map(|document| Analysed {
                expires: document.at.plus_micros(retention_us),
                analysis: analyse(rules, &document, deal_amounts),
                document,
            })
            .collect();
        texts.sort_by(|a, b| {
            let key = |text: &Analysed| (text.document.at, text.document.event_id.clone());
            key(a)
                .cmp(&key(b))
                .then_with(|| a.document.text.cmp(&b.document.text))
        });
        texts.dedup_by(|a, b| a.document.event_id == b.document.event_id && a.document.at == b.document.at);
        Self { texts }
    }

    /// The texts within their retention at an instant, oldest first.
    pub fn alive(&self, at: Timestamp) -> impl DoubleEndedIterator<Item = &Analysed> {
        self.texts
            .iter()
            .filter(move |text| text.document.at <= at && at < text.expires)
    }

    /// The instants after `at` at which a text's retention ends, in order.
    #[must_use]
    pub fn expiries(&self, at: Timestamp) -> BTreeSet<Timestamp> {
        self.texts
            .iter()
            .map(|text| text.expires)
            .filter(|expires| *expires > at)
            .collect()
    }

    /// Everything that was found, retention aside: what the fingerprint covers.
    pub(crate) fn all(&self) -> &[Analysed] {
        &self.texts
    }

    fn read(&self, at: Timestamp) -> Vec<&Analysed> {
        self.alive(at)
            .filter(|text| text.analysis.withheld.is_none())
            .collect()
    }

    /// Measures one of the text rules of deal health: its quantity, since when, and why; `None` when no text tells.
    pub(crate) fn measure(&self, rule: &str, at: Timestamp) -> Option<(f64, Timestamp, String)> {
        let texts = self.read(at);
        let latest = texts.last()?;
        let latest_at = latest.document.at;
        let hits = |signal: &'static str| {
            texts.iter().flat_map(move |text| {
                text.analysis
                    .hits
                    .iter()
                    .filter(move |hit| hit.signal == signal)
                    .map(move |hit| (text.document.at, *text, hit))
            })
        };
        Some(match rule {
            "vague_next_step" => {
                let vague = named(&latest.analysis.hits, "vague_next_step");
                let reason = vague.first().map_or_else(
                    || "the last conversation names no vague next step".to_owned(),
                    |hit| format!("the last conversation ends vaguely: {}", quoted(latest, hit)),
                );
                (vague.len().min(1) as f64, latest_at, reason)
            }
            "price_objection" => {
                let open: Vec<_> = hits("price_objection")
                    .filter(|(_, _, hit)| hit.answered == Some(false))
                    .collect();
                let (since, reason) = open.last().map_or_else(
                    || (latest_at, "no price objection is open".to_owned()),
                    |(at, text, hit)| {
                        (
                            *at,
                            format!("a price objection was not answered: {}", quoted(text, hit)),
                        )
                    },
                );
                (open.len() as f64, since, reason)
            }
            "competitor_named" => {
                let named: Vec<_> = hits("competitor_named").collect();
                let names: BTreeSet<String> = named
                    .iter()
                    .map(|(_, _, hit)| hit.value.clone().unwrap_or_else(|| "another vendor".to_owned()))
                    .collect();
                let since = named.first().map_or(latest_at, |(at, _, _)| *at);
                let list: Vec<String> = names.iter().cloned().collect();
                (
                    names.len() as f64,
                    since,
                    format!("named in conversation: {}", list.join(", ")),
                )
            }
            "decision_maker_absent" => {
                let last = hits("decision_maker").last().map(|(at, _, _)| at);
                let without: Vec<_> = texts
                    .iter()
                    .filter(|text| Some(text.document.at) > last)
                    .collect();
                let since = without.first().map_or(latest_at, |text| text.document.at);
                let reason = match without.len() {
                    0 => "the decision maker was mentioned".to_owned(),
                    n => format!("{n} of the latest conversations mention no decision maker"),
                };
                (without.len() as f64, since, reason)
            }
            "pricing_not_mentioned" => {
                let silent = hits("pricing").chain(hits("price_objection")).next().is_none();
                let n = if silent { texts.len() } else { 0 };
                (
                    n as f64,
                    texts.first().map_or(latest_at, |text| text.document.at),
                    format!("{n} conversations without a word about price"),
                )
            }
            "red_flag" => {
                let flags: Vec<_> = ["unapproved_claim", "disparagement", "pricing_mismatch"]
                    .into_iter()
                    .flat_map(&hits)
                    .collect();
                let last = flags.iter().max_by_key(|(at, _, hit)| (*at, hit.span.start));
                let (since, reason) = last.map_or_else(
                    || (latest_at, "nothing was said that must be put right".to_owned()),
                    |(at, text, hit)| {
                        (
                            *at,
                            format!("{}: {}", hit.signal.replace('_', " "), quoted(text, hit)),
                        )
                    },
                );
                (flags.len() as f64, since, reason)
            }
            _ => return None,
        })
    }
}

fn named<'a>(hits: &'a [Hit], signal: &str) -> Vec<&'a Hit> {
    hits.iter().filter(|hit| hit.signal == signal).collect()
}

/// The sentence of a hit, cut to a length that fits an alert.
fn quoted(text: &Analysed, hit: &Hit) -> String {
    let sentence = &text.document.text[hit.sentence.clone()];
    let short: String = sentence.chars().take(120).collect();
    let more = if short.len() < sentence.len() { "…" } else { "" };
    format!("\"{short}{more}\"")
}
