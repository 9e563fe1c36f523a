//! When time alone will move an entity to another tier: first a cheap early guess, then, when that is due, exactly.
//!
//! Nearly every scoring is followed by another event, so the exact search is left for those that stay idle. The guess
//! must not be late. Between events a score decays no faster than its fastest half-life, since caps and saturation are
//! concave; the guess assumes one faster still, for the surge, which fades on its own.

use std::{cell::RefCell, sync::Arc};

use hashbrown::HashMap;
use revgauge_contract::{
    Timestamp,
    error::Failure,
    score::{Cause, EntityKind, Score},
    time::SECOND_US,
};

use super::{
    LiveScorer, Turn,
    emitted::{NEVER, Update},
    rescore::{Pass, Writer},
    sweep::Mode,
    timers::Due,
};
use crate::{
    account::score_account,
    assembly::Detail,
    contact::{ContactScores, engagement_crossing, score_contact},
    deal::{DealFacts, deal_crossing, score_deal},
    decay::instant_after,
    definitions::{DealHealth, Definitions, priority::TierPolicy},
    directory::Outcome,
    facts::{AccountFacts, ContactFacts},
    gather::Which,
    priority::{CutOffs, tier, tier_crossing},
    service::{TenantCuts, View, contact_scores},
};

/// Half-life in days of the guess for engagement: the fastest class of contacts.
const ENGAGEMENT_HALF_LIFE: f64 = 3.0;
/// Half-life in days of the guess for priority: below the fastest class of accounts (7), for the surge.
const PRIORITY_HALF_LIFE: f64 = 1.0;
/// Crossings followed in one firing of a timer; what comes later is armed again.
const STEPS: usize = 16;

/// The earliest instant at which engagement or priority could leave its tier by decay.
pub(super) fn contact_look_at(
    definitions: &Definitions,
    cuts: &TenantCuts,
    scores: &[Score],
    at: Timestamp,
) -> Option<Timestamp> {
    let guesses = scores.iter().filter_map(|score| match score.name.as_str() {
        "engagement" => {
            let value = score.value?;
            let bound = band_bound(definitions, value)?;
            Some(ENGAGEMENT_HALF_LIFE * (value / bound).log2())
        }
        "priority" => {
            let raw = score.facts.get("raw")?.as_f64()?;
            let bound = raw_bound(definitions, cuts.cut_offs.as_ref(), raw, score.tier.as_deref()?)?;
            Some(PRIORITY_HALF_LIFE * (raw / bound).log2())
        }
        _ => None,
    });
    let days = guesses.min_by(f64::total_cmp)?;
    Some(instant_after(at, days.clamp(0.0, 3_653.0)).max(at.plus_micros(SECOND_US)))
}

/// The lower bound of the band of an engagement; none for the lowest.
fn band_bound(definitions: &Definitions, value: f64) -> Option<f64> {
    let bands = definitions.engagement.bands.iter().rev();
    bands
        .map(|band| band.at_least)
        .find(|bound| value >= *bound)
        .filter(|bound| *bound > 0.0)
}

/// The least raw priority that keeps the tier; none when every one does.
fn raw_bound(definitions: &Definitions, cut_offs: Option<&CutOffs>, raw: f64, current: &str) -> Option<f64> {
    let definition = &*definitions.priority;
    let relative = definition.policy != TierPolicy::Absolute;
    let cut_offs = cut_offs.filter(|cuts| relative && cuts.population >= definition.min_population);
    let keeps = |raw: f64| {
        let value = match (definition.policy, cut_offs) {
            (TierPolicy::Anchored, Some(cuts)) => cuts.anchored(raw, &definition.cut_offs),
            _ => raw,
        };
        tier(definition, value, cut_offs, Some(current)) == current
    };
    if keeps(0.0) {
        return None;
    }
    let (mut low, mut high) = (0.0, raw);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if keeps(middle) {
            high = middle
        } else {
            low = middle
        }
    }
    (high > 0.0).then_some(high)
}

/// The earliest instant at which a deal's health could leave its band: all rules falling at their steepest.
pub(super) fn deal_look_at(
    definitions: &Definitions,
    facts: &DealFacts,
    score: &Score,
    at: Timestamp,
) -> Option<Timestamp> {
    let (value, label) = (score.value?, score.tier.as_deref()?);
    let rules = &*definitions.deal_health;
    let place = rules.bands.iter().position(|band| band.label == label)?;
    if place == 0 || facts.outcome != Outcome::Open {
        return None;
    }
    let bound = rules.bands[place].at_least - rules.band_margin;
    let days = ((value - bound) / steepest(rules, facts)).max(0.0);
    days.is_finite()
        .then(|| instant_after(at, days.min(3_653.0)).max(at.plus_micros(SECOND_US)))
}

fn steepest(rules: &DealHealth, facts: &DealFacts) -> f64 {
    let contacts = &rules.contacts;
    let grace = contacts.grace_full_days - contacts.grace_start_days;
    let fade = contacts.faded_days - contacts.fresh_days;
    let people = facts.contacts.len() as f64;
    rules
        .rules
        .iter()
        .map(|(name, rule)| {
            let a_day = match name.as_str() {
                "single_threaded" => people / fade + contacts.required / grace,
                "no_power" => 1.0 / (contacts.power * fade) + 1.0 / grace,
                "slips" => 0.0,
                "stalled" => {
                    1.0 / facts
                        .stage_median
                        .map_or(rules.default_stage_days, |median| median.days.max(1.0))
                }
                _ => 1.0,
            };
            a_day * rule.points / (rule.full - rule.start)
        })
        .sum()
}

impl LiveScorer {
    /// Fires what is due: finds the exact instant of each crossing and writes it as of that instant.
    pub(super) async fn fire_timers(&self) -> Turn {
        let now = self.clock.now();
        let mut due: Vec<Due> = Vec::new();
        while due.len() < self.settings.batch_timers.max(1) {
            let Some(next) = self.timers.lock().pop(now) else {
                break;
            };
            let current = self
                .memory
                .write()
                .disarm(&next.tenant, next.kind, &next.id, next.at);
            if current && !self.state.lock().queues.waits(next.kind, &next.tenant, &next.id) {
                due.push(next);
            }
        }
        let mut groups: HashMap<(Arc<str>, EntityKind), Vec<Arc<str>>> = HashMap::new();
        for Due { tenant, kind, id, .. } in due {
            groups.entry((tenant, kind)).or_default().push(id);
        }
        let mut turn = Turn::default();
        for ((tenant, kind), ids) in groups {
            match self.cross(&tenant, kind, &ids, now).await {
                Ok(crossed) => {
                    turn.worked = true;
                    turn.changes.extend(crossed.changes);
                    turn.updates.extend(crossed.updates);
                }
                Err(failure) => {
                    tracing::warn!(error = %failure, kind = kind.as_str(), entities = ids.len(), "cannot read facts for due tier changes, retrying");
                    let retry = now.plus_micros(self.settings.retry_max_ms as i64 * 1_000);
                    for id in ids {
                        turn.updates.push(look_again(&tenant, kind, &id, retry));
                    }
                }
            }
        }
        turn
    }

    async fn cross(
        &self,
        tenant: &Arc<str>,
        kind: EntityKind,
        ids: &[Arc<str>],
        now: Timestamp,
    ) -> Result<Turn, Failure> {
        let view = View::live(&self.scoring, tenant, self.cuts(tenant)).await?;
        let living: Vec<Arc<str>> = {
            let directory = view.directory.read();
            ids.iter()
                .filter(|id| {
                    directory.canonical(kind, id).as_ref() == Some(*id) && !directory.is_deleted(kind, id)
                })
                .cloned()
                .collect()
        };
        let which = Which::These(&living);
        let mut turn = Turn::default();
        match kind {
            EntityKind::Contact => {
                let contacts = view.contact_facts(which).await?;
                let accounts = view.account_axes(which, &contacts, now, Detail::Value).await?;
                for facts in contacts {
                    let account = facts
                        .account_id
                        .as_ref()
                        .and_then(|id| accounts.get(id))
                        .map(|(facts, _)| facts);
                    let aging = AgingContact {
                        view: &view,
                        facts: &facts,
                        account,
                        rhythm: view.cuts.rhythm(),
                    };
                    self.follow(&view, kind, &facts.contact_id, &aging, now, &mut turn);
                }
            }
            EntityKind::Deal => {
                for facts in view.deals(which, now).await? {
                    self.follow(
                        &view,
                        kind,
                        &facts.deal_id,
                        &AgingDeal {
                            view: &view,
                            facts: &facts,
                        },
                        now,
                        &mut turn,
                    );
                }
            }
            EntityKind::Account | EntityKind::Tenant => {}
        }
        Ok(turn)
    }

    /// Follows one idle entity from when it was last scored to now, crossing by crossing, and arms the next one.
    fn follow(
        &self,
        view: &View,
        kind: EntityKind,
        id: &str,
        aging: &dyn Aging,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let id: Arc<str> = id.into();
        let (mut from, mut tiers) = {
            let memory = self.memory.read();
            let Some(entry) = memory.entry(&view.tenant_id, kind, &id) else {
                return;
            };
            (
                entry.scored,
                memory.tiers(&view.tenant_id, kind, Some(std::slice::from_ref(&id))),
            )
        };
        let mut writer = Writer::new(
            self,
            view,
            Pass {
                at: now,
                cause: Cause::Decay,
                mode: Mode::TiersOnly,
            },
        );
        let mut again = now;
        for _ in 0..STEPS {
            let Some(next) = aging.next_crossing(&tiers, &id, from) else {
                again = NEVER;
                break;
            };
            // A bound that is met from both sides at one instant would be found again and again.
            let next = next.max(from.plus_micros(1));
            if next > now {
                again = next;
                break;
            }
            let scores = aging.scores(&tiers, &id, next);
            writer.pass.at = next;
            writer.tell(kind, &id, &scores, None);
            for score in scores {
                match score.tier {
                    Some(tier) => tiers.insert((Arc::clone(&id), score.name), tier),
                    None => tiers.remove(&(Arc::clone(&id), score.name)),
                };
            }
            from = next;
        }
        turn.changes.extend(writer.turn.changes);
        turn.updates.extend(writer.turn.updates);
        if again < NEVER {
            turn.updates.push(look_again(&view.tenant_id, kind, &id, again));
        }
    }
}

fn look_again(tenant: &Arc<str>, kind: EntityKind, id: &Arc<str>, at: Timestamp) -> Update {
    Update::Said {
        tenant: Arc::clone(tenant),
        kind,
        id: Arc::clone(id),
        scores: Vec::new(),
        scored: Timestamp(i64::MIN),
        look_at: Some(at),
    }
}

type Tiers = crate::service::Tiers;

/// An entity to which nothing but time happens.
trait Aging: Send + Sync {
    fn next_crossing(&self, tiers: &Tiers, id: &Arc<str>, from: Timestamp) -> Option<Timestamp>;
    fn scores(&self, tiers: &Tiers, id: &Arc<str>, at: Timestamp) -> Vec<Score>;
}

struct AgingContact<'a> {
    view: &'a View,
    facts: &'a ContactFacts,
    account: Option<&'a AccountFacts>,
    rhythm: [f64; 168],
}

impl Aging for AgingContact<'_> {
    fn next_crossing(&self, tiers: &Tiers, id: &Arc<str>, from: Timestamp) -> Option<Timestamp> {
        let definitions = &self.view.definitions;
        // The contact's own scores enter priority only through engagement, which most definitions leave out.
        let reads_contact = definitions.priority.weights.engagement > 0.0;
        let fixed: RefCell<Option<ContactScores>> = RefCell::new(None);
        let contact_at = |at: Timestamp| {
            if reads_contact {
                return score_contact(definitions, self.facts, &self.rhythm, at, Detail::Value);
            }
            fixed
                .borrow_mut()
                .get_or_insert_with(|| {
                    score_contact(definitions, self.facts, &self.rhythm, at, Detail::Value)
                })
                .clone()
        };
        let scores_at = |at: Timestamp| {
            let account = self
                .account
                .map(|facts| score_account(definitions, facts, at, Detail::Value));
            (contact_at(at), account)
        };
        let of_priority = tiers
            .get(&(Arc::clone(id), "priority".to_owned()))
            .and_then(|current| {
                tier_crossing(
                    definitions,
                    scores_at,
                    self.view.cuts.cut_offs.as_ref(),
                    current,
                    from,
                )
            });
        let of_engagement = tiers
            .get(&(Arc::clone(id), "engagement".to_owned()))
            .and_then(|current| {
                let band = definitions
                    .engagement
                    .bands
                    .iter()
                    .find(|band| band.label == *current)?;
                engagement_crossing(definitions, self.facts, band.at_least, from)
            });
        [of_priority, of_engagement].into_iter().flatten().min()
    }

    fn scores(&self, tiers: &Tiers, _id: &Arc<str>, at: Timestamp) -> Vec<Score> {
        let account = self
            .account
            .map(|facts| score_account(&self.view.definitions, facts, at, Detail::Full));
        let view = self
            .view
            .score_contact(self.facts.clone(), account.as_ref(), at, Detail::Full, tiers);
        contact_scores(view)
    }
}

struct AgingDeal<'a> {
    view: &'a View,
    facts: &'a DealFacts,
}

impl Aging for AgingDeal<'_> {
    fn next_crossing(&self, tiers: &Tiers, id: &Arc<str>, from: Timestamp) -> Option<Timestamp> {
        let current = tiers.get(&(Arc::clone(id), "health".to_owned()))?;
        deal_crossing(&self.view.definitions, self.facts, from, Some(current))
    }

    fn scores(&self, tiers: &Tiers, id: &Arc<str>, at: Timestamp) -> Vec<Score> {
        let previous = tiers
            .get(&(Arc::clone(id), "health".to_owned()))
            .map(String::as_str);
        vec![score_deal(
            &self.view.definitions,
            self.facts,
            at,
            previous,
            Detail::Full,
        )]
    }
}
