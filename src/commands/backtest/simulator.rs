//! How near do forecasts of simulated organisations come to the best that could be known?
//!
//! The generator's latents are known here and to no forecast. The floor is the error of the conditional mean given them
//! (`Organisation::expected_revenue`): what is left is chance.

use std::{collections::HashMap, sync::Arc};

use anyhow::{Context as _, Result};
use revgauge_connectors::generator::{Foresight, GeneratorConfig, Organisation};
use revgauge_contract::{
    Timestamp, crm,
    event::{Reception, Trust},
    period::FiscalCalendar,
    schema,
    time::DAY_US,
};
use revgauge_models::{
    changelog::{ChangeLog, ChangeLogBuilder},
    directory::StageCatalogue,
    forecast::{Backcast, ForecastSettings, METHODS, backtest},
};
use serde_json::{Value, json};

use crate::cli::BacktestArgs;

/// First day of every organisation.
const START: &str = "2023-01-01T00:00:00Z";
/// Elapsed shares of the quarter at which it is forecast; the first is its first evening.
const SHARES: [f64; 4] = [0.011, 0.25, 0.5, 0.75];
/// What they are called.
const SHARE_NAMES: [&str; 4] = ["day 1", "25 %", "50 %", "75 %"];
/// Quarters of history before the first that is judged.
const LEARNING: usize = 4;
/// Drawn futures of the floor that knows today's latents alone.
const FUTURES: u32 = 8;

/// One forecast beside its floors.
#[derive(Debug, Clone)]
struct Judged {
    forecast: Backcast,
    /// Revenue of the quarter expected with every day's latents known.
    every_day: f64,
    /// With today's latents known.
    today: f64,
}

/// What was reached at one horizon.
#[derive(Debug, Clone)]
struct Horizon {
    name: &'static str,
    forecasts: usize,
    /// WAPE and bias of each method.
    methods: Vec<(f64, f64)>,
    blend: (f64, f64),
    floor: f64,
    floor_today: f64,
    /// Share of outcomes inside the 80 % range.
    covered: f64,
    weights: Vec<f64>,
}

/// Generates the organisations, forecasts, compares. Cost: about a second an organisation, optimised.
pub(super) async fn measure(args: &BacktestArgs) -> Result<Value> {
    let mut runs = tokio::task::JoinSet::new();
    for seed in args.first_seed..args.first_seed.saturating_add(u64::from(args.seeds)) {
        let config = GeneratorConfig {
            seed,
            accounts: args.accounts,
            reps: args.reps,
            days: args.years * 365 + args.years / 4 + 1,
            // Revenue depends on deals alone: people's activity is left out, which changes no probability of a deal.
            contacts_per_account: 1.0,
            intensity: 0.001,
            start: START.parse()?,
            ..GeneratorConfig::default()
        };
        runs.spawn_blocking(move || judge(config));
    }
    let mut judged = Vec::new();
    while let Some(run) = runs.join_next().await {
        judged.extend(run??);
    }
    Ok(json!(
        SHARE_NAMES
            .iter()
            .enumerate()
            .map(|(share, name)| {
                let of: Vec<&Judged> = judged.iter().filter(|one| one.forecast.share == share).collect();
                shown(&horizon(name, &of))
            })
            .collect::<Vec<_>>()
    ))
}

fn judge(config: GeneratorConfig) -> Result<Vec<Judged>> {
    let quarters = quarters(config.start, config.days);
    let (log, floors) = live(config, &quarters)?;
    let settings = ForecastSettings::default();
    let forecasts = backtest(&log, &StageCatalogue::default(), &quarters, &SHARES, &settings);
    let judged = forecasts.into_iter().filter_map(|forecast| {
        let (every_day, today) = floors.get(&(forecast.period, forecast.share))?;
        Some(Judged {
            every_day: forecast.closed + every_day,
            today: forecast.closed + today,
            forecast,
        })
    });
    Ok(judged.collect())
}

/// The whole quarters of a span of days.
fn quarters(start: Timestamp, days: u32) -> Vec<(Timestamp, Timestamp)> {
    let end = start.plus_micros(i64::from(days) * DAY_US);
    let mut quarters = Vec::new();
    let mut quarter = FiscalCalendar::default().quarter_at(start);
    while quarter.end <= end {
        if quarter.start >= start {
            quarters.push((quarter.start, quarter.end));
        }
        quarter = FiscalCalendar::default().quarter_at(quarter.end);
    }
    quarters
}

/// By period and share: revenue expected from then on, with every day's latents known and with today's.
type Floors = HashMap<(usize, usize), (f64, f64)>;

/// Lets the organisation live, writes its deals' change log as the server does, and asks the floors on their days.
fn live(config: GeneratorConfig, quarters: &[(Timestamp, Timestamp)]) -> Result<(ChangeLog, Floors)> {
    let (start, days) = (config.start, config.days);
    let day_of = |at: Timestamp| at.days_since(start).round() as u32;
    let mut asked: HashMap<u32, Vec<(usize, usize)>> = HashMap::new();
    for (period, (from, until)) in quarters.iter().enumerate().skip(LEARNING) {
        for (share, elapsed) in SHARES.iter().enumerate() {
            let at = from.plus_micros((elapsed * (until.0 - from.0) as f64) as i64);
            asked.entry(day_of(at)).or_default().push((period, share));
        }
    }
    let mut organisation = Organisation::new(config)?;
    let mut log = ChangeLogBuilder::default();
    let mut floors = Floors::new();
    for number in 0..days {
        for (period, share) in asked.remove(&number).unwrap_or_default() {
            let until = day_of(quarters[period].1);
            let floor = |foresight| organisation.expected_revenue(until, foresight);
            let both = (
                floor(Foresight::EveryDay),
                floor(Foresight::Today { futures: FUTURES }),
            );
            floors.insert((period, share), both);
        }
        let Some(drafts) = organisation.next_day() else {
            break;
        };
        let mut events = Vec::new();
        for draft in drafts {
            let (Some("deal.upserted"), Some(at)) = (draft.event_type.as_deref(), draft.event_time) else {
                continue;
            };
            let reception = Reception {
                trust: Trust::History,
                ..Reception::live(Arc::from("simulated"), at, "simulator")
            };
            events.push(
                draft
                    .accept(&reception)
                    .context("cannot accept a generated event")?,
            );
        }
        if !events.is_empty() {
            log.push_rows("deal", &crm::explode(&schema::batch_of(&events)))?;
        }
    }
    Ok((log.build(), floors))
}

fn horizon(name: &'static str, judged: &[&Judged]) -> Horizon {
    let revenue: f64 = judged.iter().map(|one| one.forecast.actual).sum();
    let count = judged.len().max(1) as f64;
    let errors = |value: &dyn Fn(&Judged) -> f64| {
        let of = judged.iter().map(|one| value(one) - one.forecast.actual);
        let (absolute, signed) = of.fold((0.0, 0.0), |sum, error| (sum.0 + error.abs(), sum.1 + error));
        (
            absolute / revenue.max(f64::MIN_POSITIVE),
            signed / revenue.max(f64::MIN_POSITIVE),
        )
    };
    let covered = judged.iter().filter(|one| {
        let [low, _, high] = one.forecast.interval;
        (low..=high).contains(&one.forecast.actual)
    });
    Horizon {
        name,
        forecasts: judged.len(),
        methods: (0..METHODS.len())
            .map(|method| errors(&|one| one.forecast.values[method]))
            .collect(),
        blend: errors(&|one| one.forecast.blend),
        floor: errors(&|one| one.every_day).0,
        floor_today: errors(&|one| one.today).0,
        covered: covered.count() as f64 / count,
        weights: (0..METHODS.len())
            .map(|method| judged.iter().map(|one| one.forecast.weights[method]).sum::<f64>() / count)
            .collect(),
    }
}

fn shown(horizon: &Horizon) -> Value {
    let methods: Vec<Value> = METHODS
        .iter()
        .zip(&horizon.methods)
        .zip(&horizon.weights)
        .map(|((method, (wape, bias)), weight)| {
            json!({"method": method, "wape": wape, "bias": bias, "mean_weight": weight})
        })
        .collect();
    json!({
        "horizon": horizon.name, "forecasts": horizon.forecasts, "methods": methods,
        "blend": {"wape": horizon.blend.0, "bias": horizon.blend.1},
        "floor": horizon.floor, "floor_of_today": horizon.floor_today,
        "ratio": horizon.blend.0 / horizon.floor, "ratio_of_today": horizon.blend.0 / horizon.floor_today,
        "coverage_80": horizon.covered,
    })
}

/// The Markdown table of what [`measure`] gave.
pub(super) fn table(horizons: &Value) -> String {
    let mut text = String::from("| horizon | forecasts |");
    for method in METHODS {
        text += &format!(" {method} |");
    }
    text += " **blend** | bias | floor, every day known | ratio | floor, today known | ratio | 80 % range holds |\n|";
    text += &"---|".repeat(METHODS.len() + 9);
    for horizon in horizons.as_array().into_iter().flatten() {
        let number = |pointer: &str| {
            horizon
                .pointer(pointer)
                .and_then(Value::as_f64)
                .unwrap_or_default()
        };
        let percent = |pointer: &str| format!("{:.1} %", 100.0 * number(pointer));
        text += &format!(
            "\n| {} | {} |",
            horizon["horizon"].as_str().unwrap_or_default(),
            horizon["forecasts"]
        );
        for method in 0..METHODS.len() {
            text += &format!(" {} |", percent(&format!("/methods/{method}/wape")));
        }
        text += &format!(
            " **{}** | {:+.1} % | {} | {:.2} | {} | {:.2} | {} |",
            percent("/blend/wape"),
            100.0 * number("/blend/bias"),
            percent("/floor"),
            number("/ratio"),
            percent("/floor_of_today"),
            number("/ratio_of_today"),
            percent("/coverage_80"),
        );
    }
    text
}
