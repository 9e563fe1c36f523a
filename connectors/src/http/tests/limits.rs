//! Keys, sizes, encodings and rates of both doors.

use std::io::Write;

use axum::http::{Method, Request, StatusCode};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use super::Stage;
use crate::http::{HttpSettings, HttpSettingsError};

const EVENT: &str = r#"{"event_id":"e","type":"email.opened","contact_id":"c"}"#;
const TRACK: &str = r#"{"messageId":"m","event":"Email Opened","userId":"u"}"#;

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn no_request_without_a_key_that_may_send() {
    let stage = Stage::new();
    for (header, status) in [
        (("accept", "*/*"), StatusCode::UNAUTHORIZED),
        (("authorization", "Bearer nonsense"), StatusCode::UNAUTHORIZED),
        (("x-api-key", "rg_reader"), StatusCode::FORBIDDEN),
    ] {
        let native = stage.call("/v1/events", &[header], EVENT).await;
        assert_eq!(native.status, status);
        assert_eq!(native.header("content-type"), Some("application/problem+json"));
        assert_eq!(native.json()["status"], status.as_u16());
        assert_eq!(
            native.header("www-authenticate").is_some(),
            status == StatusCode::UNAUTHORIZED
        );
        let segment = stage.call("/v1/track", &[header], TRACK).await;
        assert_eq!(segment.status, status);
        assert!(segment.json()["code"].is_string() && segment.json()["message"].is_string());
    }
    assert!(stage.memory.rows().is_empty());
    let other = stage
        .call("/v1/events", &[("x-api-key", "rg_other")], EVENT)
        .await;
    assert_eq!(other.status, StatusCode::OK);
    assert_eq!(stage.memory.rows()[0].tenant_id, "other");
}

#[tokio::test]
async fn encodings_are_undone() {
    let zstd = zstd::encode_all(EVENT.as_bytes(), 3).expect("memory");
    for (encoding, body) in [
        ("gzip", gzip(EVENT.as_bytes())),
        ("x-gzip", gzip(EVENT.as_bytes())),
        ("zstd", zstd),
        ("identity", EVENT.into()),
    ] {
        let stage = Stage::new();
        let headers = [("x-api-key", "rg_key"), ("content-encoding", encoding)];
        assert_eq!(
            stage.call("/v1/events", &headers, body).await.status,
            StatusCode::OK,
            "{encoding}"
        );
        assert_eq!(stage.memory.rows().len(), 1);
    }
    let stage = Stage::new();
    let headers = [("x-api-key", "rg_key"), ("content-encoding", "br")];
    let answer = stage.call("/v1/events", &headers, EVENT).await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, json!("unknown_encoding"))
    );
    let headers = [("x-api-key", "rg_key"), ("content-encoding", "gzip")];
    let answer = stage.call("/v1/events", &headers, EVENT).await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (StatusCode::BAD_REQUEST, json!("broken_encoding"))
    );
}

#[tokio::test]
async fn long_bodies_and_bombs_are_413() {
    let settings = HttpSettings {
        max_body_bytes: 4_096,
        max_wire_bytes: 2_048,
        ..HttpSettings::default()
    };
    let stage = Stage::with(settings);
    let long = "x".repeat(3_000);
    let bomb = gzip(&vec![b' '; 1_000_000]);
    assert!(bomb.len() < 2_048);
    let zstd_bomb = zstd::encode_all(vec![b' '; 1_000_000].as_slice(), 3).expect("memory");
    for (encoding, body) in [
        ("identity", long.into_bytes()),
        ("gzip", bomb),
        ("zstd", zstd_bomb),
    ] {
        for path in ["/v1/events", "/v1/batch"] {
            let headers = [("x-api-key", "rg_key"), ("content-encoding", encoding)];
            let answer = stage.call(path, &headers, body.clone()).await;
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{path} {encoding}");
            assert_eq!(answer.json()["code"], "body_too_long");
        }
    }
    let announced = [("x-api-key", "rg_key"), ("content-length", "999999999")];
    assert_eq!(
        stage.call("/v1/events", &announced, EVENT).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn more_events_than_the_limit_are_413() {
    let stage = Stage::with(HttpSettings {
        max_events: 2,
        ..HttpSettings::default()
    });
    for body in [
        format!("{EVENT}\n{EVENT}\n{EVENT}"),
        format!("[{EVENT},{EVENT},{EVENT}]"),
    ] {
        let answer = stage.events(body).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer.json()["code"], "too_many_events");
    }
    assert!(stage.memory.rows().is_empty());
}

#[tokio::test]
async fn big_bodies_take_the_other_thread_and_give_the_same() {
    let stage = Stage::with(HttpSettings {
        inline_bytes: 16,
        ..HttpSettings::default()
    });
    assert_eq!(
        stage.events(format!("{EVENT}\n{EVENT}")).await.status,
        StatusCode::OK
    );
    assert_eq!(stage.segment("/v1/track", TRACK).await.status, StatusCode::OK);
    let headers = [("x-api-key", "rg_key"), ("content-encoding", "gzip")];
    assert_eq!(
        stage
            .call("/v1/events", &headers, gzip(EVENT.as_bytes()))
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(stage.memory.rows().len(), 4);
}

#[tokio::test]
async fn too_many_requests_of_one_key_are_429_with_whole_seconds() {
    let stage = Stage::with(HttpSettings {
        requests_per_second: 2,
        ..HttpSettings::default()
    });
    let mut last = stage.events(EVENT).await;
    for _ in 0..4 {
        last = stage.events(EVENT).await;
    }
    assert_eq!(last.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(last.header("retry-after"), Some("1"));
    let segment = stage.call("/v1/track", &[("x-api-key", "rg_key")], TRACK).await;
    assert_eq!(segment.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(
        segment
            .header("retry-after")
            .is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|s| s >= 1))
    );
    assert_eq!(segment.json()["code"], "too_many_requests");
    let other = stage
        .call("/v1/events", &[("x-api-key", "rg_other")], EVENT)
        .await;
    assert_eq!(other.status, StatusCode::OK, "another key has its own limit");
}

#[tokio::test]
async fn too_many_events_of_one_key_are_429() {
    let settings = HttpSettings {
        events_per_second: 3,
        max_events: 4,
        ..HttpSettings::default()
    };
    let stage = Stage::with(settings);
    let body = format!("{EVENT}\n{EVENT}\n{EVENT}\n{EVENT}");
    assert_eq!(
        stage.events(body.clone()).await.status,
        StatusCode::OK,
        "a full request fits the burst"
    );
    let answer = stage.events(body).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert_eq!(stage.memory.rows().len(), 4);
}

#[tokio::test]
async fn an_empty_body_is_400() {
    let stage = Stage::new();
    for path in ["/v1/events", "/v1/batch"] {
        let answer = stage.call(path, &[("x-api-key", "rg_key")], " \n ").await;
        assert_eq!(
            (answer.status, answer.json()["code"].clone()),
            (StatusCode::BAD_REQUEST, json!("empty_body"))
        );
    }
    assert_eq!(stage.events("[]").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_never_comes_is_408() {
    let stage = Stage::with(HttpSettings {
        body_timeout_ms: 20,
        ..HttpSettings::default()
    });
    let never =
        axum::body::Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    assert_eq!(stage.events(never).await.status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn browsers_may_call_segment_routes_when_told_so() {
    let preflight = |path: &str| {
        Request::builder()
            .method(Method::OPTIONS)
            .uri(path)
            .header("origin", "https://www.acme.io")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
            .body(axum::body::Body::empty())
            .expect("request")
    };
    let settings = HttpSettings {
        cors_allowed_origins: vec!["https://www.acme.io".into()],
        ..HttpSettings::default()
    };
    let open = Stage::with(settings);
    let answer = open.send(preflight("/v1/t")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://www.acme.io")
    );
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("authorization,content-type")
    );
    let shut = Stage::new().send(preflight("/v1/t")).await;
    assert_eq!(shut.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(shut.header("access-control-allow-origin"), None);
    assert_eq!(
        open.send(preflight("/v1/events"))
            .await
            .header("access-control-allow-origin"),
        None
    );
}

#[test]
fn settings_that_cannot_work_are_named() {
    let zero = HttpSettings {
        max_events: 0,
        ..HttpSettings::default()
    };
    assert_eq!(zero.check(), Err(HttpSettingsError::Zero("max_events")));
    let path = HttpSettings {
        cors_allowed_origins: vec!["https://acme.io/x".into()],
        ..HttpSettings::default()
    };
    assert_eq!(
        path.check(),
        Err(HttpSettingsError::Origin("https://acme.io/x".into()))
    );
    assert!(toml::from_str::<HttpSettings>("max_evens = 3").is_err());
    let read: HttpSettings = toml::from_str("max_events = 3").expect("settings");
    assert_eq!(
        (read.max_events, read.max_wire_bytes),
        (3, HttpSettings::default().max_wire_bytes)
    );
}
