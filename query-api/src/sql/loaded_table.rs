//! Tables whose rows another room computes when they are asked for: the work is done at execution, under the query's
//! time and memory limits, and not while planning.

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    common::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::MemoryConsumer},
    physical_plan::{
        ExecutionPlan,
        stream::RecordBatchStreamAdapter,
        streaming::{PartitionStream, StreamingTableExec},
    },
};
use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use revgauge_contract::error::Failure;

/// Rows to come, all at once.
pub(super) type Loading = BoxFuture<'static, Result<Vec<RecordBatch>, Failure>>;
/// Rows to come, some at a time.
pub(super) type Streaming = BoxStream<'static, Result<Vec<RecordBatch>, Failure>>;

/// One partition whose rows are made by a function.
struct LoadedPartition {
    name: String,
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
    load: Arc<dyn Fn() -> Streaming + Send + Sync>,
}

impl fmt::Debug for LoadedPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedPartition")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A plan that calls `load` once when executed and hands its batches on.
pub(super) fn loaded_plan(
    name: &str,
    schema: SchemaRef,
    projection: Option<&Vec<usize>>,
    load: impl Fn() -> Loading + Send + Sync + 'static,
) -> Result<Arc<dyn ExecutionPlan>> {
    streamed_plan(name, schema, projection, move || {
        futures::stream::once(load()).boxed()
    })
}

/// A plan that calls `load` once when executed and hands on what comes, piece by piece: no more of it is in memory than
/// one piece.
pub(super) fn streamed_plan(
    name: &str,
    schema: SchemaRef,
    projection: Option<&Vec<usize>>,
    load: impl Fn() -> Streaming + Send + Sync + 'static,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = match projection {
        Some(columns) => Arc::new(schema.project(columns)?),
        None => schema,
    };
    let partition = LoadedPartition {
        name: name.to_owned(),
        schema: Arc::clone(&schema),
        projection: projection.cloned(),
        load: Arc::new(load),
    };
    let plan = StreamingTableExec::try_new(schema, vec![Arc::new(partition)], None, [], false, None)?;
    Ok(Arc::new(plan))
}

impl PartitionStream for LoadedPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let pieces = (self.load)();
        let name = self.name.clone();
        let projection = self.projection.clone();
        let rows = pieces.flat_map(move |piece| {
            let batches = piece
                .map_err(|failure| DataFusionError::External(Box::new(failure)))
                .and_then(|batches| held(&name, &context, projection.as_deref(), batches));
            match batches {
                Ok(batches) => batches,
                Err(error) => futures::stream::once(async { Err(error) }).boxed(),
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

/// The columns asked for, with a reservation that lives as long as the batches wait.
fn held(
    name: &str,
    context: &TaskContext,
    projection: Option<&[usize]>,
    batches: Vec<RecordBatch>,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let batches = match projection {
        Some(columns) => batches
            .iter()
            .map(|batch| batch.project(columns))
            .collect::<Result<Vec<_>, _>>()?,
        None => batches,
    };
    let memory = MemoryConsumer::new(name.to_owned()).register(context.memory_pool());
    memory.try_grow(batches.iter().map(RecordBatch::get_array_memory_size).sum())?;
    let rows = futures::stream::iter(batches).map(move |batch| {
        let _held = &memory;
        Ok::<_, DataFusionError>(batch)
    });
    Ok(rows.boxed())
}
