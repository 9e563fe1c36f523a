//! Why a score is what it is: split down to single events, and compared between two instants.

use revgauge_contract::{
    Timestamp,
    event::{Direction, MachineClass},
    score::{ChangeExplanation, Contribution, Score},
};

use crate::{
    assembly::part,
    contact::{EngagementReading, event_weight},
    definitions::Definitions,
    facts::ContactFacts,
    wording::ago,
};

/// An event of a contact as the lake holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentEvent {
    /// Its id.
    pub event_id: String,
    /// Its type.
    pub event_type: String,
    /// Its direction, where the type has one.
    pub direction: Option<Direction>,
    /// Machine or person.
    pub machine_class: MachineClass,
    /// When it happened.
    pub event_time: Timestamp,
}

/// The contributions of a contact's engagement split down to single events.
///
/// Each scored event of `events` (distinct, known at the instant of the facts) gets a part named `<type>#<event id>`;
/// what its type has beyond them stays one part `<type>`. The parts sum to the score (S-1): an event's share of its
/// type is its own decayed weight, so caps and saturation fall on all alike.
#[must_use]
pub fn split_by_events(
    definitions: &Definitions,
    facts: &ContactFacts,
    events: &[RecentEvent],
    at: Timestamp,
) -> Vec<Contribution> {
    let definition = &*definitions.engagement;
    let mut parts = Vec::new();
    for share in EngagementReading::new(definition, facts, at).shares() {
        let mut left = share.points;
        let place = definition.place(&share.ranked.event_type);
        for event in events
            .iter()
            .filter(|event| definition.place(&event.event_type) == place)
        {
            let weight = event_weight(
                definition,
                &event.event_type,
                event.direction,
                event.machine_class,
            );
            let Some((weight, half_life_days)) =
                weight.filter(|(weight, _)| *weight > 0.0 && share.strength > 0.0)
            else {
                continue;
            };
            let decayed = weight * (-at.days_since(event.event_time) / f64::from(half_life_days)).exp2();
            let points = share.points * decayed / share.strength;
            left -= points;
            let reason = format!("{}, {}", share.ranked.event.singular, ago(at, event.event_time));
            parts.push(part(
                format!("{}#{}", event.event_type, event.event_id),
                points,
                reason,
            ));
        }
        // What rounding leaves is not worth a line, but it is still part of the sum.
        if left.abs() > 1e-9 || parts.is_empty() {
            parts.push(part(&*share.ranked.event_type, left, "earlier ones"));
        } else if let Some(last) = parts.last_mut() {
            last.points += left;
        }
    }
    parts.sort_by(|a, b| b.points.abs().total_cmp(&a.points.abs()));
    parts
}

/// Why a score changed between two instants; the parts sum to the difference (S-1).
///
/// `old` is the score at `from` on what was known then, `aged` the score of the same facts at `to` (what time alone
/// did: part `decay`), `new` the score at `to` on what is known at `to`. A score without a value counts as 0. All three
/// with [`crate::Detail::Full`].
#[must_use]
pub fn explain_change(
    old: &Score,
    aged: &Score,
    new: &Score,
    from: Timestamp,
    to: Timestamp,
) -> ChangeExplanation {
    let value = |score: &Score| score.value.unwrap_or_default();
    let mut parts = Vec::new();
    let decay = value(aged) - value(old);
    if decay != 0.0 {
        parts.push(part("decay", decay, "time alone, nothing having happened"));
    }
    for contribution in &new.contributions {
        let before = points(aged, &contribution.factor);
        let reason = contribution.reason.clone();
        parts.push(Contribution {
            points: contribution.points - before,
            reason,
            ..contribution.clone()
        });
    }
    let gone = aged
        .contributions
        .iter()
        .filter(|part| !new.contributions.iter().any(|now| now.factor == part.factor));
    for contribution in gone {
        let reason = format!("no longer: {}", contribution.reason);
        parts.push(Contribution {
            points: -contribution.points,
            reason,
            ..contribution.clone()
        });
    }
    parts.retain(|part| part.points.abs() > 1e-12);
    parts.sort_by(|a, b| b.points.abs().total_cmp(&a.points.abs()));
    ChangeExplanation {
        name: new.name.clone(),
        from,
        to,
        old_value: old.value,
        new_value: new.value,
        parts,
    }
}

fn points(score: &Score, factor: &str) -> f64 {
    score
        .contributions
        .iter()
        .filter(|part| part.factor == factor)
        .map(|part| part.points)
        .sum()
}

#[cfg(test)]
mod tests;
