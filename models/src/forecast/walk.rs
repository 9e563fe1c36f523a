//! How probable is it that a deal which stands in a stage is won within the period? Backward over its days.

use std::collections::BTreeMap;

use revgauge_contract::{Timestamp, time::DAY_US};

use super::{
    calendar::day_of,
    day_step::{DayStep, OLDEST, Rounded, age_of, rates, step_back},
    hazards::{Hazards, Profile},
};

/// Profiles are rounded to steps of this many natural logarithms, so that deals alike share one walk.
const STEP: f64 = 0.1;
/// Most days walked; a period that ends later is judged as if it ended then.
const MOST_DAYS: usize = 1_100;

/// The days from the instant of the forecast to the end of the period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    /// First day, counted since 1970.
    pub today: i64,
    /// Days until the period begins; wins before do not count. 0 when it has begun.
    pub wait: usize,
    /// Days until it ends, today included.
    pub left: usize,
    /// Share of today that is still to come, 0 to 1.
    pub first: f64,
}

impl Span {
    /// From an instant to the end of a period.
    pub(super) fn new(at: Timestamp, start: Timestamp, end: Timestamp) -> Self {
        let today = day_of(at);
        let until = |day: i64| usize::try_from(day - today).unwrap_or(0);
        Self {
            today,
            wait: until(day_of(start)),
            left: if end > at {
                until(day_of(end.plus_micros(-1)) + 1)
            } else {
                0
            },
            first: 1.0 - (at.micros().rem_euclid(DAY_US)) as f64 / DAY_US as f64,
        }
    }

    /// How much of a day counts, by its distance from today.
    pub(super) fn share(self, day: usize) -> f64 {
        if day == 0 { self.first } else { 1.0 }
    }
}

/// Probabilities of being won within the period, by profile.
#[derive(Debug)]
pub(super) struct Walks<'a> {
    hazards: &'a Hazards,
    span: Span,
    calendar: Vec<f64>,
    /// By stage and age band: hazards before profile and calendar.
    rates: Vec<(f64, f64)>,
    walked: BTreeMap<Rounded, Walk>,
}

#[derive(Debug, Clone)]
struct Walk {
    /// By stage and age, as of today.
    open: Vec<f64>,
    /// Of a deal created on each day, by the stages in which deals begin.
    created: Vec<f64>,
}

impl<'a> Walks<'a> {
    /// Walks over a span. Cost: a walk a profile, each `stages * 121 * days` steps.
    #[must_use]
    pub(super) fn new(hazards: &'a Hazards, span: Span) -> Self {
        let left = span.left.min(MOST_DAYS);
        let span = Span {
            left,
            wait: span.wait.min(left),
            ..span
        };
        Self {
            hazards,
            span,
            calendar: (0..left)
                .map(|day| hazards.calendar(span.today + day as i64) * span.share(day))
                .collect(),
            rates: rates(hazards),
            walked: BTreeMap::new(),
        }
    }

    /// Probability that a deal is won within the period that stands in a stage since so many days.
    pub(super) fn open(&mut self, profile: Profile, stage: usize, days: f64) -> f64 {
        let walk = self.walk(profile);
        let state = stage * OLDEST + age_of(days);
        walk.open.get(state).copied().unwrap_or(0.0)
    }

    /// Probabilities that a deal is won within the period if it is created on each of its days from today.
    pub(super) fn created(&mut self, profile: Profile) -> &[f64] {
        &self.walk(profile).created
    }

    fn walk(&mut self, profile: Profile) -> &Walk {
        let key = Rounded::to(STEP, profile);
        let (hazards, span, calendar, rates) = (self.hazards, self.span, &self.calendar, &self.rates);
        self.walked
            .entry(key)
            .or_insert_with(|| back(hazards, span, calendar, rates, key.profile(STEP)))
    }
}

/// ```text
/// W(stage, age, t) = step_back(win: 1 within the period, else 0; hazards of the profile and of day t) of W(.., t + 1)
/// ```
fn back(hazards: &Hazards, span: Span, calendar: &[f64], rates: &[(f64, f64)], profile: Profile) -> Walk {
    let mut next = vec![0.0; hazards.stages() * OLDEST];
    let mut now = next.clone();
    let mut created = vec![0.0; span.left];
    for day in (0..span.left).rev() {
        let counts = f64::from(u8::from(day >= span.wait));
        let step = |place: usize| {
            let (to_advance, to_lost) = rates[place];
            DayStep::of((
                to_advance * profile.advance * calendar[day],
                to_lost * profile.lost * calendar[day],
            ))
        };
        step_back(hazards, counts, step, &next, &mut now);
        std::mem::swap(&mut now, &mut next);
        created[day] = hazards
            .entries()
            .iter()
            .enumerate()
            .map(|(stage, share)| share * next[stage * OLDEST])
            .sum();
    }
    Walk { open: next, created }
}
