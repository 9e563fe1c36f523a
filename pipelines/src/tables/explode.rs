//! Events as `crm_fields`: the CRM and enrichment events of a table, one row a field.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{DFSchema, tree_node::TreeNodeRecursion},
    datasource::TableType,
    error::Result,
    execution::TaskContext,
    logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, col, lit},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
        SendableRecordBatchStream, filter::FilterExec, stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;
use revgauge_contract::{
    crm::{crm_fields, explode},
    event_type::CRM_OBJECTS,
};

/// Columns of events that [`explode`] reads.
const READ: [&str; 13] = [
    "tenant_id",
    "event_id",
    "kind",
    "type",
    "event_time",
    "known_at",
    "source",
    "account_id",
    "contact_id",
    "deal_id",
    "user_id",
    "email",
    "domain",
];
/// Columns that mean the same in both tables, so that filters on them hold below as well.
const SHARED: [&str; 5] = ["tenant_id", "event_id", "source", "event_time", "known_at"];

#[derive(Debug)]
pub(super) struct CrmFieldsTable {
    events: Arc<dyn TableProvider>,
}

impl CrmFieldsTable {
    pub(super) fn new(events: Arc<dyn TableProvider>) -> Self {
        Self { events }
    }
}

/// Which events become field rows.
fn exploded_events() -> Expr {
    let enrichment = ["company.enriched", "person.enriched", "signal.tech_detected"];
    let enriched = col("type").in_list(enrichment.into_iter().map(lit).collect(), false);
    col("kind").eq(lit("crm")).or(enriched)
}

/// A filter on field rows as a filter on events that holds for at least the same rows.
fn below(filter: &Expr) -> Option<Expr> {
    let columns = filter.column_refs();
    if !columns.is_empty()
        && columns
            .iter()
            .all(|column| SHARED.contains(&column.name.as_str()))
    {
        return Some(unqualified(filter));
    }
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = filter
    else {
        return None;
    };
    let (Expr::Column(column), Expr::Literal(value, _)) = (left.as_ref(), right.as_ref()) else {
        return None;
    };
    let object = value.try_as_str().flatten()?;
    (column.name == "object" && CRM_OBJECTS.contains(&object))
        .then(|| col("type").like(lit(format!("{object}.%"))))
}

fn unqualified(filter: &Expr) -> Expr {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let plain = filter.clone().transform(|expr| {
        Ok(match expr {
            Expr::Column(column) => Transformed::yes(col(format!("\"{}\"", column.name))),
            other => Transformed::no(other),
        })
    });
    plain.map_or_else(|_| filter.clone(), |plain| plain.data)
}

#[async_trait]
impl TableProvider for CrmFieldsTable {
    fn schema(&self) -> SchemaRef {
        crm_fields()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.events.schema();
        let read = READ.iter().chain(&["payload"]);
        let read = read
            .map(|name| schema.index_of(name))
            .collect::<Result<Vec<_>, _>>()?;
        let filter = filters
            .iter()
            .filter_map(below)
            .fold(exploded_events(), Expr::and);
        let scan = self
            .events
            .scan(state, Some(&read), std::slice::from_ref(&filter), None)
            .await?;
        let predicate = state.create_physical_expr(filter, &DFSchema::try_from(scan.schema())?)?;
        let filtered = Arc::new(FilterExec::try_new(predicate, scan)?);
        Ok(Arc::new(ExplodeExec::try_new(filtered, projection.cloned())?))
    }
}

/// Turns batches of events into batches of field rows.
#[derive(Debug)]
struct ExplodeExec {
    input: Arc<dyn ExecutionPlan>,
    projection: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl ExplodeExec {
    fn try_new(input: Arc<dyn ExecutionPlan>, projection: Option<Vec<usize>>) -> Result<Self> {
        let schema = match &projection {
            Some(projection) => Arc::new(crm_fields().project(projection)?),
            None => crm_fields(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            datafusion::physical_plan::Partitioning::UnknownPartitioning(
                input.output_partitioning().partition_count(),
            ),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Ok(Self {
            input,
            projection,
            properties: Arc::new(properties),
        })
    }
}

fn project(batch: &RecordBatch, projection: Option<&Vec<usize>>) -> Result<RecordBatch> {
    let rows = explode(batch);
    match projection {
        Some(projection) => Ok(rows.project(projection)?),
        None => Ok(rows),
    }
}

impl DisplayAs for ExplodeExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExplodeExec: events to crm_fields")
    }
}

impl ExecutionPlan for ExplodeExec {
    fn name(&self) -> &'static str {
        "ExplodeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::try_new(
            children.swap_remove(0),
            self.projection.clone(),
        )?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let projection = self.projection.clone();
        let exploded = self
            .input
            .execute(partition, context)?
            .map(move |batch| project(&batch?, projection.as_ref()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), exploded)))
    }
}
