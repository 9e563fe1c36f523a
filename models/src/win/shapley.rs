//! What does each column add in a tree? Exact Shapley values of what the tree expects when it knows some columns.
//!
//! The players are the columns of a row, each with all numbers it was encoded to. What a tree expects of those it knows is told
//! by its paths: a question on a known column is answered, one on an unknown column sends on the shares of training rows that
//! went either way (path-dependent TreeSHAP: Lundberg, Erion and Lee, *Consistent individualized feature attribution for
//! tree ensembles*, 2018). Unlike the steps along the row's own path (Saabas), equal roles get equal shares whatever the order
//! of the questions, and a column that matters more never gets less.
//!
//! What a leaf adds depends on the answers to the questions on its path alone. So the leaves of a tree are grouped by subtrees
//! that have at most eight questions in them and above them, each group laid out as a table by all their answers (after
//! Yang, *Fast TreeSHAP*, 2021): a tree of depth 3 is one group, one of depth 5 eight.

use super::artifact::{Split, TreeNode};

/// Most questions of a group.
const MOST_QUESTIONS: usize = 8;
/// Rows of the table of such a group.
pub(super) const ANSWERS: usize = 1 << MOST_QUESTIONS;

/// One column's part in the path to a leaf: whether the row's answers lead on, and the share of rows that go on unasked.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    column: u32,
    holds: bool,
    share: f64,
}

/// A question: `number[number] >= at` leads right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Question {
    /// Place of the encoded number asked.
    pub(super) number: usize,
    /// Threshold.
    pub(super) at: f64,
}

/// Leaves of a tree that share most of their questions.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// The questions, a bit of the answers each: 1 leads right.
    pub(super) questions: Vec<Question>,
    /// What each column asked gets, by all answers; as long as there are answers.
    pub(super) adds: Vec<(u32, Vec<f64>)>,
}

/// A forest laid out.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shares {
    /// The groups of all trees.
    pub(super) groups: Vec<Group>,
    /// Trees with a path of more than eight questions, deeper than any that training makes: walked anew for each row.
    deep: Vec<Vec<TreeNode>>,
    scale: f64,
    /// What the trees expect of a row of which nothing is known.
    pub(super) expected: f64,
    column_of: Vec<u32>,
}

impl Shares {
    /// Lays trees out, everything scaled; `column_of` tells the column of each encoded number. Cost: a table of at most 256
    /// for each group and column.
    pub(super) fn of(trees: &[Vec<TreeNode>], scale: f64, column_of: Vec<u32>) -> Self {
        let mut laid = Self {
            groups: Vec::new(),
            deep: Vec::new(),
            scale,
            expected: 0.0,
            column_of,
        };
        for tree in trees {
            laid.expected += scale * shares(tree, &laid.column_of, |_| false, |_, _| {});
            match groups_of(tree, scale, &laid.column_of) {
                Some(groups) => laid.groups.extend(groups),
                None => laid.deep.push(tree.clone()),
            }
        }
        laid
    }

    /// The column of each encoded number.
    pub(super) fn column_of(&self) -> &[u32] {
        &self.column_of
    }

    /// Whether some trees are walked.
    pub(super) const fn walks(&self) -> bool {
        !self.deep.is_empty()
    }

    /// Adds what the trees give to each column for a row, whose encoded numbers `number` tells by their places.
    pub(super) fn add(&self, number: impl Fn(usize) -> f64, mut add: impl FnMut(u32, f64)) {
        for group in &self.groups {
            let bits = group
                .questions
                .iter()
                .map(|question| number(question.number) >= question.at);
            let answers = bits
                .enumerate()
                .fold(0, |all, (bit, right)| all | usize::from(right) << bit);
            for (column, of_answers) in &group.adds {
                add(*column, of_answers[answers]);
            }
        }
        self.add_walked(number, add);
    }

    /// As [`Shares::add`], of the trees that are walked alone.
    pub(super) fn add_walked(&self, number: impl Fn(usize) -> f64, mut add: impl FnMut(u32, f64)) {
        for tree in &self.deep {
            let right = |split: &Split| number(split.feature) >= split.at;
            shares(tree, &self.column_of, right, |column, part| {
                add(column, self.scale * part);
            });
        }
    }
}

/// The groups of a tree; none where a path has too many questions.
fn groups_of(tree: &[TreeNode], scale: f64, column_of: &[u32]) -> Option<Vec<Group>> {
    // Questions in and below each node: children come after their parents.
    let mut below = vec![0; tree.len()];
    for at in (0..tree.len()).rev() {
        if let Some(split) = &tree[at].split {
            below[at] = 1 + below.get(split.left)? + below.get(split.right)?;
        }
    }
    let mut groups = Vec::new();
    let mut open: Vec<(usize, Path)> = (!tree.is_empty())
        .then(|| (0, Path::default()))
        .into_iter()
        .collect();
    while let Some((at, path)) = open.pop() {
        if path.questions.len() + below[at] <= MOST_QUESTIONS {
            groups.push(group_of(tree, at, path, scale, column_of)?);
            continue;
        }
        // A leaf whose own path is too long.
        let split = tree[at].split.as_ref()?;
        let mut questions = path.questions.clone();
        questions.push(question_of(split));
        open.extend(
            path.both_ways(tree, at, questions.len() - 1, column_of)?
                .map(|(next, columns)| {
                    let questions = questions.clone();
                    (next, Path { questions, columns })
                }),
        );
    }
    Some(groups)
}

const fn question_of(split: &Split) -> Question {
    Question {
        number: split.feature,
        at: split.at,
    }
}

/// A column on the way to a node: the share of rows that go on unasked, which questions are its own, and the answers to them
/// that lead on.
type Passed = (u32, f64, usize, usize);
/// A node, and the columns on the way to it.
type Reached = (usize, Vec<Passed>);

/// The way to a node: the questions on it, and the columns they ask.
#[derive(Debug, Clone, Default)]
struct Path {
    questions: Vec<Question>,
    columns: Vec<Passed>,
}

impl Path {
    /// Both children of an asking node, whose question has a bit, with the columns on the way to them.
    fn both_ways(&self, tree: &[TreeNode], at: usize, bit: usize, column_of: &[u32]) -> Option<[Reached; 2]> {
        let node = tree.get(at)?;
        let split = node.split.as_ref()?;
        let column = *column_of.get(split.feature)?;
        let left = share_left(tree, node, split);
        Some(
            [(0, split.left, left), (1, split.right, 1.0 - left)].map(|(right, next, share)| {
                let mut columns = self.columns.clone();
                let (asked, wanted) = (1 << bit, right << bit);
                match columns.iter_mut().find(|(held, ..)| *held == column) {
                    Some(held) => *held = (column, held.1 * share, held.2 | asked, held.3 | wanted),
                    None => columns.push((column, share, asked, wanted)),
                }
                (next, columns)
            }),
        )
    }
}

/// The leaves below a node as one table.
fn group_of(tree: &[TreeNode], top: usize, path: Path, scale: f64, column_of: &[u32]) -> Option<Group> {
    let mut questions = path.questions.clone();
    let mut leaves = Vec::new();
    let mut open = vec![(top, path)];
    while let Some((at, path)) = open.pop() {
        match &tree.get(at)?.split {
            None => leaves.push((scale * tree[at].value, path.columns)),
            Some(split) => {
                questions.push(question_of(split));
                let both = path.both_ways(tree, at, questions.len() - 1, column_of)?;
                open.extend(both.map(|(next, columns)| {
                    let questions = Vec::new();
                    (next, Path { questions, columns })
                }));
            }
        }
    }
    let mut adds: Vec<(u32, Vec<f64>)> = Vec::new();
    for (value, columns) in leaves {
        // Where in the table each of its columns is added.
        let mut own = Vec::with_capacity(columns.len());
        for (column, ..) in &columns {
            own.push(
                adds.iter()
                    .position(|(held, _)| held == column)
                    .unwrap_or_else(|| {
                        adds.push((*column, vec![0.0; 1 << questions.len()]));
                        adds.len() - 1
                    }),
            );
        }
        // What it adds to each, by which of the columns hold.
        let mut by_holding = Vec::with_capacity(columns.len() << columns.len());
        for holding in 0..1_usize << columns.len() {
            let steps = columns.iter().enumerate().map(|(bit, (column, share, ..))| Step {
                column: *column,
                holds: holding >> bit & 1 == 1,
                share: *share,
            });
            leaf_shares(value, &steps.collect::<Vec<_>>(), |_, part| by_holding.push(part));
        }
        for answers in 0..1_usize << questions.len() {
            let holding = columns
                .iter()
                .enumerate()
                .fold(0, |all, (bit, (_, _, asked, wanted))| {
                    all | usize::from(answers & asked == *wanted) << bit
                });
            for (place, own) in own.iter().enumerate() {
                adds[*own].1[answers] += by_holding[holding * columns.len() + place];
            }
        }
    }
    Some(Group { questions, adds })
}

/// Tells what each column adds to a tree, answered by `right(question)`, and returns what the tree expects of a row of
/// which nothing is known. What is told sums to the leaf reached less that.
///
/// Cost: for each leaf the cube of the columns on its path.
fn shares(
    tree: &[TreeNode],
    column_of: &[u32],
    right: impl Fn(&Split) -> bool,
    mut add: impl FnMut(u32, f64),
) -> f64 {
    let mut expected = 0.0;
    let mut open: Vec<(usize, Vec<Step>)> = vec![(0, Vec::new())];
    while let Some((at, path)) = open.pop() {
        let Some(node) = tree.get(at) else { continue };
        let Some(split) = &node.split else {
            expected += node.value * path.iter().map(|step| step.share).product::<f64>();
            leaf_shares(node.value, &path, &mut add);
            continue;
        };
        let column = column_of.get(split.feature).copied().unwrap_or(0);
        let to_right = right(split);
        let left = share_left(tree, node, split);
        for (next, holds, share) in [(split.left, !to_right, left), (split.right, to_right, 1.0 - left)] {
            let mut path = path.clone();
            match path.iter_mut().find(|step| step.column == column) {
                Some(step) => {
                    step.holds &= holds;
                    step.share *= share;
                }
                None => path.push(Step { column, holds, share }),
            }
            open.push((next, path));
        }
    }
    expected
}

/// Share of training rows that a question sends left, from the values: an inner node's is the mean of its children's by it.
fn share_left(tree: &[TreeNode], node: &TreeNode, split: &Split) -> f64 {
    let (Some(left), Some(right)) = (tree.get(split.left), tree.get(split.right)) else {
        return 0.5;
    };
    let apart = left.value - right.value;
    if apart.abs() <= 1e-12 * (left.value.abs() + right.value.abs()) {
        // Any share has the same mean.
        return 0.5;
    }
    ((node.value - right.value) / apart).clamp(0.0, 1.0)
}

/// What the columns on the path to a leaf of a value get for it, in their order: the Shapley values of
///
/// ```text
/// v(S) = value * product over the columns in S of [holds] * product over the others of share
/// phi(c) = value * (holds(c) - share(c)) * sum over s of (s! (m - 1 - s)! / m!) * e(s)
/// ```
/// with `e(s)` the sum of that product over the coalitions of `s` of the other `m - 1` columns, by multiplying
/// `share + [holds] x` over them.
fn leaf_shares(value: f64, path: &[Step], mut add: impl FnMut(u32, f64)) {
    let count = path.len();
    let mut of_size = vec![0.0; count.max(1)];
    for (own, step) in path.iter().enumerate() {
        of_size.fill(0.0);
        of_size[0] = 1.0;
        let mut others = 0;
        for (other, step) in path.iter().enumerate() {
            if other == own {
                continue;
            }
            others += 1;
            for size in (0..=others).rev() {
                let without = of_size[size] * step.share;
                let with = if size > 0 && step.holds {
                    of_size[size - 1]
                } else {
                    0.0
                };
                of_size[size] = without + with;
            }
        }
        let mut weight = 1.0 / count as f64;
        let mut sum = 0.0;
        for (size, coalitions) in of_size.iter().enumerate() {
            sum += weight * coalitions;
            weight *= (size + 1) as f64 / (count - 1 - size).max(1) as f64;
        }
        add(
            step.column,
            value * (f64::from(u8::from(step.holds)) - step.share) * sum,
        );
    }
}

#[cfg(test)]
mod tests;
