//! What are the raw columns and the outcome of each row? A training table in memory.

use std::collections::BTreeMap;

use revgauge_models::win::encode::{Cell, ColumnEncoding, EncodedColumn, signed_log};

/// A raw column.
#[derive(Debug, Clone)]
pub enum Column {
    /// Numbers; NaN where missing.
    Numeric(Vec<f64>),
    /// Categories; none where missing.
    Text(Vec<Option<String>>),
}

impl Column {
    /// The value at a row.
    pub fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Numeric(values) => match values.get(row) {
                Some(value) if value.is_finite() => Cell::Number(*value),
                _ => Cell::Missing,
            },
            Self::Text(values) => values
                .get(row)
                .and_then(Option::as_deref)
                .map_or(Cell::Missing, Cell::Text),
        }
    }

    /// Reads text: numeric when every value that is there is a number and there are more than two different ones.
    pub fn infer(values: Vec<Option<String>>) -> Self {
        let numbers: Vec<f64> = values
            .iter()
            .map(|value| {
                value
                    .as_deref()
                    .map_or(f64::NAN, |text| text.trim().parse().unwrap_or(f64::INFINITY))
            })
            .collect();
        let all_numbers = numbers.iter().all(|number| !number.is_infinite());
        let some = numbers.iter().any(|number| number.is_finite());
        if all_numbers && some {
            Self::Numeric(numbers)
        } else {
            Self::Text(values)
        }
    }
}

/// Rows in the order of time when the table has one.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Names of the columns.
    pub names: Vec<String>,
    /// The columns, each as long as `won`.
    pub columns: Vec<Column>,
    /// The outcome.
    pub won: Vec<bool>,
    /// Instant of each row, days since 1970, where known.
    pub at: Option<Vec<f64>>,
}

impl Table {
    /// The table without the named columns.
    pub fn without(&self, dropped: &[&str]) -> Self {
        let mut kept = Self {
            won: self.won.clone(),
            at: self.at.clone(),
            ..Self::default()
        };
        for (name, column) in self.names.iter().zip(&self.columns) {
            if !dropped.contains(&name.as_str()) {
                kept.push(name, column.clone());
            }
        }
        kept
    }

    /// Adds a column.
    pub fn push(&mut self, name: &str, column: Column) {
        self.names.push(name.to_owned());
        self.columns.push(column);
    }

    /// The raw cells of a row.
    pub fn row(&self, row: usize) -> Vec<Cell<'_>> {
        self.columns.iter().map(|column| column.cell(row)).collect()
    }

    /// Learns the encoding of every column from `rows` alone. A whole-number column of few values is also taken as a
    /// category by [`Table::with_codes`].
    pub fn encoding(&self, rows: &[usize]) -> Vec<EncodedColumn> {
        self.names
            .iter()
            .zip(&self.columns)
            .map(|(name, column)| EncodedColumn {
                name: name.clone(),
                encoding: match column {
                    Column::Numeric(values) => numeric(values, rows),
                    Column::Text(_) => category(column, rows),
                },
            })
            .collect()
    }

    /// Adds, beside each whole-number column of 3 to 25 different values, the same as a category: codes (a browser, a
    /// region) and counts look alike, so the model is given both readings.
    pub fn with_codes(&self) -> Self {
        let mut table = self.clone();
        for (name, column) in self.names.iter().zip(&self.columns) {
            let Column::Numeric(values) = column else { continue };
            let mut distinct: Vec<i64> = Vec::new();
            let whole = values.iter().filter(|value| value.is_finite()).all(|value| {
                let code = *value as i64;
                if distinct.len() <= 25 && !distinct.contains(&code) {
                    distinct.push(code);
                }
                value.fract() == 0.0
            });
            if whole && (3..=25).contains(&distinct.len()) {
                let codes = values
                    .iter()
                    .map(|value| value.is_finite().then(|| (*value as i64).to_string()));
                table.push(&format!("{name} (code)"), Column::Text(codes.collect()));
            }
        }
        table
    }
}

/// Numbers beyond this are read as this.
const LARGEST: f64 = 1e100;

fn numeric(values: &[f64], rows: &[usize]) -> ColumnEncoding {
    let mut known: Vec<f64> = rows
        .iter()
        .map(|row| values[*row])
        .filter(|value| value.is_finite())
        .collect();
    known.sort_by(f64::total_cmp);
    let at = |share: f64| {
        known
            .get(((known.len() as f64 - 1.0) * share).max(0.0) as usize)
            .copied()
            .unwrap_or(0.0)
    };
    // Beyond the limit a square is no number any more.
    let limited = |share: f64| at(share).clamp(-LARGEST, LARGEST);
    let (low, high) = (limited(0.005), limited(0.995));
    let clamped = || known.iter().map(|value| value.clamp(low, high));
    let (mean, deviation) = moments(clamped());
    let (log_mean, log_deviation) = moments(clamped().map(signed_log));
    let missing = 1.0 - known.len() as f64 / rows.len().max(1) as f64;
    ColumnEncoding::Numeric {
        low,
        high,
        mean,
        deviation,
        log_mean,
        log_deviation,
        missing,
    }
}

fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    // A constant column gives zeros instead of a division by nothing.
    (mean, if variance > 1e-24 { variance.sqrt() } else { 1.0 })
}

fn category(column: &Column, rows: &[usize]) -> ColumnEncoding {
    const MOST_LEVELS: usize = 60;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut missing = 0;
    for row in rows {
        match column.cell(*row) {
            Cell::Text(text) => *counts.entry(text).or_default() += 1,
            Cell::Number(_) | Cell::Missing => missing += 1,
        }
    }
    let least = (rows.len() / 300).max(5);
    let mut frequent: Vec<(usize, &str)> = counts
        .iter()
        .filter(|(_, count)| **count >= least)
        .map(|(level, count)| (*count, *level))
        .collect();
    frequent.sort_by(|a, b| b.cmp(a));
    frequent.truncate(MOST_LEVELS);
    let mut levels: Vec<String> = frequent.iter().map(|(_, level)| (*level).to_owned()).collect();
    levels.sort();
    let total = rows.len().max(1) as f64;
    let mut shares: Vec<f64> = levels
        .iter()
        .map(|level| counts.get(level.as_str()).copied().unwrap_or(0) as f64 / total)
        .collect();
    let missing = missing as f64 / total;
    shares.push((1.0 - missing - shares.iter().sum::<f64>()).max(0.0));
    shares.push(missing);
    ColumnEncoding::Category { levels, shares }
}
