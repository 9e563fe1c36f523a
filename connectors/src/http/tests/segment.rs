//! The Segment API: what each call becomes, and the habits of SDKs that break ordinary servers.

use axum::http::{Method, Request, StatusCode};
use revgauge_contract::{ErrorKind, Timestamp, event::Reception};
use serde_json::{Value, json};

use super::{NOW, Row, Stage, limits::gzip};
use crate::{
    conformance::{self, Outcome},
    event_names::EventNames,
    http::segment::{Call, judge_for_tests, parse_segment},
};

async fn rows_of(path: &str, body: &Value) -> Vec<Row> {
    let stage = Stage::new();
    let answer = stage.segment(path, body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    stage.memory.rows()
}

#[tokio::test]
async fn track_is_mapped_by_name_and_keeps_what_it_carries() {
    let rows = rows_of(
        "/v1/track",
        &json!({
            "messageId": "m1", "userId": "u1", "event": "Email Opened", "timestamp": "2026-11-20T12:04:00Z",
            "properties": {"campaign_id": "q1", "accountId": "a1", "dealId": 7, "n": null},
            "context": {"ip": "203.0.113.9", "traits": {"email": "Jo@Acme.io"}}, "anonymousId": null,
            "writeKey": "wk_test_123", "flavour": "mint", "integrations": {"All": true}
        }),
    )
    .await;
    let row = &rows[0];
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (
            row.event_id.as_str(),
            row.event_type.as_str(),
            row.source.as_str()
        ),
        ("m1", "email.opened", "segment")
    );
    assert_eq!(
        (row.contact_id.as_deref(), row.email.as_deref()),
        (Some("u1"), Some("jo@acme.io"))
    );
    assert_eq!(
        (
            row.account_id.as_deref(),
            row.deal_id.as_deref(),
            row.domain.as_deref()
        ),
        (Some("a1"), Some("7"), Some("acme.io"))
    );
    assert_eq!(row.payload["_event"], "Email Opened");
    assert_eq!(row.payload["flavour"], "mint");
    assert_eq!(row.payload["_context"]["ip"], "203.0.113.9");
    assert!(
        !row.payload.to_string().contains("wk_test_123"),
        "the write key is not stored"
    );
}

#[tokio::test]
async fn an_unmapped_event_is_custom() {
    let rows = rows_of(
        "/v1/t",
        &json!({"userId": "u", "event": "Order Completed", "properties": null}),
    )
    .await;
    assert_eq!(rows[0].event_type, "custom.order_completed");
}

#[tokio::test]
async fn the_contact_is_user_then_address_then_visitor() {
    for (message, contact_id, email) in [
        (
            json!({"userId": "u1", "properties": {"email": "a@b.io"}}),
            Some("u1"),
            Some("a@b.io"),
        ),
        (json!({"userId": "Jo@Acme.IO"}), None, Some("jo@acme.io")),
        (json!({"userId": 17}), Some("17"), None),
        (
            json!({"userId": null, "anonymousId": "x", "context": {"traits": {"email": "B@acme.io"}}}),
            None,
            Some("b@acme.io"),
        ),
        (json!({"userId": "", "anonymousId": "x"}), Some("anon:x"), None),
        (
            json!({"anonymousId": "x", "properties": {"email": "broken"}}),
            Some("anon:x"),
            None,
        ),
    ] {
        let mut message = message;
        message["event"] = json!("Form Submitted");
        let rows = rows_of("/v1/track", &message).await;
        assert_eq!(
            (rows[0].contact_id.as_deref(), rows[0].email.as_deref()),
            (contact_id, email),
            "{message}"
        );
    }
}

#[tokio::test]
async fn identify_and_group_are_enrichment() {
    let rows = rows_of("/v1/identify", &json!({
        "messageId": "m", "userId": "u1", "anonymousId": "visitor",
        "traits": {"email": "a@acme.io", "firstName": "Ann", "title": "CFO", "company": {"id": "c1", "name": "Acme", "website": "acme.com"}}
    })).await;
    assert_eq!(
        (rows[0].event_type.as_str(), rows[0].kind.as_str()),
        ("person.enriched", "enrichment")
    );
    assert_eq!(
        (
            rows[0].contact_id.as_deref(),
            rows[0].account_id.as_deref(),
            rows[0].domain.as_deref()
        ),
        (Some("u1"), Some("c1"), Some("acme.com"))
    );
    assert_eq!(
        (&rows[0].payload["first_name"], &rows[0].payload["company_name"]),
        (&json!("Ann"), &json!("Acme"))
    );
    assert_eq!(
        (rows[1].event_type.as_str(), rows[1].event_id.as_str()),
        ("contact.merged", "m:anon")
    );
    assert_eq!(
        (rows[1].contact_id.as_deref(), &rows[1].payload["into"]),
        (Some("anon:visitor"), &json!("u1"))
    );

    let rows = rows_of("/v1/group", &json!({
        "messageId": "g", "userId": "u1", "groupId": "acct_1", "traits": {"name": "Acme", "employees": 250, "annualRevenue": 5, "website": "https://www.acme.io"}
    })).await;
    assert_eq!(
        (
            rows[0].event_type.as_str(),
            rows[0].account_id.as_deref(),
            rows[0].domain.as_deref()
        ),
        ("company.enriched", Some("acct_1"), Some("acme.io"))
    );
    assert_eq!(
        (rows[0].contact_id.as_deref(), &rows[0].payload["annual_revenue"]),
        (None, &json!(5))
    );
    assert_eq!(
        (rows[1].event_type.as_str(), rows[1].event_id.as_str()),
        ("person.enriched", "g:member")
    );
    assert_eq!(
        (rows[1].contact_id.as_deref(), rows[1].account_id.as_deref()),
        (Some("u1"), Some("acct_1"))
    );
}

#[tokio::test]
async fn events_beside_have_lasting_ids_whatever_the_length_of_the_message_id() {
    for length in [1, 200, 201, 255] {
        let id = "m".repeat(length);
        let message = json!({"messageId": id, "userId": "u1", "anonymousId": "visitor", "groupId": "acct_1"});
        for path in ["/v1/identify", "/v1/group"] {
            let (first, again) = (rows_of(path, &message).await, rows_of(path, &message).await);
            let ids = |rows: &[Row]| -> Vec<String> { rows.iter().map(|row| row.event_id.clone()).collect() };
            assert_eq!(ids(&first), ids(&again), "{path} {length}");
            assert_eq!(first.len(), 2, "{path} {length}");
            assert_eq!(first[0].event_id, id);
            assert!(first[1].event_id.len() <= 255 && first[1].event_id != id);
        }
    }
}

#[tokio::test]
async fn alias_merges_and_views_are_page_views() {
    let rows = rows_of(
        "/v1/alias",
        &json!({"messageId": "al", "previousId": "old", "userId": "New@Acme.io"}),
    )
    .await;
    assert_eq!(
        (
            rows[0].event_type.as_str(),
            rows[0].contact_id.as_deref(),
            &rows[0].payload["into"]
        ),
        ("contact.merged", Some("old"), &json!("new@acme.io"))
    );
    assert_eq!(
        (rows[1].event_id.as_str(), rows[1].contact_id.as_deref()),
        ("al:anon", Some("anon:old"))
    );
    for (path, name) in [("/v1/page", "Pricing"), ("/v1/screen/", "Home")] {
        let rows = rows_of(path, &json!({"anonymousId": "a", "name": name, "category": "site", "properties": {"url": "https://x.io/p"}})).await;
        assert_eq!(rows[0].event_type, "page.viewed");
        assert_eq!(
            (&rows[0].payload["name"], &rows[0].payload["url"]),
            (&json!(name), &json!("https://x.io/p"))
        );
    }
}

#[tokio::test]
async fn machines_are_tagged_and_numbers_taken() {
    let opened = json!({"userId": "u", "event": "Email Opened", "context": {"userAgent": "Mozilla/5.0"}});
    assert_eq!(rows_of("/v1/track", &opened).await[0].machine_class, "proxy");
    let opened = json!({"userId": "u", "event": "open", "properties": {"sg_machine_open": true}});
    assert_eq!(rows_of("/v1/track", &opened).await[0].machine_class, "proxy");
}

#[tokio::test]
async fn every_address_answers_with_and_without_slash_and_never_redirects() {
    let stage = Stage::new();
    let message =
        json!({"userId": "u", "groupId": "g", "previousId": "p", "event": "e", "type": "track"}).to_string();
    for name in [
        "track", "t", "identify", "i", "page", "p", "screen", "s", "group", "g", "alias", "a",
    ] {
        for path in [format!("/v1/{name}"), format!("/v1/{name}/")] {
            let answer = stage.segment(&path, message.clone()).await;
            assert_eq!(
                (answer.status, answer.text.as_str()),
                (StatusCode::OK, r#"{"success": true}"#),
                "{path}"
            );
        }
    }
    for name in ["batch", "b", "import"] {
        for path in [format!("/v1/{name}"), format!("/v1/{name}/")] {
            let answer = stage.segment(&path, format!(r#"{{"batch":[{message}]}}"#)).await;
            assert_eq!(
                (answer.status, answer.text.as_str()),
                (StatusCode::OK, r#"{"success": true}"#),
                "{path}"
            );
        }
    }
    let get = Request::builder()
        .method(Method::GET)
        .uri("/v1/batch")
        .body(axum::body::Body::empty());
    let answer = stage.send(get.expect("request")).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer.json()["code"].is_string());
}

/// Trap 1: RudderStack's Python SDK takes exactly 200, and reads `code` and `message` of every error.
#[tokio::test]
async fn success_is_exactly_200_and_errors_have_code_and_message() {
    let stage = Stage::new();
    let fine = stage
        .segment(
            "/v1/batch",
            r#"{"batch":[{"type":"track","userId":"u","event":"e"}]}"#,
        )
        .await;
    assert_eq!(
        (fine.status.as_u16(), fine.text.as_str()),
        (200, r#"{"success": true}"#)
    );
    let empty = stage.segment("/v1/batch", r#"{"batch":[]}"#).await;
    assert_eq!(empty.status.as_u16(), 200);
    for body in [
        "{",
        "[]",
        "{}",
        r#"{"batch":3}"#,
        r#"{"batch":[3]}"#,
        r#"{"batch":[{"type":"track"}]}"#,
        r#"{"batch":[{"type":"odd","userId":"u"}]}"#,
    ] {
        let answer = stage.segment("/v1/batch", body).await;
        assert_eq!(answer.status.as_u16(), 400, "{body}");
        let said = answer.json();
        assert!(
            said["code"].is_string() && said["message"].is_string(),
            "{body}: {said}"
        );
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    *stage.memory.failing.lock().expect("lock") = Some(ErrorKind::Limit);
    let full = stage.segment("/v1/track", r#"{"userId":"u","event":"e"}"#).await;
    assert_eq!(
        (full.status.as_u16(), full.header("retry-after")),
        (429, Some("1"))
    );
    assert!(full.json()["code"].is_string() && full.json()["message"].is_string());
}

/// Trap 2: RudderStack's Node SDK labels gzipped JSON as a form.
#[tokio::test]
async fn gzip_labelled_as_a_form_is_read() {
    let stage = Stage::new();
    let body = r#"{"batch":[{"type":"track","messageId":"m","userId":"u","event":"Email Opened"}]}"#;
    let headers = [
        ("authorization", "Basic d2tfcnVkZGVyOg=="),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-encoding", "gzip"),
    ];
    let answer = stage.call("/v1/batch", &headers, gzip(body.as_bytes())).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(stage.memory.rows()[0].event_type, "email.opened");
    let headers = [("x-api-key", "rg_key"), ("content-type", "text/plain")];
    assert_eq!(
        stage.call("/v1/batch", &headers, body).await.status,
        StatusCode::OK
    );
}

/// SDKs resend a whole batch with the same message ids but a fresh `sentAt`.
#[tokio::test]
async fn a_retry_is_the_same_events() {
    let stage = Stage::new();
    for (sent_at, later_us) in [("2026-11-20T12:04:29Z", 0), ("2026-11-20T12:04:36Z", 8_000_000)] {
        stage.clock.advance(later_us);
        let body = json!({"sentAt": sent_at, "batch": [
            {"type": "track", "messageId": "m1", "userId": "u", "event": "Email Opened", "timestamp": "2026-01-02T03:04:05.678+00:00"},
            {"type": "identify", "messageId": "m2", "userId": "u", "anonymousId": "v", "timestamp": "2026-11-20T12:04:28Z"}
        ]});
        assert_eq!(
            stage.segment("/v1/batch", body.to_string()).await.status,
            StatusCode::OK
        );
    }
    let rows = stage.memory.rows();
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[..3], rows[3..]);
}

#[tokio::test]
async fn a_clock_that_is_far_off_is_corrected() {
    for (message, expected) in [
        // Ten minutes fast: sent at 12:14:30 by its own clock, received at 12:04:30.
        (
            json!({"timestamp": "2026-11-20T12:14:00Z", "sentAt": "2026-11-20T12:14:30Z"}),
            NOW.plus_micros(-30_000_000),
        ),
        (
            json!({"originalTimestamp": "2026-11-20T11:00:00Z", "sentAt": "2026-11-20T11:00:30Z"}),
            NOW.plus_micros(-30_000_000),
        ),
        // Within the tolerance its own time holds.
        (
            json!({"timestamp": "2026-11-20T12:04:00Z", "sentAt": "2026-11-20T12:04:25Z"}),
            NOW.plus_micros(-30_000_000),
        ),
        // Already corrected by whoever forwards it.
        (
            json!({"timestamp": "2026-11-20T12:04:00Z", "originalTimestamp": "2026-11-19T00:00:00Z", "sentAt": "2026-11-19T00:00:01Z"}),
            NOW.plus_micros(-30_000_000),
        ),
        (
            json!({"timestamp": "2026-11-20T12:04:00Z"}),
            NOW.plus_micros(-30_000_000),
        ),
        (json!({"sentAt": "2026-11-19T00:00:01Z"}), NOW),
        (
            json!({"timestamp": 1_795_176_240_000_i64, "sentAt": "nonsense"}),
            NOW.plus_micros(-30_000_000),
        ),
    ] {
        let mut full = message.clone();
        full["userId"] = json!("u");
        full["event"] = json!("e");
        let rows = rows_of("/v1/track", &full).await;
        assert_eq!(rows[0].event_time, expected, "{message}");
    }
    assert_eq!(NOW, "2026-11-20T12:04:30Z".parse::<Timestamp>().expect("time"));
}

/// SDKs read no status per event: a batch of which anything was taken succeeds, the rest is kept as dead letters.
#[tokio::test]
async fn a_partly_refused_batch_succeeds_and_keeps_the_refused() {
    let stage = Stage::new();
    let bad =
        r#"{"type":"track","messageId":"m2","userId":"u","event":"e","timestamp":"2031-01-01T00:00:00Z"}"#;
    let body = format!(r#"{{"batch":[{{"type":"track","messageId":"m1","userId":"u","event":"e"}},{bad}]}}"#);
    let answer = stage.segment("/v1/batch", body).await;
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (StatusCode::OK, r#"{"success": true}"#)
    );
    assert_eq!(stage.memory.rows().len(), 1);
    let letters = stage.memory.letters();
    assert_eq!(
        (
            letters.len(),
            letters[0].refusal.code.as_str(),
            letters[0].body.as_str()
        ),
        (1, "time_too_far_ahead", bad)
    );
    assert_eq!(letters[0].source, "segment");
}

#[tokio::test]
async fn the_write_key_may_come_in_the_body_and_stays_out_of_dead_letters() {
    let stage = Stage::new();
    let fine = r#"{"writeKey":"wk_test_123","userId":"u","event":"e"}"#;
    assert_eq!(stage.call("/v1/track", &[], fine).await.status, StatusCode::OK);
    let bad = r#"{"writeKey":"wk_test_123","event":"e"}"#;
    assert_eq!(
        stage.call("/v1/track", &[], bad).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        stage.memory.letters()[0].body,
        r#"{"writeKey":"***","event":"e"}"#
    );
    let unknown = r#"{"writeKey":"nobody","userId":"u","event":"e"}"#;
    assert_eq!(
        stage.call("/v1/track", &[], unknown).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        stage.call("/v1/track", &[], "{broken").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn bodies_of_500_kb_are_taken() {
    let stage = Stage::new();
    let filler = "x".repeat(30_000);
    let batch: Vec<Value> = (0..17)
        .map(|n| json!({"type": "track", "messageId": format!("m{n}"), "userId": "u", "event": "e", "properties": {"filler": filler}}))
        .collect();
    let body = json!({ "batch": batch }).to_string();
    assert!(body.len() > 500_000);
    assert_eq!(stage.segment("/v1/batch", body).await.status, StatusCode::OK);
    assert_eq!(stage.memory.rows().len(), 17);
}

#[tokio::test]
async fn a_dead_letter_can_be_read_again() {
    let stage = Stage::new();
    let early = r#"{"messageId":"m1","previousId":"old","userId":"u","timestamp":"1980-01-01T00:00:00Z"}"#;
    assert_eq!(
        stage.segment("/v1/alias", early).await.status,
        StatusCode::BAD_REQUEST
    );
    let letter = stage.memory.letters().swap_remove(0);
    let names = EventNames::shipped();
    let reception = || Reception::live("acme".into(), NOW, "segment");
    let again = parse_segment(reception(), &names, letter.body.as_bytes(), 10).expect("few");
    assert_eq!(
        (again.batch.is_none(), again.refused[0].code.as_str()),
        (true, "time_too_early")
    );
    let mended = letter.body.replace("1980", "2026");
    let mended = parse_segment(reception(), &names, mended.as_bytes(), 10).expect("few");
    assert_eq!(
        (mended.batch.map(|batch| batch.num_rows()), mended.refused.len()),
        (Some(2), 0)
    );
}

#[test]
fn the_segment_door_conforms() {
    let judge = |call: Call, body: &[u8]| -> Vec<Outcome> {
        let reception = Reception::live("acme".into(), NOW, "segment");
        judge_for_tests(reception, &EventNames::shipped(), call, body)
    };
    let track = json!({"type": "track", "userId": "u", "event": "Email Opened", "timestamp": "2026-01-02T03:04:05Z", "properties": {"a": [1, null]}});
    let identify = json!({"type": "identify", "messageId": "i", "userId": "u", "anonymousId": "v", "traits": {"email": "a@b.io"}});
    let batch = json!({"batch": [track, identify], "sentAt": null, "writeKey": "k"}).to_string();
    conformance::check(
        &|body| judge(Call::Batch, body),
        &[batch.as_bytes()],
        &[b"{}", b"{\"batch\":[{}]}", b"nope"],
    );
    conformance::check(
        &|body| judge(Call::Track, body),
        &[track.to_string().as_bytes()],
        &[b"{}", b"[]", b"\xff"],
    );
}
