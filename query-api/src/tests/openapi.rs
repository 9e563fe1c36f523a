//! The OpenAPI document: checked in, and true of real answers.

use axum::http::Method;
use revgauge_contract::invariant::Invariant;
use serde_json::Value;

use super::world::World;
use crate::{reports::Target, rest::openapi_document};

const CHECKED_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");

#[test]
fn the_checked_in_document_is_the_one_served() {
    let mut now = serde_json::to_string_pretty(&openapi_document()).expect("prints");
    now.push('\n');
    if std::env::var_os("REVGAUGE_UPDATE_OPENAPI").is_some() {
        std::fs::write(CHECKED_IN, &now).expect("writes");
    }
    let then = std::fs::read_to_string(CHECKED_IN).unwrap_or_default();
    assert!(
        then == now,
        "docs/openapi.json is not what is served; run the tests with REVGAUGE_UPDATE_OPENAPI=1 and look at the difference"
    );
    assert!(now.contains("\"openapi\": \"3.1.0\""));
}

/// Members are all known, required ones are there, types fit.
fn check(schema: &Value, value: &Value, all: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().expect("name");
        assert!(all[name].is_object(), "{place}: no schema {name}");
        return check(&all[name], value, all, place);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return,
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = kinds.contains(&kind) || (kind == "integer" && kinds.contains(&"number"));
    assert!(fits, "{place} is {kind}, the document says {kinds:?}: {value}");
    for item in value.as_array().into_iter().flatten() {
        check(&schema["items"], item, all, &format!("{place}[]"));
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let known = &schema["properties"][name];
        let more = &schema["additionalProperties"];
        assert!(
            known.is_object() || !more.is_null(),
            "{place}.{name} is not in the document"
        );
        let member_schema = if known.is_object() { known } else { more };
        check(member_schema, member, all, &format!("{place}.{name}"));
    }
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        assert!(value.get(name).is_some(), "{place}.{name} is missing");
    }
}

#[tokio::test]
async fn real_answers_fit_the_document() {
    let world = World::new().await;
    world.feed.append("acme", "c1");
    let document = world.get("service", "/v1/openapi.json").await.json();
    let schemas = &document["components"]["schemas"];
    let mut checked = 0;
    let mut fresh = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            if operation["tags"] == serde_json::json!(["ingest"]) {
                // Answered by another room; the whole product's tests hold its answers against the document.
                continue;
            }
            let good = operation["responses"]
                .as_object()
                .expect("responses")
                .iter()
                .find(|(status, _)| status.starts_with('2'));
            let (status, response) = good.expect("a good answer");
            let Some((kind, content)) = response["content"]
                .as_object()
                .and_then(|content| content.iter().find(|(kind, _)| kind.contains("json")))
            else {
                continue;
            };
            let id = if path.contains("deals") {
                "d1"
            } else if path.contains("accounts") {
                "a1"
            } else {
                "c1"
            };
            let mut target = path
                .replace("{id}", id)
                .replace("reports/{name}", "reports/pipeline_by_stage")
                .replace("metrics/{name}", "metrics/open_deals")
                .replace("{name}", "contact_engagement")
                .replace("{login}", "mo")
                .replace("{target}", "deals");
            if path.starts_with("/v1/queries/") {
                let query = super::doors::done(&world, "admin", "select 1 as n").await;
                target = path.replace("{id}", &query);
            }
            if target.contains("{report_id}") {
                let saved = &world.api.saved;
                let report = match saved.list("acme").pop() {
                    Some(report) => report,
                    None => saved
                        .save("acme", "mo", "Mine", "SELECT 1 AS n")
                        .await
                        .expect("saved"),
                };
                let daily = Some(("0 7 * * *", "UTC", Target::File));
                saved
                    .schedule("acme", &report.report_id, daily)
                    .await
                    .expect("scheduled");
                target = target.replace("{report_id}", &report.report_id);
            }
            if target.contains("{key_id}") {
                let keys = world.get("admin", "/v1/keys").await.json();
                let key = keys["items"].as_array().expect("keys").last().expect("key")["key_id"]
                    .as_str()
                    .expect("id")
                    .to_owned();
                target = target.replace("{key_id}", &key);
            }
            if path.ends_with("/compare") {
                target.push_str("?from=1&to=2");
            }
            if path.ends_with("/changes") || path == "/v1/waterfall" {
                target.push_str("?from=2026-01-01");
            }
            if path == "/v1/privacy/export" {
                target.push_str("?subject=c1");
            }
            let body = match path.as_str() {
                "/v1/sql" | "/v1/queries" => r#"{"sql":"select * from events"}"#,
                "/v1/keys" => r#"{"role":"service","name":"x"}"#,
                "/v1/models/{target}/train" => "{}",
                "/v1/models/{target}/promote" | "/v1/models/{target}/shadow" => r#"{"version":1}"#,
                "/v1/forecast" => r#"{"what_if":[{"deal_id":"d1","probability":1.0}]}"#,
                "/v1/dead-letters" => r#"{"items":[]}"#,
                "/v1/saved-reports" => r#"{"title":"Mine","sql":"select 1 as n"}"#,
                "/v1/saved-reports/{report_id}/schedule" => {
                    r#"{"cron":"0 7 * * 1","timezone":"Europe/Berlin","target":{"kind":"file"}}"#
                }
                "/v1/privacy/erasures" => r#"{"subject":"c1"}"#,
                "/v1/users" => r#"{"role":"revops","login":"mo","password":"correct horse"}"#,
                _ => "",
            };
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("method");
            let reply = world.call("admin", method, &target, &[], body).await;
            assert_eq!(reply.status.as_str(), status, "{target}: {}", reply.text());
            let first = if kind.contains("ndjson") {
                serde_json::from_str(reply.text().lines().next().expect("a line")).expect("json")
            } else {
                reply.json()
            };
            if first["watermarks"].is_object() {
                let stamped = first["as_of"].as_str() == reply.headers["revgauge-as-of"].to_str().ok();
                assert!(Invariant::AnswersSayHowFresh.check(stamped, &target));
                fresh += 1;
            }
            check(&content["schema"], &first, schemas, &target);
            checked += 1;
        }
    }
    assert!(fresh > 25, "only {fresh} answers said how fresh they are");
    assert!(checked > 25, "only {checked} doors were looked at");
    let problem = world.get("none", "/v1/scores").await.json();
    check(&schemas["Problem"], &problem, schemas, "problem");
}
