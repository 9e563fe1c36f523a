//! Both doors through their router, over a journal in memory.

mod captures;
mod limits;
mod native;
mod segment;

use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt;
use revgauge_contract::{
    ErrorKind, Position, Timestamp,
    access::{Authenticator, Caller, Role},
    error::Failure,
    event::Event,
    intake::{DeadLetter, DeadLetters, EventIntake},
    schema::{batch_of, text_column, time_column},
    time::ManualClock,
};
use serde_json::Value;
use tower::ServiceExt;

use super::{Door, HttpSettings, router};
use crate::event_names::EventNames;

/// The instant all tests stand at: 2026-11-20T12:04:30Z, when the captures were made.
const NOW: Timestamp = Timestamp(1_795_176_270_000_000);

#[derive(Default)]
struct Memory {
    batches: Mutex<Vec<RecordBatch>>,
    letters: Mutex<Vec<DeadLetter>>,
    failing: Mutex<Option<ErrorKind>>,
    losing_letters: Mutex<bool>,
}

#[async_trait]
impl EventIntake for Memory {
    async fn append(&self, events: Vec<Event>) -> Result<Position, Failure> {
        self.append_batch(batch_of(&events)).await
    }

    async fn append_batch(&self, batch: RecordBatch) -> Result<Position, Failure> {
        if let Some(kind) = *self.failing.lock().expect("lock") {
            return Err(Failure::new(kind, "told to fail"));
        }
        let mut batches = self.batches.lock().expect("lock");
        batches.push(batch);
        Ok(Position(batches.len() as u64))
    }
}

#[async_trait]
impl DeadLetters for Memory {
    async fn keep(&self, letters: Vec<DeadLetter>) -> Result<(), Failure> {
        if *self.losing_letters.lock().expect("lock") {
            return Err(Failure::new(ErrorKind::External, "told to lose letters"));
        }
        self.letters.lock().expect("lock").extend(letters);
        Ok(())
    }
}

/// A stored event as a test looks at it.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    tenant_id: String,
    event_id: String,
    kind: String,
    event_type: String,
    event_time: Timestamp,
    source: String,
    account_id: Option<String>,
    contact_id: Option<String>,
    deal_id: Option<String>,
    email: Option<String>,
    domain: Option<String>,
    machine_class: String,
    payload: Value,
}

impl Memory {
    fn rows(&self) -> Vec<Row> {
        let batches = self.batches.lock().expect("lock");
        let rows = batches.iter().flat_map(|batch| {
            (0..batch.num_rows()).map(move |row| {
                let optional = |name: &str| {
                    let column = text_column(batch, name).expect("text");
                    column.iter().nth(row).flatten().map(str::to_owned)
                };
                let text = |name: &str| optional(name).expect("not null");
                Row {
                    tenant_id: text("tenant_id"),
                    event_id: text("event_id"),
                    kind: text("kind"),
                    event_type: text("type"),
                    event_time: Timestamp(time_column(batch, "event_time").expect("time").value(row)),
                    source: text("source"),
                    account_id: optional("account_id"),
                    contact_id: optional("contact_id"),
                    deal_id: optional("deal_id"),
                    email: optional("email"),
                    domain: optional("domain"),
                    machine_class: text("machine_class"),
                    payload: serde_json::from_str(&text("payload")).expect("payload is json"),
                }
            })
        });
        rows.collect()
    }

    fn known_at(&self) -> Vec<Timestamp> {
        let batches = self.batches.lock().expect("lock");
        let times = batches.iter().filter_map(|batch| time_column(batch, "known_at"));
        times
            .flat_map(|column| {
                column
                    .values()
                    .iter()
                    .map(|at| Timestamp(*at))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn letters(&self) -> Vec<DeadLetter> {
        self.letters.lock().expect("lock").clone()
    }
}

/// `wk_test_123` and every key of the captures belong to `acme`, `rg_other` to `other`, `rg_reader` may only read.
struct Keys;

impl Authenticator for Keys {
    fn authenticate(&self, key: &str) -> Option<Caller> {
        let (tenant_id, role) = match key {
            "rg_key" | "wk_test_123" | "wk_rudder" | "wk" => ("acme", Role::Service),
            "rg_other" => ("other", Role::Admin),
            "rg_reader" => ("acme", Role::Revops),
            _ => return None,
        };
        Some(Caller::new(tenant_id, key, role))
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in '{}'", self.text))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

struct Stage {
    memory: Arc<Memory>,
    clock: Arc<ManualClock>,
    router: Router,
}

impl Stage {
    fn new() -> Self {
        Self::with(HttpSettings::default())
    }

    fn with(settings: HttpSettings) -> Self {
        let memory = Arc::new(Memory::default());
        let clock = Arc::new(ManualClock::at(NOW));
        let door = Door::new(
            Arc::clone(&memory) as Arc<dyn EventIntake>,
            Arc::clone(&memory) as Arc<dyn DeadLetters>,
            Arc::new(Keys),
            Arc::clone(&clock) as Arc<dyn revgauge_contract::Clock>,
            settings,
            Arc::new(EventNames::shipped()),
        );
        Self {
            memory,
            clock,
            router: router(Arc::new(door.expect("settings"))),
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.expect("body").to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(bytes.to_vec()).expect("utf-8"),
        }
    }

    async fn call(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).expect("request")).await
    }

    /// Posts to the native door with the key of `acme`.
    async fn events(&self, body: impl Into<Body>) -> Answer {
        self.call("/v1/events", &[("authorization", "Bearer rg_key")], body)
            .await
    }

    /// Posts to a Segment route with the write key of `acme`.
    async fn segment(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.call(path, &[("authorization", "Basic d2tfdGVzdF8xMjM6")], body)
            .await
    }
}
