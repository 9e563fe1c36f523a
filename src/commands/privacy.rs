//! `revgauge privacy`: export of a person's or a tenant's data, erasure of a person.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use revgauge_contract::{Clock as _, time::SystemClock};
use serde_json::{Value, json};

use super::{Client, Context, client::encode};
use crate::{
    cli::PrivacyCommand,
    output::{self, say},
    privacy,
};

/// Rows of one file of a tenant's export; a table with more is split by it.
const FILE_ROWS: usize = 500_000;

pub(crate) async fn run(context: &Context, command: PrivacyCommand) -> Result<()> {
    let client = Client::connect(context).await?;
    match command {
        PrivacyCommand::Export { subject, out } => {
            let outcome = match (&subject, &out) {
                (Some(subject), None) => person(&client, subject).await,
                (None, Some(out)) => tenant(context, &client, out).await,
                _ => bail!("say whose data: --subject for one person, or --out FOLDER for the whole tenant"),
            };
            client.close().await?;
            outcome
        }
        PrivacyCommand::Erase { subject, also } => erase(context, client, subject, also).await,
        PrivacyCommand::Retain => retain(context, client).await,
        PrivacyCommand::Status => {
            let answer = client.get("/v1/privacy/erasures").await;
            client.close().await?;
            say!("{:#}", answer?.get("erasures").cloned().unwrap_or_default());
            Ok(())
        }
    }
}

/// At once when no server runs on the store; else it waits for the server's next start.
async fn erase(context: &Context, client: Client, subject: String, also: Vec<String>) -> Result<()> {
    let in_process = client.node().is_some();
    if !in_process {
        let body = json!({"subject": subject, "also": also});
        let answer = client.post("/v1/privacy/erasures", &body).await?;
        client.close().await?;
        if context.common.json {
            say!("{answer:#}");
        } else {
            say!(
                "the erasure is noted; it is carried out when the server next starts (`privacy status` shows it)"
            );
        }
        return Ok(());
    }
    client.close().await?;
    let request = privacy::Request {
        tenant_id: context.common.tenant.clone(),
        subject,
        also,
        requested_at: SystemClock.now(),
        requested_by: "operator".to_owned(),
    };
    let report = Box::pin(privacy::erase(&context.settings, &request)).await?;
    if context.common.json {
        say!("{:#}", json!(report));
        return Ok(());
    }
    say!(
        "{} rows removed, {} lake files, {} journal objects and {} documents rewritten, {} refused events deleted",
        output::count(report.lake_rows_removed),
        report.lake_files_rewritten,
        report.journal_objects,
        report.documents,
        report.dead_letters
    );
    say!(
        "looked through {} objects ({} bytes) for {} texts of the person: none is left",
        output::count(report.objects_scanned as u64),
        output::count(report.bytes_scanned),
        report.texts_looked_for
    );
    for kept in &report.kept {
        say!("- {kept}");
    }
    Ok(())
}

async fn retain(context: &Context, client: Client) -> Result<()> {
    let in_process = client.node().is_some();
    client.close().await?;
    if !in_process {
        bail!("texts past their retention are taken out of a store at rest: stop the server first");
    }
    let done = Box::pin(privacy::expire_texts(&context.settings)).await?;
    if context.common.json {
        say!("{:#}", json!(done));
    } else {
        say!(
            "texts said before {} have no words any more; {} lake files and {} journal objects were rewritten",
            done.before,
            done.lake_files_rewritten,
            done.journal_objects
        );
    }
    Ok(())
}

async fn person(client: &Client, subject: &str) -> Result<()> {
    let path = format!("/v1/privacy/export?subject={}", encode(subject));
    say!("{:#}", client.get(&path).await?);
    Ok(())
}

/// One NDJSON file a table.
async fn tenant(context: &Context, client: &Client, out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let tables = client
        .sql("SELECT DISTINCT table_name FROM table_columns WHERE table_name NOT LIKE '%(%' AND table_name NOT LIKE 'report_%' ORDER BY 1")
        .await?;
    for table in &tables.rows {
        let name = table
            .get("table_name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let mut part = 0;
        loop {
            let sql = format!(
                "SELECT * FROM {name} ORDER BY 1, 2, 3 LIMIT {FILE_ROWS} OFFSET {}",
                part * FILE_ROWS
            );
            let found = client
                .sql(&sql)
                .await
                .with_context(|| format!("cannot read the table {name}"))?;
            let text: String = found.rows.iter().map(|row| format!("{row}\n")).collect();
            let file = out.join(format!("{name}-{part:04}.ndjson"));
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            part += 1;
            if found.rows.len() < FILE_ROWS {
                break;
            }
        }
        if !context.common.json {
            say!("{name}");
        }
    }
    Ok(())
}
