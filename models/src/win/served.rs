//! What is shown of a deal's chances? Cold counts and trained model blended without a step, with parts, percentile and dates.

use std::{collections::BTreeMap, sync::Arc};

use revgauge_contract::{Timestamp, score::Score, time::DAY_US};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    WinArtifact,
    artifact::sigmoid,
    encode::Cell,
    hazard::HazardModel,
    naive_bayes::{ColdJudgement, NaiveBayes, counted},
    rows::{DealRow, FIELD_PREFIX},
};
use crate::{
    assembly::{Detail, Maker, ScoreFacts, part},
    deal::{DealFacts, deal_fingerprint},
    directory::Outcome,
    fingerprint::combined,
};

/// Name of the score.
pub const WIN_PROBABILITY: &str = "win_probability";
/// Rows of the scarcer outcome at which cold counts and trained model weigh alike.
const HALF_WAY: f64 = 40.0;

/// Everything of a tenant that speaks about its open deals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WinModel {
    /// The trained part; none while there is too little to train on.
    pub artifact: Option<WinArtifact>,
    /// The counts that answer before it, and fade beside it.
    pub cold: NaiveBayes,
    /// When deals end; none while too few did.
    pub hazard: Option<HazardModel>,
}

/// What a model says of one deal.
#[derive(Debug, Clone, PartialEq)]
pub struct WinAnswer {
    /// Probability of ever winning, strictly between 0 and 1.
    pub probability: f64,
    /// Its log-odds: `base` and all contributions.
    pub log_odds: f64,
    /// What is said of a deal of which nothing is known.
    pub base: f64,
    /// What each column adds in log-odds, by column.
    pub contributions: BTreeMap<String, f64>,
    /// Share of held-out deals judged lower, 0 to 100, where the trained model knows.
    pub percentile: Option<f64>,
    /// Weight of the trained part, 0 to 1.
    pub trained_share: f64,
    /// Ended deals, or rows of them, behind the answer.
    pub sample: f64,
}

impl WinModel {
    /// Weight of the trained part: `n / (n + 40)` with `n` the rows of its scarcer outcome, so that nothing jumps when the
    /// first model is trained (N-24).
    pub fn trained_share(&self) -> f64 {
        self.artifact.as_ref().map_or(0.0, |artifact| {
            let scarcer = artifact.won.min(artifact.rows - artifact.won.min(artifact.rows)) as f64;
            scarcer / (scarcer + HALF_WAY)
        })
    }

    /// Judges an open deal from facts as known at `at`.
    ///
    /// ```text
    /// log-odds = share * trained + (1 - share) * cold
    /// ```
    pub fn judge(&self, facts: &DealFacts, at: Timestamp) -> WinAnswer {
        let row = DealRow::of(facts, at);
        let stage = facts.history.stages.last().map(|spell| spell.stage.as_str());
        let cold = self.cold.judge(&counted(&row, stage.as_slice()), at);
        self.judge_row(cold, |column| row.cell(column))
    }

    /// Judges a row by its cells, given what the cold counts say of it.
    pub(super) fn judge_row<'c>(&self, cold: ColdJudgement, cell: impl Fn(&str) -> Cell<'c>) -> WinAnswer {
        let share = self.trained_share();
        let mut base = (1.0 - share) * cold.base;
        let mut contributions: BTreeMap<String, f64> = BTreeMap::new();
        for (column, part) in cold.contributions {
            *contributions.entry(column).or_default() += (1.0 - share) * part;
        }
        let mut percentile = None;
        let mut sample = cold.deals;
        if let Some(artifact) = &self.artifact {
            let cells: Vec<Cell<'_>> = artifact.columns.iter().map(|column| cell(&column.name)).collect();
            let judged = artifact.judge(&cells);
            base += share * judged.base;
            percentile = judged.percentile;
            sample = sample.max(artifact.rows as f64);
            for (column, part) in artifact.columns.iter().zip(judged.contributions) {
                // A code read as a category speaks for the column it was made of.
                let name = column.name.trim_end_matches(" (code)");
                *contributions.entry(name.to_owned()).or_default() += share * part;
            }
        }
        let log_odds = base + contributions.values().sum::<f64>();
        WinAnswer {
            probability: sigmoid(log_odds),
            log_odds,
            base,
            contributions,
            percentile,
            trained_share: share,
            sample,
        }
    }
}

/// A version of a model in force.
#[derive(Debug, Clone)]
pub struct Served {
    /// Its version.
    pub version: u32,
    /// Checksum of what was stored, for the score's maker (S-2).
    pub sha256: Arc<str>,
    /// The model.
    pub model: Arc<WinModel>,
    /// A version judged beside it and shown among the facts.
    pub shadow: Option<(u32, Arc<WinModel>)>,
}

/// The score `win_probability` of a deal: probability of ever winning, 0 to 1.
///
/// The parts are in points of probability and sum to it (S-1): each column's log-odds, scaled along the ray from the base
/// (Aumann and Shapley). The log-odds themselves are the fact `log_odds`, their parts `log_odds_parts`.
pub fn win_score(served: &Served, facts: &DealFacts, at: Timestamp, detail: Detail) -> Score {
    let definition = definition_of(served, "win");
    let row = DealRow::of(facts, at);
    let fingerprint = combined(
        [deal_fingerprint(facts).as_str()],
        format_args!("{:?}", facts.fields),
    );
    let maker = Maker {
        name: WIN_PROBABILITY,
        definition: &definition,
        fingerprint: &fingerprint,
    };
    match facts.outcome {
        Outcome::Open => {}
        closed @ (Outcome::Won | Outcome::Lost) => {
            return maker.unscored(format!("the deal is {}", closed.as_str()), ScoreFacts::new());
        }
    }
    if facts.history.created_at.is_none() {
        return maker.unscored("the CRM has said nothing about the deal yet", ScoreFacts::new());
    }
    let answer = served.model.judge(facts, at);
    if !detail.is_full() {
        return maker.scored(answer.probability, Vec::new(), ScoreFacts::new(), detail);
    }
    let facts = told(served, facts, &answer, at);
    chance(
        maker,
        &answer,
        facts,
        ("win", "a deal of which nothing is known"),
        |column| reason(&row, column),
    )
}

/// A probability with its parts in points of probability: each column's log-odds, scaled along the ray from the base.
pub(super) fn chance(
    maker: Maker<'_>,
    answer: &WinAnswer,
    facts: ScoreFacts,
    (prefix, base_is): (&str, &str),
    reason: impl Fn(&str) -> String,
) -> Score {
    let base = sigmoid(answer.base);
    let ray = answer.log_odds - answer.base;
    let scale = if ray.abs() > 1e-9 {
        (answer.probability - base) / ray
    } else {
        base * (1.0 - base)
    };
    let mut parts = vec![part("base", base, base_is)];
    let mut rest = answer.probability - base;
    for (column, log_odds) in &answer.contributions {
        let points = log_odds * scale;
        if points.abs() >= 1e-4 {
            rest -= points;
            parts.push(part(format!("{prefix}:{column}"), points, reason(column)));
        }
    }
    if rest.abs() > 0.0 {
        parts.push(part(format!("{prefix}:other"), rest, "everything else together"));
    }
    maker.scored(answer.probability, parts, facts, Detail::Full)
}

/// What is told beside every probability.
pub(super) fn told_of_answer(served: &Served, answer: &WinAnswer) -> ScoreFacts {
    let mut told = ScoreFacts::new();
    told.insert("log_odds".to_owned(), json!(answer.log_odds));
    told.insert("log_odds_base".to_owned(), json!(answer.base));
    told.insert("log_odds_parts".to_owned(), json!(answer.contributions));
    told.insert("model_version".to_owned(), json!(served.version));
    told.insert("percentile".to_owned(), json!(answer.percentile));
    told.insert("trained_share".to_owned(), json!(answer.trained_share));
    told.insert("effective_sample_size".to_owned(), json!(answer.sample.round()));
    told.insert("confidence".to_owned(), json!(confidence(answer)));
    told
}

/// `name@version+hash` of what was stored, the maker of its scores (S-2).
pub(super) fn definition_of(served: &Served, name: &str) -> String {
    format!(
        "{name}@{}+{}",
        served.version,
        served.sha256.get(..12).unwrap_or_default()
    )
}

fn told(served: &Served, facts: &DealFacts, answer: &WinAnswer, at: Timestamp) -> ScoreFacts {
    let mut told = told_of_answer(served, answer);
    let early = facts
        .history
        .created_at
        .is_some_and(|created| at.days_since(created) < 3.0);
    if early {
        told.insert("early".to_owned(), json!(true));
    }
    if let Some(hazard) = &served.model.hazard {
        let curve = hazard.curve(facts, at).with_ever(answer.probability);
        told.insert(
            "probability_in_quarter".to_owned(),
            json!(curve.won_by(days_left_of_quarter(at))),
        );
        told.insert("probability_in_30_days".to_owned(), json!(curve.won_by(30.0)));
        if let Some(days) = curve.expected_close_days() {
            let close = at.plus_micros((days * DAY_US as f64) as i64);
            told.insert(
                "expected_close_date".to_owned(),
                json!(close.to_string().get(..10)),
            );
        }
    }
    if let Some((version, shadow)) = &served.shadow {
        let judged = shadow.judge(facts, at);
        told.insert(
            "shadow".to_owned(),
            json!({"model_version": version, "probability": judged.probability, "log_odds": judged.log_odds}),
        );
    }
    told
}

/// `high`, `medium` or `low`, by what is behind the answer.
fn confidence(answer: &WinAnswer) -> &'static str {
    if answer.trained_share >= 0.8 {
        "high"
    } else if answer.sample >= 40.0 {
        "medium"
    } else {
        "low"
    }
}

/// A column in words. Amounts and CRM fields are named without their value: who may not see a field must not read it here.
fn reason(row: &DealRow<'_>, column: &str) -> String {
    if let Some(field) = column.strip_prefix(FIELD_PREFIX) {
        return format!("its {}", field.replace('_', " "));
    }
    let name = column.replace('_', " ");
    match row.cell(column) {
        Cell::Number(_) if column == "amount" => "its amount".to_owned(),
        Cell::Number(number) => format!("{name} is {}", (number * 100.0).round() / 100.0),
        Cell::Text(text) => {
            let shown: String = text.chars().take(60).collect();
            format!("{name} is {shown}")
        }
        Cell::Missing => format!("{name} is not known"),
    }
}

/// Days until the calendar quarter (UTC) of an instant ends.
fn days_left_of_quarter(at: Timestamp) -> f64 {
    use chrono::{DateTime, Datelike as _, NaiveDate};
    let Some(now) = DateTime::from_timestamp_micros(at.micros()) else {
        return 0.0;
    };
    let (year, month) = match (now.month() - 1) / 3 {
        3 => (now.year() + 1, 1),
        quarter => (now.year(), quarter * 3 + 4),
    };
    NaiveDate::from_ymd_opt(year, month, 1)
        .and_then(|end| end.and_hms_opt(0, 0, 0))
        .map_or(0.0, |end| (end.and_utc() - now).num_seconds() as f64 / 86_400.0)
}
