//! The execution side of the tenant wall: a leaf to everything above it.
//!
//! It shows no children, so no optimiser rule moves a filter through it and `EXPLAIN ANALYZE` prints no counters of
//! the scan inside, which would tell how many rows all tenants have together.

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::{
        array::{BooleanArray, RecordBatch},
        compute::{filter_record_batch, kernels::cmp},
        datatypes::SchemaRef,
    },
    common::{DataFusionError, Result, ScalarValue, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, Partitioning,
        PhysicalExpr, PlanProperties,
        execution_plan::ReplaceChildrenOptions,
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput as _},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt as _;
use revgauge_contract::{ErrorKind, error::Failure, invariant::Invariant};

/// What a tenant scan does.
#[derive(Debug, Clone)]
pub(super) struct TenantScan {
    /// SQL name of the table.
    pub(super) table: String,
    /// The tenant, in the type of its column.
    pub(super) tenant: ScalarValue,
    /// Where the tenant column stands in the inner plan's output.
    pub(super) tenant_at: usize,
    /// Columns of the inner plan's output that go out; all when `None`.
    pub(super) output: Option<Vec<usize>>,
    /// Whether the inner table took the tenant filter too.
    pub(super) tenant_pushed: bool,
    /// The query's filters that went to the inner table, as text.
    pub(super) shown: Vec<String>,
}

/// Lets the rows of one tenant through.
#[derive(Debug)]
pub(super) struct TenantExec {
    inner: Arc<dyn ExecutionPlan>,
    scan: TenantScan,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl TenantExec {
    pub(super) fn try_new(inner: Arc<dyn ExecutionPlan>, scan: TenantScan) -> Result<Self> {
        let schema: SchemaRef = match &scan.output {
            Some(columns) => Arc::new(inner.schema().project(columns)?),
            None => inner.schema(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(inner.output_partitioning().partition_count()),
            inner.pipeline_behavior(),
            inner.boundedness(),
        );
        Ok(Self {
            inner,
            scan,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

impl TenantScan {
    fn own_rows(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mask: BooleanArray = cmp::eq(batch.column(self.tenant_at), &self.tenant.to_scalar()?)?;
        let own = if mask.true_count() == batch.num_rows() {
            batch.clone()
        } else {
            filter_record_batch(batch, &mask)?
        };
        Invariant::TenantWall.check(own.num_rows() == mask.true_count(), &self.table);
        Ok(match &self.output {
            Some(columns) => own.project(columns)?,
            None => own,
        })
    }
}

impl DisplayAs for TenantExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scan = &self.scan;
        let pushed = if scan.tenant_pushed {
            "pushed down"
        } else {
            "on top"
        };
        write!(
            f,
            "TenantScan: table={}, tenant_filter=tenant_id = {} ({pushed}), filters=[{}]",
            scan.table,
            scan.tenant,
            scan.shown.join(", ")
        )
    }
}

impl ExecutionPlan for TenantExec {
    fn name(&self) -> &'static str {
        "TenantScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let inner = Arc::clone(&self.inner).reset_state()?;
        Ok(Arc::new(Self::try_new(inner, self.scan.clone())?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let scan = self.scan.clone();
        let inner = self
            .inner
            .execute(partition, context)
            .map_err(|error| hide(&scan.table, &error))?;
        let rows = inner.map(move |batch| {
            let batch = batch.map_err(|error| hide(&scan.table, &error))?;
            let _timer = metrics.elapsed_compute().timer();
            Ok(scan.own_rows(&batch)?.record_output(&metrics))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// An error of the inner table without its text: it may name files, counts or values of other tenants. Failures that
/// our own tables make are written for the caller and pass; a memory limit stays a memory limit.
pub(super) fn hide(table: &str, error: &DataFusionError) -> DataFusionError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => {
            DataFusionError::ResourcesExhausted(format!("while reading table '{table}'"))
        }
        DataFusionError::External(inner) => match inner.downcast_ref::<Failure>() {
            Some(failure) => DataFusionError::External(Box::new(failure.clone())),
            None => hidden(table, error),
        },
        _ => hidden(table, error),
    }
}

fn hidden(table: &str, error: &DataFusionError) -> DataFusionError {
    tracing::error!(table, %error, "table could not be read");
    let message = format!("table '{table}' could not be read; the log of the server says why");
    DataFusionError::External(Box::new(Failure::new(ErrorKind::External, message)))
}
