//! A server process under test, on a folder of its own.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use revgauge_connectors::generator::{GeneratorConfig, Organisation};
use revgauge_contract::{Clock as _, event::EventDraft, time::SystemClock};
use serde_json::Value;

/// The executable under test.
pub(crate) const REVGAUGE: &str = env!("CARGO_BIN_EXE_revgauge");

/// A running `revgauge serve`.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
    pub(crate) key: String,
    http: reqwest::Client,
}

/// A test that fails takes its server with it.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The tenant the tests work for.
pub(crate) const TENANT: &str = "acme";

impl Process {
    /// Starts a server on a folder and waits until it listens.
    pub(crate) fn start(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(REVGAUGE)
            .args(["serve", "--listen", "127.0.0.1:0", "--store"])
            .arg(folder)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the executable starts");
        let out = child.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(out)
            .read_line(&mut line)
            .expect("it says where it listens");
        assert!(line.starts_with("listening on "), "it said: {line:?}");
        let run: Value =
            serde_json::from_slice(&std::fs::read(folder.join("run/server.json")).expect("run file"))
                .expect("run file is JSON");
        let text = |name: &str| run[name].as_str().expect("text").to_owned();
        let key = format!("rg_operator_{}_{TENANT}", text("operator_secret"));
        Self {
            child,
            url: text("url"),
            key,
            http: reqwest::Client::new(),
        }
    }

    /// Process id, for signals.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a process that was killed.
    pub(crate) fn wait(mut self) {
        self.child.wait().expect("gone");
    }

    /// SIGTERM, and wait for an orderly end.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .expect("kill")
                .success()
        );
        let status = self.child.wait().expect("ended");
        assert!(status.success(), "ended with {status}");
    }

    /// Posts a body; the status and the JSON answer, or the transport's failure.
    pub(crate) async fn post(
        &self,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> Result<(u16, Value), reqwest::Error> {
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .bearer_auth(&self.key)
            .header("content-type", kind);
        let answer = request.body(body).send().await?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    /// Gets a JSON answer and its status.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let request = self
            .http
            .get(format!("{}{path}", self.url))
            .bearer_auth(&self.key);
        let answer = request.send().await.expect("answered");
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.expect("body");
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Rows of a query that must succeed. Where the server says that it still catches up with what it acknowledged, the
    /// question is put again, as its answer asks, for two minutes at most.
    pub(crate) async fn sql(&self, sql: &str) -> Vec<Value> {
        let body = serde_json::to_vec(&serde_json::json!({"sql": sql})).expect("JSON");
        let started = Instant::now();
        loop {
            let (status, answer) = self
                .post("/v1/sql", "application/json", body.clone())
                .await
                .expect("answered");
            let catching_up = status == 503 && answer["code"] == "source_busy";
            if catching_up && started.elapsed() < Duration::from_secs(120) {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            assert_eq!(status, 200, "{sql}: {answer}");
            return answer["rows"].as_array().expect("rows").clone();
        }
    }

    /// The single number of a query.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let rows = self.sql(sql).await;
        let row = rows.first().and_then(Value::as_object).expect("one row");
        row.values()
            .next()
            .and_then(Value::as_i64)
            .unwrap_or_else(|| panic!("{sql}: {row:?}"))
    }

    /// Asks again until the check passes or a minute is over.
    pub(crate) async fn eventually(&self, sql: &str, wanted: i64) {
        let started = Instant::now();
        loop {
            let got = self.number(sql).await;
            if got == wanted {
                return;
            }
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "{sql}: {got}, wanted {wanted}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Runs a command of the executable on a folder to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(REVGAUGE)
        .args(["--tenant", TENANT, "--store"])
        .arg(folder)
        .args(arguments)
        .output()
        .expect("the executable starts");
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    }
    output
}

/// Sends a made-up organisation's days up to now.
pub(crate) async fn fill(process: &Process, accounts: u32, days: u32) {
    let config = GeneratorConfig {
        accounts,
        days,
        ..GeneratorConfig::default()
    };
    let now = SystemClock.now();
    let mut organisation = Organisation::new(config.ending_before(now)).expect("valid");
    // Meetings of the coming days are planned already; like the demo, only what has happened is sent.
    let drafts: Vec<EventDraft> = std::iter::from_fn(|| organisation.next_day())
        .flatten()
        .filter(|draft| draft.event_time.is_some_and(|at| at <= now))
        .collect();
    for batch in drafts.chunks(500) {
        let mut body = Vec::new();
        for draft in batch {
            serde_json::to_writer(&mut body, draft).expect("JSON");
            body.push(b'\n');
        }
        let path = "/v1/events?verbose=false&history=true";
        let (status, answer) = process
            .post(path, "application/x-ndjson", body)
            .await
            .expect("answered");
        assert_eq!(status, 200, "{answer}");
    }
}

/// A set of real data, or `None` said aloud where it is absent.
pub(crate) fn dataset(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/datasets")
        .join(name);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: the data set {name} is not beside the repository");
    None
}
