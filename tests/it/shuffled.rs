//! P-1 on the real process: a shuffled, duplicated stream through HTTP gives the tables of the sorted one.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use revgauge_connectors::generator::{GeneratorConfig, Organisation};
use revgauge_contract::{event::EventDraft, invariant::Invariant, time::DAY_US};
use serde_json::Value;

use crate::process::Process;

fn organisation() -> Vec<EventDraft> {
    let config = GeneratorConfig {
        accounts: 25,
        days: 60,
        ..GeneratorConfig::default()
    };
    let mut organisation = Organisation::new(config).expect("valid");
    std::iter::from_fn(|| organisation.next_day()).flatten().collect()
}

async fn send(process: &Process, drafts: &[EventDraft]) {
    for batch in drafts.chunks(500) {
        let mut body = Vec::new();
        for draft in batch {
            serde_json::to_writer(&mut body, draft).expect("JSON");
            body.push(b'\n');
        }
        let path = "/v1/events?verbose=false&history=true";
        let (status, answer) = process
            .post(path, "application/x-ndjson", body)
            .await
            .expect("answered");
        assert_eq!(status, 200, "{answer}");
    }
}

/// A table without receipt times, by its text and integer columns; floats apart.
async fn table(process: &Process, name: &str) -> BTreeMap<String, Vec<f64>> {
    let mut rows = BTreeMap::new();
    for row in process.sql(&format!("SELECT * FROM {name} LIMIT 1000000")).await {
        let (mut key, mut floats) = (String::new(), Vec::new());
        for (column, value) in row.as_object().expect("object") {
            match value {
                _ if column == "known_at" || column.contains("ingested") => {}
                Value::Number(number) if column.starts_with("s_") || column.starts_with("value") => {
                    floats.push(number.as_f64().expect("number"));
                }
                other => key.push_str(&format!("{column}={other};")),
            }
        }
        rows.insert(key, floats);
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn shuffled_and_duplicated_events_give_the_same_tables() {
    let sorted = organisation();
    let mut random = StdRng::seed_from_u64(3);
    let mut late: Vec<(i64, EventDraft)> = Vec::new();
    for draft in &sorted {
        let at = draft.event_time.expect("time").micros();
        late.push((at + random.random_range(0..3 * DAY_US), draft.clone()));
        if random.random_bool(0.05) {
            late.push((at + random.random_range(0..3 * DAY_US), draft.clone()));
        }
    }
    late.shuffle(&mut random);
    late.sort_by_key(|(arrival, _)| arrival / DAY_US);
    let late: Vec<EventDraft> = late.into_iter().map(|(_, draft)| draft).collect();
    let (one, two) = (
        tempfile::tempdir().expect("folder"),
        tempfile::tempdir().expect("folder"),
    );
    let (plain, shuffled) = (Process::start(one.path(), &[]), Process::start(two.path(), &[]));
    send(&plain, &sorted).await;
    send(&shuffled, &late).await;
    for name in [
        "contact_engagement",
        "contact_rhythm",
        "account_signals",
        "deal_activity",
        "deal_contacts",
        "rep_activity",
        "crm_state",
        "deal_history",
    ] {
        let (a, b) = (table(&plain, name).await, table(&shuffled, name).await);
        assert!(!a.is_empty(), "{name} is empty");
        let same = a.len() == b.len()
            && a.iter().all(|(key, floats)| {
                b.get(key).is_some_and(|other| {
                    floats
                        .iter()
                        .zip(other)
                        .all(|(x, y)| (x - y).abs() <= 1e-9 * x.abs().max(y.abs()))
                })
            });
        assert!(Invariant::OrderFree.check(same, name));
    }
    plain.stop();
    shuffled.stop();
}
