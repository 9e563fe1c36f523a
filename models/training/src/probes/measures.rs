//! The measurements behind the probes, a column at a time.

use std::collections::{BTreeMap, BTreeSet};

use revgauge_models::win::encode::Cell;

use super::{
    ColumnProbe, DECIDED_SHARE, FEW_VALUES_AUC, FILL_DRIFT, HARDLY_FILLED, LATER_SHARE, MISSING_AUC,
    MISSING_ERRORS, MISSING_GAP, NUMBER_AUC, PROVEN_AUC, Proof, Suspicion,
};
use crate::{
    metrics::auc,
    suite::days,
    table::{Column, Table},
};

/// Rows per distinct value below which a column names its row.
const ROWS_PER_NAME: f64 = 1.25;
/// Distinct values up to which a number counts as a column of few values.
const FEW_VALUES: usize = 30;
/// Rows a level must have to be said to decide, and its rate of wins.
const LEVEL_ROWS: usize = 50;
const DECIDING_RATE: f64 = 0.97;

pub(super) fn column(
    table: &Table,
    place: usize,
    train: &[usize],
    later: &[usize],
    proof: Proof<'_>,
) -> ColumnProbe {
    let column = &table.columns[place];
    let won: Vec<bool> = later.iter().map(|row| table.won[*row]).collect();
    let identifier = names_its_row(column, train);
    let single = if identifier {
        0.5
    } else {
        auc(&rates(column, table, train, later), &won)
    };
    let missing: Vec<f64> = later
        .iter()
        .map(|row| f64::from(u8::from(column.cell(*row) == Cell::Missing)))
        .collect();
    let by_missing = auc(&missing, &won);
    let all = || train.iter().chain(later).copied();
    let filled = all().filter(|row| column.cell(*row) != Cell::Missing).count();
    let mut probe = ColumnProbe {
        name: table.names[place].clone(),
        auc: single,
        auc_error: auc_error(single, &won),
        filled: filled as f64 / all().count().max(1) as f64,
        missing_auc: by_missing.max(1.0 - by_missing),
        changed_since: None,
        latest_auc: None,
        suspicions: Vec::new(),
    };
    if identifier {
        probe.suspicions.push(Suspicion::Identifier);
    }
    let sure = single - 2.0 * probe.auc_error;
    match proof {
        Proof::PointInTime { latest } => {
            if let Some(latest) = latest.filter(|latest| latest.columns.len() > place) {
                let newest = &latest.columns[place];
                let changed = all().filter(|row| newest.cell(*row) != column.cell(*row)).count();
                probe.changed_since = Some(changed as f64 / all().count().max(1) as f64);
                probe.latest_auc = Some(auc(&rates(newest, table, train, later), &won));
            }
            if sure >= PROVEN_AUC {
                probe.suspicions.push(Suspicion::SingleColumn(single));
            }
        }
        Proof::Export => {
            let few = distinct(column, train) <= FEW_VALUES || matches!(column, Column::Text(_));
            if sure >= if few { FEW_VALUES_AUC } else { NUMBER_AUC } {
                probe.suspicions.push(Suspicion::SingleColumn(single));
            }
            if few {
                probe
                    .suspicions
                    .extend(deciding_levels(column, table, train, later));
            }
            if probe.filled < HARDLY_FILLED {
                probe.suspicions.push(Suspicion::HardlyFilled(probe.filled));
            }
            if probe.missing_auc >= MISSING_AUC {
                probe.suspicions.push(Suspicion::Missingness(probe.missing_auc));
            }
            probe
                .suspicions
                .extend(filled_or_not(column, table, train, later));
            probe.suspicions.extend(fill_drift(column, train, later));
        }
    }
    probe
}

/// Standard error of an AUC (Hanley and McNeil 1982).
fn auc_error(auc: f64, won: &[bool]) -> f64 {
    let yes = won.iter().filter(|won| **won).count() as f64;
    let no = won.len() as f64 - yes;
    if yes < 1.0 || no < 1.0 {
        return 0.5;
    }
    let (q1, q2) = (auc / (2.0 - auc), 2.0 * auc * auc / (1.0 + auc));
    let variance =
        (auc * (1.0 - auc) + (yes - 1.0) * (q1 - auc * auc) + (no - 1.0) * (q2 - auc * auc)) / (yes * no);
    variance.max(0.0).sqrt()
}

fn distinct(column: &Column, rows: &[usize]) -> usize {
    let mut seen = BTreeSet::new();
    for row in rows {
        let key = match column.cell(*row) {
            Cell::Number(value) => value.to_bits(),
            Cell::Text(_) | Cell::Missing => continue,
        };
        seen.insert(key);
        if seen.len() > FEW_VALUES {
            break;
        }
    }
    seen.len()
}

fn key(column: &Column, row: usize) -> Option<String> {
    match column.cell(row) {
        Cell::Text(text) => Some(text.to_owned()),
        Cell::Number(value) => Some(value.to_string()),
        Cell::Missing => None,
    }
}

/// Levels of enough rows that nearly always or nearly never ended in a win, both in earlier and in later rows.
fn deciding_levels(column: &Column, table: &Table, train: &[usize], later: &[usize]) -> Option<Suspicion> {
    let base = train.iter().filter(|row| table.won[**row]).count() as f64 / train.len().max(1) as f64;
    let mut counts: BTreeMap<String, [[usize; 2]; 2]> = BTreeMap::new();
    for (part, rows) in [train, later].into_iter().enumerate() {
        for row in rows {
            if let Some(key) = key(column, *row) {
                counts.entry(key).or_default()[part][usize::from(table.won[*row])] += 1;
            }
        }
    }
    let decided: usize = counts
        .values()
        .filter(|parts| {
            let rate = |[lost, won]: [usize; 2]| won as f64 / (lost + won).max(1) as f64;
            let enough = parts.iter().all(|[lost, won]| lost + won >= LEVEL_ROWS / 2);
            // A level that never wins says little where hardly anything wins.
            let always = base < 0.9 && parts.iter().all(|part| rate(*part) >= DECIDING_RATE);
            let never = base > 0.2 && parts.iter().all(|part| rate(*part) <= 1.0 - DECIDING_RATE);
            enough && (always || never)
        })
        .map(|parts| parts.iter().flatten().sum::<usize>())
        .sum();
    let share = decided as f64 / (train.len() + later.len()).max(1) as f64;
    (share >= DECIDED_SHARE).then_some(Suspicion::DecidingLevels(share))
}

/// Rates of wins where the column is filled in and where it is not.
fn filled_or_not(column: &Column, table: &Table, train: &[usize], later: &[usize]) -> Vec<Suspicion> {
    let mut counts = [[0_usize; 2]; 2];
    for row in train.iter().chain(later) {
        let filled = usize::from(column.cell(*row) != Cell::Missing);
        counts[filled][usize::from(table.won[*row])] += 1;
    }
    let [[others_lost, others_won], [filled_lost, filled_won]] = counts;
    let (others, filled) = (others_lost + others_won, filled_lost + filled_won);
    if others < 10 || filled < 10 {
        return Vec::new();
    }
    let (own, other) = (
        filled_won as f64 / filled as f64,
        others_won as f64 / others as f64,
    );
    let mut found = Vec::new();
    // Where most rows are filled in, the few that are not are accidents of export, not knowledge of the end.
    if filled < others && (own - other).abs() > 0.25 {
        found.push(Suspicion::FilledForOneOutcome(filled, own));
    }
    let pooled = (filled_won + others_won) as f64 / (filled + others) as f64;
    let error = (pooled * (1.0 - pooled) * (1.0 / filled as f64 + 1.0 / others as f64)).sqrt();
    let both = filled.min(others) as f64 / (filled + others) as f64;
    if both >= 0.05 && (own - other).abs() > MISSING_GAP.max(MISSING_ERRORS * error) {
        found.push(Suspicion::MissingnessGap(own, other));
    }
    found
}

/// Most and least filled-in share over tenths of the rows in their order.
fn fill_drift(column: &Column, train: &[usize], later: &[usize]) -> Option<Suspicion> {
    let rows: Vec<usize> = train.iter().chain(later).copied().collect();
    if rows.len() < 200 {
        return None;
    }
    let shares = (0..10).map(|part| {
        let tenth = &rows[rows.len() * part / 10..rows.len() * (part + 1) / 10];
        let filled = tenth
            .iter()
            .filter(|row| column.cell(**row) != Cell::Missing)
            .count();
        filled as f64 / tenth.len().max(1) as f64
    });
    let (least, most) = shares.fold((1.0_f64, 0.0_f64), |(low, high), share| {
        (low.min(share), high.max(share))
    });
    (most - least > FILL_DRIFT).then_some(Suspicion::FillDrift(most, least))
}

/// Columns of instants that lie after their row's own instant, or never before another column of instants.
pub(super) fn later_instants(table: &Table, train: &[usize], later: &[usize]) -> Vec<(usize, Suspicion)> {
    let rows: Vec<usize> = train.iter().chain(later).copied().collect();
    let instants: Vec<(usize, Vec<Option<f64>>)> = table
        .columns
        .iter()
        .enumerate()
        .filter_map(|(place, column)| Some((place, instants(column, &rows, table.at.as_deref())?)))
        .collect();
    let mut found = Vec::new();
    for (place, own) in &instants {
        if let Some(at) = &table.at {
            let known = own.iter().flatten().count().max(1) as f64;
            let after = own
                .iter()
                .zip(&rows)
                .filter(|(own, row)| own.is_some_and(|own| own > at[**row] + 1.0))
                .count() as f64;
            if after / known > LATER_SHARE {
                found.push((*place, Suspicion::LaterThanItsRow(after / known)));
                continue;
            }
        }
        let follows = instants.iter().find(|(other, theirs)| {
            let pairs: Vec<(f64, f64)> = own
                .iter()
                .zip(theirs)
                .filter_map(|(own, theirs)| Some((*own.as_ref()?, *theirs.as_ref()?)))
                .collect();
            let before = pairs.iter().filter(|(own, theirs)| own < theirs).count() as f64;
            let after = pairs.iter().filter(|(own, theirs)| own > theirs).count() as f64;
            let count = pairs.len() as f64;
            other != place && count >= 50.0 && before <= 0.01 * count && after >= 0.5 * count
        });
        if let Some((other, _)) = follows {
            found.push((*place, Suspicion::LaterThan(table.names[*other].clone())));
        }
    }
    found
}

/// The column's values as days, when nearly all are dates; numbers are days when they lie about the rows' own instants.
fn instants(column: &Column, rows: &[usize], at: Option<&[f64]>) -> Option<Vec<Option<f64>>> {
    const YEARS: f64 = 3_653.0;
    let read: Vec<Option<f64>> = match column {
        Column::Text(values) => rows
            .iter()
            .map(|row| values[*row].as_deref().and_then(days))
            .collect(),
        Column::Numeric(values) => {
            let at = at?;
            rows.iter()
                .map(|row| Some(values[*row]).filter(|day| (day - at[*row]).abs() < YEARS && *day > YEARS))
                .collect()
        }
    };
    let known = rows
        .iter()
        .filter(|row| column.cell(**row) != Cell::Missing)
        .count();
    let dates = read.iter().flatten().count();
    (known >= 50 && dates as f64 >= 0.98 * known as f64).then_some(read)
}

fn names_its_row(column: &Column, rows: &[usize]) -> bool {
    match column {
        Column::Text(values) => {
            let known: Vec<&str> = rows.iter().filter_map(|row| values[*row].as_deref()).collect();
            let distinct: BTreeSet<&str> = known.iter().copied().collect();
            known.len() > 50 && (known.len() as f64) < ROWS_PER_NAME * distinct.len() as f64
        }
        // A whole number that only ever rises with the rows is a running number.
        Column::Numeric(values) => {
            let known: Vec<f64> = rows.iter().map(|row| values[*row]).collect();
            known.len() > 50
                && known
                    .iter()
                    .all(|value| value.is_finite() && value.fract() == 0.0)
                && known.windows(2).all(|pair| pair[0] < pair[1])
        }
    }
}

/// Outcome rate of each value (numbers by twentieths), shrunk to the whole, learnt on `train`, given for `later`.
fn rates(column: &Column, table: &Table, train: &[usize], later: &[usize]) -> Vec<f64> {
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
    later
        .iter()
        .map(|row| {
            counts
                .get(&key(*row))
                .map_or(rate, |(won, all)| (won + 10.0 * rate) / (all + 10.0))
        })
        .collect()
}
