//! What is answered about a period: the methods, their blend, the range, and how it stands against quota and commits?

use std::collections::BTreeSet;

use revgauge_contract::{
    Timestamp,
    error::Failure,
    forecast::{Forecast, ForecastQuestion, MethodForecast, Quantile, Standing},
    period::Period,
};

use super::{
    ForecastSettings, Learnt, METHODS, Outlook, Record, Targets,
    outlook::{HAZARD, Overlays, owned},
    past::Asked,
    present::Present,
    question::Made,
    record::{SUBMITTED, blend_record},
    spoken::Spoken,
    tenant::Tenant,
    track_record,
};

/// Probabilities of the quantiles answered.
const PROBABILITIES: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];

/// A question with what it is answered from.
pub(super) struct Asking<'a> {
    pub(super) present: &'a Present,
    pub(super) made: &'a Made,
    pub(super) tenant: &'a Tenant,
    pub(super) question: &'a ForecastQuestion,
    pub(super) settings: &'a ForecastSettings,
    pub(super) targets: Targets,
    pub(super) overlays: Overlays<'a>,
    /// The people asked about.
    pub(super) people: BTreeSet<&'a str>,
}

/// What the methods say of one currency, and how right they were.
pub(super) struct Judged {
    pub(super) outlook: Outlook,
    pub(super) records: Vec<Record>,
    /// What people commit, and the hazard for the others, where somebody does.
    pub(super) submitted: Option<f64>,
}

impl<'a> Asking<'a> {
    /// # Errors
    /// `User` for an overlay that names no open deal.
    pub(super) fn new(
        present: &'a Present,
        made: &'a Made,
        tenant: &'a Tenant,
        question: &'a ForecastQuestion,
        settings: &'a ForecastSettings,
    ) -> Result<Self, Failure> {
        let overlays: Overlays<'_> = question
            .what_if
            .iter()
            .map(|overlay| (overlay.deal_id.as_str(), overlay))
            .collect();
        present.check_overlays(&overlays, made.owners.as_ref())?;
        Ok(Self {
            targets: Targets::read(&tenant.quotas, &tenant.submissions, made.calendar, present.at),
            people: match &made.owners {
                Some(owners) => owners.iter().map(String::as_str).collect(),
                None => tenant.hierarchy.people(),
            },
            present,
            made,
            tenant,
            question,
            settings,
            overlays,
        })
    }

    /// The methods on one currency, with so many draws; nothing where the owners asked about have no deal in it.
    pub(super) fn judged(&self, currency: &str, learnt: &Learnt, draws: usize) -> Option<Judged> {
        let (settings, owners) = (self.settings, self.made.owners.as_ref());
        let deals = learnt.deals();
        owned(deals, owners).next()?;
        let asked = Asked { currency, owners };
        let lessons = &self.present.lessons;
        let said = lessons.said(asked, settings.simulation(settings.past_draws));
        let spoken = Spoken {
            targets: &self.targets,
            hierarchy: &self.tenant.hierarchy,
            people: &self.people,
        };
        let history = asked.history(deals, self.present.at, &lessons.past);
        Some(Judged {
            outlook: learnt.outlook(owners, &history, settings.simulation(draws), &self.overlays),
            records: asked.records(deals, &lessons.past, &said, spoken),
            submitted: spoken.value(learnt, asked, self.made.span(), &self.overlays),
        })
    }

    /// How the people asked about stand in one currency: the quota asked with or stored, and what they submitted.
    fn standing(&self, currency: &str) -> Standing {
        let (targets, people, hierarchy) = (&self.targets, &self.people, &self.tenant.hierarchy);
        let period = self.made.span();
        let submissions = targets.submissions(people, hierarchy, currency, period, None);
        Standing {
            quota: self
                .question
                .quota
                .or_else(|| targets.quota(people, hierarchy, currency, period))
                .filter(|quota| *quota > 0.0),
            submitted: Targets::submitted(&submissions, people, hierarchy, "commit")
                .map(|(committed, _)| committed),
            submissions,
            ..Standing::default()
        }
    }
}

/// The forecasts of a question, one a currency; see
/// [`ForecastService::forecast`](revgauge_contract::forecast::ForecastService::forecast).
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
    let asking = Asking::new(present, made, tenant, question, settings)?;
    let forecasts = present.learnt.iter().filter_map(|(currency, learnt)| {
        let judged = asking.judged(currency, learnt, settings.draws)?;
        let about = (&made.period, present.at);
        Some(shown(
            currency,
            question,
            about,
            judged,
            asking.standing(currency),
        ))
    });
    Ok(forecasts.collect())
}

/// Probabilities of the quantiles to answer, rising.
pub(super) fn wanted(question: &ForecastQuestion) -> Vec<f64> {
    let mut wanted = if question.quantiles.is_empty() {
        PROBABILITIES.to_vec()
    } else {
        question.quantiles.clone()
    };
    wanted.sort_by(f64::total_cmp);
    wanted
}

fn shown(
    currency: &str,
    question: &ForecastQuestion,
    (period, at): (&Period, Timestamp),
    judged: Judged,
    mut standing: Standing,
) -> Forecast {
    let Judged {
        mut outlook,
        records,
        submitted,
    } = judged;
    let track = &track_record(&records, outlook.ended, submitted.is_some());
    let blend = blend_record(&records);
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
        quantiles: wanted(question)
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
