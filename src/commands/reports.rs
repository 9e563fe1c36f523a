//! `revgauge reports`: the standard reports, listed and run; people's own, scheduled, looked after and removed.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Client, Context, client::encode, query};
use crate::{
    cli::{QueryArgs, ReportsCommand, ScheduleArgs, ScheduleTarget},
    output::{self, say},
};

pub(crate) async fn run(context: &Context, command: ReportsCommand) -> Result<()> {
    match command {
        ReportsCommand::List => {
            let reports = catalogue(context).await?;
            if context.common.json {
                say!("{:#}", Value::Array(reports));
            } else {
                say!("{}", output::table(&["name", "group", "question"], &reports));
            }
            Ok(())
        }
        ReportsCommand::Run { name, format } => {
            let reports = catalogue(context).await?;
            // Only a listed name becomes part of the SQL.
            ensure!(known(&reports, &name).is_some(), unknown(&name));
            let sql = format!("SELECT * FROM report_{name}");
            query::run(context, QueryArgs { sql, format }).await
        }
        own => {
            let client = Client::connect(context).await?;
            let outcome = act(context, &client, own).await;
            client.close().await?;
            outcome
        }
    }
}

async fn act(context: &Context, client: &Client, command: ReportsCommand) -> Result<()> {
    let answer = match command {
        ReportsCommand::Schedule(wanted) => schedule(context, client, wanted).await?,
        ReportsCommand::Saved => {
            let answer = client.get("/v1/saved-reports").await?;
            if !context.common.json {
                say!("{}", saved_table(&answer));
            }
            answer
        }
        ReportsCommand::Deliveries { id } => {
            let answer = client.get(&path_of(&id, "")).await?;
            if !context.common.json {
                let columns = ["due_at", "state", "attempts", "rows", "message"];
                say!(
                    "{}",
                    output::listing(&columns, &items(&answer, "deliveries"), "nothing was due yet")
                );
            }
            answer
        }
        ReportsCommand::Send { id } => {
            let answer = client.post(&path_of(&id, "/deliveries"), &json!({})).await?;
            if !context.common.json {
                say!("due now; `revgauge reports deliveries {id}` shows how it goes");
            }
            answer
        }
        ReportsCommand::Remove { id } => {
            let none = bytes::Bytes::new();
            let answer = client
                .send("DELETE", &path_of(&id, ""), "application/json", none)
                .await?
                .json()?;
            if !context.common.json {
                say!("removed {}", answer["report"]["title"]);
            }
            answer
        }
        ReportsCommand::List | ReportsCommand::Run { .. } => return Ok(()),
    };
    if context.common.json {
        say!("{answer:#}");
    }
    Ok(())
}

async fn schedule(context: &Context, client: &Client, wanted: ScheduleArgs) -> Result<Value> {
    let (title, sql) = match (wanted.name, wanted.sql) {
        (Some(name), _) => {
            let reports = items(&client.get("/v1/reports").await?, "items");
            let report = known(&reports, &name).with_context(|| unknown(&name))?;
            let own = report["question"].as_str().unwrap_or(&name).to_owned();
            (
                wanted.title.unwrap_or(own),
                format!("SELECT * FROM report_{name}"),
            )
        }
        (None, sql) => (wanted.title.unwrap_or_default(), sql.unwrap_or_default()),
    };
    let target = match wanted.target {
        ScheduleTarget {
            webhook: Some(url), ..
        } => json!({"kind": "webhook", "url": url}),
        ScheduleTarget { mail, .. } if !mail.is_empty() => json!({"kind": "mail", "to": mail}),
        ScheduleTarget { .. } => json!({"kind": "file"}),
    };
    let schedule = json!({"cron": wanted.cron, "timezone": wanted.timezone, "target": target});
    let body = json!({"title": title, "sql": sql, "schedule": schedule});
    let answer = client.post("/v1/saved-reports", &body).await?;
    if !context.common.json {
        let report = &answer["report"];
        let text = |at: &Value| at.as_str().unwrap_or_default().to_owned();
        say!(
            "{}  {title}: next at {}",
            text(&report["report_id"]),
            text(&report["next_due"])
        );
        if let Some(secret) = report.pointer("/schedule/target/secret").and_then(Value::as_str) {
            say!("messages are signed with {secret} (shown this once)");
        }
        if client.node().is_some() {
            say!("no server runs here now; `revgauge serve` delivers what is due");
        }
    }
    Ok(answer)
}

fn saved_table(answer: &Value) -> String {
    let rows: Vec<Value> = items(answer, "items")
        .iter()
        .map(|report| {
            let target = &report["schedule"]["target"];
            let place = match target["kind"].as_str() {
                Some("webhook") => format!("webhook {}", target["url"].as_str().unwrap_or_default()),
                Some("mail") => {
                    let to = items(target, "to");
                    let to: Vec<&str> = to.iter().filter_map(Value::as_str).collect();
                    format!("mail {}", to.join(", "))
                }
                Some(kind) => kind.to_owned(),
                None => String::new(),
            };
            json!({
                "id": report["report_id"], "title": report["title"], "goes_to": place,
                "cron": report["schedule"]["cron"], "timezone": report["schedule"]["timezone"], "next": report["next_due"],
            })
        })
        .collect();
    let columns = ["id", "title", "goes_to", "cron", "timezone", "next"];
    let none = "no report is kept yet: `revgauge reports schedule` makes one";
    output::listing(&columns, &rows, none)
}

fn path_of(id: &str, rest: &str) -> String {
    format!("/v1/saved-reports/{}{rest}", encode(id))
}

fn items(answer: &Value, name: &str) -> Vec<Value> {
    answer
        .get(name)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

fn known<'a>(reports: &'a [Value], name: &str) -> Option<&'a Value> {
    reports.iter().find(|report| report["name"] == name)
}

fn unknown(name: &str) -> String {
    format!("no report is called '{name}': see `revgauge reports list`")
}

async fn catalogue(context: &Context) -> Result<Vec<Value>> {
    let client = Client::connect(context).await?;
    let outcome = client.get("/v1/reports").await;
    client.close().await?;
    let answer = outcome?;
    let reports = answer["items"].as_array().cloned();
    reports.context("the server lists no reports")
}
