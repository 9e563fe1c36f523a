//! Keys, roles, parameters, pages.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::World;

#[tokio::test]
async fn nothing_but_health_opens_without_a_key() {
    let world = World::new().await;
    for path in [
        "/v1/contacts",
        "/v1/sql",
        "/v1/nothing",
        "/metrics",
        "/nothing",
        "/v1/openapi.json",
        "/v1/score-feed/stream",
    ] {
        let reply = world.get("none", path).await;
        assert_eq!(
            (reply.status, reply.json()["code"].as_str()),
            (StatusCode::UNAUTHORIZED, Some("unauthorized")),
            "{path}"
        );
    }
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(world.get("none", path).await.status, StatusCode::OK, "{path}");
    }
    let secret = world.keys["revops"].clone();
    for (name, value) in [
        ("x-api-key", secret.clone()),
        (
            "authorization",
            format!(
                "Basic {}",
                base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{secret}:"))
            ),
        ),
    ] {
        let reply = world
            .call("none", Method::GET, "/v1/pipelines", &[(name, &value)], "")
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn roles_open_their_doors_only() {
    let world = World::new().await;
    for (path, service, revops) in [
        ("/v1/contacts/c1/scores", 200, 200),
        ("/v1/scores", 200, 200),
        ("/v1/score-feed", 200, 200),
        ("/v1/contacts", 403, 200),
        ("/v1/deals/d1/timeline", 403, 200),
        ("/v1/keys", 403, 403),
    ] {
        assert_eq!(
            world.get("service", path).await.status.as_u16(),
            service,
            "service {path}"
        );
        assert_eq!(
            world.get("revops", path).await.status.as_u16(),
            revops,
            "revops {path}"
        );
        assert_eq!(
            world.get("admin", path).await.status.as_u16(),
            200,
            "admin {path}"
        );
    }
    assert_eq!(
        world.sql("service", "select 1").await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn bad_requests_are_answered_with_what_to_do() {
    let world = World::new().await;
    for (path, status, code, says) in [
        ("/v1/contact", 404, "unknown_path", "/v1/contacts"),
        ("/v1/contacts?onwer_id=x", 400, "unknown_parameter", "owner_id"),
        ("/v1/contacts?limit=0", 400, "bad_parameter", "between"),
        ("/v1/contacts?limit=many", 400, "bad_parameter", "limit"),
        ("/v1/contacts?limit=1&limit=2", 400, "bad_parameter", "twice"),
        ("/v1/contacts?cursor=%21", 400, "bad_cursor", "next"),
        ("/v1/contacts/c1?as_of=yesterday", 400, "bad_instant", "RFC 3339"),
        ("/v1/contacts/c1?as_of=2199-01-01", 400, "as_of_ahead", "at"),
        ("/v1/contacts/nobody", 404, "not_found", "nobody"),
        ("/v1/contacts/nobody/timeline", 404, "not_found", "nobody"),
        ("/v1/contacts/c1/changes", 400, "bad_parameter", "from"),
        (
            "/v1/contacts/c1/changes?from=2026-01-02&to=2026-01-01",
            400,
            "bad_request",
            "after",
        ),
        ("/v1/scores?entity_kind=rep", 400, "bad_parameter", "deal"),
        ("/v1/alerts?severity=huge", 400, "bad_parameter", "medium"),
        ("/v1/score-feed?after=x", 400, "bad_parameter", "cursor"),
    ] {
        let reply = world.get("admin", path).await;
        let problem = reply.json();
        assert_eq!(
            (reply.status.as_u16(), problem["code"].as_str()),
            (status, Some(code)),
            "{path}: {problem}"
        );
        assert!(problem.to_string().contains(says), "{path}: {problem}");
        assert!(reply.headers.contains_key("x-request-id"));
    }
    let reply = world.call("admin", Method::PUT, "/v1/contacts", &[], "").await;
    assert_eq!(
        (reply.status, reply.json()["code"].as_str()),
        (StatusCode::METHOD_NOT_ALLOWED, Some("method_not_allowed"))
    );
}

#[tokio::test]
async fn rows_refused_elsewhere_are_kept_for_the_caller_whoever_they_say_they_are_of() {
    let world = World::new().await;
    let row = r#"{"source":"import:deals.csv:17","refusal":{"code":"bad_number","field":"amount","message":"no"},"body":"7;x","body_is_base64":false}"#;
    let body = format!(r#"{{"items":[{row}]}}"#);
    let reply = world
        .call("admin", Method::POST, "/v1/dead-letters", &[], &body)
        .await;
    assert_eq!((reply.status, &reply.json()["kept"]), (StatusCode::OK, &1.into()));
    let kept = world.kept.lock().clone();
    assert_eq!(
        (&*kept[0].tenant_id, &*kept[0].source, &*kept[0].body),
        ("acme", "import:deals.csv:17", "7;x")
    );
    for (key, body, wanted) in [
        ("service", body.clone(), StatusCode::FORBIDDEN),
        (
            "admin",
            body.replace("import:deals.csv:17", ""),
            StatusCode::BAD_REQUEST,
        ),
        (
            "admin",
            body.replace(r#""source""#, r#""tenant_id":"umbrella","source""#),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let reply = world
            .call(key, Method::POST, "/v1/dead-letters", &[], &body)
            .await;
        assert_eq!(reply.status, wanted, "{}", reply.text());
    }
    assert_eq!(world.kept.lock().len(), 1);
}

#[tokio::test]
async fn duplicate_companies_come_with_evidence_by_rest_and_by_sql() {
    let world = World::new().await;
    let by_rest = world.get("revops", "/v1/accounts/duplicates").await.json();
    assert_eq!(by_rest["total"], 2, "{by_rest}");
    let names = world
        .get("revops", "/v1/accounts/duplicates?shared=name")
        .await
        .json();
    assert_eq!(
        (&names["total"], &names["items"][0]["confidence"]),
        (&1.into(), &0.7.into())
    );
    let by_sql = world
        .sql(
            "revops",
            "select account_ids, confidence, evidence from duplicate_companies where shared = 'domain'",
        )
        .await
        .json();
    assert_eq!(by_sql["rows"][0]["account_ids"], r#"["a1","a2"]"#, "{by_sql}");
    let refused = world.get("service", "/v1/accounts/duplicates").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn pages_cover_a_list_once() {
    let world = World::new().await;
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = world
            .get("revops", &format!("/v1/contacts?limit=2&cursor={cursor}"))
            .await
            .json();
        seen.extend(
            page["items"]
                .as_array()
                .expect("items")
                .iter()
                .map(|item| item["contact_id"].clone()),
        );
        match page["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(json!(seen), json!(["c1", "c2", "c3", "c4", "c5"]));
    for (query, wanted) in [
        ("tier=A", json!(["c1", "c4"])),
        ("owner_id=rep-2", json!(["c2", "c4"])),
        ("q=P3%40", json!(["c3"])),
        ("tier=A&owner_id=rep-1", json!(["c1"])),
        ("account_id=a9", json!([])),
    ] {
        let page = world.get("revops", &format!("/v1/contacts?{query}")).await.json();
        let ids: Vec<Value> = page["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| item["contact_id"].clone())
            .collect();
        assert_eq!(json!(ids), wanted, "{query}");
    }
}

#[tokio::test]
async fn an_entity_is_told_with_its_scores_history_and_events() {
    let world = World::new().await;
    let one = world
        .get("revops", "/v1/contacts/p1%40acme.io?as_of=2026-01-20")
        .await
        .json();
    assert_eq!(
        (one["entity_id"].as_str(), one["as_of"].as_str()),
        (Some("c1"), Some("2026-01-20T00:00:00Z"))
    );
    assert_eq!(one["object"]["name"], "Name 1");
    assert_eq!(one["scores"][0]["value"], 91.0);
    let history = world
        .get(
            "revops",
            "/v1/contacts/c1/scores/history?score=engagement&limit=3",
        )
        .await
        .json();
    assert_eq!(history["entries"].as_array().map(Vec::len), Some(3));
    assert_eq!(history["entries"][0]["position"], 1, "newest first");
    assert_eq!(history["entries"][0]["detail"]["why"], "x");
    assert_eq!(history["more"], true);
    let mut seen = Vec::new();
    let mut before = String::new();
    loop {
        let page = world
            .get(
                "revops",
                &format!("/v1/contacts/c1/timeline?limit=2&before={before}"),
            )
            .await
            .json();
        seen.extend(
            page["events"]
                .as_array()
                .expect("events")
                .iter()
                .map(|e| e["event_id"].as_str().expect("id").to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => before = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(
        seen,
        ["e1", "e0", "e3", "e2", "e5", "e4"],
        "newest first, ties by id, none twice"
    );
    let people = world.get("revops", "/v1/deals/d1/stakeholders").await.json();
    let person = &people["stakeholders"][0];
    assert_eq!(
        (
            person["contact_id"].as_str(),
            person["roles"][0].as_str(),
            person["authority"].as_f64()
        ),
        (Some("c1"), Some("champion"), Some(0.7))
    );
    assert_eq!(person["last_inbound"], "2026-01-30T00:00:00Z");
}

#[tokio::test]
async fn the_queue_is_ordered_and_the_unscored_come_last() {
    let world = World::new().await;
    let ids = |answer: &Value| -> Vec<String> {
        answer["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|i| i["entity_id"].as_str().expect("id").to_owned())
            .collect()
    };
    let queue = world
        .get("service", "/v1/scores?entity_kind=contact&limit=3")
        .await
        .json();
    assert_eq!(
        (ids(&queue), queue["more"].as_bool()),
        (
            vec!["c1".to_owned(), "c4".to_owned(), "c2".to_owned()],
            Some(true)
        )
    );
    assert_eq!(queue["items"][0]["contributions"][0]["factor"], "email.replied");
    let worst = world
        .get("service", "/v1/scores?entity_kind=deal&limit=1")
        .await
        .json();
    assert_eq!(
        (ids(&worst), worst["score"].as_str()),
        (vec!["d5".to_owned()], Some("health"))
    );
    let past = world
        .get("service", "/v1/scores?tier=A&as_of=2026-01-01")
        .await
        .json();
    assert_eq!(
        (ids(&past).len(), past["as_of"].as_str()),
        (2, Some("2026-01-01T00:00:00Z"))
    );
    let unscored = world.get("service", "/v1/scores?score=fit").await.json();
    assert_eq!(unscored["items"][0]["value"], Value::Null);
}

#[tokio::test]
async fn keys_are_made_shown_once_rotated_and_revoked() {
    let mut world = World::new().await;
    let body = r#"{"role":"revops","name":"report","expires_in_days":30}"#;
    let made = world.call("admin", Method::POST, "/v1/keys", &[], body).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made = made.json();
    let secret = made["secret"].as_str().expect("secret").to_owned();
    let key_id = made["key"]["key_id"].as_str().expect("id").to_owned();
    assert!(
        !world
            .get("admin", "/v1/keys")
            .await
            .text()
            .contains(&secret[22..])
    );
    world.keys.insert("new", secret);
    assert_eq!(world.get("new", "/v1/contacts").await.status, StatusCode::OK);
    let rotated = world
        .call(
            "admin",
            Method::POST,
            &format!("/v1/keys/{key_id}/rotate?grace_seconds=0"),
            &[],
            "",
        )
        .await;
    assert_eq!(rotated.status, StatusCode::CREATED);
    assert_eq!(
        world.get("new", "/v1/contacts").await.status,
        StatusCode::UNAUTHORIZED
    );
    let successor = rotated.json();
    world
        .keys
        .insert("new", successor["secret"].as_str().expect("secret").to_owned());
    assert_eq!(world.get("new", "/v1/contacts").await.status, StatusCode::OK);
    let path = format!("/v1/keys/{}", successor["key"]["key_id"].as_str().expect("id"));
    assert_eq!(
        world.call("admin", Method::DELETE, &path, &[], "").await.status,
        StatusCode::OK
    );
    assert_eq!(
        world.get("new", "/v1/contacts").await.status,
        StatusCode::UNAUTHORIZED
    );
    let bad = world
        .call(
            "admin",
            Method::POST,
            "/v1/keys",
            &[],
            r#"{"role":"owner","name":"x"}"#,
        )
        .await;
    assert!(
        bad.json()["detail"]
            .as_str()
            .is_some_and(|text| text.contains("owner") && text.contains("admin")),
        "{}",
        bad.text()
    );
    let own = world.get("admin", "/v1/keys").await.json()["items"][0]["key_id"]
        .as_str()
        .expect("id")
        .to_owned();
    let reply = world
        .call("admin", Method::DELETE, &format!("/v1/keys/{own}"), &[], "")
        .await;
    assert_eq!(reply.json()["code"], "own_key");
}

#[tokio::test]
async fn the_offline_door_answers_too() {
    let world = World::new().await;
    let admin =
        revgauge_contract::access::Caller::new("acme", "operator", revgauge_contract::access::Role::Admin);
    let request = crate::sql::SqlRequest {
        sql: "select count(*) from events".to_owned(),
        ..Default::default()
    };
    let answer = crate::sql::run_sql(&world.api, &admin, request)
        .await
        .expect("answers");
    assert_eq!((answer.batches.len(), answer.truncated), (1, false));
}
