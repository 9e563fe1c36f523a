//! Each way to leak, planted; each honest look-alike, left alone.

use super::*;
use crate::table::Column;

const ROWS: usize = 2000;

fn won(row: usize) -> bool {
    row.is_multiple_of(3)
}

fn text(of: impl Fn(usize) -> Option<String>) -> Column {
    Column::Text((0..ROWS).map(of).collect())
}

fn number(of: impl Fn(usize) -> f64) -> Column {
    Column::Numeric((0..ROWS).map(of).collect())
}

fn table(columns: Vec<(&str, Column)>) -> Table {
    let mut table = Table {
        won: (0..ROWS).map(won).collect(),
        at: Some((0..ROWS).map(|row| 18_000.0 + row as f64 / 10.0).collect()),
        ..Table::default()
    };
    for (name, column) in columns {
        table.push(name, column);
    }
    table
}

fn suspected(table: &Table, proof: Proof<'_>) -> Vec<String> {
    let rows: Vec<usize> = (0..ROWS).collect();
    probe(table, &rows[..1000], &rows[1000..], proof)
        .into_iter()
        .filter(ColumnProbe::is_suspected)
        .map(|found| found.name)
        .collect()
}

#[test]
fn leaks_are_named_and_honest_columns_are_not() {
    let day = |row: usize| format!("2018-0{}-1{}", 1 + row % 7, row % 10);
    let table = table(vec![
        ("honest number", number(|row| (row * 7919 % 101) as f64)),
        (
            "honest level",
            text(|row| Some(["a", "b"][row / 2 % 2].to_owned())),
        ),
        ("honest gap", text(|row| (row % 7 != 0).then(|| "x".to_owned()))),
        ("amount paid", number(|row| if won(row) { 5.0 } else { 0.0 })),
        ("call back", text(|row| won(row).then(|| "x".to_owned()))),
        ("ref", text(|row| Some(format!("r{row}")))),
        ("running", number(|row| row as f64 * 2.0)),
        (
            "vendor",
            text(|row| (row < 900 || row % 20 == 0).then(|| ["p", "q"][row / 2 % 2].to_owned())),
        ),
        (
            "verdict",
            text(|row| Some(if won(row) && row % 2 == 0 { "hot" } else { "x" }.to_owned())),
        ),
        (
            "ended",
            number(|row| 18_000.0 + row as f64 / 10.0 + 20.0 + (row % 5) as f64),
        ),
        ("first seen", text(|row| Some(day(row)))),
    ]);
    assert_eq!(
        suspected(&table, Proof::Export),
        [
            "amount paid",
            "call back",
            "ref",
            "running",
            "vendor",
            "verdict",
            "ended"
        ]
    );
}

#[test]
fn one_instant_that_never_precedes_another_is_named_without_the_rows_own() {
    let mut table = table(vec![
        ("engaged", text(|row| Some(format!("2019-03-{:02}", 1 + row % 8)))),
        (
            "closed",
            text(|row| Some(format!("2019-03-{:02}", 11 + row % 13))),
        ),
    ]);
    table.at = None;
    assert_eq!(suspected(&table, Proof::Export), ["closed"]);
}

#[test]
fn rows_built_point_in_time_are_compared_with_the_latest_values() {
    let then = table(vec![(
        "stage",
        text(|row| Some(["a", "b"][row / 2 % 2].to_owned())),
    )]);
    let latest = table(vec![(
        "stage",
        text(|row| Some(if won(row) { "won" } else { "lost" }.to_owned())),
    )]);
    let rows: Vec<usize> = (0..ROWS).collect();
    let proof = Proof::PointInTime {
        latest: Some(&latest),
    };
    let found = probe(&then, &rows[..1000], &rows[1000..], proof);
    assert!(!found[0].is_suspected());
    assert!((found[0].auc - 0.5).abs() < 0.05);
    assert_eq!(found[0].changed_since, Some(1.0));
    assert_eq!(found[0].latest_auc, Some(1.0));
    // Values that an import dated too early rank too well even as they were known.
    assert_eq!(suspected(&latest, Proof::PointInTime { latest: None }), ["stage"]);
}
