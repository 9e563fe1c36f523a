//! Doors that say and keep more than a query: the semantic layer, queries fetched later, assistants.

use axum::http::Method;
use serde_json::{Value, json};

use super::world::{CANARY, Reply, World};
use crate::settings::{ApiSettings, AssistantSettings, LaterSettings};

#[tokio::test]
async fn every_metric_can_be_asked_in_every_way_it_has() {
    let world = World::new().await;
    let listed = world.get("revops", "/v1/metrics").await.json();
    let metrics = listed["items"].as_array().expect("metrics").clone();
    assert!(metrics.len() >= 12);
    for metric in metrics {
        let name = metric["name"].as_str().expect("named");
        let by: Vec<&str> = metric["by"]
            .as_array()
            .expect("dimensions")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let reply = world
            .get("revops", &format!("/v1/metrics/{name}?by={}", by.join(",")))
            .await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        assert!(!reply.text().contains(CANARY), "{name}");
        let monthly = world
            .get(
                "revops",
                &format!("/v1/metrics/{name}?every=month&from=2020-01-01T00:00:00Z"),
            )
            .await;
        if metric.get("time").is_some() {
            assert_eq!(monthly.status, 200, "{name}: {}", monthly.text());
        } else {
            assert_eq!(monthly.json()["code"], "semi_additive", "{name}");
        }
        let view = world.sql("revops", &format!("SELECT * FROM metric_{name}")).await;
        assert_eq!(view.status, 200, "{name}: {}", view.text());
        if ["deals", "scores"].iter().any(|table| metric["from"] == *table) {
            let then = world
                .get(
                    "revops",
                    &format!("/v1/metrics/{name}?as_of=2026-01-01T00:00:00Z"),
                )
                .await;
            assert_eq!(then.status, 200, "{name}: {}", then.text());
        }
    }
    let open = world.get("revops", "/v1/metrics/open_dealz").await.json();
    assert!(open["hint"].as_str().expect("a hint").contains("open_deals"));
}

async fn start(world: &World, key: &str, body: Value) -> Reply {
    let headers = [("content-type", "application/json")];
    world
        .call(key, Method::POST, "/v1/queries", &headers, &body.to_string())
        .await
}

/// Looks until the query has ended.
async fn ended(world: &World, key: &str, id: &str) -> Value {
    for _ in 0..200 {
        let query = world.get(key, &format!("/v1/queries/{id}")).await.json()["query"].clone();
        if query["state"] != "running" {
            return query;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("query {id} does not end");
}

/// The id of a query that is done.
pub(super) async fn done(world: &World, key: &str, sql: &str) -> String {
    let started = start(world, key, json!({ "sql": sql })).await.json();
    let id = started["query"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(ended(world, key, &id).await["state"], "done");
    id
}

#[tokio::test]
async fn a_query_is_started_now_and_fetched_later_by_its_key_alone() {
    let later = LaterSettings {
        queries_per_key: 3,
        result_bytes: 400,
        ..LaterSettings::default()
    };
    let world = World::with(ApiSettings {
        later: later.clone(),
        ..ApiSettings::default()
    })
    .await;
    let started = start(
        &world,
        "revops",
        json!({"sql": "SELECT 6 * 7 AS n", "format": "csv"}),
    )
    .await;
    assert_eq!(started.status, 202);
    let id = started.json()["query"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(started.headers["location"], format!("/v1/queries/{id}"));
    let query = ended(&world, "revops", &id).await;
    assert_eq!(query["state"], "done", "{query}");
    let link = query["result"].as_str().expect("a link").to_owned();
    let result = world.get("revops", &link).await;
    assert_eq!(
        (result.text().as_str(), &result.headers["content-type"]),
        ("n\n42\n", &"text/csv; charset=utf-8".parse().expect("plain"))
    );
    for stranger in ["admin", "foreign"] {
        assert_eq!(world.get(stranger, &link).await.status, 404);
    }
    for (sql, code) in [
        ("SELECT nope FROM deals", "unknown_column"),
        (
            "SELECT payload, payload AS p, payload AS q FROM events",
            "result_too_large",
        ),
    ] {
        let reply = start(&world, "revops", json!({"sql": sql})).await;
        let id = reply.json()["query"]["id"].as_str().expect("an id").to_owned();
        let query = ended(&world, "revops", &id).await;
        assert_eq!(query["problem"]["code"], code, "{query}");
        assert_eq!(
            world
                .get("revops", &format!("/v1/queries/{id}/result"))
                .await
                .json()["code"],
            code
        );
    }
    let full = start(&world, "revops", json!({"sql": "SELECT 1"})).await;
    assert_eq!(
        (full.status.as_u16(), &full.json()["code"]),
        (429, &json!("too_many_queries"))
    );
    let forgotten = world
        .call("revops", Method::DELETE, &format!("/v1/queries/{id}"), &[], "")
        .await;
    assert_eq!(forgotten.status, 200);
    assert_eq!(world.get("revops", &link).await.status, 404);
    world
        .clock
        .advance(i64::try_from(later.keep_ms).expect("short") * 1_000);
    let fresh = start(&world, "revops", json!({"sql": "SELECT 1"})).await;
    assert_eq!(fresh.status, 202, "old results are forgotten: {}", fresh.text());
}

/// One call of the Model Context Protocol.
async fn mcp(world: &World, key: &str, method: &str, params: Value) -> (u16, Value) {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2025-06-18"),
        ("host", "revgauge.example"),
    ];
    let reply = world
        .call(key, Method::POST, "/mcp", &headers, &body.to_string())
        .await;
    let answer = serde_json::from_slice(&reply.bytes).unwrap_or(Value::Null);
    (reply.status.as_u16(), answer)
}

/// The structured answer of a tool, or its error text.
async fn tool(world: &World, key: &str, name: &str, arguments: Value) -> Result<Value, String> {
    let (status, answer) = mcp(
        world,
        key,
        "tools/call",
        json!({"name": name, "arguments": arguments}),
    )
    .await;
    assert_eq!(status, 200, "{name}: {answer}");
    let result = &answer["result"];
    if result["isError"] == true {
        return Err(result["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned());
    }
    assert!(result.is_object(), "{name}: {answer}");
    Ok(result["structuredContent"].clone())
}

#[tokio::test]
async fn an_assistant_asks_with_the_rights_of_its_key() {
    let world = World::new().await;
    let hello = json!({
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
    });
    let (status, answer) = mcp(&world, "revops", "initialize", hello.clone()).await;
    assert_eq!(
        (status, &answer["result"]["serverInfo"]["name"]),
        (200, &json!("revgauge")),
        "{answer}"
    );
    assert_eq!(mcp(&world, "nobody", "initialize", hello).await.0, 401);
    let (_, answer) = mcp(&world, "revops", "tools/list", json!({})).await;
    let tools: Vec<&str> = answer["result"]["tools"]
        .as_array()
        .expect("tools")
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    for name in [
        "list_metrics",
        "query_metric",
        "describe",
        "query_sql",
        "explain_score",
    ] {
        assert!(tools.contains(&name), "{name} is not in {tools:?}");
    }
    let metrics = tool(&world, "revops", "list_metrics", json!({}))
        .await
        .expect("listed");
    assert!(
        metrics["metrics"]
            .as_array()
            .is_some_and(|metrics| metrics.len() >= 12)
    );
    let columns = tool(&world, "revops", "describe", json!({"table": "deals"}))
        .await
        .expect("described");
    assert!(
        columns["rows"]
            .as_array()
            .is_some_and(|rows| rows.iter().any(|row| row["column_name"] == "amount"))
    );
    let rows = tool(
        &world,
        "revops",
        "query_sql",
        json!({"sql": "SELECT * FROM events", "limit_rows": 2}),
    )
    .await
    .expect("rows");
    assert_eq!(
        (&rows["row_count"], &rows["truncated"]),
        (&json!(2), &json!(true))
    );
    assert!(rows["as_of"].is_string() && !rows.to_string().contains(CANARY));
    let why = tool(
        &world,
        "revops",
        "explain_score",
        json!({"entity_kind": "contact", "entity_id": "p1@acme.io"}),
    )
    .await;
    assert_eq!(why.expect("explained")["entity_id"], "c1");
    let open = tool(&world, "revops", "query_metric", json!({"name": "open_deals"}))
        .await
        .expect("a number");
    assert_eq!(open["metric"]["additivity"], "semi_additive");
    for (name, arguments, says) in [
        ("query_sql", json!({"sql": "DROP TABLE deals"}), "read_only"),
        ("query_sql", json!({"sgl": "SELECT 1"}), "sgl"),
        (
            "query_metric",
            json!({"name": "open_pipeline", "every": "day"}),
            "semi_additive",
        ),
        ("describe", json!({"table": "nope"}), "unknown_table"),
    ] {
        let said = tool(&world, "revops", name, arguments).await.expect_err(name);
        assert!(said.contains(says), "{said}");
    }
    let (_, refused) = mcp(&world, "service", "tools/list", json!({})).await;
    assert!(
        refused["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("service key")),
        "{refused}"
    );
}

#[tokio::test]
async fn an_answer_too_long_for_an_assistant_is_refused_with_advice() {
    let assistant = AssistantSettings {
        max_answer_bytes: 300,
        ..AssistantSettings::default()
    };
    let world = World::with(ApiSettings {
        assistant,
        ..ApiSettings::default()
    })
    .await;
    let said = tool(
        &world,
        "revops",
        "query_sql",
        json!({"sql": "SELECT * FROM events"}),
    )
    .await;
    assert!(said.expect_err("too long").contains("fewer rows"));
}
