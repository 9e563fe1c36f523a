//! J-1, L-1 and P-1 on the real process: killed at random instants under load, every acknowledged event is there once.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use revgauge_contract::invariant::Invariant;

use crate::process::Process;

/// Instants in an ordinary test run; `REVGAUGE_CRASHES` asks for more.
const CRASHES: usize = 5;
const WRITERS: usize = 3;
const BATCH: u64 = 40;

fn body(first: u64) -> Vec<u8> {
    let mut body = Vec::new();
    for id in first..first + BATCH {
        let contact = id % 97;
        let kind = ["email.opened", "email.replied", "page.viewed"][(id % 3) as usize];
        let line = serde_json::json!({"event_id": format!("e{id}"), "type": kind, "email": format!("p{contact}@c{}.com", contact % 11)});
        body.extend(serde_json::to_vec(&line).expect("JSON"));
        body.push(b'\n');
    }
    body
}

/// Batches by the id of their first event: those that were sent in vain, and the next new one.
#[derive(Default)]
struct Work {
    again: Vec<u64>,
    next: u64,
    no_more: bool,
}

impl Work {
    fn take(&mut self) -> Option<u64> {
        self.again.pop().or_else(|| {
            let first = self.next;
            (!self.no_more).then(|| {
                self.next += BATCH;
                first
            })
        })
    }
}

/// Sends batches until the process is gone; batches not acknowledged are sent again by the next round.
async fn load(process: Arc<Process>, work: Arc<Mutex<Work>>, acknowledged: Arc<Mutex<HashSet<u64>>>) {
    loop {
        let Some(first) = work.lock().expect("lock").take() else {
            return;
        };
        match process
            .post("/v1/events", "application/x-ndjson", body(first))
            .await
        {
            Ok((200, _)) => drop(acknowledged.lock().expect("lock").insert(first)),
            _ => {
                work.lock().expect("lock").again.push(first);
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_instants_it_keeps_every_acknowledged_event_once() {
    let crashes = std::env::var("REVGAUGE_CRASHES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(CRASHES);
    let folder = tempfile::tempdir().expect("folder");
    let mut random = StdRng::seed_from_u64(7);
    let work = Arc::new(Mutex::new(Work::default()));
    let acknowledged = Arc::new(Mutex::new(HashSet::new()));
    let quick = [
        ("REVGAUGE__LAKE__COMMIT_INTERVAL_MS", "300"),
        ("REVGAUGE__PIPELINES__CHECKPOINT_INTERVAL_MS", "400"),
        ("REVGAUGE__SERVER__SCORING_CHECKPOINT_INTERVAL_MS", "700"),
    ];
    for crash in 0..crashes {
        let process = Arc::new(Process::start(folder.path(), &quick));
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                tokio::spawn(load(
                    Arc::clone(&process),
                    Arc::clone(&work),
                    Arc::clone(&acknowledged),
                ))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(random.random_range(20..1500))).await;
        let pid = process.pid();
        assert!(
            std::process::Command::new("kill")
                .args(["-9", &pid.to_string()])
                .status()
                .expect("kill")
                .success()
        );
        for writer in writers {
            writer.await.expect("writer");
        }
        Arc::into_inner(process).expect("no writer holds it").wait();
        eprintln!(
            "crash {}: {} batches acknowledged",
            crash + 1,
            acknowledged.lock().expect("lock").len()
        );
    }
    let process = Arc::new(Process::start(folder.path(), &quick));
    let held = acknowledged.lock().expect("lock").clone();
    let found = process
        .sql("SELECT DISTINCT event_id FROM events LIMIT 1000000")
        .await;
    let found: HashSet<&str> = found
        .iter()
        .map(|row| row["event_id"].as_str().expect("id"))
        .collect();
    for first in &held {
        for id in *first..first + BATCH {
            let there = found.contains(format!("e{id}").as_str());
            assert!(
                Invariant::AcknowledgedIsDurable.check(there, format!("e{id} was acknowledged and is gone"))
            );
        }
    }
    work.lock().expect("lock").no_more = true;
    load(Arc::clone(&process), Arc::clone(&work), Arc::clone(&acknowledged)).await;
    let (left, next) = {
        let work = work.lock().expect("lock");
        (work.again.len(), work.next)
    };
    assert_eq!(left, 0);
    let all = i64::try_from(next).expect("small");
    assert_eq!(
        process.number("SELECT count(*) FROM events").await,
        all,
        "{}",
        Invariant::PositionInLakeOnce.code()
    );
    assert_eq!(
        process
            .number("SELECT count(DISTINCT event_id) FROM events")
            .await,
        all
    );
    assert_eq!(
        process.number("SELECT sum(n) FROM contact_engagement").await,
        all,
        "{}",
        Invariant::OrderFree.code()
    );
    let scored = "SELECT count(*) FROM scores WHERE entity_kind = 'contact' AND score = 'engagement' AND value IS NOT NULL";
    process.eventually(scored, 97).await;
    let in_feed = "SELECT count(DISTINCT entity_id) FROM score_changes WHERE entity_kind = 'contact' AND score = 'engagement'";
    process.eventually(in_feed, 97).await;
    let answer = process
        .post("/v1/pipelines/verify", "application/json", b"null".to_vec())
        .await
        .expect("answered");
    for report in answer.1["items"].as_array().expect("reports") {
        assert_eq!(
            report["differing"],
            0,
            "{}: {report}",
            Invariant::IncrementalEqualsBatch.code()
        );
    }
    Arc::into_inner(process).expect("alone").stop();
}

/// A supervisor may stop a server that has only just said that it listens: that is a stop like any other.
#[test]
fn a_stop_right_after_the_start_is_orderly() {
    let folder = tempfile::tempdir().expect("folder");
    for _ in 0..3 {
        Process::start(folder.path(), &[]).stop();
    }
}
