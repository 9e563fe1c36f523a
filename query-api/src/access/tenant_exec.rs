//! The execution side of the tenant wall: a leaf to everything above it.
//!
//! It shows no children, so no optimiser rule moves a filter through it and `EXPLAIN ANALYZE` prints no counters of
//! the scan inside, which would tell how many rows all tenants have together.

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array as _, AsArray as _, BooleanArray, RecordBatch, StringViewArray},
        compute::{cast, filter_record_batch, kernels::cmp},
        datatypes::{DataType, Schema, SchemaRef},
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

use super::{
    mask::{Masks, masked_columns},
    sight::Sight,
    tenant_table::TENANT_ID,
    visible::Visible,
    whose::Whose,
};

/// What the rows of a table pass before anything of the query sees them: tenant, row rule, masks, projection.
#[derive(Debug, Clone)]
pub(super) struct RowGate {
    /// The tenant, in the type of its column, and where that stands.
    tenant: ScalarValue,
    tenant_at: usize,
    /// The row rule, for a caller that may not see everything.
    rule: Option<(Whose, Arc<Visible>)>,
    masks: Masks,
    /// Columns whose values may be hidden, with their names.
    masked: Vec<(usize, String)>,
    /// The column that names the CRM field a row is about.
    naming: Option<usize>,
    /// How many of the columns go out; all when `None`.
    output: Option<usize>,
}

impl RowGate {
    pub(super) fn new(
        schema: &Schema,
        sight: &Sight,
        tenant: ScalarValue,
        tenant_at: usize,
        naming: Option<usize>,
    ) -> Self {
        let masked = masked_columns(&sight.masks, schema).into_iter();
        Self {
            tenant,
            tenant_at,
            rule: None,
            masks: sight.masks.clone(),
            masked: masked
                .map(|place| (place, schema.field(place).name().clone()))
                .collect(),
            naming,
            output: None,
        }
    }

    /// The gate of a batch that has all columns of its table. Without a tenant column nothing passes.
    pub(super) fn whole(schema: &Schema, sight: &Sight, visible: Option<&Arc<Visible>>) -> Self {
        let tenant_at = schema.index_of(TENANT_ID).unwrap_or(usize::MAX);
        let kind = schema
            .fields()
            .get(tenant_at)
            .map(|field| field.data_type().clone());
        let tenant = ScalarValue::from(&**sight.tenant_id());
        let tenant = kind
            .and_then(|kind| tenant.cast_to(&kind).ok())
            .unwrap_or(ScalarValue::Null);
        let naming = Self::naming_column(schema);
        let rule = visible.map(|visible| (Whose::of(schema), Arc::clone(visible)));
        Self::new(schema, sight, tenant, tenant_at, naming).limited(rule)
    }

    /// The column that says which CRM field a row is about, in tables with a row a field.
    pub(super) fn naming_column(schema: &Schema) -> Option<usize> {
        schema.index_of("field").ok()
    }

    pub(super) fn limited(self, rule: Option<(Whose, Arc<Visible>)>) -> Self {
        Self { rule, ..self }
    }

    /// Lets out the first columns only.
    pub(super) fn cut_to(&mut self, columns: usize) {
        self.output = Some(columns);
    }

    /// The rows of a batch that go out, as they may be shown.
    pub(super) fn pass(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let Some(tenants) = batch.columns().get(self.tenant_at) else {
            return Ok(batch.slice(0, 0));
        };
        let mask: BooleanArray = cmp::eq(tenants, &self.tenant.to_scalar()?)?;
        let own = if mask.true_count() == batch.num_rows() {
            batch.clone()
        } else {
            filter_record_batch(batch, &mask)?
        };
        Invariant::TenantWall.check(own.num_rows() == mask.true_count(), "rows of another tenant");
        let own = match &self.rule {
            Some((whose, visible)) => filter_record_batch(&own, &whose.seen(&own, visible)?)?,
            None => own,
        };
        let shown = if self.masked.is_empty() {
            own
        } else {
            self.mask(&own)?
        };
        Ok(match self.output {
            Some(columns) => shown.project(&(0..columns).collect::<Vec<_>>())?,
            None => shown,
        })
    }

    fn mask(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = batch.columns().to_vec();
        let named = match self.naming {
            Some(place) => Some(cast(batch.column(place), &DataType::Utf8View)?),
            None => None,
        };
        let field_of = |row: usize| {
            let names = named.as_ref()?.as_string_view_opt()?;
            names.is_valid(row).then(|| names.value(row))
        };
        for (place, name) in &self.masked {
            let kind = batch.column(*place).data_type().clone();
            let texts = cast(batch.column(*place), &DataType::Utf8View)?;
            let texts = texts.as_string_view();
            let shown: StringViewArray = texts
                .iter()
                .enumerate()
                .map(|(row, text)| Some(self.masks.column_text(name, field_of(row), text?)))
                .collect();
            columns[*place] = cast(&shown, &kind)?;
        }
        Ok(RecordBatch::try_new(batch.schema(), columns)?)
    }

    /// What stands in plans: of the row rule only that there is one.
    fn shown(&self) -> &'static str {
        match (self.rule.is_some(), self.masks.any()) {
            (false, false) => "",
            (true, false) => ", rows=limited",
            (false, true) => ", fields=masked",
            (true, true) => ", rows=limited, fields=masked",
        }
    }
}

/// What a tenant scan does.
#[derive(Debug, Clone)]
pub(super) struct TenantScan {
    /// SQL name of the table.
    pub(super) table: String,
    /// What its rows pass.
    pub(super) gate: RowGate,
    /// Whether the inner table took the tenant filter too.
    pub(super) tenant_pushed: bool,
    /// The query's filters that went to the inner table, as text.
    pub(super) shown: Vec<String>,
}

/// Lets the rows of one tenant through that the caller may see.
#[derive(Debug)]
pub(super) struct TenantExec {
    inner: Arc<dyn ExecutionPlan>,
    scan: TenantScan,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl TenantExec {
    pub(super) fn try_new(inner: Arc<dyn ExecutionPlan>, scan: TenantScan) -> Result<Self> {
        let schema: SchemaRef = match scan.gate.output {
            Some(columns) => Arc::new(inner.schema().project(&(0..columns).collect::<Vec<_>>())?),
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
            "TenantScan: table={}, tenant_filter=tenant_id = {} ({pushed}){}, filters=[{}]",
            scan.table,
            scan.gate.tenant,
            scan.gate.shown(),
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
            Ok(scan.gate.pass(&batch)?.record_output(&metrics))
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
