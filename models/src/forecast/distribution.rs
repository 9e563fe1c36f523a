//! How wide is the forecast? Simulated revenue with a shock that all deals share.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Levels of the common shock: probabilities are computed once a level, not once a draw.
const LEVELS: usize = 33;
/// Expected deals won beyond which no more are drawn in one draw.
const MOST_NEW: f64 = 100_000.0;

/// An open deal in the simulation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chance {
    /// Revenue when won, at or above 0.
    pub amount: f64,
    /// Probability of being won within the period, 0 to 1.
    pub probability: f64,
}

/// Deals not yet created.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewDeals {
    /// Expected number created and won within the period, at or above 0.
    pub expected: f64,
    /// Amounts to draw from, at or above 0, each with its weight among them, at or above 0.
    pub amounts: Vec<(f64, f64)>,
}

impl NewDeals {
    /// Mean amount of one; 0 where there is none to draw.
    #[must_use]
    pub fn mean_amount(&self) -> f64 {
        let weight: f64 = self.amounts.iter().map(|(_, weight)| weight).sum();
        if weight > 0.0 {
            self.amounts
                .iter()
                .map(|(amount, weight)| amount * weight)
                .sum::<f64>()
                / weight
        } else {
            0.0
        }
    }
}

/// Settings of a simulation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Simulation {
    /// Draws, 1 or more.
    pub draws: usize,
    /// Same seed, same answer.
    pub seed: u64,
    /// Standard deviation of the shock that all log-odds of a draw share.
    pub shock: f64,
}

/// Revenue of each draw, rising. Cost: one random number of 32 bits and one comparison a deal and draw.
///
/// Draw `d` has a shock `z` from the standard normal distribution, cut into 33 slices of equal probability:
///
/// ```text
/// revenue = closed + sum over deals [ u < logistic(logit(p) + shock * z - drift) ] * amount
///                  + sum of Poisson(expected * exp(shock * z - shock^2 / 2)) amounts
/// ```
/// `drift` is solved a deal so that its mean probability over the slices is `p`: the shock widens, it does not move.
#[must_use]
pub fn simulate(closed: f64, deals: &[Chance], new: &NewDeals, settings: Simulation) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    let shock = settings.shock.clamp(0.0, 3.0);
    let levels: Vec<f64> = (0..LEVELS)
        .map(|level| shock * normal_quantile((level as f64 + 0.5) / LEVELS as f64))
        .collect();
    let mut thresholds = vec![Vec::new(); LEVELS];
    for deal in deals {
        for (level, p) in shocked(deal.probability, &levels).into_iter().enumerate() {
            thresholds[level].push((p * 4_294_967_296.0) as u64);
        }
    }
    let mean_tilt = levels.iter().map(|z| z.exp()).sum::<f64>() / LEVELS as f64;
    let mut words = vec![0_u8; deals.len() * 4];
    let mut weights = Vec::with_capacity(new.amounts.len());
    let mut weight = 0.0;
    for (_, more) in &new.amounts {
        weight += more;
        weights.push(weight);
    }
    let mut totals: Vec<f64> = (0..settings.draws.max(1))
        .map(|_| {
            let level = rng.random_range(0..LEVELS);
            rng.fill_bytes(&mut words);
            let mut total = closed;
            for ((word, threshold), deal) in words.chunks_exact(4).zip(&thresholds[level]).zip(deals) {
                let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                if u64::from(word) < *threshold {
                    total += deal.amount;
                }
            }
            if weight > 0.0 && new.expected > 0.0 {
                let expected = (new.expected * levels[level].exp() / mean_tilt).min(MOST_NEW);
                for _ in 0..poisson(expected, &mut rng) {
                    let drawn = rng.random_range(0.0..weight);
                    let place = weights.partition_point(|until| *until <= drawn);
                    total += new.amounts.get(place).map_or(0.0, |(amount, _)| *amount);
                }
            }
            total
        })
        .collect();
    totals.sort_by(f64::total_cmp);
    totals
}

/// Probability at each level of the shock, with the mean `p`.
fn shocked(p: f64, levels: &[f64]) -> Vec<f64> {
    if p.is_nan() || p <= 0.0 {
        return vec![0.0; levels.len()];
    }
    if p >= 1.0 {
        return vec![1.0; levels.len()];
    }
    let at = |centre: f64| levels.iter().map(move |z| 1.0 / (1.0 + (-(centre + z)).exp()));
    let (mut low, mut high) = (-60.0, 60.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if at(middle).sum::<f64>() / (levels.len() as f64) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    at(f64::midpoint(low, high)).collect()
}

/// Poisson number: by waiting times, above a mean of 30 in parts, which add up to the same law.
fn poisson(mean: f64, rng: &mut ChaCha8Rng) -> usize {
    let parts = (mean / 30.0).ceil().max(1.0);
    let limit = (-mean / parts).exp();
    let mut count = 0;
    for _ in 0..parts as usize {
        let mut product: f64 = rng.random();
        while product > limit {
            count += 1;
            product *= rng.random::<f64>();
        }
    }
    count
}

/// Standard normal quantile.
fn normal_quantile(p: f64) -> f64 {
    std::f64::consts::SQRT_2 * statrs::function::erf::erf_inv(2.0 * p - 1.0)
}

/// Value at a probability among rising draws, straight line between neighbours; 0 without draws.
pub(super) fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let position = probability.clamp(0.0, 1.0) * last as f64;
    let index = position.floor() as usize;
    let (low, high) = (sorted[index], sorted[(index + 1).min(last)]);
    low + (high - low) * (position - position.floor())
}
