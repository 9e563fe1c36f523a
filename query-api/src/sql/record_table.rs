//! The tables `contacts`, `accounts`, `deals` and `alerts`: rows asked for by id are computed alone, and the others are kept
//! rows where the whole record is not asked for.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session, TableProvider},
    common::Result,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
};
use revgauge_contract::{
    Timestamp,
    score::{EntityKind, ScoreService},
    statistics::Knowledge,
};

use super::{
    alert_rows::alert_rows,
    kept_records::KeptRecords,
    loaded_table::{Loading, loaded_plan},
    object_table::{Column, rows_of, schema_of},
    pushed::{kept_texts, texts_of},
};

/// The last column of each such table: the whole record as JSON.
const FIELDS: &str = "fields";

/// What one row is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Records(EntityKind),
    Alerts(Timestamp),
}

/// A table of records as of now.
pub(super) struct RecordTable {
    pub(super) name: &'static str,
    pub(super) of: Of,
    /// Column that the rows are looked up by.
    pub(super) key: &'static str,
    pub(super) tenant_id: Arc<str>,
    pub(super) columns: &'static [Column],
    /// As the caller sees them.
    pub(super) scores: Arc<dyn ScoreService>,
    /// As they are: the wall around this table shows no more of it than the caller may see.
    pub(super) all: Arc<dyn ScoreService>,
    pub(super) kept: Arc<KeptRecords>,
}

impl fmt::Debug for RecordTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordTable")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for RecordTable {
    fn schema(&self) -> SchemaRef {
        schema_of(self.columns)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let verdict = |filter: &&Expr| match kept_texts(filter) {
            Some((column, _)) if column == self.key => TableProviderFilterPushDown::Inexact,
            _ => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(verdict).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let ids: Option<Vec<String>> = texts_of(filters, self.key).map(|ids| ids.into_iter().collect());
        let whole = schema_of(self.columns).index_of(FIELDS)?;
        let whole = projection.is_none_or(|columns| columns.contains(&whole));
        let (of, columns, kept) = (self.of, self.columns, Arc::clone(&self.kept));
        let (tenant, scores, all) = (
            Arc::clone(&self.tenant_id),
            Arc::clone(&self.scores),
            Arc::clone(&self.all),
        );
        loaded_plan(self.name, self.schema(), projection, move || -> Loading {
            let (tenant, scores, all) = (Arc::clone(&tenant), Arc::clone(&scores), Arc::clone(&all));
            let (ids, kept) = (ids.clone(), Arc::clone(&kept));
            Box::pin(async move {
                let ids = ids.as_deref();
                let found = match of {
                    Of::Alerts(at) => {
                        let found = scores.alerts(&tenant, ids, at, Knowledge::Now).await?;
                        return Ok(vec![alert_rows(&tenant, &found, whole)?]);
                    }
                    Of::Records(kind) if whole => scores.objects(&tenant, kind, ids, Knowledge::Now).await?,
                    Of::Records(kind) => {
                        if ids.is_none()
                            && let Some(rows) = kept.rows(all.as_ref(), &tenant, kind, columns).await?
                        {
                            return Ok(rows);
                        }
                        scores.own_records(&tenant, kind, ids).await?
                    }
                };
                Ok(vec![rows_of(&tenant, columns, &found, whole)])
            })
        })
    }
}
