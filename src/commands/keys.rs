//! `revgauge keys`: create, rotate, list, revoke; through the running server or straight on the store.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Client, Context, client::encode};
use crate::{
    cli::{KeysCommand, Whom},
    output::{self, say},
};

pub(crate) async fn run(context: &Context, command: KeysCommand) -> Result<()> {
    let client = Client::connect(context).await?;
    let outcome = act(context, &client, command).await;
    client.close().await?;
    outcome
}

async fn act(context: &Context, client: &Client, command: KeysCommand) -> Result<()> {
    match command {
        KeysCommand::Create {
            role,
            name,
            expires_in_days,
            whom,
            scopes,
            requests_per_second,
        } => {
            let role = value_name(&role);
            let mut rights = rights_of(&whom);
            if !scopes.is_empty() {
                rights["scopes"] = scopes.iter().map(value_name).collect();
            }
            if let Some(limit) = requests_per_second {
                rights["requests_per_second"] = json!(limit);
            }
            let body =
                json!({"role": role, "name": name, "expires_in_days": expires_in_days, "rights": rights});
            let answer = client.post("/v1/keys", &body).await?;
            show(
                context,
                &answer,
                &format!("a {role} key of tenant '{}'", context.common.tenant),
            );
        }
        KeysCommand::Rotate {
            key_id,
            grace_seconds,
        } => {
            let path = format!(
                "/v1/keys/{}/rotate?grace_seconds={grace_seconds}",
                encode(&key_id)
            );
            let answer = client.post(&path, &json!({})).await?;
            let note = format!("the successor of {key_id}, which works for {grace_seconds} s more");
            show(context, &answer, &note);
        }
        KeysCommand::List => {
            let answer = client.get("/v1/keys").await?;
            if context.common.json {
                say!("{answer:#}");
            } else {
                let keys = answer
                    .get("items")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default();
                say!(
                    "{}",
                    output::listing(
                        &[
                            "key_id",
                            "name",
                            "role",
                            "rights",
                            "created_at",
                            "expires_at",
                            "revoked_at"
                        ],
                        &keys,
                        "no keys yet: `revgauge keys create` makes one"
                    )
                );
            }
        }
        KeysCommand::Revoke { key_id } => {
            let path = format!("/v1/keys/{}", encode(&key_id));
            client
                .send("DELETE", &path, "application/json", bytes::Bytes::new())
                .await?
                .json()?;
            if context.common.json {
                say!("{:#}", json!({"key_id": key_id, "revoked": true}));
            } else {
                say!("key {key_id} is revoked");
            }
        }
    }
    Ok(())
}

/// The secret on standard output, alone; what it is beside it.
fn show(context: &Context, answer: &Value, what: &str) {
    if context.common.json {
        say!("{answer:#}");
    } else {
        let secret = answer.get("secret").and_then(Value::as_str).unwrap_or_default();
        say!("{secret}");
        eprintln!("{what}; it is shown this once: keep it safe");
    }
}

/// A choice of the command line as the doors write it.
pub(super) fn value_name(choice: &impl clap::ValueEnum) -> String {
    choice
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

/// Whom a key or user stands for, as the doors take it.
pub(super) fn rights_of(whom: &Whom) -> Value {
    let mut rights = json!({});
    for (name, given) in [
        ("user_id", &whom.user_id),
        ("team", &whom.team),
        ("territory", &whom.territory),
    ] {
        if let Some(given) = given {
            rights[name] = json!(given);
        }
    }
    rights
}
