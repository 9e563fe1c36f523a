//! Has the world moved since a model was trained? Population stability of its columns, and outcomes against what it said.

use std::collections::{BTreeMap, BTreeSet};

use revgauge_contract::{
    Timestamp,
    models::{DriftAlarm, DriftRule},
    time::DAY_US,
};
use revgauge_models::win::{WinModel, encode::Cell};

use super::{Past, judge_rows};
use crate::{
    deals::{DealSetError, DealSetSettings},
    table::Column,
};

/// Index above which a population has moved (Siddiqi, *Credit Risk Scorecards*, 2006).
const MOVED: f64 = 0.25;
/// Rows needed on either side for an index.
const LEAST_ROWS: usize = 50;
/// Standard errors, and distance, by which outcomes must miss the probabilities for an alarm.
const ALARM_ERRORS: f64 = 3.0;
const ALARM_GAP: f64 = 0.05;

/// What drifted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Drifted {
    /// Population stability index by column, the largest first.
    pub columns: Vec<(String, f64)>,
    /// Rows whose outcome became known since.
    pub outcomes: usize,
    /// Mean probability said of them.
    pub mean_probability: f64,
    /// Share of them that was won.
    pub win_rate: f64,
    /// Standard error of that share under the model, deals counted once.
    pub standard_error: f64,
    /// What is wrong.
    pub alarms: Vec<DriftAlarm>,
}

/// Compares rows of landmarks since `trained_at` with those it was trained on, and outcomes since with probabilities.
///
/// # Errors
/// As [`Past::set`].
pub fn drift(
    model: &WinModel,
    trained_at: Timestamp,
    past: &Past<'_>,
    now: Timestamp,
    settings: &DealSetSettings,
) -> Result<Drifted, DealSetError> {
    let mut drifted = Drifted::default();
    let Some(artifact) = &model.artifact else {
        return Ok(drifted);
    };
    let columns: Vec<String> = artifact
        .columns
        .iter()
        .map(|column| column.name.clone())
        .collect();
    let then = past.landmarks((Timestamp(i64::MIN), trained_at), settings, &columns)?;
    let since = past.landmarks((trained_at, now), settings, &columns)?;
    if then.won.len() >= LEAST_ROWS && since.won.len() >= LEAST_ROWS {
        for name in &columns {
            let place = |table: &crate::table::Table| table.names.iter().position(|held| held == name);
            if let (Some(before), Some(after)) = (place(&then), place(&since)) {
                let index = stability(&then.columns[before], &since.columns[after]);
                drifted.columns.push((name.clone(), index));
            }
        }
        drifted.columns.sort_by(|a, b| b.1.total_cmp(&a.1));
    }
    for (name, index) in drifted.columns.iter().filter(|(_, index)| *index > MOVED) {
        drifted.alarms.push(DriftAlarm {
            rule: DriftRule::ModelPopulation,
            message: format!("the column {name} has moved since the training (stability index {index:.2})"),
        });
    }
    let set = match past.set(now, settings) {
        Ok(set) => set,
        Err(DealSetError::NoneMature { .. }) => return Ok(drifted),
        Err(error) => return Err(error),
    };
    let trained = trained_at.micros() as f64 / DAY_US as f64;
    let rows: Vec<usize> = (0..set.at.len())
        .filter(|row| set.known[*row] > trained)
        .collect();
    if rows.is_empty() {
        return Ok(drifted);
    }
    let said = judge_rows(model, &set, &rows);
    let count = rows.len() as f64;
    let deals: BTreeSet<&str> = rows.iter().map(|row| set.ids[*row].as_str()).collect();
    drifted.outcomes = rows.len();
    drifted.mean_probability = said.iter().sum::<f64>() / count;
    drifted.win_rate = rows.iter().filter(|row| set.table.won[**row]).count() as f64 / count;
    // Rows of one deal end together: the error is that of as many rows as there are deals.
    drifted.standard_error = said.iter().map(|p| p * (1.0 - p)).sum::<f64>().sqrt() / count
        * (count / deals.len().max(1) as f64).sqrt();
    let gap = drifted.win_rate - drifted.mean_probability;
    if gap.abs() > ALARM_GAP && gap.abs() > ALARM_ERRORS * drifted.standard_error {
        drifted.alarms.push(DriftAlarm {
            rule: DriftRule::ModelCalibration,
            message: format!(
                "outcomes miss the probabilities: {:.0} % said, {:.0} % won of {} rows since the training",
                drifted.mean_probability * 100.0,
                drifted.win_rate * 100.0,
                rows.len()
            ),
        });
    }
    Ok(drifted)
}

/// `sum (b - a) ln(b / a)` over classes: values of text, tenths of the earlier numbers, and missing.
fn stability(before: &Column, after: &Column) -> f64 {
    let edges: Vec<f64> = match before {
        Column::Numeric(values) => {
            let mut known: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
            known.sort_by(f64::total_cmp);
            (1..10)
                .filter_map(|part| known.get(known.len() * part / 10).copied())
                .collect()
        }
        Column::Text(_) => Vec::new(),
    };
    let classes = |column: &Column, rows: usize| -> BTreeMap<String, f64> {
        let mut counts: BTreeMap<String, f64> = BTreeMap::new();
        for row in 0..rows {
            let key = match column.cell(row) {
                Cell::Text(text) if edges.is_empty() => text.to_owned(),
                Cell::Text(text) => text.parse().map_or_else(
                    |_| "text".to_owned(),
                    |value: f64| edges.partition_point(|edge| *edge < value).to_string(),
                ),
                Cell::Number(value) => edges.partition_point(|edge| *edge < value).to_string(),
                Cell::Missing => "\u{0}".to_owned(),
            };
            *counts.entry(key).or_default() += 1.0 / rows as f64;
        }
        counts
    };
    let length = |column: &Column| match column {
        Column::Numeric(values) => values.len(),
        Column::Text(values) => values.len(),
    };
    let (a, b) = (classes(before, length(before)), classes(after, length(after)));
    // Half a thousandth stands for a class that one side has not, as is usual.
    let floor = 5e-4;
    a.keys()
        .chain(b.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|key| {
            let share = |side: &BTreeMap<String, f64>| side.get(key).copied().unwrap_or(0.0).max(floor);
            (share(&b) - share(&a)) * (share(&b) / share(&a)).ln()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_nothing_for_the_same_and_large_for_another_population() {
        let numbers = |shift: f64| Column::Numeric((0..400).map(|row| f64::from(row % 20) + shift).collect());
        assert!(stability(&numbers(0.0), &numbers(0.0)) < 1e-9);
        assert!(stability(&numbers(0.0), &numbers(15.0)) > MOVED);
        let text = |word: &str| {
            Column::Text(
                (0..100)
                    .map(|row| (row % 4 != 0).then(|| word.to_owned()))
                    .collect(),
            )
        };
        assert!(stability(&text("a"), &text("a")) < 1e-9);
        assert!(stability(&text("a"), &text("b")) > MOVED);
    }
}
