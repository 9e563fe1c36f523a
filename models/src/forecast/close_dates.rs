//! When is an open deal won, if it is won? Quantiles of the day, from its hazards.

use std::collections::BTreeMap;

use revgauge_contract::{Timestamp, time::DAY_US};

use super::{
    BookDeal,
    calendar::day_of,
    day_step::{DayStep, OLDEST, Rounded, age_of, rates, step_back},
    hazards::{Hazards, Profile},
};
use crate::directory::Outcome;

/// Days ahead within which a win counts: what comes later says nothing of a deal that stands today.
const MOST_DAYS: usize = 540;
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
/// F(n | stage, age) = step_back(win: 1, hazards of the profile) of F(n - 1 | ..)
/// date(q)           = at + the days in which the calendar's factors sum to n,   F(n) = q * F(540)
/// ```
/// `n` counts days as busy as the usual one, so dates fall on busy days. Straight lines between whole days. Cost: a walk of
/// 540 days for each profile of deals.
pub(super) fn close_dates(deals: &[BookDeal], hazards: &Hazards, at: Timestamp) -> Vec<Option<CloseDate>> {
    let mut dates = vec![None; deals.len()];
    let mut by_profile: BTreeMap<Rounded, BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
    for (place, deal) in deals.iter().enumerate() {
        if deal.outcome != Outcome::Open {
            continue;
        }
        let profile = hazards.profile(&deal.owner_id, deal.amount, &deal.path);
        let entered = deal.path.last().map_or(deal.created, |(entered, _)| *entered);
        let state = hazards.stage(&deal.stage) * OLDEST + age_of(at.days_since(entered));
        by_profile
            .entry(Rounded::to(STEP, profile))
            .or_default()
            .entry(state)
            .or_default()
            .push(place);
    }
    let busy = Busy::from(hazards, at);
    for (rounded, wanted) in by_profile {
        let states: Vec<usize> = wanted.keys().copied().collect();
        let curves = curves(hazards, rounded.profile(STEP), &states);
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
fn curves(hazards: &Hazards, profile: Profile, wanted: &[usize]) -> Vec<Vec<f64>> {
    let steps: Vec<DayStep> = rates(hazards)
        .into_iter()
        .map(|(to_advance, to_lost)| DayStep::of((to_advance * profile.advance, to_lost * profile.lost)))
        .collect();
    let mut next = vec![0.0; hazards.stages() * OLDEST];
    let mut now = next.clone();
    let mut curves = vec![Vec::with_capacity(MOST_DAYS); wanted.len()];
    for _ in 0..MOST_DAYS {
        step_back(hazards, 1.0, |place| steps[place], &next, &mut now);
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
