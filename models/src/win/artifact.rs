//! What is a trained win model, and what does it say about a row? The artifact that training writes and serving reads.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    encode::{Cell, EncodedColumn},
    shapley::Shares,
};

/// Version of the layout written today; an artifact of another is refused.
pub const ARTIFACT_FORMAT: u32 = 2;

/// Log-odds are kept within this distance from 0 (probability 1e-13 to 1 - 1e-13), so that no model is ever certain.
const LOG_ODDS_LIMIT: f64 = 30.0;

/// A node of a regression tree over encoded numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TreeNode {
    /// What a row ending here adds; for an inner node the cover-weighted mean of its children.
    pub value: f64,
    /// The question, if there is one.
    pub split: Option<Split>,
}

/// `number[feature] < at` goes left, else right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Index of the encoded number.
    pub feature: usize,
    /// Threshold.
    pub at: f64,
    /// Index of the node below, always greater than the asking node's own.
    pub left: usize,
    /// Index of the node at or above, likewise.
    pub right: usize,
}

/// A trained model: encoding, linear part, trees, and the calibration of their weighted log-odds.
///
/// ```text
/// log-odds = curve(slope * (share_linear * (bias + weights . x) + (1 - share_linear) * (base + sum of trees)) + offset)
/// ```
/// Calibration is Platt's straight line in log-odds (Platt 1999), or a rising curve of straight pieces that stands for
/// beta calibration (Kull 2017) or isotonic regression. A curve scales all contributions of a row alike, which is their
/// Aumann-Shapley share along the ray from the base, so they keep summing to what is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WinArtifact {
    /// [`ARTIFACT_FORMAT`].
    pub format: u32,
    /// Name for people.
    pub name: String,
    /// Raw columns in their order.
    pub columns: Vec<EncodedColumn>,
    /// Share of the linear part, 0 to 1.
    pub share_linear: f64,
    /// Constant of the linear part.
    pub bias: f64,
    /// Weight of each encoded number.
    pub weights: Vec<f64>,
    /// Constant of the trees.
    pub base: f64,
    /// The trees; node 0 is the root.
    pub trees: Vec<Vec<TreeNode>>,
    /// Slope of the calibration, at least 0. 0 means that no signal was found and the base rate is all there is.
    pub slope: f64,
    /// Offset of the calibration.
    pub offset: f64,
    /// Corners of the calibration curve, log-odds before and after, both rising; straight on beyond the first and last.
    /// None: no curve.
    pub curve: Vec<[f64; 2]>,
    /// Rows the model was trained on.
    pub rows: usize,
    /// Those of them that were won.
    pub won: usize,
    /// Calibrated log-odds of held-out rows at each whole percentile, rising: percentile beside probability.
    pub percentiles: Vec<f64>,
    /// SHA-256 over everything else, hexadecimal.
    pub hash: String,
    /// The trees laid out when they are first asked; stored nowhere.
    #[serde(skip)]
    pub laid: Laid,
}

/// Trees laid out for judging, when they are first asked. A copy of an artifact lays its own out, so that trees may be changed
/// in a copy; it makes no difference between artifacts.
#[derive(Debug, Default)]
pub struct Laid(OnceLock<Shares>);

impl Clone for Laid {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Laid {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Why an artifact was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ArtifactError {
    /// Not readable.
    #[error("cannot read the model artifact: {0}; export it again with the training command")]
    Unreadable(String),
    /// Another layout.
    #[error(
        "cannot use a model artifact of format {0}: this version reads format {ARTIFACT_FORMAT}; train it again"
    )]
    Format(u32),
    /// The content does not match its hash.
    #[error(
        "cannot use the model artifact {0:?}: its content does not match its hash, so it was changed after training"
    )]
    Tampered(String),
    /// Inconsistent.
    #[error("cannot use the model artifact: {0}")]
    Invalid(&'static str),
}

/// What a model says about one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Probability, strictly between 0 and 1.
    pub probability: f64,
    /// Its log-odds: `base + sum of contributions`.
    pub log_odds: f64,
    /// What a row of average columns gets.
    pub base: f64,
    /// What each raw column adds in log-odds, in the order of the columns.
    pub contributions: Vec<f64>,
    /// Share of held-out rows that were judged lower, 0 to 100; none when the model keeps no such table.
    pub percentile: Option<f64>,
}

impl WinArtifact {
    /// Seals the artifact: sets [`WinArtifact::hash`].
    pub fn seal(mut self) -> Self {
        self.hash = self.digest();
        self
    }

    /// JSON text.
    ///
    /// # Errors
    /// When a number is not finite.
    pub fn to_json(&self) -> Result<String, ArtifactError> {
        self.check()?;
        serde_json::to_string(self).map_err(|error| ArtifactError::Unreadable(error.to_string()))
    }

    /// Reads and checks an artifact.
    ///
    /// # Errors
    /// [`ArtifactError`] for text that is no artifact, another format, a changed content or an inconsistent one.
    pub fn from_json(text: &str) -> Result<Self, ArtifactError> {
        let artifact: Self =
            serde_json::from_str(text).map_err(|error| ArtifactError::Unreadable(error.to_string()))?;
        if artifact.format != ARTIFACT_FORMAT {
            return Err(ArtifactError::Format(artifact.format));
        }
        if artifact.digest() != artifact.hash {
            return Err(ArtifactError::Tampered(artifact.name));
        }
        artifact.check()?;
        Ok(artifact)
    }

    /// How many encoded numbers a row has.
    pub fn width(&self) -> usize {
        self.columns.iter().map(|column| column.encoding.width()).sum()
    }

    /// Encodes a row given in the order of [`WinArtifact::columns`]; cells that are not there count as missing.
    pub fn encode(&self, cells: &[Cell<'_>], out: &mut Vec<f64>) {
        encode_row(&self.columns, cells, out);
    }

    /// Judges a row given in the order of [`WinArtifact::columns`].
    ///
    /// Trees attribute by exact Shapley values over the columns (`shapley.rs`), so equal roles get equal shares whatever the
    /// order of the questions.
    pub fn judge(&self, cells: &[Cell<'_>]) -> Judgement {
        let mut numbers = Vec::new();
        self.encode(cells, &mut numbers);
        self.judge_encoded(&numbers)
    }

    /// The trees laid out, scaled by their share; none of them where the linear part is all.
    pub(super) fn shares(&self) -> &Shares {
        self.laid.0.get_or_init(|| {
            let mut column_of = Vec::with_capacity(self.width());
            for (place, column) in self.columns.iter().enumerate() {
                column_of.resize(column_of.len() + column.encoding.width(), place as u32);
            }
            let share_trees = 1.0 - self.share_linear;
            let used: &[Vec<TreeNode>] = if share_trees > 0.0 { &self.trees } else { &[] };
            Shares::of(used, share_trees, column_of)
        })
    }

    /// Judges a row of encoded numbers ([`WinArtifact::width`] of them); cost: weights plus the questions and columns of the
    /// trees' groups (`shapley.rs`): for a tree of depth 3 about a dozen steps, of depth 5 about ninety.
    pub fn judge_encoded(&self, numbers: &[f64]) -> Judgement {
        let shares = self.shares();
        let mut contributions = vec![0.0; self.columns.len()];
        if self.share_linear > 0.0 {
            let weighed = self.weights.iter().zip(numbers).zip(shares.column_of());
            for ((weight, number), column) in weighed {
                contributions[*column as usize] += self.share_linear * weight * number;
            }
        }
        shares.add(
            |feature| numbers.get(feature).copied().unwrap_or(0.0),
            |column, part| {
                if let Some(sum) = contributions.get_mut(column as usize) {
                    *sum += part;
                }
            },
        );
        contributions.iter_mut().for_each(|part| *part *= self.slope);
        let base = self.slope * self.uncalibrated_base() + self.offset;
        let straight = base + contributions.iter().sum::<f64>();
        let raw = bend(&self.curve, straight);
        if !self.curve.is_empty() {
            let ray = straight - base;
            let scale = if ray.abs() > 1e-9 {
                (raw - bend(&self.curve, base)) / ray
            } else {
                1.0
            };
            contributions.iter_mut().for_each(|part| *part *= scale);
        }
        let log_odds = raw.clamp(-LOG_ODDS_LIMIT, LOG_ODDS_LIMIT);
        if raw != log_odds {
            let scale = log_odds / raw;
            contributions.iter_mut().for_each(|part| *part *= scale);
        }
        let base = log_odds - contributions.iter().sum::<f64>();
        Judgement {
            probability: sigmoid(log_odds),
            log_odds,
            base,
            contributions,
            percentile: self.percentile(log_odds),
        }
    }

    /// What a row of average columns gets before calibration.
    pub(super) fn uncalibrated_base(&self) -> f64 {
        self.share_linear * self.bias + (1.0 - self.share_linear) * self.base + self.shares().expected
    }

    fn percentile(&self, log_odds: f64) -> Option<f64> {
        if self.percentiles.is_empty() {
            return None;
        }
        let below = self.percentiles.partition_point(|limit| *limit < log_odds);
        Some(100.0 * below as f64 / self.percentiles.len() as f64)
    }

    fn digest(&self) -> String {
        let mut bare = self.clone();
        bare.hash = String::new();
        sha256_hex(&serde_json::to_vec(&bare).unwrap_or_default())
    }

    fn check(&self) -> Result<(), ArtifactError> {
        let width = self.width();
        if self.weights.len() != width {
            return Err(ArtifactError::Invalid(
                "it has not one weight for each encoded number",
            ));
        }
        let scalars = [self.share_linear, self.bias, self.base, self.slope, self.offset];
        if !scalars
            .iter()
            .chain(&self.weights)
            .all(|number| number.is_finite())
        {
            return Err(ArtifactError::Invalid("it holds a number that is not finite"));
        }
        if !(0.0..=1.0).contains(&self.share_linear) || self.slope < 0.0 {
            return Err(ArtifactError::Invalid(
                "its blend or its calibration is out of range",
            ));
        }
        let rising = |pair: &[[f64; 2]]| pair[0][0] < pair[1][0] && pair[0][1] <= pair[1][1];
        if self.curve.len() == 1
            || !self.curve.iter().flatten().all(|number| number.is_finite())
            || !self.curve.windows(2).all(rising)
        {
            return Err(ArtifactError::Invalid("its calibration curve does not rise"));
        }
        if !self.columns.iter().all(|column| column.encoding.is_sound()) {
            return Err(ArtifactError::Invalid(
                "the encoding of a column holds a number that is out of range",
            ));
        }
        for tree in &self.trees {
            if tree.is_empty() {
                return Err(ArtifactError::Invalid("it holds an empty tree"));
            }
            for (index, node) in tree.iter().enumerate() {
                let sound = node.value.is_finite()
                    && node.split.as_ref().is_none_or(|split| {
                        let below = index + 1..tree.len();
                        split.feature < width
                            && split.at.is_finite()
                            && below.contains(&split.left)
                            && below.contains(&split.right)
                    });
                if !sound {
                    return Err(ArtifactError::Invalid(
                        "a tree points outside of itself or of the columns",
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Encodes one row by its columns; cells that are not there count as missing.
pub fn encode_row(columns: &[EncodedColumn], cells: &[Cell<'_>], out: &mut Vec<f64>) {
    out.clear();
    for (index, column) in columns.iter().enumerate() {
        let start = out.len();
        out.resize(start + column.encoding.width(), 0.0);
        let cell = cells.get(index).copied().unwrap_or(Cell::Missing);
        column.encoding.encode(cell, &mut out[start..]);
    }
}

/// SHA-256 of bytes, hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// `1 / (1 + exp(-x))`.
pub fn sigmoid(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// The calibration curve at a point: straight between corners and on beyond them; without corners the point itself.
pub fn bend(curve: &[[f64; 2]], at: f64) -> f64 {
    if curve.len() < 2 {
        return at;
    }
    let right = curve
        .partition_point(|corner| corner[0] < at)
        .clamp(1, curve.len() - 1);
    let ([x0, y0], [x1, y1]) = (curve[right - 1], curve[right]);
    y0 + (y1 - y0) * (at - x0) / (x1 - x0)
}
