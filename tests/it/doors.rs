//! The doors of the real executable: what is refused, what is kept, what a restart changes.

use serde_json::{Value, json};

use crate::process::{Process, TENANT, run};

fn events(lines: &[Value]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| [serde_json::to_vec(line).expect("JSON"), b"\n".to_vec()].concat())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_judged_alone_and_a_refused_one_waits_in_dead_letters() {
    let folder = tempfile::tempdir().expect("folder");
    let process = Process::start(folder.path(), &[]);
    let body = events(&[
        json!({"event_id": "a", "type": "email.replied", "email": "jo@acme.io", "extra": 7}),
        json!({"event_id": "b", "type": "email.replied"}),
        json!({"event_id": "c", "type": "email.opened", "email": "jo@acme.io", "event_time": "2999-01-01"}),
        json!({"event_id": "d", "type": "made.up", "email": "jo@acme.io"}),
    ]);
    let (status, answer) = process
        .post("/v1/events", "application/x-ndjson", body)
        .await
        .expect("answered");
    assert_eq!(
        (status, &answer["accepted"], &answer["refused"]),
        (207, &json!(2), &json!(2)),
        "{answer}"
    );
    let (status, letters) = process.get("/v1/dead-letters").await;
    assert_eq!(status, 200);
    let codes: Vec<_> = letters["items"]
        .as_array()
        .expect("letters")
        .iter()
        .map(|l| l["refusal"]["code"].clone())
        .collect();
    assert!(
        codes.contains(&json!("missing_subject")) && codes.contains(&json!("time_too_far_ahead")),
        "{codes:?}"
    );
    let kept = process
        .sql("SELECT payload FROM events WHERE event_id = 'a'")
        .await;
    assert!(
        kept[0]["payload"].as_str().expect("text").contains("extra"),
        "{kept:?}"
    );
    let (status, answer) = process
        .post("/v1/events", "application/json", b"{\"type\": ".to_vec())
        .await
        .expect("answered");
    assert_eq!(status, 400, "{answer}");
    process.stop();
}

/// Name, value and parts of each score; the fingerprint also covers the tier before, which the feed may have moved.
fn values(answer: &Value) -> Vec<(Value, Value, Value)> {
    let scores = answer["scores"].as_array().expect("scores");
    scores
        .iter()
        .map(|score| {
            (
                score["name"].clone(),
                score["value"].clone(),
                score["contributions"].clone(),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_changes_no_answer_and_another_tenant_sees_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let process = Process::start(folder.path(), &[]);
    let body = events(&[
        json!({"event_id": "a", "type": "email.replied", "email": "jo@acme.io", "event_time": "2026-11-01T09:00:00Z"}),
        json!({"event_id": "b", "type": "contact.upserted", "contact_id": "c1", "email": "jo@acme.io",
               "payload": {"name": "Jo", "title": "VP of Sales"}}),
    ]);
    let (status, answer) = process
        .post("/v1/events", "application/x-ndjson", body)
        .await
        .expect("answered");
    assert_eq!(status, 200, "{answer}");
    // Decay to an instant ahead, so that both answers are for the same one.
    let at = "?at=2100-01-01T00:00:00Z";
    let (status, before) = process.get(&format!("/v1/contacts/c1/scores{at}")).await;
    assert_eq!(status, 200, "{before}");
    process.stop();
    let process = Process::start(folder.path(), &[]);
    let (status, after) = process.get(&format!("/v1/contacts/jo@acme.io/scores{at}")).await;
    assert_eq!(status, 200, "{after}");
    assert_eq!(values(&after), values(&before), "by address, after a restart");
    let stranger = process.key.replace(TENANT, "other");
    let mut other = process;
    other.key = stranger;
    assert_eq!(other.number("SELECT count(*) FROM events").await, 0);
    assert_eq!(other.get("/v1/contacts/c1/scores").await.0, 404);
    other.key = "rg_live_nobody".to_owned();
    assert_eq!(other.get("/v1/contacts").await.0, 401);
    other.stop();
}

#[test]
fn commands_open_the_store_themselves_when_no_server_runs() {
    let folder = tempfile::tempdir().expect("folder");
    let key = run(folder.path(), &["keys", "create", "--role", "admin"]);
    assert!(
        key.status.success() && String::from_utf8_lossy(&key.stdout).starts_with("rg_"),
        "{key:?}"
    );
    let events = folder.path().join("events.ndjson");
    std::fs::write(
        &events,
        "{\"event_id\":\"a\",\"type\":\"email.replied\",\"email\":\"jo@acme.io\"}\n",
    )
    .expect("written");
    let imported = run(folder.path(), &["import", events.to_str().expect("path")]);
    assert!(imported.status.success(), "{imported:?}");
    let counted = run(
        folder.path(),
        &["--json", "query", "SELECT count(*) AS n FROM events"],
    );
    assert!(
        String::from_utf8_lossy(&counted.stdout)
            .replace(' ', "")
            .contains("\"n\":1"),
        "{counted:?}"
    );
    let verified = run(folder.path(), &["pipelines", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
    let broken = run(folder.path(), &["query", "SELECT nonsense FROM events"]);
    assert!(!broken.status.success());
    assert!(
        String::from_utf8_lossy(&broken.stderr).contains("nonsense"),
        "{broken:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn verification_holds_while_events_arrive() {
    let folder = tempfile::tempdir().expect("folder");
    let process = std::sync::Arc::new(Process::start(folder.path(), &[]));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let senders = (0..4).map(|sender| {
        let (process, stop) = (std::sync::Arc::clone(&process), std::sync::Arc::clone(&stop));
        tokio::spawn(async move {
            let mut sent = 0_u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let id = format!("{sender}-{sent}");
                let body = events(&[json!({"event_id": id, "type": "email.replied", "email": "jo@acme.io"})]);
                let answer = process.post("/v1/events", "application/x-ndjson", body).await;
                assert_eq!(answer.expect("answered").0, 200);
                sent += 1;
            }
            sent
        })
    });
    let senders: Vec<_> = senders.collect();
    for _ in 0..3 {
        let (status, answer) = process
            .post("/v1/pipelines/verify", "application/json", b"null".to_vec())
            .await
            .expect("answered");
        assert_eq!(status, 200, "{answer}");
        let reports = answer["items"].as_array().expect("reports");
        assert!(reports.iter().all(|report| report["differing"] == 0), "{answer}");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for sender in senders {
        assert!(sender.await.expect("sent") > 3, "events arrived meanwhile");
    }
}

#[test]
fn a_new_definition_comes_into_force_is_recorded_and_the_past_keeps_its_own() {
    let folder = tempfile::tempdir().expect("folder");
    let definitions = folder.path().join("definitions");
    std::fs::create_dir_all(&definitions).expect("folder");
    let setting = [(
        "REVGAUGE__DEFINITIONS__FOLDER",
        definitions.to_str().expect("path"),
    )];
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(async {
        let process = Process::start(folder.path(), &setting);
        let body = events(&[
            json!({"event_id": "a", "type": "email.replied", "email": "jo@acme.io", "event_time": "2026-11-01T09:00:00Z"}),
        ]);
        assert_eq!(process.post("/v1/events", "application/json", body).await.expect("answered").0, 200);
        process.eventually("SELECT count(*) FROM score_changes WHERE score = 'engagement'", 1).await;
        let before = process.sql("SELECT max(known_at) + INTERVAL '1 millisecond' AS t FROM events").await;
        let before = before[0]["t"].as_str().expect("an instant").to_owned();
        let shipped = run(folder.path(), &["definitions", "show", "engagement"]).stdout;
        let dearer = String::from_utf8(shipped).expect("text").replacen("saturation = ", "saturation = 1", 1);
        let file = definitions.join("engagement.toml");
        std::fs::write(&file, dearer.replacen("weight = ", "weigth = ", 1)).expect("written");
        let hang_up = |process: &Process| {
            let pid = process.pid().to_string();
            assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().expect("kill").success());
        };
        // A broken file changes nothing.
        hang_up(&process);
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let stays = "SELECT count(*) FROM definition_history WHERE name = 'engagement'";
        assert_eq!(process.number(stays).await, 1);
        std::fs::write(&file, dearer).expect("written");
        hang_up(&process);
        process.eventually(stays, 2).await;
        let caused = "SELECT count(*) FROM score_changes WHERE score = 'engagement' AND cause = 'definition'";
        process.eventually(caused, 1).await;
        let made_by = async |as_of: &str| -> (Value, f64) {
            let at = "at=2026-11-02T00:00:00Z";
            let (status, answer) = process.get(&format!("/v1/contacts/jo@acme.io/scores?{at}{as_of}")).await;
            assert_eq!(status, 200, "{answer}");
            let scores = answer["scores"].as_array().expect("scores");
            let score = scores.iter().find(|score| score["name"] == "engagement").expect("scored");
            (score["definition"].clone(), score["value"].as_f64().expect("a value"))
        };
        let (now, then) = (made_by("").await, made_by(&format!("&as_of={before}")).await);
        assert!(now.0 != then.0 && now.1 < then.1, "{now:?} {then:?}");
        process.stop();
        // And after a restart.
        let process = Process::start(folder.path(), &setting);
        assert_eq!(process.number(stays).await, 2);
        process.stop();
    });
    let history = run(folder.path(), &["definitions", "history", "engagement"]);
    let told = String::from_utf8_lossy(&history.stdout).into_owned();
    assert_eq!(told.matches("engagement@1+").count(), 2, "{told}");
    let diff = run(
        folder.path(),
        &["definitions", "diff", "engagement", "--from", "2026-01-01"],
    );
    let told = String::from_utf8_lossy(&diff.stdout).into_owned();
    assert!(
        diff.status.success() && told.contains("nothing is different"),
        "the first against the shipped: {told}"
    );
}

#[test]
fn contacts_of_the_same_priority_have_one_order_at_every_door() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("replies.ndjson");
    // One account, so one priority; who answered twice comes first, equals go by id.
    let lines: Vec<Value> = ["m1", "z1", "a1", "z2"]
        .iter()
        .map(|id| {
            json!({"event_id": id, "type": "email.replied", "email": format!("{}@acme.io", &id[..1]),
                   "event_time": "2026-10-01T09:00:00Z"})
        })
        .collect();
    std::fs::write(&file, events(&lines)).expect("written");
    let imported = run(folder.path(), &["import", file.to_str().expect("path")]);
    assert!(imported.status.success(), "{imported:?}");
    for arguments in [
        &["--json", "scores", "contact"][..],
        &[
            "--json",
            "query",
            "SELECT entity_id, value FROM report_leads_to_call",
        ],
    ] {
        let told = run(folder.path(), arguments);
        let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
        let rows = told.as_array().or(told["rows"].as_array()).expect("rows");
        let ids: Vec<_> = rows.iter().filter_map(|row| row["entity_id"].as_str()).collect();
        assert_eq!(ids, ["z@acme.io", "a@acme.io", "m@acme.io"], "{arguments:?}");
        assert!(
            rows.iter().all(|row| row["value"] == rows[0]["value"]),
            "{rows:?}"
        );
    }
}

/// A mapping of one file of deals.
const MAPPING: &str = r#"
description = "deals of a test"
source = "test"
[[table]]
file = "deals"
emit = "deal.upserted"
event.deal_id = { from = "id", required = true }
event.event_time = { from = "at", required = true }
payload.amount = { from = "amount", type = "number" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn rows_a_mapping_refuses_are_kept_by_the_running_server_with_file_line_and_reason() {
    let folder = tempfile::tempdir().expect("folder");
    let process = Process::start(folder.path(), &[]);
    let mapping = folder.path().join("deals.toml");
    std::fs::write(&mapping, MAPPING).expect("written");
    let deals = folder.path().join("deals.csv");
    std::fs::write(&deals, "id,amount,at\nd1,100,2026-11-01\nd2,much,2026-11-02\n").expect("written");
    let path = |path: &std::path::Path| path.to_str().expect("path").to_owned();
    let imported = run(
        folder.path(),
        &["import", "--mapping", &path(&mapping), &path(&deals)],
    );
    assert!(imported.status.success(), "{imported:?}");
    assert_eq!(process.number("SELECT count(*) FROM deals").await, 1);
    let (_, letters) = process.get("/v1/dead-letters").await;
    let letter = &letters["items"][0];
    assert!(
        letter["source"]
            .as_str()
            .expect("source")
            .ends_with("deals.csv:3")
            && letter["body"]
                .as_str()
                .expect("body")
                .contains(r#""amount":"much""#)
            && letter["refusal"]["field"] == "amount",
        "{letters} after {}",
        String::from_utf8_lossy(&imported.stdout)
    );
    process.stop();
}

#[test]
fn the_demo_tells_its_story_as_json() {
    let folder = tempfile::tempdir().expect("folder");
    let told = run(
        folder.path(),
        &["--json", "demo", "--once", "--accounts", "20", "--days", "60"],
    );
    assert!(told.status.success(), "{told:?}");
    let story: Value = serde_json::from_slice(&told.stdout).expect("one JSON document");
    let sections = story["story"].as_array().expect("sections");
    assert_eq!(sections.len(), 12, "{story:#}");
    for section in sections {
        // The model is trained by a request, not asked for by SQL.
        if section["rest"]
            .as_str()
            .is_some_and(|rest| rest.contains("/train"))
        {
            assert_eq!(section["model"]["entry"]["version"], json!(1), "{section:#}");
            continue;
        }
        let rows = section["rows"].as_array().map_or(&[][..], Vec::as_slice);
        let forecast = section["forecast"]["methods"].as_array();
        assert!(section["sql"].is_string(), "{section:#}");
        assert!(
            !rows.is_empty() || forecast.is_some_and(|methods| !methods.is_empty()),
            "{section:#}"
        );
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for arguments in [
        &["simulate", "--accounts", "20", "--days", "60"][..],
        &["definitions", "list"],
    ] {
        let mut child = std::process::Command::new(crate::process::REVGAUGE)
            .args(arguments)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the executable starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("ended");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}
