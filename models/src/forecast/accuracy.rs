//! How good were the forecasts, by horizon, method, team and person, beside their noise floor? (N-13)

use revgauge_contract::{
    Timestamp,
    error::Failure,
    forecast::{ForecastAccuracy, ForecastQuestion},
};

use super::{
    ForecastSettings, METHODS, Record, Targets,
    nodes::{Node, nodes},
    past::{Asked, Reading, past_periods, past_spans},
    question::Made,
    record::{SUBMITTED, blend_record},
    spoken::Spoken,
    tenant::Tenant,
};
use crate::{changelog::ChangeLog, hierarchy::Hierarchy};

/// Elapsed shares of a period at which its forecasts are judged.
pub const HORIZONS: [f64; 5] = [0.011, 0.25, 0.5, 0.75, 0.98];

/// The accuracy of a question's nodes; see
/// [`ForecastService::accuracy`](revgauge_contract::forecast::ForecastService::accuracy).
///
/// # Errors
/// `User` for a question out of range or about more nodes than one answer holds, `Data` for a team that manages itself.
pub(super) fn accuracy_of(
    log: &ChangeLog,
    tenant: &Tenant,
    question: &ForecastQuestion,
    at: Timestamp,
    settings: &ForecastSettings,
) -> Result<Vec<ForecastAccuracy>, Failure> {
    let made = Made::out("", tenant, question, at, settings)?;
    let targets = Targets::read(&tenant.quotas, &tenant.submissions, made.calendar, at);
    let nodes = nodes(
        &tenant.hierarchy,
        question.team_of.as_deref(),
        made.owners.as_ref(),
    )?;
    accuracy(
        made.view.reading(log),
        &nodes,
        (&targets, &tenant.hierarchy),
        made.span(),
        at,
        settings,
    )
}

/// The accuracy of every node over the periods before `period` that are over at `at`, each forecast as of its own time.
///
/// A blend is judged with the weights that the periods before it gave. Cost: for each horizon a reading of the log and a
/// learning a past period, and a simulation a node.
///
/// # Errors
/// A rate is missing for the currency asked for.
fn accuracy(
    reading: Reading<'_>,
    nodes: &[Node],
    (targets, hierarchy): (&Targets, &Hierarchy),
    period: (Timestamp, Timestamp),
    at: Timestamp,
    settings: &ForecastSettings,
) -> Result<Vec<ForecastAccuracy>, Failure> {
    let now = reading.books(at)?;
    let mut told = Vec::new();
    for horizon in HORIZONS {
        let asked_at = period
            .0
            .plus_micros((horizon * (period.1.0 - period.0.0) as f64) as i64);
        let mut spans = past_spans(period, asked_at, settings.past_periods.min(40));
        spans.retain(|span| span.end <= at);
        let past = past_periods(reading, &spans)?;
        for (currency, deals) in &now {
            for node in nodes {
                let asked = Asked {
                    currency,
                    owners: node.owners.as_ref(),
                };
                let said = asked.said(&past, settings.simulation(settings.past_draws));
                let people = match &node.owners {
                    Some(owners) => owners.iter().map(String::as_str).collect(),
                    None => hierarchy.people(),
                };
                let spoken = Spoken {
                    targets,
                    hierarchy,
                    people: &people,
                };
                let records = asked.records(deals, &past, &said, spoken);
                told.extend(of_node(node, currency, horizon, &records));
            }
        }
    }
    Ok(told)
}

/// One row a method, of the periods of which it said something, and one of the blend; none where nothing came.
fn of_node(node: &Node, currency: &str, horizon: f64, records: &[Record]) -> Vec<ForecastAccuracy> {
    let row = |method: &str, said: &dyn Fn(&Record) -> Option<f64>| {
        let said = records.iter().filter_map(|one| Some((said(one)?, one)));
        let (mut periods, mut actual, mut absolute, mut signed) = (0, 0.0, 0.0, 0.0);
        let mut deviation = 0.0;
        for (value, one) in said {
            periods += 1;
            actual += one.actual;
            absolute += (value - one.actual).abs();
            signed += value - one.actual;
            deviation += one.deviation;
        }
        (actual > 0.0).then(|| ForecastAccuracy {
            currency: currency.to_owned(),
            node: node.name.clone(),
            node_kind: node.kind.to_owned(),
            elapsed: horizon,
            method: method.to_owned(),
            periods,
            actual,
            wape: absolute / actual,
            bias: signed / actual,
            covered: None,
            noise_floor: deviation / actual,
        })
    };
    let mut rows: Vec<ForecastAccuracy> = METHODS
        .iter()
        .enumerate()
        .filter_map(|(place, method)| row(method, &|one| Some(one.values[place])))
        .collect();
    rows.extend(row(SUBMITTED, &|one| one.submitted));
    let blend = blend_record(records);
    rows.extend(row("blend", &|_| Some(0.0)).map(|row| ForecastAccuracy {
        wape: blend.wape.unwrap_or_default(),
        bias: blend.bias.unwrap_or_default(),
        covered: Some(blend.covered),
        ..row
    }));
    rows
}
