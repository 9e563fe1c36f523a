//! `revgauge doctor`: what is configured, and whether it works.

use anyhow::Result;
use serde_json::Value;

use super::{Client, Context};
use crate::{cli::DoctorArgs, output};

pub(crate) async fn run(context: &Context, args: DoctorArgs) -> Result<()> {
    if args.settings {
        let mut settings = context.settings.clone();
        if settings.store.options.secret_access_key.is_some() {
            settings.store.options.secret_access_key = Some("(set)".to_owned());
        }
        print!("{}", toml::to_string(&settings)?);
        return Ok(());
    }
    let definitions = crate::wire::definitions(&context.settings)?;
    println!("definitions  ok, {} of them", definitions.summaries().len());
    let client = Client::connect(context).await?;
    println!("store        ok, {}", context.settings.store.url);
    println!("server       {}", client.place());
    let health = client.get("/v1/data-health").await;
    client.close().await?;
    let health = health?;
    if context.common.json {
        println!("{health:#}");
        return Ok(());
    }
    let sources = health.get("watermarks").cloned().unwrap_or_default();
    println!("sources      {sources}");
    for (name, value) in health
        .get("health")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        match value {
            Value::Array(rows) if rows.is_empty() => println!("{name:<12} none"),
            Value::Array(rows) => println!("{name}\n{}", output::records(rows)),
            other => println!("{name:<12} {other}"),
        }
    }
    Ok(())
}
