//! What would have been forecast at instants of past periods, and what came?

use std::sync::Arc;

use revgauge_contract::Timestamp;

use super::{
    ForecastSettings, Learnt, METHODS, Scope,
    outlook::{Outlook, Overlays, won_in},
    past::{Asked, PastPeriod, PastSpan},
    read_book,
    record::{Record, TrackRecord, track_record},
};
use crate::{changelog::ChangeLog, directory::StageCatalogue};

/// One forecast of a period, made with what was known at an instant, beside what came.
#[derive(Debug, Clone, PartialEq)]
pub struct Backcast {
    /// Place of the period among those asked for.
    pub period: usize,
    /// Place of the elapsed share among those asked for.
    pub share: usize,
    /// The instant whose knowledge was used.
    pub at: Timestamp,
    /// Won in the period before that instant.
    pub closed: f64,
    /// What the methods said.
    pub values: [f64; METHODS.len()],
    /// Shares of the methods in the blend.
    pub weights: [f64; METHODS.len()],
    /// The blend, its weights learnt on the periods before alone.
    pub blend: f64,
    /// P10, P50 and P90, their width corrected by the periods before alone.
    pub interval: [f64; 3],
    /// What came, as known in the end.
    pub actual: f64,
}

/// Forecasts each period at each elapsed share as of then, and compares with what the whole log knows.
///
/// Periods in order, none overlapping another. The methods of a period are weighed by the forecasts made at the same share
/// of the periods before it whose end lies before the instant: nothing later is used (F-2). All currencies are taken for
/// one. Cost: a reading of the log and an outlook a period and share.
#[must_use]
pub fn backtest(
    log: &ChangeLog,
    stages: &StageCatalogue,
    periods: &[(Timestamp, Timestamp)],
    shares: &[f64],
    settings: &ForecastSettings,
) -> Vec<Backcast> {
    let Some(last) = periods.iter().map(|period| period.1).max() else {
        return Vec::new();
    };
    let scope = Scope::default();
    let asked = Asked {
        currency: "",
        owners: None,
    };
    let known = read_book(log, stages, last, &scope);
    let most = settings.past_periods as usize;
    let mut all = Vec::new();
    for (share, elapsed) in shares.iter().enumerate() {
        // Newest first.
        let mut past: Vec<PastPeriod> = Vec::new();
        let mut records: Vec<(Timestamp, Record)> = Vec::new();
        for (period, (start, end)) in periods.iter().enumerate() {
            let at = start.plus_micros((elapsed * (end.0 - start.0) as f64) as i64);
            let deals = Arc::new(read_book(log, stages, at, &scope));
            let simulation = settings.simulation(settings.past_draws);
            let over: Vec<Record> = records
                .iter()
                .filter(|(end, _)| *end <= at)
                .map(|(_, record)| record.clone())
                .collect();
            let history = asked.history(&deals, at, &past);
            let learnt = Learnt::learn(&deals, stages, at, (*start, *end));
            let outlook = learnt.outlook(None, &history, simulation, &Overlays::new());
            let actual = won_in(known.iter(), *start, *end);
            all.push(backcast(
                (period, share),
                at,
                &outlook,
                &track_record(&over, outlook.ended, false),
                actual,
            ));
            records.insert(0, (*end, Record::new(&outlook, actual)));
            past.insert(
                0,
                PastPeriod {
                    span: PastSpan {
                        start: *start,
                        end: *end,
                        then: at,
                    },
                    learnt: [(String::new(), learnt.kept_small())].into(),
                },
            );
            records.truncate(most);
            past.truncate(most);
        }
    }
    all
}

fn backcast(
    (period, share): (usize, usize),
    at: Timestamp,
    outlook: &Outlook,
    track: &TrackRecord,
    actual: f64,
) -> Backcast {
    Backcast {
        period,
        share,
        at,
        closed: outlook.closed,
        values: outlook.values,
        blend: track.blend(&outlook.values, None),
        weights: track.weights(),
        interval: track.interval(&Record::new(outlook, actual)),
        actual,
    }
}
