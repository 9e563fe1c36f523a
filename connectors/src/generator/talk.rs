//! What is said in a recorded conversation: sentences whose signals are known, so that finding them can be checked.

use rand::{Rng, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use revgauge_contract::event::EventDraft;
use serde_json::{Value, json};

use super::{
    account::Account,
    activity::Drive,
    emit::{Day, with},
};

/// Something one side says, and the signals a person would mark in it.
type Line = (&'static str, &'static str, &'static [&'static str]);

const OPENINGS: &[Line] = &[
    (
        "rep",
        "Thanks for your time; this call is being recorded, is that all right?",
        &[],
    ),
    ("rep", "Thanks for making time today.", &["missing_disclosure"]),
];
const PLAIN: &[Line] = &[
    (
        "buyer",
        "We still build the forecast in spreadsheets every Monday morning.",
        &[],
    ),
    (
        "rep",
        "How many people work on it, and what happens when it is wrong?",
        &[],
    ),
    (
        "buyer",
        "Three of us, and last quarter we missed by a fifth.",
        &[],
    ),
    (
        "rep",
        "Let me show you how the pipeline looked on any day of the past.",
        &[],
    ),
    ("buyer", "The team liked the explanation beside each score.", &[]),
    (
        "rep",
        "Customers of your size report two days a month saved.",
        &[],
    ),
];
const DECIDERS: &[Line] = &[
    (
        "buyer",
        "Our CFO will want to see the accuracy report.",
        &["decision_maker"],
    ),
    (
        "buyer",
        "Marta is the budget owner, she joins next time.",
        &["decision_maker", "pricing"],
    ),
    (
        "buyer",
        "I have to run it by my director first.",
        &["decision_maker_absent"],
    ),
];
const OBJECTIONS: &[Line] = &[
    (
        "buyer",
        "Honestly, that is too expensive for us right now.",
        &["price_objection"],
    ),
    (
        "buyer",
        "It's more than we expected to pay.",
        &["price_objection"],
    ),
];
const ANSWERS: &[Line] = &[
    (
        "rep",
        "Let's look at the business case together, it pays for itself within a year.",
        &[],
    ),
    (
        "rep",
        "We could start with a smaller package and a phased rollout.",
        &[],
    ),
];
const RIVALS: &[Line] = &[
    (
        "buyer",
        "We are also looking at Forecastly.",
        &["competitor_named"],
    ),
    (
        "buyer",
        "Dealwise showed us something similar last week.",
        &["competitor_named"],
    ),
    (
        "buyer",
        "There is another vendor in the last round.",
        &["competitor_named"],
    ),
];
const SLIPS_OF_TONGUE: &[Line] = &[
    ("rep", "We guarantee a better forecast.", &["unapproved_claim"]),
    (
        "rep",
        "Between us, Dealwise is going bankrupt.",
        &["competitor_named", "disparagement"],
    ),
];
const CONCRETE: &[Line] = &[
    (
        "rep",
        "Then we meet on Thursday at 10:00 with your IT lead, I send the invite now.",
        &[],
    ),
    (
        "rep",
        "I send the security answers tomorrow and we review them on Friday.",
        &[],
    ),
];
const VAGUE: &[Line] = &[
    (
        "rep",
        "Great, let's touch base in a few weeks.",
        &["vague_next_step"],
    ),
    (
        "buyer",
        "We'll get back to you at some point.",
        &["vague_next_step"],
    ),
];

impl Account {
    /// Adds the transcript of each conversation that the deal had today. Its choices come from numbers of its own, so
    /// that everything else stays as it is for a seed.
    pub(super) fn record_talks(&self, day: &mut Day, drive: Drive) {
        let talks: Vec<EventDraft> = day
            .drafts
            .iter()
            .filter(|draft| draft.deal_id.is_some())
            .filter(|draft| {
                matches!(
                    draft.event_type.as_deref(),
                    Some("call.completed" | "meeting.attended")
                )
            })
            .cloned()
            .collect();
        for (number, talk) in (0_u64..).zip(talks) {
            let seed = (u64::from(self.index) << 32) ^ (u64::from(day.number) << 8) ^ number;
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let amount = self
                .deals
                .iter()
                .find(|deal| Some(&deal.deal_id) == talk.deal_id.as_ref())
                .map(|deal| deal.amount);
            let (fields, Some(at)) = (conversation(&mut rng, drive, amount), talk.event_time) else {
                continue;
            };
            let recorded = EventDraft {
                event_id: None,
                value: None,
                direction: None,
                ..talk
            };
            day.push(with(recorded, fields), "transcript.recorded", at);
        }
    }
}

/// A payload: segments, consent, and under `labels` the signals that were put in.
fn conversation(rng: &mut ChaCha8Rng, drive: Drive, amount: Option<f64>) -> Value {
    let mut segments = Vec::new();
    let mut labels = std::collections::BTreeSet::new();
    let mut say = |rng: &mut ChaCha8Rng, lines: &[Line]| {
        let (role, text, signals) = lines[rng.random_range(0..lines.len())];
        segments.push(json!({"role": role, "text": text}));
        labels.extend(signals.iter().map(|signal| (*signal).to_owned()));
    };
    let chance = |rng: &mut ChaCha8Rng, probability: f64| rng.random_bool(probability.clamp(0.0, 1.0));
    let care = (drive.skill - 0.5).clamp(0.0, 1.0);
    let careful = chance(rng, 0.75 + 0.25 * care);
    say(rng, &OPENINGS[usize::from(!careful)..][..1]);
    for _ in 0..rng.random_range(1..4) {
        say(rng, PLAIN);
    }
    if chance(rng, 0.25 + 0.3 * drive.intent) {
        say(rng, DECIDERS);
    }
    if chance(rng, 0.2) {
        say(rng, RIVALS);
    }
    if chance(rng, 0.3 - 0.15 * drive.intent) {
        say(rng, OBJECTIONS);
        if chance(rng, 0.3 + 0.6 * care) {
            say(rng, ANSWERS);
        }
    }
    if chance(rng, 0.08 * (1.0 - care)) {
        say(rng, SLIPS_OF_TONGUE);
    }
    let vague = chance(rng, 0.5 - 0.35 * drive.intent);
    say(rng, if vague { VAGUE } else { CONCRETE });
    if let Some(amount) = amount.filter(|_| chance(rng, 0.15)) {
        let wrong = chance(rng, 0.2);
        let stated = if wrong { (amount * 0.8).round() } else { amount };
        segments.push(json!({"role": "rep", "text": format!("In total the quote comes to ${stated:.0}.")}));
        labels.insert("pricing".to_owned());
        if wrong {
            labels.insert("pricing_mismatch".to_owned());
        }
    }
    let consent = chance(rng, 0.95);
    json!({"consent": consent, "language": "en", "segments": segments, "labels": labels})
}
