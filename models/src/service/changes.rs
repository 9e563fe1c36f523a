//! Why scores changed between two instants: time, definitions, cut-offs, and what became known, each its own part.

use std::sync::Arc;

use revgauge_contract::{
    Timestamp,
    error::Failure,
    score::{ChangeExplanation, Contribution, EntityKind, Score},
};

use super::{
    TenantCuts, View, not_found,
    view::{Tiers, account_scores, contact_scores, member},
};
use crate::{
    account::score_account,
    assembly::{Detail, part},
    contact::score_contact,
    deal::{DealFacts, score_deal},
    definitions::Definitions,
    explain::explain_change,
    facts::{AccountFacts, ContactFacts},
    gather::Which,
    priority::score_priority,
};

/// Everything the scores of one entity are made of, so that they can be valued at any instant.
enum Facts {
    Contact(Box<ContactFacts>, Option<Box<AccountFacts>>),
    Account(Box<AccountFacts>, Vec<ContactFacts>),
    Deal(Option<Box<DealFacts>>),
}

/// Opinions and memory beside the facts.
struct Beliefs<'a> {
    definitions: &'a Definitions,
    cuts: &'a TenantCuts,
    tiers: &'a Tiers,
}

/// One explanation a score, in the order scores are told.
pub(super) async fn explain(
    before: &View,
    after: &View,
    kind: EntityKind,
    id: &Arc<str>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<ChangeExplanation>, Failure> {
    let (old_facts, new_facts) = (
        facts(before, kind, id, from).await?,
        facts(after, kind, id, to).await?,
    );
    let ids = std::slice::from_ref(id);
    let (old_tiers, new_tiers) = (
        before.tiers(kind, Some(ids)).await?,
        after.tiers(kind, Some(ids)).await?,
    );
    let beliefs = |view: &'_ View, cuts, tiers| (Arc::clone(&view.definitions), cuts, tiers);
    let (old_set, old_cuts, old_tiers) = beliefs(before, &*before.cuts, &old_tiers);
    let (new_set, new_cuts, new_tiers) = beliefs(after, &*after.cuts, &new_tiers);
    let with = |definitions, cuts| Beliefs {
        definitions,
        cuts,
        tiers: old_tiers,
    };
    let old = value(&old_facts, &with(&old_set, old_cuts), from);
    let aged = value(&old_facts, &with(&old_set, old_cuts), to);
    let redefined = value(&old_facts, &with(&new_set, old_cuts), to);
    let recut = value(&old_facts, &with(&new_set, new_cuts), to);
    let new_beliefs = Beliefs {
        definitions: &new_set,
        cuts: new_cuts,
        tiers: new_tiers,
    };
    let new = value(&new_facts, &new_beliefs, to);
    if new.is_empty() {
        return Err(not_found(kind, id));
    }
    let blank = |score: &Score| Score {
        value: None,
        contributions: Vec::new(),
        ..score.clone()
    };
    let named = |scores: &[Score], score: &Score| {
        scores
            .iter()
            .find(|held| held.name == score.name)
            .cloned()
            .unwrap_or_else(|| blank(score))
    };
    Ok(new
        .iter()
        .map(|new| {
            let steps = [&old, &aged, &redefined, &recut].map(|scores| named(scores, new));
            compare(&steps, new, from, to)
        })
        .collect())
}

/// Lays the steps from old to new side by side; the parts sum to the difference (S-1).
fn compare(steps: &[Score; 4], new: &Score, from: Timestamp, to: Timestamp) -> ChangeExplanation {
    let [old, aged, redefined, recut] = steps;
    let points = |score: &Score| score.value.unwrap_or_default();
    let mut change = explain_change(recut, recut, new, from, to);
    let mut say = |factor: &str, points: f64, reason: String| {
        if points.abs() > 1e-12 {
            change.parts.push(part(factor, points, reason));
        }
    };
    say(
        "decay",
        points(aged) - points(old),
        "time alone, nothing having happened".to_owned(),
    );
    let versions = format!("definition {} instead of {}", new.definition, old.definition);
    say("definition", points(redefined) - points(aged), versions);
    say(
        "cut_offs",
        points(recut) - points(redefined),
        "the tenant's population was looked at anew".to_owned(),
    );
    change.old_value = old.value;
    change
        .parts
        .sort_by(|a: &Contribution, b| b.points.abs().total_cmp(&a.points.abs()));
    change
}

async fn facts(view: &View, kind: EntityKind, id: &Arc<str>, at: Timestamp) -> Result<Facts, Failure> {
    let one = Which::These(std::slice::from_ref(id));
    let known = view.resolve(kind, id).is_ok();
    match kind {
        EntityKind::Contact => {
            let contact = if known {
                view.contact_facts(one).await?.into_iter().next()
            } else {
                None
            };
            let contact = contact.unwrap_or_else(|| ContactFacts {
                contact_id: id.to_string(),
                ..ContactFacts::default()
            });
            let account = view
                .account_axes(one, std::slice::from_ref(&contact), at, Detail::Value)
                .await?
                .into_values()
                .next();
            Ok(Facts::Contact(
                Box::new(contact),
                account.map(|(facts, _)| Box::new(facts)),
            ))
        }
        EntityKind::Account => {
            let account = if known {
                view.accounts(one, at, Detail::Value).await?.pop()
            } else {
                None
            };
            Ok(match account {
                Some(view) => {
                    let members = view.members.into_iter().map(|(facts, _)| facts).collect();
                    Facts::Account(Box::new(view.facts), members)
                }
                None => {
                    let nothing = AccountFacts {
                        account_id: id.to_string(),
                        ..AccountFacts::default()
                    };
                    Facts::Account(Box::new(nothing), Vec::new())
                }
            })
        }
        EntityKind::Deal => {
            let deal = if known {
                view.deals(one, at).await?.pop()
            } else {
                None
            };
            Ok(Facts::Deal(deal.map(Box::new)))
        }
        EntityKind::Tenant => Ok(Facts::Deal(None)),
    }
}

fn value(facts: &Facts, beliefs: &Beliefs<'_>, at: Timestamp) -> Vec<Score> {
    let previous = |id: &str, score: &str| {
        beliefs
            .tiers
            .get(&(Arc::from(id), score.to_owned()))
            .map(String::as_str)
    };
    match facts {
        Facts::Contact(contact, account) => {
            let rhythm = beliefs.cuts.rhythm();
            let scores = score_contact(beliefs.definitions, contact, &rhythm, at, Detail::Full);
            let account = account
                .as_ref()
                .map(|facts| score_account(beliefs.definitions, facts, at, Detail::Full));
            let priority = score_priority(
                beliefs.definitions,
                &scores,
                account.as_ref(),
                beliefs.cuts.cut_offs.as_ref(),
                previous(&contact.contact_id, "priority"),
            );
            contact_scores(super::ContactView {
                facts: (**contact).clone(),
                scores,
                priority,
            })
        }
        Facts::Account(account, members) => {
            // Members age too: what time does to them is decay of the account.
            let rhythm = beliefs.cuts.rhythm();
            let mut account = (**account).clone();
            account.members = members
                .iter()
                .map(|facts| {
                    member(
                        facts,
                        &score_contact(beliefs.definitions, facts, &rhythm, at, Detail::Value),
                    )
                })
                .collect();
            account_scores(score_account(beliefs.definitions, &account, at, Detail::Full))
        }
        Facts::Deal(Some(deal)) => {
            let mut deal = (**deal).clone();
            let rules = &beliefs.definitions.deal_health;
            deal.stage_median = deal.history.stages.last().and_then(|spell| {
                beliefs
                    .cuts
                    .stage_medians
                    .of_stage(&spell.stage, rules.min_stage_spells)
            });
            let tier = previous(&deal.deal_id, "health");
            vec![score_deal(beliefs.definitions, &deal, at, tier, Detail::Full)]
        }
        Facts::Deal(None) => Vec::new(),
    }
}
