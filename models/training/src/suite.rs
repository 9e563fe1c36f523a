//! How does the same pipeline do on public data sets? Reads each, splits it by time, fits, measures, and writes the table.

use std::{collections::BTreeMap, fmt::Write as _, io::Read as _, path::Path};

use crate::{
    fit::{FitError, Order, Plan, fit},
    metrics::{Metrics, measure},
    probes::{ColumnProbe, Proof, probe},
    table::{Column, Table},
};

mod process_log;
mod sets;

/// One seed for everything.
const SEED: u64 = 20_261_120;

/// Why the suite stopped.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// A file is missing or unreadable.
    #[error("cannot read the data set file {path}: {reason}; give the folder that holds the public sets")]
    File {
        /// Which file.
        path: String,
        /// What went wrong.
        reason: String,
    },
    /// A fit failed.
    #[error("cannot measure {set}: {source}")]
    Fit {
        /// Which set.
        set: String,
        /// Why.
        source: FitError,
    },
}

/// A data set, ready to be split.
pub(crate) struct DataSet {
    pub(crate) name: &'static str,
    pub(crate) bar: Option<Metrics>,
    /// All columns, leaky ones too: the probes are not told which they are.
    pub(crate) table: Table,
    /// Columns its keepers name as leaky.
    pub(crate) named_leaks: Vec<&'static str>,
    /// Columns left out of the fit.
    pub(crate) dropped: Vec<&'static str>,
    /// How many of the first rows train; none for grouped ten-fold validation.
    pub(crate) train: Option<usize>,
}

/// The measured table of a data set.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Name of the set.
    pub name: String,
    /// Rows trained on and tested on.
    pub rows: (usize, usize),
    /// What was measured on rows not seen.
    pub metrics: Metrics,
    /// The bar to reach.
    pub bar: Option<Metrics>,
    /// What was chosen.
    pub choice: String,
    /// Columns flagged by the probes, with why.
    pub flagged: Vec<(String, String)>,
    /// Columns named as leaky that no probe found.
    pub missed: Vec<String>,
}

/// Measures every set below `folder`, or those alone whose name holds `only`.
///
/// # Errors
/// [`SuiteError`] for an unreadable file or a failing fit.
pub fn run(folder: &Path, only: Option<&str>) -> Result<Vec<Measured>, SuiteError> {
    let mut measured = Vec::new();
    for load in sets::ALL {
        let set = load(folder)?;
        if only.is_some_and(|only| !set.name.contains(only)) {
            continue;
        }
        measured.push(measure_set(&set)?);
    }
    Ok(measured)
}

fn measure_set(set: &DataSet) -> Result<Measured, SuiteError> {
    let rows: Vec<usize> = (0..set.table.won.len()).collect();
    let failed = |source| SuiteError::Fit {
        set: set.name.to_owned(),
        source,
    };
    let fitted_table = set.table.without(&set.dropped).with_codes();
    let (probabilities, won, choice, train) = match set.train {
        Some(train) => {
            let fitted = fit(&fitted_table, &rows[..train], &Plan::by_time(SEED)).map_err(failed)?;
            let judged = rows[train..]
                .iter()
                .map(|row| fitted.artifact.judge(&fitted_table.row(*row)).probability);
            (
                judged.collect(),
                set.table.won[train..].to_vec(),
                fitted.choice,
                train,
            )
        }
        None => {
            let (probabilities, choice) = ten_folds(&fitted_table).map_err(failed)?;
            (probabilities, set.table.won.clone(), choice, rows.len() * 9 / 10)
        }
    };
    let probabilities: Vec<f64> = probabilities;
    let half = set.train.unwrap_or(rows.len()) / 2;
    let (first, second) = rows[..set.train.unwrap_or(rows.len())].split_at(half);
    let mut found = probe(&set.table, first, second, Proof::Export);
    found.retain(ColumnProbe::is_suspected);
    let missed = set
        .named_leaks
        .iter()
        .filter(|leak| !found.iter().any(|column| column.name == **leak))
        .map(|leak| (*leak).to_owned())
        .collect();
    let flagged = found
        .into_iter()
        .map(|column| (column.name.clone(), column.why()))
        .collect();
    Ok(Measured {
        name: set.name.to_owned(),
        rows: (train, won.len()),
        metrics: measure(&probabilities, &won),
        bar: set.bar,
        choice,
        flagged,
        missed,
    })
}

/// Ten folds, five times, rows with the same attributes kept together; the mean log-odds of the five out-of-fold answers.
fn ten_folds(table: &Table) -> Result<(Vec<f64>, String), FitError> {
    let mut keys: BTreeMap<String, usize> = BTreeMap::new();
    let groups: Vec<usize> = (0..table.won.len())
        .map(|row| {
            let next = keys.len();
            *keys.entry(format!("{:?}", table.row(row))).or_insert(next)
        })
        .collect();
    let mut sums = vec![0.0; table.won.len()];
    let mut choice = String::new();
    for repeat in 0..5 {
        for fold in stratified(&groups, &table.won, SEED + repeat) {
            let train: Vec<usize> = (0..table.won.len()).filter(|row| !fold.contains(row)).collect();
            let plan = Plan {
                order: Order::None,
                groups: Some(&groups),
                seed: SEED + repeat,
                most_rows: train.len(),
                forests: 3,
            };
            let fitted = fit(table, &train, &plan)?;
            for row in fold {
                sums[row] += fitted.artifact.judge(&table.row(row)).probability / 5.0;
            }
            choice = fitted.choice;
        }
    }
    Ok((sums, choice))
}

/// Ten folds of whole groups with nearly the same share won: groups go, largest first, where their class is scarcest.
fn stratified(groups: &[usize], won: &[bool], seed: u64) -> Vec<Vec<usize>> {
    use rand::{SeedableRng as _, seq::SliceRandom as _};
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, group) in groups.iter().enumerate() {
        members.entry(*group).or_default().push(row);
    }
    let mut members: Vec<Vec<usize>> = members.into_values().collect();
    members.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
    members.sort_by_key(|rows| std::cmp::Reverse(rows.len()));
    let mut folds: Vec<Vec<usize>> = vec![Vec::new(); 10];
    for rows in members {
        let positive = rows.iter().filter(|row| won[**row]).count() * 2 > rows.len();
        let fill = |fold: &Vec<usize>| {
            (
                fold.iter().filter(|row| won[**row] == positive).count(),
                fold.len(),
            )
        };
        if let Some(fold) = folds.iter_mut().min_by_key(|fold| fill(fold)) {
            fold.extend(rows);
        }
    }
    folds
}

/// The Markdown of docs/MODELS.md.
pub fn markdown(measured: &[Measured]) -> String {
    let mut text = String::from(
        "| set | rows (train / test) | AUC (bar) | log-loss (bar) | Brier (bar) | ECE (bar) | chosen |\n|---|---|---|---|---|---|---|\n",
    );
    for set in measured {
        let cell = |value: f64, pick: fn(&Metrics) -> f64| match &set.bar {
            Some(bar) if pick(bar).is_finite() => format!("{value:.3} ({:.3})", pick(bar)),
            _ => format!("{value:.3}"),
        };
        let m = &set.metrics;
        let _ = writeln!(
            text,
            "| {} | {} / {} | {} | {} | {} | {} | {} |",
            set.name,
            set.rows.0,
            set.rows.1,
            cell(m.auc, |bar| bar.auc),
            cell(m.log_loss, |bar| bar.log_loss),
            cell(m.brier, |bar| bar.brier),
            cell(m.ece, |bar| bar.ece),
            set.choice
        );
    }
    text.push_str("\n## Leak report\n\n| set | column | why the probes refuse it |\n|---|---|---|\n");
    for set in measured {
        for (name, why) in &set.flagged {
            let _ = writeln!(text, "| {} | {name} | {why} |", set.name);
        }
        for name in &set.missed {
            let _ = writeln!(
                text,
                "| {} | {name} | **named as leaky and not found** |",
                set.name
            );
        }
    }
    text
}

/// Columns of text; none where a field is missing.
pub(crate) type TextColumns = Vec<Vec<Option<String>>>;

/// Reads a CSV into named text columns; `missing` words and empty fields are none.
pub(crate) fn read_csv(path: &Path, missing: &[&str]) -> Result<(Vec<String>, TextColumns), SuiteError> {
    let refuse = |reason: String| SuiteError::File {
        path: path.display().to_string(),
        reason,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| refuse(error.to_string()))?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes)
    } else {
        std::io::BufReader::new(file).read_to_end(&mut bytes)
    }
    .map_err(|error| refuse(error.to_string()))?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let names: Vec<String> = reader
        .headers()
        .map_err(|error| refuse(error.to_string()))?
        .iter()
        .map(str::to_owned)
        .collect();
    let mut columns = vec![Vec::new(); names.len()];
    for record in reader.records() {
        let record = record.map_err(|error| refuse(error.to_string()))?;
        for (column, field) in columns.iter_mut().zip(record.iter()) {
            let field = field.trim();
            column.push((!field.is_empty() && !missing.contains(&field)).then(|| field.to_owned()));
        }
    }
    Ok((names, columns))
}

/// Days since 1970-01-01 of a `YYYY-MM-DD...` text (Hinnant's civil-day count).
pub(crate) fn days(text: &str) -> Option<f64> {
    let part = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<i64>().ok());
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let clock = match (part(11, 13), part(14, 16), part(17, 19)) {
        (Some(h), Some(m), Some(s)) => (h * 3600 + m * 60 + s) as f64 / 86_400.0,
        _ => 0.0,
    };
    Some(days as f64 + clock)
}

/// Puts columns and outcome in a new order of rows.
pub(crate) fn ordered(table: &Table, order: &[usize]) -> Table {
    let mut sorted = Table {
        won: order.iter().map(|row| table.won[*row]).collect(),
        at: table
            .at
            .as_ref()
            .map(|at| order.iter().map(|row| at[*row]).collect()),
        ..Table::default()
    };
    for (name, column) in table.names.iter().zip(&table.columns) {
        let column = match column {
            Column::Numeric(values) => Column::Numeric(order.iter().map(|row| values[*row]).collect()),
            Column::Text(values) => Column::Text(order.iter().map(|row| values[*row].clone()).collect()),
        };
        sorted.push(name, column);
    }
    sorted
}
