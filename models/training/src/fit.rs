//! Which model fits these rows? Candidates judged on later time, blended, calibrated, and refitted on everything.

mod calibrate;
mod folds;
#[cfg(test)]
mod tests;
mod trainers;

use revgauge_models::win::{
    WinArtifact,
    artifact::{ARTIFACT_FORMAT, Laid, TreeNode, encode_row},
    encode::EncodedColumn,
};

use self::{
    folds::folds,
    trainers::{Linear, export, fit_linear, fit_trees, linear_log_odds, transpose, tree_log_odds},
};
use crate::{
    metrics::{auc, platt, row_loss},
    table::Table,
};

/// L2 strengths tried, in units of one row's log-loss.
const ALPHAS: [f64; 4] = [1.0, 8.0, 40.0, 160.0];
/// Rows of the scarcer class before a block of time is used to choose by (less where the whole holds little).
const LEAST_OF_CLASS: f64 = 50.0;
/// Rows of the scarcer class below which nothing is fitted.
const FEWEST_OF_CLASS: usize = 10;
/// Numbers of trees tried.
const STEPS: [usize; 5] = [15, 30, 60, 100, 160];
/// Depths of trees tried.
const DEPTHS: [usize; 2] = [3, 5];
/// Shares of the linear part tried in the blend.
const SHARES: [f64; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
/// Rows from which on one forest is enough.
const ONE_FOREST_ROWS: usize = 10_000;
/// Rows that the choice among candidates is made on at most, thinned evenly; the chosen are fitted on all. Twenty thousand
/// settle which strength, depth and blend are best to within what those differ by.
const CHOICE_ROWS: usize = 20_000;
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
    /// Outcomes came too late to judge a model by rows after them.
    #[error(
        "cannot train on {rows} rows: none of the later ones came after {FEWEST_OF_CLASS} outcomes of either kind of other accounts, so no model could be judged; wait for more history"
    )]
    NothingLater {
        /// Rows given.
        rows: usize,
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

/// In which order rows may be learnt from.
#[derive(Debug, Clone, Copy)]
pub enum Order<'a> {
    /// Rows are in order of time, and an outcome is taken to be known at once.
    Time,
    /// Rows are in order of time; nothing is learnt from an outcome before the instant at which it was known. Both in
    /// days, by row of the table.
    TimeWithDelay {
        /// Instant of each row.
        at: &'a [f64],
        /// Instant at which its outcome was known.
        known: &'a [f64],
    },
    /// None: random fifths, rows of one group together.
    None,
}

/// How to fit.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// In which order rows may be learnt from.
    pub order: Order<'a>,
    /// Group of each row of the table; rows of one group are never both learnt from and judged by.
    pub groups: Option<&'a [usize]>,
    /// Seed of everything random.
    pub seed: u64,
    /// Rows beyond which the rows are thinned evenly: what bounds time and memory.
    pub most_rows: usize,
    /// Forests whose mean the trees are, each of its own seed, where rows are so few that their draw matters.
    pub forests: u64,
}

impl Plan<'_> {
    /// Rows in order of time, at most 60,000 of them.
    pub const fn by_time(seed: u64) -> Self {
        Self {
            order: Order::Time,
            groups: None,
            seed,
            most_rows: 60_000,
            forests: 3,
        }
    }
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
    /// Held-out rows (of the table) and their calibrated log-odds, each from a model and a calibration that saw neither
    /// it nor what came after it.
    pub held_out_rows: Vec<(usize, f64)>,
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

/// Held-out answers of every candidate.
struct Trial {
    rows: Vec<usize>,
    won: Vec<bool>,
    constant: Vec<f64>,
    linear: Vec<Vec<f64>>,
    trees: Vec<Vec<f64>>,
    /// Ends of the blocks.
    ends: Vec<usize>,
}

impl Trial {
    /// How much each held-out row counts in a choice: in order of time the block's number, because later blocks were
    /// judged by models of nearly as many rows as the one that will serve, and lie nearer to what it will see.
    fn weights(&self, ordered: bool) -> Vec<f64> {
        let mut weights = Vec::with_capacity(self.won.len());
        for (block, end) in self.ends.iter().enumerate() {
            weights.resize(*end, if ordered { (block + 1) as f64 } else { 1.0 });
        }
        weights
    }
}

/// Fits `rows` of `table`, every choice made on held-out rows as `plan` says.
///
/// Cost: five fits of either part, and forty forests' worth of trees where rows are few; see docs/MODELS.md.
///
/// # Errors
/// [`FitError`] for fewer than 40 rows or 10 of a class, or when a trainer fails.
pub fn fit(table: &Table, rows: &[usize], plan: &Plan<'_>) -> Result<Fitted, FitError> {
    let rows = &thinned(rows, plan.most_rows);
    let won_count = rows.iter().filter(|row| table.won[**row]).count();
    let too_few = FitError::TooFew {
        rows: rows.len(),
        won: won_count,
    };
    if rows.len() < 40 || won_count.min(rows.len() - won_count) < FEWEST_OF_CLASS {
        return Err(too_few);
    }
    let trial = try_all(table, &thinned(rows, CHOICE_ROWS), plan)?;
    if trial.won.is_empty() {
        return Err(FitError::NothingLater { rows: rows.len() });
    }
    let weights = trial.weights(!matches!(plan.order, Order::None));
    let loss_of = |log_odds: &[f64]| {
        let (slope, offset) = platt(log_odds, &trial.won, &weights);
        let rows = log_odds.iter().zip(&trial.won).zip(&weights);
        rows.map(|((x, won), weight)| weight * row_loss(slope * x + offset, *won))
            .sum::<f64>()
    };
    let best_linear = least(&trial.linear, loss_of);
    let best_trees = least(&trial.trees, loss_of);
    let blends: Vec<Vec<f64>> = SHARES
        .iter()
        .map(|share| {
            let pair = trial.linear[best_linear].iter().zip(&trial.trees[best_trees]);
            pair.map(|(linear, trees)| share * linear + (1.0 - share) * trees)
                .collect()
        })
        .collect();
    let best_share = least(&blends, loss_of);
    let blend = &blends[best_share];
    let ordered = !matches!(plan.order, Order::None);
    let (calibration, calibrated) = calibrate::choose(blend, &trial.won, &trial.ends, ordered);
    let (signal, held_out) = signal(&calibrated, &trial.constant, &trial.won, &trial.ends);
    let mut held: Vec<f64> = if signal {
        blend.iter().map(|x| calibration.apply(*x)).collect()
    } else {
        Vec::new()
    };
    held.sort_by(f64::total_cmp);

    let rate = won_count as f64 / rows.len() as f64;
    let parts = final_parts(table, rows, plan, SHARES[best_share], best_linear, best_trees)?;
    let (slope, offset, curve) = if signal {
        (calibration.slope, calibration.offset, calibration.curve)
    } else {
        (0.0, (rate / (1.0 - rate)).ln(), Vec::new())
    };
    let artifact = WinArtifact {
        format: ARTIFACT_FORMAT,
        name: "win".to_owned(),
        columns: parts.columns,
        share_linear: SHARES[best_share],
        bias: parts.linear.bias,
        weights: parts.linear.weights,
        base: parts.base,
        trees: parts.trees,
        slope,
        offset,
        curve,
        rows: rows.len(),
        won: won_count,
        percentiles: (1..100)
            .filter_map(|percent| held.get((held.len().max(1) - 1) * percent / 100).copied())
            .collect(),
        hash: String::new(),
        laid: Laid::default(),
    }
    .seal();
    let choice = if signal {
        format!(
            "{:.0} % logistic (L2 {}), {:.0} % of {} trees of depth {}, {}",
            SHARES[best_share] * 100.0,
            ALPHAS[best_linear],
            (1.0 - SHARES[best_share]) * 100.0,
            STEPS[best_trees % STEPS.len()],
            DEPTHS[best_trees / STEPS.len()],
            calibration.name,
        )
    } else {
        "no signal: base rate".to_owned()
    };
    let said = if signal { &calibrated } else { &trial.constant };
    Ok(Fitted {
        artifact,
        choice,
        signal,
        held_out,
        held_out_rows: trial.rows.iter().copied().zip(said.iter().copied()).collect(),
    })
}

/// Evenly spaced rows, at most so many.
fn thinned(rows: &[usize], most: usize) -> Vec<usize> {
    if rows.len() <= most {
        return rows.to_vec();
    }
    (0..most).map(|place| rows[place * rows.len() / most]).collect()
}

fn forests(plan: &Plan<'_>, rows: usize) -> u64 {
    if rows > ONE_FOREST_ROWS {
        1
    } else {
        plan.forests.max(1)
    }
}

fn try_all(table: &Table, rows: &[usize], plan: &Plan<'_>) -> Result<Trial, FitError> {
    let won_count = rows.iter().filter(|row| table.won[**row]).count();
    let mut trial = Trial {
        rows: Vec::new(),
        won: Vec::new(),
        constant: Vec::new(),
        linear: vec![Vec::new(); ALPHAS.len()],
        trees: vec![Vec::new(); DEPTHS.len() * STEPS.len()],
        ends: Vec::new(),
    };
    let folds = folds(rows, plan);
    let scarcer = |before: &[usize]| {
        let won = before.iter().filter(|row| table.won[**row]).count();
        won.min(before.len() - won)
    };
    // A model of a handful of wins says nothing about the one fitted on all, so its block is not judged by; where no block has
    // more (outcomes take long to be known), those that have enough to be fitted at all.
    let wanted = LEAST_OF_CLASS.min(won_count.min(rows.len() - won_count) as f64 / 4.0);
    let enough = folds
        .iter()
        .any(|(before, after)| !after.is_empty() && scarcer(before) as f64 >= wanted);
    let least = if enough { wanted } else { FEWEST_OF_CLASS as f64 };
    for (before, after) in &folds {
        let outcome: Vec<bool> = before.iter().map(|row| table.won[*row]).collect();
        let rate = (outcome.iter().filter(|won| **won).count() as f64 + 0.5) / (outcome.len() as f64 + 1.0);
        if (scarcer(before) as f64) < least || after.is_empty() {
            continue;
        }
        let design = Design::learn(table, before);
        let (train, test) = (design.numbers(table, before), design.numbers(table, after));
        for (predictions, alpha) in trial.linear.iter_mut().zip(ALPHAS) {
            let model = fit_linear(&train, design.width, &outcome, alpha)?;
            predictions.extend(test.chunks(design.width).map(|row| linear_log_odds(&model, row)));
        }
        let columns = transpose(&train, design.width);
        let later = transpose(&test, design.width);
        let most = STEPS[STEPS.len() - 1];
        for (at, depth) in DEPTHS.iter().enumerate() {
            let mut means = vec![vec![0.0; after.len()]; STEPS.len()];
            let count = forests(plan, rows.len());
            for forest in 0..count {
                let seed = plan.seed + forest;
                let mut booster = fit_trees(&columns, design.width, &outcome, *depth, most, seed)?;
                for (mean, steps) in means.iter_mut().zip(STEPS) {
                    let said = tree_log_odds(&mut booster, &later, after.len(), design.width, steps);
                    for (sum, said) in mean.iter_mut().zip(said) {
                        *sum += said / count as f64;
                    }
                }
            }
            for (step, mean) in means.into_iter().enumerate() {
                trial.trees[at * STEPS.len() + step].extend(mean);
            }
        }
        trial.rows.extend_from_slice(after);
        trial.won.extend(after.iter().map(|row| table.won[*row]));
        trial
            .constant
            .extend(std::iter::repeat_n((rate / (1.0 - rate)).ln(), after.len()));
        trial.ends.push(trial.won.len());
    }
    Ok(trial)
}

struct Parts {
    columns: Vec<EncodedColumn>,
    linear: Linear,
    base: f64,
    trees: Vec<Vec<TreeNode>>,
}

/// Both parts, fitted on all rows.
fn final_parts(
    table: &Table,
    rows: &[usize],
    plan: &Plan<'_>,
    share_linear: f64,
    best_linear: usize,
    best_trees: usize,
) -> Result<Parts, FitError> {
    let design = Design::learn(table, rows);
    let outcome: Vec<bool> = rows.iter().map(|row| table.won[*row]).collect();
    let train = design.numbers(table, rows);
    let linear = if share_linear > 0.0 {
        fit_linear(&train, design.width, &outcome, ALPHAS[best_linear])?
    } else {
        Linear {
            bias: 0.0,
            weights: vec![0.0; design.width],
        }
    };
    let (mut base, mut trees) = (0.0, Vec::new());
    if share_linear < 1.0 {
        let (depth, steps) = (DEPTHS[best_trees / STEPS.len()], STEPS[best_trees % STEPS.len()]);
        let columns = transpose(&train, design.width);
        let count = forests(plan, rows.len());
        for forest in 0..count {
            let booster = fit_trees(&columns, design.width, &outcome, depth, steps, plan.seed + forest)?;
            base += booster.base_score / count as f64;
            trees.extend(export(&booster, 1.0 / count as f64));
        }
    }
    Ok(Parts {
        columns: design.columns,
        linear,
        base,
        trees,
    })
}

fn least(candidates: &[Vec<f64>], loss: impl Fn(&[f64]) -> f64) -> usize {
    let losses: Vec<f64> = candidates.iter().map(|candidate| loss(candidate)).collect();
    (0..losses.len())
        .min_by(|a, b| losses[*a].total_cmp(&losses[*b]))
        .unwrap_or(0)
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
