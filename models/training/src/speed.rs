//! How fast are rows made, models fitted and rows scored? Made-up deals of any number, timed on this machine.

use std::{fmt::Write as _, time::Instant};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use revgauge_contract::{Timestamp, time::DAY_US};
use revgauge_models::{
    changelog::{ChangeLog, ChangeLogBuilder, ChangeLogSettings, ChangeOrder},
    directory::StageCatalogue,
    win::{DealCurves, HazardModel, batch::BatchScorer},
};

use crate::{
    deals::{Activity, DealSetSettings, deal_set},
    fit::{Order, Plan, fit},
};

/// Rows scored.
const SCORED: usize = 1_000_000;
const SEED: u64 = 20_261_120;
const START_US: i64 = 19_000 * DAY_US;
/// Days over which the deals are made.
const DAYS: i64 = 1_095;

/// Makes up so many deals over three years, times each step, and gives the Markdown table.
pub fn measure(deals: usize) -> String {
    let mut text = String::from("| step | what | seconds |\n|---|---|---|\n");
    let mut line = |step: &str, what: String, since: Instant| {
        let _ = writeln!(text, "| {step} | {what} | {:.2} |", since.elapsed().as_secs_f64());
    };
    let (log, activity) = made_up(deals);
    let stages = StageCatalogue::default();
    let now = Timestamp(START_US + (DAYS + 200) * DAY_US);
    let began = Instant::now();
    let settings = DealSetSettings {
        max_rows: usize::MAX,
        horizon_days: Some(120.0),
        ..DealSetSettings::default()
    };
    let set = match deal_set(&log, &stages, &activity, now, &settings) {
        Ok(set) => set,
        Err(error) => return format!("{error}"),
    };
    line(
        "training set",
        format!(
            "{deals} deals, {} changes, {} events, {} rows",
            log.len(),
            activity.len(),
            set.at.len()
        ),
        began,
    );
    let began = Instant::now();
    let curves = HazardModel::learn(&log, &stages, now);
    line(
        "hazard",
        format!("fit on {} ended deals", curves.map_or(0, |model| model.ended())),
        began,
    );
    let rows: Vec<usize> = (0..set.at.len()).collect();
    let plan = Plan {
        order: Order::TimeWithDelay {
            at: &set.at,
            known: &set.known,
        },
        groups: Some(&set.groups),
        ..Plan::by_time(SEED)
    };
    let began = Instant::now();
    let fitted = match fit(&set.table, &rows, &plan) {
        Ok(fitted) => fitted,
        Err(error) => return format!("{error}"),
    };
    line(
        "fit",
        format!("{} ({} rows)", fitted.choice, fitted.artifact.rows),
        began,
    );
    let scorer = BatchScorer::new(&fitted.artifact);
    let began = Instant::now();
    let scored = scorer.score(SCORED, |column, row| {
        set.table.columns[column].cell(row % rows.len())
    });
    line(
        "scoring with contributions, one core",
        format!(
            "{} rows, {} columns",
            scored.log_odds.len(),
            scored.contributions.len()
        ),
        began,
    );
    let began = Instant::now();
    let halves = std::thread::scope(|scope| {
        let half = |from: usize| {
            let (scorer, set, rows) = (&scorer, &set, &rows);
            move || {
                let cell =
                    |column: usize, row: usize| set.table.columns[column].cell((from + row) % rows.len());
                scorer.score(SCORED / 2, cell).log_odds.len()
            }
        };
        let (first, second) = (scope.spawn(half(0)), scope.spawn(half(SCORED / 2)));
        first.join().unwrap_or(0) + second.join().unwrap_or(0)
    });
    line(
        "scoring with contributions, two cores",
        format!("{halves} rows"),
        began,
    );
    let few = made_up(5_000).0;
    let began = Instant::now();
    let curves = DealCurves::learn(&few, &stages, Timestamp(START_US + DAYS * DAY_US));
    line(
        "curves of a forecast",
        format!(
            "5,000 deals: hazard of {} ended and a curve an open one",
            curves.ended()
        ),
        began,
    );
    text
}

/// Deals with stages, amounts, slips, owners and mail, whose chances lie in source, slips and answers.
fn made_up(deals: usize) -> (ChangeLog, Activity) {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut builder = ChangeLogBuilder::new(ChangeLogSettings::default());
    let mut activity = Activity::default();
    for deal in 0..deals {
        let id = format!("d{deal:07}");
        let born = START_US + random.random_range(0..DAYS * 24) * DAY_US / 24;
        let mut say = |at: i64, field: &str, value: &str| {
            let key = revgauge_contract::crm::order_key(None, at);
            if let Some(order) = ChangeOrder::parse(&key) {
                // The limit lies far above what is made here.
                let _ = builder.push(&id, field, order, Some(value), Timestamp(at));
            }
        };
        let source = ["web", "fair", "partner", "outbound"][random.random_range(0..4)];
        let engaged: f64 = random.random();
        say(born, "stage", "Discovery");
        say(born, "source", source);
        say(
            born,
            "region",
            ["north", "south", "east"][random.random_range(0..3)],
        );
        say(born, "owner_id", &format!("u{}", random.random_range(0..20)));
        say(born, "account_id", &format!("a{}", deal / 2));
        say(
            born,
            "amount",
            &format!("{}", 1_000 + random.random_range(0..90_000)),
        );
        say(born, "close_date", &Timestamp(born + 60 * DAY_US).to_string());
        let end = born + random.random_range(20..150) * DAY_US;
        let at = |share: f64| born + ((end - born) as f64 * share) as i64;
        say(at(0.3), "stage", "Demo");
        say(at(0.6), "stage", "Proposal");
        let slips = random.random_range(0..3);
        for slip in 0..slips {
            say(
                at(0.4 + 0.2 * f64::from(slip)),
                "close_date",
                &Timestamp(end + i64::from(slip) * 30 * DAY_US).to_string(),
            );
        }
        for _ in 0..8 {
            let inbound = random.random::<f64>() < engaged;
            activity.add(&id, at(random.random()), inbound);
        }
        let log_odds =
            3.0 * engaged - 2.0 - 0.5 * f64::from(slips) + if source == "partner" { 1.0 } else { 0.0 };
        let won = random.random::<f64>() < 1.0 / (1.0 + f64::exp(-log_odds));
        say(end, "stage", if won { "Closed Won" } else { "Closed Lost" });
    }
    (builder.build(), activity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_deals_give_rows() {
        let (log, activity) = made_up(30);
        assert_eq!((log.objects().len(), activity.len()), (30, 240));
        let now = Timestamp(START_US + (DAYS + 200) * DAY_US);
        let settings = DealSetSettings::default();
        let set = deal_set(&log, &StageCatalogue::default(), &activity, now, &settings).unwrap();
        assert!(set.at.len() > 90);
    }
}
