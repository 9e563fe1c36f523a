//! Relationship strength 0-100 (EC-13): a saturated sum over contacts of two-way times recency times authority.

use revgauge_contract::{Timestamp, score::Score};
use serde_json::json;

use super::members;
use crate::{
    assembly::{Detail, Maker, ScoreFacts},
    definitions::{Relationship, Versioned},
    facts::{AccountFacts, Member},
    wording::ago,
};

/// The account's relationship strength; unscored when none of its contacts was ever heard.
pub(super) fn score(
    definition: &Versioned<Relationship>,
    facts: &AccountFacts,
    fingerprint: &str,
    at: Timestamp,
    detail: Detail,
) -> Score {
    let maker = Maker {
        name: "relationship",
        definition: definition.id(),
        fingerprint,
    };
    let heard: Vec<(&Member, Timestamp, f64)> = facts
        .members
        .iter()
        .filter_map(|member| {
            let last = member.last_inbound?;
            Some((member, last, strength(definition, member, last, at)))
        })
        .collect();
    if heard.is_empty() {
        return maker.unscored("no contact of the account was ever heard", ScoreFacts::new());
    }
    let sum: f64 = heard.iter().map(|(_, _, strength)| strength).sum();
    let shared = definition.curve().share(sum, 0.0);
    if !detail.is_full() {
        return maker.scored(shared.value, Vec::new(), ScoreFacts::new(), detail);
    }
    let two_way = heard.iter().filter(|(member, ..)| member.two_way).count();
    let known = [
        ("contacts_heard".to_owned(), json!(heard.len())),
        ("contacts_two_way".to_owned(), json!(two_way)),
        (
            "last_inbound_at".to_owned(),
            json!(heard.iter().map(|(_, last, _)| *last).max()),
        ),
    ];
    let points = heard.into_iter().map(|(member, last, strength)| {
        let kind = if member.two_way { "two-way" } else { "one-way" };
        (
            member,
            strength * shared.per_gain,
            format!("{kind}, heard {}", ago(at, last)),
        )
    });
    let parts = members::parts(points.collect(), definition.listed_members);
    maker.scored(shared.value, parts, known.into(), detail)
}

fn strength(definition: &Relationship, member: &Member, last: Timestamp, at: Timestamp) -> f64 {
    let recency = (-at.days_since(last).max(0.0) / definition.half_life_days).exp2();
    let two_way = if member.two_way { 1.0 } else { definition.one_way };
    let authority = member.authority.unwrap_or(definition.unknown_authority);
    two_way * recency * (definition.authority_floor + (1.0 - definition.authority_floor) * authority)
}
