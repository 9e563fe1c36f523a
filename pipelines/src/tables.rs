//! Layer 1 as SQL tables: cuts of the lake, the CRM change log in them, and the live state.

mod cut;
mod explode;
mod state;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use object_store::ObjectStore;
use revgauge_contract::cut::Cut;

use crate::{catalog, error::PipelineError, runtime::Runtime};

/// A table under its SQL name.
#[derive(Debug, Clone)]
pub struct NamedTable {
    /// SQL name.
    pub name: &'static str,
    /// One line for people.
    pub description: &'static str,
    /// The rows. Every table has the column `tenant_id`; the tenant rule is the caller's.
    pub provider: Arc<dyn TableProvider>,
}

/// A cut as a table in its contract schema: Parquet files with pruning, and the tail.
#[must_use]
pub fn cut_table(cut: Cut, store: Arc<dyn ObjectStore>) -> Arc<dyn TableProvider> {
    Arc::new(cut::CutTable::new(cut, store))
}

/// The CRM change log of a cut of events: one row a change of one field (`crm_history`, the source `crm_fields`).
#[must_use]
pub fn crm_history_table(cut: Cut, store: Arc<dyn ObjectStore>) -> Arc<dyn TableProvider> {
    Arc::new(explode::CrmFieldsTable::new(cut_table(cut, store)))
}

/// The live state of a pipeline as a table. Equality filters on `tenant_id` and the entity's key become look-ups.
///
/// Each slice of rows is read at its own instant: a scan is not a snapshot across entities.
///
/// # Errors
/// `Unknown` when the pipeline does not exist or keeps no state.
pub fn state_table(runtime: &Arc<Runtime>, pipeline: &str) -> Result<Arc<dyn TableProvider>, PipelineError> {
    Ok(Arc::new(state::StateTable::new(runtime.engine(pipeline)?)))
}

/// The live state tables of all pipelines that keep one.
///
/// # Errors
/// Never in practice: the runtime holds every shipped pipeline.
pub fn state_tables(runtime: &Arc<Runtime>) -> Result<Vec<NamedTable>, PipelineError> {
    let kept = catalog::all()
        .iter()
        .filter(|pipeline| runtime.engine(pipeline.name).is_ok());
    kept.map(|pipeline| {
        Ok(NamedTable {
            name: pipeline.name,
            description: pipeline.description,
            provider: state_table(runtime, pipeline.name)?,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests;
