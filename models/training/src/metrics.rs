//! How good are probabilities? AUC, log-loss, Brier and calibration error.

use revgauge_models::win::artifact::sigmoid;

/// Measures of probabilities against outcomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metrics {
    /// Chance that a won row is ranked above a lost one, ties half; 0.5 when one class is missing.
    pub auc: f64,
    /// Mean negative log-likelihood, nats.
    pub log_loss: f64,
    /// Mean squared error of the probability.
    pub brier: f64,
    /// Expected calibration error over ten bins of equal width.
    pub ece: f64,
}

/// Measures `probabilities` against `won`; all NaN-free for equal, non-empty lengths, zeros for none.
pub fn measure(probabilities: &[f64], won: &[bool]) -> Metrics {
    let count = won.len().max(1) as f64;
    let (mut log_loss, mut brier) = (0.0, 0.0);
    for (p, won) in probabilities.iter().zip(won) {
        let y = f64::from(u8::from(*won));
        let safe = p.clamp(1e-15, 1.0 - 1e-15);
        log_loss -= if *won { safe.ln() } else { (1.0 - safe).ln() };
        brier += (p - y).powi(2);
    }
    Metrics {
        auc: auc(probabilities, won),
        log_loss: log_loss / count,
        brier: brier / count,
        ece: calibration_error(probabilities, won),
    }
}

/// Expected calibration error: mean distance between what was said and what came true, over ten bins of equal width.
pub fn calibration_error(probabilities: &[f64], won: &[bool]) -> f64 {
    let mut bins = [(0.0_f64, 0.0_f64); 10];
    for (p, won) in probabilities.iter().zip(won) {
        let bin = &mut bins[((p * 10.0) as usize).min(9)];
        bin.0 += p;
        bin.1 += f64::from(u8::from(*won));
    }
    bins.iter().map(|(p, y)| (p - y).abs()).sum::<f64>() / won.len().max(1) as f64
}

/// Area under the ROC curve by ranks (Mann-Whitney), ties counted half.
pub fn auc(scores: &[f64], won: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len().min(won.len())).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let positives = order.iter().filter(|row| won[**row]).count() as f64;
    let negatives = order.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return 0.5;
    }
    let (mut ranks, mut start) = (0.0, 0);
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && scores[order[end]] == scores[order[start]] {
            end += 1;
        }
        let mean_rank = (start + end + 1) as f64 / 2.0;
        ranks += mean_rank * order[start..end].iter().filter(|row| won[**row]).count() as f64;
        start = end;
    }
    (ranks - positives * (positives + 1.0) / 2.0) / (positives * negatives)
}

/// Loss of one row at its log-odds: `ln(1 + exp(-x))` for won, `ln(1 + exp(x))` for lost.
pub fn row_loss(log_odds: f64, won: bool) -> f64 {
    let margin = if won { log_odds } else { -log_odds };
    if margin > 0.0 {
        (-margin).exp().ln_1p()
    } else {
        margin.exp().ln_1p() - margin
    }
}

/// Slope and offset of Platt's calibration by weighted Newton steps, with a weak pull of the slope towards 1.
pub fn platt(log_odds: &[f64], won: &[bool], weights: &[f64]) -> (f64, f64) {
    const PULL: f64 = 4.0;
    let (mut slope, mut offset) = (1.0_f64, 0.0_f64);
    for _ in 0..50 {
        let (mut g0, mut g1, mut h00, mut h01, mut h11) =
            (PULL * (slope - 1.0), 0.01 * offset, PULL, 0.0, 0.01);
        for ((x, won), weight) in log_odds.iter().zip(won).zip(weights) {
            let p = sigmoid(slope * x + offset);
            let error = weight * (p - f64::from(u8::from(*won)));
            let curve = weight * p * (1.0 - p);
            g0 += error * x;
            g1 += error;
            h00 += curve * x * x;
            h01 += curve * x;
            h11 += curve;
        }
        let det = (h00 * h11 - h01 * h01).max(1e-12);
        let (d0, d1) = ((h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det);
        slope = (slope - d0.clamp(-1.0, 1.0)).max(0.0);
        offset -= d1.clamp(-1.0, 1.0);
        if d0.abs() + d1.abs() < 1e-10 {
            break;
        }
    }
    (slope, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_half_and_order_decides() {
        assert_eq!(auc(&[1.0, 1.0, 1.0, 1.0], &[true, false, true, false]), 0.5);
        assert_eq!(auc(&[0.1, 0.2, 0.3], &[false, false, true]), 1.0);
        assert_eq!(auc(&[0.1, 0.2, 0.3], &[true, false, false]), 0.0);
    }

    #[test]
    fn platt_undoes_a_known_shift() {
        // Half the rows say 25 %, and 50 % are won; half say 75 %, and 90 % are won.
        let low = -(3.0_f64).ln();
        let x: Vec<f64> = (0..2000).map(|row| if row < 1000 { low } else { -low }).collect();
        let won: Vec<bool> = (0..2000)
            .map(|row| if row < 1000 { row % 2 == 0 } else { row % 10 != 0 })
            .collect();
        let (slope, offset) = platt(&x, &won, &vec![1.0; 2000]);
        assert!((sigmoid(slope * low + offset) - 0.5).abs() < 0.01);
        assert!((sigmoid(-slope * low + offset) - 0.9).abs() < 0.01);
    }
}
