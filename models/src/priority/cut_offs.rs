//! The tenant's cut-offs: percentiles of raw priority, cut on a schedule and logged as a fact.

use serde::{Deserialize, Serialize};

/// Percentiles of the raw priority of a population.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CutOffs {
    /// Values at the shares of the definition (20 %, 50 %, 80 %), not falling.
    pub percentiles: [f64; 3],
    /// Contacts they were cut from.
    pub population: usize,
}

/// Cuts the percentiles of raw priorities at the given shares (`definitions.priority.shares`).
///
/// Linear interpolation between neighbours, as most statistics packages do. Values that are not finite are left out;
/// of nobody the shares themselves are answered (with a population of 0). Reorders the values; linear time.
#[must_use]
pub fn cut(values: &mut [f64], shares: &[f64; 3]) -> CutOffs {
    let finite = partition_finite(values);
    let values = &mut values[..finite];
    if values.is_empty() {
        return CutOffs {
            percentiles: *shares,
            population: 0,
        };
    }
    let percentiles = shares.map(|share| percentile(values, share));
    CutOffs {
        percentiles,
        population: values.len(),
    }
}

fn partition_finite(values: &mut [f64]) -> usize {
    let mut finite = 0;
    for place in 0..values.len() {
        if values[place].is_finite() {
            values.swap(place, finite);
            finite += 1;
        }
    }
    finite
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places in a population"
)]
fn percentile(values: &mut [f64], share: f64) -> f64 {
    let place = share * (values.len() - 1) as f64;
    let (_, low, above) = values.select_nth_unstable_by(place as usize, f64::total_cmp);
    let low = *low;
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    low + (high - low) * place.fract()
}

/// Least distance between knots of the map, so that it stays a function where percentiles coincide.
const LEAST_STEP: f64 = 1e-9;

impl CutOffs {
    /// The monotone piecewise-linear map that sends 0 to 0, the percentiles to `anchors` and 1 to 1.
    ///
    /// Where percentiles coincide the value at the tie gets the lowest of their anchors.
    #[must_use]
    pub fn anchored(&self, raw: f64, anchors: &[f64; 3]) -> f64 {
        let mut from = (0.0, 0.0);
        for (percentile, anchor) in self.percentiles.iter().zip(anchors) {
            let knot = (f64::max(*percentile, from.0 + LEAST_STEP), *anchor);
            if raw <= knot.0 {
                return between(from, knot, raw);
            }
            from = knot;
        }
        let top = (f64::max(1.0, from.0 + LEAST_STEP), 1.0);
        between(from, top, raw.min(top.0))
    }
}

fn between(from: (f64, f64), to: (f64, f64), raw: f64) -> f64 {
    from.1 + (to.1 - from.1) * (raw - from.0) / (to.0 - from.0)
}
