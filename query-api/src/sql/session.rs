//! The session of one query: the caller's tables behind the tenant wall, and nothing else.

use std::{collections::HashMap, fmt, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    catalog::{
        CatalogProvider as _, CatalogProviderList as _, MemoryCatalogProvider, MemoryCatalogProviderList,
        SchemaProvider, TableFunction, TableProvider,
    },
    common::{DataFusionError, Result, TableReference},
    execution::{
        FunctionRegistry as _,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::GreedyMemoryPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
        session_state::{SessionState, SessionStateBuilder},
    },
    logical_expr::TableType,
    prelude::SessionConfig,
    sql::parser::Statement,
};
use revgauge_contract::{
    Timestamp,
    error::Failure,
    score::{EntityKind, ScoreService},
    statistics::Knowledge,
};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{
    as_of_functions::{AsOf, PipelineAsOf, ScoresAsOf},
    attribution_function::AttributionFunction,
    audit_table::audit_table,
    catalog::{CatalogColumn, CatalogTable},
    change_function::ScoreChangeFunction,
    choose_rule,
    error::SqlError,
    forecast_function::{ForecastFunction, Shown},
    object_table::{
        ACCOUNTS, ALERTS, CONTACTS, Column, DEALS, DUPLICATES, ObjectTable, PEOPLE, Records, documented,
    },
    outline::{DOCUMENTS, Outline, ShownTable},
    record_table::{Of, RecordTable},
    score_table::ScoreTable,
    text_tables::text_tables,
    waterfall_function::WaterfallFunction,
};
use crate::{
    access::{Sight, TenantTable},
    api::Api,
    freshness::Freshness,
    reports::ReportSchema,
    settings::SqlSettings,
};

/// Name of the one catalogue.
pub(crate) const CATALOG: &str = "revgauge";
/// Name of the schema that holds a tenant's tables.
pub(crate) const SCHEMA: &str = "public";

/// Schemas that show no rows of the tenant.
const SYSTEM: [&str; 2] = ["information_schema", "pg_catalog"];

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
pub(crate) fn base_session(settings: &SqlSettings, runtime: Arc<RuntimeEnv>) -> Result<SessionState> {
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
        .with_runtime_env(runtime)
        .with_optimizer_rules(choose_rule::rules())
        .with_session_id(String::new())
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
    fn base(&self) -> Arc<SessionState>;

    /// Name and content of the added schema, given the tables shown to the caller, with their descriptions.
    fn schema(&self, tables: &Arc<[ShownTable]>) -> (&'static str, Arc<dyn SchemaProvider>);
}

/// The session of one query.
pub(super) struct TenantSession {
    /// What plans the query.
    pub(super) state: SessionState,
    /// Where it runs: with a memory pool of its own.
    pub(super) runtime: Arc<RuntimeEnv>,
    tables: Arc<CutTables>,
}

impl TenantSession {
    /// Takes the cut now when a statement names anything of the tenant's. One that names nothing, such as `SELECT 1`,
    /// never waits for one.
    ///
    /// # Errors
    /// When no consistent cut can be had, or a name in the statement is none.
    pub(super) async fn prepare(&self, statement: &Statement) -> Result<()> {
        let names = self.state.resolve_table_references(statement)?;
        let of_tenant = |name: &TableReference| !name.schema().is_some_and(|schema| SYSTEM.contains(&schema));
        if names.iter().any(of_tenant) {
            self.tables.taken().await?;
        }
        Ok(())
    }

    /// How fresh the answer is; to be asked for once the query is planned, and so its cut taken.
    pub(super) fn freshness(&self) -> Freshness {
        let (tenant_id, watermarks) = (self.tables.sight.tenant_id(), &self.tables.api.cuts);
        Freshness::of(tenant_id, self.tables.now, watermarks.watermarks(tenant_id))
    }
}

/// Opens the session of one query: one cut of the tables, own memory pool, what its caller may see.
///
/// Names and columns come from the outline that all sessions share, so opening reads nothing; the cut is taken when the
/// first table is asked for.
pub(super) async fn open(
    api: &Arc<Api>,
    sight: &Arc<Sight>,
    addition: Option<&dyn Addition>,
) -> Result<TenantSession, SqlError> {
    let now = api.clock.now();
    let outline = api.outlines.of(api, sight).await.map_err(SqlError::failure)?;
    let scores = api.scores_of(sight);
    let tables = Arc::new(CutTables {
        api: Arc::clone(api),
        sight: Arc::clone(sight),
        now,
        outline: Arc::clone(&outline),
        taken: OnceCell::new(),
    });
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
        tables: Arc::clone(&tables) as _,
        catalogue: Arc::clone(&api.reports),
        metrics: Arc::clone(&api.metric_definitions),
        base: Arc::clone(&api.base_session),
        names: (CATALOG, SCHEMA),
        functions: vec![Arc::clone(&attribution)],
        as_of: now,
    };
    catalog.register_schema(SCHEMA, Arc::new(schema))?;
    let base = addition.map_or_else(|| Arc::clone(&api.base_session), Addition::base);
    if let Some((name, added)) = addition.map(|addition| addition.schema(&outline.shown)) {
        catalog.register_schema(name, added)?;
    }
    let catalogs = Arc::new(MemoryCatalogProviderList::new());
    catalogs.register_catalog(CATALOG.to_owned(), catalog);
    // Cloned and filled in, not built anew: building registers each of some hundred functions again.
    let mut state = SessionState::clone(&base);
    state.register_catalog_list(catalogs);
    let as_of = AsOf {
        scores,
        sight: Arc::clone(sight),
        now,
    };
    state.register_udtf("scores_as_of", Arc::new(ScoresAsOf(as_of.clone())));
    state.register_udtf("pipeline_as_of", Arc::new(PipelineAsOf(as_of.clone())));
    let waterfall = WaterfallFunction {
        reports: api.report_service(sight),
        sight: Arc::clone(sight),
        now,
    };
    state.register_udtf("waterfall", Arc::new(waterfall));
    state.register_udtf("attribution", Arc::clone(attribution.function()));
    for shown in [Shown::Methods, Shown::Rows, Shown::Nodes, Shown::Accuracy] {
        let forecast = ForecastFunction {
            forecasts: api.forecasts(sight),
            sight: Arc::clone(sight),
            now,
            shown,
        };
        state.register_udtf(forecast.shown.name(), Arc::new(forecast));
    }
    state.register_udtf("score_change", Arc::new(ScoreChangeFunction(as_of)));
    state.mark_start_execution();
    // `now()` is the instant at which the session was opened, not the later one of planning: the as-of functions would
    // refuse that as still to come.
    state.execution_props_mut().query_execution_start_time = Some(now.to_datetime());
    let runtime = own_runtime(&api.catalog.runtime(), &api.settings.sql)?;
    Ok(TenantSession {
        state,
        runtime,
        tables,
    })
}

/// The caller's tables: all of one cut, taken when the first of them is asked for.
struct CutTables {
    api: Arc<Api>,
    sight: Arc<Sight>,
    now: Timestamp,
    outline: Arc<Outline>,
    taken: OnceCell<HashMap<String, Arc<dyn TableProvider>>>,
}

impl fmt::Debug for CutTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CutTables")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl CutTables {
    async fn taken(&self) -> Result<&HashMap<String, Arc<dyn TableProvider>>> {
        self.taken.get_or_try_init(|| self.take()).await
    }

    async fn take(&self) -> Result<HashMap<String, Arc<dyn TableProvider>>> {
        let offered = tables_of(&self.api, &self.sight, self.now).await;
        let offered = offered.map_err(|failure| DataFusionError::External(Box::new(failure)))?;
        let mut walled: HashMap<String, Arc<dyn TableProvider>> = HashMap::with_capacity(offered.len() + 1);
        for (table, of_seen) in offered {
            let sight = Arc::clone(&self.sight);
            let wall = if of_seen {
                TenantTable::of_seen(&table.name, sight, table.provider)
            } else {
                TenantTable::try_new(&table.name, sight, table.provider)
            }?;
            walled.insert(table.name, Arc::new(wall));
        }
        Ok(walled)
    }
}

#[async_trait]
impl SchemaProvider for CutTables {
    fn table_names(&self) -> Vec<String> {
        self.outline
            .shown
            .iter()
            .map(|table| table.name.clone())
            .collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if name == DOCUMENTS {
            return Ok(Some(Arc::clone(&self.outline.documents)));
        }
        if !self.table_exist(name) {
            return Ok(None);
        }
        Ok(self.taken().await?.get(name).cloned())
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        // As the wall and the documentation say of themselves.
        let kind = if name == DOCUMENTS {
            TableType::Base
        } else {
            TableType::View
        };
        Ok(self.table_exist(name).then_some(kind))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.outline.has(name)
    }
}

/// All tables of a caller's tenant in one cut, with each whether its rows need not say whose they are.
///
/// # Errors
/// When no consistent cut can be had.
pub(super) async fn tables_of(
    api: &Api,
    sight: &Arc<Sight>,
    now: Timestamp,
) -> Result<Vec<(CatalogTable, bool)>, Failure> {
    let tenant_id = sight.tenant_id();
    let offered = api.catalog.tables(tenant_id).await?;
    let offered = offered.into_iter().map(|table| (table, false));
    let own = own_tables(api, &api.scores_of(sight), tenant_id, now);
    let audit = audit_table(api, sight).map(|table| (table, true));
    Ok(offered.chain(own).chain(audit).collect())
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

/// `scores`, `contacts`, `accounts`, `deals`, `alerts`, `people` and `duplicate_companies`, as of now, from services that have
/// applied the row rule; with each whether its rows need not say whose they are.
fn own_tables(
    api: &Api,
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
        let description = format!("one row per {}, merged ones as one, as known now", kind.as_str());
        let of = Of::Records(kind);
        tables.push(record_table(
            api,
            service,
            tenant_id,
            (name, &description),
            (of, columns),
        ));
    }
    let described = ("alerts", "one row per alert that holds now");
    let of = Of::Alerts(now);
    tables.push(record_table(api, service, tenant_id, described, (of, ALERTS)));
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
    let (ownership, tenant) = (api.ownership(), Arc::clone(tenant_id));
    let fetch = move || -> Records {
        let (ownership, tenant) = (Arc::clone(&ownership), Arc::clone(&tenant));
        Box::pin(async move { records(&ownership.colleagues(&tenant).await?) })
    };
    tables.push(object_table(
        "people",
        "one row per person of the sales organisation, as known now",
        tenant_id,
        PEOPLE,
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

fn record_table(
    api: &Api,
    service: &Arc<dyn ScoreService>,
    tenant_id: &Arc<str>,
    (name, description): (&'static str, &str),
    (of, columns): (Of, &'static [Column]),
) -> CatalogTable {
    let table = RecordTable {
        name,
        of,
        key: match of {
            Of::Records(_) => columns[0].name,
            Of::Alerts(_) => "entity_id",
        },
        tenant_id: Arc::clone(tenant_id),
        columns,
        scores: Arc::clone(service),
        all: api.scores_behind_the_wall(),
        kept: Arc::clone(&api.kept_records),
    };
    catalogued(name, description, columns, Arc::new(table))
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
    catalogued(name, description, columns, Arc::new(table))
}

fn catalogued(
    name: &str,
    description: &str,
    columns: &[Column],
    provider: Arc<dyn TableProvider>,
) -> CatalogTable {
    let mut documented = documented(columns);
    documented.push(CatalogColumn::new("fields", "the whole record", "JSON"));
    CatalogTable {
        name: name.to_owned(),
        description: description.to_owned(),
        provider,
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
