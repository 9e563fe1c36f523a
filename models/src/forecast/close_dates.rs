//! When is an open deal won, if it is won? Quantiles of the day, from its hazards.

use std::collections::BTreeMap;

use revgauge_contract::{Timestamp, time::DAY_US};

use super::{
    BookDeal,
    calendar::day_of,
    hazards::{AGES, Hazards, Target},
};
use crate::directory::Outcome;

/// Days ahead within which a win counts: what comes later says nothing of a deal that stands today.
const MOST_DAYS: usize = 540;
/// Ages told apart, as in the walk over a period.
const OLDEST: usize = AGES[AGES.len() - 1] as usize + 1;
/// Profiles are rounded to steps of this many natural logarithms, so that deals alike share one walk.
const STEP: f64 = 0.25;
/// Probabilities of the quantiles.
const PROBABILITIES: [f64; 3] = [0.1, 0.5, 0.9];
/// Probability of ever being won below which no date is told.
const LEAST: f64 = 1e-9;

/// P10, P50 and P90 of the instant of being won, of those worlds in which the deal is won within 540 days.
pub(super) type CloseDate = [Timestamp; 3];

/// The close dates of deals as known at `at`; nothing for one that is not open or has no way to be won.
///
/// ```text
/// F(n | stage, age) = p_adv * sum over targets(share * [won: 1, stage: F(n - 1 | stage', 0)])
///                   + (1 - p_adv - p_lost) * F(n - 1 | stage, age + 1)
/// date(q)           = at + the days in which the calendar's factors sum to n,   F(n) = q * F(540)
/// ```
/// `n` counts days as busy as the usual one, so dates fall on busy days. Straight lines between whole days. Cost: a walk of
/// 540 days for each profile of deals.
pub(super) fn close_dates(deals: &[BookDeal], hazards: &Hazards, at: Timestamp) -> Vec<Option<CloseDate>> {
    let mut dates = vec![None; deals.len()];
    let mut by_profile: BTreeMap<(i32, i32), BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
    let rounded = |factor: f64| (factor.max(1e-6).ln() / STEP).round() as i32;
    for (place, deal) in deals.iter().enumerate() {
        if deal.outcome != Outcome::Open {
            continue;
        }
        let profile = hazards.profile(&deal.owner_id, deal.amount, &deal.path);
        let entered = deal.path.last().map_or(deal.created, |(entered, _)| *entered);
        let age = (at.days_since(entered).max(0.0) as usize).min(OLDEST - 1);
        let state = hazards.stage(&deal.stage) * OLDEST + age;
        by_profile
            .entry((rounded(profile.advance), rounded(profile.lost)))
            .or_default()
            .entry(state)
            .or_default()
            .push(place);
    }
    let busy = Busy::from(hazards, at);
    for ((advance, lost), wanted) in by_profile {
        let of = |steps: i32| (f64::from(steps) * STEP).exp();
        let states: Vec<usize> = wanted.keys().copied().collect();
        let curves = curves(hazards, (of(advance), of(lost)), &states);
        for (places, curve) in wanted.values().zip(&curves) {
            let date = dated(curve, &busy);
            for place in places {
                dates[*place] = date;
            }
        }
    }
    dates
}

/// Of each wanted state, the probability of being won within 1, 2, ... days.
fn curves(hazards: &Hazards, (advance, lost): (f64, f64), wanted: &[usize]) -> Vec<Vec<f64>> {
    let stages = hazards.stages();
    let steps: Vec<(f64, f64)> = (0..stages)
        .flat_map(|stage| AGES.map(|from| hazards.rates(stage, from)))
        .map(|(to_advance, to_lost)| {
            let (to_advance, to_lost) = (to_advance * advance, to_lost * lost);
            let total = to_advance + to_lost;
            let stays = (-total).exp();
            let advances = if total > 0.0 {
                (1.0 - stays) * to_advance / total
            } else {
                0.0
            };
            (advances, stays)
        })
        .collect();
    let mut next = vec![0.0; stages * OLDEST];
    let mut now = next.clone();
    let mut curves = vec![Vec::with_capacity(MOST_DAYS); wanted.len()];
    for _ in 0..MOST_DAYS {
        for stage in 0..stages {
            let targets = hazards.onward(stage).iter();
            let won: f64 = targets
                .map(|(target, share)| match target {
                    Target::Won => *share,
                    Target::Stage(to) => share * next[to * OLDEST],
                })
                .sum();
            let base = stage * OLDEST;
            for (band, from) in AGES.iter().enumerate() {
                let (advances, stays) = steps[stage * AGES.len() + band];
                let until = AGES.get(band + 1).map_or(OLDEST, |until| *until as usize);
                for age in *from as usize..until {
                    let older = (age + 1).min(OLDEST - 1);
                    now[base + age] = advances * won + stays * next[base + older];
                }
            }
        }
        std::mem::swap(&mut now, &mut next);
        for (curve, state) in curves.iter_mut().zip(wanted) {
            curve.push(next[*state]);
        }
    }
    curves
}

/// The quantiles of a curve, told as instants.
fn dated(curve: &[f64], busy: &Busy) -> Option<CloseDate> {
    let ever = curve.last().copied().filter(|ever| *ever > LEAST)?;
    Some(PROBABILITIES.map(|probability| {
        let wanted = probability * ever;
        let day = curve.partition_point(|won| *won < wanted).min(curve.len() - 1);
        let before = if day == 0 { 0.0 } else { curve[day - 1] };
        let within = curve[day] - before;
        let part = if within > 0.0 {
            (wanted - before) / within
        } else {
            1.0
        };
        busy.after(day as f64 + part.clamp(0.0, 1.0))
    }))
}

/// Sums of the calendar's factors from an instant on.
struct Busy {
    at: Timestamp,
    /// Days from the instant to the midnights after it, and the sum of factors by then.
    sums: Vec<(f64, f64)>,
}

impl Busy {
    fn from(hazards: &Hazards, at: Timestamp) -> Self {
        let today = day_of(at);
        let left = 1.0 - at.micros().rem_euclid(DAY_US) as f64 / DAY_US as f64;
        let mut sums = vec![(0.0, 0.0)];
        let mut sum = 0.0;
        // Factors have a mean of about 1: twice the days hold the sum in any sane year.
        for day in 0..2 * MOST_DAYS {
            let share = if day == 0 { left } else { 1.0 };
            sum += share * hazards.calendar(today + day as i64);
            sums.push((day as f64 + left, sum));
        }
        Self { at, sums }
    }

    /// The instant at which the factors sum to so much; always later than the start.
    fn after(&self, wanted: f64) -> Timestamp {
        let place = self.sums.partition_point(|(_, sum)| *sum < wanted);
        let (day, sum) = self.sums[place.min(self.sums.len() - 1)];
        let (before, sum_before) = self.sums[place.min(self.sums.len() - 1).saturating_sub(1)];
        let part = if sum > sum_before {
            ((wanted - sum_before) / (sum - sum_before)).clamp(0.0, 1.0)
        } else {
            1.0
        };
        let days = before + part * (day - before);
        self.at.plus_micros(((days * DAY_US as f64) as i64).max(1))
    }
}
