//! What the sessions of all callers have in common: names and columns of the tables, and their documentation.
//!
//! It is worked out once, so that opening a session costs nothing of it. Names and columns are the same for every tenant;
//! who may read the audit log has one table more.

use std::{collections::BTreeSet, fmt, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch, StringViewBuilder},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    catalog::TableProvider,
    common::Result,
    datasource::MemTable,
};
use revgauge_contract::{ErrorKind, error::Failure, reports::Report};
use tokio::sync::OnceCell;

use super::{
    as_of_functions::pipeline_columns,
    attribution_function::CREDITS,
    audit_table::sees_audit,
    catalog::{CatalogColumn, CatalogTable},
    change_function::CHANGES,
    forecast_columns::{ACCURACY, METHODS, NODES, ROWS},
    object_table::{Column, schema_of},
    output::type_name,
    session::tables_of,
    waterfall_function::PARTS,
};
use crate::{access::Sight, api::Api, metrics::Metric};

/// The table that documents the others.
pub(super) const DOCUMENTS: &str = "table_columns";

/// A table as a door's own catalogue may show it.
#[derive(Debug, Clone)]
pub(crate) struct ShownTable {
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    /// What one row is.
    pub(crate) description: String,
    pub(crate) columns: Vec<CatalogColumn>,
}

/// Names, columns and documentation of what a session shows.
pub(crate) struct Outline {
    /// Sorted by name.
    pub(crate) shown: Arc<[ShownTable]>,
    names: BTreeSet<String>,
    pub(super) documents: Arc<dyn TableProvider>,
}

impl fmt::Debug for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outline")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Outline {
    /// Whether there is a table of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn new(api: &Api, tables: Vec<CatalogTable>) -> Result<Self> {
        let documents = documents(api, &tables)?;
        let mut shown: Vec<ShownTable> = tables
            .into_iter()
            .map(|table| ShownTable {
                schema: table.provider.schema(),
                name: table.name,
                description: table.description,
                columns: table.columns,
            })
            .collect();
        shown.push(ShownTable {
            name: DOCUMENTS.to_owned(),
            schema: documents.schema(),
            description: "what each column of every table and function holds, and its unit".to_owned(),
            columns: Vec::new(),
        });
        shown.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            names: shown.iter().map(|table| table.name.clone()).collect(),
            shown: shown.into(),
            documents,
        })
    }
}

/// The outlines of a deployment, each worked out when first asked for.
#[derive(Debug, Default)]
pub(crate) struct Outlines {
    common: OnceCell<Arc<Outline>>,
    with_audit: OnceCell<Arc<Outline>>,
}

impl Outlines {
    /// What a caller's sessions show. The first call for each kind of caller takes a cut; the others cost nothing.
    ///
    /// # Errors
    /// When no cut can be had; the next call tries again.
    pub(crate) async fn of(&self, api: &Api, sight: &Arc<Sight>) -> Result<Arc<Outline>, Failure> {
        let place = if sees_audit(&sight.caller) {
            &self.with_audit
        } else {
            &self.common
        };
        let made = place.get_or_try_init(|| async {
            let tables = tables_of(api, sight, api.clock.now()).await?;
            let tables = tables.into_iter().map(|(table, _)| table).collect();
            let outline = Outline::new(api, tables).map_err(|error| {
                Failure::new(
                    ErrorKind::Internal,
                    format!("cannot describe the tables: {error}"),
                )
            })?;
            Ok(Arc::new(outline))
        });
        made.await.cloned()
    }
}

fn documents(api: &Api, tables: &[CatalogTable]) -> Result<Arc<dyn TableProvider>> {
    let mut documents = Documents::default();
    for table in tables {
        documents.describe(table);
    }
    documents.describe_function(
        "scores_as_of(instant)",
        "scores with what was known at the instant",
        &[],
    );
    documents.describe_function(
        "pipeline_as_of(instant)",
        "deals as known at the instant, with their health then",
        &pipeline_columns(),
    );
    documents.describe_function(
        "score_change(entity_kind, entity_id, from, to)",
        "why each score of one entity changed between two instants, a row a part",
        CHANGES,
    );
    documents.describe_function(
        "waterfall(from, to, mode, period_start, period_end, team_of)",
        "what moved the open pipeline between two instants, net or gross, a row a deal and bar",
        PARTS,
    );
    documents.describe_function(
        "attribution(model, start, end, as_of)",
        "which kinds of touch earned what was won in a period, by one of seven models",
        CREDITS,
    );
    documents.describe_function(
        "forecast_as_of(instant, period, team_of, currency)",
        "what each forecast method says of a period with what was known at the instant, a row a currency and method",
        METHODS,
    );
    documents.describe_function(
        "forecast_rows_as_of(instant, period, team_of, currency)",
        "the addends of the forecast: closed deals, open deals, deals not yet created",
        ROWS,
    );
    documents.describe_function(
        "forecast_by_node(instant, period, team_of, currency)",
        "the forecast of each team and person with its own range; means of the nodes below a node sum to its own",
        NODES,
    );
    documents.describe_function(
        "forecast_accuracy(instant, period, team_of, currency)",
        "how good the forecasts of the periods before were, by elapsed share, method, team and person, beside their floor",
        ACCURACY,
    );
    for report in api.reports.all() {
        documents.describe_report(report);
    }
    for metric in api.metric_definitions.all() {
        documents.describe_metric(metric);
    }
    documents.finish()
}

/// Rows of `table_columns`. It documents; it holds nothing of any tenant.
#[derive(Default)]
struct Documents {
    columns: [StringViewBuilder; 6],
}

impl Documents {
    fn describe(&mut self, table: &CatalogTable) {
        for field in table.provider.schema().fields() {
            let documented = table.columns.iter().find(|column| column.name == *field.name());
            self.append([
                &table.name,
                &table.description,
                field.name(),
                &type_name(field.data_type()),
                documented.map_or("", |column| &column.unit),
                documented.map_or("", |column| &column.description),
            ]);
        }
    }

    fn describe_function(&mut self, name: &str, description: &str, columns: &[Column]) {
        if columns.is_empty() {
            self.append([name, description, "", "", "", ""]);
        }
        let schema = schema_of(columns);
        for column in columns {
            let kind = schema
                .field_with_name(column.name)
                .map_or_else(|_| String::new(), |field| type_name(field.data_type()));
            self.append([
                name,
                description,
                column.name,
                &kind,
                column.unit,
                column.description,
            ]);
        }
    }

    fn describe_report(&mut self, report: &Report) {
        let name = format!("report_{}", report.name);
        for column in &report.columns {
            let format = serde_json::to_value(column.format).unwrap_or_default();
            let format = format.as_str().unwrap_or_default();
            self.append([&name, &report.question, &column.name, "", format, ""]);
        }
    }

    fn describe_metric(&mut self, metric: &Metric) {
        let name = format!("metric_{}", metric.name);
        let period = metric.time.is_some().then_some("month");
        for column in period.into_iter().chain(metric.dimensions()) {
            self.append([&name, &metric.description, column, "", "", "dimension"]);
        }
        let format = serde_json::to_value(metric.format).unwrap_or_default();
        let additivity = serde_json::to_value(metric.additivity).unwrap_or_default();
        self.append([
            &name,
            &metric.description,
            "value",
            "",
            format.as_str().unwrap_or_default(),
            additivity.as_str().unwrap_or_default(),
        ]);
    }

    fn append(&mut self, row: [&str; 6]) {
        for (builder, text) in self.columns.iter_mut().zip(row) {
            builder.append_value(text);
        }
    }

    fn finish(mut self) -> Result<Arc<dyn TableProvider>> {
        let names = [
            "table_name",
            "table_description",
            "column_name",
            "data_type",
            "unit",
            "description",
        ];
        let fields = names.map(|name| Field::new(name, DataType::Utf8View, false));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let arrays = self
            .columns
            .iter_mut()
            .map(|builder| Arc::new(builder.finish()) as ArrayRef);
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect())?;
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
    }
}
