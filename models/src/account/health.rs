//! Account health 0-100 (EC-12): a weighted mean of what is known, less decaying penalties.

use revgauge_contract::{Timestamp, event::MachineClass, score::Score};
use serde_json::json;

use crate::{
    assembly::{Detail, Maker, ScoreFacts, part},
    decay::decayed,
    definitions::{AccountHealth, Versioned, account::Penalty},
    facts::AccountFacts,
    wording::{ago, counted},
};

/// The account's scores that health reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct RolledUp {
    pub(super) engagement: Option<f64>,
    pub(super) relationship: Option<f64>,
}

/// A component that is known.
struct Component {
    factor: &'static str,
    weight: f64,
    /// 0-1.
    value: f64,
    reason: String,
}

/// A penalty that applies.
struct Taken<'a> {
    event_type: &'a str,
    penalty: &'a Penalty,
    points: f64,
    n: i64,
    last: Timestamp,
}

/// The account's health; unscored when no component is known.
pub(super) fn score(
    definition: &Versioned<AccountHealth>,
    facts: &AccountFacts,
    rolled_up: RolledUp,
    fingerprint: &str,
    at: Timestamp,
    detail: Detail,
) -> Score {
    let maker = Maker {
        name: "account_health",
        definition: definition.id(),
        fingerprint,
    };
    let components = components(definition, facts, rolled_up, at);
    let weight: f64 = components.iter().map(|component| component.weight).sum();
    if weight == 0.0 {
        return maker.unscored(
            "no engagement, relationship or deal of the account is known",
            ScoreFacts::new(),
        );
    }
    let points = |component: &Component| 100.0 * component.weight * component.value / weight;
    let whole: f64 = components.iter().map(points).sum();
    let penalties = penalties(definition, facts, at);
    let asked: f64 = penalties.iter().map(|taken| taken.points).sum();
    // Penalties take at most what is there, so that the parts still sum to a health of 0.
    let share = if asked > whole { whole / asked } else { 1.0 };
    let value = whole - asked * share;
    if !detail.is_full() {
        return maker.scored(value, Vec::new(), ScoreFacts::new(), detail);
    }
    let mut parts: Vec<_> = components
        .iter()
        .map(|component| part(component.factor, points(component), &*component.reason))
        .collect();
    for taken in &penalties {
        let Penalty { singular, plural, .. } = taken.penalty;
        let reason = format!(
            "{}, the last {}",
            counted(taken.n, singular, plural),
            ago(at, taken.last)
        );
        parts.push(part(taken.event_type, -taken.points * share, reason));
    }
    let basis: Vec<_> = components.iter().map(|component| component.factor).collect();
    maker.scored(value, parts, [("basis".to_owned(), json!(basis))].into(), detail)
}

fn components(
    definition: &AccountHealth,
    facts: &AccountFacts,
    rolled_up: RolledUp,
    at: Timestamp,
) -> Vec<Component> {
    let weights = &definition.weights;
    let level = |factor, weight, value: Option<f64>| {
        value.map(|value| Component {
            factor,
            weight,
            value: value / 100.0,
            reason: format!("{factor} is {value:.0}"),
        })
    };
    [
        level("engagement", weights.engagement, rolled_up.engagement),
        trend(definition, facts, at),
        level("relationship", weights.relationship, rolled_up.relationship),
        outcomes(definition, facts),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn trend(definition: &AccountHealth, facts: &AccountFacts, at: Timestamp) -> Option<Component> {
    let trend = &definition.trend;
    let (mut fast, mut slow) = (0.0, 0.0);
    let people = facts
        .signals
        .iter()
        .filter(|row| row.machine_class == MachineClass::None);
    for row in people.filter(|row| trend.events.iter().any(|name| **name == *row.event_type)) {
        fast += decayed(row, trend.fast_days, at);
        slow += decayed(row, trend.slow_days, at);
    }
    if slow < trend.min_count {
        return None;
    }
    let ratio = (fast / f64::from(trend.fast_days)) / (slow / f64::from(trend.slow_days));
    let value = (0.5 + ratio.log2() / (2.0 * trend.span)).clamp(0.0, 1.0);
    let reason = format!("activity is at {:.0} % of its usual rate", 100.0 * ratio);
    Some(Component {
        factor: "trend",
        weight: definition.weights.trend,
        value,
        reason,
    })
}

#[expect(clippy::cast_precision_loss, reason = "numbers of deals")]
fn outcomes(definition: &AccountHealth, facts: &AccountFacts) -> Option<Component> {
    let (won, lost) = (facts.won_deals as f64, facts.lost_deals as f64);
    if facts.won_deals + facts.lost_deals + facts.open_deals == 0 {
        return None;
    }
    let prior = &definition.outcomes;
    let value = (won + prior.prior * prior.strength) / (won + lost + prior.strength);
    let reason = format!(
        "{} won, {} lost, {} open",
        facts.won_deals,
        facts.lost_deals,
        counted_deals(facts.open_deals)
    );
    Some(Component {
        factor: "outcomes",
        weight: definition.weights.outcomes,
        value,
        reason,
    })
}

fn counted_deals(n: usize) -> String {
    counted(i64::try_from(n).unwrap_or(i64::MAX), "deal", "deals")
}

/// Penalties of people's events, decayed; a type's rows together.
fn penalties<'a>(definition: &'a AccountHealth, facts: &AccountFacts, at: Timestamp) -> Vec<Taken<'a>> {
    let mut all: Vec<Taken<'a>> = Vec::new();
    let people = facts
        .signals
        .iter()
        .filter(|row| row.machine_class == MachineClass::None && row.n > 0);
    for row in people {
        let Some((event_type, penalty)) = definition.penalties.get_key_value(&*row.event_type) else {
            continue;
        };
        let points = penalty.points * decayed(row, definition.penalty_half_life_days, at);
        match all.iter_mut().find(|taken| taken.event_type == event_type) {
            Some(taken) => {
                taken.points += points;
                taken.n += row.n;
                taken.last = taken.last.max(row.last_time);
            }
            None => all.push(Taken {
                event_type,
                penalty,
                points,
                n: row.n,
                last: row.last_time,
            }),
        }
    }
    all
}
