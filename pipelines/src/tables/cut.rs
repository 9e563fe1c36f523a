//! A cut as a table: the files of one snapshot and the tail above it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    config::TableParquetOptions,
    datasource::{
        TableType,
        listing::PartitionedFile,
        memory::MemorySourceConfig,
        object_store::ObjectStoreUrl,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    error::Result,
    logical_expr::{Expr, TableProviderFilterPushDown},
    physical_plan::{ExecutionPlan, union::UnionExec},
};
use object_store::ObjectStore;
use revgauge_contract::{
    cut::{Cut, LakeTable},
    schema::events,
    score::score_changes,
};

#[derive(Debug)]
pub(super) struct CutTable {
    cut: Cut,
    schema: SchemaRef,
    store: Arc<dyn ObjectStore>,
}

impl CutTable {
    pub(super) fn new(cut: Cut, store: Arc<dyn ObjectStore>) -> Self {
        let schema = match cut.table {
            LakeTable::Events => events(),
            LakeTable::ScoreChanges => score_changes(),
        };
        Self { cut, schema, store }
    }

    /// The store's name in a session; two stores of one process never share it.
    fn store_url(&self) -> Result<ObjectStoreUrl> {
        let address = Arc::as_ptr(&self.store).cast::<()>() as usize;
        ObjectStoreUrl::parse(format!("revgauge://store-{address:x}"))
    }

    fn files(&self, state: &dyn Session, projection: Option<&Vec<usize>>) -> Result<Arc<dyn ExecutionPlan>> {
        let url = self.store_url()?;
        state
            .runtime_env()
            .register_object_store(url.as_ref(), Arc::clone(&self.store));
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let table = TableSchema::from(Arc::clone(&self.schema));
        let source = Arc::new(ParquetSource::new(table).with_table_parquet_options(options));
        let config = FileScanConfigBuilder::new(url, source)
            .with_file_groups(self.groups(state.config().target_partitions()))
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// The files in as many groups of about equal size as there are partitions.
    fn groups(&self, partitions: usize) -> Vec<FileGroup> {
        let mut files: Vec<_> = self.cut.files.iter().collect();
        files.sort_unstable_by_key(|file| std::cmp::Reverse(file.size));
        let mut groups = vec![(0_u64, Vec::new()); partitions.clamp(1, files.len().max(1))];
        for file in files {
            if let Some((size, group)) = groups.iter_mut().min_by_key(|(size, _)| *size) {
                *size += file.size;
                group.push(PartitionedFile::new(file.path.clone(), file.size));
            }
        }
        groups
            .into_iter()
            .map(|(_, files)| FileGroup::new(files))
            .collect()
    }
}

#[async_trait]
impl TableProvider for CutTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // The filter above the scan stays; the physical optimiser also hands it to the Parquet source for pruning.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut inputs = Vec::with_capacity(2);
        if !self.cut.files.is_empty() {
            inputs.push(self.files(state, projection)?);
        }
        if !self.cut.tail.is_empty() || inputs.is_empty() {
            let tail = MemorySourceConfig::try_new_exec(
                std::slice::from_ref(&self.cut.tail),
                Arc::clone(&self.schema),
                projection.cloned(),
            )?;
            inputs.push(tail);
        }
        if inputs.len() == 1 {
            return Ok(inputs.remove(0));
        }
        UnionExec::try_new(inputs)
    }
}
