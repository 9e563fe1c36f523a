//! Priority 0-1 and tier of a contact, from the scores of the contact and of its account.

mod cut_offs;
#[cfg(test)]
mod tests;
mod tier;

use revgauge_contract::{
    Timestamp,
    score::{Contribution, Score},
};
use serde_json::json;

pub use self::{
    cut_offs::{CutOffs, cut},
    tier::tier,
};
use crate::{
    account::AccountScores,
    assembly::{Detail, Maker, ScoreFacts, part},
    contact::ContactScores,
    decay,
    definitions::{
        Definitions, Priority,
        priority::{Combination, TierPolicy},
    },
    fingerprint::combined,
};

/// An axis that is known.
#[derive(Debug, Clone, Copy)]
struct Axis<'a> {
    name: &'static str,
    weight: f64,
    /// 0-1.
    value: f64,
    score: &'a Score,
}

/// Priority and tier of a contact.
///
/// Over the axes that are known (fact `basis`); unscored when none is. With the anchored policy the value is the mapped
/// one and fact `raw` the mean before the map: collect `raw` of all contacts for [`cut`]. `cutoffs` are the tenant's, a
/// logged fact; without them, or when they come from too few contacts, tiers are cut absolutely. `previous_tier` is the
/// tier before, for hysteresis. Contributions sum to the value: the map is applied to a function that is homogeneous of
/// degree one (arithmetic or geometric mean), whose shares along the ray are proportional before and after it.
///
/// Contacts of one account and one role often have the same priority. Facts `engagement` and `authority` say whom to call
/// first among them: the more engaged, then the one with more buying authority, then by id, so that the order is the same
/// at every door and after every restart.
#[must_use]
pub fn score_priority(
    definitions: &Definitions,
    contact: &ContactScores,
    account: Option<&AccountScores>,
    cutoffs: Option<&CutOffs>,
    previous_tier: Option<&str>,
) -> Score {
    let definition = &definitions.priority;
    let cutoffs = usable(definition, cutoffs);
    let axes = axes(definition, contact, account);
    let prints = axes.iter().map(|axis| axis.score.fingerprint.as_str());
    let memory = format!("{cutoffs:?} {previous_tier:?}");
    let fingerprint = combined(prints, memory);
    let maker = Maker {
        name: "priority",
        definition: definition.id(),
        fingerprint: &fingerprint,
    };
    let Some(raw) = raw(definition, &axes) else {
        let because = if account.is_some() {
            "neither fit nor intent is scored"
        } else {
            "its account is not known"
        };
        return maker.unscored(because, ScoreFacts::new());
    };
    let value = mapped(definition, raw, cutoffs);
    let basis: Vec<_> = axes.iter().map(|axis| axis.name).collect();
    let known = [
        ("raw".to_owned(), json!(raw)),
        ("engagement".to_owned(), json!(contact.engagement.value)),
        ("authority".to_owned(), json!(contact.authority.value)),
        ("basis".to_owned(), json!(basis)),
        (
            "policy".to_owned(),
            json!(if cutoffs.is_some() {
                definition.policy
            } else {
                TierPolicy::Absolute
            }),
        ),
    ];
    let mut score = maker.scored(
        value,
        parts(definition, &axes, raw, value),
        known.into(),
        Detail::Full,
    );
    score.tier = Some(tier(definition, value, cutoffs, previous_tier).to_owned());
    score
}

/// The cut-offs when the policy needs them and they come from enough contacts.
fn usable<'a>(definition: &Priority, cutoffs: Option<&'a CutOffs>) -> Option<&'a CutOffs> {
    let relative = definition.policy != TierPolicy::Absolute;
    cutoffs.filter(|cutoffs| relative && cutoffs.population >= definition.min_population)
}

fn axes<'a>(
    definition: &Priority,
    contact: &'a ContactScores,
    account: Option<&'a AccountScores>,
) -> Vec<Axis<'a>> {
    let weights = &definition.weights;
    let axis = |name, weight, score: &'a Score, top: f64| {
        let value = score.value.filter(|_| weight > 0.0)? / top;
        Some(Axis {
            name,
            weight,
            value,
            score,
        })
    };
    let of_account = account.map(|account| {
        [
            axis("fit", weights.fit, &account.fit, 1.0),
            axis("intent", weights.intent, &account.intent, 1.0),
        ]
    });
    let of_contact = axis("engagement", weights.engagement, &contact.engagement, 100.0);
    of_account
        .into_iter()
        .flatten()
        .chain([of_contact])
        .flatten()
        .collect()
}

/// The mean before any map; `None` without axes.
fn raw(definition: &Priority, axes: &[Axis<'_>]) -> Option<f64> {
    let whole: f64 = axes.iter().map(|axis| axis.weight).sum();
    if axes.is_empty() {
        return None;
    }
    Some(match definition.combination {
        Combination::WeightedMean => axes.iter().map(|axis| axis.weight * axis.value).sum::<f64>() / whole,
        Combination::Geometric => axes
            .iter()
            .map(|axis| axis.value.powf(axis.weight / whole))
            .product(),
    })
}

fn mapped(definition: &Priority, raw: f64, cutoffs: Option<&CutOffs>) -> f64 {
    match (definition.policy, cutoffs) {
        (TierPolicy::Anchored, Some(cutoffs)) => cutoffs.anchored(raw, &definition.cut_offs),
        _ => raw,
    }
}

fn parts(definition: &Priority, axes: &[Axis<'_>], raw: f64, value: f64) -> Vec<Contribution> {
    let whole: f64 = axes.iter().map(|axis| axis.weight).sum();
    let scale = if raw > 0.0 { value / raw } else { 0.0 };
    let share = |axis: &Axis<'_>| match definition.combination {
        Combination::WeightedMean => axis.weight * axis.value / whole,
        Combination::Geometric => raw * axis.weight / whole,
    };
    axes.iter()
        .map(|axis| part(axis.name, share(axis) * scale, reason(axis)))
        .collect()
}

/// "fit 0.82: software; 250".
fn reason(axis: &Axis<'_>) -> String {
    let because: Vec<&str> = axis
        .score
        .contributions
        .iter()
        .take(2)
        .map(|part| part.reason.as_str())
        .collect();
    let shown = format!("{} {:.2}", axis.name, axis.value);
    if because.is_empty() {
        shown
    } else {
        format!("{shown}: {}", because.join("; "))
    }
}

/// The instant after `at` at which the contact leaves its tier if nothing happens (N-5): decay alone, computed, not
/// polled.
///
/// `scores_at` gives the contact's and its account's scores at an instant from the facts known now ([`Detail::Value`]
/// is enough). `None` when the tier stays for ten years, or the contact is unscored. Some fifty evaluations; exact to a
/// microsecond where the priority only falls, and a true change of tier in any case.
pub fn tier_crossing(
    definitions: &Definitions,
    scores_at: impl Fn(Timestamp) -> (ContactScores, Option<AccountScores>),
    cutoffs: Option<&CutOffs>,
    current_tier: &str,
    at: Timestamp,
) -> Option<Timestamp> {
    let definition = &*definitions.priority;
    let cutoffs = usable(definition, cutoffs);
    let leaves = |days: f64| {
        let (contact, account) = scores_at(decay::instant_after(at, days));
        raw(definition, &axes(definition, &contact, account.as_ref())).is_some_and(|raw| {
            tier(
                definition,
                mapped(definition, raw, cutoffs),
                cutoffs,
                Some(current_tier),
            ) != current_tier
        })
    };
    decay::bisect(0.0, LOOK_AHEAD_DAYS, leaves).map(|days| decay::instant_after(at, days))
}

/// How far ahead tier changes are looked for.
const LOOK_AHEAD_DAYS: f64 = 3_653.0;
