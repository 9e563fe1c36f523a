//! `revgauge users`: people who sign in to the dashboards.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{
    Client, Context,
    client::encode,
    keys::{rights_of, value_name},
};
use crate::{
    cli::UsersCommand,
    output::{self, say},
};

pub(crate) async fn run(context: &Context, command: UsersCommand) -> Result<()> {
    let client = Client::connect(context).await?;
    let outcome = act(context, &client, command).await;
    client.close().await?;
    outcome
}

async fn act(context: &Context, client: &Client, command: UsersCommand) -> Result<()> {
    let answer = match command {
        UsersCommand::Create { role, login, whom } => {
            let role = value_name(&role);
            let password = read_password()?;
            let rights = rights_of(&whom);
            let body = json!({"role": role, "login": login, "password": password, "rights": rights});
            let answer = client.post("/v1/users", &body).await?;
            if !context.common.json {
                say!(
                    "{login} may sign in as {role} of tenant '{}'",
                    context.common.tenant
                );
            }
            answer
        }
        UsersCommand::List => {
            let answer = client.get("/v1/users").await?;
            if !context.common.json {
                let none = Vec::new();
                let users = answer.get("items").and_then(Value::as_array).unwrap_or(&none);
                let columns = ["login", "role", "rights", "created_at", "ended_at"];
                let empty = "no users yet: `revgauge users create` makes one";
                say!("{}", output::listing(&columns, users, empty));
            }
            answer
        }
        UsersCommand::End { login } => {
            let path = format!("/v1/users/{}", encode(&login));
            let answer = client
                .send("DELETE", &path, "application/json", bytes::Bytes::new())
                .await?
                .json()?;
            if !context.common.json {
                say!("{login} signs in no more");
            }
            answer
        }
        UsersCommand::Link => {
            if client.node().is_some() {
                bail!("a sign-in link needs a running server: start one with `revgauge serve`");
            }
            let answer = client.post("/v1/sign-in-links", &json!({})).await?;
            if !context.common.json {
                let path = answer.get("path").and_then(Value::as_str).unwrap_or_default();
                say!("{}{path}", client.base().unwrap_or_default());
            }
            answer
        }
    };
    if context.common.json {
        say!("{answer:#}");
    }
    Ok(())
}

/// Never an argument: those are seen by everybody on the machine.
fn read_password() -> Result<String> {
    if std::io::stdin().is_terminal() {
        eprintln!("Password (it shows as you type; or pipe it in):");
    }
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot read a password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        bail!("no password came from standard input: type one, or pipe it in");
    }
    Ok(password)
}
