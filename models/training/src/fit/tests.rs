//! Fits on made-up rows whose law is known.

use revgauge_models::win::{
    artifact::{Laid, sigmoid},
    encode::Cell,
};

use forust_ml::Matrix;

use super::*;
use crate::table::Column;

/// One forest: that their mean is exported is tested apart.
fn plan() -> Plan<'static> {
    Plan {
        forests: 1,
        ..Plan::by_time(1)
    }
}

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
        trees: export(&booster, 1.0),
        slope: 1.0,
        offset: 0.0,
        curve: Vec::new(),
        rows: rows.len(),
        won: 0,
        percentiles: Vec::new(),
        hash: String::new(),
        laid: Laid::default(),
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
    let fitted = fit(&table, &rows, &plan()).unwrap();
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
    let fitted = fit(&table, &rows, &plan()).unwrap();
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
        fit(&table, &rows, &plan()),
        Err(FitError::TooFew { rows: 600, won: 600 })
    ));
}

#[test]
fn columns_that_say_nothing_and_cells_never_seen_give_numbers() {
    let mut table = sample(1.5);
    let count = table.won.len();
    let number = |of: &dyn Fn(usize) -> f64| Column::Numeric((0..count).map(of).collect());
    table.push("constant", number(&|_| 5.0));
    table.push("all missing", number(&|_| f64::NAN));
    table.push(
        "infinite",
        number(&|row| {
            if row % 2 == 0 {
                f64::INFINITY
            } else {
                f64::NEG_INFINITY
            }
        }),
    );
    table.push("huge", number(&|row| if row == 7 { -1e300 } else { 1e300 }));
    table.push("negative or zero", number(&|row| -((row % 3) as f64)));
    table.push("never filled in", Column::Text(vec![None; count]));
    table.push("one level", Column::Text(vec![Some("x".to_owned()); count]));
    let rows: Vec<usize> = (0..count).collect();
    let fitted = fit(&table, &rows, &plan()).unwrap();
    assert!(fitted.signal, "{}", fitted.choice);
    let artifact = WinArtifact::from_json(&fitted.artifact.to_json().unwrap()).unwrap();
    let sound = |cells: &[Cell<'_>]| {
        let judged = artifact.judge(cells);
        let sum = judged.base + judged.contributions.iter().sum::<f64>();
        assert!(
            judged.probability > 0.0 && judged.probability < 1.0,
            "{cells:?}: {judged:?}"
        );
        assert!((sum - judged.log_odds).abs() < 1e-9, "{cells:?}: {judged:?}");
        judged
    };
    for row in [0, 1, 7, 599] {
        let judged = sound(&table.row(row));
        for (column, part) in artifact.columns.iter().zip(&judged.contributions) {
            let says_nothing = ["constant", "all missing", "never filled in", "one level"];
            assert!(
                !says_nothing.contains(&column.name.as_str()) || part.abs() < 1e-9,
                "{} adds {part}",
                column.name
            );
        }
    }
    let odd = [
        Cell::Missing,
        Cell::Text("never seen"),
        Cell::Text(""),
        Cell::Number(f64::NAN),
        Cell::Number(f64::INFINITY),
        Cell::Number(-1e308),
    ];
    for cell in odd {
        sound(&vec![cell; artifact.columns.len()]);
    }
    sound(&[]);
    sound(&[Cell::Number(0.0)]);
}

#[test]
fn the_mean_of_forests_is_exported() {
    let table = sample(1.5);
    let rows: Vec<usize> = (0..200).collect();
    let plan = Plan { forests: 2, ..plan() };
    let parts = final_parts(&table, &rows, &plan, 0.0, 0, 0).unwrap();
    let design = Design::learn(&table, &rows);
    let outcome: Vec<bool> = rows.iter().map(|row| table.won[*row]).collect();
    let columns = transpose(&design.numbers(&table, &rows), design.width);
    let said: Vec<Vec<f64>> = (0..2)
        .map(|forest| {
            let mut booster =
                fit_trees(&columns, design.width, &outcome, DEPTHS[0], STEPS[0], 1 + forest).unwrap();
            tree_log_odds(&mut booster, &columns, rows.len(), design.width, STEPS[0])
        })
        .collect();
    let artifact = WinArtifact {
        format: ARTIFACT_FORMAT,
        name: "mean".to_owned(),
        columns: parts.columns,
        share_linear: 0.0,
        bias: 0.0,
        weights: parts.linear.weights,
        base: parts.base,
        trees: parts.trees,
        slope: 1.0,
        offset: 0.0,
        curve: vec![[-2.0, -1.0], [0.0, 0.5], [2.0, 1.0]],
        rows: rows.len(),
        won: 0,
        percentiles: Vec::new(),
        hash: String::new(),
        laid: Laid::default(),
    };
    for row in rows {
        let judged = artifact.judge(&table.row(row));
        let mean = (said[0][row] + said[1][row]) / 2.0;
        let bent = revgauge_models::win::artifact::bend(&artifact.curve, mean);
        assert!((judged.log_odds - bent).abs() < 1e-9);
        let sum = judged.base + judged.contributions.iter().sum::<f64>();
        assert!((sum - judged.log_odds).abs() < 1e-9);
    }
}

#[test]
fn outcomes_known_late_are_learnt_from_as_far_as_they_go_and_else_refused_in_words() {
    let table = sample(1.5);
    let rows: Vec<usize> = (0..table.won.len()).collect();
    let at: Vec<f64> = rows.iter().map(|row| *row as f64).collect();
    let fitted = |delay: f64| {
        let known: Vec<f64> = at.iter().map(|at| at + delay).collect();
        let order = Order::TimeWithDelay {
            at: &at,
            known: &known,
        };
        fit(&table, &rows, &Plan { order, ..plan() })
    };
    // Of the last block some eighty outcomes are known, fewer than fifty of the scarcer kind.
    let late = fitted(420.0).unwrap();
    assert_eq!(late.held_out_rows.len(), 100, "the last block alone");
    assert!(late.signal, "{}", late.choice);
    let never = fitted(600.0).unwrap_err();
    assert_eq!(never, FitError::NothingLater { rows: 600 });
    assert!(never.to_string().contains("wait for more history"), "{never}");
}
