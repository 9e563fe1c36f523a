//! `revgauge pipelines`: list, explain, verify, deploy.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Client, Context, client::encode, deploy};
use crate::{
    cli::PipelinesCommand,
    output::{self, say},
};

pub(crate) async fn run(context: &Context, command: PipelinesCommand) -> Result<()> {
    match command {
        PipelinesCommand::Deploy(args) => deploy::run(context, args).await,
        other => {
            let client = Client::connect(context).await?;
            let outcome = ask(context, &client, other).await;
            client.close().await?;
            outcome
        }
    }
}

async fn ask(context: &Context, client: &Client, command: PipelinesCommand) -> Result<()> {
    match command {
        PipelinesCommand::List | PipelinesCommand::Deploy(_) => {
            let answer = client.get("/v1/pipelines").await?;
            let pipelines = items(&answer);
            if context.common.json {
                say!("{answer:#}");
            } else {
                say!(
                    "{}",
                    output::table(
                        &["name", "kind", "groups", "state_mib", "description"],
                        &pipelines.iter().map(row).collect::<Vec<_>>()
                    )
                );
            }
            Ok(())
        }
        PipelinesCommand::Explain { name } => {
            let answer = client.get(&format!("/v1/pipelines/{}", encode(&name))).await?;
            if context.common.json {
                say!("{answer:#}");
            } else {
                let pipeline = answer.get("pipeline").cloned().unwrap_or_default();
                let text = |name: &str| {
                    pipeline
                        .get(name)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                say!(
                    "{}: {}\n\n{}\n{}",
                    text("name"),
                    text("description"),
                    text("sql"),
                    text("plan")
                );
                let columns = pipeline.get("columns").and_then(Value::as_array);
                let columns = columns.cloned().unwrap_or_default();
                say!("{}", output::table(&["name", "data_type", "nullable"], &columns));
                say!("state: {}", output::pairs(pipeline.get("state")));
            }
            Ok(())
        }
        PipelinesCommand::Verify => verify(context, client).await,
    }
}

/// A pipeline of the list, with the size of its state in columns of its own.
fn row(pipeline: &Value) -> Value {
    let size = |name: &str| {
        let state = pipeline.get("state").and_then(|state| state.get(name));
        state.and_then(Value::as_u64).unwrap_or(0)
    };
    let bytes = size("state_bytes") + size("key_bytes");
    json!({
        "name": pipeline.get("name"), "kind": pipeline.get("kind"), "groups": size("groups"),
        "state_mib": bytes as f64 / f64::from(1_u32 << 20), "description": pipeline.get("description"),
    })
}

async fn verify(context: &Context, client: &Client) -> Result<()> {
    let bar = output::waiting("every pipeline recomputed from the lake");
    let answer = client.post("/v1/pipelines/verify", &Value::Null).await;
    bar.finish_and_clear();
    let answer = answer?;
    let reports = items(&answer);
    if context.common.json {
        say!("{answer:#}");
    } else {
        let columns = [
            "pipeline",
            "rows",
            "batch_rows",
            "differing",
            "batch_seconds",
            "first_differences",
        ];
        say!("{}", output::table(&columns, &reports));
    }
    let differing: u64 = reports
        .iter()
        .filter_map(|report| report.get("differing").and_then(Value::as_u64))
        .sum();
    if reports.is_empty() || differing > 0 {
        bail!("{differing} rows of layer 1 differ from the batch query over the lake");
    }
    if !context.common.json {
        say!("incremental state equals the batch query over the lake, row for row");
    }
    Ok(())
}

fn items(answer: &Value) -> Vec<Value> {
    answer
        .get("items")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}
