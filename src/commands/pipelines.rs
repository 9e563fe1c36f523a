//! `revgauge pipelines`: list, explain, verify, deploy.

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use super::{Client, Context, client::encode};
use crate::{cli::PipelinesCommand, output};

pub(crate) async fn run(context: &Context, command: PipelinesCommand) -> Result<()> {
    match command {
        PipelinesCommand::Deploy { names, .. } => {
            print!("{}", revgauge_pipelines::arroyo::program(&names, &revgauge_pipelines::arroyo::Options::default())?);
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
            let pipelines = answer.get("pipelines").and_then(Value::as_array).cloned().unwrap_or_default();
            if context.common.json {
                println!("{answer:#}");
            } else {
                println!("{}", output::table(&["name", "entity", "groups", "state_bytes", "description"], &pipelines));
            }
            Ok(())
        }
        PipelinesCommand::Explain { name } => {
            let answer = client.get(&format!("/v1/pipelines/{}", encode(&name))).await?;
            if context.common.json {
                println!("{answer:#}");
            } else {
                let text = answer.get("text").and_then(Value::as_str);
                println!("{}", text.ok_or_else(|| anyhow!("the server's answer has no text"))?);
            }
            Ok(())
        }
        PipelinesCommand::Verify => verify(context, client).await,
    }
}

async fn verify(context: &Context, client: &Client) -> Result<()> {
    let answer = client.post("/v1/pipelines/verify", &Value::Null).await?;
    let reports = answer.get("pipelines").and_then(Value::as_array).cloned().unwrap_or_default();
    if context.common.json {
        println!("{answer:#}");
    } else {
        let columns = ["name", "rows", "differing", "max_relative_difference", "batch_seconds", "first_difference"];
        println!("{}", output::table(&columns, &reports));
    }
    let differing: u64 = reports.iter().filter_map(|report| report.get("differing").and_then(Value::as_u64)).sum();
    if reports.is_empty() || differing > 0 {
        bail!("{differing} rows of layer 1 differ from the batch query over the lake");
    }
    if !context.common.json {
        println!("incremental state equals the batch query over the lake, row for row");
    }
    Ok(())
}
