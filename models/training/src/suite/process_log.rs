//! What is known of a loan application fourteen days after its first offer was sent? Features of the BPI 2012 process log at that landmark.

use std::{collections::BTreeMap, path::Path};

use super::{DataSet, SuiteError, days, read_csv, sets::bar};
use crate::table::{Column, Table};

const LANDMARK_DAYS: f64 = 14.0;
/// Stands for a step that was never taken: longer than any case had been open.
const NEVER_DAYS: f64 = 120.0;

/// One application: its events as (day, activity with life cycle, resource).
#[derive(Default)]
struct Case {
    amount: f64,
    events: Vec<(f64, String, Option<String>)>,
    /// Day and outcome of the decision.
    decided: Option<(f64, bool)>,
}

pub(super) fn bpi_2012(folder: &Path) -> Result<DataSet, SuiteError> {
    let (names, columns) = read_csv(&folder.join("bpi-2012/bpi2012_events.derived.csv.gz"), &[])?;
    let at = |name: &str| names.iter().position(|own| own == name).unwrap_or(0);
    let (ids, amounts) = (&columns[at("case_id")], &columns[at("amount_req")]);
    let (activities, cycles) = (&columns[at("activity")], &columns[at("lifecycle")]);
    let (resources, times) = (&columns[at("resource")], &columns[at("timestamp")]);
    let mut cases: BTreeMap<&str, Case> = BTreeMap::new();
    for row in 0..ids.len() {
        let (Some(id), Some(activity)) = (ids[row].as_deref(), activities[row].as_deref()) else {
            continue;
        };
        let Some(day) = times[row].as_deref().and_then(days) else {
            continue;
        };
        let case = cases.entry(id).or_default();
        case.amount = amounts[row]
            .as_deref()
            .and_then(|text| text.parse().ok())
            .unwrap_or(f64::NAN);
        if matches!(activity, "A_APPROVED" | "A_DECLINED" | "A_CANCELLED") {
            case.decided.get_or_insert((day, activity == "A_APPROVED"));
        }
        let step = format!("{activity}/{}", cycles[row].as_deref().unwrap_or_default());
        case.events.push((day, step, resources[row].clone()));
    }
    // Only cases with an offer, undecided fourteen days after the first was sent, and decided later.
    let mut open: Vec<(f64, f64, Case, bool)> = cases
        .into_values()
        .filter_map(|mut case| {
            case.events.sort_by(|a, b| a.0.total_cmp(&b.0));
            let begin = case.events.first()?.0;
            let start = case.events.iter().find(|event| event.1.starts_with("O_SENT/"))?.0;
            let (decided, won) = case.decided?;
            (decided > start + LANDMARK_DAYS).then(|| {
                case.events.retain(|event| event.0 <= start + LANDMARK_DAYS);
                (begin, start, case, won)
            })
        })
        .collect();
    open.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut table = Table {
        won: open.iter().map(|case| case.3).collect(),
        ..Table::default()
    };
    let numbers = |of: &dyn Fn(f64, &Case) -> f64| {
        Column::Numeric(open.iter().map(|(_, start, case, _)| of(*start, case)).collect())
    };
    table.push("amount", numbers(&|_, case| case.amount));
    table.push("events", numbers(&|_, case| case.events.len() as f64));
    table.push(
        "days since the newest event",
        numbers(&|start, case| start + LANDMARK_DAYS - case.events.last().map_or(start, |event| event.0)),
    );
    table.push(
        "people",
        numbers(&|_, case| {
            let people: std::collections::BTreeSet<_> =
                case.events.iter().filter_map(|event| event.2.as_ref()).collect();
            people.len() as f64
        }),
    );
    table.push(
        "events of the newest 3 days",
        numbers(&|start, case| {
            case.events
                .iter()
                .filter(|event| event.0 > start + LANDMARK_DAYS - 3.0)
                .count() as f64
        }),
    );
    table.push(
        "days from start to offer",
        Column::Numeric(open.iter().map(|(begin, start, _, _)| start - begin).collect()),
    );
    table.push("start hour", numbers(&|start, _| start.fract() * 24.0));
    let texts = |of: &dyn Fn(&Case) -> Option<String>| {
        Column::Text(open.iter().map(|(_, _, case, _)| of(case)).collect())
    };
    table.push(
        "newest step",
        texts(&|case| case.events.last().map(|event| event.1.clone())),
    );
    table.push(
        "newest status",
        texts(&|case| {
            case.events
                .iter()
                .rev()
                .find(|event| !event.1.starts_with("W_"))
                .map(|event| event.1.clone())
        }),
    );
    table.push(
        "newest person",
        texts(&|case| case.events.iter().rev().find_map(|event| event.2.clone())),
    );
    let mut steps: Vec<&str> = open
        .iter()
        .flat_map(|case| &case.2.events)
        .map(|event| event.1.as_str())
        .collect();
    steps.sort_unstable();
    steps.dedup();
    for step in steps {
        table.push(
            &format!("count of {step}"),
            numbers(&|_, case| case.events.iter().filter(|event| event.1 == step).count() as f64),
        );
        table.push(
            &format!("days since {step}"),
            numbers(&|start, case| {
                let newest = case.events.iter().rev().find(|event| event.1 == step);
                newest.map_or(NEVER_DAYS, |event| start + LANDMARK_DAYS - event.0)
            }),
        );
    }
    let train = table.won.len() * 7 / 10;
    Ok(DataSet {
        name: "bpi-2012 at 14 days",
        bar: bar(0.770, 0.556, 0.186, 0.038),
        table,
        named_leaks: Vec::new(),
        dropped: Vec::new(),
        train: Some(train),
    })
}
