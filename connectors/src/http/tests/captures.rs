//! Replays what the real SDKs sent, byte for byte.

use std::{collections::BTreeSet, io::Read, path::PathBuf};

use axum::http::{Request, StatusCode};

use revgauge_contract::Timestamp;

use super::{Row, Stage};

/// The raw requests of one capture folder, in order; `None`, said aloud, where the captures are not at hand.
fn captured(folder: &str) -> Option<Vec<Vec<u8>>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/clients/captures")
        .join(folder);
    let Ok(entries) = std::fs::read_dir(&root) else {
        eprintln!("skipped: no captures at {}", root.display());
        return None;
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "raw"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no requests in {}", root.display());
    Some(
        paths
            .iter()
            .map(|path| std::fs::read(path).expect("readable"))
            .collect(),
    )
}

fn request(raw: &[u8]) -> Request<axum::body::Body> {
    let end = raw
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let head = std::str::from_utf8(&raw[..end]).expect("ascii");
    let mut lines = head.split("\r\n");
    let mut first = lines.next().expect("request line").split(' ');
    let mut request = Request::builder()
        .method(first.next().expect("method"))
        .uri(first.next().expect("path"));
    for line in lines {
        let (name, value) = line.split_once(':').expect("header");
        request = request.header(name, value.trim());
    }
    request.body(raw[end + 4..].to_vec().into()).expect("request")
}

/// When the SDK says it sent the request: the clock stands a moment later, as it did.
fn sent_at(raw: &[u8]) -> Timestamp {
    let end = raw
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head")
        + 4;
    let mut body = raw[end..].to_vec();
    if body.starts_with(&[0x1f, 0x8b]) {
        body.clear();
        let read = flate2::read::MultiGzDecoder::new(&raw[end..]).read_to_end(&mut body);
        assert!(read.is_ok(), "gzip");
    }
    let body: serde_json::Value = serde_json::from_slice(&body).expect("json");
    let sent = body["sentAt"]
        .as_str()
        .unwrap_or_else(|| body["batch"][0]["timestamp"].as_str().expect("a time"));
    sent.parse().expect("a time")
}

/// Replays a folder on a fresh stage; every request must succeed exactly.
async fn replay(folder: &str) -> Option<Vec<Row>> {
    let stage = Stage::new();
    for raw in captured(folder)? {
        stage.clock.set(sent_at(&raw).plus_micros(40_000));
        let answer = stage.send(request(&raw)).await;
        assert_eq!(answer.status, StatusCode::OK, "{folder}: {}", answer.text);
        assert_eq!(answer.text, r#"{"success": true}"#, "{folder}");
    }
    assert!(
        stage.memory.letters().is_empty(),
        "{folder}: {:?}",
        stage.memory.letters()
    );
    Some(stage.memory.rows())
}

fn types(rows: &[Row]) -> BTreeSet<&str> {
    rows.iter().map(|row| row.event_type.as_str()).collect()
}

#[tokio::test]
async fn the_segment_sdks_are_understood() {
    for folder in ["segment-python", "segment-python-gzip", "segment-node"] {
        let Some(rows) = replay(folder).await else { return };
        let expected = [
            "company.enriched",
            "email.opened",
            "form.submitted",
            "page.viewed",
            "person.enriched",
        ];
        for event_type in expected {
            assert!(
                types(&rows).contains(event_type),
                "{folder} lacks {event_type}: {:?}",
                types(&rows)
            );
        }
        let opened = rows
            .iter()
            .find(|row| row.event_type == "email.opened")
            .expect("opened");
        assert_eq!(opened.contact_id.as_deref(), Some("u1"));
        assert_eq!(
            opened.event_time,
            "2026-01-02T03:04:05.678Z".parse().expect("time")
        );
        assert_eq!(opened.payload["campaign_id"], "q1");
        let form = rows
            .iter()
            .find(|row| row.event_type == "form.submitted")
            .expect("form");
        // The Python run put an address into the context's traits, the Node run did not.
        let expected = if folder == "segment-node" {
            (Some("anon:anon-1"), None)
        } else {
            (None, Some("b@acme.io"))
        };
        assert_eq!(
            (form.contact_id.as_deref(), form.email.as_deref()),
            expected,
            "{folder}"
        );
        assert!(rows.iter().all(|row| row.tenant_id == "acme"));
    }
}

#[tokio::test]
async fn the_rudderstack_sdks_are_understood() {
    for folder in ["rudder-python", "rudder-node"] {
        let Some(rows) = replay(folder).await else { return };
        let expected = BTreeSet::from(["company.enriched", "email.opened", "person.enriched"]);
        assert_eq!(types(&rows), expected, "{folder}");
        let person = rows
            .iter()
            .find(|row| row.event_type == "person.enriched")
            .expect("person");
        assert_eq!(
            (person.contact_id.as_deref(), person.email.as_deref()),
            (Some("u1"), Some("a@acme.io")),
            "{folder}"
        );
        assert_eq!(
            person.payload["email"], "a@acme.io",
            "traits in the context count: {folder}"
        );
    }
}

/// Every resend of the retry runs brings the same ids, and apart from receipt the same events.
#[tokio::test]
async fn every_resend_is_the_same_events() {
    let folders = [
        "retry-rudderpy-202",
        "retry-rudderpy-429",
        "retry-ruddernode-503",
        "retry-ruddernode-429",
        "retry-segnode-429",
        "retry-segnode-503",
        "retry-segnode-drop",
        "retry-segpy-429",
        "retry-segpy-429ra2",
        "retry-segpy-503",
        "retry-segpy-503x",
        "retry-segpy-drop",
    ];
    for folder in folders {
        let Some(requests) = captured(folder) else { return };
        let deliveries = requests.len();
        let rows = replay(folder).await.expect("captured");
        let distinct: BTreeSet<String> = rows.iter().map(|row| format!("{row:?}")).collect();
        let ids: BTreeSet<&str> = rows.iter().map(|row| row.event_id.as_str()).collect();
        assert_eq!(distinct.len(), ids.len(), "{folder}: a resend differs");
        assert!(
            deliveries < 2 || ids.len() < rows.len(),
            "{folder}: nothing was resent in {deliveries} deliveries"
        );
    }
}

/// A sender that never hears our answer sends everything again: what identify and group say beside their own event is
/// recognised too, for its id comes from the `messageId`. Within the tolerance for clocks the copies are equal in every field;
/// one that comes later looks like a clock that lags, so its time moves, but not its ids: the first delivery is the one kept.
#[tokio::test]
async fn every_message_delivered_twice_is_the_same_events() {
    for folder in ["segment-python", "segment-node", "rudder-python", "rudder-node"] {
        let Some(requests) = captured(folder) else { return };
        let stage = Stage::new();
        let mut after_each = Vec::new();
        for delay_us in [40_000, 20_000_000, 90_000_000] {
            for raw in &requests {
                stage.clock.set(sent_at(raw).plus_micros(delay_us));
                assert_eq!(stage.send(request(raw)).await.status, StatusCode::OK, "{folder}");
            }
            after_each.push(stage.memory.rows());
        }
        let rows = &after_each[2];
        let once = after_each[0].len();
        assert_eq!(
            (after_each[1].len(), rows.len()),
            (2 * once, 3 * once),
            "{folder}"
        );
        let distinct: BTreeSet<String> = after_each[1].iter().map(|row| format!("{row:?}")).collect();
        let ids: BTreeSet<&str> = rows.iter().map(|row| row.event_id.as_str()).collect();
        assert_eq!((distinct.len(), ids.len()), (once, once), "{folder}");
        let beside = |ending: &str| ids.iter().any(|id| id.ends_with(ending));
        assert!(beside(":member"), "{folder}: group says who is a member: {ids:?}");
    }
}
