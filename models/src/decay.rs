//! Decay at read time: forward-decayed sums brought to an instant, and the instant at which they fall too low.
//!
//! Layer 1 keeps `S = sum(w * 2^((event_time - era_start) / h))` for each era of four years; the decayed value at `t` is
//! `S * 2^(-(t - era_start) / h)`, eras added (Cormode et al., *Forward decay*, ICDE 2009). From then on each sum
//! halves every `h`, so a whole score is a handful of [`Term`]s and its future is known.

use revgauge_contract::{
    Timestamp,
    time::{DAY_US, ERA_SECONDS, SECOND_US},
};

use crate::facts::ActivityRow;

/// Longest look ahead for crossings: what takes longer than this is told as "never".
pub const HORIZON_DAYS: f64 = 36_525.0;
/// Half-life classes that the contact pipelines keep, in days.
pub const CONTACT_HALF_LIVES: &[u16] = &[3, 14, 30, 60];
/// Half-life classes that the account pipeline keeps, in days.
pub const ACCOUNT_HALF_LIVES: &[u16] = &[7, 14, 60, 90, 180];

/// A decayed sum at a reference instant, halving every `half_life_days` from then on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// Value at the reference instant; not negative.
    pub value: f64,
    /// Half-life in days; positive.
    pub half_life_days: f64,
}

impl Term {
    /// The value `days` after the reference instant.
    #[must_use]
    pub fn after(&self, days: f64) -> f64 {
        self.value * (-days / self.half_life_days).exp2()
    }
}

/// The start of an era.
#[must_use]
pub const fn era_start(era: i64) -> Timestamp {
    Timestamp(era * ERA_SECONDS * SECOND_US)
}

/// The factor that brings a forward-decayed sum of an era to `at`: `2^(-(at - era_start) / h)`.
#[must_use]
pub fn factor(era: i64, half_life_days: u16, at: Timestamp) -> f64 {
    (-at.days_since(era_start(era)) / f64::from(half_life_days)).exp2()
}

/// The decayed number of events of a row at `at`; 0 when the row keeps no such half-life class.
///
/// Events after `at` that the row already holds count for more than one: give facts known at `at`.
#[must_use]
pub fn decayed(row: &ActivityRow, half_life_days: u16, at: Timestamp) -> f64 {
    row.sums
        .iter()
        .find(|(class, _)| *class == half_life_days)
        .map_or(0.0, |(_, sum)| sum * factor(row.era, half_life_days, at))
}

/// When the sum of the terms falls below `theta`, in days after their reference instant.
///
/// `None` when it is below already, or stays above for [`HORIZON_DAYS`]. One half-life: the closed form
/// `h * log2(S / theta)`; several: bisection, the sum being monotone. Exact to a microsecond.
#[must_use]
pub fn crossing_days(terms: &[Term], theta: f64) -> Option<f64> {
    let sum: f64 = terms.iter().map(|term| term.value).sum();
    if theta <= 0.0 || sum < theta || sum.is_nan() {
        return None;
    }
    let first = terms.iter().find(|term| term.value > 0.0)?;
    let one_class = terms
        .iter()
        .all(|term| term.value <= 0.0 || (term.half_life_days - first.half_life_days).abs() < f64::EPSILON);
    if one_class {
        let days = first.half_life_days * (sum / theta).log2();
        return (days <= HORIZON_DAYS).then_some(days);
    }
    let below = |days: f64| terms.iter().map(|term| term.after(days)).sum::<f64>() < theta;
    bisect(0.0, HORIZON_DAYS, below)
}

/// The first instant of `(from, to]` from which on `holds`, in days, for a condition that switches once.
///
/// `None` when it does not hold at `to`. Exact to half a microsecond.
pub(crate) fn bisect(from: f64, to: f64, holds: impl Fn(f64) -> bool) -> Option<f64> {
    if !holds(to) {
        return None;
    }
    let (mut low, mut high) = (from, to);
    while high - low > RESOLUTION_DAYS {
        let middle = low.midpoint(high);
        if middle <= low || middle >= high {
            break;
        }
        if holds(middle) {
            high = middle
        } else {
            low = middle
        }
    }
    Some(high)
}

/// The first instant of `(from, to]` at which a quantity that need not be monotone is below a bound, in days.
///
/// `bounds(a, b)` answers a lower and an upper bound of the quantity over `[a, b]` that tighten as `b - a` shrinks;
/// spans that stay above are skipped whole, so the first crossing is found however often there are more.
pub(crate) fn first_below(
    from: f64,
    to: f64,
    bound: f64,
    bounds: &impl Fn(f64, f64) -> (f64, f64),
) -> Option<f64> {
    let (lower, upper) = bounds(from, to);
    if lower >= bound {
        return None;
    }
    if upper < bound {
        return Some(from);
    }
    let middle = from.midpoint(to);
    if to - from <= RESOLUTION_DAYS || middle <= from || middle >= to {
        return (bounds(to, to).1 < bound).then_some(to);
    }
    first_below(from, middle, bound, bounds).or_else(|| first_below(middle, to, bound, bounds))
}

/// Half a microsecond in days.
const RESOLUTION_DAYS: f64 = 0.5 / (86_400.0 * 1e6);

/// The instant `days` after `at`, rounded up to the microsecond.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "at most a hundred years of microseconds, exact in f64"
)]
pub fn instant_after(at: Timestamp, days: f64) -> Timestamp {
    at.plus_micros((days * DAY_US as f64).ceil() as i64)
}

#[cfg(test)]
mod tests;
