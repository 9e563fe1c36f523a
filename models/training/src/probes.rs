//! Which columns know the outcome better than they should? Probes that need no list of leaky names.
//!
//! A flat export proves nothing about when a value was known, so a column must look innocent in every way that can be
//! measured. Rows built point in time are proven by their making; there the probes look for what imports got wrong.

mod measures;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::table::Table;

/// A number that ranks so well alone is refused: no honest single fact of a lead or deal does. Measured as the AUC less
/// two standard errors.
const NUMBER_AUC: f64 = 0.80;
/// The same for a column of few values: behind a verdict or a state there are few, behind a measurement many.
const FEW_VALUES_AUC: f64 = 0.72;
/// The same for columns whose values are proven to have been known.
const PROVEN_AUC: f64 = 0.92;
/// Share of rows lying in levels that all but decide the outcome, above which a column is refused.
const DECIDED_SHARE: f64 = 0.10;
/// Whether a column is filled in may rank no better than this.
const MISSING_AUC: f64 = 0.53;
/// Rates of wins with and without a value may differ by this much, unless chance explains it (four standard errors).
const MISSING_GAP: f64 = 0.05;
const MISSING_ERRORS: f64 = 4.0;
/// Share of filled-in rows below which a column is refused.
const HARDLY_FILLED: f64 = 0.02;
/// Largest move of the filled-in share between two tenths of the time.
const FILL_DRIFT: f64 = 0.40;
/// Share of rows in which an instant may lie after its row's own, or always after another column's.
const LATER_SHARE: f64 = 0.02;

/// What is known about when the values of a table were known.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// Nothing: one export, made after the outcomes.
    Export,
    /// Each value was known at its row's instant. Beside it the values known last, where there are any.
    PointInTime {
        /// The same rows and columns with the values known last.
        latest: Option<&'a Table>,
    },
}

/// Why a column is suspected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// It ranks outcomes alone with this AUC.
    SingleColumn(f64),
    /// This share of the rows lies in levels that nearly always, or never, ended in a win.
    DecidingLevels(f64),
    /// Whether it is filled in ranks outcomes with this AUC: it is filled in by whoever follows up.
    Missingness(f64),
    /// Rates of wins with and without a value, further apart than chance explains.
    MissingnessGap(f64, f64),
    /// Those few rows where it is filled in (how many) ended in this share of wins, far from all others.
    FilledForOneOutcome(usize, f64),
    /// It is filled in for this small share of the rows: nobody knows it when a row is to be scored.
    HardlyFilled(f64),
    /// Its filled-in share moved between these two with time: another process filled it in, for some of the time.
    FillDrift(f64, f64),
    /// It holds instants after its row's own in this share of the rows.
    LaterThanItsRow(f64),
    /// It holds instants that never come before those of another column of instants.
    LaterThan(String),
    /// It names its row.
    Identifier,
}

impl std::fmt::Display for Suspicion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |share: &f64| share * 100.0;
        match self {
            Self::SingleColumn(auc) => write!(f, "ranks outcomes alone (AUC {auc:.3})"),
            Self::DecidingLevels(share) => {
                write!(
                    f,
                    "{:.0} % of the rows lie in levels that decide the outcome",
                    percent(share)
                )
            }
            Self::Missingness(auc) => write!(f, "whether it is filled in ranks outcomes (AUC {auc:.3})"),
            Self::MissingnessGap(with, without) => write!(
                f,
                "{:.0} % won where it is filled in, {:.0} % where not",
                percent(with),
                percent(without)
            ),
            Self::FilledForOneOutcome(rows, rate) => {
                write!(
                    f,
                    "filled in for {rows} rows, of which {:.0} % were won",
                    percent(rate)
                )
            }
            Self::HardlyFilled(share) => write!(f, "filled in for {:.1} % of the rows alone", percent(share)),
            Self::FillDrift(most, least) => write!(
                f,
                "filled in for {:.0} % of the rows at one time and {:.0} % at another",
                percent(most),
                percent(least)
            ),
            Self::LaterThanItsRow(share) => {
                write!(
                    f,
                    "holds instants after its row's own in {:.0} % of the rows",
                    percent(share)
                )
            }
            Self::LaterThan(other) => write!(f, "holds instants that never come before {other}"),
            Self::Identifier => write!(f, "names its row"),
        }
    }
}

/// What was measured of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnProbe {
    /// Name of the column.
    pub name: String,
    /// AUC of the column alone on later rows, its values ranked by the outcomes of earlier ones.
    pub auc: f64,
    /// Standard error of that AUC.
    pub auc_error: f64,
    /// Share of rows with a value.
    pub filled: f64,
    /// AUC of whether it is filled in, 0.5 to 1.
    pub missing_auc: f64,
    /// Share of rows whose latest value differs from the value then known; none without latest values.
    pub changed_since: Option<f64>,
    /// AUC of the latest values; far above [`ColumnProbe::auc`] where an export would have leaked.
    pub latest_auc: Option<f64>,
    /// Why it is suspected; empty above suspicion.
    pub suspicions: Vec<Suspicion>,
}

impl ColumnProbe {
    /// Whether the column is to be refused.
    pub const fn is_suspected(&self) -> bool {
        !self.suspicions.is_empty()
    }

    /// The suspicions in words.
    pub fn why(&self) -> String {
        let words: Vec<String> = self.suspicions.iter().map(ToString::to_string).collect();
        words.join("; ")
    }
}

/// Probes every column, in the table's order.
///
/// `train` rows are used to learn the outcome rate of each value, `later` rows to rank by it, so that a value seen once
/// proves nothing. Cost: a sort a column.
pub fn probe(table: &Table, train: &[usize], later: &[usize], proof: Proof<'_>) -> Vec<ColumnProbe> {
    let mut found: Vec<ColumnProbe> = (0..table.names.len())
        .map(|place| measures::column(table, place, train, later, proof))
        .collect();
    if matches!(proof, Proof::Export) {
        for (place, why) in measures::later_instants(table, train, later) {
            found[place].suspicions.push(why);
        }
    }
    found
}
