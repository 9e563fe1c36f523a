//! `revgauge doctor`: what is configured, and whether it works.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Client, Context};
use crate::{
    cli::DoctorArgs,
    output::{self, say},
};

pub(crate) async fn run(context: &Context, args: DoctorArgs) -> Result<()> {
    if args.settings {
        let mut settings = context.settings.clone();
        if settings.store.options.secret_access_key.is_some() {
            settings.store.options.secret_access_key = Some("(set)".to_owned());
        }
        if context.common.json {
            say!("{:#}", serde_json::to_value(&settings)?);
        } else {
            output::bytes(toml::to_string(&settings)?.as_bytes())?;
        }
        return Ok(());
    }
    let definitions = crate::wire::definitions(&context.settings)?;
    let client = Client::connect(context).await?;
    if !context.common.json {
        say!(
            "definitions  ok, {} of them",
            definitions.common().summaries().len()
        );
        say!("store        ok, {}", context.settings.store.url);
        say!("server       {}", client.place());
    }
    let health = client.get("/v1/data-health").await;
    client.close().await?;
    let health = health?;
    if context.common.json {
        say!("{health:#}");
        return Ok(());
    }
    let sources = health.get("watermarks").and_then(Value::as_object);
    let sources: Vec<Value> = sources.into_iter().flatten().map(source).collect();
    let columns = ["source", "events", "newest_event", "last_received"];
    say!("sources\n{}", output::listing(&columns, &sources, "none yet"));
    for (name, value) in health
        .get("health")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        match value {
            Value::Array(rows) if rows.is_empty() => say!("{name:<12} none"),
            Value::Array(rows) => say!("{name}\n{}", output::records(rows)),
            Value::Object(_) => say!("{name:<12} {}", output::pairs(Some(value))),
            other => say!("{name:<12} {other}"),
        }
    }
    Ok(())
}

fn source((name, mark): (&String, &Value)) -> Value {
    json!({
        "source": name, "events": mark.get("events"), "newest_event": mark.get("event_time"),
        "last_received": mark.get("ingested_at"),
    })
}
