//! How do deals of this tenant move and end? Rates per stage, and the win curve of a deal that stands in a stage.
//!
//! A Markov chain in continuous time with two absorbing states (won, lost): the cold-start hazard, which needs nothing but
//! the log. Open deals count with their time so far, so censoring biases nothing. What it does not know: that time in a
//! stage itself tells something.

use std::collections::BTreeMap;

use revgauge_contract::Timestamp;

use super::BookDeal;
use crate::{
    directory::{Outcome, StageCatalogue},
    win::curve::WinCurve,
};

/// Deal-days that the rates over all stages weigh within the rates of one stage.
const POOL_DAYS: f64 = 60.0;
/// Deal-days that the assumption of nothing known weighs within the rates over all stages.
const PRIOR_DAYS: f64 = 90.0;
/// Days a deal lasts when nothing is known.
const PRIOR_CYCLE_DAYS: f64 = 90.0;
/// Win rate when nothing is known and the stage catalogue says nothing.
const PRIOR_WIN_RATE: f64 = 0.2;
/// Days of a win curve's step, and steps of a curve: a year and a half.
const STEP_DAYS: f64 = 7.0;
const STEPS: usize = 78;

#[derive(Debug, Clone, Default, PartialEq)]
struct Exits {
    days: f64,
    won: f64,
    lost: f64,
    onwards: BTreeMap<String, f64>,
}

/// Rates per deal-day of leaving each stage, shrunk towards those over all stages.
///
/// ```text
/// rate(stage, end) = (count + POOL_DAYS * rate(all, end)) / (days + POOL_DAYS)
/// rate(all, won)   = (count + PRIOR_DAYS * 0.2 / 90) / (days + PRIOR_DAYS)
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StageRates {
    stages: BTreeMap<String, Exits>,
    pooled_won: f64,
    pooled_lost: f64,
    curves: BTreeMap<String, WinCurve>,
    unknown: Option<WinCurve>,
    entries: BTreeMap<String, f64>,
    ended: u32,
}

impl StageRates {
    /// Learns from the deals as known at `at`. Cost: a pass over their stage changes, and a curve a stage.
    #[must_use]
    pub fn learn(deals: &[BookDeal], catalogue: &StageCatalogue, at: Timestamp) -> Self {
        let mut rates = Self::default();
        for deal in deals {
            let end = deal.ended.unwrap_or(at).min(at);
            for (place, (entered, stage)) in deal.path.iter().enumerate() {
                let next = deal.path.get(place + 1);
                let left = next.map_or(end, |(left, _)| *left);
                let exits = rates.stages.entry(stage.clone()).or_default();
                exits.days += left.days_since(*entered).max(0.0);
                match (next, deal.outcome) {
                    (Some((_, onward)), _) => *exits.onwards.entry(onward.clone()).or_default() += 1.0,
                    (None, Outcome::Won) => exits.won += 1.0,
                    (None, Outcome::Lost) => exits.lost += 1.0,
                    (None, Outcome::Open) => {}
                }
            }
            if let Some((_, first)) = deal.path.first() {
                *rates.entries.entry(first.clone()).or_default() += 1.0;
            }
            rates.ended += u32::from(deal.outcome != Outcome::Open);
        }
        let sum = |of: fn(&Exits) -> f64| rates.stages.values().map(of).sum::<f64>();
        let days = sum(|exits| exits.days) + PRIOR_DAYS;
        let prior = |share: f64| PRIOR_DAYS * share / PRIOR_CYCLE_DAYS;
        rates.pooled_won = (sum(|exits| exits.won) + prior(PRIOR_WIN_RATE)) / days;
        rates.pooled_lost = (sum(|exits| exits.lost) + prior(1.0 - PRIOR_WIN_RATE)) / days;
        rates.curves = rates
            .stages
            .keys()
            .map(|stage| (stage.clone(), rates.curve_from(stage, catalogue)))
            .collect();
        rates.unknown = Some(rates.curve_from("", catalogue));
        rates
    }

    /// Deals that ended, of those learnt from.
    #[must_use]
    pub const fn ended(&self) -> u32 {
        self.ended
    }

    /// The win curve of a deal that stands in a stage; of a stage never seen, that of all stages together.
    #[must_use]
    pub fn curve(&self, stage: &str) -> Option<&WinCurve> {
        self.curves.get(stage).or(self.unknown.as_ref())
    }

    /// Probability that a deal created now is won within so many days, by the stages in which deals begin.
    #[must_use]
    pub fn new_won_by(&self, days: f64) -> f64 {
        let total: f64 = self.entries.values().sum();
        if total <= 0.0 {
            return self.unknown.as_ref().map_or(0.0, |curve| curve.won_by(days));
        }
        let won = |stage: &String| self.curve(stage).map_or(0.0, |curve| curve.won_by(days));
        self.entries.iter().map(|(stage, n)| n * won(stage)).sum::<f64>() / total
    }

    /// Rates of being won and lost in a stage, per day.
    fn end_rates(&self, stage: &str, catalogue: &StageCatalogue) -> (f64, f64) {
        let Some(exits) = self.stages.get(stage) else {
            // Never seen: the catalogue's probability splits the usual rate of ending.
            let ending = self.pooled_won + self.pooled_lost;
            let won = catalogue
                .stage(stage)
                .and_then(|stage| stage.probability)
                .map_or(self.pooled_won, |p| p.clamp(0.0, 1.0) * ending);
            return (won, ending - won);
        };
        let shrunk = |count: f64, pooled: f64| (count + POOL_DAYS * pooled) / (exits.days + POOL_DAYS);
        (
            shrunk(exits.won, self.pooled_won),
            shrunk(exits.lost, self.pooled_lost),
        )
    }

    fn curve_from(&self, start: &str, catalogue: &StageCatalogue) -> WinCurve {
        let names: Vec<&str> = self
            .stages
            .keys()
            .map(String::as_str)
            .chain((!self.stages.contains_key(start)).then_some(start))
            .collect();
        let place = |name: &str| names.iter().position(|held| *held == name);
        let ends: Vec<(f64, f64)> = names.iter().map(|name| self.end_rates(name, catalogue)).collect();
        let onwards: Vec<Vec<(usize, f64)>> = names
            .iter()
            .map(|name| {
                let Some(exits) = self.stages.get(*name) else {
                    return Vec::new();
                };
                let rate = |n: &f64| n / (exits.days + POOL_DAYS);
                let onward = |(to, n): (&String, &f64)| Some((place(to)?, rate(n)));
                exits.onwards.iter().filter_map(onward).collect()
            })
            .collect();
        let mut open = vec![0.0; names.len()];
        if let Some(start) = place(start) {
            open[start] = 1.0;
        }
        let mut hazards = Vec::with_capacity(STEPS);
        for _ in 0..STEPS {
            let before: f64 = open.iter().sum();
            let (mut won, mut lost) = (0.0, 0.0);
            for _ in 0..STEP_DAYS as usize {
                let mut next = open.clone();
                for (from, mass) in open.iter().enumerate() {
                    let total = ends[from].0 + ends[from].1 + onwards[from].iter().map(|o| o.1).sum::<f64>();
                    if total <= 0.0 {
                        continue;
                    }
                    // Exactly exponential within the day, one move a day at most.
                    let leaving = mass * (1.0 - (-total).exp());
                    next[from] -= leaving;
                    won += leaving * ends[from].0 / total;
                    lost += leaving * ends[from].1 / total;
                    for (to, rate) in &onwards[from] {
                        next[*to] += leaving * rate / total;
                    }
                }
                open = next;
            }
            hazards.push(if before > 1e-12 {
                (won / before, lost / before)
            } else {
                (0.0, 0.0)
            });
        }
        WinCurve::from_hazards(STEP_DAYS, hazards)
    }
}
