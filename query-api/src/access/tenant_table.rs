//! The wrapper around every table of a session: only rows and fields the caller may see come out of it.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::{Schema, SchemaRef},
    catalog::{Session, TableProvider},
    common::{DataFusionError, Result, ScalarValue, plan_err},
    logical_expr::{Expr, TableProviderFilterPushDown, TableType, col},
    physical_plan::ExecutionPlan,
};

use super::{
    leak_proof::is_leak_proof,
    mask::is_text,
    sight::Sight,
    tenant_exec::{RowGate, TenantExec, TenantScan},
    visible::Visible,
    whose::Whose,
};

/// Column every tenant's row carries.
pub(super) const TENANT_ID: &str = "tenant_id";

/// A table of which the rows one caller may see are visible, and nothing else: no statistics, no file names, no
/// definition, no error text of the inside.
///
/// The tenant filter is handed to the inner table where that takes filters, and is applied again to what comes out, so
/// the wall does not depend on the inner table keeping its word. Then the row rule drops what the caller may not see and
/// masks what it may not read. Filters of the query reach the inner table only when evaluating them on a hidden row
/// cannot fail and no column of theirs is masked; all others are evaluated above the wall.
#[derive(Debug)]
pub(crate) struct TenantTable {
    name: String,
    sight: Arc<Sight>,
    inner: Arc<dyn TableProvider>,
    tenant_column: usize,
    /// How rows tell whose they are; absent when the inner table has applied the row rule already.
    whose: Option<Whose>,
}

impl TenantTable {
    /// Wraps a table of which nothing is known.
    ///
    /// # Errors
    /// When it has no text column `tenant_id`: then nothing could be filtered.
    pub(crate) fn try_new(name: &str, sight: Arc<Sight>, inner: Arc<dyn TableProvider>) -> Result<Self> {
        let whose = Whose::of(&inner.schema());
        Self::with(name, sight, inner, Some(whose))
    }

    /// Wraps a table whose rows come from a service that has applied the row rule: its rows need not say whose they
    /// are. Tenant and masks are applied all the same.
    ///
    /// # Errors
    /// As [`Self::try_new`].
    pub(crate) fn of_seen(name: &str, sight: Arc<Sight>, inner: Arc<dyn TableProvider>) -> Result<Self> {
        Self::with(name, sight, inner, None)
    }

    fn with(
        name: &str,
        sight: Arc<Sight>,
        inner: Arc<dyn TableProvider>,
        whose: Option<Whose>,
    ) -> Result<Self> {
        let schema = inner.schema();
        match schema.column_with_name(TENANT_ID) {
            Some((tenant_column, field)) if is_text(field.data_type()) => Ok(Self {
                name: name.to_owned(),
                sight,
                inner,
                tenant_column,
                whose,
            }),
            _ => plan_err!("table '{name}' has no text column 'tenant_id', so it cannot be shown"),
        }
    }

    /// The inner table when it is of a type and none of its fields is masked: what comes out can be asked for again by id.
    pub(crate) fn unmasked<T: TableProvider>(&self) -> Option<&T> {
        if self.sight.masks.any() {
            return None;
        }
        self.inner.downcast_ref::<T>()
    }

    fn tenant_scalar(&self) -> Result<ScalarValue> {
        let kind = self.inner.schema().field(self.tenant_column).data_type().clone();
        ScalarValue::from(&**self.sight.tenant_id()).cast_to(&kind)
    }

    /// Whether a filter of the query may be evaluated below the wall.
    fn may_pass(&self, filter: &Expr) -> bool {
        let schema = self.inner.schema();
        let masked = |name: &str| {
            let field = schema.field_with_name(name);
            field.map_or(true, |field| self.sight.masks.touches(field))
        };
        is_leak_proof(filter)
            && (!self.sight.masks.any()
                || !filter
                    .column_refs()
                    .into_iter()
                    .any(|column| masked(&column.name)))
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
            Ok(if self.may_pass(filter) && self.inner_takes(filter)? {
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
        // Hidden rows may stand before the caller's: the limit is applied above.
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let hidden = |error: &DataFusionError| super::tenant_exec::hide(&self.name, error);
        let visible = self.sight.visible().await;
        let visible = visible.map_err(|failure| hidden(&DataFusionError::External(Box::new(failure))))?;
        let tenant = self.tenant_scalar()?;
        let own = col(TENANT_ID).eq(Expr::Literal(tenant.clone(), None));
        let mut pushed: Vec<Expr> = filters.iter().filter(|f| self.may_pass(f)).cloned().collect();
        let shown = pushed.iter().map(ToString::to_string).collect();
        let tenant_pushed = self.inner_takes(&own)?;
        if tenant_pushed {
            pushed.push(own);
        }
        let (inner_projection, gate) = self.gate(projection, tenant, visible);
        let inner = self
            .inner
            .scan(state, inner_projection.as_ref(), &pushed, None)
            .await
            .map_err(|error| hidden(&error))?;
        let target = state.config_options().execution.target_partitions;
        let inner = match inner.repartitioned(target, state.config_options())? {
            Some(spread) => spread,
            None => inner,
        };
        let scan = TenantScan {
            table: self.name.clone(),
            gate,
            tenant_pushed,
            shown,
        };
        Ok(Arc::new(TenantExec::try_new(inner, scan)?))
    }
}

impl TenantTable {
    /// What to read from the inner table, and the gate its rows pass.
    fn gate(
        &self,
        projection: Option<&Vec<usize>>,
        tenant: ScalarValue,
        visible: Option<Arc<Visible>>,
    ) -> (Option<Vec<usize>>, RowGate) {
        let schema = self.inner.schema();
        let whose = self.whose.as_ref().filter(|_| visible.is_some());
        let named = RowGate::naming_column(&schema);
        let Some(wanted) = projection else {
            let gate = RowGate::new(&schema, &self.sight, tenant, self.tenant_column, named);
            return (None, gate.limited(whose.cloned().zip(visible)));
        };
        let mut read = wanted.clone();
        let needed = std::iter::once(self.tenant_column)
            .chain(whose.map(Whose::columns).unwrap_or_default())
            .chain(named.filter(|_| self.sight.masks.any()));
        for column in needed {
            if !read.contains(&column) {
                read.push(column);
            }
        }
        let place = |column: usize| read.iter().position(|at| *at == column).unwrap_or(usize::MAX);
        let fields: Vec<_> = read
            .iter()
            .map(|column| Arc::clone(&schema.fields()[*column]))
            .collect();
        let gate = RowGate::new(
            &Schema::new(fields),
            &self.sight,
            tenant,
            place(self.tenant_column),
            named.map(place).filter(|at| *at != usize::MAX),
        );
        let mut gate = gate.limited(whose.map(|whose| whose.moved(place)).zip(visible));
        if read.len() > wanted.len() {
            gate.cut_to(wanted.len());
        }
        (Some(read), gate)
    }
}

#[cfg(test)]
mod tests;
