//! Which numbers does a model see for a row of raw columns? One encoding for training and serving, so neither can drift.

use serde::{Deserialize, Serialize};

/// One raw value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// A number; one that is not finite counts as missing.
    Number(f64),
    /// A category.
    Text(&'a str),
    /// Nothing known.
    Missing,
}

/// How one raw column becomes numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ColumnEncoding {
    /// `z = (clamp(x, low, high) - mean) / deviation`, the same of `sign(x) ln(1 + |x|)`, and 1 where missing.
    Numeric {
        /// Lower winsor limit (0.5 % quantile of the training rows).
        low: f64,
        /// Upper winsor limit (99.5 % quantile).
        high: f64,
        /// Mean after clamping.
        mean: f64,
        /// Standard deviation after clamping, above 0.
        deviation: f64,
        /// Mean of the signed logarithm.
        log_mean: f64,
        /// Standard deviation of the signed logarithm, above 0.
        log_deviation: f64,
        /// Share of the training rows without a value.
        missing: f64,
    },
    /// One number per frequent level, 1 where the row holds it; the last but one for rare or unseen levels, the last for
    /// missing.
    Category {
        /// Levels frequent enough to have a weight of their own, sorted.
        levels: Vec<String>,
        /// Training share of each of the numbers, in their order: what a contribution is measured against.
        shares: Vec<f64>,
    },
}

/// A raw column by name and its encoding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncodedColumn {
    /// Name of the raw column; contributions are reported under it.
    pub name: String,
    /// How it becomes numbers.
    pub encoding: ColumnEncoding,
}

impl ColumnEncoding {
    /// How many numbers this column gives.
    pub fn width(&self) -> usize {
        match self {
            Self::Numeric { .. } => 3,
            Self::Category { shares, .. } => shares.len(),
        }
    }

    /// Whether every cell gives finite numbers.
    pub(super) fn is_sound(&self) -> bool {
        match self {
            Self::Numeric {
                low,
                high,
                mean,
                deviation,
                log_mean,
                log_deviation,
                missing,
            } => {
                let scales = [deviation, log_deviation];
                [low, high, mean, log_mean, missing]
                    .into_iter()
                    .chain(scales)
                    .all(|number| number.is_finite())
                    && scales.into_iter().all(|scale| *scale > 0.0)
                    && low <= high
            }
            Self::Category { levels, shares } => {
                shares.len() == levels.len() + 2 && shares.iter().all(|share| share.is_finite())
            }
        }
    }

    /// Writes the numbers of `cell` to `out`, whose length is [`ColumnEncoding::width`]. Never writes a non-finite number.
    pub fn encode(&self, cell: Cell<'_>, out: &mut [f64]) {
        out.fill(0.0);
        match self {
            Self::Numeric {
                low,
                high,
                mean,
                deviation,
                log_mean,
                log_deviation,
                missing,
            } => match number(cell) {
                Some(value) => {
                    let value = value.clamp(*low, *high);
                    out[0] = (value - mean) / deviation;
                    out[1] = (signed_log(value) - log_mean) / log_deviation;
                    out[2] = -missing;
                }
                None => out[2] = 1.0 - missing,
            },
            Self::Category { levels, shares } => {
                let at = match cell {
                    Cell::Missing => levels.len() + 1,
                    Cell::Text(text) => level_of(levels, text),
                    Cell::Number(value) if !value.is_finite() => levels.len() + 1,
                    Cell::Number(value) => level_of(levels, &value.to_string()),
                };
                one_hot(shares, at, out);
            }
        }
    }

    /// The numbers of a category's level by its place (the last but one for rare levels, the last for missing); zeros of a
    /// number.
    pub(super) fn encode_level(&self, place: usize, out: &mut [f64]) {
        out.fill(0.0);
        if let Self::Category { shares, .. } = self {
            one_hot(shares, place, out);
        }
    }
}

/// 1 at a place and 0 elsewhere, each less its share.
fn one_hot(shares: &[f64], place: usize, out: &mut [f64]) {
    for (number, share) in out.iter_mut().zip(shares) {
        *number = -share;
    }
    if let Some(number) = out.get_mut(place) {
        *number += 1.0;
    }
}

/// `sign(x) ln(1 + |x|)`: keeps order and sign, pulls long tails in.
pub fn signed_log(value: f64) -> f64 {
    value.signum() * value.abs().ln_1p()
}

fn number(cell: Cell<'_>) -> Option<f64> {
    match cell {
        Cell::Number(value) => Some(value),
        Cell::Text(text) => text.trim().parse().ok(),
        Cell::Missing => None,
    }
    .filter(|value: &f64| value.is_finite())
}

fn level_of(levels: &[String], text: &str) -> usize {
    levels
        .binary_search_by(|level| level.as_str().cmp(text))
        .unwrap_or(levels.len())
}
