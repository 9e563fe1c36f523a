//! How good were the methods on past periods, at the same elapsed share, knowing only what was known then?

use super::outlook::{METHODS, Outlook};

/// Periods that the assumption of equal methods, and of a right width, weighs like.
const PRIOR_PERIODS: f64 = 2.0;
/// Mean square of the standardised residual of a right 80 % interval: `1 / 1.2816^2`.
const RIGHT_SQUARE: f64 = 0.609;

/// One past period: what was forecast, what came.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What the methods said then.
    pub values: [f64; 4],
    /// P10, P50 and P90 of then.
    pub interval: [f64; 3],
    /// What came, as known now.
    pub actual: f64,
}

impl Record {
    /// From the outlook of then.
    #[must_use]
    pub fn new(then: &Outlook, actual: f64) -> Self {
        Self {
            values: then.values,
            interval: [then.quantile(0.1), then.quantile(0.5), then.quantile(0.9)],
            actual,
        }
    }
}

/// What the past says of the methods and of the width of the interval.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackRecord {
    /// Share of each method in the blend; they sum to 1.
    pub weights: [f64; 4],
    /// Sum of absolute errors over sum of actual revenue; absent where nothing came.
    pub wape: [Option<f64>; 4],
    /// Sum of (forecast - actual) over sum of actual revenue.
    pub bias: [Option<f64>; 4],
    /// Past periods inside their 80 % interval.
    pub covered: u32,
    /// Factor on the distance from the median, 0.5 to 3.
    pub widening: f64,
}

/// Weighs the methods by their mean square error on past periods.
///
/// ```text
/// weight(m) ~ 1 / (sum of squared errors(m) + PRIOR_PERIODS * mean squared error of all methods)
/// widening  = sqrt((PRIOR_PERIODS + sum(r^2) / 0.609) / (PRIOR_PERIODS + n)),  r = (actual - P50) / half width
/// ```
/// Without a past the methods weigh the same and the width stays: no cliff (N-24).
#[must_use]
pub fn track_record(records: &[Record]) -> TrackRecord {
    let total: f64 = records.iter().map(|record| record.actual).sum();
    let mut squares = [0.0; 4];
    let mut wape = [None; 4];
    let mut bias = [None; 4];
    for method in 0..METHODS.len() {
        let errors = || records.iter().map(|record| record.values[method] - record.actual);
        squares[method] = errors().map(|error| error * error).sum();
        if total > 0.0 {
            wape[method] = Some(errors().map(f64::abs).sum::<f64>() / total);
            bias[method] = Some(errors().sum::<f64>() / total);
        }
    }
    let mean = squares.iter().sum::<f64>() / (4.0 * records.len().max(1) as f64);
    let worth = squares.map(|square| {
        if mean > 0.0 {
            mean / (square + PRIOR_PERIODS * mean)
        } else {
            1.0
        }
    });
    let sum: f64 = worth.iter().sum();
    let inside = |record: &&Record| (record.interval[0]..=record.interval[2]).contains(&record.actual);
    let mut residuals = 0.0;
    let mut counted = 0.0;
    for record in records {
        let half = (record.interval[2] - record.interval[0]) / 2.0;
        if half > 0.0 {
            residuals += ((record.actual - record.interval[1]) / half).powi(2).min(25.0) / RIGHT_SQUARE;
            counted += 1.0;
        }
    }
    TrackRecord {
        weights: worth.map(|worth| worth / sum),
        wape,
        bias,
        covered: records.iter().filter(inside).count() as u32,
        widening: ((PRIOR_PERIODS + residuals) / (PRIOR_PERIODS + counted))
            .sqrt()
            .clamp(0.5, 3.0),
    }
}
