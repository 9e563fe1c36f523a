//! `revgauge dead-letters`: read refused events and send them again.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Client, Context};
use crate::{cli::DeadLettersCommand, output};

pub(crate) async fn run(context: &Context, command: DeadLettersCommand) -> Result<()> {
    let client = Client::connect(context).await?;
    let outcome = act(context, &client, command).await;
    client.close().await?;
    outcome
}

async fn act(context: &Context, client: &Client, command: DeadLettersCommand) -> Result<()> {
    let answer = match command {
        DeadLettersCommand::List { limit } => client.get(&format!("/v1/dead-letters?limit={limit}")).await?,
        DeadLettersCommand::Replay { limit } => {
            client
                .post("/v1/dead-letters/replay", &json!({"limit": limit}))
                .await?
        }
    };
    let letters = answer.get("items").and_then(Value::as_array);
    match letters {
        Some(letters) if !context.common.json => {
            let rows: Vec<Value> = letters.iter().map(row).collect();
            println!("{}", output::records(&rows));
        }
        _ => println!("{answer:#}"),
    }
    Ok(())
}

fn row(letter: &Value) -> Value {
    let refusal = letter.get("refusal").cloned().unwrap_or_default();
    let body: String = letter
        .get("body")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .chars()
        .take(80)
        .collect();
    json!({
        "refused_at": letter.get("refused_at"), "source": letter.get("source"),
        "code": refusal.get("code"), "message": refusal.get("message"), "body": body,
    })
}
