//! How busy is a day? Factors of months and weekdays on a daily rate, learnt from counts and shrunk towards 1.

use chrono::Datelike;
use revgauge_contract::{Timestamp, time::DAY_US};

/// Factors on a daily rate; their mean over the days learnt from is about 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Calendar {
    months: [f64; 12],
    weekdays: [f64; 7],
}

impl Default for Calendar {
    fn default() -> Self {
        Self {
            months: [1.0; 12],
            weekdays: [1.0; 7],
        }
    }
}

/// Days since 1970 of an instant, rounded down.
#[must_use]
pub(super) fn day_of(at: Timestamp) -> i64 {
    at.micros().div_euclid(DAY_US)
}

fn month_of(day: i64) -> usize {
    Timestamp(day.saturating_mul(DAY_US)).to_datetime().month0() as usize
}

const fn weekday_of(day: i64) -> usize {
    (day + 3).rem_euclid(7) as usize
}

impl Calendar {
    /// Learns from days: `(day, exposure, count)`, where the count is expected to be proportional to the exposure.
    ///
    /// First the months, then the weekdays given the months, each shrunk by [`shrunk`].
    #[must_use]
    pub(super) fn learn(days: &[(i64, f64, f64)]) -> Self {
        let exposure: f64 = days.iter().map(|day| day.1).sum();
        let count: f64 = days.iter().map(|day| day.2).sum();
        if exposure <= 0.0 || count <= 0.0 {
            return Self::default();
        }
        let rate = count / exposure;
        let mut months = [(0.0, 0.0); 12];
        for (day, exposed, counted) in days {
            let month = &mut months[month_of(*day)];
            *month = (month.0 + counted, month.1 + exposed * rate);
        }
        let months = shrunk(&months);
        let mut weekdays = [(0.0, 0.0); 7];
        for (day, exposed, counted) in days {
            let weekday = &mut weekdays[weekday_of(*day)];
            let expected = exposed * rate * months[month_of(*day)];
            *weekday = (weekday.0 + counted, weekday.1 + expected);
        }
        let weekdays = shrunk(&weekdays);
        let of = |factors: &[f64], place: usize| factors.get(place).copied().unwrap_or(1.0);
        Self {
            months: std::array::from_fn(|month| of(&months, month)),
            weekdays: std::array::from_fn(|weekday| of(&weekdays, weekday)),
        }
    }

    /// The factor of a day, counted since 1970.
    #[must_use]
    pub(super) fn factor(&self, day: i64) -> f64 {
        self.months[month_of(day)] * self.weekdays[weekday_of(day)]
    }
}

/// Factors of levels from `(count, expected)` each, by empirical Bayes with a gamma prior of mean 1.
///
/// ```text
/// factor = (count + k) / (expected + k),   1 / k = sum((count - expected)^2 - expected) / sum(expected^2)
/// ```
/// `1 / k` is the moment estimate of the variance between levels: where counts scatter no more than chance, `k` is large
/// and all factors are near 1 (Morris, *Parametric empirical Bayes inference*, JASA 1983).
#[must_use]
pub(super) fn shrunk(levels: &[(f64, f64)]) -> Vec<f64> {
    let squares: f64 = levels.iter().map(|(_, expected)| expected * expected).sum();
    let excess: f64 = levels
        .iter()
        .map(|(count, expected)| (count - expected).powi(2) - expected)
        .sum();
    let variance = if squares > 0.0 { excess / squares } else { 0.0 };
    let k = if variance > 1e-6 {
        (1.0 / variance).max(1.0)
    } else {
        1e6
    };
    levels
        .iter()
        .map(|(count, expected)| (count + k) / (expected + k))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_weekends_are_found_and_chance_is_not() {
        let days: Vec<(i64, f64, f64)> = (0..728)
            .map(|day| (day, 10.0, if weekday_of(day) < 5 { 7.0 } else { 0.0 }))
            .collect();
        let calendar = Calendar::learn(&days);
        // 1970-01-02 was a Friday.
        assert!((calendar.factor(1) - 1.4).abs() < 0.02, "{calendar:?}");
        assert!(calendar.factor(2) < 0.02, "{calendar:?}");
        let even = shrunk(&[(95.0, 100.0), (103.0, 100.0), (102.0, 100.0)]);
        assert!(even.iter().all(|factor| (factor - 1.0).abs() < 0.01), "{even:?}");
        assert_eq!(Calendar::learn(&[]), Calendar::default());
    }
}
