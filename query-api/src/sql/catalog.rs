//! What the composition root offers to SQL: tables of a tenant, and the runtime they read files with.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{catalog::TableProvider, execution::runtime_env::RuntimeEnv};
use revgauge_contract::error::Failure;

/// One documented column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogColumn {
    /// Name.
    pub name: String,
    /// What it holds.
    pub description: String,
    /// Unit or form (`UTC`, `points 0-100`, `JSON`); empty when it has none.
    pub unit: String,
}

impl CatalogColumn {
    /// A documented column.
    #[must_use]
    pub fn new(name: &str, description: &str, unit: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            unit: unit.to_owned(),
        }
    }
}

/// One table as offered. It must have a text column `tenant_id`; rows of other tenants in it never come out.
#[derive(Debug, Clone)]
pub struct CatalogTable {
    /// SQL name.
    pub name: String,
    /// What one row is.
    pub description: String,
    /// Where the rows come from.
    pub provider: Arc<dyn TableProvider>,
    /// Documentation of columns; those left out are listed without one.
    pub columns: Vec<CatalogColumn>,
}

/// Columns that tell the rows of a table apart.
const KEYS: &[(&str, &[&str])] = &[
    ("accounts", &["account_id"]),
    ("alerts", &["entity_kind", "entity_id", "rule"]),
    ("contacts", &["contact_id"]),
    ("deals", &["deal_id"]),
    ("events", &["event_id"]),
    ("score_changes", &["position", "row"]),
    ("scores", &["entity_kind", "entity_id", "score"]),
    ("table_columns", &["table_name", "column_name"]),
];

/// The key columns of a table; none where it has no key.
pub(crate) fn table_keys(table: &str) -> &'static [&'static str] {
    let found = KEYS.iter().find(|(name, _)| *name == table);
    found.map_or(&[], |(_, columns)| columns)
}

/// Offers tables. Asked once per query, so what it returns is that query's one cut (L-2). Names and columns are always the
/// same ones, for every tenant; only the rows differ.
#[async_trait]
pub trait CatalogSource: Send + Sync {
    /// The tables of a tenant: `events`, `score_changes`, `crm_history`, the live statistics, ... `scores`,
    /// `contacts`, `accounts`, `deals`, `alerts`, `people` and `duplicate_companies` are added by this room and may not be
    /// offered here.
    ///
    /// # Errors
    /// When no consistent cut can be had.
    async fn tables(&self, tenant_id: &str) -> Result<Vec<CatalogTable>, Failure>;

    /// The runtime whose object stores and file caches queries share; each gets its own memory pool on top.
    fn runtime(&self) -> Arc<RuntimeEnv>;
}
