//! A model's life through the real doors: trained from history, shown in scores and SQL, rolled back, refused when changed.

use revgauge_contract::Timestamp;
use serde_json::{Value, json};

use crate::process::{Process, run};

const DAY_US: i64 = 86_400_000_000;
/// 2025-01-01.
const START_US: i64 = 1_735_689_600_000_000;
/// One forest and no fits that only probe: this test is about the doors.
const LIGHT: &[(&str, &str)] = &[
    ("REVGAUGE__MODELS__FORESTS", "1"),
    ("REVGAUGE__MODELS__PROBE_ROWS", "0"),
];

/// Deals of a year, one every second day; partners' deals are won, most others lost. The last is open.
fn history() -> Vec<u8> {
    let mut body = Vec::new();
    for deal in 0..150_i64 {
        let id = format!("d{deal:03}");
        let born = START_US + deal * 2 * DAY_US;
        let partner = deal % 2 == 0;
        let won = if partner { deal % 10 != 0 } else { deal % 9 == 0 };
        let mut say = |at: i64, fields: Value| {
            let event = json!({
                "event_id": format!("{id}-{at}"), "type": "deal.upserted", "deal_id": id,
                "event_time": Timestamp(at).to_string(), "payload": fields,
            });
            body.extend_from_slice(format!("{event}\n").as_bytes());
        };
        let source = if partner { "partner" } else { "web" };
        say(
            born,
            json!({"stage": "Discovery", "amount": 1000 + deal, "source": source}),
        );
        if deal < 149 {
            let stage = if won { "Closed Won" } else { "Closed Lost" };
            say(born + 20 * DAY_US, json!({"stage": stage}));
        }
    }
    body
}

async fn ask(process: &Process, path: &str, body: Value) -> (u16, Value) {
    let body = serde_json::to_vec(&body).expect("JSON");
    process
        .post(path, "application/json", body)
        .await
        .expect("answered")
}

/// The win probability of the open deal, where it has one.
async fn chance(process: &Process) -> Option<Value> {
    let (status, answer) = process.get("/v1/deals/d149/scores").await;
    assert_eq!(status, 200, "{answer}");
    let scores = answer["scores"].as_array().expect("scores");
    scores
        .iter()
        .find(|score| score["name"] == "win_probability")
        .cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_trained_served_rolled_back_and_refused_when_changed() {
    let folder = tempfile::tempdir().expect("folder");
    let process = Process::start(folder.path(), LIGHT);
    let (status, answer) = ask(&process, "/v1/models/deals/train", json!({})).await;
    assert_eq!(status, 400, "nothing ended: {answer}");
    let path = "/v1/events?verbose=false&history=true";
    let sent = process.post(path, "application/x-ndjson", history()).await;
    assert_eq!(sent.expect("answered").0, 200);
    assert!(chance(&process).await.is_none(), "no model, no number");

    let (status, answer) = ask(&process, "/v1/models/deals/train", json!({"promote": true})).await;
    assert_eq!(status, 200, "{answer}");
    let entry = &answer["trained"]["entry"];
    assert_eq!(
        (&entry["version"], &entry["standing"]),
        (&json!(1), &json!("serving")),
        "{answer}"
    );
    assert_eq!(entry["signal"], json!(true), "{answer}");
    let first = chance(&process).await.expect("a number");
    let value = first["value"].as_f64().expect("a value");
    assert!((0.01..0.5).contains(&value), "a deal of the web: {first}");
    let facts = &first["facts"];
    let parts = facts["log_odds_parts"].as_object().expect("parts");
    let sum: f64 = parts.values().filter_map(Value::as_f64).sum();
    let log_odds = facts["log_odds"].as_f64().expect("log-odds");
    assert!((sum + facts["log_odds_base"].as_f64().expect("a base") - log_odds).abs() < 1e-9);
    assert!((1.0 / (1.0 + (-log_odds).exp()) - value).abs() < 1e-12);
    assert!(
        first["definition"]
            .as_str()
            .expect("a maker")
            .starts_with("win@1+")
    );
    let rows = process
        .sql("SELECT value FROM scores WHERE score = 'win_probability' AND value IS NOT NULL")
        .await;
    assert_eq!(rows.len(), 1, "closed deals are unscored: {rows:?}");

    let (status, card) = process.get("/v1/models/deals/card").await;
    assert_eq!(status, 200, "{card}");
    let markdown = card["card"]["markdown"].as_str().expect("Markdown");
    assert!(
        markdown.contains("## Probes for leaks") && markdown.contains("field:source"),
        "{markdown}"
    );

    // A second version as a shadow, then as the serving one, then no more.
    let (status, answer) = ask(&process, "/v1/models/deals/train", json!({"horizon_days": 45})).await;
    assert_eq!(
        (status, &answer["trained"]["entry"]["version"]),
        (200, &json!(2)),
        "{answer}"
    );
    assert_eq!(
        ask(&process, "/v1/models/deals/shadow", json!({"version": 2}))
            .await
            .0,
        200
    );
    let shadowed = chance(&process).await.expect("a number");
    assert_eq!(
        shadowed["facts"]["shadow"]["model_version"],
        json!(2),
        "{shadowed}"
    );
    let (status, compared) = process.get("/v1/models/deals/compare?from=1&to=2").await;
    assert_eq!(status, 200, "{compared}");
    let (status, drift) = process.get("/v1/models/deals/drift").await;
    assert_eq!((status, &drift["drift"]["alarms"]), (200, &json!([])), "{drift}");
    let promote = json!({"version": 2, "even_if_worse": true});
    assert_eq!(ask(&process, "/v1/models/deals/promote", promote).await.0, 200);
    let second = chance(&process).await.expect("a number");
    assert_eq!(second["facts"]["model_version"], json!(2));
    assert_eq!(ask(&process, "/v1/models/deals/rollback", json!({})).await.0, 200);
    let back = chance(&process).await.expect("a number");
    assert_eq!(back["definition"], first["definition"]);
    assert_eq!(ask(&process, "/v1/models/deals/rollback", json!({})).await.0, 400);
    process.stop();

    // The decisions survive a restart; a changed model does not serve, and the server starts all the same.
    let listed = run(folder.path(), &["models", "list"]);
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.contains("serving") && text.contains("shadow"), "{text}");
    let stored = find(folder.path(), "1.json");
    let text = std::fs::read_to_string(&stored).expect("the stored model");
    std::fs::write(&stored, text.replacen("\"bias\":", "\"bias\":1", 1)).expect("written");
    let refused = run(folder.path(), &["models", "card", "deals"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("changed after training"),
        "{said}"
    );
    let process = Process::start(folder.path(), LIGHT);
    assert!(chance(&process).await.is_none());
    process.stop();
}

/// Contacts of 480 days, one every third day; heads of purchasing come into a deal after a month, most students never do.
fn leads() -> Vec<u8> {
    let mut body = Vec::new();
    for lead in 0..160_i64 {
        let id = format!("c{lead:03}");
        let born = START_US + lead * 3 * DAY_US;
        let head = lead % 2 == 0;
        let converts = if head { lead % 10 != 0 } else { lead % 9 == 0 };
        let title = if head { "Head of Purchasing" } else { "Student" };
        let mut say = |what: &str, at: i64, event: Value| {
            let mut event = event;
            event["event_id"] = json!(format!("{id}-{what}"));
            event["event_time"] = json!(Timestamp(at).to_string());
            body.extend_from_slice(format!("{event}\n").as_bytes());
        };
        let fields = json!({"title": title, "email": format!("{id}@example.com")});
        say(
            "known",
            born,
            json!({"type": "contact.upserted", "contact_id": id, "payload": fields}),
        );
        if converts {
            let fields = json!({"stage": "Discovery", "contact_id": id});
            let deal_id = format!("deal-of-{id}");
            say(
                "deal",
                born + 30 * DAY_US,
                json!({"type": "deal.upserted", "deal_id": deal_id, "payload": fields}),
            );
        }
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_leads_gives_each_its_chance_of_a_deal_within_ninety_days() {
    let folder = tempfile::tempdir().expect("folder");
    let process = Process::start(folder.path(), LIGHT);
    let path = "/v1/events?verbose=false&history=true";
    let sent = process.post(path, "application/x-ndjson", leads()).await;
    assert_eq!(sent.expect("answered").0, 200);
    // Asked for as soon as the events are acknowledged: the training waits until they are in the live state, which it reads.
    let (status, answer) = ask(&process, "/v1/models/leads/train", json!({"promote": true})).await;
    assert_eq!(status, 200, "{answer}");
    let (status, refused) = ask(&process, "/v1/models/leads/train", json!({"horizon_days": 30})).await;
    assert_eq!(status, 400, "the horizon of leads is stated: {refused}");
    assert_eq!(answer["trained"]["entry"]["signal"], json!(true), "{answer}");
    let chance = async |id: &str| -> Value {
        let (status, answer) = process.get(&format!("/v1/contacts/{id}/scores")).await;
        assert_eq!(status, 200, "{answer}");
        let scores = answer["scores"].as_array().expect("scores");
        let found = scores
            .iter()
            .find(|score| score["name"] == "conversion_probability");
        found.cloned().expect("a chance")
    };
    // A head of purchasing and a student, neither in a deal yet.
    let (head, student) = (chance("c150").await, chance("c151").await);
    let value = |score: &Value| score["value"].as_f64().expect("a value");
    assert!(value(&head) > 2.0 * value(&student), "{head} {student}");
    assert_eq!(head["facts"]["horizon_days"], json!(90.0), "{head}");
    let in_deal = chance("c002").await;
    assert!(in_deal["value"].is_null(), "{in_deal}");
    let rows = process
        .sql("SELECT value FROM scores WHERE score = 'conversion_probability' AND value IS NOT NULL")
        .await;
    assert!(rows.len() > 60, "every lead in no deal: {}", rows.len());
    let (status, drift) = process.get("/v1/models/leads/drift").await;
    assert_eq!(status, 200, "{drift}");
    process.stop();
}

/// The stored model below the folder of models, whatever the tenant is called.
fn find(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let tenants = std::fs::read_dir(folder.join("models")).expect("models");
    tenants
        .filter_map(Result::ok)
        .map(|tenant| tenant.path().join("deals").join(name))
        .find(|path| path.is_file())
        .expect("a stored model")
}
