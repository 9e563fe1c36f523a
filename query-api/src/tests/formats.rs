//! One query, four forms.

use std::io::Cursor;

use axum::http::{Method, StatusCode};
use datafusion::arrow::ipc::reader::StreamReader;
use serde_json::json;

use super::world::World;

const SQL: &str = "select a.event_id, b.event_id, a.event_time, a.value, json_get(a.payload, 'n') n \
     from events a join events b on a.event_id = b.event_id order by 1 limit 2";

#[tokio::test]
async fn each_form_says_the_same() {
    let world = World::new().await;
    let ask = |format: &str| world.sql_json("revops", json!({"sql": SQL, "format": format}));
    let reply = ask("json").await;
    let body = reply.json();
    assert_eq!(body["as_of"], "2026-02-02T02:40:00Z", "{body}");
    assert_eq!(body["watermarks"]["http"]["events"], 6);
    assert_eq!(body["columns"][1], json!({"name": "event_id_2", "type": "text"}));
    let row = json!({"event_id": "e0", "event_id_2": "e0", "event_time": "2026-02-01T02:40:00Z", "value": null, "n": "0"});
    assert_eq!(body["rows"][0], row);
    assert_eq!(
        (body["row_count"].as_u64(), body["truncated"].as_bool()),
        (Some(2), Some(false))
    );

    let reply = ask("ndjson").await;
    let lines: Vec<serde_json::Value> = reply
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("json"))
        .collect();
    assert_eq!((lines.len(), &lines[0]), (2, &row));
    assert_eq!(reply.headers["revgauge-as-of"], "2026-02-02T02:40:00Z");
    assert_eq!(reply.headers["revgauge-watermark"], "http=2026-02-02T02:40:00Z");

    let reply = ask("csv").await;
    let text = reply.text();
    assert_eq!(
        text.lines().next(),
        Some("event_id,event_id_2,event_time,value,n")
    );
    assert_eq!(text.lines().nth(1), Some("e0,e0,2026-02-01T02:40:00Z,,0"));

    let reply = ask("arrow").await;
    assert_eq!(
        reply.headers["content-type"],
        "application/vnd.apache.arrow.stream"
    );
    let reader = StreamReader::try_new(Cursor::new(reply.bytes), None).expect("stream");
    let rows: usize = reader.map(|batch| batch.expect("batch").num_rows()).sum();
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn the_accept_header_chooses() {
    let world = World::new().await;
    for (accept, kind) in [
        ("*/*", "application/json"),
        ("text/csv", "text/csv; charset=utf-8"),
        (
            "application/x-ndjson, application/json;q=0.5",
            "application/x-ndjson",
        ),
        (
            "application/vnd.apache.arrow.stream",
            "application/vnd.apache.arrow.stream",
        ),
    ] {
        let reply = world
            .call(
                "revops",
                Method::POST,
                "/v1/sql",
                &[("accept", accept)],
                "select 1",
            )
            .await;
        assert_eq!(reply.headers["content-type"], kind, "{accept}");
    }
    let reply = world
        .call(
            "revops",
            Method::POST,
            "/v1/sql",
            &[("accept", "image/png")],
            "select 1",
        )
        .await;
    assert_eq!(reply.status, StatusCode::NOT_ACCEPTABLE);
    let reply = world
        .sql_json("revops", json!({"sql": "select 1", "format": "xml"}))
        .await;
    assert_eq!(reply.json()["code"], "bad_format");
}

#[tokio::test]
async fn long_answers_stream_and_late_failures_show() {
    let world = World::new().await;
    let reply = world
        .sql("revops", "select * from generate_series(1, 200000)")
        .await;
    assert_eq!(reply.json()["row_count"], 200_000);
    let late = "select 1 / (value - 300000) from generate_series(1, 400000)";
    let reply = world.sql("revops", late).await;
    assert_eq!(reply.status, StatusCode::OK, "the answer had begun");
    assert_eq!(reply.json()["error"]["code"], "execution_failed");
    let reply = world
        .sql_json("revops", json!({"sql": late, "format": "ndjson"}))
        .await;
    let last = reply.text().lines().last().expect("a line").to_owned();
    assert!(last.contains("execution_failed"), "{last}");
    // Every batch fails: which partition comes first is chance.
    let early = world
        .sql(
            "revops",
            "select 1 / (value % 100 - 3) from generate_series(1, 400000)",
        )
        .await;
    assert_eq!(
        (early.status, early.json()["code"].as_str()),
        (StatusCode::BAD_REQUEST, Some("execution_failed"))
    );
}

#[tokio::test]
async fn empty_answers_are_well_formed() {
    let world = World::new().await;
    for format in ["json", "ndjson", "csv", "arrow"] {
        let body = json!({"sql": "select event_id from events where false", "format": format});
        let reply = world.sql_json("revops", body).await;
        assert_eq!(reply.status, StatusCode::OK, "{format}: {}", reply.text());
        if format == "json" {
            assert_eq!(reply.json()["rows"], json!([]));
        }
    }
    let past = world.sql("revops", "select deal_id, health, stage, close_date from pipeline_as_of(timestamp '2026-01-05 00:00:00') order by 1").await.json();
    assert_eq!(
        past["rows"][0],
        json!({"deal_id": "d1", "health": 91.0, "stage": "proposal", "close_date": "2026-03-01T00:00:00Z"}),
        "{past}"
    );
    let past = world
        .sql(
            "revops",
            "select distinct as_of from scores_as_of('2026-01-05T10:00:00+02:00')",
        )
        .await
        .json();
    assert_eq!(past["rows"][0]["as_of"], "2026-01-05T08:00:00Z", "{past}");
}
