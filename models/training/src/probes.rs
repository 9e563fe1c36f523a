//! Which columns know the outcome better than they should? Probes that need no list of leaky names.

use std::collections::BTreeMap;

use revgauge_models::win::encode::Cell;

use crate::{
    metrics::auc,
    table::{Column, Table},
};

/// A column whose own ranking reaches this AUC is refused: no honest single fact of a lead or deal ranks so well.
const SINGLE_AUC: f64 = 0.80;
/// Whether a column is filled in may rank no better than this.
const MISSING_AUC: f64 = 0.53;
/// Share of filled-in rows below which a column is refused.
const HARDLY_FILLED: f64 = 0.02;
/// Rows per distinct value below which a column of text names its row.
const ROWS_PER_NAME: f64 = 1.25;
/// Words in a column's name that speak of a state at export, a vendor's or a person's verdict, or of the end.
const AFTERWARDS: [&str; 20] = [
    "last",
    "latest",
    "final",
    "tag",
    "tags",
    "quality",
    "score",
    "index",
    "rating",
    "won",
    "lost",
    "loss",
    "close",
    "closed",
    "converted",
    "outcome",
    "result",
    "reason",
    "grade",
    "profile",
];

/// Why a column is suspected.
#[derive(Debug, Clone, PartialEq)]
pub enum Suspicion {
    /// It ranks outcomes alone with this AUC.
    SingleColumn(f64),
    /// Whether it is filled in ranks outcomes with this AUC: it is filled in by whoever follows up.
    Missingness(f64),
    /// Those few rows where it is filled in (how many) ended in this share of wins, far from all others.
    FilledForOneOutcome(usize, f64),
    /// It is filled in for this small share of the rows: nobody knows it when a row is to be scored.
    HardlyFilled(f64),
    /// Its name holds a word that speaks of the end or of a verdict.
    Name(String),
    /// It names its row.
    Identifier,
}

impl std::fmt::Display for Suspicion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SingleColumn(auc) => write!(f, "ranks outcomes alone (AUC {auc:.3})"),
            Self::Missingness(auc) => write!(f, "whether it is filled in ranks outcomes (AUC {auc:.3})"),
            Self::FilledForOneOutcome(rows, rate) => {
                write!(
                    f,
                    "filled in for {rows} rows, of which {:.0} % were won",
                    rate * 100.0
                )
            }
            Self::HardlyFilled(share) => write!(f, "filled in for {:.1} % of the rows alone", share * 100.0),
            Self::Name(word) => write!(f, "its name says {word:?}: a state or verdict from afterwards"),
            Self::Identifier => write!(f, "names its row"),
        }
    }
}

/// The suspicions of every column, in the table's order; columns above suspicion are left out.
///
/// `train` rows are used to learn the outcome rate of each value, `probe` rows to rank by it, so that a value seen once
/// proves nothing.
pub fn probe(table: &Table, train: &[usize], probe: &[usize]) -> Vec<(String, Vec<Suspicion>)> {
    let won: Vec<bool> = probe.iter().map(|row| table.won[*row]).collect();
    let mut found = Vec::new();
    for (name, column) in table.names.iter().zip(&table.columns) {
        let mut why = Vec::new();
        if names_its_row(column, train) {
            why.push(Suspicion::Identifier);
        } else {
            let single = auc(&rates(column, table, train, probe), &won);
            if single >= SINGLE_AUC {
                why.push(Suspicion::SingleColumn(single));
            }
        }
        let missing: Vec<f64> = probe
            .iter()
            .map(|row| f64::from(u8::from(column.cell(*row) == Cell::Missing)))
            .collect();
        let by_missing = auc(&missing, &won);
        let by_missing = by_missing.max(1.0 - by_missing);
        if by_missing >= MISSING_AUC {
            why.push(Suspicion::Missingness(by_missing));
        }
        let filled = train
            .iter()
            .chain(probe)
            .filter(|row| column.cell(**row) != Cell::Missing)
            .count();
        let share = filled as f64 / (train.len() + probe.len()).max(1) as f64;
        if share < HARDLY_FILLED {
            why.push(Suspicion::HardlyFilled(share));
        }
        why.extend(filled_for_one_outcome(column, table, train.iter().chain(probe)));
        let lower = name.to_lowercase();
        if let Some(word) = lower
            .split(|c: char| !c.is_alphanumeric())
            .find(|word| AFTERWARDS.contains(word))
        {
            why.push(Suspicion::Name(word.to_owned()));
        }
        if !why.is_empty() {
            found.push((name.clone(), why));
        }
    }
    found
}

/// A column filled in for few rows, which ended quite unlike the others: at least 10 rows, a rate
/// of wins 0.25 away from the others'.
fn filled_for_one_outcome<'a>(
    column: &Column,
    table: &Table,
    rows: impl Iterator<Item = &'a usize>,
) -> Option<Suspicion> {
    let mut counts = [[0_usize; 2]; 2];
    for row in rows {
        let filled = usize::from(column.cell(*row) != Cell::Missing);
        counts[filled][usize::from(table.won[*row])] += 1;
    }
    let [others, filled] = counts;
    let rate = |counts: [usize; 2]| counts[1] as f64 / (counts[0] + counts[1]).max(1) as f64;
    let count = filled[0] + filled[1];
    let (own, other) = (rate(filled), rate(others));
    // Where most rows are filled in, the few that are not are accidents of export, not knowledge of the end.
    let apart = count < others[0] + others[1]
        && count >= 10
        && others[0] + others[1] >= 10
        && (own - other).abs() > 0.25;
    apart.then_some(Suspicion::FilledForOneOutcome(count, own))
}

fn names_its_row(column: &Column, rows: &[usize]) -> bool {
    let Column::Text(values) = column else {
        return false;
    };
    let known: Vec<&str> = rows.iter().filter_map(|row| values[*row].as_deref()).collect();
    let distinct: std::collections::BTreeSet<&str> = known.iter().copied().collect();
    known.len() > 50 && (known.len() as f64) < ROWS_PER_NAME * distinct.len() as f64
}

/// Outcome rate of each value (numbers by twentieths), shrunk to the whole, learnt on `train`, given for `probe`.
fn rates(column: &Column, table: &Table, train: &[usize], probe: &[usize]) -> Vec<f64> {
    let edges = match column {
        Column::Numeric(values) => {
            let mut known: Vec<f64> = train
                .iter()
                .map(|row| values[*row])
                .filter(|value| value.is_finite())
                .collect();
            known.sort_by(f64::total_cmp);
            let mut edges: Vec<f64> = (1..20)
                .filter_map(|part| known.get(known.len() * part / 20).copied())
                .collect();
            edges.dedup();
            edges
        }
        Column::Text(_) => Vec::new(),
    };
    let key = |row: usize| match column.cell(row) {
        Cell::Text(text) => text.to_owned(),
        Cell::Number(value) => edges.partition_point(|edge| *edge < value).to_string(),
        Cell::Missing => "\u{0}missing".to_owned(),
    };
    let mut counts: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let rate = train.iter().filter(|row| table.won[**row]).count() as f64 / train.len().max(1) as f64;
    for row in train {
        let entry = counts.entry(key(*row)).or_default();
        entry.0 += f64::from(u8::from(table.won[*row]));
        entry.1 += 1.0;
    }
    probe
        .iter()
        .map(|row| {
            counts
                .get(&key(*row))
                .map_or(rate, |(won, all)| (won + 10.0 * rate) / (all + 10.0))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_is_named_and_an_honest_column_is_not() {
        let mut table = Table {
            won: (0..2000).map(|row| row % 3 == 0).collect(),
            ..Table::default()
        };
        table.push(
            "honest",
            Column::Numeric((0..2000).map(|row| f64::from(row % 7)).collect()),
        );
        table.push(
            "amount paid",
            Column::Numeric(
                (0..2000)
                    .map(|row| if row % 3 == 0 { 5.0 } else { 0.0 })
                    .collect(),
            ),
        );
        table.push(
            "call back",
            Column::Text(
                (0..2000)
                    .map(|row| (row % 3 == 0).then(|| "x".to_owned()))
                    .collect(),
            ),
        );
        table.push(
            "ref",
            Column::Text((0..2000).map(|row| Some(format!("r{row}"))).collect()),
        );
        table.push("last state", Column::Numeric(vec![1.0; 2000]));
        let rows: Vec<usize> = (0..2000).collect();
        let names: Vec<String> = probe(&table, &rows[..1000], &rows[1000..])
            .into_iter()
            .map(|found| found.0)
            .collect();
        assert_eq!(names, ["amount paid", "call back", "ref", "last state"]);
    }
}
