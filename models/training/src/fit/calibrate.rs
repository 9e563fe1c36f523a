//! Which calibration do held-out rows ask for? The mean of lines, whole and half, each weighed by how it did on rows that it was
//! not learnt from; or a curve, where one does clearly better.

use revgauge_models::win::artifact::{bend, sigmoid};

use crate::metrics::{calibration_error, platt, row_loss};

/// Half-lives of the calibration's memory tried, as shares of the held-out rows.
const MEMORIES: [f64; 4] = [f64::INFINITY, 0.5, 0.25, 0.12];
/// How much of a learnt correction is made: all, or half. The serving model was fitted on newer rows than those whose answers
/// taught the correction, so part of what it corrects is gone already.
const SHARES: [f64; 2] = [1.0, 0.5];
/// Cost by which a calibration's weight in the mean falls to 1/e, nats: what a choice between them is uncertain by on a few
/// thousand rows (ADR 065).
const TEMPERATURE: f64 = 0.002;
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
    /// A shift of all log-odds, forgetting with this half-life, made to this share.
    Shift(f64, f64),
    /// A straight line, likewise.
    Line(f64, f64),
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
    fn line(slope: f64, offset: f64) -> Self {
        let name = if (slope - 1.0).abs() < 0.005 && offset.abs() < 0.005 {
            "no calibration".to_owned()
        } else {
            format!("calibration slope {slope:.2}, shift {offset:+.2}")
        };
        Self {
            slope,
            offset,
            curve: Vec::new(),
            name,
        }
    }

    fn curve(name: &str, curve: Vec<[f64; 2]>) -> Self {
        Self {
            slope: 1.0,
            offset: 0.0,
            curve,
            name: name.to_owned(),
        }
    }

    /// This share of the correction, the rest as the model says.
    fn in_part(slope: f64, offset: f64, share: f64) -> Self {
        Self::line(share * slope + 1.0 - share, share * offset)
    }

    /// Log-odds after calibration.
    pub(super) fn apply(&self, log_odds: f64) -> f64 {
        bend(&self.curve, self.slope * log_odds + self.offset)
    }
}

/// The calibration chosen, fitted on all held-out rows, and the held-out rows each calibrated by others.
///
/// `ends` are the ends of the blocks. With `ordered` a block is calibrated by the blocks before it; else by all others.
///
/// ```text
/// cost   = mean log-loss + (expected calibration error)^2      (both of the same size)
/// weight = exp(-(cost - least cost) / temperature), made to sum to 1
/// ```
/// The mean of lines in log-odds is a line. A curve has more freedom to be wrong: it must beat that mean by a standard error.
pub(super) fn choose(
    log_odds: &[f64],
    won: &[bool],
    ends: &[usize],
    ordered: bool,
) -> (Calibration, Vec<f64>) {
    let from = if ordered && ends.len() > 1 { ends[0] } else { 0 };
    let judged = |calibrated: &[f64]| -> (f64, Vec<f64>) {
        let losses: Vec<f64> = (from..won.len())
            .map(|row| row_loss(calibrated[row], won[row]))
            .collect();
        let probabilities: Vec<f64> = calibrated[from..].iter().map(|x| sigmoid(*x)).collect();
        let mean = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        (
            mean + calibration_error(&probabilities, &won[from..]).powi(2),
            losses,
        )
    };
    let tried: Vec<(Way, Vec<f64>, f64)> = lines(ordered)
        .into_iter()
        .map(|way| {
            let calibrated = crossed(way, log_odds, won, ends, ordered);
            let (cost, _) = judged(&calibrated);
            (way, calibrated, cost)
        })
        .collect();
    let least = tried
        .iter()
        .map(|(_, _, cost)| *cost)
        .fold(f64::INFINITY, f64::min);
    let weights: Vec<f64> = tried
        .iter()
        .map(|(_, _, cost)| ((least - cost) / TEMPERATURE).exp())
        .collect();
    let total: f64 = weights.iter().sum();
    let (mut slope, mut offset, mut calibrated) = (0.0, 0.0, vec![0.0; won.len()]);
    for ((way, own, _), weight) in tried.iter().zip(&weights) {
        let share = weight / total;
        let line = learn(*way, log_odds, won);
        slope += share * line.slope;
        offset += share * line.offset;
        for (sum, own) in calibrated.iter_mut().zip(own) {
            *sum += share * own;
        }
    }
    let mut best = (Calibration::line(slope, offset), calibrated);
    let (mut cost, mut before) = judged(&best.1);
    for way in [Way::Beta, Way::Isotonic] {
        let calibrated = crossed(way, log_odds, won, ends, ordered);
        let (own, losses) = judged(&calibrated);
        if own + paired_error(&before, &losses) < cost {
            best = (learn(way, log_odds, won), calibrated);
            (cost, before) = (own, losses);
        }
    }
    best
}

/// The lines that are averaged. Without an order of time nothing is forgotten.
fn lines(ordered: bool) -> Vec<Way> {
    let memories = if ordered { &MEMORIES[..] } else { &MEMORIES[..1] };
    let mut ways = vec![Way::Raw];
    for memory in memories {
        for share in SHARES {
            ways.extend([Way::Shift(*memory, share), Way::Line(*memory, share)]);
        }
    }
    ways
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
    if log_odds.is_empty() {
        return Calibration::line(1.0, 0.0);
    }
    match way {
        Way::Raw => Calibration::line(1.0, 0.0),
        Way::Shift(memory, share) => {
            let offset = shift(log_odds, won, &ages(won.len(), memory));
            Calibration::in_part(1.0, offset, share)
        }
        Way::Line(memory, share) => {
            let (slope, offset) = platt(log_odds, won, &ages(won.len(), memory));
            Calibration::in_part(slope, offset, share)
        }
        Way::Beta => Calibration::curve("beta", beta(log_odds, won)),
        Way::Isotonic => Calibration::curve("isotonic", isotonic(log_odds, won)),
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
            for way in [Way::Raw, Way::Shift(0.5, 0.5), Way::Line(f64::INFINITY, 1.0), Way::Beta, Way::Isotonic] {
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

    proptest! {
        /// Neither one class alone nor a model that says one thing of all rows gives anything but finite numbers, and what is
        /// chosen still rises.
        #[test]
        fn whatever_was_held_out_a_rising_finite_calibration_is_chosen(
            rows in prop::collection::vec((prop::sample::select(vec![-30.0, -1.0, 0.0, 0.3, 30.0]), any::<bool>()), 8..200),
            all in prop::option::of(any::<bool>()),
            ordered in any::<bool>(),
        ) {
            let (x, won): (Vec<f64>, Vec<bool>) = rows.into_iter().unzip();
            let won: Vec<bool> = won.into_iter().map(|won| all.unwrap_or(won)).collect();
            let ends = [won.len() / 4, won.len() / 2, won.len()];
            let (chosen, calibrated) = choose(&x, &won, &ends, ordered);
            prop_assert_eq!(calibrated.len(), won.len());
            prop_assert!(calibrated.iter().all(|x| x.is_finite()));
            prop_assert!(chosen.slope.is_finite() && chosen.slope >= 0.0 && chosen.offset.is_finite());
            prop_assert!(chosen.apply(-3.0) <= chosen.apply(3.0) + 1e-9);
        }
    }

    #[test]
    fn a_correction_that_later_blocks_need_by_half_is_made_by_half() {
        // 12 % of every block are won; the models, fitted on ever more of such rows, say 4 to 8.5 %.
        let (mut x, mut won, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for said in [0.04_f64, 0.06, 0.075, 0.085] {
            for row in 0..1000 {
                x.push((said / (1.0 - said)).ln());
                won.push(row % 100 < 12);
            }
            ends.push(won.len());
        }
        let (chosen, _) = choose(&x, &won, &ends, true);
        let whole = shift(&x, &won, &vec![1.0; won.len()]);
        let made = chosen.apply(-2.2) + 2.2;
        assert!(
            made > 0.2 * whole && made < 0.8 * whole,
            "{made} of {whole}: {}",
            chosen.name
        );
    }
}
