//! `revgauge dead-letters`: read refused events and send them again.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Client, Context};
use crate::{
    cli::DeadLettersCommand,
    output::{self, say},
};

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
    if context.common.json {
        say!("{answer:#}");
    } else if let Some(letters) = answer.get("items").and_then(Value::as_array) {
        let rows: Vec<Value> = letters.iter().map(row).collect();
        let columns = ["refused_at", "source", "code", "message", "body"];
        say!("{}", output::listing(&columns, &rows, "no event is refused"));
    } else {
        let number = |name: &str| {
            let report = answer.get("report").and_then(|report| report.get(name));
            output::count(report.and_then(Value::as_u64).unwrap_or_default())
        };
        say!(
            "{} taken, {} refused again",
            number("accepted"),
            number("refused")
        );
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
