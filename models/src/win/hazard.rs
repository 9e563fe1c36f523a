//! When will an open deal be won or lost? A discrete-time competing-risk hazard, learnt from the change log alone.
//!
//! A *landmark* is an open deal as known at an instant. From it weeks are counted ahead; in each week the deal is won, lost
//! or stays. Two logistic models, one a cause (Tutz and Schmid 2016, ch. 8), give the chance of either end in week `k` of
//! a deal open at its start:
//!
//! ```text
//! logit h_c(k) = baseline_c(k) + stage_c + stage_c * ln(k) + close date against week k + age and time in stage at week k
//!                + slips + silence + amount
//! ```
//! Landmarks at several ages of each deal, pooled, make one model for deals of any age (van Houwelingen 2007). Deals still
//! open count with the weeks seen so far, so censoring biases nothing. All is read with what was known at the instant asked
//! for, so a forecast of the past uses nothing later (F-2).

mod logistic;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use revgauge_contract::Timestamp;
use serde::{Deserialize, Serialize};

use self::logistic::{Entry, Sparse, fit as fit_logistic, log_odds};
use super::{
    artifact::sigmoid,
    curve::WinCurve,
    rows::{DealRow, STAGE, facts_at},
};
use crate::{
    changelog::ChangeLog,
    deal::DealFacts,
    directory::{Outcome, StageCatalogue},
    win::encode::Cell,
};

/// Ages, in days since a deal was first known, at which it is a landmark while it is open. Fixed, because ages that
/// depend on a deal's end would tell of it.
pub const LANDMARK_DAYS: [f64; 6] = [1.0, 10.0, 25.0, 50.0, 90.0, 150.0];
/// Days of a step, and steps of a curve: a year and a half.
const STEP_DAYS: f64 = 7.0;
const STEPS: usize = 78;
/// Last step of each part of the baseline.
const BASELINE: [usize; 9] = [1, 2, 4, 6, 9, 13, 20, 32, STEPS];
/// Days until the close date, at the edges of its classes; negative when it is past.
const CLOSE_EDGES: [f64; 8] = [-60.0, -21.0, -7.0, 0.0, 7.0, 21.0, 45.0, 90.0];
/// Stages with an effect of their own, by how often they are a landmark's.
const MOST_STAGES: usize = 20;
/// Won and lost deals below which nothing is fitted: the rates per stage say it better.
const LEAST_ENDED: usize = 15;
/// Weeks without an end that are fitted at most; more are drawn evenly and weighted up.
const MOST_WEEKS: usize = 60_000;

/// Place of each group of columns in the sparse design.
const AT_BASELINE: usize = 0;
const AT_CLOSE: usize = AT_BASELINE + BASELINE.len();
const AT_NUMBERS: usize = AT_CLOSE + CLOSE_EDGES.len() + 2;
const NUMBER_COLUMNS: usize = 6;
const AT_STAGES: usize = AT_NUMBERS + NUMBER_COLUMNS;

/// What a landmark brings to every week.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    stage: Option<usize>,
    age_days: f64,
    stage_days: f64,
    days_to_close: f64,
    slips: f64,
    quiet_days: f64,
    amount: f64,
}

/// The hazard model of one tenant at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HazardModel {
    stages: BTreeMap<String, usize>,
    won: Vec<f64>,
    lost: Vec<f64>,
    /// Mean of `ln(amount)` among landmarks: what a missing amount counts as.
    mean_amount: f64,
    /// Ended deals learnt from.
    ended: usize,
}

impl HazardModel {
    /// Learns from all deals as known at `at`; none while fewer than fifteen were won or fifteen lost.
    ///
    /// Cost: six readings of each deal's log and a few dozen passes over at most 60,000 weeks; about a second for 100,000
    /// deals.
    pub fn learn(log: &ChangeLog, stages: &StageCatalogue, at: Timestamp) -> Option<Self> {
        let (landmarks, ends) = landmarks(log, stages, at);
        let of = |outcome: Outcome| ends.iter().filter(|(_, end)| *end == outcome).count();
        let (won, lost) = (of(Outcome::Won), of(Outcome::Lost));
        if won < LEAST_ENDED || lost < LEAST_ENDED {
            return None;
        }
        let mut model = Self {
            stages: frequent_stages(&landmarks),
            won: Vec::new(),
            lost: Vec::new(),
            mean_amount: mean_amount(&landmarks),
            ended: won + lost,
        };
        let weeks: usize = landmarks.iter().map(|(_, _, weeks, _)| *weeks).sum();
        let stride = weeks.div_ceil(MOST_WEEKS).max(1);
        let mut design = Sparse::default();
        let (mut is_won, mut is_lost) = (Vec::new(), Vec::new());
        let mut passed = 0_usize;
        for (row, stage, weeks, end) in &landmarks {
            let known = model.known_of(row, stage.as_deref());
            for week in 1..=*weeks {
                let end = if week == *weeks { *end } else { Outcome::Open };
                passed += 1;
                // A week with an end is kept; of the others one in `stride`, which stands for them all.
                let weight = match end {
                    Outcome::Open if !passed.is_multiple_of(stride) => continue,
                    Outcome::Open => stride as f64,
                    Outcome::Won | Outcome::Lost => 1.0,
                };
                design.push(&model.week(&known, week), weight);
                is_won.push(end == Outcome::Won);
                is_lost.push(end == Outcome::Lost);
            }
        }
        let width = AT_STAGES + 2 * model.stages.len();
        model.won = fit_logistic(&design, width, &is_won);
        model.lost = fit_logistic(&design, width, &is_lost);
        Some(model)
    }

    /// Ended deals learnt from.
    pub const fn ended(&self) -> usize {
        self.ended
    }

    /// The curve of an open deal from facts as known at `at`, counted from `at`.
    pub fn curve(&self, facts: &DealFacts, at: Timestamp) -> WinCurve {
        let row = DealRow::of(facts, at);
        let stage = match row.cell(STAGE) {
            Cell::Text(stage) => Some(stage),
            Cell::Number(_) | Cell::Missing => None,
        };
        let known = self.known_of(&row.numbers, stage);
        let hazards = (1..=STEPS).map(|week| {
            let entries = self.week(&known, week);
            let hazard = |weights: &[f64]| sigmoid(log_odds(weights, &entries));
            (hazard(&self.won), hazard(&self.lost))
        });
        WinCurve::from_hazards(STEP_DAYS, hazards)
    }

    fn known_of(&self, numbers: &[f64; super::rows::NUMBERS.len()], stage: Option<&str>) -> Known {
        let or_zero = |value: f64| if value.is_finite() { value } else { 0.0 };
        let amount = if numbers[7] > 0.0 {
            numbers[7].ln() - self.mean_amount
        } else {
            0.0
        };
        Known {
            stage: stage.and_then(|stage| self.stages.get(stage)).copied(),
            age_days: or_zero(numbers[0]),
            stage_days: or_zero(numbers[1]),
            days_to_close: numbers[6],
            slips: or_zero(numbers[3]).min(4.0),
            quiet_days: or_zero(numbers[11]),
            amount: amount.clamp(-4.0, 4.0),
        }
    }

    /// The columns of one week ahead of a landmark.
    fn week(&self, known: &Known, week: usize) -> Vec<Entry> {
        let begin = (week - 1) as f64 * STEP_DAYS;
        let mut entries = Vec::with_capacity(10 + NUMBER_COLUMNS);
        let part = BASELINE
            .partition_point(|last| *last < week)
            .min(BASELINE.len() - 1);
        entries.push((AT_BASELINE + part, 1.0));
        let class = if known.days_to_close.is_finite() {
            let left = known.days_to_close - begin;
            CLOSE_EDGES.partition_point(|edge| *edge <= left)
        } else {
            CLOSE_EDGES.len() + 1
        };
        entries.push((AT_CLOSE + class, 1.0));
        let numbers = [
            (known.age_days + begin).ln_1p() / 4.0,
            (known.stage_days + begin).ln_1p() / 4.0,
            known.slips / 2.0,
            known.quiet_days.ln_1p() / 4.0,
            known.amount / 2.0,
            (week as f64).ln() / 4.0,
        ];
        entries.extend(
            numbers
                .into_iter()
                .enumerate()
                .map(|(place, number)| (AT_NUMBERS + place, number)),
        );
        if let Some(stage) = known.stage {
            entries.push((AT_STAGES + 2 * stage, 1.0));
            entries.push((AT_STAGES + 2 * stage + 1, (week as f64).ln() / 4.0));
        }
        entries
    }
}

/// The curves of the open deals of a tenant at an instant.
///
/// Hooked into the forecast where it asks `rates.curve(&deal.stage)` today: learn once beside `StageRates::learn` with the
/// same log, catalogue and instant, then ask `curves.curve(&deal.deal_id).or(rates.curve(&deal.stage))`. Where too few
/// deals ended for a hazard of their own there is no curve here, and the rates per stage answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DealCurves {
    curves: BTreeMap<String, WinCurve>,
    ended: usize,
}

impl DealCurves {
    /// Learns the hazard and judges every open deal, all as known at `at`. Cost: see [`HazardModel::learn`], and a reading
    /// of each open deal.
    pub fn learn(log: &ChangeLog, stages: &StageCatalogue, at: Timestamp) -> Self {
        let Some(model) = HazardModel::learn(log, stages, at) else {
            return Self::default();
        };
        let open = log
            .logs()
            .filter_map(|deal| facts_at(deal, stages, at))
            .filter(|facts| facts.outcome == Outcome::Open);
        Self {
            curves: open
                .map(|facts| {
                    let curve = model.curve(&facts, at);
                    (facts.deal_id, curve)
                })
                .collect(),
            ended: model.ended,
        }
    }

    /// The curve of an open deal, counted from the instant learnt at.
    pub fn curve(&self, deal_id: &str) -> Option<&WinCurve> {
        self.curves.get(deal_id)
    }

    /// Ended deals learnt from; 0 where they were too few.
    pub const fn ended(&self) -> usize {
        self.ended
    }
}

/// When and how a deal ended, as known at `at`: by the first change known that closed it, at that change's event time.
/// None while it is open, deleted or merged away.
pub fn ended(
    log: crate::changelog::ObjectLog<'_>,
    stages: &StageCatalogue,
    at: Timestamp,
) -> Option<(Timestamp, Outcome)> {
    let facts = facts_at(log, stages, at)?;
    if facts.outcome == Outcome::Open {
        return None;
    }
    let told = ["closed_at", "closed_date", "won_time", "lost_time"]
        .iter()
        .find_map(|name| crate::deal::instant(facts.fields.get(*name)?));
    let when = facts.history.closed_at.or(told).or(facts.history.last_change)?;
    Some((when.min(at), facts.outcome))
}

type Landmark = ([f64; super::rows::NUMBERS.len()], Option<String>, usize, Outcome);

/// Landmarks with the weeks seen ahead of each and how the last of them ended; and the end of each ended deal.
fn landmarks(
    log: &ChangeLog,
    stages: &StageCatalogue,
    at: Timestamp,
) -> (Vec<Landmark>, Vec<(Timestamp, Outcome)>) {
    let (mut landmarks, mut ends) = (Vec::new(), Vec::new());
    for deal in log.logs() {
        let Some(first) = deal.changes().next().map(|change| change.known_at) else {
            continue;
        };
        if first > at || !deal.state_at(at).exists() {
            continue;
        }
        let end = ended(deal, stages, at);
        ends.extend(end);
        let (until, outcome) = end.unwrap_or((at, Outcome::Open));
        for age in LANDMARK_DAYS {
            let landmark = first.plus_micros((age * revgauge_contract::time::DAY_US as f64) as i64);
            if landmark >= until {
                break;
            }
            let Some(facts) = facts_at(deal, stages, landmark).filter(|facts| facts.outcome == Outcome::Open)
            else {
                continue;
            };
            let days = until.days_since(landmark);
            // A week in which a deal ended is seen; of an open deal only whole weeks are.
            let weeks = if outcome == Outcome::Open {
                (days / STEP_DAYS).floor()
            } else {
                (days / STEP_DAYS).ceil()
            };
            let (weeks, outcome) = if weeks > STEPS as f64 {
                (STEPS, Outcome::Open)
            } else {
                (weeks as usize, outcome)
            };
            if weeks > 0 {
                let row = DealRow::of(&facts, landmark);
                let stage = match row.cell(STAGE) {
                    Cell::Text(stage) => Some(stage.to_owned()),
                    Cell::Number(_) | Cell::Missing => None,
                };
                landmarks.push((row.numbers, stage, weeks, outcome));
            }
        }
    }
    (landmarks, ends)
}

fn frequent_stages(landmarks: &[Landmark]) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, stage, weeks, _) in landmarks {
        if let Some(stage) = stage {
            *counts.entry(stage).or_default() += weeks;
        }
    }
    let mut frequent: Vec<(usize, &str)> = counts.into_iter().map(|(stage, count)| (count, stage)).collect();
    frequent.sort_by(|a, b| b.cmp(a));
    frequent.truncate(MOST_STAGES);
    frequent
        .into_iter()
        .enumerate()
        .map(|(place, (_, stage))| (stage.to_owned(), place))
        .collect()
}

fn mean_amount(landmarks: &[Landmark]) -> f64 {
    let known: Vec<f64> = landmarks
        .iter()
        .filter(|(numbers, ..)| numbers[7] > 0.0)
        .map(|(numbers, ..)| numbers[7].ln())
        .collect();
    known.iter().sum::<f64>() / known.len().max(1) as f64
}
