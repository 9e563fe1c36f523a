//! Which rows are learnt from and which are judged by? Later time, or groups that stay together.

use std::collections::BTreeMap;

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use super::{Order, Plan};

/// Rows learnt from and rows judged by, a pair a fold.
pub(super) fn folds(rows: &[usize], plan: &Plan<'_>) -> Vec<(Vec<usize>, Vec<usize>)> {
    match plan.order {
        Order::None => random(rows, plan.groups, plan.seed),
        Order::Time => later(rows, plan, |_, _| true),
        Order::TimeWithDelay { at, known } => later(rows, plan, |row, first| known[row] <= at[first]),
    }
}

/// Six blocks of time; each of the last four is judged by what was known before it, groups that it holds left out.
fn later(
    rows: &[usize],
    plan: &Plan<'_>,
    known: impl Fn(usize, usize) -> bool,
) -> Vec<(Vec<usize>, Vec<usize>)> {
    let edge = |block: usize| rows.len() * block / 6;
    (2..6)
        .map(|block| {
            let after = rows[edge(block)..edge(block + 1)].to_vec();
            let first = after.first().copied().unwrap_or(0);
            let judged: std::collections::BTreeSet<usize> = match plan.groups {
                Some(groups) => after.iter().map(|row| groups[*row]).collect(),
                None => std::collections::BTreeSet::new(),
            };
            let apart = |row: usize| plan.groups.is_none_or(|groups| !judged.contains(&groups[row]));
            let before = rows[..edge(block)]
                .iter()
                .copied()
                .filter(|row| known(*row, first) && apart(*row))
                .collect();
            (before, after)
        })
        .collect()
}

fn random(rows: &[usize], groups: Option<&[usize]>, seed: u64) -> Vec<(Vec<usize>, Vec<usize>)> {
    let group_of = |row: usize| groups.and_then(|groups| groups.get(row)).copied().unwrap_or(row);
    let mut names: Vec<usize> = rows.iter().map(|row| group_of(*row)).collect();
    names.sort_unstable();
    names.dedup();
    names.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let fold_of: BTreeMap<usize, usize> = names
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_learnt_from_an_outcome_not_yet_known_nor_from_a_group_judged() {
        let rows: Vec<usize> = (0..600).collect();
        let at: Vec<f64> = rows.iter().map(|row| *row as f64).collect();
        let known: Vec<f64> = at.iter().map(|at| at + 50.0).collect();
        let groups: Vec<usize> = rows.iter().map(|row| row / 30).collect();
        let plan = Plan {
            order: Order::TimeWithDelay {
                at: &at,
                known: &known,
            },
            groups: Some(&groups),
            seed: 1,
            most_rows: 1000,
            forests: 1,
        };
        let folds = folds(&rows, &plan);
        assert_eq!(folds.len(), 4);
        let mut learnt = 0;
        for (before, after) in folds {
            for row in &before {
                assert!(known[*row] <= at[after[0]]);
                assert!(after.iter().all(|judged| groups[*judged] != groups[*row]));
            }
            learnt += before.len();
        }
        assert!(learnt > 0);
    }
}
