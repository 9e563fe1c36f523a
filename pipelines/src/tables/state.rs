//! The live state of a pipeline as a table.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    datasource::TableType,
    error::{DataFusionError, Result},
    execution::TaskContext,
    logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown},
    physical_plan::{
        ExecutionPlan, SendableRecordBatchStream,
        stream::RecordBatchStreamAdapter,
        streaming::{PartitionStream, StreamingTableExec},
    },
};
use futures::{StreamExt, stream};

use crate::engine::Engine;

/// Groups read at a time.
const SLICE: usize = 8_192;

#[derive(Debug)]
pub(super) struct StateTable {
    engine: Arc<Engine>,
}

impl StateTable {
    pub(super) const fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

#[async_trait]
impl TableProvider for StateTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.engine.plan().output)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = StateRows {
            engine: Arc::clone(&self.engine),
            schema: self.schema(),
            tenants: asked(filters, "tenant_id"),
            keys: asked(filters, self.engine.plan().pipeline.key),
        };
        let stream: Arc<dyn PartitionStream> = Arc::new(rows);
        Ok(Arc::new(StreamingTableExec::try_new(
            self.schema(),
            vec![stream],
            projection,
            None,
            false,
            limit,
        )?))
    }
}

/// The values that a column must have, where the filters say so.
fn asked(filters: &[Expr], column: &str) -> Option<Vec<String>> {
    filters.iter().find_map(|filter| values(filter, column))
}

fn values(filter: &Expr, column: &str) -> Option<Vec<String>> {
    let names = |expr: &Expr| matches!(expr, Expr::Column(named) if named.name == column);
    let literal = |expr: &Expr| match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        _ => None,
    };
    match filter {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }) if names(left) => Some(vec![literal(right)?]),
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }) if names(right) => Some(vec![literal(left)?]),
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::And,
            right,
        }) => values(left, column).or_else(|| values(right, column)),
        // A short IN list arrives as a chain of ORs.
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Or,
            right,
        }) => {
            let mut either = values(left, column)?;
            either.extend(values(right, column)?);
            Some(either)
        }
        Expr::InList(list) if !list.negated && names(&list.expr) => list.list.iter().map(literal).collect(),
        _ => None,
    }
}

#[derive(Debug)]
struct StateRows {
    engine: Arc<Engine>,
    schema: SchemaRef,
    tenants: Option<Vec<String>>,
    keys: Option<Vec<String>>,
}

impl StateRows {
    fn groups(&self) -> Vec<u32> {
        let Some(tenants) = &self.tenants else {
            return self.engine.all_groups(None);
        };
        let mut tenants = tenants.clone();
        tenants.sort_unstable();
        tenants.dedup();
        let mut keys = self.keys.clone();
        if let Some(keys) = &mut keys {
            keys.sort_unstable();
            keys.dedup();
        }
        let of_tenant = |tenant: &String| match &keys {
            Some(keys) => self.engine.groups_of(tenant, keys),
            None => self.engine.all_groups(Some(tenant)),
        };
        tenants.iter().flat_map(of_tenant).collect()
    }
}

impl PartitionStream for StateRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let groups = self.groups();
        let slices: Vec<Vec<u32>> = groups.chunks(SLICE).map(<[u32]>::to_vec).collect();
        let engine = Arc::clone(&self.engine);
        let rows = stream::iter(slices).map(move |slice| {
            engine
                .rows(&slice)
                .map_err(|error| DataFusionError::External(Box::new(error)))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}
