//! Training on deals whose law is known, from none to many.

use rand::Rng as _;
use revgauge_contract::{crm, time::DAY_US};
use revgauge_models::changelog::{ChangeLogBuilder, ChangeLogSettings, ChangeOrder};

use super::*;

const START: i64 = 19_000 * DAY_US;

/// `count` deals, one every second day; partners' deals are won four times as often. `later` shifts the source's mix.
fn log(count: usize, seed: u64) -> ChangeLog {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut builder = ChangeLogBuilder::new(ChangeLogSettings::default());
    for deal in 0..count {
        let id = format!("d{deal:04}");
        let born = START + deal as i64 * 2 * DAY_US;
        let mut say = |at: i64, field: &str, value: &str| {
            let order = ChangeOrder::parse(&crm::order_key(None, at)).unwrap();
            builder
                .push(&id, field, order, Some(value), Timestamp(at))
                .unwrap();
        };
        let partner = random.random::<f64>() < 0.5;
        say(born, "stage", "Discovery");
        say(born, "source", if partner { "partner" } else { "web" });
        say(
            born,
            "amount",
            &format!("{}", 1000 + random.random_range(0..9000)),
        );
        let end = born + random.random_range(12..40) * DAY_US;
        let won = random.random::<f64>() < if partner { 0.8 } else { 0.2 };
        say(end, "stage", if won { "Closed Won" } else { "Closed Lost" });
        say(end, "loss_reason", if won { "" } else { "price" });
    }
    builder.build()
}

fn at(day: i64) -> Timestamp {
    Timestamp(START + day * DAY_US)
}

fn settings() -> WinSettings {
    WinSettings {
        set: DealSetSettings {
            landmark_days: vec![1.0, 10.0],
            horizon_days: Some(60.0),
            ..DealSetSettings::default()
        },
        seed: 1,
        forests: 1,
        probe_rows: 0,
        ..WinSettings::default()
    }
}

fn say(made: &Made, log: &ChangeLog, deal: &str, now: Timestamp) -> f64 {
    let facts = facts_at(log.object(deal).unwrap(), &StageCatalogue::default(), now).unwrap();
    made.model.judge(&facts, now).probability
}

#[test]
fn from_no_deal_to_many_there_is_no_cliff() {
    let stages = StageCatalogue::default();
    let log = log(300, 5);
    let none = train(&log, &stages, &Activity::default(), at(1), &settings());
    assert!(matches!(none, Err(TrainError::NothingEnded(300))), "{none:?}");
    // A partner's deal as it was known on its first day, judged by models of ever more history.
    let partner = (0..300)
        .map(|deal| format!("d{deal:04}"))
        .find(|id| log.state_at(id, at(600)).first(&["source"]) == Some("partner"))
        .unwrap();
    let born = log.object(&partner).unwrap().instants()[0];
    let mut before: Option<f64> = None;
    let mut shares = Vec::new();
    for day in [60, 130, 220, 300, 600] {
        let made = train(&log, &stages, &Activity::default(), at(day), &settings()).unwrap();
        let now = say(&made, &log, &partner, born.plus_micros(DAY_US));
        assert!((0.0..=1.0).contains(&now));
        if let Some(before) = before {
            assert!((now - before).abs() < 0.3, "day {day}: from {before} to {now}");
        }
        before = Some(now);
        shares.push(made.model.trained_share());
    }
    assert!(
        shares[0] == 0.0 && shares.windows(2).all(|pair| pair[0] <= pair[1] + 0.02),
        "{shares:?}"
    );
    assert!(before.unwrap() > 0.6, "{before:?}");
}

#[test]
fn a_card_holds_the_probes_and_a_column_to_allow_must_exist() {
    let stages = StageCatalogue::default();
    let log = log(240, 6);
    let probing = WinSettings {
        probe_rows: 400,
        ..settings()
    };
    let made = train(&log, &stages, &Activity::default(), at(560), &probing).unwrap();
    assert!(made.signal, "{}", made.choice);
    let source = made
        .probes
        .iter()
        .find(|column| column.name == "field:source")
        .unwrap();
    assert!(source.auc > 0.6 && !source.is_suspected());
    let stage = made.probes.iter().find(|column| column.name == STAGE).unwrap();
    assert!(stage.latest_auc.unwrap() > 0.99 && stage.changed_since.unwrap() > 0.99);
    assert!(made.shuffled_auc.unwrap() < 0.62, "{:?}", made.shuffled_auc);
    assert!(made.held_out.metrics().log_loss < made.held_out.base_rate_log_loss);
    let unknown = WinSettings {
        allow_leaky: vec!["nothing".to_owned()],
        ..settings()
    };
    let error = train(&log, &stages, &Activity::default(), at(560), &unknown).unwrap_err();
    assert!(error.to_string().contains("no such column"), "{error}");
}

#[test]
fn one_outcome_only_leaves_the_cold_counts_and_says_why() {
    let stages = StageCatalogue::default();
    let mut builder = ChangeLogBuilder::new(ChangeLogSettings::default());
    for deal in 0..60 {
        let born = START + deal * 2 * DAY_US;
        for (at, stage) in [(born, "Discovery"), (born + 20 * DAY_US, "Closed Won")] {
            let order = ChangeOrder::parse(&crm::order_key(None, at)).unwrap();
            let id = format!("d{deal:02}");
            builder
                .push(&id, "stage", order, Some(stage), Timestamp(at))
                .unwrap();
        }
    }
    let log = builder.build();
    let made = train(&log, &stages, &Activity::default(), at(400), &settings()).unwrap();
    assert!(made.model.artifact.is_none() && made.model.trained_share() == 0.0);
    assert!(made.choice.contains("10 of either outcome"), "{}", made.choice);
    let said = say(&made, &log, "d00", at(1));
    assert!(said > 0.5 && said < 1.0, "won by all, yet never certain: {said}");
}

#[test]
fn amounts_below_zero_and_a_stage_that_vanished_give_numbers() {
    let stages = StageCatalogue::default();
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let mut builder = ChangeLogBuilder::new(ChangeLogSettings::default());
    let amounts = ["-500", "0", "1e400", "not a number", "", "1200", "-0"];
    for deal in 0..150 {
        let id = format!("d{deal:04}");
        let born = START + deal * 2 * DAY_US;
        let won = random.random::<f64>() < if deal % 2 == 0 { 0.8 } else { 0.2 };
        // The stage Legacy was left for good after the first third.
        let stage = if deal < 50 { "Legacy" } else { "Discovery" };
        let end = if won { "Closed Won" } else { "Closed Lost" };
        let source = if deal % 2 == 0 { "partner" } else { "web" };
        let amount = amounts[deal as usize % amounts.len()];
        let said = [
            (born, "stage", stage),
            (born, "source", source),
            (born, "amount", amount),
            (born + 5 * DAY_US, "amount", "-20"),
            (born + 20 * DAY_US, "stage", end),
        ];
        for (at, field, value) in said {
            let order = ChangeOrder::parse(&crm::order_key(None, at)).unwrap();
            builder
                .push(&id, field, order, Some(value), Timestamp(at))
                .unwrap();
        }
    }
    for (field, value) in [
        ("stage", "Never Heard Of"),
        ("amount", "-1e308"),
        ("source", "moon"),
    ] {
        let order = ChangeOrder::parse(&crm::order_key(None, START + 390 * DAY_US)).unwrap();
        builder.push("odd", field, order, Some(value), at(390)).unwrap();
    }
    let log = builder.build();
    let made = train(&log, &stages, &Activity::default(), at(400), &settings()).unwrap();
    assert!(made.model.artifact.is_some(), "{}", made.choice);
    for (deal, day) in [("odd", 391), ("odd", 400), ("d0000", 1), ("d0149", 303)] {
        let facts = facts_at(log.object(deal).unwrap(), &stages, at(day)).unwrap();
        let answer = made.model.judge(&facts, at(day));
        let sum = answer.base + answer.contributions.values().sum::<f64>();
        assert!(
            answer.probability > 0.0 && answer.probability < 1.0,
            "{deal}: {answer:?}"
        );
        assert!((sum - answer.log_odds).abs() < 1e-9, "{deal}: {answer:?}");
        let curve = made
            .model
            .hazard
            .as_ref()
            .map(|hazard| hazard.curve(&facts, at(day)));
        if let Some(curve) = curve {
            assert!((0.0..=1.0).contains(&curve.won_by(30.0)), "{deal}");
        }
    }
}
