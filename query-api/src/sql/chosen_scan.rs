//! Reading scores of chosen entities: first a query says which, then their rows are made and no others.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::{Array as _, ArrayRef, AsArray as _, RecordBatch},
        compute::{SortOptions, cast},
        datatypes::{DataType, SchemaRef},
        row::{RowConverter, SortField},
    },
    catalog::{Session, TableProvider},
    common::{DataFusionError, Result, ScalarValue, tree_node::TreeNodeRecursion},
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
        session_state::SessionState,
    },
    logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType, col},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, Partitioning, PhysicalExpr,
        PlanProperties, execute_stream,
        execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt as _, TryStreamExt as _};

use super::{
    pushed::texts_of,
    score_table::{MADE_WHEN_ASKED, MAX_LOOKUPS},
};

/// Rows chosen beyond those wanted. A kept score may be a minute old, and its entity a place or two from where it stands
/// once it is made again.
const MARGIN: usize = 64;

/// How entities are chosen.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    /// Gives an entity's id, then what it is ordered by.
    pub(super) query: LogicalPlan,
    /// Directions of the order.
    pub(super) options: Vec<SortOptions>,
    /// Rows wanted. Those that equal the last of them are chosen too.
    pub(super) rows: usize,
}

/// The table of scores, of which only chosen entities are read.
#[derive(Debug)]
pub(super) struct ChosenScores {
    /// All scores, behind the wall.
    pub(super) all: Arc<dyn TableProvider>,
    pub(super) choice: Choice,
}

#[async_trait]
impl TableProvider for ChosenScores {
    fn schema(&self) -> SchemaRef {
        self.all.schema()
    }

    fn table_type(&self) -> TableType {
        self.all.table_type()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.all.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.schema();
        let dear = |column: &usize| MADE_WHEN_ASKED.contains(&schema.field(*column).name().as_str());
        let explains = projection.is_none_or(|columns| columns.iter().any(dear));
        let named = texts_of(filters, "entity_id").is_some_and(|ids| ids.len() <= MAX_LOOKUPS);
        let session = state.as_any().downcast_ref::<SessionState>();
        let Some(session) = session.filter(|_| explains && !named) else {
            // Nothing dear is read, or of few entities.
            return self.all.scan(state, projection, filters, limit).await;
        };
        let schema = match projection {
            Some(columns) => Arc::new(schema.project(columns)?),
            None => schema,
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(Arc::new(ChosenExec {
            choosing: session.create_physical_plan(&self.choice.query).await?,
            read: Arc::new(Read {
                all: Arc::clone(&self.all),
                session: session.clone(),
                projection: projection.cloned(),
                filters: filters.to_vec(),
                options: self.choice.options.clone(),
                rows: self.choice.rows,
            }),
            properties: Arc::new(properties),
        }))
    }
}

/// What is read once the entities are chosen.
struct Read {
    all: Arc<dyn TableProvider>,
    session: SessionState,
    projection: Option<Vec<usize>>,
    filters: Vec<Expr>,
    options: Vec<SortOptions>,
    rows: usize,
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read")
            .field("projection", &self.projection)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// Runs the choosing query, then reads the rows of the entities it gives.
#[derive(Debug)]
struct ChosenExec {
    choosing: Arc<dyn ExecutionPlan>,
    read: Arc<Read>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for ChosenExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ChosenScan: of the {} entities that come first, and their equals",
            self.read.rows.saturating_add(MARGIN)
        )
    }
}

impl ExecutionPlan for ChosenExec {
    fn name(&self) -> &'static str {
        "ChosenScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.choosing]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let choosing = children.pop().ok_or_else(|| broken("a choice has one query"))?;
        Ok(Arc::new(Self {
            choosing,
            read: Arc::clone(&self.read),
            properties: Arc::clone(&self.properties),
        }))
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let choosing = children.pop().ok_or_else(|| broken("a choice has one query"))?;
        Ok(Arc::new(Self {
            choosing,
            read: Arc::clone(&self.read),
            properties: Arc::clone(&self.properties),
        }))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let candidates = self.choosing.execute(0, Arc::clone(&context))?;
        let read = Arc::clone(&self.read);
        let rows = futures::stream::once(async move { read.rows(candidates, context).await });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            rows.try_flatten(),
        )))
    }
}

impl Read {
    async fn rows(
        &self,
        mut candidates: SendableRecordBatchStream,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let memory = MemoryConsumer::new("choice".to_owned()).register(context.memory_pool());
        let mut first = First::new(self.rows.saturating_add(MARGIN), memory);
        while let Some(batch) = candidates.next().await {
            first.take(&batch?, &self.options)?;
        }
        let ids = first.ids()?;
        let mut filters = self.filters.clone();
        // More than can be looked up are read like any others.
        if ids.len() <= MAX_LOOKUPS {
            let id = |id: String| Expr::Literal(ScalarValue::Utf8View(Some(id)), None);
            filters.push(col("entity_id").in_list(ids.into_iter().map(id).collect(), false));
        }
        let scan = self
            .all
            .scan(&self.session, self.projection.as_ref(), &filters, None);
        execute_stream(scan.await?, context)
    }
}

/// The first of many rows by their order, and those that equal the last of them.
struct First {
    rows: usize,
    memory: MemoryReservation,
    /// Made for the types of the first batch.
    converter: Option<RowConverter>,
    /// Order and id.
    held: Vec<(Box<[u8]>, Box<str>)>,
    /// Rows behind this one are not wanted.
    last: Option<Box<[u8]>>,
    /// How many are held before those not wanted are dropped.
    full: usize,
}

impl First {
    fn new(rows: usize, memory: MemoryReservation) -> Self {
        Self {
            rows,
            memory,
            converter: None,
            held: Vec::new(),
            last: None,
            full: rows.saturating_mul(2).saturating_add(4_096),
        }
    }

    /// Takes candidates: the id, then what they are ordered by.
    fn take(&mut self, batch: &RecordBatch, options: &[SortOptions]) -> Result<()> {
        let Some((ids, keys)) = batch.columns().split_first() else {
            return Err(broken("a choosing query gives no id"));
        };
        let ids: ArrayRef = cast(ids, &DataType::Utf8View)?;
        let ids = ids.as_string_view();
        let converter = match &mut self.converter {
            Some(converter) => converter,
            none => {
                let fields = keys.iter().zip(options);
                let fields = fields
                    .map(|(key, options)| SortField::new_with_options(key.data_type().clone(), *options));
                none.insert(RowConverter::new(fields.collect())?)
            }
        };
        let keys = converter.convert_columns(keys)?;
        for (row, key) in keys.iter().enumerate() {
            let key: &[u8] = key.as_ref();
            if ids.is_valid(row) && self.last.as_deref().is_none_or(|last| key <= last) {
                self.held.push((key.into(), ids.value(row).into()));
            }
        }
        if self.held.len() >= self.full {
            self.drop_rest()?;
        }
        Ok(())
    }

    fn drop_rest(&mut self) -> Result<()> {
        if self.rows == 0 {
            self.held.clear();
        } else if self.held.len() > self.rows {
            let (_, (last, _), _) = self
                .held
                .select_nth_unstable_by(self.rows - 1, |a, b| a.0.cmp(&b.0));
            let last = last.clone();
            self.held.retain(|(key, _)| *key <= last);
            self.last = Some(last);
        }
        // Where many are equal they all stay: the next round comes when there are twice as many.
        self.full = self.full.max(self.held.len().saturating_mul(2));
        let bytes = |(key, id): &(Box<[u8]>, Box<str>)| key.len() + id.len() + 48;
        self.memory.try_resize(self.held.iter().map(bytes).sum())
    }

    /// Ids of the first rows, each once.
    fn ids(mut self) -> Result<Vec<String>> {
        self.drop_rest()?;
        let mut ids: Vec<String> = self.held.into_iter().map(|(_, id)| id.into()).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }
}

fn broken(what: &str) -> DataFusionError {
    DataFusionError::Internal(what.to_owned())
}

#[cfg(test)]
mod tests {
    use datafusion::{
        arrow::array::{Float64Array, StringViewArray},
        arrow::datatypes::{Field, Schema},
        execution::memory_pool::{MemoryPool, UnboundedMemoryPool},
    };

    use super::*;

    /// The first of some rows, given in batches.
    fn first(values: &[Option<f64>], rows: usize, options: SortOptions) -> Vec<String> {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let mut first = First::new(rows, MemoryConsumer::new("test").register(&pool));
        first.full = 8;
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8View, false),
            Field::new("value", DataType::Float64, true),
        ]));
        for (batch, part) in values.chunks(5).enumerate() {
            let ids = (0..part.len()).map(|row| format!("{:03}", batch * 5 + row));
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringViewArray::from_iter_values(ids)),
                Arc::new(Float64Array::from(part.to_vec())),
            ];
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns");
            first.take(&batch, &[options]).expect("taken");
        }
        first.ids().expect("ids")
    }

    #[test]
    fn the_first_rows_are_those_of_a_sort_with_all_that_equal_the_last() {
        for seed in 0..200_usize {
            let value = |at: usize| ((at * 37 + seed * 11) % 9) as f64;
            let values: Vec<Option<f64>> = (0..60)
                .map(|at| (!(at * 13 + seed).is_multiple_of(7)).then(|| value(at)))
                .collect();
            for (rows, descending, nulls_first) in [
                (1, true, false),
                (7, false, true),
                (20, true, true),
                (80, false, false),
            ] {
                let rank = |value: Option<f64>| match value {
                    None if nulls_first => f64::NEG_INFINITY,
                    None => f64::INFINITY,
                    Some(value) if descending => -value,
                    Some(value) => value,
                };
                let mut ranks: Vec<f64> = values.iter().map(|value| rank(*value)).collect();
                ranks.sort_by(f64::total_cmp);
                let last = ranks[rows.min(ranks.len()) - 1];
                let wanted = values
                    .iter()
                    .enumerate()
                    .filter(|(_, value)| rank(**value) <= last);
                let wanted: Vec<String> = wanted.map(|(at, _)| format!("{at:03}")).collect();
                let options = SortOptions {
                    descending,
                    nulls_first,
                };
                assert_eq!(
                    first(&values, rows, options),
                    wanted,
                    "{seed} {rows} {descending} {nulls_first}"
                );
            }
        }
        assert!(first(&[Some(1.0)], 0, SortOptions::default()).is_empty());
    }
}
