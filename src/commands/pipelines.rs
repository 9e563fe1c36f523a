//! `revgauge pipelines`: list, explain, verify, deploy.

use anyhow::{Result, bail};
use revgauge_pipelines::arroyo::{self, ArroyoConnector, ArroyoOptions};
use serde_json::Value;

use super::{Client, Context, client::encode};
use crate::{cli::PipelinesCommand, output};

pub(crate) async fn run(context: &Context, command: PipelinesCommand) -> Result<()> {
    match command {
        PipelinesCommand::Deploy { names, .. } => {
            let kafka = ArroyoConnector::Kafka {
                bootstrap_servers: context.settings.server.arroyo_brokers.clone(),
            };
            print!("{}", arroyo::program(&names, &ArroyoOptions::new(kafka)).await?);
            Ok(())
        }
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
        PipelinesCommand::List | PipelinesCommand::Deploy { .. } => {
            let answer = client.get("/v1/pipelines").await?;
            let pipelines = items(&answer);
            if context.common.json {
                println!("{answer:#}");
            } else {
                println!(
                    "{}",
                    output::table(&["name", "kind", "state", "description"], &pipelines)
                );
            }
            Ok(())
        }
        PipelinesCommand::Explain { name } => {
            let answer = client.get(&format!("/v1/pipelines/{}", encode(&name))).await?;
            if context.common.json {
                println!("{answer:#}");
            } else {
                let pipeline = answer.get("pipeline").cloned().unwrap_or_default();
                let text = |name: &str| {
                    pipeline
                        .get(name)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                println!(
                    "{}: {}\n\n{}\n{}",
                    text("name"),
                    text("description"),
                    text("sql"),
                    text("plan")
                );
                println!(
                    "columns  {}",
                    pipeline.get("columns").cloned().unwrap_or_default()
                );
                println!("state    {}", pipeline.get("state").cloned().unwrap_or_default());
            }
            Ok(())
        }
        PipelinesCommand::Verify => verify(context, client).await,
    }
}

async fn verify(context: &Context, client: &Client) -> Result<()> {
    let answer = client.post("/v1/pipelines/verify", &Value::Null).await?;
    let reports = items(&answer);
    if context.common.json {
        println!("{answer:#}");
    } else {
        let columns = [
            "pipeline",
            "rows",
            "batch_rows",
            "differing",
            "batch_seconds",
            "first_differences",
        ];
        println!("{}", output::table(&columns, &reports));
    }
    let differing: u64 = reports
        .iter()
        .filter_map(|report| report.get("differing").and_then(Value::as_u64))
        .sum();
    if reports.is_empty() || differing > 0 {
        bail!("{differing} rows of layer 1 differ from the batch query over the lake");
    }
    if !context.common.json {
        println!("incremental state equals the batch query over the lake, row for row");
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
