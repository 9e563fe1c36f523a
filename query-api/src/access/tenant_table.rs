//! The wrapper around every table of a session: only the caller's rows come out of it.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::{DataType, SchemaRef},
    catalog::{Session, TableProvider},
    common::{Result, ScalarValue, plan_err},
    logical_expr::{Expr, TableProviderFilterPushDown, TableType, col},
    physical_plan::ExecutionPlan,
};

use super::{
    leak_proof::is_leak_proof,
    tenant_exec::{TenantExec, TenantScan},
};

/// Column every tenant's row carries.
const TENANT_ID: &str = "tenant_id";

/// A table of which one tenant's rows are visible, and nothing else: no statistics, no file names, no definition, no
/// error text of the inside.
///
/// The tenant filter is handed to the inner table where that takes filters, and is applied again to what comes out, so
/// the wall does not depend on the inner table keeping its word. Filters of the query reach the inner table only when
/// evaluating them on a foreign row cannot fail; all others are evaluated above the wall.
#[derive(Debug)]
pub struct TenantTable {
    name: String,
    tenant_id: Arc<str>,
    inner: Arc<dyn TableProvider>,
    tenant_column: usize,
}

impl TenantTable {
    /// Wraps a table.
    ///
    /// # Errors
    /// When it has no text column `tenant_id`: then nothing could be filtered.
    pub fn try_new(name: &str, tenant_id: Arc<str>, inner: Arc<dyn TableProvider>) -> Result<Self> {
        let schema = inner.schema();
        let column = schema.column_with_name(TENANT_ID);
        match column {
            Some((tenant_column, field))
                if matches!(
                    field.data_type(),
                    DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
                ) =>
            {
                Ok(Self {
                    name: name.to_owned(),
                    tenant_id,
                    inner,
                    tenant_column,
                })
            }
            _ => plan_err!("table '{name}' has no text column 'tenant_id', so it cannot be shown"),
        }
    }

    fn tenant_scalar(&self) -> Result<ScalarValue> {
        let kind = self.inner.schema().field(self.tenant_column).data_type().clone();
        ScalarValue::from(&*self.tenant_id).cast_to(&kind)
    }

    fn inner_takes(&self, filter: &Expr) -> Result<bool> {
        let answer = self.inner.supports_filters_pushdown(&[filter])?;
        Ok(!matches!(
            answer.as_slice(),
            [] | [TableProviderFilterPushDown::Unsupported]
        ))
    }
}

#[async_trait]
impl TableProvider for TenantTable {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let verdict = |filter: &&Expr| {
            Ok(if is_leak_proof(filter) && self.inner_takes(filter)? {
                // Never exact: the query's own filter runs again above the wall.
                TableProviderFilterPushDown::Inexact
            } else {
                TableProviderFilterPushDown::Unsupported
            })
        };
        filters.iter().map(verdict).collect()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        // Rows of others may stand before the caller's: the limit is applied above.
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let tenant = self.tenant_scalar()?;
        let own = col(TENANT_ID).eq(Expr::Literal(tenant.clone(), None));
        let mut pushed: Vec<Expr> = filters.iter().filter(|f| is_leak_proof(f)).cloned().collect();
        let shown = pushed.iter().map(ToString::to_string).collect();
        let tenant_pushed = self.inner_takes(&own)?;
        if tenant_pushed {
            pushed.push(own);
        }
        let (inner_projection, tenant_at, output) = self.columns(projection);
        let inner = self
            .inner
            .scan(state, inner_projection.as_ref(), &pushed, None)
            .await
            .map_err(|error| super::tenant_exec::hide(&self.name, &error))?;
        let target = state.config_options().execution.target_partitions;
        let inner = match inner.repartitioned(target, state.config_options())? {
            Some(spread) => spread,
            None => inner,
        };
        let scan = TenantScan {
            table: self.name.clone(),
            tenant,
            tenant_at,
            output,
            tenant_pushed,
            shown,
        };
        Ok(Arc::new(TenantExec::try_new(inner, scan)?))
    }
}

impl TenantTable {
    /// What to read from the inner table, where the tenant stands in it, and which of its columns go out.
    fn columns(&self, projection: Option<&Vec<usize>>) -> (Option<Vec<usize>>, usize, Option<Vec<usize>>) {
        let Some(wanted) = projection else {
            return (None, self.tenant_column, None);
        };
        if let Some(at) = wanted.iter().position(|column| *column == self.tenant_column) {
            return (Some(wanted.clone()), at, None);
        }
        let mut read = wanted.clone();
        read.push(self.tenant_column);
        (Some(read), wanted.len(), Some((0..wanted.len()).collect()))
    }
}

#[cfg(test)]
mod tests;
