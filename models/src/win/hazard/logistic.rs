//! Which weights explain a rare event best? Ridge logistic regression of sparse rows by Newton's method.

/// A column and its value.
pub(super) type Entry = (usize, f64);

/// L2 pull of every weight towards 0.
const RIDGE: f64 = 1.0;
/// Of the baseline's parts, which must follow the data more freely.
const BASELINE_RIDGE: f64 = 0.05;
const MOST_ROUNDS: usize = 25;

/// Weighted sparse rows.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    entries: Vec<Entry>,
    ends: Vec<usize>,
    weights: Vec<f64>,
}

impl Sparse {
    pub(super) fn push(&mut self, entries: &[Entry], weight: f64) {
        self.entries.extend_from_slice(entries);
        self.ends.push(self.entries.len());
        self.weights.push(weight);
    }

    fn rows(&self) -> impl Iterator<Item = (&[Entry], f64)> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .zip(&self.weights)
            .map(|((start, end), weight)| (&self.entries[start..*end], *weight))
    }
}

/// `w . x`.
pub(super) fn log_odds(weights: &[f64], entries: &[Entry]) -> f64 {
    entries
        .iter()
        .map(|(place, value)| weights.get(*place).copied().unwrap_or(0.0) * value)
        .sum()
}

/// Weights of `width` columns. The first columns are the baseline: each row holds exactly one of them, so they carry the
/// constant; they start, and are pulled to, the log-odds of the pooled rate.
pub(super) fn fit(design: &Sparse, width: usize, happened: &[bool]) -> Vec<f64> {
    let total: f64 = design.weights.iter().sum();
    let events = happened.iter().filter(|event| **event).count() as f64;
    let rate = (events + 0.5) / (total + 1.0);
    let start = (rate / (1.0 - rate)).ln();
    let baseline = super::BASELINE.len();
    let ridge = |place: usize| if place < baseline { BASELINE_RIDGE } else { RIDGE };
    let centre = |place: usize| if place < baseline { start } else { 0.0 };
    let mut weights: Vec<f64> = (0..width).map(centre).collect();
    let mut loss = f64::INFINITY;
    let mut before = weights.clone();
    for _ in 0..MOST_ROUNDS {
        let mut gradient: Vec<f64> = (0..width)
            .map(|place| ridge(place) * (weights[place] - centre(place)))
            .collect();
        let mut curvature = vec![0.0; width * width];
        for place in 0..width {
            curvature[place * width + place] = ridge(place);
        }
        let mut now: f64 = (0..width)
            .map(|place| 0.5 * ridge(place) * (weights[place] - centre(place)).powi(2))
            .sum();
        for ((entries, weight), event) in design.rows().zip(happened) {
            let x = log_odds(&weights, entries);
            let p = super::sigmoid(x);
            let y = f64::from(u8::from(*event));
            now += weight * (x.max(0.0) + (-x.abs()).exp().ln_1p() - y * x);
            let bend = weight * p * (1.0 - p);
            for (at, (place, value)) in entries.iter().enumerate() {
                gradient[*place] += weight * (p - y) * value;
                for (other, other_value) in &entries[..=at] {
                    let (high, low) = (*place.max(other), *place.min(other));
                    curvature[high * width + low] += bend * value * other_value;
                }
            }
        }
        if now > loss + 1e-9 * loss.abs() {
            // The step was too long: go back half of it.
            for (weight, before) in weights.iter_mut().zip(&before) {
                *weight = *before + 0.5 * (*weight - *before);
            }
            continue;
        }
        let done = (loss - now).abs() <= 1e-8 * now.abs();
        loss = now;
        if done {
            break;
        }
        before.clone_from(&weights);
        let step = solve(curvature, gradient, width);
        for (weight, step) in weights.iter_mut().zip(step) {
            *weight -= step.clamp(-4.0, 4.0);
        }
    }
    if weights.iter().all(|weight| weight.is_finite()) {
        weights
    } else {
        (0..width).map(centre).collect()
    }
}

/// Solves a symmetric positive definite system whose lower half is given, by Cholesky.
fn solve(mut a: Vec<f64>, mut b: Vec<f64>, width: usize) -> Vec<f64> {
    for i in 0..width {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| a[i * width + k] * a[j * width + k]).sum();
            let rest = a[i * width + j] - dot;
            a[i * width + j] = if i == j {
                rest.max(1e-12).sqrt()
            } else {
                rest / a[j * width + j]
            };
        }
    }
    for i in 0..width {
        let dot: f64 = (0..i).map(|k| a[i * width + k] * b[k]).sum();
        b[i] = (b[i] - dot) / a[i * width + i];
    }
    for i in (0..width).rev() {
        let dot: f64 = (i + 1..width).map(|k| a[k * width + i] * b[k]).sum();
        b[i] = (b[i] - dot) / a[i * width + i];
    }
    b
}
