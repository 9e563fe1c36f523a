//! `pg_catalog` beside the tenant's tables: names and columns of what the session shows, and nothing else.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{CatalogProvider as _, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider},
    common::{DataFusionError, Result},
    datasource::TableType,
    execution::session_state::{SessionState, SessionStateBuilder},
    prelude::SessionContext,
};
use datafusion_pg_catalog::{
    pg_catalog::{
        PgCatalogSchemaProvider, PgCatalogStaticTables, catalog_info::CatalogInfo,
        context::EmptyContextProvider, setup_pg_catalog,
    },
    sql::PostgresCompatibilityParser,
};
use parking_lot::RwLock;

use super::functions;
use crate::sql::{Addition, CATALOG, SCHEMA, ShownTable};

const PG_CATALOG: &str = "pg_catalog";

/// What all connections share: functions, planner rules, the fixed tables of `pg_catalog`, the parser.
pub(super) struct PgBase {
    state: SessionState,
    statics: Arc<PgCatalogStaticTables>,
    pub(super) parser: PostgresCompatibilityParser,
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
            context.register_udf(function);
        }
        Ok(Self {
            state: context.state(),
            statics: Arc::new(PgCatalogStaticTables::try_new()?),
            parser: PostgresCompatibilityParser::new(),
        })
    }
}

/// The catalogue of one tenant: object numbers stay the same from query to query.
pub(super) struct TenantCatalog {
    base: Arc<PgBase>,
    shown: Shown,
    schema: Arc<PgCatalogSchemaProvider<Shown, EmptyContextProvider>>,
}

impl TenantCatalog {
    pub(super) fn new(base: &Arc<PgBase>) -> Result<Self> {
        let shown = Shown::default();
        let schema =
            PgCatalogSchemaProvider::try_new(shown.clone(), Arc::clone(&base.statics), EmptyContextProvider)?;
        Ok(Self {
            base: Arc::clone(base),
            shown,
            schema: Arc::new(schema),
        })
    }
}

impl Addition for TenantCatalog {
    fn base(&self) -> SessionState {
        self.base.state.clone()
    }

    fn schema(&self, mut tables: Vec<ShownTable>) -> (&'static str, Arc<dyn SchemaProvider>) {
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        *self.shown.0.write() = tables;
        (PG_CATALOG, Arc::clone(&self.schema) as _)
    }
}

/// The tables of the newest session, sorted by name.
#[derive(Debug, Clone, Default)]
struct Shown(Arc<RwLock<Vec<ShownTable>>>);

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
        let shown = self.0.read();
        let found = shown.iter().find(|candidate| candidate.name == table);
        Ok(found.map(|table| Arc::clone(&table.schema)))
    }

    async fn table_type(&self, catalog: &str, schema: &str, table: &str) -> Asked<TableType> {
        Ok(self
            .table_schema(catalog, schema, table)
            .await?
            .map(|_| TableType::View))
    }
}
