//! How does a tenant's past become the model of its deals? Rows, probes, fit, cold counts, hazard; and how it is watched.

mod drift;
#[cfg(test)]
mod tests;

use std::time::Instant;

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use revgauge_contract::Timestamp;
use revgauge_models::{
    changelog::ChangeLog,
    directory::{Outcome, StageCatalogue},
    win::{
        HazardModel, NaiveBayes, WinModel,
        artifact::sigmoid,
        hazard::ended,
        naive_bayes::counted,
        rows::{DealRow, STAGE, facts_at},
    },
};
use serde::{Deserialize, Serialize};

pub use self::drift::{Drifted, drift};
use crate::{
    deals::{Activity, DealSet, DealSetError, DealSetSettings, deal_set, landmark_rows},
    fit::{FitError, Fitted, Order, Plan, fit},
    leads::{Conversions, lead_landmark_rows, lead_set},
    metrics::{Metrics, auc, measure, row_loss},
    probes::{ColumnProbe, Proof, probe},
    table::Table,
};

/// Held-out answers kept with a model, the newest: what it is compared by.
const HELD_ROWS: usize = 5_000;

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct WinSettings {
    /// How the rows are made.
    pub set: DealSetSettings,
    /// Columns kept although a probe refuses them.
    pub allow_leaky: Vec<String>,
    /// Seed of everything random.
    pub seed: u64,
    /// Forests whose mean the trees are.
    pub forests: u64,
    /// Rows of the fits that only probe (shuffled target, without the stage); 0 leaves them out.
    pub probe_rows: usize,
}

impl Default for WinSettings {
    fn default() -> Self {
        Self {
            set: DealSetSettings::default(),
            allow_leaky: Vec::new(),
            seed: 20_261_120,
            forests: 3,
            probe_rows: 6_000,
        }
    }
}

/// What a model learns from, by what it predicts.
#[derive(Debug, Clone, Copy)]
pub enum Past<'a> {
    /// That deals are won.
    Deals {
        /// Change log of deals.
        log: &'a ChangeLog,
        /// The tenant's stages.
        stages: &'a StageCatalogue,
        /// Events on deals.
        activity: &'a Activity,
    },
    /// That leads come into a deal.
    Leads {
        /// Change log of contacts.
        contacts: &'a ChangeLog,
        /// When each first came into a deal.
        conversions: &'a Conversions,
        /// Events of contacts.
        activity: &'a Activity,
    },
}

impl Past<'_> {
    /// Rows whose outcome is known at `now`.
    ///
    /// # Errors
    /// As [`deal_set`].
    pub fn set(&self, now: Timestamp, settings: &DealSetSettings) -> Result<DealSet, DealSetError> {
        match self {
            Self::Deals {
                log,
                stages,
                activity,
            } => deal_set(log, stages, activity, now, settings),
            Self::Leads {
                contacts,
                conversions,
                activity,
            } => lead_set(contacts, conversions, activity, now, settings),
        }
    }

    /// Rows at landmarks in `(from, to]`, whatever became of them.
    fn landmarks(
        &self,
        span: (Timestamp, Timestamp),
        settings: &DealSetSettings,
        columns: &[String],
    ) -> Result<Table, DealSetError> {
        match self {
            Self::Deals {
                log,
                stages,
                activity,
            } => landmark_rows(log, stages, activity, span, &settings.landmark_days, columns),
            Self::Leads {
                contacts,
                conversions,
                activity,
            } => lead_landmark_rows(contacts, conversions, activity, span, columns),
        }
    }
}

/// Why nothing was trained.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrainError {
    /// No deal has ended.
    #[error(
        "cannot train: none of the tenant's {0} deals was won or lost yet, so there is nothing to learn from"
    )]
    NothingEnded(usize),
    /// A column to allow is not there.
    #[error("cannot allow the column {name:?}: the training set has no such column; it has {columns}")]
    NoSuchColumn {
        /// The name given.
        name: String,
        /// The names there are.
        columns: String,
    },
    /// The rows could not be made.
    #[error(transparent)]
    Set(#[from] DealSetError),
    /// A trainer failed.
    #[error(transparent)]
    Fit(FitError),
}

/// Probabilities of rows that the model had not seen, and what became of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeldOutRows {
    /// What was said.
    pub probabilities: Vec<f64>,
    /// What came true.
    pub won: Vec<bool>,
    /// Log-loss of the base rate known then.
    pub base_rate_log_loss: f64,
}

impl HeldOutRows {
    /// Measures; zeros without rows.
    pub fn metrics(&self) -> Metrics {
        measure(&self.probabilities, &self.won)
    }
}

/// A held-out answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldRow {
    /// The deal, or the lead.
    pub deal_id: String,
    /// The row's instant, days since 1970.
    pub at: f64,
    /// What a model said that had not seen it.
    pub probability: f64,
}

/// A trained model and everything its card tells.
#[derive(Debug, Clone)]
pub struct Made {
    /// The model.
    pub model: WinModel,
    /// Whether held-out ranking beat chance.
    pub signal: bool,
    /// What was chosen, for people.
    pub choice: String,
    /// Held-out answers.
    pub held_out: HeldOutRows,
    /// The newest of them by row.
    pub held_rows: Vec<HeldRow>,
    /// What was measured of every column.
    pub probes: Vec<ColumnProbe>,
    /// Columns refused, and why.
    pub refused: Vec<(String, String)>,
    /// AUC held out after the outcomes were shuffled: 0.5 unless the pipeline itself leaks. None with too few rows.
    pub shuffled_auc: Option<f64>,
    /// Held-out log-loss with and without the stage, which is a proxy of the outcome (both on thinned rows).
    pub stage_ablation: Option<(f64, f64)>,
    /// Rows, and those won.
    pub rows: (usize, usize),
    /// The horizon of the outcome.
    pub horizon_days: f64,
    /// Seconds of making the rows.
    pub set_seconds: f64,
    /// Seconds of everything else.
    pub fit_seconds: f64,
}

/// Trains on what is known at `now`.
///
/// While there is too little for the trained part (fewer than 40 matured rows or 10 of an outcome) the model holds the cold
/// counts alone.
///
/// # Errors
/// [`TrainError`] when no deal has ended, a column to allow is unknown, or a trainer fails.
pub fn train(
    log: &ChangeLog,
    stages: &StageCatalogue,
    activity: &Activity,
    now: Timestamp,
    settings: &WinSettings,
) -> Result<Made, TrainError> {
    let cold = cold_counts(log, stages, now).ok_or_else(|| TrainError::NothingEnded(log.objects().len()))?;
    let began = Instant::now();
    let set = match deal_set(log, stages, activity, now, &settings.set) {
        Ok(set) => Some(set),
        Err(DealSetError::NoneMature { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let set_seconds = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut made = untrained(WinModel {
        artifact: None,
        cold,
        hazard: HazardModel::learn(log, stages, now),
    });
    made.set_seconds = set_seconds;
    if let Some(set) = set {
        fit_set(&set, settings, &mut made)?;
    }
    made.fit_seconds = began.elapsed().as_secs_f64();
    Ok(made)
}

/// Trains the model of leads on what is known at `now`: that each comes into a deal within 90 days.
///
/// While there is too little for the trained part the model holds the share that converted alone.
///
/// # Errors
/// [`TrainError`] when no lead was known for 90 days, a column to allow is unknown, or a trainer fails.
pub fn train_leads(past: &Past<'_>, now: Timestamp, settings: &WinSettings) -> Result<Made, TrainError> {
    let began = Instant::now();
    let set = past.set(now, &settings.set)?;
    let mut cold = NaiveBayes::default();
    let mut counted = std::collections::HashSet::new();
    for row in 0..set.ids.len() {
        // A lead counts once, as it stood when its first row's outcome was known.
        if counted.insert(set.ids[row].as_str()) {
            let known = Timestamp((set.known[row] * revgauge_contract::time::DAY_US as f64) as i64);
            cold.add(&[], set.table.won[row], known);
        }
    }
    let mut made = untrained(WinModel {
        artifact: None,
        cold,
        hazard: None,
    });
    made.set_seconds = began.elapsed().as_secs_f64();
    let began = Instant::now();
    fit_set(&set, settings, &mut made)?;
    made.fit_seconds = began.elapsed().as_secs_f64();
    Ok(made)
}

fn untrained(model: WinModel) -> Made {
    Made {
        model,
        signal: false,
        choice: "cold counts alone: too few have run their horizon".to_owned(),
        held_out: HeldOutRows::default(),
        held_rows: Vec::new(),
        probes: Vec::new(),
        refused: Vec::new(),
        shuffled_auc: None,
        stage_ablation: None,
        rows: (0, 0),
        horizon_days: 0.0,
        set_seconds: 0.0,
        fit_seconds: 0.0,
    }
}

fn fit_set(set: &DealSet, settings: &WinSettings, made: &mut Made) -> Result<(), TrainError> {
    if let Some(name) = settings
        .allow_leaky
        .iter()
        .find(|name| !set.table.names.contains(name))
    {
        return Err(TrainError::NoSuchColumn {
            name: name.clone(),
            columns: set.table.names.join(", "),
        });
    }
    let rows: Vec<usize> = (0..set.at.len()).collect();
    let won = set.table.won.iter().filter(|won| **won).count();
    made.rows = (rows.len(), won);
    made.horizon_days = set.horizon_days;
    let (first, second) = rows.split_at(rows.len() / 2);
    let proof = Proof::PointInTime {
        latest: Some(&set.latest),
    };
    made.probes = probe(&set.table, first, second, proof);
    made.refused = made
        .probes
        .iter()
        .filter(|column| column.is_suspected() && !settings.allow_leaky.contains(&column.name))
        .map(|column| (column.name.clone(), column.why()))
        .collect();
    let refused: Vec<&str> = made.refused.iter().map(|(name, _)| name.as_str()).collect();
    let table = set.table.without(&refused);
    // Held-out blocks learn from rows whose horizon had run, as the set itself does: of younger rows only the quick outcomes
    // were known, and those tell of too many wins.
    let matured: Vec<f64> = set.at.iter().map(|at| at + set.horizon_days).collect();
    let plan = Plan {
        order: Order::TimeWithDelay {
            at: &set.at,
            known: &matured,
        },
        groups: Some(&set.groups),
        seed: settings.seed,
        most_rows: settings.set.max_rows,
        forests: settings.forests,
    };
    let fitted = match fit(&table, &rows, &plan) {
        Ok(fitted) => fitted,
        // Cold counts answer until there is enough.
        Err(error @ (FitError::TooFew { .. } | FitError::NothingLater { .. })) => {
            made.choice = format!("cold counts alone: {error}");
            return Ok(());
        }
        Err(error) => return Err(TrainError::Fit(error)),
    };
    if settings.probe_rows > 0 {
        let small = Plan {
            most_rows: settings.probe_rows,
            forests: 1,
            ..plan
        };
        let mut shuffled = table.clone();
        shuffled
            .won
            .shuffle(&mut ChaCha8Rng::seed_from_u64(settings.seed));
        made.shuffled_auc = fit(&shuffled, &rows, &small)
            .ok()
            .map(|fitted| held_out_auc(&fitted, &shuffled.won));
        if table.names.iter().any(|name| name == STAGE) {
            let with = fit(&table, &rows, &small).ok();
            let without = fit(&table.without(&[STAGE]), &rows, &small).ok();
            made.stage_ablation = with
                .zip(without)
                .map(|(with, without)| (with.held_out.0, without.held_out.0));
        }
    }
    made.signal = fitted.signal;
    made.choice.clone_from(&fitted.choice);
    let held = || fitted.held_out_rows.iter();
    made.held_out = HeldOutRows {
        probabilities: held().map(|(_, log_odds)| sigmoid(*log_odds)).collect(),
        won: held().map(|(row, _)| set.table.won[*row]).collect(),
        base_rate_log_loss: fitted.held_out.1,
    };
    let newest = fitted.held_out_rows.len().saturating_sub(HELD_ROWS);
    made.held_rows = held()
        .skip(newest)
        .map(|(row, log_odds)| HeldRow {
            deal_id: set.ids[*row].clone(),
            at: set.at[*row],
            probability: sigmoid(*log_odds),
        })
        .collect();
    made.model.artifact = Some(fitted.artifact);
    Ok(())
}

/// AUC over the held-out rows; raw ranking, for the shuffled probe asks whether anything ranks at all.
fn held_out_auc(fitted: &Fitted, won: &[bool]) -> f64 {
    let scores: Vec<f64> = fitted
        .held_out_rows
        .iter()
        .map(|(_, log_odds)| *log_odds)
        .collect();
    let won: Vec<bool> = fitted.held_out_rows.iter().map(|(row, _)| won[*row]).collect();
    auc(&scores, &won)
}

/// Counts of all ended deals, each by what was known just before its end; none when none has ended.
fn cold_counts(log: &ChangeLog, stages: &StageCatalogue, now: Timestamp) -> Option<NaiveBayes> {
    let mut counts = NaiveBayes::default();
    let mut any = false;
    for deal in log.logs() {
        let Some((end, outcome)) = ended(deal, stages, now) else {
            continue;
        };
        let before =
            facts_at(deal, stages, end.plus_micros(-1)).filter(|facts| facts.outcome == Outcome::Open);
        let Some(facts) = before.or_else(|| facts_at(deal, stages, now)) else {
            continue;
        };
        let passed: Vec<&str> = facts
            .history
            .stages
            .iter()
            .map(|spell| spell.stage.as_str())
            .filter(|stage| {
                let fields = std::iter::once((STAGE.to_owned(), (*stage).to_owned())).collect();
                stages.outcome(&fields) == Outcome::Open
            })
            .collect();
        counts.add(
            &counted(&DealRow::of(&facts, end), &passed),
            outcome == Outcome::Won,
            end,
        );
        any = true;
    }
    any.then_some(counts)
}

/// What the trained part of a model says of rows of a set; the cold counts' prior where there is none.
pub fn judge_rows(model: &WinModel, set: &DealSet, rows: &[usize]) -> Vec<f64> {
    let Some(artifact) = &model.artifact else {
        let at = |row: usize| Timestamp((set.at[row] * revgauge_contract::time::DAY_US as f64) as i64);
        return rows
            .iter()
            .map(|row| sigmoid(model.cold.judge(&[], at(*row)).base))
            .collect();
    };
    let places: Vec<Option<usize>> = artifact
        .columns
        .iter()
        .map(|column| set.table.names.iter().position(|name| *name == column.name))
        .collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<_> = places
                .iter()
                .map(|place| {
                    place.map_or(revgauge_models::win::encode::Cell::Missing, |place| {
                        set.table.columns[place].cell(*row)
                    })
                })
                .collect();
            artifact.judge(&cells).probability
        })
        .collect()
}

/// Mean log-loss of always saying a rate that comes true.
pub fn base_rate_loss(rate: f64) -> f64 {
    let safe = rate.clamp(1e-9, 1.0 - 1e-9);
    let log_odds = (safe / (1.0 - safe)).ln();
    rate * row_loss(log_odds, true) + (1.0 - rate) * row_loss(log_odds, false)
}
