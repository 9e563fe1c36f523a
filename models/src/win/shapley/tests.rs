//! Shares sum to the tree, equal roles get equal shares, and both are what trying all coalitions gives.

use proptest::prelude::*;

use super::*;

const COLUMNS: u32 = 4;

/// A tree by its shape: at each inner node a number asked and the share of rows that go left, at each leaf a value.
fn tree_of(shape: &[(bool, usize, f64, f64)], depth: usize) -> Vec<TreeNode> {
    let mut nodes = vec![TreeNode {
        value: 0.0,
        split: None,
    }];
    let mut shares = vec![0.5];
    let mut open = vec![(0, 0)];
    let mut drawn = shape.iter().cycle();
    while let Some((at, level)) = open.pop() {
        let Some((asks, number, share, value)) = drawn.next() else {
            break;
        };
        shares[at] = *share;
        if level == depth || !(*asks || level == 0) {
            nodes[at].value = *value;
            continue;
        }
        let (left, right) = (nodes.len(), nodes.len() + 1);
        for _ in 0..2 {
            nodes.push(TreeNode {
                value: 0.0,
                split: None,
            });
            shares.push(0.5);
        }
        nodes[at].split = Some(Split {
            feature: *number,
            at: *value,
            left,
            right,
        });
        open.extend([(left, level + 1), (right, level + 1)]);
    }
    for at in (0..nodes.len()).rev() {
        if let Some(split) = nodes[at].split.clone() {
            let (left, right) = (nodes[split.left].value, nodes[split.right].value);
            nodes[at].value = shares[at] * left + (1.0 - shares[at]) * right;
        }
    }
    nodes
}

/// Two numbers a column.
fn column_of() -> Vec<u32> {
    (0..2 * COLUMNS).map(|number| number / 2).collect()
}

/// What the tree expects when it knows some columns of a row.
fn expects(tree: &[TreeNode], at: usize, known: u32, numbers: &[f64]) -> f64 {
    let Some(split) = &tree[at].split else {
        return tree[at].value;
    };
    let (left, right) = (
        expects(tree, split.left, known, numbers),
        expects(tree, split.right, known, numbers),
    );
    if known >> column_of()[split.feature] & 1 == 1 {
        if numbers[split.feature] >= split.at {
            right
        } else {
            left
        }
    } else {
        let share = share_left(tree, &tree[at], split);
        share * left + (1.0 - share) * right
    }
}

fn factorial(n: u32) -> f64 {
    (1..=n).map(f64::from).product()
}

/// Shapley values by all coalitions.
fn by_all_coalitions(tree: &[TreeNode], numbers: &[f64]) -> Vec<f64> {
    (0..COLUMNS)
        .map(|own| {
            (0..1_u32 << COLUMNS)
                .filter(|others| others >> own & 1 == 0)
                .map(|others| {
                    let size = others.count_ones();
                    let weight = factorial(size) * factorial(COLUMNS - 1 - size) / factorial(COLUMNS);
                    let with = expects(tree, 0, others | 1 << own, numbers);
                    weight * (with - expects(tree, 0, others, numbers))
                })
                .sum()
        })
        .collect()
}

fn told(shares: &Shares, numbers: &[f64]) -> Vec<f64> {
    let mut parts = vec![0.0; COLUMNS as usize];
    shares.add(
        |number| numbers[number],
        |column, part| parts[column as usize] += part,
    );
    parts
}

fn trees() -> impl Strategy<Value = Vec<TreeNode>> {
    let node = (
        any::<bool>(),
        0..2 * COLUMNS as usize,
        0.05f64..0.95,
        -1.0f64..1.0,
    );
    (prop::collection::vec(node, 1..40), 0usize..=5).prop_map(|(shape, depth)| tree_of(&shape, depth))
}

fn row() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-1.0f64..1.0, 2 * COLUMNS as usize)
}

proptest! {
    #[test]
    fn every_layout_is_what_all_coalitions_give(tree in trees(), numbers in row(), scale in 0.1f64..1.0) {
        let wanted = by_all_coalitions(&tree, &numbers);
        let laid = Shares::of(std::slice::from_ref(&tree), scale, column_of());
        let walked = Shares { groups: Vec::new(), deep: vec![tree.clone()], ..laid.clone() };
        for shares in [&laid, &walked] {
            let parts = told(shares, &numbers);
            for (part, wanted) in parts.iter().zip(&wanted) {
                prop_assert!((part - scale * wanted).abs() < 1e-9, "{parts:?} {wanted:?}");
            }
            let reached = scale * expects(&tree, 0, u32::MAX, &numbers);
            let sum: f64 = parts.iter().sum();
            prop_assert!((laid.expected + sum - reached).abs() < 1e-9);
        }
        prop_assert!((laid.expected - scale * tree[0].value).abs() < 1e-9);
    }

    /// A tree of `a and b` asks either first: both get the same, as they would not along the path.
    #[test]
    fn equal_roles_get_equal_shares(share in 0.05f64..0.95, value in -2.0f64..2.0, low in any::<bool>()) {
        prop_assume!(value.abs() > 1e-3);
        let ask = |value, feature, left, right| TreeNode {
            value,
            split: Some(Split { feature, at: 0.0, left, right }),
        };
        let leaf = |value| TreeNode { value, split: None };
        let both = (1.0 - share) * value;
        let tree = vec![
            ask((1.0 - share) * both, 0, 1, 2),
            leaf(0.0),
            ask(both, 2, 3, 4),
            leaf(0.0),
            leaf(value),
        ];
        let mut numbers = vec![1.0; 2 * COLUMNS as usize];
        if low {
            (numbers[0], numbers[2]) = (-1.0, -1.0);
        }
        let parts = told(&Shares::of(&[tree], 1.0, column_of()), &numbers);
        prop_assert!((parts[0] - parts[1]).abs() < 1e-12, "{parts:?}");
        prop_assert!(parts[0] != 0.0 && parts[2] == 0.0, "{parts:?}");
    }
}

#[test]
fn a_tree_is_laid_out_in_groups_of_few_questions() {
    let laid = |depth: usize| {
        let shape: Vec<(bool, usize, f64, f64)> = (0..4096)
            .map(|n| (true, n % 8, 0.5, (n % 9) as f64 / 9.0))
            .collect();
        let laid = Shares::of(&[tree_of(&shape, depth)], 1.0, column_of());
        let questions: Vec<usize> = laid.groups.iter().map(|group| group.questions.len()).collect();
        (questions, laid.walks())
    };
    assert_eq!(laid(0), (vec![0], false));
    assert_eq!(laid(3), (vec![7], false));
    assert_eq!(laid(4), (vec![8; 2], false));
    assert_eq!(laid(5), (vec![6; 8], false));
    assert_eq!(laid(9), (Vec::new(), true));
}
