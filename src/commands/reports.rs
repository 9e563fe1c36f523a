//! `revgauge reports`: the standard reports, listed and run.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Client, Context, query};
use crate::{
    cli::{QueryArgs, ReportsCommand},
    output::{self, say},
};

pub(crate) async fn run(context: &Context, command: ReportsCommand) -> Result<()> {
    match command {
        ReportsCommand::List => {
            let client = Client::connect(context).await?;
            let outcome = client.get("/v1/reports").await;
            client.close().await?;
            let answer = outcome?;
            let reports = answer["items"]
                .as_array()
                .context("the server lists no reports")?;
            if context.common.json {
                say!("{:#}", Value::Array(reports.clone()));
            } else {
                say!("{}", output::table(&["name", "group", "question"], reports));
            }
            Ok(())
        }
        ReportsCommand::Run { name, format } => {
            // A name is a word; anything else is no view and would be read as SQL.
            let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            ensure!(
                !name.is_empty() && name.chars().all(word),
                "no report is called '{name}': see `revgauge reports list`"
            );
            let sql = format!("SELECT * FROM report_{name}");
            query::run(context, QueryArgs { sql, format }).await
        }
    }
}
