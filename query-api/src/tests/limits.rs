//! Memory, time, rows, queries at once, requests, bodies.

use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::world::World;
use crate::settings::{ApiSettings, HttpSettings, SqlSettings};

fn sql_settings(settings: SqlSettings) -> ApiSettings {
    ApiSettings {
        sql: settings,
        ..ApiSettings::default()
    }
}

const ENDLESS: &str = "select count(*) from generate_series(1, 10000000) a cross join generate_series(1, 10000000) b \
     where a.value * b.value % 7 = 3";

#[tokio::test]
async fn a_query_past_its_memory_is_stopped() {
    let world = World::with(sql_settings(SqlSettings {
        memory_bytes: 4 << 20,
        ..SqlSettings::default()
    }))
    .await;
    for sql in [
        "select * from generate_series(1, 5000000) order by value % 1000, value",
        "select count(*) from (select value % 1999993 k, array_agg(value) from generate_series(1, 5000000) group by k)",
        "select count(*) from generate_series(1, 3000000) a join generate_series(1, 3000000) b on a.value = b.value",
    ] {
        let reply = world.sql("revops", sql).await;
        assert_eq!(reply.json()["code"], "memory_limit", "{sql}: {}", reply.text());
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(
        world.sql("revops", "select 1 as one").await.json()["rows"][0]["one"],
        1
    );
}

#[tokio::test]
async fn a_busy_query_is_stopped_in_time_and_holds_up_nobody() {
    let world = World::new().await;
    let busy = world.sql_json("revops", json!({"sql": ENDLESS, "timeout_ms": 2_500}));
    let others = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..10 {
            let began = Instant::now();
            let live = world.get("none", "/health/live").await;
            assert_eq!(live.status, StatusCode::OK);
            slowest = slowest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let one = world.sql("foreign", "select 1 as one").await;
        assert_eq!(one.json()["rows"][0]["one"], 1);
        slowest
    };
    let began = Instant::now();
    let (reply, slowest) = tokio::join!(busy, others);
    assert_eq!(reply.json()["code"], "time_limit", "{}", reply.text());
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(began.elapsed() < Duration::from_secs(12), "stopped near its time");
    assert!(
        slowest < Duration::from_secs(2),
        "serving went on, slowest {slowest:?}"
    );
}

#[tokio::test]
async fn every_endless_query_really_ends() {
    let world = World::with(sql_settings(SqlSettings {
        concurrent_queries_per_tenant: 1,
        ..SqlSettings::default()
    }))
    .await;
    for sql in [
        ENDLESS,
        // No pair passes, so the join never gives a row at which it could be stopped.
        "select count(*) from generate_series(1, 3000000) a cross join generate_series(1, 3000000) b \
         where a.value * b.value = -1",
        "select count(*) from generate_series(1, 3000000) a join generate_series(1, 3000000) b \
         on a.value % 2 = b.value % 2 and a.value + b.value < 0",
        "select count(*) from generate_series(1, 3000000) a join generate_series(1, 3000000) b \
         on a.value % 2 = b.value % 2",
        "select count(*) from generate_series(1, 3000000) a cross join generate_series(1, 3000000) b",
        "with recursive r as (select 1 n union all select n + 1 from r) select count(*) from r",
        "select max(value) from generate_series(1, 9000000000000000)",
        "select sum(x) from (select unnest(array_agg(a.value)) x from generate_series(1, 100000) a), \
         generate_series(1, 1000000000)",
    ] {
        let reply = world
            .sql_json("revops", json!({"sql": sql, "timeout_ms": 1_000}))
            .await;
        assert_eq!(reply.json()["code"], "time_limit", "{sql}: {}", reply.text());
        let began = Instant::now();
        while world.sql("revops", "select 1").await.status != StatusCode::OK {
            assert!(began.elapsed() < Duration::from_secs(20), "still running: {sql}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    for sql in [
        "select repeat('x', 2000000000)",
        "select lpad('', 2000000000)",
        "select range(1, 2000000000)",
    ] {
        assert_eq!(
            world.sql("revops", sql).await.json()["code"],
            "unknown_function",
            "{sql}"
        );
    }
}

#[tokio::test]
async fn rows_are_refused_or_cut_as_asked() {
    let world = World::with(sql_settings(SqlSettings {
        max_rows: 1_000,
        ..SqlSettings::default()
    }))
    .await;
    let reply = world
        .sql("revops", "select * from generate_series(1, 1001)")
        .await;
    assert_eq!(reply.json()["code"], "row_limit");
    let reply = world
        .sql("revops", "select * from generate_series(1, 1000)")
        .await;
    assert_eq!(
        (
            reply.json()["row_count"].as_u64(),
            reply.json()["truncated"].as_bool()
        ),
        (Some(1_000), Some(false))
    );
    let body = json!({"sql": "select * from generate_series(1, 5000)", "limit_rows": 7});
    let reply = world.sql_json("revops", body).await;
    assert_eq!(
        (
            reply.json()["row_count"].as_u64(),
            reply.json()["truncated"].as_bool()
        ),
        (Some(7), Some(true))
    );
    assert_eq!(reply.headers["revgauge-truncated"], "true");
    for body in [
        json!({"sql": "select 1", "limit_rows": 1_001}),
        json!({"sql": "select 1", "timeout_ms": 900_000_000}),
        json!({"sql": "select 1", "timout_ms": 1}),
    ] {
        let status = world.sql_json("revops", body.clone()).await.status;
        assert!(status.is_client_error(), "{body}");
    }
}

#[tokio::test]
async fn queries_at_once_are_counted_and_places_come_back() {
    let world = World::with(sql_settings(SqlSettings {
        concurrent_queries_per_tenant: 1,
        queue_ms: 400,
        ..SqlSettings::default()
    }))
    .await;
    let long = world.sql_json("revops", json!({"sql": ENDLESS, "timeout_ms": 2_500}));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        (
            world.sql("revops", "select 1").await,
            world.sql("foreign", "select 1").await,
        )
    };
    let (long, (own, other)) = tokio::join!(long, meanwhile);
    assert_eq!(long.json()["code"], "time_limit");
    assert_eq!(
        (own.status, own.json()["code"].as_str()),
        (StatusCode::TOO_MANY_REQUESTS, Some("too_many_queries"))
    );
    assert!(own.headers.contains_key("retry-after"));
    assert_eq!(other.status, StatusCode::OK, "another tenant's place is its own");
    for _ in 0..50 {
        if world.sql("revops", "select 1").await.status == StatusCode::OK {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the place did not come back");
}

#[tokio::test]
async fn requests_and_bodies_have_limits() {
    let world = World::with(ApiSettings {
        http: HttpSettings {
            requests_per_second: 1,
            burst: 3,
            max_body_bytes: 100,
            ..HttpSettings::default()
        },
        ..ApiSettings::default()
    })
    .await;
    let reply = world
        .sql("revops", &format!("select '{}'", "x".repeat(200)))
        .await;
    assert_eq!(
        (reply.status, reply.json()["code"].as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, Some("body_too_large"))
    );
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(world.get("revops", "/v1/pipelines").await.status);
    }
    assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
    let limited = world.get("revops", "/v1/pipelines").await;
    assert!(limited.headers.contains_key("retry-after"));
    let other = world.call("admin", Method::GET, "/v1/pipelines", &[], "").await;
    assert_eq!(other.status, StatusCode::OK, "limits are by key");
}
