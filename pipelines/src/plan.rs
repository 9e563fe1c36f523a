//! From SQL text to the parts the engine runs: below the aggregation, the aggregation, above it.
//!
//! DataFusion parses, plans and optimises; [`refuse`] says what cannot be kept incrementally and why; this file cuts
//! the physical plan at its aggregation.

mod refuse;
mod stage;

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::{
    catalog::streaming::StreamingTable,
    error::{DataFusionError, Result as DfResult},
    execution::TaskContext,
    logical_expr::{GroupsAccumulator, LogicalPlan},
    physical_expr::{PhysicalExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan, SendableRecordBatchStream,
        aggregates::{AggregateExec, AggregateMode, aggregate_expressions},
        displayable,
        empty::EmptyExec,
        filter::FilterExec,
        projection::ProjectionExec,
        streaming::{PartitionStream, StreamingTableExec},
    },
    prelude::{SessionConfig, SessionContext},
    sql::{parser::Statement as DfStatement, sqlparser::ast},
};
use revgauge_contract::{crm::crm_fields, schema};

use crate::{catalog::Pipeline, error::PipelineError};

pub(crate) use stage::{Stage, cast_to, evaluate, normal_schema, normalised};

/// Which table a pipeline reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Events,
    CrmFields,
}

impl Source {
    pub(crate) const fn table(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::CrmFields => "crm_fields",
        }
    }

    pub(crate) fn schema(self) -> SchemaRef {
        match self {
            Self::Events => schema::events(),
            Self::CrmFields => crm_fields(),
        }
    }
}

/// One aggregate of a pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    pub(crate) expr: Arc<datafusion::physical_expr::aggregate::AggregateFunctionExpr>,
    pub(crate) args: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    pub(crate) state: Vec<FieldRef>,
    /// The state is the value: nothing to evaluate.
    pub(crate) transparent: bool,
}

impl Aggregate {
    pub(crate) fn accumulator(&self) -> DfResult<Box<dyn GroupsAccumulator>> {
        self.expr.create_groups_accumulator()
    }
}

/// The aggregation and what lies above it.
#[derive(Debug, Clone)]
pub(crate) struct Aggregation {
    pub(crate) group: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) group_fields: Vec<FieldRef>,
    pub(crate) aggregates: Vec<Aggregate>,
    /// Output of the aggregation: groups, then values.
    pub(crate) schema: SchemaRef,
    /// Where each group column stands in the output, where it does.
    pub(crate) outputs: Vec<Option<usize>>,
    /// Which group column is the tenant, which the entity's key.
    pub(crate) tenant: usize,
    pub(crate) key: usize,
    pub(crate) above: Vec<Stage>,
}

impl Aggregation {
    /// Where output columns stand in the aggregation's output; `None` when the part above does more than name them.
    pub(crate) fn places(&self, names: &[&str]) -> Option<Vec<usize>> {
        names
            .iter()
            .map(|name| group_place(&self.above, &self.schema, name))
            .collect()
    }
}

/// A pipeline cut into parts.
#[derive(Debug, Clone)]
pub(crate) struct CutPlan {
    pub(crate) pipeline: Pipeline,
    pub(crate) source: Source,
    /// Columns of the source that the part below reads.
    pub(crate) read: Vec<usize>,
    pub(crate) below: Vec<Stage>,
    /// `None` for an append-only projection.
    pub(crate) aggregation: Option<Aggregation>,
    /// Output columns.
    pub(crate) output: SchemaRef,
    /// DataFusion's plan, for people.
    pub(crate) text: String,
}

/// Parses a pipeline file and gives its query (the `SELECT` of its `INSERT`).
pub(crate) fn query_of(pipeline: &Pipeline, context: &SessionContext) -> Result<DfStatement, PipelineError> {
    let malformed = |message: &str| PipelineError::Malformed {
        pipeline: pipeline.name.to_owned(),
        message: message.to_owned(),
    };
    let dialect = context.state().config_options().sql_parser.dialect;
    let statement = context
        .state()
        .sql_to_statement(pipeline.sql, &dialect)
        .map_err(|error| malformed(&error.strip_backtrace()))?;
    let DfStatement::Statement(statement) = statement else {
        return Err(malformed("the file holds no INSERT INTO ... SELECT"));
    };
    let ast::Statement::Insert(insert) = *statement else {
        return Err(malformed("the file holds no INSERT INTO ... SELECT"));
    };
    if insert.table.to_string() != pipeline.name {
        return Err(malformed(&format!(
            "it inserts into '{}'; the file name promises '{}'",
            insert.table, pipeline.name
        )));
    }
    let query = insert
        .source
        .ok_or_else(|| malformed("the INSERT has no SELECT"))?;
    Ok(DfStatement::Statement(Box::new(ast::Statement::Query(query))))
}

/// Plans a pipeline with DataFusion and cuts it at its aggregation.
pub(crate) async fn cut(pipeline: &Pipeline) -> Result<CutPlan, PipelineError> {
    let planning = |error| PipelineError::query(pipeline.name, "plan", error);
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for source in [Source::Events, Source::CrmFields] {
        let stub: Arc<dyn PartitionStream> = Arc::new(Stub(source.schema()));
        let table = StreamingTable::try_new(source.schema(), vec![stub]).map_err(planning)?;
        context
            .register_table(source.table(), Arc::new(table))
            .map_err(planning)?;
    }
    let state = context.state();
    let statement = query_of(pipeline, &context)?;
    let logical = state.statement_to_plan(statement).await.map_err(planning)?;
    refuse::check(pipeline.name, &logical)?;
    let source = source_of(pipeline, &logical)?;
    let physical = state.create_physical_plan(&logical).await.map_err(planning)?;
    let text = displayable(physical.as_ref()).indent(false).to_string();
    let mut cutter = Cutter::new(pipeline);
    cutter
        .walk(&physical)
        .map_err(|error| error.into_pipeline(pipeline))?;
    cutter.finish(source, text)
}

fn source_of(pipeline: &Pipeline, plan: &LogicalPlan) -> Result<Source, PipelineError> {
    let mut node = plan;
    loop {
        if let LogicalPlan::TableScan(scan) = node {
            return match scan.table_name.table() {
                "events" => Ok(Source::Events),
                _ => Ok(Source::CrmFields),
            };
        }
        node = node
            .inputs()
            .first()
            .copied()
            .ok_or_else(|| PipelineError::Malformed {
                pipeline: pipeline.name.to_owned(),
                message: "it reads no table".to_owned(),
            })?;
    }
}

enum CutError {
    Refused(String, &'static str),
    Query(DataFusionError),
}

impl From<DataFusionError> for CutError {
    fn from(error: DataFusionError) -> Self {
        Self::Query(error)
    }
}

impl CutError {
    fn into_pipeline(self, pipeline: &Pipeline) -> PipelineError {
        match self {
            Self::Refused(what, reason) => PipelineError::Refused {
                pipeline: pipeline.name.to_owned(),
                what,
                reason,
            },
            Self::Query(error) => PipelineError::query(pipeline.name, "plan", error),
        }
    }
}

/// Walks the physical plan from the top and sorts its nodes into the parts.
struct Cutter<'a> {
    pipeline: &'a Pipeline,
    above: Vec<Stage>,
    below: Vec<Stage>,
    leaf: Option<SchemaRef>,
    aggregation: Option<Aggregation>,
    output: Option<SchemaRef>,
}

impl<'a> Cutter<'a> {
    const fn new(pipeline: &'a Pipeline) -> Self {
        Self {
            pipeline,
            above: Vec::new(),
            below: Vec::new(),
            leaf: None,
            aggregation: None,
            output: None,
        }
    }

    fn walk(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<(), CutError> {
        self.output.get_or_insert_with(|| plan.schema());
        if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
            self.push(Stage::project(projection));
            self.walk(projection.input())
        } else if let Some(filter) = plan.downcast_ref::<FilterExec>() {
            self.push(Stage::filter(filter));
            self.walk(filter.input())
        } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
            self.aggregate(aggregate)?;
            self.walk(aggregate.input())
        } else if plan.is::<StreamingTableExec>() || plan.is::<EmptyExec>() {
            self.leaf = Some(plan.schema());
            Ok(())
        } else {
            Err(CutError::Refused(
                plan.name().to_owned(),
                "is an operator the incremental engine does not cut",
            ))
        }
    }

    fn push(&mut self, stage: Stage) {
        self.below.push(stage);
    }

    fn aggregate(&mut self, aggregate: &AggregateExec) -> Result<(), CutError> {
        if !matches!(
            aggregate.mode(),
            AggregateMode::Single | AggregateMode::SinglePartitioned
        ) {
            return Err(CutError::Refused(
                format!("{:?} aggregation", aggregate.mode()),
                "is planned in two steps; the engine expects one",
            ));
        }
        self.above = std::mem::take(&mut self.below);
        self.above.reverse();
        let group = aggregate.group_expr();
        let input = aggregate.input_schema();
        let group_fields = group.group_schema(&input)?.fields().to_vec();
        for field in &group_fields {
            if !is_key_type(field.data_type()) {
                return Err(CutError::Refused(
                    format!("key '{}' of type {}", field.name(), field.data_type()),
                    "is no text, integer, boolean or time without zone",
                ));
            }
        }
        let exprs = aggregate.aggr_expr();
        let args = aggregate_expressions(exprs, &AggregateMode::Single, group.num_group_exprs())?;
        let mut aggregates = Vec::with_capacity(exprs.len());
        for ((expr, args), filter) in exprs.iter().zip(args).zip(aggregate.filter_expr()) {
            if !expr.groups_accumulator_supported() {
                return Err(CutError::Refused(
                    expr.name().to_owned(),
                    "has no accumulator whose states of many groups can be merged",
                ));
            }
            let state = expr.state_fields()?;
            let transparent = matches!(
                expr.fun().name(),
                "sum" | "count" | "min" | "max" | "bool_and" | "bool_or" | "bit_and" | "bit_or" | "bit_xor"
            ) && state.len() == 1
                && state[0].data_type() == expr.field().data_type();
            aggregates.push(Aggregate {
                expr: Arc::clone(expr),
                args,
                filter: filter.clone(),
                state,
                transparent,
            });
        }
        let schema = aggregate.schema();
        let place = |name: &str, what| {
            group_place(&self.above, &schema, name)
                .filter(|at| *at < group_fields.len())
                .ok_or_else(|| CutError::Refused(format!("column '{name}'"), what))
        };
        let last = self.above.last().and_then(Stage::schema).unwrap_or(&schema);
        let mut outputs = vec![None; group_fields.len()];
        for (at, field) in last.fields().iter().enumerate() {
            let group = group_place(&self.above, &schema, field.name());
            if let Some(slot) = group.and_then(|group| outputs.get_mut(group)) {
                *slot = Some(at);
            }
        }
        self.aggregation = Some(Aggregation {
            outputs,
            tenant: place(
                "tenant_id",
                "must be a key of the GROUP BY, so that tenants stay apart",
            )?,
            key: place(
                self.pipeline.key,
                "is named by '--! key' and must be a key of the GROUP BY",
            )?,
            group: group.input_exprs(),
            group_fields,
            aggregates,
            schema,
            above: std::mem::take(&mut self.above),
        });
        Ok(())
    }

    fn finish(self, source: Source, text: String) -> Result<CutPlan, PipelineError> {
        let malformed = |message: String| PipelineError::Malformed {
            pipeline: self.pipeline.name.to_owned(),
            message,
        };
        let leaf = self
            .leaf
            .ok_or_else(|| malformed("it reads no table".to_owned()))?;
        let read = leaf
            .fields()
            .iter()
            .map(|field| source.schema().index_of(field.name()))
            .collect::<Result<_, _>>()
            .map_err(|error| malformed(error.to_string()))?;
        let output = self
            .output
            .ok_or_else(|| malformed("it has no output".to_owned()))?;
        let mut below = self.below;
        below.reverse();
        Ok(CutPlan {
            pipeline: self.pipeline.clone(),
            source,
            read,
            below,
            aggregation: self.aggregation,
            output: normal_schema(&output),
            text,
        })
    }
}

/// Follows an output column down the projections to its place in the aggregation's output.
fn group_place(above: &[Stage], aggregate: &SchemaRef, name: &str) -> Option<usize> {
    let Some(last) = above.last() else {
        return aggregate.index_of(name).ok();
    };
    let mut at = last.schema()?.index_of(name).ok()?;
    for stage in above.iter().rev() {
        at = stage.exprs()?.get(at)?.downcast_ref::<Column>()?.index();
    }
    Some(at)
}

const fn is_key_type(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8View
            | DataType::Utf8
            | DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::Timestamp(TimeUnit::Microsecond, None)
    )
}

/// Stands for a source while planning; it is never run.
#[derive(Debug)]
struct Stub(SchemaRef);

#[async_trait]
impl PartitionStream for Stub {
    fn schema(&self) -> &SchemaRef {
        &self.0
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        Box::pin(datafusion::physical_plan::EmptyRecordBatchStream::new(
            Arc::clone(&self.0),
        ))
    }
}

#[cfg(test)]
mod tests;
