//! The schema of a session with the reports as views, each planned when it is asked for and not before.
//!
//! A view reads the session's own walled tables and nothing else, so the tenant wall holds in it as it does in the same
//! query written out.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    catalog::{
        CatalogProvider as _, CatalogProviderList as _, MemoryCatalogProvider, MemoryCatalogProviderList,
        SchemaProvider, TableFunction, TableProvider,
    },
    common::Result,
    datasource::ViewTable,
    execution::session_state::SessionState,
    logical_expr::TableType,
};
use revgauge_contract::Timestamp;

use super::Catalogue;
use crate::metrics::{Metric, Metrics};

/// What view names begin with.
const PREFIX: &str = "report_";
/// What views of the semantic layer begin with.
const METRIC: &str = "metric_";

/// Tables and report views.
pub(crate) struct ReportSchema {
    pub(crate) tables: Arc<dyn SchemaProvider>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) metrics: Arc<Metrics>,
    /// Functions and configuration of every session; no table is in it.
    pub(crate) base: Arc<SessionState>,
    /// Names that the views find their tables under.
    pub(crate) names: (&'static str, &'static str),
    /// Table functions that reports may call, bound to the session's tenant.
    pub(crate) functions: Vec<Arc<TableFunction>>,
    pub(crate) as_of: Timestamp,
}

impl fmt::Debug for ReportSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportSchema")
            .field("as_of", &self.as_of)
            .finish_non_exhaustive()
    }
}

impl ReportSchema {
    fn report<'a>(&self, view: &'a str) -> Option<&'a str> {
        let name = view.strip_prefix(PREFIX)?;
        self.catalogue.get(name).map(|_| name)
    }

    fn metric(&self, view: &str) -> Option<&Metric> {
        self.metrics.get(view.strip_prefix(METRIC)?).ok()
    }

    async fn view(&self, sql: String) -> Result<Arc<dyn TableProvider>> {
        let catalog = Arc::new(MemoryCatalogProvider::new());
        catalog.register_schema(self.names.1, Arc::clone(&self.tables))?;
        let catalogs = Arc::new(MemoryCatalogProviderList::new());
        catalogs.register_catalog(self.names.0.to_owned(), catalog);
        let mut planner = SessionState::clone(&self.base);
        planner.register_catalog_list(catalogs);
        for function in &self.functions {
            planner.register_udtf(function.name(), Arc::clone(function.function()));
        }
        let plan = planner.create_logical_plan(&sql).await?;
        Ok(Arc::new(ViewTable::new(plan, Some(sql))))
    }
}

#[async_trait]
impl SchemaProvider for ReportSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.tables.table_names();
        names.extend(
            self.catalogue
                .all()
                .map(|report| format!("{PREFIX}{}", report.name)),
        );
        names.extend(
            self.metrics
                .all()
                .map(|metric| format!("{METRIC}{}", metric.name)),
        );
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let sql = self
            .report(name)
            .and_then(|report| self.catalogue.sql(report, self.as_of))
            .or_else(|| self.metric(name)?.view(self.as_of));
        match sql {
            Some(sql) => self.view(sql).await.map(Some),
            None => self.tables.table(name).await,
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        if self.report(name).is_some() || self.metric(name).is_some() {
            return Ok(Some(TableType::View));
        }
        self.tables.table_type(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.report(name).is_some() || self.metric(name).is_some() || self.tables.table_exist(name)
    }
}
