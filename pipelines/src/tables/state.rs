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
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema().project(columns)?),
            None => self.schema(),
        };
        let keys = asked(filters, self.engine.plan().pipeline.key);
        // Entities asked for by key are few: two halves of them would cost more than one whole.
        let parts = match keys {
            Some(_) => 1,
            None => state.config_options().execution.target_partitions.max(1),
        };
        let tenants = asked(filters, "tenant_id");
        let part = |part| -> Arc<dyn PartitionStream> {
            Arc::new(StateRows {
                engine: Arc::clone(&self.engine),
                schema: Arc::clone(&schema),
                tenants: tenants.clone(),
                keys: keys.clone(),
                part,
                parts,
            })
        };
        let streams = (0..parts).map(part).collect();
        let plan = StreamingTableExec::try_new(Arc::clone(&schema), streams, None, [], false, limit)?;
        Ok(Arc::new(plan))
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

/// Every `parts`-th slice of the rows, beginning with slice `part`.
#[derive(Debug)]
struct StateRows {
    engine: Arc<Engine>,
    /// The columns read.
    schema: SchemaRef,
    tenants: Option<Vec<String>>,
    keys: Option<Vec<String>>,
    part: usize,
    parts: usize,
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
        let slices = groups.chunks(SLICE).skip(self.part).step_by(self.parts);
        let slices: Vec<Vec<u32>> = slices.map(<[u32]>::to_vec).collect();
        let (engine, schema) = (Arc::clone(&self.engine), Arc::clone(&self.schema));
        let rows = stream::iter(slices).map(move |slice| {
            let names: Vec<&str> = schema
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect();
            engine
                .columns_of(&slice, &names)
                .map_err(|error| DataFusionError::External(Box::new(error)))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}
