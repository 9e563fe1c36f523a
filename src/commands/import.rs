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
    settings::nearest,
};

/// Problems listed after an import; a dry run lists all it kept.
const FIRST_PROBLEMS: usize = 10;
/// Events sent to a running server in one request.
const REQUEST_EVENTS: usize = 2_000;
/// Bytes of refused rows sent to a running server in one request; its door takes 1 MiB unless set otherwise.
const REFUSED_REQUEST_BYTES: usize = 512 << 10;
/// Bytes kept of one refused row that is sent to a running server; JSON may write a byte as six.
const REFUSED_ROW_BYTES: usize = 128 << 10;

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
        let near = nearest(mapping, &shipped).map(|near| format!(", did you mean '{near}'?"));
        format!(
            "'{mapping}' is neither a file nor a shipped mapping{} (there are events, {})",
            near.unwrap_or_default(),
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
            let path = "/v1/events?verbose=false&history=true";
            self.post(path, "application/x-ndjson", body)
                .await
                .map_err(|error| Failure::new(ErrorKind::External, format!("{error:#}")))?;
            first += rows;
        }
        Ok(())
    }

    async fn refuse(&mut self, letters: Vec<DeadLetter>) -> Result<(), Failure> {
        let external = |error: anyhow::Error| Failure::new(ErrorKind::External, format!("{error:#}"));
        for rows in requests_of(letters) {
            let body = serde_json::to_vec(&json!({"items": rows})).map_err(|error| external(error.into()))?;
            self.post("/v1/dead-letters", "application/json", Bytes::from(body))
                .await
                .map_err(external)?;
        }
        Ok(())
    }
}

/// Refused rows as the server's dead-letter door takes them, cut into requests it has room for.
///
/// A row longer than a request is sent alone, its bytes cut at the limit, and its message says so.
fn requests_of(letters: Vec<DeadLetter>) -> Vec<Vec<Value>> {
    let (mut requests, mut bytes) = (Vec::<Vec<Value>>::new(), usize::MAX);
    for mut letter in letters {
        if letter.body.len() > REFUSED_ROW_BYTES {
            let whole = letter.body.len();
            let mut end = REFUSED_ROW_BYTES;
            while !letter.body.is_char_boundary(end) {
                end -= 1;
            }
            // Base64 stays readable when it is cut at a whole group of four.
            letter
                .body
                .truncate(if letter.body_is_base64 { end / 4 * 4 } else { end });
            letter.refusal.message = format!(
                "{} (the first {} of {whole} bytes are kept)",
                letter.refusal.message,
                letter.body.len()
            );
        }
        let row = json!({
            "source": letter.source, "refusal": letter.refusal,
            "body": letter.body, "body_is_base64": letter.body_is_base64,
        });
        let size = row.to_string().len() + 1;
        if bytes.saturating_add(size) > REFUSED_REQUEST_BYTES {
            requests.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(last) = requests.last_mut() {
            last.push(row);
        }
    }
    requests
}

impl ServerSink<'_> {
    async fn post(&self, path: &str, content_type: &str, body: Bytes) -> Result<()> {
        for attempt in 1..=8_u32 {
            let answer = self.client.send("POST", path, content_type, body.clone()).await?;
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
    if !all && report.refused_rows() > 0 {
        say!("refused rows are kept with their bytes: revgauge dead-letters list");
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

#[cfg(test)]
mod tests {
    use revgauge_contract::{Refusal, Timestamp};

    use super::*;

    #[test]
    fn refused_rows_fit_their_requests_and_none_is_lost() {
        let letter = |body: String| DeadLetter {
            tenant_id: "t".to_owned(),
            refused_at: Timestamp(0),
            source: "import:a.csv:1".to_owned(),
            refusal: Refusal::whole("bad_row", "no"),
            body,
            body_is_base64: false,
        };
        let mut letters: Vec<DeadLetter> = (0..9_000).map(|row| letter(format!("row {row}"))).collect();
        letters.push(letter("\u{1}ü".repeat(200_000)));
        let requests = requests_of(letters);
        assert!(requests.len() > 2);
        assert_eq!(requests.iter().map(Vec::len).sum::<usize>(), 9_001);
        for rows in &requests {
            assert!(json!({"items": rows}).to_string().len() < 1 << 20);
        }
        let last = requests
            .last()
            .and_then(|rows| rows.last())
            .expect("the long row");
        assert!(last.to_string().contains("of 600000 bytes are kept"));
        assert!(requests_of(Vec::new()).is_empty());
    }
}
