//! `revgauge keys`: create, list, revoke; through the running server or straight on the store.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Client, Context, client::encode};
use crate::{
    cli::{KeyRole, KeysCommand},
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
        } => {
            let role = match role {
                KeyRole::Admin => "admin",
                KeyRole::Revops => "revops",
                KeyRole::Service => "service",
            };
            let body = json!({"role": role, "name": name, "expires_in_days": expires_in_days});
            let answer = client.post("/v1/keys", &body).await?;
            if context.common.json {
                say!("{answer:#}");
            } else {
                let secret = answer.get("secret").and_then(Value::as_str).unwrap_or_default();
                say!("{secret}");
                eprintln!(
                    "a {role} key of tenant '{}'; it is shown this once: keep it safe",
                    context.common.tenant
                );
            }
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
                        &["key_id", "name", "role", "created_at", "expires_at", "revoked_at"],
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
