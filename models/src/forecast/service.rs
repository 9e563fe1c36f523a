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
        Forecast, ForecastAccuracy, ForecastQuestion, ForecastService, MethodForecast, Quantile, Standing,
    },
    period::{FiscalCalendar, Period},
    statistics::Knowledge,
};
use serde::{Deserialize, Serialize};

use super::{
    Learnt, METHODS, Outlook, Rates, Record, Scope, Simulation, Targets,
    accuracy::{Node, accuracy},
    outlook::{CATEGORIES, HAZARD, Overlays, owned, spelled},
    past::{Asked, Reading, past_periods, past_spans},
    record::{SUBMITTED, blend_record},
    remembered::{Lessons, LiveLog, PastKey, Remembered, View, known_until},
    spoken::Spoken,
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

/// The pipeline that keeps every value of each deal.
const DEALS: &str = "deal_history";

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
    /// Standard deviation of the shock that the log-odds of all deals share, 0 to 3. The default makes the 80 % range of
    /// simulated organisations hold about 80 % before any past quarter has corrected its width (docs/FORECAST.md).
    pub shock: f64,
    /// Past periods the methods are measured on, 0 to 40.
    pub past_periods: u32,
    /// Month with which the fiscal year begins, 1 to 12.
    pub fiscal_year_starts: u32,
    /// Most seconds for which an answer about now is made from the deals as they stood at an earlier question, while no
    /// deal changed. The answer tells that instant as its own. 0: never.
    pub same_deals_s: u32,
    /// Most deals remembered in what past periods taught, and as many in what was read as known now; each takes about
    /// 300 bytes. 0: nothing is remembered.
    pub remembered_deals: usize,
    /// Most changes remembered in logs of the live state; each takes about 60 bytes.
    pub remembered_changes: usize,
    /// Most teams and people of whom is remembered what was said in each past period.
    pub remembered_nodes: usize,
}

impl Default for ForecastSettings {
    fn default() -> Self {
        Self {
            change_log: ChangeLogSettings::default(),
            draws: 10_000,
            past_draws: 1_000,
            seed: 20_261_120,
            shock: 0.2,
            past_periods: 8,
            fiscal_year_starts: 1,
            same_deals_s: 60,
            remembered_deals: 500_000,
            remembered_changes: 3_000_000,
            remembered_nodes: 1_000,
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
    logs: Remembered<Arc<str>, LiveLog>,
    present: Remembered<PresentKey, Present>,
    past: Remembered<PastKey, Lessons>,
}

/// By what the deals as known now are found again.
#[derive(Debug, Clone, PartialEq)]
struct PresentKey {
    version: u64,
    view: View,
    period: (Timestamp, Timestamp),
}

impl Forecasts {
    /// Reads what the score service reads.
    #[must_use]
    pub fn new(scoring: Arc<Scoring>, clock: Arc<dyn Clock>, settings: ForecastSettings) -> Self {
        Self {
            scoring,
            clock,
            logs: Remembered::new(settings.remembered_changes),
            present: Remembered::new(settings.remembered_deals),
            past: Remembered::new(settings.remembered_deals),
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
    pub(super) rates: Arc<Rates>,
    pub(super) quotas: Vec<(Arc<str>, Fields)>,
    pub(super) submissions: Vec<(Arc<str>, Fields)>,
}

impl Tenant {
    fn of(directory: &Directory) -> Self {
        Self {
            stages: directory.stages(),
            hierarchy: Hierarchy::of(directory),
            rates: Arc::new(Rates::read(&directory.objects("exchange_rate"))),
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
}

impl View {
    fn reading<'a>(&'a self, log: &'a ChangeLog) -> Reading<'a> {
        let currency = self.currency.as_ref();
        Reading {
            log,
            stages: &self.stages,
            scope: &self.scope,
            currency: currency.map(|(currency, rates)| (currency.as_str(), &**rates)),
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

/// What was asked, made out.
#[derive(Debug)]
pub(super) struct Made {
    named_instant: bool,
    calendar: FiscalCalendar,
    period: Period,
    owners: Option<BTreeSet<String>>,
    pub(super) view: View,
}

impl Made {
    /// # Errors
    /// `User` for a question out of range, `Data` for a team that manages itself.
    pub(super) fn out(
        tenant_id: &str,
        tenant: &Tenant,
        question: &ForecastQuestion,
        at: Timestamp,
        settings: &ForecastSettings,
    ) -> Result<Self, Failure> {
        check(question)?;
        let calendar = calendar_of(question, settings)?;
        let period = period_of(question, at, calendar)?;
        let owners = tenant.owners(question)?;
        let currency = question.currency.as_ref();
        let view = View {
            tenant_id: tenant_id.into(),
            stages: Arc::clone(&tenant.stages),
            scope: scope_of(question, owners.as_ref()),
            currency: currency.map(|currency| (currency.clone(), Arc::clone(&tenant.rates))),
        };
        Ok(Self {
            named_instant: question.as_of.is_some(),
            calendar,
            period,
            owners,
            view,
        })
    }

    pub(super) const fn span(&self) -> (Timestamp, Timestamp) {
        (self.period.start, self.period.end)
    }
}

/// What the deals as known at one instant say of a period, beside what past periods taught.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) at: Timestamp,
    learnt: BTreeMap<String, Learnt>,
    lessons: Arc<Lessons>,
}

impl Present {
    /// Reads and learns; of the past only what `memory` does not know. Cost: a pass over the log and a learning, for each
    /// past period that is not remembered once more.
    ///
    /// # Errors
    /// A rate is missing for the currency asked for.
    pub(super) fn learn(
        log: &ChangeLog,
        view: &View,
        period: (Timestamp, Timestamp),
        at: Timestamp,
        settings: &ForecastSettings,
        memory: &Remembered<PastKey, Lessons>,
    ) -> Result<Self, Failure> {
        let reading = view.reading(log);
        let books = reading.books(at)?;
        let spans = past_spans(period, at, settings.past_periods.min(40));
        let key = PastKey {
            view: view.clone(),
            fingerprint: log.fingerprint(known_until(&spans)),
            spans,
        };
        let lessons = match memory.get(&key) {
            Some(lessons) => lessons,
            None => {
                let past = past_periods(reading, &key.spans)?;
                let lessons = Arc::new(Lessons::new(past, settings.remembered_nodes));
                memory.put(key, &lessons, lessons.weight(), |_| false);
                lessons
            }
        };
        let learn = |deals| Learnt::learn_with_dates(deals, &view.stages, at, period);
        Ok(Self {
            at,
            learnt: books
                .iter()
                .map(|(currency, deals)| (currency.clone(), learn(deals)))
                .collect(),
            lessons,
        })
    }

    /// Deals held, without those of the past.
    fn weight(&self) -> usize {
        self.learnt.values().map(|learnt| learnt.deals().len()).sum()
    }

    /// # Errors
    /// `User` when a deal to be seen otherwise is not open among those of the owners.
    fn check_overlays(
        &self,
        overlays: &Overlays<'_>,
        owners: Option<&BTreeSet<String>>,
    ) -> Result<(), Failure> {
        let mut missing: BTreeSet<&str> = overlays.keys().copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        for deal in self
            .learnt
            .values()
            .flat_map(|learnt| owned(learnt.deals(), owners))
        {
            if deal.outcome == Outcome::Open {
                missing.remove(deal.deal_id.as_str());
            }
        }
        missing.first().map_or(Ok(()), |id| {
            Err(user(format!(
                "cannot see deal {id} otherwise: no open deal of this name is in the forecast"
            )))
        })
    }
}

/// The forecasts of a question, one a currency; see [`ForecastService::forecast`].
///
/// # Errors
/// `User` for an overlay that names no open deal.
pub(super) fn answer(
    present: &Present,
    made: &Made,
    tenant: &Tenant,
    question: &ForecastQuestion,
    settings: &ForecastSettings,
) -> Result<Vec<Forecast>, Failure> {
    let (at, period, owners) = (present.at, made.span(), made.owners.as_ref());
    let targets = Targets::read(&tenant.quotas, &tenant.submissions, made.calendar, at);
    let overlays: Overlays<'_> = question
        .what_if
        .iter()
        .map(|overlay| (overlay.deal_id.as_str(), overlay))
        .collect();
    present.check_overlays(&overlays, owners)?;
    let forecasts = present.learnt.iter().filter_map(|(currency, learnt)| {
        let deals = learnt.deals();
        owned(deals, owners).next()?;
        let asked = Asked { currency, owners };
        let past = &present.lessons.past;
        let said = present
            .lessons
            .said(asked, settings.simulation(settings.past_draws));
        let people: BTreeSet<&str> = match owners {
            Some(owners) => owners.iter().map(String::as_str).collect(),
            None => tenant.hierarchy.people(),
        };
        let spoken = Spoken {
            targets: &targets,
            hierarchy: &tenant.hierarchy,
            people: &people,
        };
        let records = asked.records(deals, past, &said, spoken);
        let history = asked.history(deals, at, past);
        let outlook = learnt.outlook(owners, &history, settings.simulation(settings.draws), &overlays);
        let submitted = spoken.value(learnt, asked, period, &overlays);
        let submissions = targets.submissions(&people, &tenant.hierarchy, currency, period, None);
        let standing = Standing {
            quota: question
                .quota
                .or_else(|| targets.quota(&people, &tenant.hierarchy, currency, period))
                .filter(|quota| *quota > 0.0),
            submitted: Targets::submitted(&submissions, &people, &tenant.hierarchy, "commit")
                .map(|(committed, _)| committed),
            submissions,
            ..Standing::default()
        };
        Some(shown(
            currency,
            question,
            (&made.period, at),
            outlook,
            &records,
            submitted,
            standing,
        ))
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
    let Made {
        period,
        owners,
        view,
        calendar,
        ..
    } = Made::out("", tenant, question, at, settings)?;
    let targets = Targets::read(&tenant.quotas, &tenant.submissions, calendar, at);
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
    accuracy(
        view.reading(log),
        &nodes,
        (&targets, &tenant.hierarchy),
        (period.start, period.end),
        at,
        settings,
    )
}

fn shown(
    currency: &str,
    question: &ForecastQuestion,
    (period, at): (&Period, Timestamp),
    mut outlook: Outlook,
    records: &[Record],
    submitted: Option<f64>,
    mut standing: Standing,
) -> Forecast {
    let track = &track_record(records, outlook.ended, submitted.is_some());
    let blend = blend_record(records);
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
    outlook.draws = track.corrected(&outlook, submitted);
    let reaching = |quota: f64| {
        let below = outlook.draws.partition_point(|draw| *draw < quota);
        1.0 - below as f64 / outlook.draws.len().max(1) as f64
    };
    let spoken = track
        .submitted
        .zip(submitted)
        .map(|(record, value)| (SUBMITTED, value, record));
    let methods = METHODS
        .iter()
        .zip(outlook.values)
        .zip(track.methods)
        .map(|((method, value), record)| (*method, value, record))
        .chain(spoken)
        .map(|(method, value, record)| MethodForecast {
            method: method.to_owned(),
            value,
            weight: record.weight,
            wape: record.wape,
            bias: record.bias,
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
        blend: track.blend(&outlook.values, submitted),
        blend_wape: blend.wape,
        blend_bias: blend.bias,
        quantiles: wanted
            .into_iter()
            .map(|probability| Quantile {
                probability,
                value: outlook.quantile(probability),
            })
            .collect(),
        methods: methods.collect(),
        past_periods: records.len() as u32,
        past_covered: blend.covered,
        noise_floor: (median > 0.0).then(|| deviation / median),
        ended_deals: outlook.ended,
        attainment,
        attainment_probability: standing.quota.map(reaching),
        standing,
        rows: outlook.rows,
    }
}

/// When, and what is known of a tenant beside its deals.
struct Setting {
    at: Timestamp,
    knowledge: Knowledge,
    /// Of the live state of the deals, read before anything of it; only of now.
    version: Option<u64>,
    tenant: Tenant,
}

impl Forecasts {
    async fn setting(&self, tenant_id: &str, question: &ForecastQuestion) -> Result<Setting, Failure> {
        check(question)?;
        let now = self.clock.now();
        let at = question.as_of.unwrap_or(now).min(now);
        let knowledge = if at >= now {
            Knowledge::Now
        } else {
            Knowledge::At(at)
        };
        let source = &*self.scoring.source;
        let version = match knowledge {
            Knowledge::Now => source.version(DEALS),
            Knowledge::At(_) => None,
        };
        let directory = self
            .scoring
            .directories()
            .get(source, tenant_id, knowledge)
            .await?;
        let tenant = Tenant::of(&directory.read());
        Ok(Setting {
            at,
            knowledge,
            version,
            tenant,
        })
    }

    /// The deals' log; that of the live state is remembered as long as it stays the same.
    async fn log(&self, tenant_id: &str, setting: &Setting) -> Result<Arc<ChangeLog>, Failure> {
        let key: Arc<str> = tenant_id.into();
        if let Some(version) = setting.version
            && let Some(held) = self.logs.get(&key)
            && held.version == version
        {
            return Ok(Arc::clone(&held.log));
        }
        let (source, limits) = (&*self.scoring.source, self.settings.change_log.clone());
        let log = changelog::load(source, tenant_id, "deal", setting.knowledge, limits).await?;
        let log = Arc::new(log);
        if let Some(version) = setting.version {
            let held = LiveLog {
                version,
                log: Arc::clone(&log),
            };
            self.logs.put(key, &Arc::new(held), log.len(), |_| false);
        }
        Ok(log)
    }

    /// What the deals say as known at the instant of the question, or at that of an earlier question since which none
    /// changed.
    async fn present(
        &self,
        tenant_id: &str,
        setting: &Setting,
        made: &Made,
    ) -> Result<Arc<Present>, Failure> {
        let key = setting.version.map(|version| PresentKey {
            version,
            view: made.view.clone(),
            period: made.span(),
        });
        let longest = i64::from(self.settings.same_deals_s) * 1_000_000;
        // An instant asked for by name is answered as of itself.
        let reused = if made.named_instant { 0 } else { longest };
        if let Some(held) = key.as_ref().and_then(|key| self.present.get(key))
            && (0..=reused).contains(&(setting.at.0 - held.at.0))
        {
            return Ok(held);
        }
        let log = self.log(tenant_id, setting).await?;
        let present = Arc::new(Present::learn(
            &log,
            &made.view,
            made.span(),
            setting.at,
            &self.settings,
            &self.past,
        )?);
        if let Some(key) = key {
            let version = key.version;
            self.present
                .put(key, &present, present.weight(), |held| held.version != version);
        }
        Ok(present)
    }
}

#[async_trait]
impl ForecastService for Forecasts {
    async fn forecast(&self, tenant_id: &str, question: &ForecastQuestion) -> Result<Vec<Forecast>, Failure> {
        let setting = self.setting(tenant_id, question).await?;
        let tenant = &setting.tenant;
        let made = Made::out(tenant_id, tenant, question, setting.at, &self.settings)?;
        let present = self.present(tenant_id, &setting, &made).await?;
        answer(&present, &made, tenant, question, &self.settings)
    }

    async fn accuracy(
        &self,
        tenant_id: &str,
        question: &ForecastQuestion,
    ) -> Result<Vec<ForecastAccuracy>, Failure> {
        let setting = self.setting(tenant_id, question).await?;
        let log = self.log(tenant_id, &setting).await?;
        accuracy_of(&log, &setting.tenant, question, setting.at, &self.settings)
    }
}
