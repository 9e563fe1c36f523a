//! The pipelines as one Arroyo program: the same SQL, its tables bound to topics.

use std::fmt::Write as _;

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use crate::{
    catalog::{CRM_FIELDS_DDL, EVENTS_DDL, Pipeline},
    error::PipelineError,
    plan::{self, Source},
};

/// Where an Arroyo program reads and writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "connector", rename_all = "snake_case")]
pub enum ArroyoConnector {
    /// Kafka topics.
    Kafka {
        /// `host:port`, comma-separated.
        bootstrap_servers: String,
    },
    /// Fluvio topics.
    Fluvio {
        /// `host:port` of the streaming controller; the default profile when absent.
        #[serde(default)]
        endpoint: Option<String>,
    },
    /// Files of JSON lines in a folder, for tests: read once, written once.
    SingleFile {
        /// Folder of `<table>.json` files.
        folder: String,
    },
}

/// Options of an Arroyo program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArroyoOptions {
    /// Where it reads and writes.
    #[serde(flatten)]
    pub connector: ArroyoConnector,
    /// Before each table's name to make its topic's.
    #[serde(default = "default_prefix")]
    pub topic_prefix: String,
    /// Days after which Arroyo forgets a key that nothing touched; must lie beyond every horizon, since layer 1
    /// forgets nothing.
    #[serde(default = "default_ttl_days")]
    pub updating_ttl_days: u32,
}

fn default_prefix() -> String {
    "revgauge.".to_owned()
}

const fn default_ttl_days() -> u32 {
    3_650
}

impl ArroyoOptions {
    /// Default options for a connector.
    #[must_use]
    pub fn new(connector: ArroyoConnector) -> Self {
        Self {
            connector,
            topic_prefix: default_prefix(),
            updating_ttl_days: default_ttl_days(),
        }
    }

    fn with(&self, table: &str, format: &str, source: bool) -> String {
        let kind = if source { "source" } else { "sink" };
        let topic = quoted(&format!("{}{table}", self.topic_prefix));
        let mut with = match &self.connector {
            ArroyoConnector::Kafka { bootstrap_servers } => format!(
                "    connector = 'kafka',\n    bootstrap_servers = {},\n    topic = {topic},\n",
                quoted(bootstrap_servers)
            ),
            ArroyoConnector::Fluvio { endpoint } => {
                let endpoint = endpoint.as_deref().map(quoted);
                let endpoint = endpoint.map_or_else(String::new, |at| format!("    endpoint = {at},\n"));
                format!("    connector = 'fluvio',\n{endpoint}    topic = {topic},\n")
            }
            ArroyoConnector::SingleFile { folder } => format!(
                "    connector = 'single_file',\n    path = {},\n",
                quoted(&format!("{folder}/{table}.json"))
            ),
        };
        if source {
            with.push_str(match &self.connector {
                ArroyoConnector::SingleFile { .. } => "    wait_for_control = 'false',\n",
                _ => "    'source.offset' = 'earliest',\n",
            });
        }
        let _ = write!(with, "    format = '{format}',\n    type = '{kind}'\n");
        with
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The whole program of the named pipelines (all that ship, when none is named): `SET`, source and sink tables, and
/// the pipelines' own text.
///
/// Aggregates update, so their sinks are `debezium_json`; each row carries its count `n`, which only grows, and a
/// reader keeps the row with the greatest. The CRM change log is append-only JSON.
///
/// # Errors
/// `Unknown` for a name that does not ship.
pub async fn program(names: &[String], options: &ArroyoOptions) -> Result<String, PipelineError> {
    let mut chosen = Vec::new();
    if names.is_empty() {
        chosen.extend(crate::catalog::all());
    }
    for name in names {
        chosen.push(Pipeline::named(name)?);
    }
    let mut plans = Vec::with_capacity(chosen.len());
    for pipeline in chosen {
        plans.push(plan::cut(pipeline).await?);
    }
    let mut text = format!(
        "SET updating_ttl = interval '{} days';\n",
        options.updating_ttl_days
    );
    for (source, ddl) in [(Source::Events, EVENTS_DDL), (Source::CrmFields, CRM_FIELDS_DDL)] {
        if plans.iter().any(|plan| plan.source == source) {
            let with = options.with(source.table(), "json", true);
            let _ = write!(text, "\n{} WITH (\n{with});\n", ddl.trim_end());
        }
    }
    for plan in &plans {
        let columns = plan.output.fields().iter().map(|field| {
            let required = if field.is_nullable() { "" } else { " NOT NULL" };
            format!("    {} {}{required}", field.name(), sql_type(field.data_type()))
        });
        let columns = columns.collect::<Vec<_>>().join(",\n");
        let format = if plan.aggregation.is_some() {
            "debezium_json"
        } else {
            "json"
        };
        let name = plan.pipeline.name;
        let with = options.with(name, format, false);
        let _ = write!(text, "\nCREATE TABLE {name} (\n{columns}\n) WITH (\n{with});\n");
        let _ = write!(text, "\n{};\n", plan.pipeline.sql.trim_end());
    }
    Ok(text)
}

const fn sql_type(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int64 => "BIGINT",
        DataType::Float64 => "DOUBLE",
        DataType::Boolean => "BOOLEAN",
        DataType::Timestamp(_, _) => "TIMESTAMP",
        _ => "TEXT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_holds_the_pipelines_as_they_are() {
        let kafka = ArroyoConnector::Kafka {
            bootstrap_servers: "localhost:9092".to_owned(),
        };
        let text = program(&[], &ArroyoOptions::new(kafka)).await.expect("program");
        assert!(text.starts_with("SET updating_ttl = interval '3650 days';"));
        for pipeline in crate::catalog::all() {
            assert!(text.contains(pipeline.sql.trim_end()), "{}", pipeline.name);
            assert!(text.contains(&format!("topic = 'revgauge.{}'", pipeline.name)));
        }
        assert_eq!(text.matches("CREATE TABLE events (").count(), 1);
        assert_eq!(text.matches("debezium_json").count(), 10);
        for refused in ["TIMESTAMPTZ", "ORDER BY", "LIMIT", "PRIMARY KEY ("] {
            assert!(!text.contains(refused), "{refused}");
        }
    }

    #[tokio::test]
    async fn only_the_tables_that_are_read_are_declared() {
        let files = ArroyoConnector::SingleFile {
            folder: "/data/o'brien".to_owned(),
        };
        let text = program(&["crm_state".to_owned()], &ArroyoOptions::new(files))
            .await
            .expect("program");
        assert!(!text.contains("CREATE TABLE events"));
        assert!(text.contains("path = '/data/o''brien/crm_fields.json'"));
        assert!(text.contains("wait_for_control = 'false'"));
        let fluvio = ArroyoOptions::new(ArroyoConnector::Fluvio { endpoint: None });
        let unknown = program(&["nothing".to_owned()], &fluvio).await;
        assert!(matches!(unknown, Err(PipelineError::Unknown(_))));
    }
}
