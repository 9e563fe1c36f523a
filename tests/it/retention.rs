//! A round of retention on the real executable: a running server closes its doors, takes old words off the disk, and serves on.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use revgauge_contract::{
    Clock as _, Timestamp,
    time::{DAY_US, SystemClock},
};
use serde_json::{Value, json};

use crate::{
    compat::copy,
    process::{Process, TENANT, run},
};

const HOUR_US: i64 = DAY_US / 24;
/// From the first start to the round: time enough to start on a slow machine, for a round that is due already is done
/// before the doors open.
const AHEAD_US: i64 = 15_000_000;

fn said(id: &str, at: Timestamp) -> Value {
    let payload = json!({"consent": true, "text": format!("words of {id}")});
    json!({"event_id": id, "type": "transcript.recorded", "event_time": at, "deal_id": "d1", "payload": payload})
}

async fn send(process: &Process, events: &Value) {
    let body = serde_json::to_vec(events).expect("JSON");
    let (status, answer) = process
        .post("/v1/events?history=true", "application/json", body)
        .await
        .expect("answered");
    assert_eq!(status, 200, "{answer}");
}

/// What `privacy retain` finds to do on a store at rest: lake files and journal objects rewritten.
fn retain(store: &Path) -> (Value, Value) {
    let done = run(store, &["--json", "privacy", "retain"]);
    assert!(done.status.success(), "{done:?}");
    let done: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    (
        done["lake_files_rewritten"].clone(),
        done["journal_objects"].clone(),
    )
}

/// The operator key of the server that runs on a store; each start has its own.
fn operator_key(store: &Path) -> Option<String> {
    let bytes = fs::read(store.join("run/server.json")).ok()?;
    let running: Value = serde_json::from_slice(&bytes).ok()?;
    Some(format!(
        "rg_operator_{}_{TENANT}",
        running["operator_secret"].as_str()?
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_begins_again_after_a_round_and_serves_on() {
    let store = tempfile::tempdir().expect("folder");
    let now = SystemClock.now();
    let process = Process::start(store.path(), &[]);
    let both = json!([
        said("old", now.plus_micros(-400 * DAY_US)),
        said("new", now.plus_micros(-DAY_US))
    ]);
    send(&process, &both).await;
    process.eventually("SELECT count(*) FROM events", 2).await;
    process.stop();
    // There is something to take: on a copy, a round by hand takes it.
    let twin = tempfile::tempdir().expect("folder");
    copy(store.path(), twin.path());
    assert!(
        retain(twin.path()).0.as_u64() > Some(0),
        "nothing is past its time"
    );

    let due = SystemClock.now().plus_micros(AHEAD_US);
    let mark = json!({"done_at": due.plus_micros(-HOUR_US)});
    let mark = serde_json::to_vec(&mark).expect("JSON");
    fs::write(store.path().join("privacy/texts.json"), mark).expect("written");
    let quiet_hour = (due.micros().rem_euclid(DAY_US) / HOUR_US).to_string();
    let mut process = Process::start(
        store.path(),
        &[
            ("REVGAUGE__PRIVACY__TEXT_ROUNDS_EVERY_HOURS", "1"),
            ("REVGAUGE__PRIVACY__QUIET_HOUR_UTC", &quiet_hour),
        ],
    );
    let first = process.key.clone();
    assert_eq!(
        process.number("SELECT count(*) FROM events").await,
        2,
        "it serves before the round"
    );
    // The same process, at the same address, with a new operator's key: it has begun again.
    let started = Instant::now();
    loop {
        if let Some(key) = operator_key(store.path()).filter(|key| *key != first) {
            process.key = key;
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(90), "no round was made");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    send(&process, &json!([said("after", SystemClock.now())])).await;
    process.eventually("SELECT count(*) FROM events", 3).await;
    process.stop();
    assert_eq!(
        retain(store.path()),
        (json!(0), json!(0)),
        "the round has left nothing to take"
    );
}
