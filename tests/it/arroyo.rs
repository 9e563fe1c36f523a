//! `pipelines deploy` against a stand-in for Arroyo's REST API.
//!
//! The stand-in answers as Arroyo's published API does (paths, fields, states of a job); it plans nothing. Whether Arroyo
//! accepts the program's SQL is shown by the dialect tests of the pipelines and was tried on a real one by hand.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    routing::{get, patch, post},
};
use serde_json::{Value, json};

use crate::process::run;

/// Pipelines as the stand-in holds them, and how often each job was looked at.
#[derive(Debug, Default)]
struct Held {
    pipelines: Vec<Value>,
    states: Vec<&'static str>,
    looks: usize,
    refuse: bool,
}

type Shared = Arc<Mutex<Held>>;

async fn arroyo(refuse: bool) -> (String, Shared) {
    let held = Shared::new(Mutex::new(Held {
        refuse,
        ..Held::default()
    }));
    let validate = |State(held): State<Shared>, Json(body): Json<Value>| async move {
        let query = body["query"].as_str().expect("a query");
        assert!(
            query.starts_with("SET updating_ttl") && body["udfs"].is_array(),
            "{body}"
        );
        if held.lock().expect("held").refuse {
            let span = json!({"start": {"line": 7, "column": 3}, "end": {"line": 7, "column": 9}});
            return Json(json!({"graph": null, "errors": [{"message": "no such table", "span": span}]}));
        }
        Json(json!({"graph": {"nodes": [], "edges": []}, "errors": []}))
    };
    let list = |State(held): State<Shared>, Query(page): Query<Value>| async move {
        assert_eq!(page["limit"], "100");
        Json(json!({"data": held.lock().expect("held").pipelines, "has_more": false}))
    };
    let create = |State(held): State<Shared>, headers: HeaderMap, Json(body): Json<Value>| async move {
        if headers
            .get("authorization")
            .is_none_or(|sent| sent != "Bearer sesame")
        {
            return (StatusCode::UNAUTHORIZED, Json(json!({"error": "no key"})));
        }
        let mut held = held.lock().expect("held");
        let id = format!("pl_{}", held.pipelines.len());
        let made = json!({"id": id, "name": body["name"], "query": body["query"], "stop": "none"});
        assert_eq!(body["parallelism"], 2);
        held.pipelines.push(made.clone());
        held.states.push("Running");
        (StatusCode::OK, Json(made))
    };
    let jobs = |State(held): State<Shared>, Path(id): Path<String>| async move {
        let mut held = held.lock().expect("held");
        let place: usize = id.strip_prefix("pl_").expect("id").parse().expect("number");
        held.looks += 1;
        // The first look at anything finds it on its way.
        let state = if held.looks == 1 {
            "Scheduling"
        } else {
            held.states[place]
        };
        Json(json!({"data": [{"id": "job_1", "state": state, "failure_reason": null}]}))
    };
    let stop = |State(held): State<Shared>, Path(id): Path<String>, Json(body): Json<Value>| async move {
        assert_eq!(body, json!({"stop": "checkpoint"}));
        let place: usize = id.strip_prefix("pl_").expect("id").parse().expect("number");
        held.lock().expect("held").states[place] = "Stopped";
        Json(json!({"id": id}))
    };
    let router = Router::new()
        .route("/api/v1/pipelines/validate_query", post(validate))
        .route("/api/v1/pipelines", get(list).post(create))
        .route("/api/v1/pipelines/{id}/jobs", get(jobs))
        .route("/api/v1/pipelines/{id}", patch(stop))
        .with_state(Arc::clone(&held));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, held)
}

async fn deploy(url: &str, more: &[&str]) -> (bool, String) {
    let mut arguments = vec!["--json", "pipelines", "deploy", "--to", url, "--parallelism", "2"];
    arguments.extend(more);
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let output = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().expect("folder");
        run(
            folder.path(),
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    });
    let output = output.await.expect("ran");
    let told = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&told).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_deployed_once_left_alone_when_unchanged_and_replaced_when_asked() {
    let (url, held) = arroyo(false).await;
    let (done, told) = deploy(&url, &["contact_engagement"]).await;
    assert!(
        !done && told.contains("arroyo answered 401") && told.contains("no key"),
        "{told}"
    );
    let keyed = ["--token", "sesame", "contact_engagement"];
    let (done, told) = deploy(&url, &keyed).await;
    assert!(
        done && told.contains(r#""state": "Running""#) && told.contains("pl_0"),
        "{told}"
    );
    let (done, told) = deploy(&url, &keyed).await;
    assert!(
        done && told.contains("unchanged") && told.contains("pl_0"),
        "{told}"
    );
    let more = ["--token", "sesame", "contact_engagement", "deal_activity"];
    let (done, told) = deploy(&url, &more).await;
    assert!(
        !done && told.contains("--replace") && told.contains("pl_0"),
        "{told}"
    );
    let (done, told) = deploy(&url, &[&more[..], &["--replace"]].concat()).await;
    assert!(
        done && told.contains("replaced") && told.contains("pl_1"),
        "{told}"
    );
    let held = held.lock().expect("held");
    assert_eq!(held.states, ["Stopped", "Running"]);
    let query = held.pipelines[1]["query"].as_str().expect("text");
    assert!(
        query.contains("INSERT INTO deal_activity") && query.contains("topic = 'revgauge.events'"),
        "{query}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arroyo_refuses_is_said_with_its_line_and_nothing_is_deployed() {
    let (url, held) = arroyo(true).await;
    let (done, told) = deploy(&url, &["--token", "sesame"]).await;
    assert!(!done && told.contains("line 7: no such table"), "{told}");
    assert!(held.lock().expect("held").pipelines.is_empty());
    let (done, told) = deploy("http://127.0.0.1:9", &[]).await;
    assert!(!done && told.contains("is Arroyo's API running there?"), "{told}");
}
