//! Which model fits these rows? Candidates judged on later time, blended, calibrated, and refitted on everything.

use forust_ml::{GradientBooster, Matrix, sampler::SampleMethod};
use linfa::{Dataset, traits::Fit as _};
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2};
use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use revgauge_models::win::{
    WinArtifact,
    artifact::{ARTIFACT_FORMAT, Split, TreeNode, encode_row},
    encode::EncodedColumn,
};

use crate::{
    metrics::{auc, platt, row_loss},
    table::Table,
};

/// L2 strengths tried, in units of one row's log-loss.
const ALPHAS: [f64; 4] = [1.0, 8.0, 40.0, 160.0];
/// Rows of the scarcer class before a block of time is used to choose by (less where the whole holds little).
const LEAST_OF_CLASS: f64 = 50.0;
/// Numbers of trees tried.
const STEPS: [usize; 5] = [15, 30, 60, 100, 160];
/// Depths of trees tried.
const DEPTHS: [usize; 2] = [3, 5];
/// Shares of the linear part tried in the blend.
const SHARES: [f64; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
/// Half-lives of the calibration's memory tried, as shares of the held-out rows.
const MEMORIES: [f64; 4] = [f64::INFINITY, 0.5, 0.25, 0.12];
/// Standard errors by which held-out ranking must beat chance for a signal to be claimed; three, because the ranking
/// judged is the best of a few dozen candidates.
const SIGNAL_ERRORS: f64 = 3.0;

/// Why nothing could be fitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Too few rows.
    #[error(
        "cannot train on {rows} rows with {won} won: at least 40 rows and 10 of either outcome are needed; until then the base rate is all that can be said"
    )]
    TooFew {
        /// Rows given.
        rows: usize,
        /// Won among them.
        won: usize,
    },
    /// A trainer refused.
    #[error("cannot fit the {model} on {rows} rows: {reason}")]
    Trainer {
        /// Which.
        model: &'static str,
        /// Rows given.
        rows: usize,
        /// What it said.
        reason: String,
    },
}

/// A fitted model and what held-out rows said while choosing it.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// The sealed artifact.
    pub artifact: WinArtifact,
    /// What was chosen, for the card.
    pub choice: String,
    /// Whether held-out ranking beat chance by three standard errors.
    pub signal: bool,
    /// Held-out log-loss while choosing, and that of the base rate known then.
    pub held_out: (f64, f64),
}

struct Linear {
    bias: f64,
    weights: Vec<f64>,
}

struct Design {
    columns: Vec<EncodedColumn>,
    width: usize,
}

impl Design {
    fn learn(table: &Table, rows: &[usize]) -> Self {
        let columns = table.encoding(rows);
        let width = columns.iter().map(|column| column.encoding.width()).sum();
        Self { columns, width }
    }

    /// Row-major numbers of `rows`.
    fn numbers(&self, table: &Table, rows: &[usize]) -> Vec<f64> {
        let (mut all, mut one) = (Vec::with_capacity(rows.len() * self.width), Vec::new());
        for row in rows {
            encode_row(&self.columns, &table.row(*row), &mut one);
            all.extend_from_slice(&one);
        }
        all
    }
}

/// Fits `rows` of `table`.
///
/// With `ordered` the rows are in order of time and every choice is made on later rows than those fitted; else on random fifths that keep rows of one group (equal `groups`) together.
///
/// # Errors
/// [`FitError`] for fewer than 40 rows or 10 of a class, or when a trainer fails.
pub fn fit(
    table: &Table,
    rows: &[usize],
    ordered: bool,
    groups: Option<&[usize]>,
    seed: u64,
) -> Result<Fitted, FitError> {
    let won_count = rows.iter().filter(|row| table.won[**row]).count();
    if rows.len() < 40 || won_count < 10 || rows.len() - won_count < 10 {
        return Err(FitError::TooFew {
            rows: rows.len(),
            won: won_count,
        });
    }
    let folds = if ordered {
        later_folds(rows)
    } else {
        random_folds(rows, groups, seed)
    };
    let mut won = Vec::new();
    let mut constant = Vec::new();
    let mut linear: Vec<Vec<f64>> = vec![Vec::new(); ALPHAS.len()];
    let mut trees: Vec<Vec<f64>> = vec![Vec::new(); DEPTHS.len() * STEPS.len()];
    let mut ends = Vec::new();
    for (before, after) in &folds {
        let design = Design::learn(table, before);
        let (train, test) = (design.numbers(table, before), design.numbers(table, after));
        let outcome: Vec<bool> = before.iter().map(|row| table.won[*row]).collect();
        let rate = (outcome.iter().filter(|won| **won).count() as f64 + 0.5) / (outcome.len() as f64 + 1.0);
        let scarcer = rate.min(1.0 - rate) * outcome.len() as f64;
        // A model of a handful of wins says nothing about the one fitted on all, so its block is not judged by.
        if scarcer < LEAST_OF_CLASS.min(won_count.min(rows.len() - won_count) as f64 / 4.0) {
            continue;
        }
        for (predictions, alpha) in linear.iter_mut().zip(ALPHAS) {
            let model = fit_linear(&train, design.width, &outcome, alpha)?;
            predictions.extend(test.chunks(design.width).map(|row| linear_log_odds(&model, row)));
        }
        let columns = transpose(&train, design.width);
        let later = transpose(&test, design.width);
        for (at, depth) in DEPTHS.iter().enumerate() {
            let mut booster = fit_trees(
                &columns,
                design.width,
                &outcome,
                *depth,
                STEPS[STEPS.len() - 1],
                seed,
            )?;
            for (step, count) in STEPS.iter().enumerate() {
                booster.prediction_iteration = Some((*count).min(booster.trees.len()));
                let matrix = Matrix::new(&later, after.len(), design.width);
                trees[at * STEPS.len() + step].extend(booster.predict(&matrix, false));
            }
        }
        won.extend(after.iter().map(|row| table.won[*row]));
        constant.extend(std::iter::repeat_n((rate / (1.0 - rate)).ln(), after.len()));
        ends.push(won.len());
    }
    if won.is_empty() {
        return Err(FitError::TooFew {
            rows: rows.len(),
            won: won_count,
        });
    }
    let level = vec![1.0; won.len()];
    let loss_of = |log_odds: &[f64]| {
        let (slope, offset) = platt(log_odds, &won, &level);
        log_odds
            .iter()
            .zip(&won)
            .map(|(x, won)| row_loss(slope * x + offset, *won))
            .sum::<f64>()
    };
    let best_linear = least(&linear, loss_of);
    let best_trees = least(&trees, loss_of);
    let blends: Vec<Vec<f64>> = SHARES
        .iter()
        .map(|share| {
            let pair = linear[best_linear].iter().zip(&trees[best_trees]);
            pair.map(|(linear, trees)| share * linear + (1.0 - share) * trees)
                .collect()
        })
        .collect();
    let best_share = least(&blends, loss_of);
    let share_linear = SHARES[best_share];
    let blend = &blends[best_share];
    let (memory, calibrated) = choose_memory(blend, &won, &ends, ordered);
    let (slope, offset) = platt(blend, &won, &ages(won.len(), memory));
    let (signal, held_out) = signal(&calibrated, &constant, &won, &ends);

    let design = Design::learn(table, rows);
    let outcome: Vec<bool> = rows.iter().map(|row| table.won[*row]).collect();
    let train = design.numbers(table, rows);
    let model = if share_linear > 0.0 {
        fit_linear(&train, design.width, &outcome, ALPHAS[best_linear])?
    } else {
        Linear {
            bias: 0.0,
            weights: vec![0.0; design.width],
        }
    };
    let (depth, count) = (DEPTHS[best_trees / STEPS.len()], STEPS[best_trees % STEPS.len()]);
    let (base, forest) = if share_linear < 1.0 {
        let booster = fit_trees(
            &transpose(&train, design.width),
            design.width,
            &outcome,
            depth,
            count,
            seed,
        )?;
        (booster.base_score, export(&booster))
    } else {
        (0.0, Vec::new())
    };
    let rate = won_count as f64 / rows.len() as f64;
    let (slope, offset) = if signal {
        (slope, offset)
    } else {
        (0.0, (rate / (1.0 - rate)).ln())
    };
    let mut held: Vec<f64> = blend.iter().map(|x| slope * x + offset).collect();
    held.sort_by(f64::total_cmp);
    let percentiles = (1..100)
        .map(|percent| held[(held.len() - 1) * percent / 100])
        .collect();
    let artifact = WinArtifact {
        format: ARTIFACT_FORMAT,
        name: "win".to_owned(),
        columns: design.columns,
        share_linear,
        bias: model.bias,
        weights: model.weights,
        base,
        trees: forest,
        slope,
        offset,
        rows: rows.len(),
        won: won_count,
        percentiles,
        hash: String::new(),
    }
    .seal();
    let choice = if signal {
        format!(
            "{:.0} % logistic (L2 {}), {:.0} % of {count} trees of depth {depth}, Platt slope {slope:.2}",
            share_linear * 100.0,
            ALPHAS[best_linear],
            (1.0 - share_linear) * 100.0,
        )
    } else {
        "no signal: base rate".to_owned()
    };
    Ok(Fitted {
        artifact,
        choice,
        signal,
        held_out,
    })
}

/// Six blocks of time; each of the last four is predicted from all before it.
fn later_folds(rows: &[usize]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let edge = |block: usize| rows.len() * block / 6;
    (2..6)
        .map(|block| {
            (
                rows[..edge(block)].to_vec(),
                rows[edge(block)..edge(block + 1)].to_vec(),
            )
        })
        .collect()
}

fn random_folds(rows: &[usize], groups: Option<&[usize]>, seed: u64) -> Vec<(Vec<usize>, Vec<usize>)> {
    let group_of = |row: usize| groups.and_then(|groups| groups.get(row)).copied().unwrap_or(row);
    let mut names: Vec<usize> = rows.iter().map(|row| group_of(*row)).collect();
    names.sort_unstable();
    names.dedup();
    names.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let fold_of: std::collections::BTreeMap<usize, usize> = names
        .iter()
        .enumerate()
        .map(|(at, name)| (*name, at % 5))
        .collect();
    (0..5)
        .map(|fold| {
            rows.iter()
                .partition(|row| fold_of.get(&group_of(**row)) != Some(&fold))
        })
        .collect()
}

fn least(candidates: &[Vec<f64>], loss: impl Fn(&[f64]) -> f64) -> usize {
    let losses: Vec<f64> = candidates.iter().map(|candidate| loss(candidate)).collect();
    (0..losses.len())
        .min_by(|a, b| losses[*a].total_cmp(&losses[*b]))
        .unwrap_or(0)
}

/// Weights that halve every `memory` share of the rows back from the newest.
fn ages(count: usize, memory: f64) -> Vec<f64> {
    (0..count)
        .map(|row| (-((count - 1 - row) as f64 / count as f64) / memory).exp2())
        .collect()
}

/// Chooses how fast calibration forgets, by calibrating each block from the blocks before it.
fn choose_memory(log_odds: &[f64], won: &[bool], ends: &[usize], ordered: bool) -> (f64, Vec<f64>) {
    let run = |memory: f64| {
        let mut all = log_odds[..ends[0]].to_vec();
        for pair in ends.windows(2) {
            let (slope, offset) = platt(&log_odds[..pair[0]], &won[..pair[0]], &ages(pair[0], memory));
            all.extend(log_odds[pair[0]..pair[1]].iter().map(|x| slope * x + offset));
        }
        all
    };
    let tried: Vec<Vec<f64>> = MEMORIES.iter().map(|memory| run(*memory)).collect();
    let best = if ordered {
        least(&tried, |log_odds| {
            log_odds.iter().zip(won).map(|(x, won)| row_loss(*x, *won)).sum()
        })
    } else {
        0
    };
    (MEMORIES[best], tried[best].clone())
}

/// Whether ranking within blocks of time beats chance, and the log-loss of model and base rate held out.
///
/// Each block's AUC is compared with 0.5 by its Mann-Whitney error and the blocks are pooled by precision, so a base rate
/// that moves between blocks counts neither for nor against the model.
fn signal(log_odds: &[f64], constant: &[f64], won: &[bool], ends: &[usize]) -> (bool, (f64, f64)) {
    let (mut gain, mut precision, mut start) = (0.0, 0.0, 0);
    for end in ends {
        let block = start..*end;
        start = *end;
        let yes = won[block.clone()].iter().filter(|won| **won).count() as f64;
        let no = block.len() as f64 - yes;
        if yes < 3.0 || no < 3.0 {
            continue;
        }
        let variance = (yes + no + 1.0) / (12.0 * yes * no);
        gain += (auc(&log_odds[block.clone()], &won[block]) - 0.5) / variance;
        precision += 1.0 / variance;
    }
    let from = if ends[0] < won.len() { ends[0] } else { 0 };
    let loss = |log_odds: &[f64]| {
        let rows = from..won.len();
        let count = rows.len().max(1) as f64;
        rows.map(|row| row_loss(log_odds[row], won[row])).sum::<f64>() / count
    };
    (
        gain > SIGNAL_ERRORS * precision.sqrt(),
        (loss(log_odds), loss(constant)),
    )
}

fn fit_linear(numbers: &[f64], width: usize, won: &[bool], alpha: f64) -> Result<Linear, FitError> {
    let refuse = |reason: String| FitError::Trainer {
        model: "logistic regression",
        rows: won.len(),
        reason,
    };
    let records =
        Array2::from_shape_vec((won.len(), width), numbers.to_vec()).map_err(|e| refuse(e.to_string()))?;
    let targets = Array1::from_vec(won.to_vec());
    let fitted = LogisticRegression::default()
        .alpha(alpha)
        .max_iterations(150)
        .gradient_tolerance(1e-2)
        .fit(&Dataset::new(records, targets))
        .map_err(|error| refuse(error.to_string()))?;
    // linfa takes one of the two labels as its positive class; turn the sign if it is the lost one.
    let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
    Ok(Linear {
        bias: sign * fitted.intercept(),
        weights: fitted.params().iter().map(|weight| sign * weight).collect(),
    })
}

fn linear_log_odds(model: &Linear, row: &[f64]) -> f64 {
    model.bias
        + model
            .weights
            .iter()
            .zip(row)
            .map(|(weight, number)| weight * number)
            .sum::<f64>()
}

fn transpose(numbers: &[f64], width: usize) -> Vec<f64> {
    let rows = numbers.len() / width.max(1);
    let mut columns = Vec::with_capacity(numbers.len());
    for column in 0..width {
        columns.extend((0..rows).map(|row| numbers[row * width + column]));
    }
    columns
}

fn fit_trees(
    columns: &[f64],
    width: usize,
    won: &[bool],
    depth: usize,
    count: usize,
    seed: u64,
) -> Result<GradientBooster, FitError> {
    let outcome: Vec<f64> = won.iter().map(|won| f64::from(u8::from(*won))).collect();
    let mut booster = GradientBooster::default()
        .set_iterations(count)
        .set_learning_rate(0.06)
        .set_max_depth(depth)
        .set_l2(2.0)
        .set_nbins(64)
        .set_min_leaf_weight(2.0)
        .set_subsample(0.8)
        .set_sample_method(SampleMethod::Random)
        .set_colsample_bytree(0.6)
        .set_seed(seed)
        .set_parallel(false);
    booster
        .fit_unweighted(&Matrix::new(columns, won.len(), width), &outcome, None)
        .map_err(|error| FitError::Trainer {
            model: "trees",
            rows: won.len(),
            reason: error.to_string(),
        })?;
    Ok(booster)
}

/// Copies the trees, numbering nodes parents first; the value of an inner node is the mean of its children by cover.
fn export(booster: &GradientBooster) -> Vec<Vec<TreeNode>> {
    booster
        .trees
        .iter()
        .map(|tree| {
            let mut order = vec![0];
            let mut nodes: Vec<TreeNode> = Vec::new();
            let mut covers = Vec::new();
            let mut at = 0;
            while at < order.len() {
                let node = &tree.nodes[order[at]];
                covers.push(f64::from(node.hessian_sum));
                let split = (!node.is_leaf).then(|| {
                    order.extend([node.left_child, node.right_child]);
                    Split {
                        feature: node.split_feature,
                        at: node.split_value,
                        left: order.len() - 2,
                        right: order.len() - 1,
                    }
                });
                nodes.push(TreeNode {
                    value: f64::from(node.weight_value),
                    split,
                });
                at += 1;
            }
            for index in (0..nodes.len()).rev() {
                if let Some(split) = nodes[index].split.clone() {
                    let (left, right) = (covers[split.left], covers[split.right]);
                    let (a, b) = (nodes[split.left].value, nodes[split.right].value);
                    nodes[index].value = (left * a + right * b) / (left + right).max(1e-12);
                }
            }
            nodes
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use revgauge_models::win::artifact::sigmoid;

    use super::*;
    use crate::table::Column;

    fn sample(signal: f64) -> Table {
        let mut x: u64 = 7;
        let mut next = || {
            x = x
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (x >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut table = Table::default();
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for row in 0..600 {
            let value = next() * 4.0 - 2.0;
            let level = ["red", "green", "blue"][row % 3];
            let log_odds = signal * (value + if level == "red" { 1.0 } else { -0.5 });
            table.won.push(next() < sigmoid(log_odds));
            a.push(if row % 11 == 0 { f64::NAN } else { value });
            b.push((row % 13 != 0).then(|| level.to_owned()));
        }
        table.push("a", Column::Numeric(a));
        table.push("b", Column::Text(b));
        table
    }

    #[test]
    fn artifact_predicts_what_the_trainers_predict() {
        let table = sample(1.5);
        let rows: Vec<usize> = (0..table.won.len()).collect();
        let design = Design::learn(&table, &rows);
        let numbers = design.numbers(&table, &rows);
        let linear = fit_linear(&numbers, design.width, &table.won, 1.0).unwrap();
        let booster = fit_trees(
            &transpose(&numbers, design.width),
            design.width,
            &table.won,
            4,
            40,
            1,
        )
        .unwrap();
        let columns = transpose(&numbers, design.width);
        let by_trainer = booster.predict(&Matrix::new(&columns, rows.len(), design.width), false);
        let artifact = WinArtifact {
            format: ARTIFACT_FORMAT,
            name: "test".to_owned(),
            columns: design.columns,
            share_linear: 0.3,
            bias: linear.bias,
            weights: linear.weights.clone(),
            base: booster.base_score,
            trees: export(&booster),
            slope: 1.0,
            offset: 0.0,
            rows: rows.len(),
            won: 0,
            percentiles: Vec::new(),
            hash: String::new(),
        }
        .seal();
        let artifact = WinArtifact::from_json(&artifact.to_json().unwrap()).unwrap();
        for row in rows {
            let judged = artifact.judge(&table.row(row));
            let own = linear_log_odds(&linear, &numbers[row * design.width..(row + 1) * design.width]);
            let expected = 0.3 * own + 0.7 * by_trainer[row];
            assert!(
                (judged.log_odds - expected).abs() < 1e-9,
                "row {row}: {} {expected}",
                judged.log_odds
            );
            let sum = judged.base + judged.contributions.iter().sum::<f64>();
            assert!((sum - judged.log_odds).abs() < 1e-9);
        }
    }

    #[test]
    fn a_changed_artifact_is_refused() {
        let table = sample(1.5);
        let rows: Vec<usize> = (0..table.won.len()).collect();
        let fitted = fit(&table, &rows, true, None, 1).unwrap();
        assert!(fitted.signal, "{}", fitted.choice);
        let text = fitted.artifact.to_json().unwrap();
        let changed = text.replacen("\"won\":", "\"won\":1", 1);
        assert!(WinArtifact::from_json(&changed).is_err());
        assert!(WinArtifact::from_json(&text).is_ok());
    }

    #[test]
    fn noise_gives_the_base_rate() {
        let table = sample(0.0);
        let rows: Vec<usize> = (0..table.won.len()).collect();
        let fitted = fit(&table, &rows, true, None, 1).unwrap();
        assert!(!fitted.signal);
        let rate = fitted.artifact.won as f64 / 600.0;
        assert!((fitted.artifact.judge(&table.row(5)).probability - rate).abs() < 1e-9);
    }

    #[test]
    fn one_class_is_an_exact_error() {
        let mut table = sample(1.0);
        table.won.fill(true);
        let rows: Vec<usize> = (0..table.won.len()).collect();
        assert!(matches!(
            fit(&table, &rows, true, None, 1),
            Err(FitError::TooFew { rows: 600, won: 600 })
        ));
    }
}
