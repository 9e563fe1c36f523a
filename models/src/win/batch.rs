//! How are a million rows scored? Columns a chunk at a time, trees by the answers to all their questions.

use hashbrown::HashMap;

use super::{
    WinArtifact,
    artifact::bend,
    encode::{Cell, ColumnEncoding},
    shapley::{ANSWERS, Question, Shares},
};

/// Rows scored together: their encoded numbers and contributions stay in the second-level cache.
const CHUNK: usize = 1_024;
/// How a column's cells become numbers and its linear part.
#[derive(Debug, Clone)]
struct Reading<'a> {
    encoding: &'a ColumnEncoding,
    /// Share of the linear part times the weight of each of its numbers.
    weights: Vec<f64>,
    /// Which of its numbers trees ask, and the slots where they look for them.
    asked: Vec<(usize, usize)>,
    /// Of a category: place of each level, and for each place its numbers and linear part.
    levels: HashMap<&'a str, usize>,
    by_level: Vec<(Vec<f64>, f64)>,
}

/// An artifact laid out for many rows.
#[derive(Debug, Clone)]
pub struct BatchScorer<'a> {
    artifact: &'a WinArtifact,
    readings: Vec<Reading<'a>>,
    shares: &'a Shares,
    /// Slot of each number that a tree asks.
    slots: Vec<Option<u32>>,
    /// Numbers that trees ask.
    width: usize,
    /// Base before calibration.
    base: f64,
}

/// What a batch of rows got.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scored {
    /// Log-odds of each row: the base and all contributions.
    pub log_odds: Vec<f64>,
    /// Base of each row: what a row of average columns gets.
    pub bases: Vec<f64>,
    /// What each column adds in log-odds, column by column.
    pub contributions: Vec<Vec<f64>>,
}

impl<'a> BatchScorer<'a> {
    /// Lays an artifact out. Cost: that of its trees where no row was judged before, and a hash table of the levels of each
    /// category.
    pub fn new(artifact: &'a WinArtifact) -> Self {
        let shares = artifact.shares();
        let mut slots: Vec<Option<u32>> = vec![None; artifact.width()];
        let mut width = 0;
        for split in artifact
            .trees
            .iter()
            .flatten()
            .filter_map(|node| node.split.as_ref())
        {
            let slot = &mut slots[split.feature];
            if slot.is_none() {
                *slot = Some(width);
                width += 1;
            }
        }
        Self {
            artifact,
            readings: readings(artifact, &slots),
            shares,
            slots,
            width: width as usize,
            base: artifact.uncalibrated_base(),
        }
    }

    /// Scores rows `0..rows`, whose cells `cell(column, row)` gives in the order of the artifact's columns.
    ///
    /// Equal to [`WinArtifact::judge`] but for rounding (1e-9), and for log-odds past 30, which are not drawn in here.
    /// Memory: the answer, and one chunk.
    pub fn score<'c>(&self, rows: usize, cell: impl Fn(usize, usize) -> Cell<'c>) -> Scored {
        let columns = self.artifact.columns.len();
        let mut scored = Scored {
            log_odds: Vec::with_capacity(rows),
            bases: Vec::with_capacity(rows),
            contributions: (0..columns).map(|_| Vec::with_capacity(rows)).collect(),
        };
        let mut numbers = vec![0.0; self.width * CHUNK];
        let mut parts = vec![0.0; columns * CHUNK];
        let mut start = 0;
        while start < rows {
            let count = CHUNK.min(rows - start);
            for (column, reading) in self.readings.iter().enumerate() {
                let part = &mut parts[column * CHUNK..column * CHUNK + count];
                reading.read(|row| cell(column, start + row), part, &mut numbers);
            }
            self.add_trees(&numbers, count, &mut parts);
            self.finish(&parts, count, &mut scored);
            start += count;
        }
        scored
    }

    /// Adds what the trees say of one chunk, before calibration, column-major.
    fn add_trees(&self, numbers: &[f64], count: usize, parts: &mut [f64]) {
        for group in &self.shares.groups {
            let answers = self.answers(&group.questions, numbers, count);
            for (column, of_answers) in &group.adds {
                // As long as any byte may say, so that nothing is asked of its length a row.
                let mut table = [0.0; ANSWERS];
                table[..of_answers.len()].copy_from_slice(of_answers);
                let own = *column as usize * CHUNK;
                for (part, answers) in parts[own..own + count].iter_mut().zip(&answers) {
                    *part += table[usize::from(*answers)];
                }
            }
        }
        if self.shares.walks() {
            self.add_walked(numbers, count, parts);
        }
    }

    /// The answers of a chunk to the questions of one group, a bit each.
    fn answers(&self, questions: &[Question], numbers: &[f64], count: usize) -> [u8; CHUNK] {
        let mut answers = [0; CHUNK];
        for (bit, question) in questions.iter().enumerate() {
            let slot = self.slots[question.number].map_or(0, |slot| slot as usize);
            let own = &numbers[slot * CHUNK..slot * CHUNK + count];
            for (answers, number) in answers.iter_mut().zip(own) {
                *answers |= u8::from(*number >= question.at) << bit;
            }
        }
        answers
    }

    /// Adds what trees say that are deeper than any that training makes, a row at a time.
    fn add_walked(&self, numbers: &[f64], count: usize, parts: &mut [f64]) {
        for row in 0..count {
            let number = |feature: usize| {
                let slot = self.slots.get(feature).copied().flatten();
                slot.map_or(0.0, |slot| numbers[slot as usize * CHUNK + row])
            };
            self.shares.add_walked(number, |column, part| {
                parts[column as usize * CHUNK + row] += part;
            });
        }
    }

    /// Calibrates a chunk and appends it to the answer.
    fn finish(&self, parts: &[f64], count: usize, scored: &mut Scored) {
        let artifact = self.artifact;
        let base = artifact.slope * self.base + artifact.offset;
        let bent_base = bend(&artifact.curve, base);
        let columns = artifact.columns.len();
        let mut sums = [0.0; CHUNK];
        for column in 0..columns {
            for (sum, part) in sums
                .iter_mut()
                .zip(&parts[column * CHUNK..column * CHUNK + count])
            {
                *sum += part;
            }
        }
        // What each row's contributions are multiplied by: the slope, then the chord of the curve.
        let mut scales = [artifact.slope; CHUNK];
        if !artifact.curve.is_empty() {
            for (scale, sum) in scales.iter_mut().zip(&sums).take(count) {
                let ray = artifact.slope * sum;
                if ray.abs() > 1e-9 {
                    *scale *= (bend(&artifact.curve, base + ray) - bent_base) / ray;
                }
            }
        }
        for column in 0..columns {
            let own = &parts[column * CHUNK..column * CHUNK + count];
            scored.contributions[column].extend(own.iter().zip(&scales).map(|(part, scale)| part * scale));
        }
        for (sum, scale) in sums.iter().zip(&scales).take(count) {
            scored.log_odds.push(bent_base + scale * sum);
            scored.bases.push(bent_base);
        }
    }
}

impl Reading<'_> {
    /// Writes the linear part of each row's cell to `part`, and the numbers that trees ask to their slots.
    fn read<'c>(&self, cell: impl Fn(usize) -> Cell<'c>, part: &mut [f64], numbers: &mut [f64]) {
        match self.encoding {
            ColumnEncoding::Numeric { .. } => {
                let mut own = [0.0; 3];
                for (row, part) in part.iter_mut().enumerate() {
                    self.encoding.encode(cell(row), &mut own);
                    *part = dot(&self.weights, &own);
                    for (offset, slot) in &self.asked {
                        numbers[slot * CHUNK + row] = own[*offset];
                    }
                }
            }
            ColumnEncoding::Category { levels, .. } => {
                let rare = levels.len();
                for (row, part) in part.iter_mut().enumerate() {
                    let place = match cell(row) {
                        Cell::Text(text) => self.levels.get(text).copied().unwrap_or(rare),
                        Cell::Number(value) if value.is_finite() => self
                            .levels
                            .get(value.to_string().as_str())
                            .copied()
                            .unwrap_or(rare),
                        Cell::Number(_) | Cell::Missing => rare + 1,
                    };
                    let (own, linear) = &self.by_level[place];
                    *part = *linear;
                    for (offset, slot) in &self.asked {
                        numbers[slot * CHUNK + row] = own[*offset];
                    }
                }
            }
        }
    }
}

fn dot(weights: &[f64], numbers: &[f64]) -> f64 {
    weights
        .iter()
        .zip(numbers)
        .map(|(weight, number)| weight * number)
        .sum()
}

fn readings<'a>(artifact: &'a WinArtifact, slots: &[Option<u32>]) -> Vec<Reading<'a>> {
    let mut start = 0;
    let columns = artifact.columns.iter().map(|column| {
        let encoding = &column.encoding;
        let own = start..start + encoding.width();
        start = own.end;
        let weights: Vec<f64> = artifact.weights[own.clone()]
            .iter()
            .map(|weight| artifact.share_linear * weight)
            .collect();
        let asked = own
            .enumerate()
            .filter_map(|(offset, number)| Some((offset, slots[number]? as usize)))
            .collect();
        let (mut levels, mut by_level) = (HashMap::new(), Vec::new());
        if let ColumnEncoding::Category { levels: names, .. } = encoding {
            levels.extend(
                names
                    .iter()
                    .enumerate()
                    .map(|(place, name)| (name.as_str(), place)),
            );
            for place in 0..encoding.width() {
                let mut numbers = vec![0.0; encoding.width()];
                encoding.encode_level(place, &mut numbers);
                let linear = dot(&weights, &numbers);
                by_level.push((numbers, linear));
            }
        }
        Reading {
            encoding,
            weights,
            asked,
            levels,
            by_level,
        }
    });
    columns.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::win::{
        artifact::{ARTIFACT_FORMAT, Laid, Split, TreeNode},
        encode::{ColumnEncoding, EncodedColumn},
    };

    fn column(name: &str, encoding: ColumnEncoding) -> EncodedColumn {
        EncodedColumn {
            name: name.to_owned(),
            encoding,
        }
    }

    fn numeric() -> ColumnEncoding {
        ColumnEncoding::Numeric {
            low: -5.0,
            high: 5.0,
            mean: 0.5,
            deviation: 2.0,
            log_mean: 0.1,
            log_deviation: 1.5,
            missing: 0.1,
        }
    }

    fn leaf(value: f64) -> TreeNode {
        TreeNode { value, split: None }
    }

    fn ask(value: f64, feature: usize, at: f64, left: usize, right: usize) -> TreeNode {
        TreeNode {
            value,
            split: Some(Split {
                feature,
                at,
                left,
                right,
            }),
        }
    }

    proptest! {
        /// The sums hold, and the batch says what the single row says, with and without a curve, for any row.
        #[test]
        fn a_batch_is_its_rows(
            rows in prop::collection::vec((prop::option::of(-9.0f64..9.0), 0usize..4), 1..40),
            weights in prop::collection::vec(-2.0f64..2.0, 7),
            values in prop::collection::vec(-1.0f64..1.0, 16),
            share in 0.0f64..=1.0,
            slope in 0.0f64..2.0,
            curved in any::<bool>(),
        ) {
            let levels = ["a", "b", "never seen"];
            let lopsided = vec![
                ask(values[0], 0, 0.2, 1, 2),
                leaf(values[1]),
                ask(values[2], 4, 0.5, 3, 4),
                ask(values[3], 1, -0.1, 5, 6),
                leaf(values[4]),
                leaf(values[5]),
                leaf(values[6]),
            ];
            // Eight levels deep on one side: too deep for a table.
            let mut deep = Vec::new();
            for level in 0..8 {
                deep.push(ask(values[level], level % 7, 0.1 * level as f64 - 0.4, 2 * level + 1, 2 * level + 2));
                deep.push(leaf(values[level + 8]));
            }
            deep.push(leaf(0.3));
            let artifact = WinArtifact {
                format: ARTIFACT_FORMAT,
                name: "t".to_owned(),
                columns: vec![
                    column("x", numeric()),
                    column("k", ColumnEncoding::Category {
                        levels: vec!["a".to_owned(), "b".to_owned()],
                        shares: vec![0.4, 0.3, 0.2, 0.1],
                    }),
                ],
                share_linear: share,
                bias: 0.3,
                weights,
                base: -0.2,
                trees: vec![lopsided, deep, vec![leaf(0.2)]],
                slope,
                offset: 0.1,
                curve: if curved { vec![[-1.0, -2.0], [0.0, 0.0], [1.0, 0.4]] } else { Vec::new() },
                rows: 1,
                won: 0,
                percentiles: Vec::new(),
                hash: String::new(),
                laid: Laid::default(),
            };
            let cell = |column: usize, row: usize| match (column, rows[row]) {
                (0, (Some(number), _)) => Cell::Number(number),
                (1, (_, level)) if level < 3 => Cell::Text(levels[level]),
                _ => Cell::Missing,
            };
            let scored = BatchScorer::new(&artifact).score(rows.len(), cell);
            for row in 0..rows.len() {
                let judged = artifact.judge(&[cell(0, row), cell(1, row)]);
                prop_assert!((judged.log_odds - scored.log_odds[row]).abs() < 1e-9);
                let sum: f64 = scored.contributions.iter().map(|column| column[row]).sum();
                prop_assert!((scored.bases[row] + sum - scored.log_odds[row]).abs() < 1e-9);
                prop_assert!((judged.base + judged.contributions.iter().sum::<f64>() - judged.log_odds).abs() < 1e-9);
                for (own, column) in judged.contributions.iter().zip(&scored.contributions) {
                    prop_assert!((own - column[row]).abs() < 1e-9);
                }
                prop_assert!(judged.probability > 0.0 && judged.probability < 1.0);
            }
        }
    }
}
