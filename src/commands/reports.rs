//! `revgauge reports`: the standard reports, listed and run.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Client, Context, query};
use crate::{
    cli::{QueryArgs, ReportsCommand},
    output::{self, say},
};

pub(crate) async fn run(context: &Context, command: ReportsCommand) -> Result<()> {
    let reports = catalogue(context).await?;
    match command {
        ReportsCommand::List => {
            if context.common.json {
                say!("{:#}", Value::Array(reports));
            } else {
                say!("{}", output::table(&["name", "group", "question"], &reports));
            }
            Ok(())
        }
        ReportsCommand::Run { name, format } => {
            // Only a listed name becomes part of the SQL.
            ensure!(
                reports.iter().any(|report| report["name"] == name.as_str()),
                "no report is called '{name}': see `revgauge reports list`"
            );
            let sql = format!("SELECT * FROM report_{name}");
            query::run(context, QueryArgs { sql, format }).await
        }
    }
}

async fn catalogue(context: &Context) -> Result<Vec<Value>> {
    let client = Client::connect(context).await?;
    let outcome = client.get("/v1/reports").await;
    client.close().await?;
    let answer = outcome?;
    let reports = answer["items"].as_array().cloned();
    reports.context("the server lists no reports")
}
