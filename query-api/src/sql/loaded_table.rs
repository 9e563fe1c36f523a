//! Tables whose rows another room computes when they are asked for: the work is done at execution, under the query's
//! time and memory limits, and not while planning.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

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
use futures::{StreamExt as _, TryStreamExt as _};
use revgauge_contract::error::Failure;

/// Rows to come.
pub(super) type Loading = Pin<Box<dyn Future<Output = Result<Vec<RecordBatch>, Failure>> + Send>>;

/// One partition whose rows are made by a function.
struct LoadedPartition {
    name: String,
    schema: SchemaRef,
    load: Arc<dyn Fn() -> Loading + Send + Sync>,
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
    let partition = LoadedPartition {
        name: name.to_owned(),
        schema: Arc::clone(&schema),
        load: Arc::new(load),
    };
    let plan = StreamingTableExec::try_new(schema, vec![Arc::new(partition)], projection, [], false, None)?;
    Ok(Arc::new(plan))
}

impl PartitionStream for LoadedPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let loading = (self.load)();
        let memory = MemoryConsumer::new(self.name.clone()).register(context.memory_pool());
        let rows = async move {
            let batches = loading
                .await
                .map_err(|failure| DataFusionError::External(Box::new(failure)))?;
            memory.try_grow(batches.iter().map(RecordBatch::get_array_memory_size).sum())?;
            // The reservation lives as long as the batches do.
            let held = futures::stream::iter(batches).map(move |batch| {
                let _held = &memory;
                Ok::<_, DataFusionError>(batch)
            });
            Ok::<_, DataFusionError>(held)
        };
        let stream = futures::stream::once(rows).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}
