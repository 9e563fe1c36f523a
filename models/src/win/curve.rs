//! When will this deal be won or lost? Cumulative incidence of both, on a grid of equal steps.

use serde::{Deserialize, Serialize};

/// Cumulative incidence of winning and losing an open deal, counted from the instant it was judged.
///
/// `won[k]` is the probability that the deal was won by the end of step `k` (at `(k + 1) * step_days` days);
/// `lost[k]` likewise. Both rise, and their sum never passes 1: what is left is the probability of being open still.
/// Made by a discrete-time competing-risk hazard (Tutz and Schmid, *Modeling Discrete Time-to-Event Data*, 2016, ch. 8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WinCurve {
    /// Length of one step, days, above 0.
    pub step_days: f64,
    /// Probability of having been won by the end of each step, 0 to 1.
    pub won: Vec<f64>,
    /// Probability of having been lost by the end of each step, 0 to 1.
    pub lost: Vec<f64>,
}

impl WinCurve {
    /// Cumulates hazards: `(won, lost)` per step, each the probability of ending so in that step if open at its start.
    ///
    /// ```text
    /// open(k) = open(k-1) * (1 - h_won(k) - h_lost(k));   won(k) = won(k-1) + open(k-1) * h_won(k)
    /// ```
    /// Hazards outside 0 to 1, not numbers, or summing above 1 are brought back into range, so that the result always
    /// holds what [`WinCurve`] promises. A `step_days` that is not above 0 counts as one week.
    pub fn from_hazards(step_days: f64, hazards: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let step_days = if step_days > 0.0 && step_days.is_finite() {
            step_days
        } else {
            7.0
        };
        let (mut open, mut won_sum, mut lost_sum) = (1.0_f64, 0.0_f64, 0.0_f64);
        let (mut won, mut lost) = (Vec::new(), Vec::new());
        for (hazard_won, hazard_lost) in hazards {
            let (hazard_won, hazard_lost) = (probability(hazard_won), probability(hazard_lost));
            let scale = (hazard_won + hazard_lost).max(1.0);
            let (to_won, to_lost) = (open * hazard_won / scale, open * hazard_lost / scale);
            won_sum = (won_sum + to_won).min(1.0);
            lost_sum = (lost_sum + to_lost).min(1.0 - won_sum);
            open = (1.0 - won_sum - lost_sum).max(0.0);
            won.push(won_sum);
            lost.push(lost_sum);
        }
        Self { step_days, won, lost }
    }

    /// Probability of having been won within so many days, by straight line between steps; 0 at or before day 0, the
    /// last step's beyond the grid.
    pub fn won_by(&self, days: f64) -> f64 {
        by(&self.won, self.step_days, days)
    }

    /// Probability of having been lost within so many days; see [`WinCurve::won_by`].
    pub fn lost_by(&self, days: f64) -> f64 {
        by(&self.lost, self.step_days, days)
    }

    /// Probability of ever winning: the last step's, plus what is still open then, split as the ended part was.
    ///
    /// With nothing ended at all there is no ground for a split, and what stays open counts as not won.
    pub fn ever(&self) -> f64 {
        let (won, lost) = (last(&self.won), last(&self.lost));
        if won + lost <= 0.0 {
            0.0
        } else {
            (won / (won + lost)).clamp(0.0, 1.0)
        }
    }

    /// The same course in time with another probability of ever winning: what has a say on *whether* need not have one on
    /// *when*. Steps of an end that never comes in this curve stay at 0.
    #[must_use]
    pub fn with_ever(&self, ever: f64) -> Self {
        let ended = last(&self.won) + last(&self.lost);
        let scale = |sum: f64, share: f64| if sum > 0.0 { share * ended / sum } else { 0.0 };
        let (to_won, to_lost) = (
            scale(last(&self.won), probability(ever)),
            scale(last(&self.lost), 1.0 - probability(ever)),
        );
        Self {
            step_days: self.step_days,
            won: self.won.iter().map(|won| won * to_won).collect(),
            lost: self.lost.iter().map(|lost| lost * to_lost).collect(),
        }
    }

    /// Mean days until the deal is won, given that it is won within the grid; none when that cannot happen.
    ///
    /// Within a step the instant is taken to be its middle.
    pub fn expected_close_days(&self) -> Option<f64> {
        let total = last(&self.won);
        if total <= 0.0 {
            return None;
        }
        let mut before = 0.0;
        let mut sum = 0.0;
        for (step, won) in self.won.iter().enumerate() {
            sum += (won - before) * (step as f64 + 0.5) * self.step_days;
            before = *won;
        }
        Some(sum / total)
    }
}

fn probability(value: f64) -> f64 {
    if value.is_nan() {
        0.0
    } else {
        value.clamp(0.0, 1.0)
    }
}

fn last(steps: &[f64]) -> f64 {
    steps.last().copied().unwrap_or(0.0)
}

fn by(steps: &[f64], step_days: f64, days: f64) -> f64 {
    let position = days / step_days;
    if position.is_nan() || position <= 0.0 {
        return 0.0;
    }
    let whole = position.floor();
    if whole >= steps.len() as f64 {
        return last(steps);
    }
    let index = whole as usize;
    let before = if index == 0 { 0.0 } else { steps[index - 1] };
    before + (steps[index] - before) * (position - whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn constant_hazards_give_the_closed_form() {
        let curve = WinCurve::from_hazards(7.0, vec![(0.1, 0.2); 400]);
        assert!((curve.won_by(7.0) - 0.1).abs() < 1e-12);
        assert!((curve.won_by(3.5) - 0.05).abs() < 1e-12);
        assert!((curve.lost_by(14.0) - (0.2 + 0.7 * 0.2)).abs() < 1e-12);
        assert!((curve.ever() - 1.0 / 3.0).abs() < 1e-12);
        // Geometric with 0.3 a step: mean 1/0.3 steps, less the half step of the middle.
        let days = curve.expected_close_days().unwrap();
        assert!((days - 7.0 * (1.0 / 0.3 - 0.5)).abs() < 1e-9);
    }

    #[test]
    fn an_empty_curve_wins_nothing() {
        let curve = WinCurve::from_hazards(f64::NAN, []);
        assert_eq!(
            (curve.ever(), curve.won_by(1e9), curve.expected_close_days()),
            (0.0, 0.0, None)
        );
    }

    proptest! {
        #[test]
        fn curves_rise_and_stay_below_one(
            step in 0.1f64..60.0,
            hazards in prop::collection::vec((-0.5f64..1.5, prop_oneof![Just(f64::NAN), -0.5f64..1.5]), 0..80),
            days in prop::collection::vec(-10.0f64..6000.0, 2..20),
        ) {
            let curve = WinCurve::from_hazards(step, hazards);
            let mut days = days;
            days.sort_by(f64::total_cmp);
            for pair in days.windows(2) {
                prop_assert!(curve.won_by(pair[0]) <= curve.won_by(pair[1]) + 1e-12);
                prop_assert!(curve.lost_by(pair[0]) <= curve.lost_by(pair[1]) + 1e-12);
                prop_assert!(curve.won_by(pair[1]) + curve.lost_by(pair[1]) <= 1.0 + 1e-12);
            }
            prop_assert!((0.0..=1.0).contains(&curve.ever()));
            if curve.ever() > 0.0 && curve.ever() < 1.0 {
                let other = curve.with_ever(0.25);
                prop_assert!((other.ever() - 0.25).abs() < 1e-9);
                prop_assert!((other.won_by(1e9) + other.lost_by(1e9) - curve.won_by(1e9) - curve.lost_by(1e9)).abs() < 1e-9);
            }
            if let Some(close) = curve.expected_close_days() {
                prop_assert!(close > 0.0 && close < step * curve.won.len() as f64);
            }
        }
    }
}
