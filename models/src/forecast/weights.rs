//! How much does each method weigh in the blend, given how much each errs?

/// Correlation of the errors of two methods. They err together in most of what they err, because they see the same deals:
/// measured on simulated organisations, the hazard's with the time-aware method's 0.92, with the others' 0.2 to 0.8.
const CORRELATION: f64 = 0.85;

/// The shares with which methods whose errors have these standard deviations, each above 0, make the blend that errs
/// least, if any two errors have the correlation [`CORRELATION`] and no share is below 0. They sum to 1.
///
/// ```text
/// share(m) ~ (1 / e(m)) * (1 / e(m) - C),   C = r / (1 - r + k r) * sum over the k that have a share of 1 / e
/// ```
/// where the methods that have a share are those of the least errors, as many as come out above 0 (Elton, Gruber and
/// Padberg, *Simple criteria for optimal portfolio selection*, J. Finance 1976; of forecasts Bates and Granger 1969). A
/// method that errs beyond `1 / r` of the best has no share: what it knows the best knows too. The shares are a
/// continuous function of the errors.
pub(super) fn shares(errors: &[f64]) -> Vec<f64> {
    let sharpness: Vec<f64> = errors.iter().map(|error| 1.0 / error.max(1e-9)).collect();
    let mut order: Vec<usize> = (0..errors.len()).collect();
    order.sort_by(|a, b| sharpness[*b].total_cmp(&sharpness[*a]));
    let (mut sum, mut cut) = (0.0, 0.0);
    for (before, method) in order.into_iter().enumerate() {
        if sharpness[method] <= cut {
            break;
        }
        sum += sharpness[method];
        cut = CORRELATION / (1.0 - CORRELATION + (before + 1) as f64 * CORRELATION) * sum;
    }
    let worth = sharpness.iter().map(|sharp| sharp * (sharp - cut).max(0.0));
    let all: f64 = worth.clone().sum();
    worth.map(|worth| worth / all).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Variance of a blend.
    fn variance(shares: &[f64], errors: &[f64]) -> f64 {
        let parts: Vec<f64> = shares
            .iter()
            .zip(errors)
            .map(|(share, error)| share * error)
            .collect();
        let sum: f64 = parts.iter().sum();
        let squares: f64 = parts.iter().map(|part| part * part).sum();
        (1.0 - CORRELATION) * squares + CORRELATION * sum * sum
    }

    proptest! {
        #[test]
        fn no_shift_between_two_methods_errs_less(errors in prop::collection::vec(0.2f64..5.0, 1..8)) {
            let best = shares(&errors);
            prop_assert!((best.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(best.iter().all(|share| *share >= 0.0));
            let least = variance(&best, &errors);
            for from in 0..errors.len() {
                for to in 0..errors.len() {
                    let shift = best[from].min(1e-3);
                    let mut other = best.clone();
                    other[from] -= shift;
                    other[to] += shift;
                    prop_assert!(variance(&other, &errors) >= least - 1e-12, "{best:?} {from} {to}");
                }
            }
        }
    }

    #[test]
    fn equal_methods_share_alike_and_a_poor_one_has_none() {
        let even = shares(&[2.0, 2.0, 2.0]);
        assert!(
            even.iter().all(|share| (share - 1.0 / 3.0).abs() < 1e-12),
            "{even:?}"
        );
        let poor = shares(&[1.0, 1.1, 1.3]);
        assert!(poor[0] > poor[1] && poor[1] > 0.0 && poor[2] == 0.0, "{poor:?}");
    }
}
