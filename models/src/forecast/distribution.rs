//! How wide is the forecast? Simulated revenue with a shock that all deals share.
//!
//! Every deal and every owner's deals not yet created have random numbers of their own, told by their names alone: what
//! else is in the forecast, and in which order, moves none of them. So the draws of teams are sums of the draws of their
//! people, and a what-if changes the draws of its deal alone (common random numbers: a deal more probable lowers no draw).

use std::sync::Arc;

use statrs::function::{erf::erf_inv, gamma::ln_gamma};

/// Slices of equal probability that the common shock is cut into. Draws come in blocks of as many, one of each slice, so
/// that a block is one machine word a bit of the random numbers.
const SLICES: usize = 64;
/// Bits of a random number compared with a probability.
const BITS: u32 = 32;
/// Expected deals won beyond which no more are drawn in one draw.
const MOST_NEW: f64 = 100_000.0;
/// Odd step between the states of one sequence.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// What the random numbers of a simulation hang on: a deal, or an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrawKey(u64);

impl DrawKey {
    /// Of an open deal.
    #[must_use]
    pub fn of_deal(deal_id: &str) -> Self {
        Self(hashed(1, deal_id))
    }

    /// Of the deals that an owner has not created yet.
    #[must_use]
    pub fn of_new_deals(owner_id: &str) -> Self {
        Self(hashed(2, owner_id))
    }
}

/// FNV-1a of a kind and a text.
fn hashed(kind: u8, text: &str) -> u64 {
    std::iter::once(kind)
        .chain(text.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood 2014): a number of a sequence without those before it.
const fn mixed(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// An open deal in the simulation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chance {
    /// Which one.
    pub key: DrawKey,
    /// Revenue when won, at or above 0.
    pub amount: f64,
    /// Probability of being won within the period, 0 to 1.
    pub probability: f64,
}

/// Deals that one owner has not created yet.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDeals {
    /// Whose.
    pub key: DrawKey,
    /// By band of size: the expected number created and won within the period, at or above 0, and amounts, each at or
    /// above 0, of which one is drawn.
    pub bands: Vec<(f64, Arc<Vec<f64>>)>,
}

/// Settings of a simulation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Simulation {
    /// Draws, 1 or more; rounded up to whole blocks of 64.
    pub draws: usize,
    /// Same seed, same answer.
    pub seed: u64,
    /// Standard deviation of the shock that all log-odds of a draw share.
    pub shock: f64,
}

impl Simulation {
    /// Draws made: whole blocks of 64.
    #[must_use]
    pub const fn size(self) -> usize {
        let blocks = self.draws.div_ceil(SLICES);
        if blocks == 0 { SLICES } else { blocks * SLICES }
    }
}

/// Revenue of each draw, rising. Cost: for each deal and 64 draws about eight random words of 64 bits, and an addition for
/// each draw in which it is won; a draw for each new deal.
///
/// A draw has a shock `z` from the standard normal distribution, cut into 64 slices of equal probability:
///
/// ```text
/// revenue = closed + sum over deals [ u < logistic(logit(p) + shock * z - drift) ] * amount
///                  + sum over owners of Poisson(expected * exp(shock * z) / mean of that) amounts
/// ```
/// `drift` is solved a deal so that its mean probability over the slices is `p`: the shock widens, it does not move.
#[must_use]
pub fn simulate(closed: f64, deals: &[Chance], new: &[NewDeals], settings: Simulation) -> Vec<f64> {
    let mut totals = vec![closed; settings.size()];
    add_draws(&mut totals, deals, new, settings);
    totals.sort_by(f64::total_cmp);
    totals
}

/// Adds the revenue of deals to draws, as many as [`Simulation::size`] and in their own order: draws of the same place share
/// their shock, so those of people add up to those of their team.
pub(super) fn add_draws(totals: &mut [f64], deals: &[Chance], new: &[NewDeals], settings: Simulation) {
    let tilts = tilts(settings.shock);
    for deal in deals.iter().filter(|deal| deal.amount > 0.0) {
        add_deal(totals, deal, &tilts, settings.seed);
    }
    for owner in new {
        add_new(totals, owner, &tilts, settings.seed);
    }
}

/// `exp(shock * z)` in each slice.
fn tilts(shock: f64) -> [f64; SLICES] {
    let shock = shock.clamp(0.0, 3.0);
    std::array::from_fn(|slice| {
        let middle = (slice as f64 + 0.5) / SLICES as f64;
        (shock * std::f64::consts::SQRT_2 * erf_inv(2.0 * middle - 1.0)).exp()
    })
}

/// Adds a deal to the draws in which it is won.
///
/// The random numbers of the 64 draws of a block are compared with their slices' probabilities together, bit by bit from the
/// highest: word `j` holds bit `j` of all of them, and after about eight bits none of them is undecided.
fn add_deal(totals: &mut [f64], deal: &Chance, tilts: &[f64; SLICES], seed: u64) {
    let Some(probabilities) = shocked(deal.probability, tilts) else {
        if deal.probability >= 1.0 {
            totals.iter_mut().for_each(|total| *total += deal.amount);
        }
        return;
    };
    let mut planes = [0_u64; BITS as usize];
    for (slice, probability) in probabilities.iter().enumerate() {
        let threshold = (probability * 4_294_967_296.0) as u32;
        for (bit, plane) in planes.iter_mut().enumerate() {
            *plane |= u64::from((threshold >> (BITS - 1 - bit as u32)) & 1) << slice;
        }
    }
    let key = mixed(deal.key.0 ^ seed);
    for (block, totals) in totals.chunks_exact_mut(SLICES).enumerate() {
        let mut state = key.wrapping_add((block as u64 * u64::from(BITS)).wrapping_mul(STEP));
        let (mut won, mut undecided) = (0_u64, u64::MAX);
        for plane in planes {
            state = state.wrapping_add(STEP);
            let word = mixed(state);
            won |= undecided & !word & plane;
            undecided &= !(word ^ plane);
            if undecided == 0 {
                break;
            }
        }
        while won != 0 {
            totals[won.trailing_zeros() as usize] += deal.amount;
            won &= won - 1;
        }
    }
}

/// Probability in each slice, with the mean `p`; `None` where it is 0 or 1 in all of them.
fn shocked(p: f64, tilts: &[f64; SLICES]) -> Option<[f64; SLICES]> {
    if p.is_nan() || p <= 0.0 || p >= 1.0 {
        return None;
    }
    // With odds = exp(centre), each slice has odds * tilt: Newton within a bracket on the centre.
    let at = |centre: f64| {
        let against = (-centre).exp();
        tilts.map(|tilt| tilt / (tilt + against))
    };
    let (mut low, mut high) = (-60.0_f64, 60.0_f64);
    let mut centre = (p / (1.0 - p)).ln().clamp(low, high);
    let mut shocked = at(centre);
    for _ in 0..60 {
        let mean = shocked.iter().sum::<f64>() / SLICES as f64;
        let slope = shocked.iter().map(|q| q * (1.0 - q)).sum::<f64>() / SLICES as f64;
        if (mean - p).abs() <= 1e-12 * p {
            break;
        }
        if mean < p {
            low = centre;
        } else {
            high = centre;
        }
        let step = centre - (mean - p) / slope;
        centre = if step > low && step < high {
            step
        } else {
            f64::midpoint(low, high)
        };
        shocked = at(centre);
    }
    Some(shocked)
}

/// Adds the deals an owner creates and wins in each draw.
fn add_new(totals: &mut [f64], owner: &NewDeals, tilts: &[f64; SLICES], seed: u64) {
    let mut until = Vec::with_capacity(owner.bands.len());
    let mut expected = 0.0;
    for (number, amounts) in &owner.bands {
        if !amounts.is_empty() {
            expected += number.max(0.0);
        }
        until.push(expected);
    }
    if expected.is_nan() || expected <= 0.0 {
        return;
    }
    let mean_tilt = tilts.iter().sum::<f64>() / SLICES as f64;
    let numbers = tilts.map(|tilt| Poisson::new((expected * tilt / mean_tilt).min(MOST_NEW)));
    let key = mixed(owner.key.0 ^ seed);
    for (draw, total) in totals.iter_mut().enumerate() {
        // A sequence of its own for each draw: how many deals one has moves no other.
        let mut state = mixed(key.wrapping_add((draw as u64 + 1).wrapping_mul(STEP)));
        let mut next = || {
            state = state.wrapping_add(STEP);
            mixed(state)
        };
        for _ in 0..numbers[draw % SLICES].number(unit(next())) {
            let word = next();
            let drawn = unit(word & 0xffff_ffff_0000_0000) * expected;
            let band = until
                .partition_point(|until| *until <= drawn)
                .min(until.len() - 1);
            let amounts = &owner.bands[band].1;
            let place = ((word & 0xffff_ffff) * amounts.len() as u64) >> 32;
            *total += amounts.get(place as usize).copied().unwrap_or(0.0);
        }
    }
}

/// A number from 0 to below 1 of the upper 53 bits.
fn unit(word: u64) -> f64 {
    (word >> 11) as f64 / 9_007_199_254_740_992.0
}

/// A Poisson distribution, by its table: all numbers within nine standard deviations.
struct Poisson {
    first: usize,
    /// Probability of at most `first`, `first + 1`, ...
    until: Vec<f64>,
}

impl Poisson {
    fn new(mean: f64) -> Self {
        let reach = 9.0 * mean.sqrt() + 10.0;
        let first = (mean - reach).floor().max(0.0);
        let mut part = (first * mean.max(1e-300).ln() - mean - ln_gamma(first + 1.0)).exp();
        let mut sum = 0.0;
        let mut until = Vec::with_capacity((mean + reach - first) as usize + 2);
        let mut number = first;
        while number <= mean + reach {
            sum += part;
            until.push(sum);
            if sum >= 1.0 - 1e-12 {
                break;
            }
            number += 1.0;
            part *= mean / number;
        }
        Self {
            first: first as usize,
            until,
        }
    }

    /// The number at a probability below 1.
    fn number(&self, probability: f64) -> usize {
        let place = self.until.partition_point(|until| *until <= probability);
        self.first + place.min(self.until.len() - 1)
    }
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
