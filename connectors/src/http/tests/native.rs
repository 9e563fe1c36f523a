//! `POST /v1/events`: what is taken, what is refused, and what the answer says.

use axum::http::StatusCode;
use proptest::prelude::*;
use revgauge_contract::{ErrorKind, Timestamp, event::Reception};
use serde_json::{Value, json};

use super::{NOW, Stage};
use crate::{
    conformance::{self, Outcome},
    http::{native::judge_all, sheet::Sheet},
};

fn opened(id: &str) -> String {
    format!(
        r#"{{"event_id":"{id}","type":"email.opened","email":"Jo@Acme.io","event_time":"2026-11-20T09:00:00Z"}}"#
    )
}

#[tokio::test]
async fn one_object_an_array_and_lines_are_all_taken() {
    let pretty =
        "\u{feff}\n{\n  \"event_id\": \"e1\",\n  \"type\": \"email.opened\",\n  \"email\": \"a@b.io\"\n}\n";
    let array = format!(" [{},\n {}]", opened("e1"), opened("e2"));
    let lines = format!("{}\r\n\n  {}\n", opened("e1"), opened("e2"));
    for (body, count) in [(opened("e1"), 1), (pretty.to_owned(), 1), (array, 2), (lines, 2)] {
        let stage = Stage::new();
        let answer = stage.events(body.clone()).await;
        assert_eq!(answer.status, StatusCode::OK, "{body}: {}", answer.text);
        let said = answer.json();
        assert_eq!(
            (&said["accepted"], &said["refused"], &said["position"]),
            (&json!(count), &json!(0), &json!(1))
        );
        let verdicts = said["events"].as_array().expect("list");
        assert_eq!(verdicts.len(), count);
        assert_eq!(
            verdicts[count - 1],
            json!({"index": count - 1, "event_id": format!("e{count}"), "status": "accepted"})
        );
        assert_eq!(stage.memory.rows().len(), count);
    }
}

#[tokio::test]
async fn every_field_and_alias_finds_its_column() {
    let stage = Stage::new();
    let body = json!({
        "messageId": "m1", "type": "call.completed", "kind": "Engagement", "timestamp": 1_795_000_000,
        "source": "aircall", "account_id": 42, "contact_id": "c\u{e9}", "deal_id": "d1", "user_id": "rep",
        "email": "Jo@Acme.io", "domain": "https://www.acme.co.uk/x", "direction": "Outbound",
        "machine_class": null, "value": 61.5, "payload": {"topic": "price"}, "colour": "red", "topic": "late",
        "tenant_id": "other", "occurred_at": "2026-01-01"
    });
    let answer = stage.events(body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let row = &stage.memory.rows()[0];
    assert_eq!(row.tenant_id, "acme", "the tenant is the key's");
    assert_eq!(row.event_id, "m1");
    assert_eq!(row.event_time, Timestamp(1_795_000_000_000_000));
    assert_eq!(row.account_id.as_deref(), Some("42"));
    assert_eq!(row.contact_id.as_deref(), Some("c\u{e9}"));
    assert_eq!(row.email.as_deref(), Some("jo@acme.io"));
    assert_eq!(row.domain.as_deref(), Some("acme.co.uk"));
    let kept = json!({
        "topic": "price", "_envelope_topic": "late", "colour": "red", "tenant_id": "other", "occurred_at": "2026-01-01"
    });
    assert_eq!(row.payload, kept);
}

#[tokio::test]
async fn epoch_times_are_told_apart_by_size() {
    for (number, micros) in [
        ("1795000000", 1_795_000_000_000_000_i64),
        ("1795000000.25", 1_795_000_000_250_000),
        ("1795000000123", 1_795_000_000_123_000),
        ("1795000000123456", 1_795_000_000_123_456),
        ("1.795e9", 1_795_000_000_000_000),
    ] {
        let stage = Stage::new();
        let body = format!(r#"{{"type":"page.viewed","contact_id":"c","event_time":{number}}}"#);
        assert_eq!(stage.events(body).await.status, StatusCode::OK, "{number}");
        assert_eq!(stage.memory.rows()[0].event_time, Timestamp(micros), "{number}");
    }
}

#[tokio::test]
async fn a_mixed_body_is_207_and_the_refused_become_dead_letters_with_their_bytes() {
    let stage = Stage::new();
    let bad = r#"{"event_id":"e2","type":"email.opened"}"#;
    let broken = r#"{"event_id":"e3", oops}"#;
    let body = format!("{}\n{bad}\n{broken}\n{}", opened("e1"), opened("e4"));
    let answer = stage.events(body).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    let said = answer.json();
    assert_eq!((&said["accepted"], &said["refused"]), (&json!(2), &json!(2)));
    assert_eq!(said["events"][1]["code"], "missing_subject");
    assert_eq!(said["events"][1]["event_id"], "e2");
    let verdict = &said["events"][2];
    assert_eq!(
        (&verdict["code"], &verdict["line"], &verdict["column"]),
        (&json!("malformed_json"), &json!(3), &json!(19))
    );
    let line_start = opened("e1").len() + bad.len() + 2;
    assert_eq!(verdict["byte"], json!(line_start + 18));
    let letters = stage.memory.letters();
    assert_eq!(letters.len(), 2);
    assert_eq!(
        (letters[0].body.as_str(), letters[1].body.as_str()),
        (bad, broken)
    );
    assert_eq!(
        (letters[0].tenant_id.as_str(), letters[0].source.as_str()),
        ("acme", "http")
    );
    assert_eq!(letters[0].refused_at, NOW);
}

#[tokio::test]
async fn malformed_bodies_are_400_with_the_place() {
    for (body, line, column) in [
        (b"{\"type\": }".to_vec(), 1, 10),
        (b"nonsense".to_vec(), 1, 2),
        (
            b"[{\"type\":\"email.opened\",\"email\":\"a@b.io\"},\n{]".to_vec(),
            2,
            2,
        ),
        (b"{\n \"type\": 1,\n \"x\": [1,}\n}".to_vec(), 3, 10),
        (b"{\"type\":\"email.opened\",\"email\":\"a@b.io\"".to_vec(), 1, 39),
        (b"{\"type\":\"a\xff\"}".to_vec(), 1, 11),
    ] {
        let stage = Stage::new();
        let shown = String::from_utf8_lossy(&body).into_owned();
        let answer = stage.events(body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{shown}");
        let verdict = answer.json()["events"][0].clone();
        assert_eq!(verdict["code"], "malformed_json", "{shown}: {verdict}");
        assert_eq!(
            (&verdict["line"], &verdict["column"]),
            (&json!(line), &json!(column)),
            "{shown}: {verdict}"
        );
        assert_eq!(stage.memory.letters().len(), 1);
        assert!(stage.memory.rows().is_empty());
    }
}

#[tokio::test]
async fn bytes_that_are_no_utf8_cost_only_their_line() {
    let stage = Stage::new();
    let mut body = opened("e1").into_bytes();
    body.extend_from_slice(b"\n{\"type\":\"\xff\xfe\"}\n");
    body.extend_from_slice(opened("e2").as_bytes());
    assert_eq!(stage.events(body).await.status, StatusCode::MULTI_STATUS);
    assert_eq!(stage.memory.rows().len(), 2);
    let letter = &stage.memory.letters()[0];
    assert!(letter.body_is_base64);
    assert_eq!(letter.body, "eyJ0eXBlIjoi//4ifQ==");
}

#[tokio::test]
async fn each_fault_has_its_code() {
    let long = "x".repeat(300);
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let cases = [
        (r#"{"email":"a@b.io"}"#.to_owned(), "missing_type"),
        (r#"{"type":5,"email":"a@b.io"}"#.to_owned(), "wrong_type"),
        (
            r#"{"type":"email.opened","email":["a"]}"#.to_owned(),
            "wrong_type",
        ),
        (
            r#"{"type":"email.opened","contact_id":{"a":1}}"#.to_owned(),
            "wrong_type",
        ),
        (
            r#"{"type":"email.opened","contact_id":1.5}"#.to_owned(),
            "wrong_type",
        ),
        (
            r#"{"type":"email.opened","contact_id":"c","value":"7"}"#.to_owned(),
            "wrong_type",
        ),
        (
            r#"{"type":"email.opened","contact_id":"c","value":1e999}"#.to_owned(),
            "not_finite",
        ),
        (
            r#"{"type":"email.opened","contact_id":"c","payload":[]}"#.to_owned(),
            "wrong_type",
        ),
        (
            r#"{"type":"email.opened","contact_id":"c","payload":{"n":1e999}}"#.to_owned(),
            "bad_payload",
        ),
        (
            r#"{"type":"email.opened","event_id":"e","contact_id":"c","payload":{"n":"\ud800"}}"#.to_owned(),
            "bad_payload",
        ),
        (
            format!(r#"{{"type":"email.opened","event_id":"e","contact_id":"c","payload":{{"n":{deep}}}}}"#),
            "bad_payload",
        ),
        (
            r#"{"type":"email.opened","contact_id":"\ud800"}"#.to_owned(),
            "bad_text",
        ),
        (
            r#"{"type":"email.opened","contact_id":"c","kind":"odd"}"#.to_owned(),
            "bad_kind",
        ),
        (
            r#"{"type":"email.opened","contact_id":"c","kind":"crm"}"#.to_owned(),
            "kind_mismatch",
        ),
        (
            r#"{"type":"email.opened","contact_id":"c","direction":"up"}"#.to_owned(),
            "bad_direction",
        ),
        (
            r#"{"type":"email.opened","contact_id":"c","machine_class":"toaster"}"#.to_owned(),
            "bad_machine_class",
        ),
        (
            r#"{"type":"email.opened","contact_id":"c","event_time":"soon"}"#.to_owned(),
            "bad_time",
        ),
        (
            r#"{"type":"email.opened","contact_id":"c","event_time":true}"#.to_owned(),
            "wrong_type",
        ),
        (
            r#"{"type":"email.opened","contact_id":"c","event_time":9e99}"#.to_owned(),
            "bad_time",
        ),
        (
            r#"{"type":"email.opened","contact_id":"c","event_time":"1989-12-31"}"#.to_owned(),
            "time_too_early",
        ),
        (
            r#"{"type":"email.opened","contact_id":"c","event_time":"2027-01-01"}"#.to_owned(),
            "time_too_far_ahead",
        ),
        (
            format!(r#"{{"type":"email.opened","contact_id":"{long}"}}"#),
            "id_too_long",
        ),
        (
            r#"{"type":"email.opened","contact_id":"a\u0000b"}"#.to_owned(),
            "bad_id",
        ),
        (
            r#"{"type":"email.opened","email":"nobody"}"#.to_owned(),
            "bad_email",
        ),
        (r#"{"type":"deal.upserted"}"#.to_owned(), "missing_object_id"),
        ("[3]".to_owned(), "not_an_object"),
        ("\"text\"".to_owned(), "not_an_object"),
    ];
    for (body, code) in cases {
        let stage = Stage::new();
        let answer = stage.events(body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(
            answer.json()["events"][0]["code"],
            code,
            "{body}: {}",
            answer.text
        );
        assert_eq!(stage.memory.letters()[0].refusal.code, code);
    }
}

#[tokio::test]
async fn unknown_types_are_stored() {
    let stage = Stage::new();
    let answer = stage
        .events(r#"{"type":"espresso.drunk","contact_id":"c"}"#)
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(stage.memory.rows()[0].event_type, "espresso.drunk");
}

#[tokio::test]
async fn a_user_agent_in_the_payload_tells_a_machine() {
    let stage = Stage::new();
    let body =
        r#"{"event_id":"e","type":"email.opened","contact_id":"c","payload":{"user_agent":"Mozilla/5.0"}}"#;
    stage.events(body).await;
    assert_eq!(stage.memory.rows()[0].machine_class, "proxy");
}

#[tokio::test]
async fn the_answer_can_be_short() {
    let stage = Stage::new();
    let body = format!("{}\n{{}}", opened("e1"));
    let key = ("x-api-key", "rg_key");
    for (path, header) in [
        ("/v1/events?verbose=false", ("accept", "*/*")),
        ("/v1/events/", ("prefer", "return=minimal")),
    ] {
        let answer = stage.call(path, &[key, header], body.clone()).await;
        let said = answer.json();
        assert_eq!(said["accepted"], 1);
        assert_eq!(said["events"].as_array().map(Vec::len), Some(1));
        assert_eq!(said["events"][0]["index"], 1);
    }
}

#[tokio::test]
async fn without_an_id_the_same_content_is_the_same_event_however_it_is_written() {
    let stage = Stage::new();
    let forms = [
        r#"{"type":"page.viewed","contact_id":"c","event_time":1795000000,"payload":{"a":1,"b":"x"}}"#,
        r#"{ "payload": {"b":"x", "a":1}, "contact_id": "c", "type": "page.viewed", "event_time": "2026-11-18T11:06:40Z" }"#,
        r#"{"type":"page.viewed","contact_id":"c","timestamp":1795000000000,"a":1,"b":"x"}"#,
    ];
    for form in forms {
        assert_eq!(stage.events(form).await.status, StatusCode::OK);
    }
    let ids: Vec<_> = stage.memory.rows().into_iter().map(|row| row.event_id).collect();
    assert!(ids[0].starts_with("sha:"));
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn a_failing_journal_acknowledges_nothing_and_says_when_to_come_back() {
    for (kind, status) in [
        (ErrorKind::Limit, StatusCode::TOO_MANY_REQUESTS),
        (ErrorKind::External, StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let stage = Stage::new();
        *stage.memory.failing.lock().expect("lock") = Some(kind);
        let answer = stage.events(format!("{}\n{{}}", opened("e1"))).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert!(stage.memory.letters().is_empty(), "the retry brings them again");
    }
}

#[tokio::test]
async fn refused_events_that_cannot_be_kept_are_asked_for_again() {
    let stage = Stage::new();
    *stage.memory.losing_letters.lock().expect("lock") = true;
    let answer = stage.events(format!("{}\n{{}}", opened("e1"))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["code"], "dead_letters_failed");
}

/// Judges a body and gives an outcome an event, in order.
fn outcomes(body: &[u8]) -> Vec<Outcome> {
    let mut sheet = Sheet::new(Reception::live("acme".into(), NOW, "http"), true);
    judge_all(&mut sheet, body, 1_000).expect("within the limit");
    let verdicts = String::from_utf8(sheet.verdicts().to_vec()).expect("utf-8");
    let verdicts: Vec<Value> = serde_json::from_str(&format!("[{verdicts}]")).expect("verdicts are json");
    assert_eq!(verdicts.len(), sheet.judged());
    let mut refusals = sheet.refusals().cloned();
    let outcome = |verdict: &Value| match verdict["status"].as_str() {
        Some("accepted") => Ok(verdict["event_id"].as_str().expect("id").to_owned()),
        _ => Err(refusals.next().expect("a refusal a refused verdict")),
    };
    verdicts.iter().map(outcome).collect()
}

#[test]
fn the_native_door_conforms() {
    let many = format!("{}\n{}\n", opened("e1"), opened("e2"));
    let array = format!(
        "[{},{}]",
        opened("e1"),
        r#"{"type":"x","contact_id":7,"extra":{"a":"\u00e9"}}"#
    );
    let sound = [many.as_bytes(), array.as_bytes(), opened("e3").as_bytes()].map(<[u8]>::to_vec);
    let sound: Vec<&[u8]> = sound.iter().map(Vec::as_slice).collect();
    conformance::check(
        &outcomes,
        &sound,
        &[b"{}", b"[1,2]", b"{\"type\":\n", b"\xff\xfe"],
    );
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..40_u32).prop_map(|id| opened(&format!("e{id}"))),
        2 => ("[a-z ]{0,8}", 0..1_000_u32).prop_map(|(word, n)| {
            json!({"type": "page.viewed", "contact_id": n, "event_time": 1_790_000_000 + n, "payload": {"w": word}}).to_string()
        }),
        1 => Just(r#"{"type":"email.opened"}"#.to_owned()),
        1 => Just("{\"type\": oops".to_owned()),
        1 => Just(String::new()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However lines are spread over requests, the same events come of them.
    #[test]
    fn ndjson_split_anyhow_gives_the_same_events(lines in prop::collection::vec(line(), 2..24), cuts in prop::collection::vec(any::<bool>(), 24)) {
        // A leading whole line keeps a lone broken line from being read as one value over several lines.
        let whole = outcomes(lines.join("\n").as_bytes());
        let mut parts: Vec<String> = vec![String::new()];
        for (text, cut) in lines.iter().zip(cuts) {
            let part = parts.last_mut().expect("never empty");
            part.push_str(text);
            part.push_str(if cut { "\r\n" } else { "\n" });
            if cut {
                parts.push(String::new());
            }
        }
        let ids = |outcomes: Vec<Outcome>| -> Vec<String> { outcomes.into_iter().filter_map(Result::ok).collect() };
        let split: Vec<String> = parts.iter().flat_map(|part| ids(outcomes(part.as_bytes()))).collect();
        prop_assert_eq!(ids(whole), split);
    }

    /// The borrowed judgement gives the event that the owned one gives.
    #[test]
    fn the_fast_path_equals_the_draft(id in "[a-zA-Z0-9 ]{0,12}", email in "[a-zA-Z.]{1,8}@[a-zA-Z]{1,8}\\.(io|com|co\\.uk)", domain in prop::option::of("[a-zA-Z]{1,10}\\.(io|de|com)"), value in prop::option::of(-1e9..1e9_f64), word in ".{0,12}") {
        use revgauge_contract::{event::EventDraft, schema::batch_of};
        let body = json!({"event_id": id, "type": "form.submitted", "email": email, "domain": domain, "value": value, "event_time": "2026-01-02T03:04:05Z", "payload": {"word": word}});
        let reception = Reception::live("acme".into(), NOW, "http");
        let draft: EventDraft = serde_json::from_value(body.clone()).expect("draft");
        let owned = batch_of(&[draft.accept(&reception).expect("accepted")]);
        let mut sheet = Sheet::new(reception, true);
        judge_all(&mut sheet, body.to_string().as_bytes(), 1).expect("one");
        prop_assert_eq!(sheet.take_batch().expect("a batch"), owned);
    }
}

#[tokio::test]
async fn only_an_admin_may_say_when_something_was_known() {
    let body = json!({
        "event_id": "h1", "type": "email.opened", "email": "jo@acme.io", "event_time": "2026-01-02T00:00:00Z",
        "known_at": "2026-01-03T00:00:00Z"
    });
    let known = |stage: &Stage| stage.memory.known_at();
    let history = "/v1/events?history=true";
    let stage = Stage::new();
    assert_eq!(stage.events(body.to_string()).await.status, StatusCode::OK);
    assert_eq!(
        known(&stage),
        vec![NOW],
        "a live event is known when it is received"
    );
    let stage = Stage::new();
    let answer = stage
        .call(history, &[("authorization", "Bearer rg_key")], body.to_string())
        .await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (StatusCode::FORBIDDEN, json!("no_history"))
    );
    let answer = stage
        .call(history, &[("authorization", "Bearer rg_other")], body.to_string())
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(
        known(&stage),
        vec![Timestamp(1_767_398_400_000_000)],
        "trusted history says it itself"
    );
}
