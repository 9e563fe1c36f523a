//! How are the two parts of a model fitted, and how do they become the artifact's form? linfa and forust, nowhere else.

use forust_ml::{GradientBooster, Matrix, sampler::SampleMethod};
use linfa::{Dataset, traits::Fit as _};
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2};
use revgauge_models::win::artifact::{Split, TreeNode};

use super::FitError;

/// The linear part.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Linear {
    pub(super) bias: f64,
    pub(super) weights: Vec<f64>,
}

/// L2 logistic regression (linfa) of row-major `numbers`.
pub(super) fn fit_linear(
    numbers: &[f64],
    width: usize,
    won: &[bool],
    alpha: f64,
) -> Result<Linear, FitError> {
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

/// The linear part's log-odds of one row.
pub(super) fn linear_log_odds(model: &Linear, row: &[f64]) -> f64 {
    model.bias
        + model
            .weights
            .iter()
            .zip(row)
            .map(|(weight, number)| weight * number)
            .sum::<f64>()
}

/// Row-major to column-major.
pub(super) fn transpose(numbers: &[f64], width: usize) -> Vec<f64> {
    let rows = numbers.len() / width.max(1);
    let mut columns = Vec::with_capacity(numbers.len());
    for column in 0..width {
        columns.extend((0..rows).map(|row| numbers[row * width + column]));
    }
    columns
}

/// Boosted trees (forust) of column-major numbers.
pub(super) fn fit_trees(
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

/// Log-odds after the first `count` trees of column-major numbers.
pub(super) fn tree_log_odds(
    booster: &mut GradientBooster,
    columns: &[f64],
    rows: usize,
    width: usize,
    count: usize,
) -> Vec<f64> {
    booster.prediction_iteration = Some(count.min(booster.trees.len()));
    booster.predict(&Matrix::new(columns, rows, width), false)
}

/// Copies the trees, numbering nodes parents first; the value of an inner node is the mean of its children by cover.
pub(super) fn export(booster: &GradientBooster, scale: f64) -> Vec<Vec<TreeNode>> {
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
                    value: scale * f64::from(node.weight_value),
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
