//! Forecasts of a tenant: reads its deals' change log, then calls the pure functions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use revgauge_contract::{
    Clock, ErrorKind, Timestamp,
    error::Failure,
    forecast::{DealOverlay, Forecast, ForecastQuestion, ForecastService, MethodForecast, Quantile},
    period::{FiscalCalendar, Period},
    statistics::Knowledge,
};
use serde::{Deserialize, Serialize};

use super::{
    BookDeal, Learnt, METHODS, Outlook, Scope, Simulation, TrackRecord,
    outlook::{HAZARD, owned},
    past::{Asked, books, learnt_then, past_periods},
    track_record,
};
use crate::{
    changelog::{self, ChangeLog, ChangeLogSettings},
    directory::{Outcome, StageCatalogue},
    hierarchy::Hierarchy,
    service::Scoring,
};

/// Probabilities of the quantiles answered.
const PROBABILITIES: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];
/// Most quantiles of one answer.
const MOST_QUANTILES: usize = 99;

/// Settings of the forecasts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForecastSettings {
    /// The change log read.
    pub change_log: ChangeLogSettings,
    /// Draws of the simulation, 100 to 100,000.
    pub draws: usize,
    /// Draws of the simulation of a past period, 100 to 100,000.
    pub past_draws: usize,
    /// Seed of the simulation.
    pub seed: u64,
    /// Standard deviation of the shock that the log-odds of all deals share, 0 to 3.
    pub shock: f64,
    /// Past periods the methods are measured on, 0 to 40.
    pub past_periods: u32,
    /// Month with which the fiscal year begins, 1 to 12.
    pub fiscal_year_starts: u32,
}

impl Default for ForecastSettings {
    fn default() -> Self {
        Self {
            change_log: ChangeLogSettings::default(),
            draws: 10_000,
            past_draws: 1_000,
            seed: 20_261_120,
            shock: 0.25,
            past_periods: 8,
            fiscal_year_starts: 1,
        }
    }
}

impl ForecastSettings {
    pub(super) fn simulation(&self, draws: usize) -> Simulation {
        Simulation {
            draws: draws.clamp(100, 100_000),
            seed: self.seed,
            shock: self.shock,
        }
    }
}

/// The forecast service.
#[derive(Debug)]
pub struct Forecasts {
    scoring: Arc<Scoring>,
    clock: Arc<dyn Clock>,
    settings: ForecastSettings,
}

impl Forecasts {
    /// Reads what the score service reads.
    #[must_use]
    pub fn new(scoring: Arc<Scoring>, clock: Arc<dyn Clock>, settings: ForecastSettings) -> Self {
        Self {
            scoring,
            clock,
            settings,
        }
    }
}

fn user(text: String) -> Failure {
    Failure::new(ErrorKind::User, text)
}

/// The period asked for: by its name, by its ends, or the current quarter.
fn period_of(
    question: &ForecastQuestion,
    at: Timestamp,
    settings: &ForecastSettings,
) -> Result<Period, Failure> {
    let month = question.fiscal_year_starts.unwrap_or(settings.fiscal_year_starts);
    let calendar = FiscalCalendar::starting(month).ok_or_else(|| {
        user(format!(
            "cannot begin the fiscal year with month {month}: give 1 to 12"
        ))
    })?;
    match (&question.period, question.start, question.end) {
        (Some(name), None, None) => calendar.period(name, at).map_err(|error| user(error.to_string())),
        (None, None, None) => Ok(calendar.quarter_at(at)),
        (None, Some(start), Some(end)) if start < end => Ok(Period {
            name: String::new(),
            start,
            end,
        }),
        (None, Some(start), Some(end)) => Err(user(format!(
            "cannot forecast the period from {start} to {end}: give the earlier instant first"
        ))),
        _ => Err(user(
            "cannot tell the period: give its name, or both its start and its end".to_owned(),
        )),
    }
}

fn check(question: &ForecastQuestion) -> Result<(), Failure> {
    if question
        .quota
        .is_some_and(|quota| !(quota.is_finite() && quota > 0.0))
    {
        return Err(user(
            "cannot forecast attainment of the quota: give a quota above 0".to_owned(),
        ));
    }
    if question.quantiles.len() > MOST_QUANTILES
        || question.quantiles.iter().any(|p| !(0.0..=1.0).contains(p))
    {
        return Err(user(format!(
            "cannot answer the quantiles: give at most {MOST_QUANTILES} probabilities from 0 to 1"
        )));
    }
    for overlay in &question.what_if {
        let amount = overlay.amount.is_none_or(|amount| (0.0..=1e13).contains(&amount));
        let probability = overlay.probability.is_none_or(|p| (0.0..=1.0).contains(&p));
        if !amount || !probability {
            return Err(user(format!(
                "cannot see deal {} otherwise: give an amount from 0 to 1e13 and a probability from 0 to 1",
                overlay.deal_id
            )));
        }
    }
    Ok(())
}

/// The forecasts of a question, one a currency, from the change log of all deals; see [`ForecastService::forecast`].
///
/// # Errors
/// `User` for a question out of range.
pub(super) fn answer(
    log: &ChangeLog,
    stages: &StageCatalogue,
    question: &ForecastQuestion,
    at: Timestamp,
    team: Option<BTreeSet<String>>,
    settings: &ForecastSettings,
) -> Result<Vec<Forecast>, Failure> {
    check(question)?;
    let named = period_of(question, at, settings)?;
    let asked = question
        .owner_ids
        .as_ref()
        .map(|ids| ids.iter().cloned().collect::<BTreeSet<_>>());
    let owners = match (asked, team) {
        (Some(asked), Some(team)) => Some(asked.intersection(&team).cloned().collect()),
        (asked, team) => asked.or(team),
    };
    let scope = Scope {
        owner_ids: owners.clone().filter(|_| question.confined),
        pipeline: question.pipeline.clone(),
        without: question.without_deals.iter().cloned().collect(),
    };
    let period = (named.start, named.end);
    let currencies = books(log, stages, at, &scope);
    let open = |deal: &&BookDeal| deal.outcome == Outcome::Open;
    let overlays: BTreeMap<&str, &DealOverlay> = question
        .what_if
        .iter()
        .map(|overlay| (overlay.deal_id.as_str(), overlay))
        .collect();
    for id in overlays.keys() {
        if !currencies
            .values()
            .flatten()
            .filter(open)
            .filter(|deal| {
                owners
                    .as_ref()
                    .is_none_or(|owners: &BTreeSet<String>| owners.contains(&deal.owner_id))
            })
            .any(|deal| deal.deal_id == *id)
        {
            return Err(user(format!(
                "cannot see deal {id} otherwise: no open deal of this name is in the forecast"
            )));
        }
    }
    let past = past_periods(log, stages, &scope, period, at, settings.past_periods.min(40));
    let forecasts = currencies.iter().filter_map(|(currency, deals)| {
        owned(deals, owners.as_ref()).next()?;
        let asked = Asked {
            currency,
            owners: owners.as_ref(),
        };
        let learnt = learnt_then(&past, currency, stages);
        let records = asked.records(deals, &past, &learnt, settings.simulation(settings.past_draws));
        let adjust = |id: &str, amount: f64, probability: f64| {
            let overlay = overlays.get(id);
            (
                overlay.and_then(|overlay| overlay.amount).unwrap_or(amount),
                overlay
                    .and_then(|overlay| overlay.probability)
                    .unwrap_or(probability),
            )
        };
        let history = asked.history(deals, at, &past);
        let outlook = Learnt::learn(deals, stages, at, period).outlook(
            owners.as_ref(),
            &history,
            settings.simulation(settings.draws),
            adjust,
        );
        Some(shown(
            currency,
            question,
            &named,
            at,
            outlook,
            &track_record(&records),
            records.len(),
        ))
    });
    Ok(forecasts.collect())
}

fn shown(
    currency: &str,
    question: &ForecastQuestion,
    period: &Period,
    at: Timestamp,
    mut outlook: Outlook,
    track: &TrackRecord,
    past_periods: usize,
) -> Forecast {
    let median = outlook.quantile(0.5);
    let deviation = outlook
        .draws
        .iter()
        .map(|draw| (draw - median).abs())
        .sum::<f64>()
        / outlook.draws.len().max(1) as f64;
    outlook.draws = outlook
        .draws
        .iter()
        .map(|draw| track.corrected(&outlook, *draw))
        .collect();
    let reaching = |quota: f64| {
        let below = outlook.draws.partition_point(|draw| *draw < quota);
        1.0 - below as f64 / outlook.draws.len().max(1) as f64
    };
    let methods = METHODS.iter().enumerate().map(|(place, method)| MethodForecast {
        method: (*method).to_owned(),
        value: outlook.values[place],
        weight: track.weights[place],
        wape: track.wape[place],
        bias: track.bias[place],
    });
    let [commit, best_case, pipeline, omitted] = outlook.categories;
    let mut wanted = if question.quantiles.is_empty() {
        PROBABILITIES.to_vec()
    } else {
        question.quantiles.clone()
    };
    wanted.sort_by(f64::total_cmp);
    Forecast {
        currency: currency.to_owned(),
        as_of: at,
        period: period.name.clone(),
        start: period.start,
        end: period.end,
        closed: outlook.closed,
        commit,
        best_case,
        pipeline,
        omitted,
        expected: outlook.values[HAZARD],
        blend: track.blend(&outlook.values),
        quantiles: wanted
            .into_iter()
            .map(|probability| Quantile {
                probability,
                value: outlook.quantile(probability),
            })
            .collect(),
        methods: methods.collect(),
        past_periods: past_periods as u32,
        past_covered: track.covered,
        noise_floor: (median > 0.0).then(|| deviation / median),
        ended_deals: outlook.ended,
        attainment: question.quota.map(|quota| outlook.closed / quota),
        attainment_probability: question.quota.map(reaching),
        rows: outlook.rows,
    }
}

#[async_trait]
impl ForecastService for Forecasts {
    async fn forecast(&self, tenant_id: &str, question: &ForecastQuestion) -> Result<Vec<Forecast>, Failure> {
        check(question)?;
        let now = self.clock.now();
        let at = question.as_of.unwrap_or(now).min(now);
        let knowledge = if at >= now {
            Knowledge::Now
        } else {
            Knowledge::At(at)
        };
        let source = &*self.scoring.source;
        let directory = self
            .scoring
            .directories()
            .get(source, tenant_id, knowledge)
            .await?;
        let (stages, team) = {
            let directory = directory.read();
            let team = match &question.team_of {
                None => None,
                Some(head) => {
                    let hierarchy = Hierarchy::of(&directory);
                    hierarchy.check()?;
                    Some(hierarchy.team(head))
                }
            };
            (directory.stages(), team)
        };
        let log = changelog::load(
            source,
            tenant_id,
            "deal",
            knowledge,
            self.settings.change_log.clone(),
        )
        .await?;
        answer(&log, &stages, question, at, team, &self.settings)
    }
}
