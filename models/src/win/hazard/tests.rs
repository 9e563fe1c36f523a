//! Deals whose weekly chances are known, and what the hazard makes of their log.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use revgauge_contract::{crm, time::DAY_US};

use super::*;
use crate::changelog::{ChangeLogBuilder, ChangeLogSettings, ChangeOrder};

const WEEK_US: i64 = 7 * DAY_US;
const START: i64 = 19_000 * DAY_US;

/// Weekly chance of a win and of a loss.
fn truth(stage: &str, slipped: bool) -> (f64, f64) {
    match (stage, slipped) {
        ("Discovery", _) => (0.01, 0.06),
        (_, false) => (0.12, 0.04),
        (_, true) => (0.05, 0.08),
    }
}

struct Made {
    log: ChangeLog,
    open: Vec<String>,
}

/// `count` deals made a few a week; what happens after `until_week` is not in the log.
fn made(count: usize, until_week: i64, seed: u64) -> Made {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut builder = ChangeLogBuilder::new(ChangeLogSettings::default());
    let mut open = Vec::new();
    for deal in 0..count {
        let id = format!("d{deal:05}");
        let born = START + (deal as i64 * until_week / count as i64) * WEEK_US;
        let mut say = |at: i64, field: &str, value: &str| {
            let order = ChangeOrder::parse(&crm::order_key(None, at)).unwrap();
            builder
                .push(&id, field, order, Some(value), Timestamp(at))
                .unwrap();
        };
        say(born, "stage", "Discovery");
        say(born, "amount", "1000");
        say(born, "close_date", &Timestamp(born + 20 * WEEK_US).to_string());
        let (mut stage, mut slipped) = ("Discovery", false);
        let mut week = born;
        let mut done = false;
        while week + WEEK_US <= START + until_week * WEEK_US {
            week += WEEK_US;
            let (won, lost) = truth(stage, slipped);
            let draw: f64 = random.random();
            if draw < won + lost {
                say(
                    week,
                    "stage",
                    if draw < won { "Closed Won" } else { "Closed Lost" },
                );
                done = true;
                break;
            }
            if stage == "Discovery" && random.random::<f64>() < 0.15 {
                stage = "Proposal";
                say(week, "stage", stage);
            } else if !slipped && random.random::<f64>() < 0.03 {
                slipped = true;
                say(week, "close_date", &Timestamp(week + 30 * WEEK_US).to_string());
            }
        }
        if !done {
            open.push(id);
        }
    }
    Made {
        log: builder.build(),
        open,
    }
}

/// What really becomes of a deal standing so: won within 8 weeks, and ever.
fn really(stage: &str, slipped: bool, draws: usize) -> (f64, f64) {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let (mut soon, mut ever) = (0, 0);
    for _ in 0..draws {
        let (mut stage, mut slipped) = (stage, slipped);
        for week in 1..200 {
            let (won, lost) = truth(stage, slipped);
            let draw: f64 = random.random();
            if draw < won + lost {
                ever += usize::from(draw < won);
                soon += usize::from(draw < won && week <= 8);
                break;
            }
            if stage == "Discovery" && random.random::<f64>() < 0.15 {
                stage = "Proposal";
            } else if !slipped && random.random::<f64>() < 0.03 {
                slipped = true;
            }
        }
    }
    (soon as f64 / draws as f64, ever as f64 / draws as f64)
}

#[test]
fn curves_follow_the_known_chances() {
    let made = made(1500, 100, 1);
    let stages = StageCatalogue::default();
    let now = Timestamp(START + 100 * WEEK_US);
    let model = HazardModel::learn(&made.log, &stages, now).unwrap();
    assert!(model.ended() > 1000);
    let (mut seen, mut soon, mut ever) = ([0.0; 3], [0.0; 3], [0.0; 3]);
    for id in &made.open {
        let facts = facts_at(made.log.object(id).unwrap(), &stages, now).unwrap();
        let curve = model.curve(&facts, now);
        let class = match (facts.fields["stage"].as_str(), facts.history.slips.is_empty()) {
            ("Discovery", _) => 0,
            (_, true) => 1,
            (_, false) => 2,
        };
        seen[class] += 1.0;
        soon[class] += curve.won_by(56.0);
        ever[class] += curve.ever();
    }
    for (class, (stage, slipped)) in [("Discovery", false), ("Proposal", false), ("Proposal", true)]
        .into_iter()
        .enumerate()
    {
        let (true_soon, true_ever) = really(stage, slipped, 4000);
        let (soon, ever) = (soon[class] / seen[class], ever[class] / seen[class]);
        assert!(
            (soon - true_soon).abs() < 0.08,
            "{stage} {slipped}: soon {soon} {true_soon}"
        );
        assert!(
            (ever - true_ever).abs() < 0.10,
            "{stage} {slipped}: ever {ever} {true_ever}"
        );
    }
}

#[test]
fn nothing_later_than_the_instant_is_read() {
    let whole = made(600, 80, 2);
    let stages = StageCatalogue::default();
    let then = Timestamp(START + 50 * WEEK_US);
    let mut builder = ChangeLogBuilder::new(ChangeLogSettings::default());
    for change in whole
        .log
        .logs()
        .flat_map(|deal| deal.changes())
        .filter(|change| change.known_at <= then)
    {
        builder
            .push(
                change.object_id,
                change.field,
                change.order,
                change.value,
                change.known_at,
            )
            .unwrap();
    }
    let cut = builder.build();
    let (a, b) = (
        DealCurves::learn(&whole.log, &stages, then),
        DealCurves::learn(&cut, &stages, then),
    );
    assert!(a.ended() > 0 && a == b);
}

#[test]
fn too_few_ends_give_no_hazard_and_odd_deals_a_sound_curve() {
    let stages = StageCatalogue::default();
    let now = Timestamp(START + 100 * WEEK_US);
    assert_eq!(HazardModel::learn(&ChangeLog::default(), &stages, now), None);
    assert_eq!(HazardModel::learn(&made(20, 100, 3).log, &stages, now), None);
    let model = HazardModel::learn(&made(600, 100, 4).log, &stages, now).unwrap();
    // A stage never seen, a close date long past, no amount, no history at all.
    let mut builder = ChangeLogBuilder::new(ChangeLogSettings::default());
    let mut say = |field: &str, value: &str| {
        let order = ChangeOrder::parse(&crm::order_key(None, START)).unwrap();
        builder
            .push("odd", field, order, Some(value), Timestamp(START))
            .unwrap();
    };
    say("stage", "Vanished");
    say("close_date", "1990-01-01");
    say("amount", "-5");
    let log = builder.build();
    let facts = facts_at(log.object("odd").unwrap(), &stages, now).unwrap();
    let curve = model.curve(&facts, now);
    assert!((0.0..=1.0).contains(&curve.ever()) && curve.won.iter().all(|won| won.is_finite()));
}
