//! Which calibration do held-out rows ask for? None, a shift, Platt's line, beta's curve or isotonic steps, chosen on rows
//! that the calibration itself was not learnt from.

use revgauge_models::win::artifact::{bend, sigmoid};

use crate::metrics::{calibration_error, platt, row_loss};

/// Half-lives of the calibration's memory tried, as shares of the held-out rows.
const MEMORIES: [f64; 4] = [f64::INFINITY, 0.5, 0.25, 0.12];
/// Rows a step of the isotonic map holds at least.
const STEP_ROWS: usize = 40;
/// Between these log-odds the beta curve is drawn, straight on beyond them.
const DRAWN: f64 = 6.0;
const CORNERS: usize = 49;

/// A way to calibrate.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// As the model says.
    Raw,
    /// A shift of all log-odds.
    Shift(f64),
    /// A straight line, forgetting with this half-life.
    Line(f64),
    /// Beta calibration (Kull, Silva Filho and Flach 2017): three numbers.
    Beta,
    /// Isotonic regression by pooled adjacent violators, shrunk steps joined by straight pieces.
    Isotonic,
}

/// A fitted calibration: a line, then a curve.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Calibration {
    pub(super) slope: f64,
    pub(super) offset: f64,
    pub(super) curve: Vec<[f64; 2]>,
    /// For the card.
    pub(super) name: String,
}

impl Calibration {
    /// Log-odds after calibration.
    pub(super) fn apply(&self, log_odds: f64) -> f64 {
        bend(&self.curve, self.slope * log_odds + self.offset)
    }
}

/// The calibration chosen, fitted on all held-out rows, and the held-out rows each calibrated by others.
///
/// `ends` are the ends of the blocks. With `ordered` a block is calibrated by the blocks before it; else by all others. The
/// criterion is the mean log-loss and the square of the expected calibration error, which is of the same size; a curve must
/// beat what is straight by a standard error, for it has more freedom to be wrong.
pub(super) fn choose(
    log_odds: &[f64],
    won: &[bool],
    ends: &[usize],
    ordered: bool,
) -> (Calibration, Vec<f64>) {
    let mut ways = vec![Way::Raw, Way::Shift(f64::INFINITY)];
    if ordered {
        ways.extend(MEMORIES[1..].iter().map(|memory| Way::Shift(*memory)));
        ways.extend(MEMORIES.map(Way::Line));
    } else {
        ways.push(Way::Line(f64::INFINITY));
    }
    ways.extend([Way::Beta, Way::Isotonic]);
    let from = if ordered && ends.len() > 1 { ends[0] } else { 0 };
    let tried: Vec<(Way, Vec<f64>)> = ways
        .into_iter()
        .map(|way| (way, crossed(way, log_odds, won, ends, ordered)))
        .collect();
    let losses = |calibrated: &[f64]| -> Vec<f64> {
        (from..won.len())
            .map(|row| row_loss(calibrated[row], won[row]))
            .collect()
    };
    let mut best: Option<(Way, Vec<f64>, f64, Vec<f64>)> = None;
    for (way, calibrated) in tried {
        let own = losses(&calibrated);
        let mean = own.iter().sum::<f64>() / own.len().max(1) as f64;
        let probabilities: Vec<f64> = calibrated[from..].iter().map(|x| sigmoid(*x)).collect();
        let cost = mean + calibration_error(&probabilities, &won[from..]).powi(2);
        let curved = matches!(way, Way::Beta | Way::Isotonic);
        let better = best.as_ref().is_none_or(|(_, _, held, before)| {
            let margin = if curved { paired_error(before, &own) } else { 0.0 };
            cost + margin < *held
        });
        if better {
            best = Some((way, calibrated, cost, own));
        }
    }
    let (way, calibrated) = best.map_or((Way::Raw, log_odds.to_vec()), |(way, calibrated, _, _)| {
        (way, calibrated)
    });
    (learn(way, log_odds, won), calibrated)
}

/// Standard error of the mean difference of paired losses.
fn paired_error(a: &[f64], b: &[f64]) -> f64 {
    let count = a.len().max(2) as f64;
    let differences = || a.iter().zip(b).map(|(a, b)| a - b);
    let mean = differences().sum::<f64>() / count;
    let variance = differences().map(|d| (d - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (variance / count).sqrt()
}

fn crossed(way: Way, log_odds: &[f64], won: &[bool], ends: &[usize], ordered: bool) -> Vec<f64> {
    let mut all = Vec::with_capacity(log_odds.len());
    let mut start = 0;
    for end in ends {
        let block = start..*end;
        let calibration = if ordered {
            learn(way, &log_odds[..start], &won[..start])
        } else {
            let others = |row: &usize| !block.contains(row);
            let rows: Vec<usize> = (0..won.len()).filter(others).collect();
            let x: Vec<f64> = rows.iter().map(|row| log_odds[*row]).collect();
            let y: Vec<bool> = rows.iter().map(|row| won[*row]).collect();
            learn(way, &x, &y)
        };
        all.extend(log_odds[block].iter().map(|x| calibration.apply(*x)));
        start = *end;
    }
    all
}

fn learn(way: Way, log_odds: &[f64], won: &[bool]) -> Calibration {
    let none = |name: &str| Calibration {
        slope: 1.0,
        offset: 0.0,
        curve: Vec::new(),
        name: name.to_owned(),
    };
    if log_odds.is_empty() {
        return none("no calibration");
    }
    match way {
        Way::Raw => none("no calibration"),
        Way::Shift(memory) => {
            let offset = shift(log_odds, won, &ages(won.len(), memory));
            Calibration {
                offset,
                ..none(&format!("shift {offset:+.2}"))
            }
        }
        Way::Line(memory) => {
            let (slope, offset) = platt(log_odds, won, &ages(won.len(), memory));
            Calibration {
                slope,
                offset,
                ..none(&format!("Platt slope {slope:.2}"))
            }
        }
        Way::Beta => Calibration {
            curve: beta(log_odds, won),
            ..none("beta")
        },
        Way::Isotonic => Calibration {
            curve: isotonic(log_odds, won),
            ..none("isotonic")
        },
    }
}

/// Weights that halve every `memory` share of the rows back from the newest.
fn ages(count: usize, memory: f64) -> Vec<f64> {
    (0..count)
        .map(|row| (-((count - 1 - row) as f64 / count as f64) / memory).exp2())
        .collect()
}

/// The offset alone, by Newton, with a weak pull to 0.
fn shift(log_odds: &[f64], won: &[bool], weights: &[f64]) -> f64 {
    let mut offset = 0.0_f64;
    for _ in 0..50 {
        let (mut gradient, mut curvature) = (offset, 1.0);
        for ((x, won), weight) in log_odds.iter().zip(won).zip(weights) {
            let p = sigmoid(x + offset);
            gradient += weight * (p - f64::from(u8::from(*won)));
            curvature += weight * p * (1.0 - p);
        }
        let step = gradient / curvature;
        offset -= step.clamp(-1.0, 1.0);
        if step.abs() < 1e-10 {
            break;
        }
    }
    offset
}

/// `logit q = a ln p - b ln(1 - p) + c` with `a`, `b` not negative and pulled to 1, drawn as a curve.
fn beta(log_odds: &[f64], won: &[bool]) -> Vec<[f64; 2]> {
    const PULL: f64 = 4.0;
    let soft = |x: f64| if x > 30.0 { x } else { x.exp().ln_1p() };
    let (mut a, mut b, mut c) = (1.0_f64, 1.0_f64, 0.0_f64);
    let value = |a: f64, b: f64, c: f64, x: f64| -a * soft(-x) + b * soft(x) + c;
    for _ in 0..200 {
        // Newton by coordinates: three numbers, each convex.
        let mut moved = 0.0;
        for coordinate in 0..3 {
            let (mut gradient, mut curvature) = match coordinate {
                0 => (PULL * (a - 1.0), PULL),
                1 => (PULL * (b - 1.0), PULL),
                _ => (0.01 * c, 0.01),
            };
            for (x, won) in log_odds.iter().zip(won) {
                let feature = match coordinate {
                    0 => -soft(-x),
                    1 => soft(*x),
                    _ => 1.0,
                };
                let p = sigmoid(value(a, b, c, *x));
                gradient += feature * (p - f64::from(u8::from(*won)));
                curvature += feature * feature * p * (1.0 - p);
            }
            let step = (gradient / curvature).clamp(-0.5, 0.5);
            let held: &mut f64 = match coordinate {
                0 => &mut a,
                1 => &mut b,
                _ => &mut c,
            };
            let before = *held;
            *held -= step;
            if coordinate < 2 {
                *held = held.max(0.0);
            }
            moved += (*held - before).abs();
        }
        if moved < 1e-7 {
            break;
        }
    }
    (0..CORNERS)
        .map(|corner| {
            let x = -DRAWN + 2.0 * DRAWN * corner as f64 / (CORNERS - 1) as f64;
            [x, value(a, b, c, x)]
        })
        .collect()
}

/// Pooled adjacent violators over steps of at least [`STEP_ROWS`] rows; each step's rate is shrunk by half a row of either
/// outcome, and the middles of the steps are the corners.
fn isotonic(log_odds: &[f64], won: &[bool]) -> Vec<[f64; 2]> {
    let mut order: Vec<usize> = (0..won.len()).collect();
    order.sort_by(|a, b| log_odds[*a].total_cmp(&log_odds[*b]));
    // Sum of log-odds, wins, rows.
    let mut steps: Vec<(f64, f64, f64)> = Vec::new();
    for chunk in order.chunks(STEP_ROWS) {
        let x = chunk.iter().map(|row| log_odds[*row]).sum();
        let wins = chunk.iter().filter(|row| won[**row]).count() as f64;
        steps.push((x, wins, chunk.len() as f64));
        while let [.., before, last] = steps.as_mut_slice() {
            if before.1 / before.2 < last.1 / last.2 {
                break;
            }
            before.0 += last.0;
            before.1 += last.1;
            before.2 += last.2;
            steps.pop();
        }
    }
    let mut curve: Vec<[f64; 2]> = Vec::new();
    for (x, wins, rows) in steps {
        let rate = (wins + 0.5) / (rows + 1.0);
        let corner = [x / rows, (rate / (1.0 - rate)).ln()];
        if curve
            .last()
            .is_none_or(|last| last[0] < corner[0] && last[1] <= corner[1])
        {
            curve.push(corner);
        }
    }
    match curve.as_slice() {
        [] => Vec::new(),
        // Beyond the steps the model's own certainty goes on, one for one.
        [first, .., last] => {
            let ends = [[first[0] - 1.0, first[1] - 1.0], [last[0] + 1.0, last[1] + 1.0]];
            let mut all = vec![ends[0]];
            all.extend_from_slice(&curve);
            all.push(ends[1]);
            all
        }
        [only] => vec![[only[0] - 1.0, only[1] - 1.0], [only[0] + 1.0, only[1] + 1.0]],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_calibration_rises(
            rows in prop::collection::vec((-5.0f64..5.0, any::<bool>()), 1..400),
            points in prop::collection::vec(-12.0f64..12.0, 2..30),
        ) {
            let (x, won): (Vec<f64>, Vec<bool>) = rows.into_iter().unzip();
            let mut points = points;
            points.sort_by(f64::total_cmp);
            for way in [Way::Raw, Way::Shift(0.5), Way::Line(f64::INFINITY), Way::Beta, Way::Isotonic] {
                let calibration = learn(way, &x, &won);
                for pair in points.windows(2) {
                    let (low, high) = (calibration.apply(pair[0]), calibration.apply(pair[1]));
                    prop_assert!(low.is_finite() && high.is_finite());
                    prop_assert!(low <= high + 1e-9, "{way:?} {low} {high}");
                }
            }
        }
    }

    #[test]
    fn a_bent_truth_is_found() {
        // The model says x; the truth is 2x below 0 and x / 2 above.
        let x: Vec<f64> = (0..8000).map(|row| f64::from(row % 81) / 10.0 - 4.0).collect();
        let truth = |x: f64| if x < 0.0 { 2.0 * x } else { x / 2.0 };
        let mut state: u64 = 3;
        let won: Vec<bool> = x
            .iter()
            .map(|x| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                ((state >> 11) as f64 / (1u64 << 53) as f64) < sigmoid(truth(*x))
            })
            .collect();
        let (chosen, _) = choose(&x, &won, &[2000, 4000, 6000, 8000], true);
        assert!(!chosen.curve.is_empty(), "{}", chosen.name);
        for point in [-2.0, -1.0, 1.0, 2.0] {
            assert!((sigmoid(chosen.apply(point)) - sigmoid(truth(point))).abs() < 0.04);
        }
    }
}
