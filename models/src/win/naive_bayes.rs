//! What do a few ended deals say about an open one? Naive Bayes of shrunk, ageing counts: the model before there is a model.
//!
//! Counts add, so the model is exactly incremental, free of order and reversible (ALGORITHMS of Odoo's predictive lead
//! scoring, with what it lacks: ageing and shrinkage). A deal counts `2^(-age / half-life)`; forward decay makes that a plain
//! sum. A won deal counts for every stage it passed, so that a stage speaks of deals that reached it.
//!
//! ```text
//! log-odds = prior + sum over columns of temper * ln( (w_v + k s_v) / (W + k) / ((l_v + k s_v) / (L + k)) )
//! prior    = ln( (W + p m) / (L + (1 - p) m) ),   s_v = (w_v + l_v) / (W + L)
//! ```
//! with `w_v`, `l_v` the aged counts of won and lost deals holding value `v`, `W`, `L` those of all, and `k`, `m`
//! pseudo-deals. A value seen by nobody says nothing; with no deals at all the answer is the prior `p`.

use std::collections::BTreeMap;

use revgauge_contract::{Timestamp, time::DAY_US};
use serde::{Deserialize, Serialize};

use super::{
    encode::Cell,
    rows::{DealRow, STAGE},
};

/// Half-life of an ended deal's weight.
const HALF_LIFE_DAYS: f64 = 365.0;
/// Pseudo-deals that pull a value's likelihood ratio to 1.
const VALUE_PULL: f64 = 12.0;
/// Pseudo-deals of the prior win rate.
const PRIOR_DEALS: f64 = 10.0;
/// Win rate before anything is known.
const PRIOR_RATE: f64 = 0.2;
/// Part of each column's evidence that counts: columns of a deal repeat each other, and naive Bayes would count twice.
const TEMPER: f64 = 0.6;
/// Middle of the instants of forward decay: 2020-01-01.
const LANDMARK_US: i64 = 18_262 * DAY_US;

/// Numbers that speak, and the edges of their classes.
const CLASSES: [(&str, &[f64]); 4] = [
    ("slips", &[1.0, 2.0]),
    ("amount", &[1e3, 5e3, 2e4, 1e5]),
    ("inbound_60", &[0.5, 2.0, 6.0]),
    ("owner_changes", &[1.0]),
];

/// Aged counts of won and lost deals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Won, forward-decayed.
    pub won: f64,
    /// Lost, forward-decayed.
    pub lost: f64,
}

/// The counts of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NaiveBayes {
    all: Counts,
    /// By column, then value.
    columns: BTreeMap<String, BTreeMap<String, Counts>>,
}

/// What the counts say of one deal.
#[derive(Debug, Clone, PartialEq)]
pub struct ColdJudgement {
    /// Log-odds: `base` and all contributions.
    pub log_odds: f64,
    /// The prior's part.
    pub base: f64,
    /// Column and what its value adds.
    pub contributions: Vec<(String, f64)>,
    /// Ended deals, aged: how much there is behind it.
    pub deals: f64,
}

/// The values of a deal that are counted: its column and value, each once.
pub fn counted(row: &DealRow<'_>, stages_passed: &[&str]) -> Vec<(String, String)> {
    let mut values: Vec<(String, String)> = stages_passed
        .iter()
        .map(|stage| (STAGE.to_owned(), (*stage).to_owned()))
        .collect();
    values.extend(CLASSES.iter().filter_map(|(name, edges)| match row.cell(name) {
        Cell::Number(number) => {
            let class = edges.partition_point(|edge| *edge <= number);
            Some(((*name).to_owned(), class.to_string()))
        }
        Cell::Text(_) | Cell::Missing => None,
    }));
    values.sort();
    values.dedup();
    values
}

/// `2^((t - landmark) / half-life)`, held to four hundred half-lives either way: their quotients are numbers.
fn weight(ended: Timestamp) -> f64 {
    let half_lives = (ended.micros() as f64 - LANDMARK_US as f64) / DAY_US as f64 / HALF_LIFE_DAYS;
    half_lives.clamp(-400.0, 400.0).exp2()
}

impl NaiveBayes {
    /// Counts a deal that ended. Cost: a look-up a value.
    pub fn add(&mut self, values: &[(String, String)], won: bool, ended: Timestamp) {
        self.count(values, won, weight(ended));
    }

    /// Takes back a deal counted before, as when it is reopened.
    pub fn remove(&mut self, values: &[(String, String)], won: bool, ended: Timestamp) {
        self.count(values, won, -weight(ended));
    }

    fn count(&mut self, values: &[(String, String)], won: bool, weight: f64) {
        let add = |counts: &mut Counts| {
            let held = if won { &mut counts.won } else { &mut counts.lost };
            *held = (*held + weight).max(0.0);
        };
        add(&mut self.all);
        for (column, value) in values {
            add(self
                .columns
                .entry(column.clone())
                .or_default()
                .entry(value.clone())
                .or_default());
        }
    }

    /// What the counts say at an instant of a deal with these values. Never not a number.
    pub fn judge(&self, values: &[(String, String)], at: Timestamp) -> ColdJudgement {
        let now = weight(at);
        let aged = |count: f64| if now > 0.0 { count / now } else { 0.0 };
        let (won, lost) = (aged(self.all.won), aged(self.all.lost));
        let base = ((won + PRIOR_RATE * PRIOR_DEALS) / (lost + (1.0 - PRIOR_RATE) * PRIOR_DEALS)).ln();
        let total = won + lost;
        let contributions: Vec<(String, f64)> = values
            .iter()
            .filter_map(|(column, value)| {
                let counts = self.columns.get(column)?.get(value)?;
                if total <= 0.0 {
                    return None;
                }
                let (of_won, of_lost) = (aged(counts.won), aged(counts.lost));
                let pooled = (of_won + of_lost) / total;
                let likelihood = |own: f64, all: f64| (own + VALUE_PULL * pooled) / (all + VALUE_PULL);
                let ratio = TEMPER * (likelihood(of_won, won) / likelihood(of_lost, lost)).ln();
                ratio.is_finite().then(|| (column.clone(), ratio))
            })
            .collect();
        ColdJudgement {
            log_odds: base + contributions.iter().map(|(_, part)| part).sum::<f64>(),
            base,
            contributions,
            deals: total,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp(LANDMARK_US + day * DAY_US)
    }

    fn values(stage: &str) -> Vec<(String, String)> {
        vec![(STAGE.to_owned(), stage.to_owned())]
    }

    #[test]
    fn nothing_known_gives_the_prior_and_every_deal_moves_it_a_little() {
        let mut model = NaiveBayes::default();
        let prior = (PRIOR_RATE / (1.0 - PRIOR_RATE)).ln();
        assert!((model.judge(&values("a"), at(0)).log_odds - prior).abs() < 1e-12);
        let mut before = prior;
        for _ in 0..300 {
            model.add(&values("a"), true, at(0));
            let now = model.judge(&values("a"), at(0)).log_odds;
            assert!(now > before && now - before < 0.6, "no cliff: {before} {now}");
            before = now;
        }
    }

    #[test]
    fn instants_beyond_all_reason_give_numbers() {
        let mut counts = NaiveBayes::default();
        for day in [-10_000_000, 0, 10_000_000] {
            counts.add(&values("Demo"), day == 0, at(day));
        }
        for day in [-10_000_000, 0, 10_000_000] {
            let judged = counts.judge(&values("Demo"), at(day));
            assert!(
                judged.log_odds.is_finite() && judged.deals.is_finite(),
                "{judged:?}"
            );
        }
    }

    #[test]
    fn a_value_of_the_won_speaks_for_winning_and_old_deals_fade() {
        let mut model = NaiveBayes::default();
        for _ in 0..40 {
            model.add(&values("good"), true, at(0));
            model.add(&values("bad"), false, at(0));
        }
        let (good, bad) = (
            model.judge(&values("good"), at(0)),
            model.judge(&values("bad"), at(0)),
        );
        assert!(good.log_odds > 0.5 && bad.log_odds < -0.5);
        let later = model.judge(&values("good"), at(3650));
        assert!(later.deals < 0.1 && later.log_odds < good.log_odds);
    }

    proptest! {
        /// Order is nothing, taking back undoes, parts sum, and no number is not one.
        #[test]
        fn counts_are_sums(
            deals in prop::collection::vec((0usize..4, any::<bool>(), -3000i64..3000), 0..60),
            asked in (0usize..6, -4000i64..6000),
        ) {
            let stages = ["a", "b", "c", "d", "never", "x"];
            let mut forward = NaiveBayes::default();
            let mut backward = NaiveBayes::default();
            for (stage, won, day) in &deals {
                forward.add(&values(stages[*stage]), *won, at(*day));
            }
            for (stage, won, day) in deals.iter().rev() {
                backward.add(&values(stages[*stage]), *won, at(*day));
            }
            backward.add(&values("x"), true, at(5));
            backward.remove(&values("x"), true, at(5));
            let (a, b) = (
                forward.judge(&values(stages[asked.0]), at(asked.1)),
                backward.judge(&values(stages[asked.0]), at(asked.1)),
            );
            prop_assert!(a.log_odds.is_finite());
            prop_assert!((a.base + a.contributions.iter().map(|part| part.1).sum::<f64>() - a.log_odds).abs() < 1e-12);
            prop_assert!((a.log_odds - b.log_odds).abs() < 1e-6, "{} {}", a.log_odds, b.log_odds);
        }
    }
}
