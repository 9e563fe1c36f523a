//! `pg_catalog` beside the tenant's tables: names and columns of what the session shows, and nothing else.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch, StringArray},
        datatypes::SchemaRef,
    },
    catalog::{
        CatalogProvider as _, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
        TableProvider, streaming::StreamingTable,
    },
    common::{DataFusionError, Result, exec_err},
    datasource::{MemTable, TableType},
    execution::session_state::{SessionState, SessionStateBuilder},
    physical_plan::streaming::PartitionStream,
    prelude::SessionContext,
};
use datafusion_pg_catalog::pg_catalog::{
    PgCatalogSchemaProvider, PgCatalogStaticTables, PgCatalogTable,
    catalog_info::CatalogInfo,
    context::{EmptyContextProvider, PgCatalogContextProvider, Role},
    setup_pg_catalog,
};
use parking_lot::RwLock;

use super::{
    commands::KNOWN,
    dialect::Dialect,
    functions,
    own_tables::{Kind, OwnTable},
};
use crate::sql::{Addition, CATALOG, SCHEMA, ShownTable};

const PG_CATALOG: &str = "pg_catalog";

/// What all connections share: functions, planner rules, the fixed tables of `pg_catalog`, the parser.
pub(super) struct PgBase {
    state: Arc<SessionState>,
    statics: Arc<PgCatalogStaticTables>,
    pub(super) dialect: Dialect,
}

impl PgBase {
    /// Prepares it once; costs the decoding of the fixed tables, a few milliseconds.
    pub(super) fn new(base: &SessionState) -> Result<Self> {
        let state = SessionStateBuilder::new_from_existing(base.clone())
            .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
            .build();
        let context = SessionContext::new_with_state(state);
        let catalog = Arc::new(MemoryCatalogProvider::new());
        catalog.register_schema(SCHEMA, Arc::new(datafusion::catalog::MemorySchemaProvider::new()))?;
        context.register_catalog(CATALOG, catalog);
        setup_pg_catalog(&context, CATALOG, EmptyContextProvider).map_err(|error| *error)?;
        for function in functions::all() {
            // The engine's own of that name goes with its other names, or it would come back with them.
            context.deregister_udf(function.name());
            context.register_udf(function);
        }
        Ok(Self {
            state: Arc::new(context.state()),
            statics: Arc::new(PgCatalogStaticTables::try_new()?),
            dialect: Dialect::new(),
        })
    }
}

/// The catalogue of one tenant's callers that are shown the same tables: object numbers stay the same from query to query.
pub(super) struct TenantCatalog {
    base: Arc<PgBase>,
    shown: Shown,
    schema: Arc<PgCatalog>,
}

impl TenantCatalog {
    pub(super) fn new(base: &Arc<PgBase>) -> Result<Self> {
        let shown = Shown::default();
        let schema = PgCatalogSchemaProvider::try_new(shown.clone(), Arc::clone(&base.statics), Roles)?;
        Ok(Self {
            base: Arc::clone(base),
            shown: shown.clone(),
            schema: Arc::new(PgCatalog {
                standard: schema,
                shown,
            }),
        })
    }
}

/// `pg_catalog`: what the catalogue crate makes, and keys and comments of the tenant's tables.
#[derive(Debug)]
struct PgCatalog {
    standard: PgCatalogSchemaProvider<Shown, Roles>,
    shown: Shown,
}

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn table_names(&self) -> Vec<String> {
        self.standard.table_names()
    }

    fn table_exist(&self, name: &str) -> bool {
        self.standard.table_exist(name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let kind = match name {
            "pg_attribute" => Kind::Attribute,
            "pg_class" => Kind::Class,
            "pg_constraint" => Kind::Constraint,
            "pg_index" => Kind::Index,
            "pg_description" => Kind::Description,
            "pg_proc" => Kind::Function,
            "pg_settings" => return Ok(Some(settings_table()?)),
            _ => return self.standard.table(name).await,
        };
        let Some(PgCatalogTable::Dynamic(class)) = self.standard.build_table_by_name("pg_class")? else {
            return exec_err!("the catalogue has no pg_class");
        };
        let (mut attribute, mut before) = (None, Vec::new());
        match self.standard.build_table_by_name(name)? {
            Some(PgCatalogTable::Static(table)) => before = table.data().to_vec(),
            Some(PgCatalogTable::Dynamic(table)) if kind == Kind::Attribute => attribute = Some(table),
            _ => {}
        }
        let table = OwnTable::new(kind, class, attribute, self.shown.clone(), before);
        let schema = Arc::clone(PartitionStream::schema(&table));
        Ok(Some(Arc::new(StreamingTable::try_new(
            schema,
            vec![Arc::new(table)],
        )?)))
    }
}

/// The one role there is here: what a key may do is no role of PostgreSQL.
#[derive(Debug, Clone)]
struct Roles;

#[async_trait]
impl PgCatalogContextProvider for Roles {
    async fn roles(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    async fn role(&self, name: &str) -> Option<Role> {
        (name == CATALOG).then(|| Role {
            name: name.to_owned(),
            is_superuser: false,
            can_login: true,
            can_create_db: false,
            can_create_role: false,
            can_create_user: false,
            can_replication: false,
            grants: Vec::new(),
            inherited_roles: Vec::new(),
        })
    }
}

/// `pg_settings`: the settings that clients read, with what holds when a connection has set nothing.
fn settings_table() -> Result<Arc<dyn TableProvider>> {
    let texts = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
    let names: Vec<Option<&str>> = KNOWN.iter().map(|(name, _)| Some(*name)).collect();
    let values: Vec<Option<&str>> = KNOWN.iter().map(|(_, value)| Some(*value)).collect();
    let all = |value| texts(vec![value; KNOWN.len()]);
    let columns = [
        ("name", texts(names)),
        ("setting", texts(values.clone())),
        ("unit", all(None)),
        ("category", all(Some("Client Connection Defaults"))),
        ("short_desc", all(None)),
        ("extra_desc", all(None)),
        ("context", all(Some("user"))),
        ("vartype", all(Some("string"))),
        ("source", all(Some("default"))),
        ("min_val", all(None)),
        ("max_val", all(None)),
        ("enumvals", all(None)),
        ("boot_val", texts(values.clone())),
        ("reset_val", texts(values)),
        ("sourcefile", all(None)),
        ("sourceline", all(None)),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )?;
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}

impl Addition for TenantCatalog {
    fn base(&self) -> Arc<SessionState> {
        Arc::clone(&self.base.state)
    }

    fn schema(&self, tables: &Arc<[ShownTable]>) -> (&'static str, Arc<dyn SchemaProvider>) {
        if !Arc::ptr_eq(tables, &self.shown.0.read()) {
            *self.shown.0.write() = Arc::clone(tables);
        }
        (PG_CATALOG, Arc::clone(&self.schema) as _)
    }
}

/// The tables that the sessions show, sorted by name.
#[derive(Debug, Clone)]
pub(super) struct Shown(Arc<RwLock<Arc<[ShownTable]>>>);

impl Default for Shown {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Arc::from([]))))
    }
}

impl Shown {
    /// Columns of a table.
    pub(super) fn schema_of(&self, table: &str) -> Option<SchemaRef> {
        let shown = self.0.read();
        let found = shown.iter().find(|candidate| candidate.name == table);
        found.map(|table| Arc::clone(&table.schema))
    }

    /// What is written about a table, and about its columns by place, from 1.
    pub(super) fn comments_of(&self, table: &str) -> Vec<(i32, String)> {
        let shown = self.0.read();
        let Some(table) = shown.iter().find(|candidate| candidate.name == table) else {
            return Vec::new();
        };
        let mut comments = vec![(0, table.description.clone())];
        for (place, field) in (1..).zip(table.schema.fields()) {
            let written = table.columns.iter().find(|column| column.name == *field.name());
            let Some(column) = written.filter(|column| !column.description.is_empty()) else {
                continue;
            };
            let unit = if column.unit.is_empty() {
                String::new()
            } else {
                format!(" ({})", column.unit)
            };
            comments.push((place, format!("{}{unit}", column.description)));
        }
        comments
    }
}

type Asked<T> = Result<Option<T>, DataFusionError>;

#[async_trait]
impl CatalogInfo for Shown {
    async fn catalog_names(&self) -> Result<Vec<String>, DataFusionError> {
        Ok(vec![CATALOG.to_owned()])
    }

    async fn schema_names(&self, catalog: &str) -> Asked<Vec<String>> {
        let names = [SCHEMA, PG_CATALOG, "information_schema"].map(str::to_owned);
        Ok((catalog == CATALOG).then(|| names.to_vec()))
    }

    async fn table_names(&self, catalog: &str, schema: &str) -> Asked<Vec<String>> {
        if catalog != CATALOG {
            return Ok(None);
        }
        if schema != SCHEMA {
            return Ok(Some(Vec::new()));
        }
        Ok(Some(
            self.0.read().iter().map(|table| table.name.clone()).collect(),
        ))
    }

    async fn table_schema(&self, catalog: &str, schema: &str, table: &str) -> Asked<SchemaRef> {
        if catalog != CATALOG || schema != SCHEMA {
            return Ok(None);
        }
        Ok(self.schema_of(table))
    }

    async fn table_type(&self, catalog: &str, schema: &str, table: &str) -> Asked<TableType> {
        Ok(self
            .table_schema(catalog, schema, table)
            .await?
            .map(|_| TableType::View))
    }
}
