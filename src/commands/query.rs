//! `revgauge query`: SQL, as a table or in a format for programs.

use std::io::Read;

use anyhow::{Result, bail};
use bytes::Bytes;
use serde_json::json;

use super::{Client, Context};
use crate::{
    cli::{Format, QueryArgs},
    output::{self, say},
};

pub(crate) async fn run(context: &Context, args: QueryArgs) -> Result<()> {
    let mut sql = args.sql;
    if sql == "-" {
        sql.clear();
        std::io::stdin().read_to_string(&mut sql)?;
    }
    let client = Client::connect(context).await?;
    let outcome = ask(context, &client, &sql, args.format).await;
    client.close().await?;
    outcome
}

async fn ask(context: &Context, client: &Client, sql: &str, format: Format) -> Result<()> {
    let format = if context.common.json && format == Format::Table {
        Format::Json
    } else {
        format
    };
    if format == Format::Table {
        let rows = client.sql(sql).await?;
        let count = rows.rows.len() as u64;
        say!(
            "{}\n{} {}",
            rows.table(),
            output::count(count),
            if count == 1 { "row" } else { "rows" }
        );
        return Ok(());
    }
    let name = match format {
        Format::Ndjson => "ndjson",
        Format::Csv => "csv",
        Format::Json | Format::Table => "json",
    };
    let body = Bytes::from(serde_json::to_vec(&json!({"sql": sql, "format": name}))?);
    let answer = client.send("POST", "/v1/sql", "application/json", body).await?;
    if answer.status >= 300 {
        bail!("{}", answer.refusal());
    }
    output::bytes(&answer.body)?;
    // No row is no line.
    if !answer.body.is_empty() && !answer.body.ends_with(b"\n") {
        say!("");
    }
    Ok(())
}
