//! What another definition would do: every score under both, now, and at instants of the past against what came.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hashbrown::HashMap;
use revgauge_contract::{
    Timestamp,
    definition_trial::{Backtest, ScoreMove, ScoreTrial},
    error::Failure,
    score::{EntityKind, Score},
    statistics::Knowledge,
};

use super::{
    Scoring, View,
    view::{account_scores, contact_scores},
};
use crate::{assembly::Detail, definitions::Definitions, directory::Outcome, gather::Which};

/// Largest moves that are told of each score.
const TOLD: usize = 12;

/// Value and tier of a score.
type Told = (Option<f64>, Option<String>);

/// Scores by entity and name.
type Scores = BTreeMap<(String, String), Told>;

/// Entity and score with what it is under both.
type Pairs = BTreeMap<(String, String), (Told, Told)>;

impl Scoring {
    /// Every score of a tenant under the definitions in force and under others, and how well both told what came after
    /// some instants of the past. Nothing is stored.
    ///
    /// # Errors
    /// What reading layer 1 met.
    pub async fn try_definitions(
        &self,
        tenant_id: &str,
        candidate: &Arc<Definitions>,
        now: Timestamp,
        origins: &[Timestamp],
    ) -> Result<Vec<ScoreTrial>, Failure> {
        let came = self.came(tenant_id, now).await?;
        let mut trials = Vec::new();
        for kind in [EntityKind::Contact, EntityKind::Account, EntityKind::Deal] {
            let pairs = self
                .pairs(tenant_id, candidate, kind, now, Knowledge::Now)
                .await?;
            let mut past = Vec::new();
            if kind != EntityKind::Account {
                for origin in origins {
                    let then = Knowledge::At(*origin);
                    past.push((
                        *origin,
                        self.pairs(tenant_id, candidate, kind, *origin, then).await?,
                    ));
                }
            }
            let names: BTreeSet<&String> = pairs.keys().map(|(_, score)| score).collect();
            for score in names {
                let mut trial = compared(kind, score, &pairs);
                trial.backtest = backtest(kind, score, &past, &came);
                if trial.changed > 0 || trial.backtest.is_some() {
                    trials.push(trial);
                }
            }
        }
        Ok(trials)
    }

    async fn pairs(
        &self,
        tenant_id: &str,
        candidate: &Arc<Definitions>,
        kind: EntityKind,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<Pairs, Failure> {
        let chunk = self.settings.chunk_entities;
        let view = self.view(tenant_id, knowledge).await?;
        // The definition in force now stands for "before" at every instant: it is what would be replaced.
        let view = view.with_definitions(self.definitions(tenant_id, Knowledge::Now));
        let before = told(&view, kind, at, chunk).await?;
        let view = view.with_definitions(Arc::clone(candidate));
        let mut after = told(&view, kind, at, chunk).await?;
        let mut pairs: Pairs = before
            .into_iter()
            .map(|(key, before)| {
                let after = after.remove(&key).unwrap_or_default();
                (key, (before, after))
            })
            .collect();
        pairs.extend(
            after
                .into_iter()
                .map(|(key, after)| (key, (Told::default(), after))),
        );
        Ok(pairs)
    }

    /// When each contact last answered, and how and when each deal ended, as known now.
    async fn came(&self, tenant_id: &str, now: Timestamp) -> Result<Came, Failure> {
        let view = self.view(tenant_id, Knowledge::Now).await?;
        let mut came = Came::default();
        let chunk = self.settings.chunk_entities.max(1);
        let contacts = view.directory.read().ids(EntityKind::Contact);
        let tiers = HashMap::new();
        for ids in contacts.chunks(chunk) {
            for contact in view
                .contacts(Which::These(ids), now, Detail::Value, &tiers)
                .await?
            {
                if let Some(at) = contact.scores.last_inbound {
                    came.answered.insert(contact.facts.contact_id, at);
                }
            }
        }
        let deals = view.directory.read().ids(EntityKind::Deal);
        for ids in deals.chunks(chunk) {
            for deal in view.deals(Which::These(ids), now).await? {
                if let (Outcome::Won | Outcome::Lost, Some(at)) = (deal.outcome, deal.history.closed_at) {
                    came.ended
                        .insert(deal.deal_id, (at, deal.outcome == Outcome::Won));
                }
            }
        }
        Ok(came)
    }
}

/// What came, by entity.
#[derive(Debug, Default)]
struct Came {
    answered: BTreeMap<String, Timestamp>,
    ended: BTreeMap<String, (Timestamp, bool)>,
}

async fn told(view: &View, kind: EntityKind, at: Timestamp, chunk: usize) -> Result<Scores, Failure> {
    let tiers = view.tiers(kind, None).await?;
    let ids = view.directory.read().ids(kind);
    let groups: Vec<Which<'_>> = match view.knowledge {
        // A past state is one query, however many are asked for.
        Knowledge::At(_) => vec![Which::All],
        Knowledge::Now => ids.chunks(chunk.max(1)).map(Which::These).collect(),
    };
    let mut scores = Scores::new();
    let mut keep = |id: &str, told: Vec<Score>| {
        for score in told {
            scores.insert((id.to_owned(), score.name), (score.value, score.tier));
        }
    };
    for which in groups {
        match kind {
            EntityKind::Contact => {
                for contact in view.contacts(which, at, Detail::Value, &tiers).await? {
                    let id = contact.facts.contact_id.clone();
                    keep(&id, contact_scores(contact));
                }
            }
            EntityKind::Account => {
                for account in view.accounts(which, at, Detail::Value).await? {
                    keep(&account.facts.account_id, account_scores(account.scores));
                }
            }
            EntityKind::Deal => {
                for deal in view.deals(which, at).await? {
                    let previous = tiers.get(&(Arc::from(deal.deal_id.as_str()), "health".to_owned()));
                    keep(
                        &deal.deal_id,
                        view.deal_scores(&deal, at, previous.map(String::as_str)),
                    );
                }
            }
            EntityKind::Tenant => {}
        }
    }
    Ok(scores)
}

/// One score now, under both.
fn compared(kind: EntityKind, score: &str, pairs: &Pairs) -> ScoreTrial {
    let own = || pairs.iter().filter(|((_, name), _)| name == score);
    let scored = own().filter(|(_, (before, after))| before.0.is_some() || after.0.is_some());
    let mut moves: Vec<ScoreMove> = own()
        .filter(|(_, (before, after))| {
            let distance = before.0.unwrap_or(0.0) - after.0.unwrap_or(0.0);
            distance.abs() > 1e-9 || before.0.is_some() != after.0.is_some() || before.1 != after.1
        })
        .map(|((id, _), (before, after))| ScoreMove {
            entity_id: id.clone(),
            before: before.clone(),
            after: after.clone(),
        })
        .collect();
    let distance = |one: &ScoreMove| (one.before.0.unwrap_or(0.0) - one.after.0.unwrap_or(0.0)).abs();
    moves.sort_by(|a, b| {
        let order = distance(b).total_cmp(&distance(a));
        order.then_with(|| a.entity_id.cmp(&b.entity_id))
    });
    let mut tiers: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (_, (before, after)) in own() {
        if let Some(tier) = &before.1 {
            tiers.entry(tier.clone()).or_default().0 += 1;
        }
        if let Some(tier) = &after.1 {
            tiers.entry(tier.clone()).or_default().1 += 1;
        }
    }
    let changed = moves.len();
    moves.truncate(TOLD);
    ScoreTrial {
        entity_kind: kind,
        score: score.to_owned(),
        entities: scored.count(),
        changed,
        mean_before: mean(own().filter_map(|(_, (before, _))| before.0)),
        mean_after: mean(own().filter_map(|(_, (_, after))| after.0)),
        tiers: tiers
            .into_iter()
            .map(|(tier, (before, after))| (tier, before, after))
            .collect(),
        moves,
        backtest: None,
    }
}

/// A score at some instant, under both, and whether what it speaks of came.
#[derive(Debug, Clone)]
struct Row {
    before: Told,
    after: Told,
    came: bool,
}

/// How well a score told what came after instants of the past; none where it speaks of no outcome, or nothing came.
fn backtest(kind: EntityKind, score: &str, past: &[(Timestamp, Pairs)], came: &Came) -> Option<Backtest> {
    let outcome = match (kind, score) {
        (EntityKind::Contact, "priority" | "engagement") => "answered, met or called since",
        (EntityKind::Deal, "health") => "won, of the deals that ended since",
        _ => return None,
    };
    let mut rows = Vec::new();
    for (origin, pairs) in past {
        for ((id, _), (before, after)) in pairs.iter().filter(|((_, name), _)| name == score) {
            let known = match kind {
                EntityKind::Contact => Some(came.answered.get(id).is_some_and(|at| at > origin)),
                _ => came
                    .ended
                    .get(id)
                    .filter(|(at, _)| at > origin)
                    .map(|(_, won)| *won),
            };
            if let Some(came) = known
                && before.0.is_some()
                && after.0.is_some()
            {
                rows.push(Row {
                    before: before.clone(),
                    after: after.clone(),
                    came,
                });
            }
        }
    }
    if rows.is_empty() {
        return None;
    }
    let side = |of: fn(&Row) -> &Told| -> Vec<(f64, bool)> {
        rows.iter()
            .filter_map(|row| Some((of(row).0?, row.came)))
            .collect()
    };
    let (before, after) = (side(|row| &row.before), side(|row| &row.after));
    let names: BTreeSet<&String> = rows
        .iter()
        .flat_map(|row| [&row.before.1, &row.after.1])
        .flatten()
        .collect();
    let share = |of: fn(&Row) -> &Told, tier: &String| {
        let own = rows.iter().filter(|row| of(row).1.as_ref() == Some(tier));
        mean(own.map(|row| f64::from(u8::from(row.came))))
    };
    Some(Backtest {
        outcome: outcome.to_owned(),
        rows: rows.len(),
        came: rows.iter().filter(|row| row.came).count(),
        auc: (auc(&before), auc(&after)),
        lift: (lift(before), lift(after)),
        tiers: names
            .into_iter()
            .map(|tier| {
                (
                    tier.clone(),
                    share(|row| &row.before, tier),
                    share(|row| &row.after, tier),
                )
            })
            .collect(),
    })
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_u32);
    for value in values {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / f64::from(count))
}

/// Area under the ROC curve by ranks, ties counted half:
/// `(sum of the ranks of those that came - c (c + 1) / 2) / (c * n)` with `c` that came and `n` that did not.
fn auc(rows: &[(f64, bool)]) -> Option<f64> {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let came = rows.iter().filter(|row| row.1).count() as f64;
    let others = rows.len() as f64 - came;
    if came < 1.0 || others < 1.0 {
        return None;
    }
    let mut ranks = 0.0;
    let mut at = 0;
    for same in rows.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let rank = at as f64 + f64::midpoint(1.0, same.len() as f64);
        ranks += rank * same.iter().filter(|row| row.1).count() as f64;
        at += same.len();
    }
    Some((ranks - came * (came + 1.0) / 2.0) / (came * others))
}

/// Share that came among the highest tenth over the share among all.
fn lift(mut rows: Vec<(f64, bool)>) -> Option<f64> {
    let flag = |row: &(f64, bool)| f64::from(u8::from(row.1));
    let all = mean(rows.iter().map(flag)).filter(|share| *share > 0.0)?;
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let top = rows.len().div_ceil(10);
    Some(mean(rows.iter().take(top).map(flag))? / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(value: f64, tier: &str) -> Told {
        (Some(value), Some(tier.to_owned()))
    }

    #[test]
    fn area_and_lift_are_those_of_the_books() {
        assert_eq!(auc(&[(1.0, false), (2.0, true)]), Some(1.0));
        assert_eq!(auc(&[(2.0, false), (1.0, true)]), Some(0.0));
        assert_eq!(auc(&[(1.0, false), (1.0, true)]), Some(0.5));
        assert_eq!(
            auc(&[(0.1, false), (0.4, false), (0.35, true), (0.8, true)]),
            Some(0.75)
        );
        assert_eq!(auc(&[(1.0, true)]), None);
        let rows: Vec<_> = (0..20).map(|n| (f64::from(n), n >= 18 || n == 3)).collect();
        assert!((lift(rows).expect("something came") - 1.0 / 0.15).abs() < 1e-9);
    }

    #[test]
    fn moves_and_tiers_are_told_once_the_largest_first() {
        let key = |id: &str| (id.to_owned(), "health".to_owned());
        let pairs = Pairs::from([
            (key("a"), (told(50.0, "watch"), told(50.0, "watch"))),
            (key("b"), (told(60.0, "watch"), told(40.0, "at_risk"))),
            (key("c"), (told(70.0, "healthy"), told(71.0, "healthy"))),
        ]);
        let trial = compared(EntityKind::Deal, "health", &pairs);
        assert_eq!((trial.entities, trial.changed), (3, 2));
        assert_eq!(trial.moves[0].entity_id, "b");
        assert!(trial.tiers.contains(&("watch".to_owned(), 2, 1)));
        let origin = Timestamp(10);
        let came = Came {
            ended: BTreeMap::from([
                ("b".to_owned(), (Timestamp(20), false)),
                ("c".to_owned(), (Timestamp(20), true)),
                ("a".to_owned(), (Timestamp(5), true)),
            ]),
            ..Came::default()
        };
        let test = backtest(EntityKind::Deal, "health", &[(origin, pairs)], &came).expect("deals ended");
        assert_eq!((test.rows, test.came), (2, 1));
        assert_eq!(test.auc, (Some(1.0), Some(1.0)));
    }
}
