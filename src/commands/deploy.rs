//! `revgauge pipelines deploy`: layer 1 as a program on an Arroyo cluster, through its REST API.
//!
//! Deploying is repeatable: a program of the same name and text that already runs is left alone; one of another text
//! is replaced only when asked to, since the new one reads its topics from the beginning. Field names are those of
//! Arroyo 0.15 and later; older servers' spellings are read too.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use revgauge_pipelines::arroyo::{self, ArroyoConnector, ArroyoOptions};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Context, client::encode};
use crate::{
    cli::{Broker, DeployArgs},
    output::{self, say},
};

/// Pipelines asked for at once when looking for one by its name.
const PAGE: usize = 100;
/// How often a job's state is asked for.
const LOOK: Duration = Duration::from_millis(500);
/// Longest wait for one answer; planning a large program takes Arroyo seconds.
const ANSWER: Duration = Duration::from_secs(60);
/// States of a job that will not change by themselves.
const ENDED: [&str; 3] = ["Stopped", "Finished", "Failed"];

pub(crate) async fn run(context: &Context, args: DeployArgs) -> Result<()> {
    let program = arroyo::program(&args.names, &options(context, &args)).await?;
    let Some(to) = &args.to else {
        output::bytes(program.as_bytes())?;
        return Ok(());
    };
    let cluster = Cluster::new(to, args.token.as_deref())?;
    let deployed = cluster.deploy(&args, &program).await?;
    if context.common.json {
        say!("{deployed:#}");
    } else {
        let text = |name: &str| deployed.get(name).and_then(Value::as_str).unwrap_or_default();
        say!(
            "{} '{}' is {} as {}",
            text("outcome"),
            args.name,
            text("state"),
            text("id")
        );
        say!("{}", text("url"));
    }
    Ok(())
}

fn options(context: &Context, args: &DeployArgs) -> ArroyoOptions {
    let brokers = args.brokers.clone();
    let connector = match args.connector {
        Broker::Kafka => ArroyoConnector::Kafka {
            bootstrap_servers: brokers.unwrap_or_else(|| context.settings.server.arroyo_brokers.clone()),
        },
        Broker::Fluvio => ArroyoConnector::Fluvio { endpoint: brokers },
    };
    let mut options = ArroyoOptions::new(connector);
    options.topic_prefix.clone_from(&args.topic_prefix);
    options
}

/// An Arroyo cluster's API.
struct Cluster {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Cluster {
    fn new(to: &str, token: Option<&str>) -> Result<Self> {
        let known = url::Url::parse(to).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !known {
            bail!("'{to}' is no Arroyo server's URL: write it as http://127.0.0.1:5115");
        }
        let base = to.trim_end_matches('/').trim_end_matches("/api/v1").to_owned();
        Ok(Self {
            http: reqwest::Client::builder().timeout(ANSWER).build()?,
            base,
            token: token.map(str::to_owned),
        })
    }

    /// Asks, and takes the JSON of a success.
    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let url = format!("{}/api/v1{path}", self.base);
        let mut request = self.http.request(method.parse()?, &url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(serde_json::to_vec(body)?);
        }
        let answer = request
            .send()
            .await
            .with_context(|| format!("cannot reach {}: is Arroyo's API running there?", self.base))?;
        let status = answer.status();
        let bytes = answer
            .bytes()
            .await
            .with_context(|| format!("cannot read the answer of {url}"))?;
        let told: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(told);
        }
        let reason = told.get("error").and_then(Value::as_str).map_or_else(
            || String::from_utf8_lossy(&bytes).chars().take(300).collect(),
            str::to_owned,
        );
        bail!("arroyo answered {} to {method} {path}: {reason}", status.as_u16())
    }

    async fn deploy(&self, args: &DeployArgs, program: &str) -> Result<Value> {
        self.validate(program).await?;
        let mut outcome = "program";
        if let Some((id, query)) = self.running(&args.name).await? {
            if query.trim() == program.trim() {
                return self.told("unchanged program", &id, args).await;
            }
            if !args.replace {
                bail!(
                    "'{}' already runs at {} as {id} with another text: compare it, then deploy with --replace \
                     (the new program reads its topics from the beginning)",
                    args.name,
                    self.base
                );
            }
            self.stop(&id, args.wait_seconds).await?;
            outcome = "replaced program";
        }
        let body = json!({"name": args.name, "query": program, "parallelism": args.parallelism});
        let made = self.ask("POST", "/pipelines", Some(&body)).await?;
        let id = made.get("id").and_then(Value::as_str);
        let id =
            id.ok_or_else(|| anyhow!("arroyo took the program but its answer names no pipeline: {made}"))?;
        self.told(outcome, id, args).await
    }

    /// Has Arroyo plan the program without running it.
    async fn validate(&self, program: &str) -> Result<()> {
        let body = json!({"query": program, "udfs": []});
        let told = self.ask("POST", "/pipelines/validate_query", Some(&body)).await?;
        let errors = told.get("errors").and_then(Value::as_array);
        let errors: Vec<String> = errors.into_iter().flatten().map(planning_error).collect();
        if errors.is_empty() {
            return Ok(());
        }
        bail!(
            "arroyo refuses the program; nothing was deployed: {}",
            errors.join("; ")
        )
    }

    /// Id and text of the pipeline of that name that has not ended.
    async fn running(&self, name: &str) -> Result<Option<(String, String)>> {
        let mut after = String::new();
        loop {
            let page = self
                .ask("GET", &format!("/pipelines?limit={PAGE}{after}"), None)
                .await?;
            let found = page
                .get("data")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let text = |pipeline: &Value, key: &str| -> Option<String> {
                Some(pipeline.get(key)?.as_str()?.to_owned())
            };
            for pipeline in &found {
                if text(pipeline, "name").as_deref() != Some(name) {
                    continue;
                }
                if let Some(id) = text(pipeline, "id")
                    && !ENDED.contains(&&*self.job(&id).await?.0)
                {
                    return Ok(Some((id, text(pipeline, "query").unwrap_or_default())));
                }
            }
            let more = either(&page, "has_more", "hasMore").and_then(Value::as_bool);
            match found.last().and_then(|last| text(last, "id")) {
                Some(last) if more == Some(true) => after = format!("&starting_after={}", encode(&last)),
                _ => return Ok(None),
            }
        }
    }

    /// State of a pipeline's job, and why it failed if it did.
    async fn job(&self, id: &str) -> Result<(String, Option<String>)> {
        let jobs = self
            .ask("GET", &format!("/pipelines/{}/jobs", encode(id)), None)
            .await?;
        let job = jobs.pointer("/data/0").cloned().unwrap_or_default();
        let state = job
            .get("state")
            .and_then(Value::as_str)
            .unwrap_or("Created")
            .to_owned();
        let failure = ["failure_reason", "failure_message", "failureMessage"];
        let failure = failure.iter().find_map(|key| job.get(*key)?.as_str());
        Ok((state, failure.map(str::to_owned)))
    }

    async fn stop(&self, id: &str, wait_seconds: u64) -> Result<()> {
        let body = json!({"stop": "checkpoint"});
        self.ask("PATCH", &format!("/pipelines/{}", encode(id)), Some(&body))
            .await?;
        self.until(id, wait_seconds, "stopped", |state| ENDED.contains(&state))
            .await
            .map(drop)
    }

    /// Waits until the job runs, and says what there is.
    async fn told(&self, outcome: &str, id: &str, args: &DeployArgs) -> Result<Value> {
        let running = |state: &str| state == "Running" || ENDED.contains(&state);
        let (state, failure) = self.until(id, args.wait_seconds, "running", running).await?;
        if ENDED.contains(&&*state) {
            let failure = failure.unwrap_or_else(|| "it gives no reason".to_owned());
            bail!("arroyo took '{}' as {id} but it is {state}: {failure}", args.name);
        }
        let url = format!("{}/pipelines/{id}", self.base);
        Ok(json!({"id": id, "name": args.name, "state": state, "outcome": outcome, "url": url}))
    }

    async fn until(
        &self,
        id: &str,
        wait_seconds: u64,
        wanted: &str,
        reached: impl Fn(&str) -> bool,
    ) -> Result<(String, Option<String>)> {
        let patience = Instant::now() + Duration::from_secs(wait_seconds);
        loop {
            let (state, failure) = self.job(id).await?;
            if reached(&state) {
                return Ok((state, failure));
            }
            if Instant::now() >= patience {
                bail!(
                    "pipeline {id} at {} is {state} and not {wanted} after {wait_seconds} s: look there, or wait longer \
                     with --wait-seconds",
                    self.base
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn either<'a>(value: &'a Value, one: &str, other: &str) -> Option<&'a Value> {
    value.get(one).or_else(|| value.get(other))
}

/// An error of Arroyo's planner with its place; older servers give a plain text.
fn planning_error(error: &Value) -> String {
    let message = error.as_str().or_else(|| error.get("message")?.as_str());
    let message = message.map_or_else(|| error.to_string(), str::to_owned);
    match error.pointer("/span/start/line").and_then(Value::as_u64) {
        Some(line) => format!("line {line}: {message}"),
        None => message,
    }
}
