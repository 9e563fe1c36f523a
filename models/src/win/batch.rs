//! How are a million rows scored? Columns a chunk at a time, trees as tables that are walked without asking where they end.

use super::{
    WinArtifact,
    artifact::{TreeNode, bend},
    encode::Cell,
};

/// Rows scored together: their encoded numbers and contributions stay in the second-level cache.
const CHUNK: usize = 1_024;
/// Deepest tree that is laid out as a table; deeper ones are walked node by node.
const DEEPEST: usize = 6;

/// A tree of equal depth everywhere: `2^depth - 1` questions in the order of a heap, then for each leaf what each question on
/// its path adds and to which column.
#[derive(Debug, Clone)]
struct Table {
    depth: usize,
    questions: Vec<(u32, f64)>,
    /// `depth` entries a leaf.
    adds: Vec<(u32, f64)>,
}

/// An artifact laid out for many rows.
#[derive(Debug, Clone)]
pub struct BatchScorer<'a> {
    artifact: &'a WinArtifact,
    tables: Vec<Table>,
    /// Trees too deep for a table.
    deep: Vec<&'a [TreeNode]>,
    column_of: Vec<u32>,
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
    /// Lays an artifact out. Cost: `2^depth` a tree.
    pub fn new(artifact: &'a WinArtifact) -> Self {
        let mut column_of = Vec::with_capacity(artifact.width());
        for (place, column) in artifact.columns.iter().enumerate() {
            column_of.resize(column_of.len() + column.encoding.width(), place as u32);
        }
        let share_trees = 1.0 - artifact.share_linear;
        let (mut tables, mut deep) = (Vec::new(), Vec::new());
        let mut base = artifact.share_linear * artifact.bias + share_trees * artifact.base;
        if share_trees > 0.0 {
            for tree in &artifact.trees {
                base += share_trees * tree.first().map_or(0.0, |root| root.value);
                let depth = depth(tree, 0);
                if depth <= DEEPEST {
                    tables.push(table(tree, depth, share_trees, &column_of));
                } else {
                    deep.push(tree.as_slice());
                }
            }
        }
        Self {
            artifact,
            tables,
            deep,
            column_of,
            base,
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
        let width = self.artifact.width();
        let mut numbers = vec![0.0; width * CHUNK];
        let mut parts = vec![0.0; columns * CHUNK];
        let mut one = Vec::new();
        let mut start = 0;
        while start < rows {
            let count = CHUNK.min(rows - start);
            let mut place = 0;
            for (index, column) in self.artifact.columns.iter().enumerate() {
                let own = column.encoding.width();
                one.resize(own, 0.0);
                for row in 0..count {
                    column.encoding.encode(cell(index, start + row), &mut one);
                    for (offset, number) in one.iter().enumerate() {
                        numbers[(place + offset) * CHUNK + row] = *number;
                    }
                }
                place += own;
            }
            self.chunk(&numbers, count, &mut parts);
            self.finish(&mut parts, count, &mut scored);
            start += count;
        }
        scored
    }

    /// Contributions of one chunk before calibration, column-major.
    fn chunk(&self, numbers: &[f64], count: usize, parts: &mut [f64]) {
        parts.fill(0.0);
        let share = self.artifact.share_linear;
        if share > 0.0 {
            for (number, weight) in self.artifact.weights.iter().enumerate() {
                let weight = share * weight;
                if weight != 0.0 {
                    let own = self.column_of[number] as usize * CHUNK;
                    let from = &numbers[number * CHUNK..number * CHUNK + count];
                    for (part, number) in parts[own..own + count].iter_mut().zip(from) {
                        *part += weight * number;
                    }
                }
            }
        }
        for table in &self.tables {
            let leaves = table.questions.len();
            for row in 0..count {
                let mut at = 0;
                for _ in 0..table.depth {
                    let (feature, threshold) = table.questions[at];
                    at = 2 * at + 1 + usize::from(numbers[feature as usize * CHUNK + row] >= threshold);
                }
                let leaf = (at - leaves) * table.depth;
                for (column, add) in &table.adds[leaf..leaf + table.depth] {
                    parts[*column as usize * CHUNK + row] += add;
                }
            }
        }
        for tree in &self.deep {
            for row in 0..count {
                self.walk(tree, numbers, row, parts);
            }
        }
    }

    fn walk(&self, tree: &[TreeNode], numbers: &[f64], row: usize, parts: &mut [f64]) {
        let Some(mut node) = tree.first() else { return };
        while let Some(split) = &node.split {
            let number = numbers[split.feature * CHUNK + row];
            let Some(next) = tree.get(if number < split.at {
                split.left
            } else {
                split.right
            }) else {
                return;
            };
            let column = self.column_of[split.feature] as usize;
            parts[column * CHUNK + row] += (1.0 - self.artifact.share_linear) * (next.value - node.value);
            node = next;
        }
    }

    /// Calibrates a chunk and appends it to the answer.
    fn finish(&self, parts: &mut [f64], count: usize, scored: &mut Scored) {
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

fn depth(tree: &[TreeNode], at: usize) -> usize {
    match tree.get(at).and_then(|node| node.split.as_ref()) {
        Some(split) => 1 + depth(tree, split.left).max(depth(tree, split.right)),
        None => 0,
    }
}

/// Place in the heap, node of the tree (none below a leaf), what the path to it added to which column.
type Open = (usize, Option<usize>, Vec<(u32, f64)>);

/// Lays a tree out to equal depth: below a leaf, questions that both answers lead to the same.
fn table(tree: &[TreeNode], depth: usize, share: f64, column_of: &[u32]) -> Table {
    let inner = (1 << depth) - 1;
    let mut made = Table {
        depth,
        questions: vec![(0, f64::NEG_INFINITY); inner],
        adds: vec![(0, 0.0); (1 << depth) * depth],
    };
    let mut open: Vec<Open> = vec![(0, Some(0), Vec::new())];
    while let Some((place, node, path)) = open.pop() {
        if place >= inner {
            let leaf = (place - inner) * depth;
            made.adds[leaf..leaf + path.len()].copy_from_slice(&path);
            continue;
        }
        let found = node.and_then(|node| Some((tree.get(node)?, tree.get(node)?.split.as_ref()?)));
        match found {
            Some((own, split)) => {
                made.questions[place] = (split.feature as u32, split.at);
                for (side, next) in [split.left, split.right].into_iter().enumerate() {
                    let mut path = path.clone();
                    let step = tree.get(next).map_or(0.0, |next| next.value - own.value);
                    path.push((column_of.get(split.feature).copied().unwrap_or(0), share * step));
                    open.push((2 * place + 1 + side, Some(next), path));
                }
            }
            None => {
                for side in 0..2 {
                    let mut path = path.clone();
                    path.push((0, 0.0));
                    open.push((2 * place + 1 + side, None, path));
                }
            }
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::win::{
        artifact::{ARTIFACT_FORMAT, Split},
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
