//! How good were the methods on past periods, at the same elapsed share, knowing only what was known then?

use super::{
    outlook::{HAZARD, METHODS, Outlook},
    weights::shares,
};

/// What people submit, as a method beside [`METHODS`].
pub(super) const SUBMITTED: &str = "submitted";

/// Periods that the assumption of the usual errors weighs like.
const PRIOR_PERIODS: f64 = 8.0;
/// Periods that the assumption of a right width weighs like. More than of the usual errors: one residual tells less of a
/// width than of which method errs more.
const PRIOR_WIDTHS: f64 = 8.0;
/// Ended deals from which a forecast's error is twice what it would be with endless ones.
const LEARNT_DEALS: f64 = 40.0;
/// Errors usual for the methods, against that of the best: what they are taken for before their own are known.
const USUAL_ERRORS: [f64; METHODS.len()] = [3.0, 3.0, 1.1, 1.0, 2.0, 2.5];
/// The same of what people submit: without a share until some past period has shown it to be better.
const USUAL_SUBMITTED: f64 = 1.2;
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
    /// What people had submitted by then, and the hazard's value for those for whom nobody had; absent where nobody had.
    pub submitted: Option<f64>,
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
            submitted: None,
            actual,
        }
    }
}

/// What the past says of a method.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MethodRecord {
    /// Share in the blend.
    pub weight: f64,
    /// Sum of absolute errors over sum of actual revenue; absent where nothing came.
    pub wape: Option<f64>,
    /// Sum of (forecast - actual) over sum of actual revenue.
    pub bias: Option<f64>,
}

/// What the past says of the methods and of the width of the interval.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackRecord {
    /// In the order of [`METHODS`]; their weights and that of what is submitted sum to 1.
    pub methods: [MethodRecord; METHODS.len()],
    /// What people submit, where they did for the period asked about.
    pub submitted: Option<MethodRecord>,
    /// Factor on the distance from the median, 0.5 to 3.
    pub widening: f64,
}

impl TrackRecord {
    /// The weights of [`METHODS`].
    #[must_use]
    pub fn weights(&self) -> [f64; METHODS.len()] {
        self.methods.map(|method| method.weight)
    }

    /// The methods' values by their weights; without what is submitted where nobody did.
    #[must_use]
    pub fn blend(&self, values: &[f64; METHODS.len()], submitted: Option<f64>) -> f64 {
        let spoken = self
            .submitted
            .zip(submitted)
            .map(|(method, value)| (method.weight, value));
        let weighed = self
            .methods
            .iter()
            .zip(values)
            .map(|(method, value)| (method.weight, *value));
        let (sum, weight) = weighed.chain(spoken).fold((0.0, 0.0), |sum, (weight, value)| {
            (sum.0 + weight * value, sum.1 + weight)
        });
        if weight > 0.0 {
            sum / weight
        } else {
            values[HAZARD]
        }
    }

    /// P10, P50 and P90 of a record, as they would have been answered.
    #[must_use]
    pub fn interval(&self, record: &Record) -> [f64; 3] {
        let correction = self.correction(&record.values, record.closed, record.submitted);
        record
            .interval
            .map(|revenue| correction.answered(record.closed, record.interval[1], revenue))
    }

    /// The simulated revenue moved to the blend and with the corrected distance from the median ([`Correction`]).
    #[must_use]
    pub fn corrected(&self, outlook: &Outlook, submitted: Option<f64>) -> Vec<f64> {
        let (median, closed) = (outlook.quantile(0.5), outlook.closed);
        let correction = self.correction(&outlook.values, closed, submitted);
        let draws = outlook.draws.iter();
        draws
            .map(|draw| correction.answered(closed, median, *draw))
            .collect()
    }

    /// How the simulated revenue is moved and widened, for a forecast whose methods say `values`.
    #[must_use]
    pub fn correction(
        &self,
        values: &[f64; METHODS.len()],
        closed: f64,
        submitted: Option<f64>,
    ) -> Correction {
        Correction {
            factor: recentred(self.blend(values, submitted), values[HAZARD], closed),
            widening: self.widening,
        }
    }

    fn moved(&self, record: &Record) -> f64 {
        let blend = self.blend(&record.values, record.submitted);
        recentred(blend, record.values[HAZARD], record.closed)
    }
}

/// What the track record makes of simulated revenue.
///
/// ```text
/// moved    = closed + (revenue - closed) * factor,   factor = (blend - closed) / (expected - closed), 0.2 to 5
/// answered = max(closed, moved(median) + widening * factor * (revenue - median))
/// ```
/// It keeps the order, and revenue never falls below what is won already.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction {
    /// On what is not closed yet.
    pub factor: f64,
    /// On the distance from the median.
    pub widening: f64,
}

impl Correction {
    /// A mean, of which `closed` is won already, moved to the blend. It is linear in both, so sums stay sums.
    #[must_use]
    pub fn mean(self, closed: f64, expected: f64) -> f64 {
        closed + (expected - closed) * self.factor
    }

    /// A simulated revenue, by its median.
    #[must_use]
    pub fn answered(self, closed: f64, median: f64, revenue: f64) -> f64 {
        (self.mean(closed, median) + self.widening * self.factor * (revenue - median)).max(closed)
    }
}

/// Factor that brings the hazard's mean of the rest of the period to that of the blend.
fn recentred(blend: f64, hazard: f64, closed: f64) -> f64 {
    let (wanted, simulated) = (blend - closed, hazard - closed);
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

/// Weighs the methods by their mean square error on past periods, for a forecast learnt from so many ended deals; what is
/// submitted only where it is `spoken`: people did for the period asked about.
///
/// ```text
/// error(m)^2 = (sum of v * squared errors(m) / unit + PRIOR_PERIODS * usual(m)^2) / (sum of v + PRIOR_PERIODS)
/// weight(m)  = the share of the blend that errs least, by these errors (`shares`)
/// unit       = mean squared error of a forecast whose distribution is right, else that of the best method
/// widening   = sqrt((PRIOR_WIDTHS + sum(v * min(z^2, 6.25) / 0.9776)) / (PRIOR_WIDTHS + sum(v)))
/// z          = 1.2816 * (actual - P50) / half width,   v = how much the record tells of now, 0 to 1
/// ```
/// with P50 and half width moved to the blend as the answer is. Squares are cut (winsorised, so that one odd quarter
/// does not widen all that follow) and `0.9776` keeps a right width right. An organisation's first quarters, forecast from
/// a handful of deals, tell little of what it errs now. Without a past the weights are those of the usual errors and the
/// width stays: no cliff (N-24).
#[must_use]
pub fn track_record(records: &[Record], ended: u32, spoken: bool) -> TrackRecord {
    let told: Vec<f64> = records.iter().map(|record| tells(record.ended, ended)).collect();
    let judged = |value: &dyn Fn(&Record) -> Option<f64>| Errors::of(records, &told, value);
    let of_methods: [Errors; METHODS.len()] =
        std::array::from_fn(|method| judged(&|record| Some(record.values[method])));
    let of_submitted = spoken.then(|| judged(&|record| record.submitted));
    let count = told.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    // What a right forecast would err, from its own distribution: one lucky period does not make it small.
    let deviations = records
        .iter()
        .zip(&told)
        .map(|(record, told)| told * record.deviation.powi(2));
    let expected = NORMAL_SQUARE * deviations.sum::<f64>() / count;
    let least = of_methods
        .iter()
        .map(|errors| errors.squares)
        .fold(f64::INFINITY, f64::min)
        / count;
    let unit = [expected, least, 1.0]
        .into_iter()
        .find(|unit| unit.is_finite() && *unit > 0.0)
        .unwrap_or(1.0);
    let mut errors: Vec<f64> = of_methods
        .iter()
        .zip(USUAL_ERRORS)
        .map(|(errors, usual)| errors.shrunk(unit, usual))
        .collect();
    errors.extend(of_submitted.map(|errors| errors.shrunk(unit, USUAL_SUBMITTED)));
    let weights = shares(&errors);
    let mut track = TrackRecord {
        methods: std::array::from_fn(|method| of_methods[method].record(weights[method])),
        submitted: of_submitted.map(|errors| errors.record(weights[METHODS.len()])),
        widening: 1.0,
    };
    track.widening = widening(records, &told, &track);
    track
}

/// What a method erred on past periods.
#[derive(Debug, Clone, Copy)]
struct Errors {
    /// Periods, each by how much it tells.
    count: f64,
    /// Squared errors, each by how much its period tells.
    squares: f64,
    absolute: f64,
    signed: f64,
    actual: f64,
}

impl Errors {
    /// Over the records of which the method said something.
    fn of(records: &[Record], told: &[f64], value: &dyn Fn(&Record) -> Option<f64>) -> Self {
        let none = Self {
            count: 0.0,
            squares: 0.0,
            absolute: 0.0,
            signed: 0.0,
            actual: 0.0,
        };
        records.iter().zip(told).fold(none, |sum, (record, told)| {
            let Some(value) = value(record) else { return sum };
            let error = value - record.actual;
            Self {
                count: sum.count + told,
                squares: sum.squares + told * error * error,
                absolute: sum.absolute + error.abs(),
                signed: sum.signed + error,
                actual: sum.actual + record.actual,
            }
        })
    }

    /// Standard deviation in units, shrunk towards the usual one.
    fn shrunk(self, unit: f64, usual: f64) -> f64 {
        ((self.squares / unit + PRIOR_PERIODS * usual * usual) / (self.count + PRIOR_PERIODS)).sqrt()
    }

    fn record(self, weight: f64) -> MethodRecord {
        let over = |sum: f64| (self.actual > 0.0).then(|| sum / self.actual);
        MethodRecord {
            weight,
            wape: over(self.absolute),
            bias: over(self.signed),
        }
    }
}

fn widening(records: &[Record], told: &[f64], track: &TrackRecord) -> f64 {
    let (mut squares, mut counted) = (PRIOR_WIDTHS, PRIOR_WIDTHS);
    for (record, told) in records.iter().zip(told) {
        let factor = track.moved(record);
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
        let before = track_record(&records[place + 1..], record.ended, record.submitted.is_some());
        let error = before.blend(&record.values, record.submitted) - record.actual;
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
