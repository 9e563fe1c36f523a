//! What does one day do to an open deal? The step back by a day, from the days after it.

use super::hazards::{AGES, Hazards, Profile, Target};

/// Ages told apart: days in a stage from 0 to the oldest band, in which age makes no difference any more.
pub(super) const OLDEST: usize = AGES[AGES.len() - 1] as usize + 1;

/// Days in a stage, as an age told apart.
pub(super) fn age_of(days: f64) -> usize {
    (days.max(0.0) as usize).min(OLDEST - 1)
}

/// A profile rounded to steps of natural logarithms, so that deals alike share one walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rounded(i32, i32);

impl Rounded {
    /// A profile's nearest, in steps of `step` natural logarithms.
    pub(super) fn to(step: f64, profile: Profile) -> Self {
        let rounded = |factor: f64| (factor.max(1e-6).ln() / step).round() as i32;
        Self(rounded(profile.advance), rounded(profile.lost))
    }

    /// The profile it stands for, with the step it was rounded to.
    pub(super) fn profile(self, step: f64) -> Profile {
        let of = |steps: i32| (f64::from(steps) * step).exp();
        Profile {
            advance: of(self.0),
            lost: of(self.1),
        }
    }
}

/// What a day does to a deal that is open as it begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct DayStep {
    /// Probability of advancing.
    advances: f64,
    /// Probability of staying as it is.
    stays: f64,
}

impl DayStep {
    /// From the hazards of a day, 0 or more: `stays = exp(-(h_adv + h_lost))`, and the rest shared as the hazards are.
    pub(super) fn of((to_advance, to_lost): (f64, f64)) -> Self {
        let total = to_advance + to_lost;
        let stays = (-total).exp();
        let advances = if total > 0.0 {
            (1.0 - stays) * to_advance / total
        } else {
            0.0
        };
        Self { advances, stays }
    }
}

/// Hazards by stage and age band, before profile and calendar, in the order in which [`step_back`] asks for steps.
pub(super) fn rates(hazards: &Hazards) -> Vec<(f64, f64)> {
    (0..hazards.stages())
        .flat_map(|stage| AGES.map(|from| hazards.rates(stage, from)))
        .collect()
}

/// What is expected at the start of a day of a deal in each stage and age, from what is expected at its end.
///
/// ```text
/// now(stage, age) = advances * sum over targets(share * [won: win, stage: next(stage', 0)]) + stays * next(stage, age + 1)
/// ```
/// `win` is what a win on this day is worth, `step` the day of a stage and age band. Cost: `stages * 121`.
pub(super) fn step_back(
    hazards: &Hazards,
    win: f64,
    step: impl Fn(usize) -> DayStep,
    next: &[f64],
    now: &mut [f64],
) {
    for stage in 0..hazards.stages() {
        let targets = hazards.onward(stage).iter();
        let advanced: f64 = targets
            .map(|(target, share)| match target {
                Target::Won => share * win,
                Target::Stage(to) => share * next[to * OLDEST],
            })
            .sum();
        let base = stage * OLDEST;
        for (band, from) in AGES.iter().enumerate() {
            let DayStep { advances, stays } = step(stage * AGES.len() + band);
            let until = AGES.get(band + 1).map_or(OLDEST, |until| *until as usize);
            for age in *from as usize..until {
                let older = (age + 1).min(OLDEST - 1);
                now[base + age] = advances * advanced + stays * next[base + older];
            }
        }
    }
}
