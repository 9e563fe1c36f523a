//! The session of one query: the caller's tables behind the tenant wall, and nothing else.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch, StringViewBuilder},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    catalog::{
        CatalogProvider as _, CatalogProviderList as _, MemoryCatalogProvider, MemoryCatalogProviderList,
        MemorySchemaProvider, SchemaProvider, TableFunction, TableProvider,
    },
    common::Result,
    datasource::MemTable,
    execution::{
        FunctionRegistry as _,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::GreedyMemoryPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
        session_state::{SessionState, SessionStateBuilder},
    },
    prelude::{SessionConfig, SessionContext},
};
use revgauge_contract::{
    Timestamp,
    error::Failure,
    reports::Report,
    score::{EntityKind, ScoreService},
    statistics::Knowledge,
};
use serde_json::Value;

use super::{
    as_of_functions::{AsOf, PipelineAsOf, ScoresAsOf, pipeline_columns},
    attribution_function::{AttributionFunction, CREDITS},
    audit_table::audit_table,
    catalog::{CatalogColumn, CatalogTable},
    change_function::{CHANGES, ScoreChangeFunction},
    error::SqlError,
    forecast_function::{ACCURACY, ForecastFunction, METHODS, ROWS, Shown},
    object_table::{
        ACCOUNTS, ALERTS, CONTACTS, Column, DEALS, DUPLICATES, ObjectTable, Records, documented, schema_of,
    },
    score_table::ScoreTable,
    stop::{StopSign, StoppableJoins},
    text_tables::text_tables,
    waterfall_function::{PARTS, WaterfallFunction},
};
use crate::{
    access::{Sight, TenantTable},
    api::Api,
    freshness::Freshness,
    metrics::Metric,
    reports::ReportSchema,
    settings::SqlSettings,
};

/// Name of the one catalogue.
pub(crate) const CATALOG: &str = "revgauge";
/// Name of the schema that holds a tenant's tables.
pub(crate) const SCHEMA: &str = "public";

/// Functions whose one value may be as long as the asker likes, which no memory pool sees.
const UNBOUNDED: [&str; 7] = [
    "repeat",
    "lpad",
    "rpad",
    "array_repeat",
    "array_resize",
    "range",
    "generate_series",
];

/// What every session shares: functions, optimiser, configuration. No table is in it.
pub(crate) fn base_session(settings: &SqlSettings) -> Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_target_partitions(settings.partitions.max(1));
    // Events grouped by entity shrink by half at best: grouping them twice, before and after the exchange between
    // partitions, costs more than it saves (docs/adr/028).
    config
        .options_mut()
        .execution
        .skip_partial_aggregation_probe_ratio_threshold = 0.3;
    // `EXPLAIN` shows the plan as text, one line a step.
    config.options_mut().explain.format = datafusion::common::format::ExplainFormat::Indent;
    let mut state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config)
        .build();
    datafusion_functions_json::register_all(&mut state)?;
    for name in UNBOUNDED {
        state.deregister_udf(name)?;
    }
    Ok(state)
}

/// What a door adds to the sessions of its queries: functions, planner rules and a schema of its own. It is given names
/// and columns, never rows.
pub(crate) trait Addition: Send + Sync {
    /// The state sessions start from instead of [`base_session`].
    fn base(&self) -> SessionState;

    /// Name and content of the added schema, given the tables shown to the tenant, with their descriptions.
    fn schema(&self, tables: Vec<ShownTable>) -> (&'static str, Arc<dyn SchemaProvider>);
}

/// A table as a door's own catalogue may show it.
#[derive(Debug, Clone)]
pub(crate) struct ShownTable {
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    /// What one row is.
    pub(crate) description: String,
    pub(crate) columns: Vec<CatalogColumn>,
}

/// A session and how fresh its cut is.
pub(super) struct TenantSession {
    pub(super) context: SessionContext,
    pub(super) freshness: Freshness,
}

/// When a session was opened: the instant of its cut, and what `now()` says in its query.
#[derive(Debug, Clone, Copy)]
struct OpenedAt(Timestamp);

/// The state that a session's query is planned in. Its `now()` is the instant at which the session was opened, not the
/// later one of planning: the as-of functions would refuse that as still to come.
pub(super) fn state_of(context: &SessionContext) -> SessionState {
    let mut state = context.state();
    if let Some(opened) = state.config().get_extension::<OpenedAt>() {
        state.execution_props_mut().query_execution_start_time = Some(opened.0.to_datetime());
    }
    state
}

/// Opens the session of one query: one cut of the tables, own memory pool, what its caller may see.
pub(super) async fn open(
    api: &Api,
    sight: &Arc<Sight>,
    stop: &StopSign,
    addition: Option<&dyn Addition>,
) -> Result<TenantSession, SqlError> {
    let now = api.clock.now();
    let tenant_id = sight.tenant_id();
    let offered = api.catalog.tables(tenant_id).await.map_err(SqlError::failure)?;
    let freshness = Freshness::of(tenant_id, now, api.cuts.watermarks(tenant_id));
    let schema = Arc::new(MemorySchemaProvider::new());
    let mut documents = Documents::default();
    let mut shown = Vec::new();
    let scores = api.scores_of(sight);
    let offered = offered.into_iter().map(|table| (table, false));
    let own = own_tables(&scores, tenant_id, now)
        .into_iter()
        .chain(audit_table(api, sight).map(|table| (table, true)));
    for (table, of_seen) in offered.chain(own) {
        documents.describe(&table);
        shown.push(ShownTable {
            name: table.name.clone(),
            schema: table.provider.schema(),
            description: table.description.clone(),
            columns: table.columns.clone(),
        });
        let walled = if of_seen {
            TenantTable::of_seen(&table.name, Arc::clone(sight), table.provider)
        } else {
            TenantTable::try_new(&table.name, Arc::clone(sight), table.provider)
        }?;
        schema.register_table(table.name, Arc::new(walled))?;
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
    let documents = documents.finish()?;
    shown.push(ShownTable {
        name: "table_columns".to_owned(),
        schema: documents.schema(),
        description: "what each column of every table and function holds, and its unit".to_owned(),
        columns: Vec::new(),
    });
    schema.register_table("table_columns".to_owned(), documents)?;
    let catalog = Arc::new(MemoryCatalogProvider::new());
    let attribution = AttributionFunction {
        reports: api.report_service(sight),
        sight: Arc::clone(sight),
        now,
    };
    let attribution = Arc::new(TableFunction::new(
        "attribution".to_owned(),
        Arc::new(attribution),
    ));
    let schema = ReportSchema {
        tables: schema,
        catalogue: Arc::clone(&api.reports),
        metrics: Arc::clone(&api.metric_definitions),
        base: api.base_session.clone(),
        names: (CATALOG, SCHEMA),
        functions: vec![Arc::clone(&attribution)],
        as_of: now,
    };
    catalog.register_schema(SCHEMA, Arc::new(schema))?;
    let base = addition.map_or_else(|| api.base_session.clone(), Addition::base);
    if let Some((name, added)) = addition.map(|addition| addition.schema(shown)) {
        catalog.register_schema(name, added)?;
    }
    let catalogs = Arc::new(MemoryCatalogProviderList::new());
    catalogs.register_catalog(CATALOG.to_owned(), catalog);
    let config = base.config().clone().with_extension(Arc::new(OpenedAt(now)));
    let state = SessionStateBuilder::new_from_existing(base)
        .with_config(config)
        .with_session_id(String::new())
        .with_catalog_list(catalogs)
        .with_physical_optimizer_rule(Arc::new(StoppableJoins(stop.clone())))
        .with_runtime_env(own_runtime(&api.catalog.runtime(), &api.settings.sql)?)
        .build();
    let context = SessionContext::new_with_state(state);
    let as_of = AsOf {
        scores,
        sight: Arc::clone(sight),
        now,
    };
    context.register_udtf("scores_as_of", Arc::new(ScoresAsOf(as_of.clone())));
    context.register_udtf("pipeline_as_of", Arc::new(PipelineAsOf(as_of.clone())));
    let waterfall = WaterfallFunction {
        reports: api.report_service(sight),
        sight: Arc::clone(sight),
        now,
    };
    context.register_udtf("waterfall", Arc::new(waterfall));
    context.register_udtf("attribution", Arc::clone(attribution.function()));
    for shown in [Shown::Methods, Shown::Rows, Shown::Accuracy] {
        let forecast = ForecastFunction {
            forecasts: api.forecasts(sight),
            sight: Arc::clone(sight),
            now,
            shown,
        };
        context.register_udtf(forecast.shown.name(), Arc::new(forecast));
    }
    context.register_udtf("score_change", Arc::new(ScoreChangeFunction(as_of)));
    Ok(TenantSession { context, freshness })
}

fn own_runtime(shared: &RuntimeEnv, settings: &SqlSettings) -> Result<Arc<RuntimeEnv>> {
    let disk = if settings.spill_bytes == 0 {
        DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled)
    } else {
        DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::OsTmpDirectory)
            .with_max_temp_directory_size(settings.spill_bytes)
    };
    let mut builder = RuntimeEnvBuilder::from_runtime_env(shared)
        .with_disk_manager_builder(disk)
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(settings.memory_bytes)));
    builder.disk_manager = None;
    builder.build_arc()
}

/// `scores`, `contacts`, `accounts`, `deals`, `alerts` and `duplicate_companies`, as of now, from services that have
/// applied the row rule; with each whether its rows need not say whose they are.
fn own_tables(
    service: &Arc<dyn ScoreService>,
    tenant_id: &Arc<str>,
    now: Timestamp,
) -> Vec<(CatalogTable, bool)> {
    let scores = ScoreTable {
        scores: Arc::clone(service),
        tenant_id: Arc::clone(tenant_id),
        at: now,
        knowledge: Knowledge::Now,
    };
    let mut tables = vec![CatalogTable {
        name: "scores".to_owned(),
        description: "one row per entity and score, now".to_owned(),
        provider: Arc::new(scores),
        columns: score_columns(),
    }];
    for (name, kind, columns) in [
        ("contacts", EntityKind::Contact, CONTACTS),
        ("accounts", EntityKind::Account, ACCOUNTS),
        ("deals", EntityKind::Deal, DEALS),
    ] {
        let (scores, tenant) = (Arc::clone(service), Arc::clone(tenant_id));
        let fetch = move || -> Records {
            let (scores, tenant) = (Arc::clone(&scores), Arc::clone(&tenant));
            Box::pin(async move { scores.objects(&tenant, kind, None, Knowledge::Now).await })
        };
        let description = format!("one row per {}, merged ones as one, as known now", kind.as_str());
        tables.push(object_table(
            name,
            &description,
            tenant_id,
            columns,
            Arc::new(fetch),
        ));
    }
    let (scores, tenant) = (Arc::clone(service), Arc::clone(tenant_id));
    let fetch = move || -> Records {
        let (scores, tenant) = (Arc::clone(&scores), Arc::clone(&tenant));
        Box::pin(async move { records(&scores.alerts(&tenant, now, Knowledge::Now).await?) })
    };
    tables.push(object_table(
        "alerts",
        "one row per alert that holds now",
        tenant_id,
        ALERTS,
        Arc::new(fetch),
    ));
    let (scores, tenant) = (Arc::clone(service), Arc::clone(tenant_id));
    let fetch = move || -> Records {
        let (scores, tenant) = (Arc::clone(&scores), Arc::clone(&tenant));
        Box::pin(async move { records(&scores.duplicates(&tenant, Knowledge::Now).await?) })
    };
    tables.push(object_table(
        "duplicate_companies",
        "one row per group of accounts that look like one company but are not merged",
        tenant_id,
        DUPLICATES,
        Arc::new(fetch),
    ));
    tables.extend(text_tables(service, tenant_id, now));
    let aggregated =
        |table: &CatalogTable| table.name == "duplicate_companies" || table.name == "compliance_report";
    tables
        .into_iter()
        .map(|table| {
            let of_seen = aggregated(&table);
            (table, of_seen)
        })
        .collect()
}

pub(super) fn records<T: serde::Serialize>(rows: &[T]) -> Result<Vec<Value>, Failure> {
    let unprintable = |error: serde_json::Error| {
        Failure::new(
            revgauge_contract::ErrorKind::Internal,
            format!("cannot print a row: {error}"),
        )
    };
    rows.iter()
        .map(|row| serde_json::to_value(row).map_err(unprintable))
        .collect()
}

pub(super) fn unprintable(error: &serde_json::Error) -> Failure {
    Failure::new(
        revgauge_contract::ErrorKind::Internal,
        format!("cannot print a record: {error}"),
    )
}

pub(super) fn object_table(
    name: &'static str,
    description: &str,
    tenant_id: &Arc<str>,
    columns: &[Column],
    fetch: Arc<dyn Fn() -> Records + Send + Sync>,
) -> CatalogTable {
    let table = ObjectTable {
        name,
        tenant_id: Arc::clone(tenant_id),
        columns: columns.into(),
        fetch,
    };
    let mut documented = documented(columns);
    documented.push(CatalogColumn::new("fields", "the whole record", "JSON"));
    CatalogTable {
        name: name.to_owned(),
        description: description.to_owned(),
        provider: Arc::new(table),
        columns: documented,
    }
}

fn score_columns() -> Vec<CatalogColumn> {
    [
        ("entity_kind", "contact, account or deal", ""),
        ("entity_id", "canonical id, after merges", ""),
        ("name", "name of the entity", ""),
        ("account_id", "account of a contact or deal", ""),
        ("owner_id", "rep who owns it", ""),
        ("score", "name of the score", ""),
        ("value", "the score; NULL when unscored", "points"),
        ("tier", "tier or band, where the score has one", ""),
        ("unscored_because", "why there is no value", ""),
        ("reasons", "the three largest parts, for people", ""),
        ("contributions", "parts that sum to the value", "JSON"),
        ("facts", "facts beside the value", "JSON"),
        ("definition", "definition that made it, name@version", ""),
        ("fingerprint", "fingerprint of the features read", ""),
        ("as_of", "instant the score is for", "UTC"),
    ]
    .iter()
    .map(|(name, description, unit)| CatalogColumn::new(name, description, unit))
    .collect()
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
                &super::output::type_name(field.data_type()),
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
            let kind = schema.field_with_name(column.name).map_or_else(
                |_| String::new(),
                |field| super::output::type_name(field.data_type()),
            );
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
