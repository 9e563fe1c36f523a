//! The saturated sum behind engagement, intent and relationship strength, and how its value is shared out.
//!
//! The value is `top * (1 - exp(-x / scale))` with `x = max(0, gains - penalties)`. Shares follow Aumann and Shapley
//! along two straight legs: first from nothing to the gains, then from there to gains less penalties. Along a ray a
//! saturated sum is shared in proportion, so without penalties this is the plain proportional rule of S-1. The second
//! leg books a penalty as what it took away: gains never look larger than the score they would have made alone, a
//! penalty never takes more than was there, and the floor at zero needs no rule of its own.

/// A saturating curve: where it tends to and how soon.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Curve {
    /// Limit of the value.
    pub(crate) top: f64,
    /// Sum at which `1 - 1/e` (63 %) of the limit is reached; positive.
    pub(crate) scale: f64,
}

/// A value and the rates at which its parts are paid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shared {
    /// The score.
    pub(crate) value: f64,
    /// Points for each unit of gains.
    pub(crate) per_gain: f64,
    /// Points taken for each unit of penalties (not negative).
    pub(crate) per_penalty: f64,
}

impl Curve {
    /// The value at a net sum.
    pub(crate) fn at(self, net: f64) -> f64 {
        -self.top * (-net.max(0.0) / self.scale).exp_m1()
    }

    /// The net sum at which the value is `value`; `None` at or above the limit.
    pub(crate) fn inverse(self, value: f64) -> Option<f64> {
        (value < self.top).then(|| -self.scale * (-value / self.top).ln_1p())
    }

    /// Value and rates for sums of gains and of penalties, both not negative.
    pub(crate) fn share(self, gains: f64, penalties: f64) -> Shared {
        let alone = self.at(gains);
        let value = if penalties > 0.0 {
            self.at(gains - penalties)
        } else {
            alone
        };
        Shared {
            value,
            per_gain: if gains > 0.0 { alone / gains } else { 0.0 },
            per_penalty: if penalties > 0.0 {
                (alone - value) / penalties
            } else {
                0.0
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURVE: Curve = Curve {
        top: 100.0,
        scale: 30.0,
    };

    #[test]
    fn a_penalty_takes_at_most_what_was_there() {
        let shared = CURVE.share(40.0, 1_000.0);
        assert_eq!(shared.value, 0.0);
        assert!((40.0 * shared.per_gain - 1_000.0 * shared.per_penalty).abs() < 1e-12);
        assert!(40.0 * shared.per_gain < 100.0);
    }

    #[test]
    fn the_inverse_finds_the_sum() {
        let sum = CURVE.inverse(61.3).expect("below the limit");
        assert!((CURVE.at(sum) - 61.3).abs() < 1e-12);
        assert_eq!(CURVE.inverse(100.0), None);
    }
}
