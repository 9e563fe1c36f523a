//! An erasure on a real store: a needle in every field and place, then a scan of every byte that is stored.

use axum::{
    body::{Body, to_bytes},
    http::{Request as HttpRequest, StatusCode},
};
use revgauge_contract::models::{HeldOut, ModelTarget};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::{
    doors::operator_key,
    model_registry::{ModelRegistry, StoredModel},
};

const ADDRESS: &str = "needle.person@acme.example";
const ID: &str = "needle-contact-1";
const PHONE: &str = "+49-NEEDLE-555";

async fn post(node: &Node, path: &str, body: &str) -> (StatusCode, String) {
    call(node, HttpRequest::post(path), body).await
}

async fn call(node: &Node, request: axum::http::request::Builder, body: &str) -> (StatusCode, String) {
    let key = operator_key(node.operator_secret(), "acme");
    let request = request
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .expect("request");
    let response = node.router().oneshot(request).await.expect("infallible");
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 1 << 24).await.expect("body");
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

fn event(id: &str, kind: &str, rest: Value) -> Value {
    let mut event = json!({"event_id": id, "type": kind, "event_time": "2026-01-05T10:00:00Z"});
    if let (Some(members), Value::Object(rest)) = (event.as_object_mut(), rest) {
        members.extend(rest);
    }
    event
}

fn events() -> Value {
    let own = |id: &str, kind: &str, payload: Value| {
        event(
            id,
            kind,
            json!({"contact_id": ID, "email": ADDRESS, "deal_id": "d1", "account_id": "a1", "payload": payload}),
        )
    };
    json!([
        event(
            "o1",
            "contact.upserted",
            json!({"contact_id": ID, "email": ADDRESS, "payload": {
                "name": "Needle Person", "email": ADDRESS, "mobile_phone": PHONE, "title": "CFO", "account_id": "a1", "owner_id": "u1",
            }})
        ),
        event(
            "o2",
            "contact.upserted",
            json!({"contact_id": "other-contact", "email": "other@acme.example", "payload": {
                "name": "Needle Person", "email": "other@acme.example", "account_id": "a1", "owner_id": "u1",
            }})
        ),
        event(
            "o3",
            "account.upserted",
            json!({"account_id": "a1", "payload": {"name": "Acme", "domain": "acme.example"}})
        ),
        event(
            "o4",
            "deal.upserted",
            json!({"deal_id": "d1", "payload": {
                "name": "Deal", "account_id": "a1", "contact_id": ID, "amount": 1000, "stage": "proposal",
                "next_step": format!("write to {ADDRESS}"),
            }})
        ),
        event(
            "o5",
            "role.upserted",
            json!({"deal_id": "d1", "contact_id": ID, "payload": {"role": "Champion"}})
        ),
        own("e1", "email.replied", json!({"subject": "hi", "from": ADDRESS})),
        own(
            "needle-contact-1-e2",
            "email.clicked",
            json!({"url": format!("https://x.example/?u={ADDRESS}")})
        ),
        event(
            "e3",
            "transcript.recorded",
            json!({"deal_id": "d1", "user_id": "u1", "payload": {
                "consent": true, "segments": [{"role": "rep", "text": format!("Needle Person said call {PHONE} or {ADDRESS}")}],
            }})
        ),
        event(
            "e4",
            "email.replied",
            json!({"contact_id": "other-contact", "deal_id": "d1", "payload": {
                "cc": [ADDRESS.to_uppercase()], "text": "with Needle Person",
            }})
        ),
    ])
}

/// What is stored and names the person here, by the folder it is in. What is in memory alone (caches, results to be fetched
/// later, training sets) ends with the process, and an erasure is carried out while none runs.
const PLACES: [&str; 10] = [
    "lake/events/",
    "lake/score_changes/",
    "journal/events/",
    "journal/feed/",
    "checkpoints/",
    "dead-letters/",
    "audit/",
    "access/users-",
    "reports/saved/",
    "models/",
];

/// Waits until the person is scored, and the change in the feed and its table.
async fn scored(node: &Node) {
    let asked = format!("select count(*) > 0 as told from score_changes where entity_id = '{ID}'");
    let started = std::time::Instant::now();
    loop {
        let (_, rows) = post(node, "/v1/sql", &json!({"sql": asked}).to_string()).await;
        if rows.contains("\"told\":true") {
            return;
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "never scored: {rows}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Names the person where people name people: a look-up in the audit log, a user, a saved report.
async fn name_in_documents(node: &Node) {
    let (status, text) = call(node, HttpRequest::get(format!("/v1/contacts/{ADDRESS}")), "").await;
    assert!(status.is_success(), "{status} {text}");
    let user = json!({"login": ADDRESS, "password": "a long enough one", "role": "revops"});
    let (status, text) = post(node, "/v1/users", &user.to_string()).await;
    assert!(status.is_success(), "{status} {text}");
    let sql = format!("select * from events where email = '{ADDRESS}' or contact_id = '{ID}'");
    let saved = json!({"title": format!("mails of {PHONE}"), "sql": sql});
    let (status, text) = post(node, "/v1/saved-reports", &saved.to_string()).await;
    assert!(status.is_success(), "{status} {text}");
}

/// A model whose card names the person.
async fn train_with(store: &Arc<dyn ObjectStore>) {
    let model = StoredModel {
        target: ModelTarget::Deals,
        version: 0,
        trained_at: Timestamp(1),
        horizon_days: 0.0,
        held_out: HeldOut {
            rows: 1,
            log_loss: 0.5,
            calibration_error: 0.0,
            auc: 0.5,
            base_rate_log_loss: 0.5,
        },
        signal: false,
        model: Arc::new(revgauge_models::win::WinModel {
            artifact: None,
            cold: revgauge_models::win::NaiveBayes::default(),
            hazard: None,
        }),
        card: json!({"note": format!("best for {ADDRESS}")}),
        held: Vec::new(),
        sha256: String::new(),
    };
    let registry = ModelRegistry::new(Arc::clone(store));
    registry.add("acme", model).await.expect("stored");
}

fn request() -> Request {
    Request {
        tenant_id: "acme".to_owned(),
        subject: ADDRESS.to_owned(),
        also: Vec::new(),
        requested_at: SystemClock.now(),
        requested_by: "operator".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_erasure_no_byte_of_the_person_is_stored() {
    let folder = tempfile::tempdir().expect("folder");
    let mut settings = Settings::default();
    settings.store.url = folder.path().join("data").display().to_string();
    let grace = Duration::from_secs(30);
    // A server, for commands do not score: feed and `score_changes` are to name the person too.
    let node = Box::pin(Node::open(&settings, Purpose::Serve))
        .await
        .expect("opens");
    let (status, text) = post(&node, "/v1/events", &events().to_string()).await;
    assert!(status.is_success(), "{status} {text}");
    scored(&node).await;
    // A refused event is kept with its bytes.
    let refused = json!([{"event_id": "bad", "event_time": "soon", "email": ADDRESS}]);
    post(&node, "/v1/events", &refused.to_string()).await;
    name_in_documents(&node).await;
    Box::pin(node.close(grace)).await.expect("closes");

    let store = revgauge_store::open(&settings.store.url, &settings.store.options)
        .await
        .expect("opens")
        .store;
    let delivered = Path::from("reports/files/acme/r1/2026-01-06T000000Z.csv");
    let file = format!("contact_id,name,email\n{ID},Needle Person,{ADDRESS}\n");
    store.put(&delivered, file.into()).await.expect("delivered");
    train_with(&store).await;
    let needles = [ADDRESS, ID, PHONE].map(str::to_lowercase);
    let before = scan(store.as_ref(), &needles).await.expect("scans").found;
    for place in PLACES {
        assert!(
            before.iter().any(|path| path.starts_with(place)),
            "nothing in {place}: {before:?}"
        );
    }

    let report = Box::pin(erase(&settings, &request())).await.expect("erased");
    assert!(report.lake_rows_removed >= 4, "{report:?}");
    assert_eq!(report.dead_letters, 1, "{report:?}");
    let after = scan(store.as_ref(), &needles).await.expect("scans");
    assert_eq!(after.found, Vec::<String>::new());
    assert!(
        after.objects > 5 && report.objects_scanned > 5,
        "{after:?} {report:?}"
    );
    // The very bytes on the disk, read without our store.
    assert_eq!(raw_hits(folder.path(), &needles), Vec::<String>::new());

    // A file of rows goes whole: its name was in no other field than the person's own. The model still serves.
    assert!(matches!(
        store.head(&delivered).await,
        Err(object_store::Error::NotFound { .. })
    ));
    let model = ModelRegistry::new(Arc::clone(&store))
        .read("acme", ModelTarget::Deals, 1)
        .await
        .expect("its checksum is that of what it holds now");
    assert_eq!(model.card["note"], "best for erased");

    // What is left works, and the others are whole.
    let node = Box::pin(Node::open(&settings, Purpose::Command))
        .await
        .expect("opens");
    let (status, rows) = post(
        &node,
        "/v1/sql",
        &json!({"sql": "select contact_id, name, email from contacts order by 1"}).to_string(),
    )
    .await;
    assert!(status.is_success(), "{rows}");
    assert!(
        rows.contains("other-contact") && rows.contains("Needle Person"),
        "the namesake stays: {rows}"
    );
    assert!(!rows.contains(ID), "{rows}");
    let (_, rows) = post(
        &node,
        "/v1/sql",
        &json!({"sql": "select count(*) n from events"}).to_string(),
    )
    .await;
    assert!(rows.contains("\"n\":5"), "{rows}");
    // Events still come in.
    let (status, text) = post(
        &node,
        "/v1/events",
        &json!([event(
            "n1",
            "email.replied",
            json!({"contact_id": "other-contact"})
        )])
        .to_string(),
    )
    .await;
    assert!(status.is_success(), "{status} {text}");
    Box::pin(node.close(grace)).await.expect("closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_past_their_retention_go_and_their_events_stay() {
    let folder = tempfile::tempdir().expect("folder");
    let mut settings = Settings::default();
    settings.store.url = folder.path().join("data").display().to_string();
    let node = Box::pin(Node::open(&settings, Purpose::Command))
        .await
        .expect("opens");
    let said = |id: &str, at: Timestamp, text: &str| {
        let payload = json!({"consent": true, "text": text});
        json!({"event_id": id, "type": "transcript.recorded", "event_time": at, "deal_id": "d1", "payload": payload})
    };
    let now = SystemClock.now();
    let events = json!([
        said("old", now.plus_micros(-400 * DAY_US), "words-of-old"),
        said("new", now.plus_micros(-DAY_US), "words-of-new"),
    ]);
    let (status, text) = post(&node, "/v1/events?history=true", &events.to_string()).await;
    assert!(status.is_success(), "{status} {text}");
    Box::pin(node.close(Duration::from_secs(30)))
        .await
        .expect("closes");
    let store = revgauge_store::open(&settings.store.url, &settings.store.options)
        .await
        .expect("opens")
        .store;
    // A store that was never looked through begins to count.
    assert_eq!(Box::pin(run_when_due(&settings)).await.expect("looked"), None);
    let mark = Path::from("privacy/texts.json");
    let last = json!({"done_at": now.plus_micros(-8 * DAY_US)}).to_string();
    store.put(&mark, last.into()).await.expect("put");
    // Nobody tells it to: a start finds that a round is due.
    let done = Box::pin(run_when_due(&settings)).await.expect("done");
    assert!(done.is_some_and(|done| done.lake_files_rewritten > 0), "{done:?}");
    assert_eq!(Box::pin(run_when_due(&settings)).await.expect("looked"), None);
    let wait = until_round(&settings)
        .await
        .expect("looked")
        .expect("a next round");
    assert!(
        wait > Duration::from_secs(6 * 86_400) && wait < Duration::from_secs(9 * 86_400),
        "{wait:?}"
    );
    let store = revgauge_store::open(&settings.store.url, &settings.store.options)
        .await
        .expect("opens")
        .store;
    let found = async |text: &str| {
        scan(store.as_ref(), &[text.to_owned()])
            .await
            .expect("scans")
            .found
    };
    assert_eq!(found("words-of-old").await, Vec::<String>::new());
    assert!(!found("words-of-new").await.is_empty());
    let again = Box::pin(expire_texts(&settings)).await.expect("done");
    assert_eq!((again.lake_files_rewritten, again.journal_objects), (0, 0));
}

fn raw_hits(folder: &std::path::Path, needles: &[String]) -> Vec<String> {
    let mut hits = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("lists") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).expect("reads");
            let text = String::from_utf8_lossy(&bytes).to_lowercase();
            if needles.iter().any(|needle| text.contains(needle)) {
                hits.push(path.display().to_string());
            }
        }
    }
    hits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_the_next_start() {
    let folder = tempfile::tempdir().expect("folder");
    let mut settings = Settings::default();
    settings.store.url = folder.path().join("data").display().to_string();
    let node = Box::pin(Node::open(&settings, Purpose::Command))
        .await
        .expect("opens");
    post(&node, "/v1/events", &events().to_string()).await;
    let body = json!({"subject": ADDRESS}).to_string();
    let (status, text) = post(&node, "/v1/privacy/erasures", &body).await;
    assert!(status.is_success(), "{status} {text}");
    Box::pin(node.close(Duration::from_secs(30)))
        .await
        .expect("closes");
    Box::pin(run_waiting(&settings)).await.expect("carried out");
    assert_eq!(
        raw_hits(folder.path(), &[ADDRESS.to_owned(), ID.to_owned()]),
        Vec::<String>::new()
    );
    let store = revgauge_store::open(&settings.store.url, &settings.store.options)
        .await
        .expect("opens")
        .store;
    assert_eq!(waiting(store.as_ref()).await.expect("lists"), []);
    assert_eq!(reports(store.as_ref(), "acme").await.expect("lists").len(), 1);
    assert_eq!(reports(store.as_ref(), "other").await.expect("lists").len(), 0);
}
