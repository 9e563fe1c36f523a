//! `revgauge import`: files through a field mapping, into the running server or the store.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result, anyhow};
use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStore;
use revgauge_connectors::files::{
    self, EventSink, ImportReport, ImportSettings, Input, IntakeSink, Plan, Progress, ndjson_of,
};
use revgauge_contract::{
    Clock, ErrorKind,
    error::Failure,
    intake::{DeadLetter, DeadLetters, EventIntake},
    time::SystemClock,
};
use serde_json::{Value, json};

use super::{Client, Context};
use crate::{
    cli::ImportArgs,
    output::{self, say},
};

/// Problems listed after an import; a dry run lists all it kept.
const FIRST_PROBLEMS: usize = 10;
/// Events sent to a running server in one request.
const REQUEST_EVENTS: usize = 2_000;

pub(crate) async fn run(context: Context, args: ImportArgs) -> Result<()> {
    let plan = plan(&args.mapping)?;
    let inputs = inputs(&context, &args.paths).await?;
    let settings = ImportSettings {
        first_rows: args.show,
        ..ImportSettings::default()
    };
    let reception = files::reception(Arc::from(context.common.tenant.as_str()), SystemClock.now());
    let bar = output::progress(Some(inputs.iter().map(|input| input.bytes).sum()), "bytes");
    let mut progress = |done: &Progress| {
        bar.set_position(done.bytes_done);
        bar.set_message(format!("{} events", output::count(done.accepted)));
    };
    if args.dry_run {
        let dry = files::dry_run(&plan, &inputs, &reception, &settings, &mut progress).await?;
        bar.finish_and_clear();
        if context.common.json {
            say!("{:#}", json!(dry));
        } else {
            for event in &dry.first {
                say!("{event:#}");
            }
            tell(&dry.report, true);
            say!("dry run: nothing was written");
        }
        return Ok(());
    }
    let client = Client::connect(&context).await?;
    let mut sink: Box<dyn EventSink + '_> = match client.node() {
        Some(node) => {
            let intake: Arc<dyn EventIntake> = Arc::clone(&node.rooms().journal) as _;
            let letters: Arc<dyn DeadLetters> = Arc::clone(&node.rooms().dead_letters) as _;
            Box::new(IntakeSink::new(intake, letters))
        }
        None => Box::new(ServerSink { client: &client }),
    };
    let outcome = files::run(
        &plan,
        &inputs,
        &reception,
        &settings,
        sink.as_mut(),
        &mut progress,
    )
    .await;
    drop(sink);
    bar.finish_and_clear();
    client.close().await?;
    let report = outcome?;
    if context.common.json {
        say!("{:#}", json!(report));
    } else {
        tell(&report, false);
    }
    Ok(())
}

fn plan(mapping: &str) -> Result<Plan> {
    if mapping == "events" {
        return Ok(Plan::events());
    }
    if let Some(text) = files::shipped(mapping) {
        return Ok(Plan::load(text, mapping)?);
    }
    let text = std::fs::read_to_string(mapping).with_context(|| {
        let shipped: Vec<&str> = files::SHIPPED.iter().map(|(name, _)| *name).collect();
        format!(
            "'{mapping}' is neither a file nor a shipped mapping (events, {})",
            shipped.join(", ")
        )
    })?;
    Ok(Plan::load(&text, mapping)?)
}

async fn inputs(context: &Context, paths: &[String]) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for path in paths {
        if path.starts_with("s3://") {
            let (root, inner) = split_url(path)?;
            let mut options = context.settings.store.options.clone();
            options.probe = false;
            let store: Arc<dyn ObjectStore> = revgauge_store::open(&root, &options).await?.store;
            inputs.extend(files::discover_in_store(&store, &inner).await?);
        } else {
            inputs.extend(files::discover(Path::new(path))?);
        }
    }
    Ok(inputs)
}

/// `s3://bucket/a/b` as the bucket's URL and the path in it.
fn split_url(url: &str) -> Result<(String, String)> {
    let rest = url
        .strip_prefix("s3://")
        .ok_or_else(|| anyhow!("'{url}' is no s3:// URL"))?;
    let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((format!("s3://{bucket}"), path.to_owned()))
}

/// Sends to a running server as history.
struct ServerSink<'a> {
    client: &'a Client,
}

#[async_trait]
impl EventSink for ServerSink<'_> {
    async fn take(&mut self, events: RecordBatch) -> Result<(), Failure> {
        let mut first = 0;
        while first < events.num_rows() {
            let rows = REQUEST_EVENTS.min(events.num_rows() - first);
            let body = Bytes::from(ndjson_of(&events.slice(first, rows)));
            self.post(body)
                .await
                .map_err(|error| Failure::new(ErrorKind::External, format!("{error:#}")))?;
            first += rows;
        }
        Ok(())
    }

    async fn refuse(&mut self, letters: Vec<DeadLetter>) -> Result<(), Failure> {
        // The server judges rows for itself only as events; rows that never became one are told to the caller.
        tracing::warn!(rows = letters.len(), "rows were refused and not sent");
        Ok(())
    }
}

impl ServerSink<'_> {
    async fn post(&self, body: Bytes) -> Result<()> {
        let path = "/v1/events?verbose=false&history=true";
        for attempt in 1..=8_u32 {
            let answer = self
                .client
                .send("POST", path, "application/x-ndjson", body.clone())
                .await?;
            match answer.status {
                200 | 207 => return Ok(()),
                429 | 503 => tokio::time::sleep(std::time::Duration::from_millis(100 << attempt)).await,
                _ => return Err(anyhow!("{}", answer.refusal())),
            }
        }
        Err(anyhow!(
            "the server stayed too busy to take the events: import again later, nothing doubles"
        ))
    }
}

fn tell(report: &ImportReport, all: bool) {
    say!(
        "{} rows read, {} events made, {} rows refused, {:.1} s",
        output::count(report.rows),
        output::count(report.accepted),
        output::count(report.refused_rows()),
        report.seconds
    );
    let types: Vec<Value> = report
        .events
        .iter()
        .map(|(name, events)| json!({"type": name, "events": events}))
        .collect();
    say!("{}", output::listing(&["type", "events"], &types, "no events"));
    let listed = if all {
        report.problems.len()
    } else {
        FIRST_PROBLEMS
    };
    for problem in report.problems.iter().take(listed) {
        say!("{problem}");
    }
    let shown = report.problems.len().min(listed) as u64;
    if report.refused_rows() > shown {
        say!("... and {} more", output::count(report.refused_rows() - shown));
    }
    if !all {
        say!("an event that was there already (the same event_id) is kept once");
    }
    if !report.unused_files.is_empty() {
        say!(
            "not read, no table of the mapping names them: {}",
            report.unused_files.join(", ")
        );
    }
}
