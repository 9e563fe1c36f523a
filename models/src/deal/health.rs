//! The health score: 100 less penalties, its parts, its alerts and when its band will change.

use revgauge_contract::{
    Timestamp,
    event::Direction,
    score::{Alert, Contribution, EntityKind, Score},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    DealFacts,
    measures::{Course, Measured, Recency, measure, reached_at},
};
use crate::{
    assembly::{Detail, Maker, ScoreFacts, part},
    decay::{HORIZON_DAYS, bisect, instant_after},
    definitions::{Definitions, deal_health::HealthRule},
    directory::Outcome,
};

/// The score is never below this, so that the scale is 1-100 (AC-01).
const FLOOR: f64 = 1.0;
const BASE: f64 = 100.0;

/// Health of an open deal, 1-100; a closed one is unscored.
///
/// The parts are `base` (100) and one negative part a rule. Where the floor binds, penalties are scaled alike, so that
/// the parts still sum (S-1).
#[must_use]
pub fn score_deal(
    defs: &Definitions,
    facts: &DealFacts,
    at: Timestamp,
    previous_tier: Option<&str>,
    detail: Detail,
) -> Score {
    let fingerprint = fingerprint(facts);
    let maker = Maker {
        name: "health",
        definition: defs.deal_health.id(),
        fingerprint: &fingerprint,
    };
    let recency = Recency::of(&defs.deal_health, facts);
    let known = if detail.is_full() {
        told(facts, &recency, at)
    } else {
        ScoreFacts::new()
    };
    match facts.outcome {
        Outcome::Open => {}
        closed @ (Outcome::Won | Outcome::Lost) => {
            return maker.unscored(format!("the deal is {}", closed.as_str()), known);
        }
    }
    if facts.history.created_at.is_none() {
        return maker.unscored("the CRM has said nothing about the deal yet", known);
    }
    let penalties = penalties(defs, facts, &recency, at);
    let total: f64 = penalties.iter().map(|(_, _, points, _)| points).sum();
    let value = (BASE - total).max(FLOOR);
    let scale = if total > BASE - FLOOR {
        (BASE - FLOOR) / total
    } else {
        1.0
    };
    let parts = if detail.is_full() {
        parts(&penalties, scale)
    } else {
        Vec::new()
    };
    let mut score = maker.scored(value, parts, known, detail);
    score.tier = defs.deal_health.band(value, previous_tier).map(str::to_owned);
    score
}

type Penalty<'a> = (&'a str, &'a HealthRule, f64, Measured);

fn penalties<'a>(
    defs: &'a Definitions,
    facts: &DealFacts,
    recency: &Recency,
    at: Timestamp,
) -> Vec<Penalty<'a>> {
    let rules = &defs.deal_health;
    rules
        .rules
        .iter()
        .filter_map(|(name, rule)| {
            let measured = measure(name, rules, facts, recency, at)?;
            Some((
                name.as_str(),
                rule,
                rule.points * rule.ramp(measured.quantity),
                measured,
            ))
        })
        .collect()
}

fn parts(penalties: &[Penalty<'_>], scale: f64) -> Vec<Contribution> {
    let mut parts = vec![part("base", BASE, "a deal without warnings")];
    parts.extend(penalties.iter().filter(|(_, _, points, _)| *points > 0.0).map(
        |(name, rule, points, measured)| Contribution {
            factor: format!("rule:{name}"),
            points: -points * scale,
            reason: measured.reason.clone(),
            advice: Some(rule.advice.clone()),
        },
    ));
    parts
}

/// The rules whose quantity has reached their alert, most severe first. Closed deals have none.
#[must_use]
pub fn deal_alerts(defs: &Definitions, facts: &DealFacts, at: Timestamp) -> Vec<Alert> {
    if facts.outcome != Outcome::Open {
        return Vec::new();
    }
    let recency = Recency::of(&defs.deal_health, facts);
    let mut found: Vec<(&HealthRule, Alert)> = penalties(defs, facts, &recency, at)
        .into_iter()
        .filter(|(_, rule, _, measured)| rule.alert.is_some_and(|alert| measured.quantity >= alert))
        .map(|(name, rule, _, measured)| {
            let alert = Alert {
                entity_kind: EntityKind::Deal,
                entity_id: facts.deal_id.clone(),
                rule: name.to_owned(),
                severity: rule.severity.as_str().to_owned(),
                since: began(defs, facts, &recency, (name, rule, &measured), at),
                message: measured.reason,
                advice: rule.advice.clone(),
                as_of: at,
            };
            (rule, alert)
        })
        .collect();
    found.sort_by(|(a, alert_a), (b, alert_b)| (a.severity, &alert_a.rule).cmp(&(b.severity, &alert_b.rule)));
    found.into_iter().map(|(_, alert)| alert).collect()
}

/// When the rule's quantity reached its alert, given the facts of now.
fn began(
    defs: &Definitions,
    facts: &DealFacts,
    recency: &Recency,
    (name, rule, measured): (&str, &HealthRule, &Measured),
    at: Timestamp,
) -> Option<Timestamp> {
    let alert = rule.alert?;
    match measured.course {
        Course::Said(since) => Some(since),
        Course::Since(anchor, scale_days) => Some(reached_at(anchor, scale_days, alert)),
        Course::Stepped => {
            let slips = &facts.history.slips;
            let place = slips.iter().scan(0.0, |count, _| {
                *count += 1.0;
                Some(*count)
            });
            place
                .zip(slips)
                .find(|(count, _)| *count >= alert)
                .map(|(_, slip)| slip.at)
        }
        Course::Fading => {
            let from = facts.history.created_at?.max(recency.answer.unwrap_or_default());
            let days = bisect(0.0, at.days_since(from), |days| {
                let then = instant_after(from, days);
                measure(name, &defs.deal_health, facts, recency, then)
                    .is_some_and(|measured| measured.quantity >= alert)
            })?;
            Some(instant_after(from, days))
        }
    }
}

/// When time alone will move the deal to another band, and the band; `None` for closed deals and for the last band.
///
/// With the facts as they are, penalties only grow until a text's retention ends, so the first crossing between two such
/// instants is found by bisection, to the microsecond.
#[must_use]
pub fn deal_crossing(
    defs: &Definitions,
    facts: &DealFacts,
    at: Timestamp,
    tier: Option<&str>,
) -> Option<Timestamp> {
    let tier = tier?;
    let leaves = |days: f64| {
        let then = instant_after(at, days);
        score_deal(defs, facts, then, Some(tier), Detail::Value)
            .tier
            .as_deref()
            != Some(tier)
    };
    let mut from = 0.0;
    for expiry in facts.findings.expiries(at) {
        let until = expiry.days_since(at);
        if until >= HORIZON_DAYS {
            break;
        }
        let just_before = expiry.plus_micros(-1).days_since(at).max(from);
        if let Some(days) = bisect(from, just_before, leaves) {
            return Some(instant_after(at, days));
        }
        if leaves(until) {
            return Some(expiry);
        }
        from = until;
    }
    bisect(from, HORIZON_DAYS, leaves).map(|days| instant_after(at, days))
}

fn told(facts: &DealFacts, recency: &Recency, at: Timestamp) -> ScoreFacts {
    let mut told = ScoreFacts::new();
    let mut say = |name: &str, value: Value| {
        if !value.is_null() {
            told.insert(name.to_owned(), value);
        }
    };
    let entered = facts.history.stage_entered_at();
    say("outcome", json!(facts.outcome.as_str()));
    say(
        "days_in_stage",
        json!(entered.map(|entered| at.days_since(entered).max(0.0))),
    );
    say(
        "stage_median_days",
        json!(facts.stage_median.map(|median| median.days)),
    );
    say("slips", json!(facts.history.slips.len()));
    say("last_contact", json!(recency.contact));
    say(
        "next_meeting",
        json!(recency.meeting.filter(|meeting| *meeting > at)),
    );
    told
}

/// SHA-256 over everything the score reads, first 16 hexadecimal digits.
pub(crate) fn fingerprint(facts: &DealFacts) -> String {
    let mut hash = Sha256::new();
    let mut feed = |text: &str| {
        hash.update(text.len().to_le_bytes());
        hash.update(text.as_bytes());
    };
    feed(&facts.deal_id);
    feed(facts.outcome.as_str());
    feed(&format!("{:?}", facts.history));
    for row in &facts.activity {
        feed(&row.event_type);
        feed(row.direction.map_or("", Direction::as_str));
        feed(row.machine_class.as_str());
        feed(&row.n.to_string());
        feed(&format!("{:?} {:?}", row.last_time, row.value_max));
    }
    for contact in &facts.contacts {
        feed(&format!("{contact:?}"));
    }
    feed(&format!("{:?}", facts.stage_median));
    for text in facts.findings.all() {
        feed(&text.document.event_id);
        feed(&format!("{:?} {:?}", text.document.at, text.analysis));
    }
    crate::definitions::hexadecimal(&hash.finalize()[..8])
}
