//! How good were the methods on past periods, at the same elapsed share, knowing only what was known then?

use super::outlook::{HAZARD, METHODS, Outlook};

/// Periods that the assumption of the usual errors weighs like.
const PRIOR_PERIODS: f64 = 4.0;
/// Periods that the assumption of a right width weighs like. More than of the usual errors: one residual tells less of a
/// width than of which method errs more.
const PRIOR_WIDTHS: f64 = 8.0;
/// Ended deals from which a forecast's error is twice what it would be with endless ones.
const LEARNT_DEALS: f64 = 40.0;
/// Errors usual for the methods, against that of the best: what they are taken for before their own are known.
const USUAL_ERRORS: [f64; METHODS.len()] = [4.0, 3.0, 1.4, 1.0, 2.0, 2.5];
/// How sharply the weights fall with the squared error. The inverse of the squared error itself would be best if the
/// methods erred independently; they share most of what they know, so the better one gets more.
const SHARPNESS: f64 = 3.0;
/// Half width of a right 80 % interval in standard deviations.
const RIGHT_HALF: f64 = 1.2816;
/// Square beyond which a standardised residual counts no more: 2.5 standard deviations.
const MOST_SQUARE: f64 = 6.25;
/// Mean square of a standard normal deviate whose square is cut at [`MOST_SQUARE`].
const RIGHT_SQUARE: f64 = 0.9776;
/// Mean square over the squared mean size of a normal deviate: `pi / 2`.
const NORMAL_SQUARE: f64 = std::f64::consts::FRAC_PI_2;
/// Least and most factor by which the simulated rest of a period is moved to the blend.
const RECENTRED: (f64, f64) = (0.2, 5.0);

/// One past period: what was forecast, what came.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What the methods said then.
    pub values: [f64; METHODS.len()],
    /// P10, P50 and P90 of then.
    pub interval: [f64; 3],
    /// Won in the period before then.
    pub closed: f64,
    /// Mean distance of the simulated revenue of then from its median.
    pub deviation: f64,
    /// Ended deals that it was learnt from.
    pub ended: u32,
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
            closed: then.closed,
            deviation: then.deviation(),
            ended: then.ended,
            actual,
        }
    }
}

/// What the past says of the methods and of the width of the interval.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackRecord {
    /// Share of each method in the blend; they sum to 1.
    pub weights: [f64; METHODS.len()],
    /// Sum of absolute errors over sum of actual revenue; absent where nothing came.
    pub wape: [Option<f64>; METHODS.len()],
    /// Sum of (forecast - actual) over sum of actual revenue.
    pub bias: [Option<f64>; METHODS.len()],
    /// Factor on the distance from the median, 0.5 to 3.
    pub widening: f64,
}

impl TrackRecord {
    /// The methods' values by their weights.
    #[must_use]
    pub fn blend(&self, values: &[f64; METHODS.len()]) -> f64 {
        values
            .iter()
            .zip(self.weights)
            .map(|(value, weight)| value * weight)
            .sum()
    }

    /// P10, P50 and P90 of a record, as they would have been answered.
    #[must_use]
    pub fn interval(&self, record: &Record) -> [f64; 3] {
        record
            .interval
            .map(|revenue| self.answered(&record.values, record.closed, record.interval[1], revenue))
    }

    /// A simulated revenue moved to the blend and with the corrected distance from the median.
    ///
    /// ```text
    /// moved = closed + (revenue - closed) * (blend - closed) / (expected - closed)
    /// answered = max(closed, median + widening * (moved - median)),   median of what is moved
    /// ```
    /// It keeps the order, and revenue never falls below what is won already.
    #[must_use]
    pub fn corrected(&self, outlook: &Outlook, revenue: f64) -> f64 {
        self.answered(&outlook.values, outlook.closed, outlook.quantile(0.5), revenue)
    }

    fn answered(&self, values: &[f64; METHODS.len()], closed: f64, median: f64, revenue: f64) -> f64 {
        let factor = moved(&self.weights, values, closed);
        let moved = |revenue: f64| closed + (revenue - closed) * factor;
        (moved(median) + self.widening * factor * (revenue - median)).max(closed)
    }
}

/// Factor that brings the hazard's mean of the rest of the period to that of the blend.
fn moved(weights: &[f64; METHODS.len()], values: &[f64; METHODS.len()], closed: f64) -> f64 {
    let blend: f64 = values
        .iter()
        .zip(weights)
        .map(|(value, weight)| value * weight)
        .sum();
    let (wanted, simulated) = (blend - closed, values[HAZARD] - closed);
    if simulated > 0.0 {
        (wanted / simulated).clamp(RECENTRED.0, RECENTRED.1)
    } else {
        1.0
    }
}

/// How much a forecast of the past tells of one made now: the variance of its error over that of then, where what is
/// learnt from `n` ended deals errs like `1 + LEARNT_DEALS / n`.
fn tells(then: u32, now: u32) -> f64 {
    let share = |ended: u32| f64::from(ended) / (f64::from(ended) + LEARNT_DEALS);
    if now == 0 {
        1.0
    } else {
        (share(then) / share(now)).min(1.0)
    }
}

/// Weighs the methods by their mean square error on past periods, for a forecast learnt from so many ended deals.
///
/// ```text
/// weight(m) ~ 1 / (sum of v * squared errors(m) / unit + PRIOR_PERIODS * usual(m)^2) ^ SHARPNESS
/// unit      = mean squared error of a forecast whose distribution is right, else that of the best method
/// widening  = sqrt((PRIOR_WIDTHS + sum(v * min(z^2, 6.25) / 0.9776)) / (PRIOR_WIDTHS + sum(v)))
/// z         = 1.2816 * (actual - P50) / half width,   v = how much the record tells of now, 0 to 1
/// ```
/// with P50 and half width moved to the blend as the answer is. Squares are cut (winsorised, so that one odd quarter
/// does not widen all that follow) and `0.9776` keeps a right width right. An organisation's first quarters, forecast from
/// a handful of deals, tell little of what it errs now. Without a past the weights are those of the usual errors and the
/// width stays: no cliff (N-24).
#[must_use]
pub fn track_record(records: &[Record], ended: u32) -> TrackRecord {
    let total: f64 = records.iter().map(|record| record.actual).sum();
    let told: Vec<f64> = records.iter().map(|record| tells(record.ended, ended)).collect();
    let mut squares = [0.0; METHODS.len()];
    let mut wape = [None; METHODS.len()];
    let mut bias = [None; METHODS.len()];
    for method in 0..METHODS.len() {
        let errors = || records.iter().map(|record| record.values[method] - record.actual);
        squares[method] = errors()
            .zip(&told)
            .map(|(error, told)| told * error * error)
            .sum();
        if total > 0.0 {
            wape[method] = Some(errors().map(f64::abs).sum::<f64>() / total);
            bias[method] = Some(errors().sum::<f64>() / total);
        }
    }
    let count = told.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    // What a right forecast would err, from its own distribution: one lucky period does not make it small.
    let deviations = records
        .iter()
        .zip(&told)
        .map(|(record, told)| told * record.deviation.powi(2));
    let expected = NORMAL_SQUARE * deviations.sum::<f64>() / count;
    let least = squares.iter().copied().fold(f64::INFINITY, f64::min) / count;
    let unit = [expected, least, 1.0]
        .into_iter()
        .find(|unit| unit.is_finite() && *unit > 0.0)
        .unwrap_or(1.0);
    let worth: [f64; METHODS.len()] = std::array::from_fn(|method| {
        let usual = PRIOR_PERIODS * USUAL_ERRORS[method] * USUAL_ERRORS[method];
        (squares[method] / unit + usual).powf(-SHARPNESS)
    });
    let sum: f64 = worth.iter().sum();
    let weights = worth.map(|worth| worth / sum);
    TrackRecord {
        weights,
        wape,
        bias,
        widening: widening(records, &told, &weights),
    }
}

fn widening(records: &[Record], told: &[f64], weights: &[f64; METHODS.len()]) -> f64 {
    let (mut squares, mut counted) = (PRIOR_WIDTHS, PRIOR_WIDTHS);
    for (record, told) in records.iter().zip(told) {
        let factor = moved(weights, &record.values, record.closed);
        let half = factor * (record.interval[2] - record.interval[0]) / 2.0;
        let median = record.closed + factor * (record.interval[1] - record.closed);
        if half > 0.0 {
            let deviate = RIGHT_HALF * (record.actual - median) / half;
            squares += told * deviate.powi(2).min(MOST_SQUARE) / RIGHT_SQUARE;
            counted += told;
        }
    }
    (squares / counted).sqrt().clamp(0.5, 3.0)
}

/// How good the blend was on past periods, each with the weights and the width that the periods before it gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlendRecord {
    /// Sum of absolute errors over sum of actual revenue; absent where nothing came.
    pub wape: Option<f64>,
    /// Sum of (forecast - actual) over sum of actual revenue.
    pub bias: Option<f64>,
    /// Past periods inside the 80 % range that would have been answered.
    pub covered: u32,
}

/// Judges the blend on records, newest first. Cost: the square of their number.
#[must_use]
pub fn blend_record(records: &[Record]) -> BlendRecord {
    let (mut absolute, mut signed, mut covered) = (0.0, 0.0, 0);
    for (place, record) in records.iter().enumerate() {
        let before = track_record(&records[place + 1..], record.ended);
        let error = before.blend(&record.values) - record.actual;
        absolute += error.abs();
        signed += error;
        let [low, _, high] = before.interval(record);
        covered += u32::from((low..=high).contains(&record.actual));
    }
    let total: f64 = records.iter().map(|record| record.actual).sum();
    let over = |sum: f64| (total > 0.0).then(|| sum / total);
    BlendRecord {
        wape: over(absolute),
        bias: over(signed),
        covered,
    }
}
