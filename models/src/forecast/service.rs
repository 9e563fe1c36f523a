//! Forecasts of a tenant: reads its deals' change log, then calls the pure functions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use revgauge_contract::{
    Clock, ErrorKind, Timestamp,
    error::Failure,
    forecast::{
        DealOverlay, Forecast, ForecastAccuracy, ForecastQuestion, ForecastService, MethodForecast, Quantile,
        Standing,
    },
    period::{FiscalCalendar, Period},
    statistics::Knowledge,
};
use serde::{Deserialize, Serialize};

use super::{
    BookDeal, Learnt, METHODS, Outlook, Rates, Record, Scope, Simulation, Targets,
    accuracy::{Node, accuracy},
    outlook::{HAZARD, owned},
    past::{Asked, Reading, learnt_then, past_periods},
    track_record,
};
use crate::{
    changelog::{self, ChangeLog, ChangeLogSettings},
    directory::{Directory, Outcome, StageCatalogue},
    facts::Fields,
    hierarchy::Hierarchy,
    service::Scoring,
};

/// Probabilities of the quantiles answered.
const PROBABILITIES: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];
/// Most quantiles of one answer.
const MOST_QUANTILES: usize = 99;
/// Most teams and people of one answer about accuracy.
const MOST_NODES: usize = 1_000;

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

fn calendar_of(question: &ForecastQuestion, settings: &ForecastSettings) -> Result<FiscalCalendar, Failure> {
    let month = question.fiscal_year_starts.unwrap_or(settings.fiscal_year_starts);
    FiscalCalendar::starting(month).ok_or_else(|| {
        user(format!(
            "cannot begin the fiscal year with month {month}: give 1 to 12"
        ))
    })
}

/// The period asked for: by its name, by its ends, or the current quarter.
fn period_of(
    question: &ForecastQuestion,
    at: Timestamp,
    calendar: FiscalCalendar,
) -> Result<Period, Failure> {
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
        if let Some(category) = &overlay.category
            && !CATEGORIES.contains(&spelled(category).as_str())
        {
            return Err(user(format!(
                "cannot see deal {} in another category: give one of {}",
                overlay.deal_id,
                CATEGORIES.join(", ")
            )));
        }
    }
    Ok(())
}

/// What is known of a tenant beside its deals.
#[derive(Debug, Clone, Default)]
pub(super) struct Tenant {
    pub(super) stages: Arc<StageCatalogue>,
    pub(super) hierarchy: Hierarchy,
    pub(super) rates: Rates,
    pub(super) quotas: Vec<(Arc<str>, Fields)>,
    pub(super) submissions: Vec<(Arc<str>, Fields)>,
}

impl Tenant {
    fn of(directory: &Directory) -> Self {
        Self {
            stages: directory.stages(),
            hierarchy: Hierarchy::of(directory),
            rates: Rates::read(&directory.objects("exchange_rate")),
            quotas: directory.objects("quota"),
            submissions: directory.objects("forecast_submission"),
        }
    }

    /// The owners whose deals are asked about; all when absent.
    fn owners(&self, question: &ForecastQuestion) -> Result<Option<BTreeSet<String>>, Failure> {
        let asked = question.owner_ids.as_ref();
        let asked = asked.map(|ids| ids.iter().cloned().collect::<BTreeSet<_>>());
        let Some(head) = &question.team_of else {
            return Ok(asked);
        };
        self.hierarchy.check()?;
        let team = self.hierarchy.team(head);
        Ok(Some(match asked {
            Some(asked) => asked.intersection(&team).cloned().collect(),
            None => team,
        }))
    }

    fn reading<'a>(
        &'a self,
        log: &'a ChangeLog,
        question: &'a ForecastQuestion,
        scope: &'a Scope,
    ) -> Reading<'a> {
        Reading {
            log,
            stages: &self.stages,
            scope,
            currency: question
                .currency
                .as_deref()
                .map(|currency| (currency, &self.rates)),
        }
    }
}

fn scope_of(question: &ForecastQuestion, owners: Option<&BTreeSet<String>>) -> Scope {
    Scope {
        owner_ids: owners.cloned().filter(|_| question.confined),
        pipeline: question.pipeline.clone(),
        without: question.without_deals.iter().cloned().collect(),
    }
}

/// Categories that a deal can be seen in.
const CATEGORIES: [&str; 4] = ["commit", "best case", "pipeline", "omitted"];

/// A category as the book spells it.
fn spelled(category: &str) -> String {
    category.trim().to_lowercase().replace(['_', '-'], " ")
}

/// Puts the category and close date of what-if questions into the book: roll-ups and rows are then made from it as from
/// any other. Amount and probability are put in where they are used, since the book also teaches the rates.
fn see_otherwise(currencies: &mut BTreeMap<String, Vec<BookDeal>>, overlays: &BTreeMap<&str, &DealOverlay>) {
    for deal in currencies.values_mut().flatten() {
        let Some(overlay) = overlays.get(deal.deal_id.as_str()) else {
            continue;
        };
        if let Some(category) = &overlay.category {
            deal.category = spelled(category);
        }
        deal.close_date = overlay.close_date.or(deal.close_date);
    }
}

/// The forecasts of a question, one a currency, from the change log of all deals; see [`ForecastService::forecast`].
///
/// # Errors
/// `User` for a question out of range, `Data` for a team that manages itself.
pub(super) fn answer(
    log: &ChangeLog,
    tenant: &Tenant,
    question: &ForecastQuestion,
    at: Timestamp,
    settings: &ForecastSettings,
) -> Result<Vec<Forecast>, Failure> {
    check(question)?;
    let calendar = calendar_of(question, settings)?;
    let named = period_of(question, at, calendar)?;
    let owners = tenant.owners(question)?;
    let scope = scope_of(question, owners.as_ref());
    let period = (named.start, named.end);
    let reading = tenant.reading(log, question, &scope);
    let mut currencies = reading.books(at)?;
    let targets = Targets::read(&tenant.quotas, &tenant.submissions, calendar, at);
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
    see_otherwise(&mut currencies, &overlays);
    let past = past_periods(reading, period, at, settings.past_periods.min(40))?;
    let forecasts = currencies.iter().filter_map(|(currency, deals)| {
        owned(deals, owners.as_ref()).next()?;
        let asked = Asked {
            currency,
            owners: owners.as_ref(),
        };
        let learnt = learnt_then(&past, currency, &tenant.stages);
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
        let outlook = Learnt::learn(deals, &tenant.stages, at, period).outlook(
            owners.as_ref(),
            &history,
            settings.simulation(settings.draws),
            adjust,
        );
        let people: BTreeSet<&str> = match &owners {
            Some(owners) => owners.iter().map(String::as_str).collect(),
            None => tenant.hierarchy.people(),
        };
        let submissions = targets.submissions(&people, &tenant.hierarchy, currency, period);
        let standing = Standing {
            quota: question
                .quota
                .or_else(|| targets.quota(&people, &tenant.hierarchy, currency, period))
                .filter(|quota| *quota > 0.0),
            submitted: Targets::submitted(&submissions, &people, &tenant.hierarchy, "commit"),
            submissions,
            ..Standing::default()
        };
        Some(shown(currency, question, &named, at, outlook, &records, standing))
    });
    Ok(forecasts.collect())
}

/// The accuracy of a question's nodes; see [`ForecastService::accuracy`].
///
/// # Errors
/// As [`answer`].
pub(super) fn accuracy_of(
    log: &ChangeLog,
    tenant: &Tenant,
    question: &ForecastQuestion,
    at: Timestamp,
    settings: &ForecastSettings,
) -> Result<Vec<ForecastAccuracy>, Failure> {
    check(question)?;
    let period = period_of(question, at, calendar_of(question, settings)?)?;
    let owners = tenant.owners(question)?;
    let scope = scope_of(question, owners.as_ref());
    let mut nodes = vec![Node {
        name: question.team_of.clone().unwrap_or_default(),
        kind: if question.team_of.is_some() { "team" } else { "all" },
        owners: owners.clone(),
    }];
    for person in tenant.hierarchy.people() {
        if owners.as_ref().is_some_and(|owners| !owners.contains(person)) {
            continue;
        }
        let team = tenant.hierarchy.team(person);
        if team.len() > 1 && question.team_of.as_deref() != Some(person) {
            let seen = |one: &String| owners.as_ref().is_none_or(|owners| owners.contains(one));
            nodes.push(Node {
                name: person.to_owned(),
                kind: "team",
                owners: Some(team.into_iter().filter(seen).collect()),
            });
        }
        nodes.push(Node {
            name: person.to_owned(),
            kind: "person",
            owners: Some(BTreeSet::from([person.to_owned()])),
        });
    }
    if nodes.len() > MOST_NODES {
        return Err(user(format!(
            "cannot tell the accuracy of {} teams and people at once: ask about a team of at most {MOST_NODES}",
            nodes.len()
        )));
    }
    let reading = tenant.reading(log, question, &scope);
    accuracy(reading, &nodes, (period.start, period.end), at, settings)
}

fn shown(
    currency: &str,
    question: &ForecastQuestion,
    period: &Period,
    at: Timestamp,
    mut outlook: Outlook,
    records: &[Record],
    mut standing: Standing,
) -> Forecast {
    let track = &track_record(records);
    let came: f64 = records.iter().map(|record| record.actual).sum();
    let by_then: f64 = records.iter().map(|record| record.closed).sum();
    let attainment = standing.quota.map(|quota| outlook.closed / quota);
    let single = outlook.categories;
    standing.commit_cumulative = outlook.closed + single[0];
    standing.best_case_cumulative = standing.commit_cumulative + single[1];
    standing.pipeline_cumulative = single[0] + single[1] + single[2];
    standing.coverage = standing
        .quota
        .filter(|quota| *quota > outlook.closed)
        .map(|quota| standing.pipeline_cumulative / (quota - outlook.closed));
    standing.usual_closed_share = (came > 0.0).then(|| by_then / came);
    standing.pacing = attainment
        .zip(standing.usual_closed_share.filter(|share| *share > 0.0))
        .map(|(attained, usual)| attained / usual);
    let median = outlook.quantile(0.5);
    let deviation = outlook.deviation();
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
        past_periods: records.len() as u32,
        past_covered: track.covered,
        noise_floor: (median > 0.0).then(|| deviation / median),
        ended_deals: outlook.ended,
        attainment,
        attainment_probability: standing.quota.map(reaching),
        standing,
        rows: outlook.rows,
    }
}

impl Forecasts {
    /// What a question needs: the instant, what is known of the tenant, and its deals' log.
    async fn load(
        &self,
        tenant_id: &str,
        question: &ForecastQuestion,
    ) -> Result<(Timestamp, Tenant, ChangeLog), Failure> {
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
        let tenant = Tenant::of(&directory.read());
        let settings = self.settings.change_log.clone();
        let log = changelog::load(source, tenant_id, "deal", knowledge, settings).await?;
        Ok((at, tenant, log))
    }
}

#[async_trait]
impl ForecastService for Forecasts {
    async fn forecast(&self, tenant_id: &str, question: &ForecastQuestion) -> Result<Vec<Forecast>, Failure> {
        let (at, tenant, log) = self.load(tenant_id, question).await?;
        answer(&log, &tenant, question, at, &self.settings)
    }

    async fn accuracy(
        &self,
        tenant_id: &str,
        question: &ForecastQuestion,
    ) -> Result<Vec<ForecastAccuracy>, Failure> {
        let (at, tenant, log) = self.load(tenant_id, question).await?;
        accuracy_of(&log, &tenant, question, at, &self.settings)
    }
}
