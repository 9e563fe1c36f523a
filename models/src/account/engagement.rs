//! Engagement of an account 0-100, rolled up from its contacts by one of three policies.

use revgauge_contract::score::Score;
use serde_json::json;

use super::members;
use crate::{
    assembly::{Detail, Maker, ScoreFacts},
    definitions::{AccountEngagement, Versioned, account::RollUp},
    facts::{AccountFacts, Member},
};

/// The account's engagement; unscored without scored contacts.
pub(super) fn score(
    definition: &Versioned<AccountEngagement>,
    facts: &AccountFacts,
    fingerprint: &str,
    detail: Detail,
) -> Score {
    let maker = Maker {
        name: "account_engagement",
        definition: definition.id(),
        fingerprint,
    };
    let Some(champion) = champion(&facts.members) else {
        return maker.unscored("no contact of the account has engaged", ScoreFacts::new());
    };
    let points = points(definition, &facts.members, champion);
    let value = points.iter().sum();
    if !detail.is_full() {
        return maker.scored(value, Vec::new(), ScoreFacts::new(), detail);
    }
    let named = facts
        .members
        .iter()
        .zip(points)
        .map(|(member, points)| (member, points, format!("engagement {:.0}", member.engagement)));
    let parts = members::parts(named.collect(), definition.listed_members);
    let known = [
        ("contacts".to_owned(), json!(facts.members.len())),
        ("champion".to_owned(), json!(facts.members[champion].contact_id)),
        ("policy".to_owned(), json!(definition.policy)),
    ];
    maker.scored(value, parts, known.into(), detail)
}

/// The most engaged member; among equals the first by id, so that the order of members does not matter.
fn champion(members: &[Member]) -> Option<usize> {
    let better = |a: &Member, b: &Member| {
        a.engagement
            .total_cmp(&b.engagement)
            .then_with(|| b.contact_id.cmp(&a.contact_id))
    };
    (0..members.len()).max_by(|a, b| better(&members[*a], &members[*b]))
}

/// Points of each member; they sum to the score.
#[expect(clippy::cast_precision_loss, reason = "numbers of contacts")]
fn points(definition: &AccountEngagement, members: &[Member], champion: usize) -> Vec<f64> {
    match definition.policy {
        RollUp::Champion => {
            let share = definition.champion_share;
            let others = (members.len() - 1) as f64;
            let of = |(place, member): (usize, &Member)| {
                member.engagement
                    * if place == champion {
                        share
                    } else {
                        (1.0 - share) / others
                    }
            };
            members.iter().enumerate().map(of).collect()
        }
        RollUp::MaxBreadth => {
            let engaged = |member: &Member| member.engagement >= definition.engaged_from;
            let count = members.iter().filter(|member| engaged(member)).count() as f64;
            let breadth = f64::min(count / f64::from(definition.breadth_contacts), 1.0);
            let each = if count > 0.0 {
                definition.breadth_share * 100.0 * breadth / count
            } else {
                0.0
            };
            let of = |(place, member): (usize, &Member)| {
                let most = if place == champion {
                    (1.0 - definition.breadth_share) * member.engagement
                } else {
                    0.0
                };
                most + if engaged(member) { each } else { 0.0 }
            };
            members.iter().enumerate().map(of).collect()
        }
        RollUp::SeniorityWeighted => {
            let floor = definition.seniority_floor;
            let weight = |member: &Member| floor + (1.0 - floor) * member.authority.unwrap_or_default();
            let whole: f64 = members.iter().map(weight).sum();
            members
                .iter()
                .map(|member| member.engagement * weight(member) / whole)
                .collect()
        }
    }
}
