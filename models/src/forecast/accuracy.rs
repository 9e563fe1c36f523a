//! How good were the forecasts, by horizon, method, team and person, beside their noise floor? (N-13)

use std::collections::BTreeSet;

use revgauge_contract::{Timestamp, error::Failure, forecast::ForecastAccuracy};

use super::{
    ForecastSettings, METHODS, Record,
    past::{Asked, Reading, past_periods, past_spans},
    record::blend_record,
};

/// Elapsed shares of a period at which its forecasts are judged.
pub const HORIZONS: [f64; 5] = [0.011, 0.25, 0.5, 0.75, 0.98];

/// Whose forecast is judged: a name, and the owners whose deals count; all when absent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) owners: Option<BTreeSet<String>>,
}

/// The accuracy of every node over the periods before `period` that are over at `at`, each forecast as of its own time.
///
/// A blend is judged with the weights that the periods before it gave. Cost: for each horizon a reading of the log and a
/// learning a past period, and a simulation a node.
///
/// # Errors
/// A rate is missing for the currency asked for.
pub(super) fn accuracy(
    reading: Reading<'_>,
    nodes: &[Node],
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
                let records = asked.records(deals, &past, &said);
                told.extend(of_node(node, currency, horizon, &records));
            }
        }
    }
    Ok(told)
}

/// One row a method, and one of the blend.
fn of_node(node: &Node, currency: &str, horizon: f64, records: &[Record]) -> Vec<ForecastAccuracy> {
    let revenue: f64 = records.iter().map(|record| record.actual).sum();
    if records.is_empty() || revenue <= 0.0 {
        return Vec::new();
    }
    let deviation: f64 = records.iter().map(|record| record.deviation).sum();
    let row = |method: &str, errors: &[f64]| ForecastAccuracy {
        currency: currency.to_owned(),
        node: node.name.clone(),
        node_kind: node.kind.to_owned(),
        elapsed: horizon,
        method: method.to_owned(),
        periods: records.len() as u32,
        actual: revenue,
        wape: errors.iter().map(|error| error.abs()).sum::<f64>() / revenue,
        bias: errors.iter().sum::<f64>() / revenue,
        covered: None,
        noise_floor: deviation / revenue,
    };
    let mut rows: Vec<ForecastAccuracy> = METHODS
        .iter()
        .enumerate()
        .map(|(place, method)| {
            let errors: Vec<f64> = records.iter().map(|one| one.values[place] - one.actual).collect();
            row(method, &errors)
        })
        .collect();
    let blend = blend_record(records);
    rows.push(ForecastAccuracy {
        wape: blend.wape.unwrap_or_default(),
        bias: blend.bias.unwrap_or_default(),
        covered: Some(blend.covered),
        ..row("blend", &[])
    });
    rows
}
