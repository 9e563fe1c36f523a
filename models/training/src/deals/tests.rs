//! Rows hold what was known, no more, and the very numbers that serving reads.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, StringViewArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use proptest::prelude::*;
use revgauge_contract::{
    crm,
    event::{Direction, MachineClass},
    time::ERA_SECONDS,
};
use revgauge_models::{
    changelog::{ChangeLogBuilder, ChangeLogSettings, ChangeOrder},
    facts::ActivityRow,
    win::{
        encode::Cell,
        rows::{FIRST_ACTIVITY, NUMBERS, STAGE},
    },
};

use super::*;
use crate::probes::{Proof, probe};

const START: i64 = 19_000 * DAY_US;

type Said<'a> = (&'a str, &'a str, i64, &'a str, i64);

/// Deal, field, day it happened, value, day it was known.
fn log_of<'a>(said: impl IntoIterator<Item = Said<'a>>) -> ChangeLog {
    let mut builder = ChangeLogBuilder::new(ChangeLogSettings::default());
    for (deal, field, day, value, known) in said {
        let order = ChangeOrder::parse(&crm::order_key(None, START + day * DAY_US)).unwrap();
        builder
            .push(deal, field, order, Some(value), Timestamp(START + known * DAY_US))
            .unwrap();
    }
    builder.build()
}

/// Deal, type, direction, when it happened and when it was known.
type Happened<'a> = (&'a str, &'a str, &'a str, i64, i64);

fn events(rows: &[Happened<'_>]) -> RecordBatch {
    let text = |of: &dyn Fn(&Happened<'_>) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(of)))
    };
    let time = |of: &dyn Fn(&Happened<'_>) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(of)))
    };
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let instant = DataType::Timestamp(TimeUnit::Microsecond, None);
    let schema = Schema::new(vec![
        field("deal_id", DataType::Utf8View),
        field("type", DataType::Utf8View),
        field("direction", DataType::Utf8View),
        field("machine_class", DataType::Utf8View),
        field("event_time", instant.clone()),
        field("known_at", instant),
    ]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            text(&|row| row.0.to_owned()),
            text(&|row| row.1.to_owned()),
            text(&|row| row.2.to_owned()),
            text(&|_| "none".to_owned()),
            time(&|row| row.3),
            time(&|row| row.4),
        ],
    )
    .unwrap()
}

/// 80 deals; the close writes a reason that gives the outcome away.
fn eighty() -> (ChangeLog, Activity) {
    let ids: Vec<String> = (0..80).map(|deal| format!("d{deal:02}")).collect();
    let mut said: Vec<Said<'_>> = Vec::new();
    for (place, id) in ids.iter().enumerate() {
        let born = place as i64 * 5;
        let won = place % 3 == 0;
        said.push((id, "stage", born, "Discovery", born));
        said.push((id, "amount", born, "100", born));
        said.push((
            id,
            "source",
            born,
            if place % 2 == 0 { "web" } else { "fair" },
            born,
        ));
        said.push((id, "stage", born + 20, "Proposal", born + 22));
        said.push((
            id,
            "stage",
            born + 40,
            if won { "Closed Won" } else { "Closed Lost" },
            born + 41,
        ));
        said.push((
            id,
            "reason",
            born + 40,
            if won { "liked" } else { "price" },
            born + 41,
        ));
    }
    let day = |day: i64| START + day * DAY_US;
    let rows: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(place, id)| {
            let born = place as i64 * 5;
            (
                id.as_str(),
                "email.replied",
                "inbound",
                day(born + 5),
                day(born + 8),
            )
        })
        .collect();
    let mut activity = Activity::default();
    activity.push(&events(&rows)).unwrap();
    (log_of(said), activity)
}

#[test]
fn a_row_holds_what_was_known_and_the_outcome_waits_for_the_horizon() {
    let (log, activity) = eighty();
    let stages = StageCatalogue::default();
    let now = Timestamp(START + 500 * DAY_US);
    let settings = DealSetSettings {
        landmark_days: vec![1.0, 6.0, 21.0, 23.0, 60.0],
        horizon_days: Some(30.0),
        ..DealSetSettings::default()
    };
    let set = deal_set(&log, &stages, &activity, now, &settings).unwrap();
    let of = |deal: &str| -> Vec<usize> { (0..set.at.len()).filter(|row| set.ids[*row] == deal).collect() };
    let rows = of("d00");
    assert_eq!(rows.len(), 4, "closed on day 40, so no row on day 60");
    let cell = |name: &str, row: usize| {
        let place = set.table.names.iter().position(|held| held == name).unwrap();
        set.table.columns[place].cell(row)
    };
    // The move to Proposal happened on day 20 and was known on day 22.
    let stages_seen: Vec<_> = rows.iter().map(|row| cell(STAGE, *row)).collect();
    let expect = ["Discovery", "Discovery", "Discovery", "Proposal"].map(Cell::Text);
    assert_eq!(stages_seen, expect);
    // The reply of day 5 was known on day 8.
    assert_eq!(cell("inbound_14", rows[1]), Cell::Number(0.0));
    assert_eq!(cell("days_since_inbound", rows[1]), Cell::Missing);
    assert_eq!(cell("days_since_inbound", rows[2]), Cell::Number(16.0));
    // Won on day 40: within 30 days from day 21 on.
    let won: Vec<bool> = rows.iter().map(|row| set.table.won[*row]).collect();
    assert_eq!(won, [false, false, true, true]);
    assert!(rows.iter().all(|row| set.known[*row] > set.at[*row]));
    // The reason is never filled in before the close, so it is no column at all.
    assert!(!set.table.names.iter().any(|name| name == "field:reason"));
    assert!(set.at.windows(2).all(|pair| pair[0] <= pair[1]));
}

#[test]
fn values_known_last_would_have_leaked_and_those_known_then_do_not() {
    let (log, activity) = eighty();
    let now = Timestamp(START + 500 * DAY_US);
    let settings = DealSetSettings {
        horizon_days: Some(60.0),
        ..DealSetSettings::default()
    };
    let set = deal_set(&log, &StageCatalogue::default(), &activity, now, &settings).unwrap();
    let rows: Vec<usize> = (0..set.at.len()).collect();
    let half = rows.len() / 2;
    let proof = Proof::PointInTime {
        latest: Some(&set.latest),
    };
    let found = probe(&set.table, &rows[..half], &rows[half..], proof);
    let stage = found.iter().find(|column| column.name == STAGE).unwrap();
    assert!(stage.latest_auc.unwrap() > 0.99 && stage.auc < 0.7, "{stage:?}");
    assert!(found.iter().all(|column| !column.is_suspected()), "{found:?}");
}

#[test]
fn a_log_without_matured_deals_says_so() {
    let (log, activity) = eighty();
    let now = Timestamp(START + 10 * DAY_US);
    let error = deal_set(
        &log,
        &StageCatalogue::default(),
        &activity,
        now,
        &DealSetSettings::default(),
    );
    assert!(
        matches!(error, Err(DealSetError::NoneMature { objects: 80, .. })),
        "{error:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// M-1: what becomes known after a row's instant does not change the row.
    #[test]
    fn later_knowledge_changes_no_row(
        extra in prop::collection::vec((0usize..80, 0i64..400, 0i64..60, 0usize..4), 0..60),
        cut in 60i64..400,
    ) {
        let (log, activity) = eighty();
        let ids: Vec<String> = (0..80).map(|deal| format!("d{deal:02}")).collect();
        let fields = ["stage", "amount", "source", "close_date"];
        let mut said: Vec<Said<'_>> = Vec::new();
        for change in log.logs().flat_map(|deal| deal.changes()) {
            let day = |at: Timestamp| (at.micros() - START) / DAY_US;
            said.push((change.object_id, change.field, day(change.event_time), change.value.unwrap(), day(change.known_at)));
        }
        for (deal, day, late, field) in &extra {
            said.push((&ids[*deal], fields[*field], *day, "77", (day + late).max(cut)));
        }
        let with = log_of(said);
        let instants: Vec<(&str, Timestamp)> = ids.iter().map(|id| (id.as_str(), Timestamp(START + cut * DAY_US - 1))).collect();
        for (id, at) in instants {
            let stages = StageCatalogue::default();
            let then = log.object(id).and_then(|deal| facts_at(deal, &stages, at));
            let now = with.object(id).and_then(|deal| facts_at(deal, &stages, at));
            prop_assert_eq!(then, now);
        }
        drop(activity);
    }

    /// The join gives what serving computes from layer-1 rows of the events known then.
    #[test]
    fn joined_activity_is_what_layer_one_keeps(
        seen in prop::collection::vec((0usize..3, 0i64..900, 0i64..40, 0usize..3), 0..60),
        asked in prop::collection::vec((0usize..4, 0i64..1000), 1..20),
    ) {
        let deals = ["a", "b", "c", "nothing"];
        let kinds = [("email.replied", "inbound"), ("email.sent", "outbound"), ("meeting.attended", "inbound")];
        let rows: Vec<_> = seen
            .iter()
            .map(|(deal, day, late, kind)| {
                let at = START + day * DAY_US;
                (deals[*deal], kinds[*kind].0, kinds[*kind].1, at, at + late * DAY_US)
            })
            .collect();
        let mut activity = Activity::default();
        activity.push(&events(&rows)).unwrap();
        let asked: Vec<(&str, Timestamp)> = asked.iter().map(|(deal, day)| (deals[*deal], Timestamp(START + day * DAY_US))).collect();
        let joined = activity.as_of(&activity.running().unwrap(), &asked).unwrap();
        for (place, (deal, at)) in asked.iter().enumerate() {
            let known: Vec<ActivityRow> = rows
                .iter()
                .filter(|row| row.0 == *deal && row.4 <= at.micros())
                .map(|row| {
                    let seconds = row.3 as f64 / 1e6;
                    let era = (seconds / ERA_SECONDS as f64).floor();
                    let within = seconds - era * ERA_SECONDS as f64;
                    ActivityRow {
                        event_type: row.1.into(),
                        direction: Some(if row.2 == "inbound" { Direction::Inbound } else { Direction::Outbound }),
                        machine_class: MachineClass::None,
                        era: era as i64,
                        n: 1,
                        sums: vec![(14, (within / 1_209_600.0).exp2()), (60, (within / 5_184_000.0).exp2())],
                        value_sum: 0.0,
                        value_max: None,
                        first_time: Timestamp(row.3),
                        last_time: Timestamp(row.3),
                    }
                })
                .collect();
            let mut facts = facts_at(
                log_of([("x", "stage", 0, "Discovery", 0)]).object("x").unwrap(),
                &StageCatalogue::default(),
                Timestamp(START + 2000 * DAY_US),
            )
            .unwrap();
            facts.activity = known;
            let served = DealRow::of(&facts, *at);
            for column in 0..joined.len() {
                let (own, theirs) = (joined[column][place], served.numbers[FIRST_ACTIVITY + column]);
                let same = (own.is_nan() && theirs.is_nan()) || (own - theirs).abs() <= 1e-9 * theirs.abs().max(1.0);
                prop_assert!(same, "{}: {own} {theirs}", NUMBERS[FIRST_ACTIVITY + column]);
            }
        }
    }
}
