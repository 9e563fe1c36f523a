//! The same SQL as a batch query over a cut: replays as of an instant, verification, rebuilding.

use std::{num::NonZeroUsize, sync::Arc};

use arrow::array::RecordBatch;
use datafusion::{
    catalog::TableProvider,
    error::Result as DfResult,
    execution::{
        memory_pool::{FairSpillPool, TrackConsumersPool},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    logical_expr::{Expr, LogicalPlanBuilder, col, lit},
    physical_plan::SendableRecordBatchStream,
    prelude::{SessionConfig, SessionContext},
    scalar::ScalarValue,
};
use futures::TryStreamExt;
use object_store::ObjectStore;
use revgauge_contract::{
    Timestamp,
    cut::Cut,
    statistics::{EntityColumn, Keys, Knowledge},
};

use crate::{
    catalog::Pipeline,
    error::PipelineError,
    plan::{normalised, query_of},
    settings::PipelineSettings,
    tables::{crm_history_table, cut_table},
};

/// Which part of a pipeline's rows is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) tenant: Option<&'a str>,
    pub(crate) keys: Keys<'a>,
    pub(crate) knowledge: Knowledge,
}

impl Asked<'_> {
    /// Everything of everybody.
    pub(crate) const ALL: Self = Self {
        tenant: None,
        keys: Keys::All,
        knowledge: Knowledge::Now,
    };
}

/// Runs batch queries within one memory limit.
#[derive(Debug, Clone)]
pub(crate) struct BatchQueries {
    environment: Arc<RuntimeEnv>,
    partitions: usize,
    store: Arc<dyn ObjectStore>,
}

/// Consumers named when the memory runs out.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

fn at(instant: Timestamp) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(instant.micros()), None))
}

/// `column IN (keys)`.
fn among(column: &str, keys: &[String]) -> Expr {
    col(column).in_list(keys.iter().map(lit).collect(), false)
}

impl BatchQueries {
    pub(crate) fn new(
        settings: &PipelineSettings,
        store: Arc<dyn ObjectStore>,
    ) -> Result<Self, PipelineError> {
        let bytes = usize::try_from(settings.query_memory_bytes).unwrap_or(usize::MAX);
        let pool = TrackConsumersPool::new(FairSpillPool::new(bytes), NAMED_CONSUMERS);
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .build_arc()
            .map_err(|error| PipelineError::query("any", "prepare batch queries of", error))?;
        Ok(Self {
            environment,
            partitions: settings.query_partitions.max(1),
            store,
        })
    }

    pub(crate) fn session(&self) -> SessionContext {
        let mut config = SessionConfig::new()
            .with_target_partitions(self.partitions)
            .with_information_schema(false);
        // Filters run inside the Parquet reader, so that columns of rows that are dropped are not decoded.
        config.options_mut().execution.parquet.pushdown_filters = true;
        config.options_mut().execution.parquet.reorder_filters = true;
        // Events grouped by entity shrink by half at best: grouping them twice costs more than it saves (docs/adr/028).
        config
            .options_mut()
            .execution
            .skip_partial_aggregation_probe_ratio_threshold = 0.3;
        SessionContext::new_with_config_rt(config, Arc::clone(&self.environment))
    }

    /// The rows of a pipeline computed from scratch, in its output schema.
    pub(crate) async fn stream(
        &self,
        pipeline: &Pipeline,
        cut: Cut,
        asked: Asked<'_>,
    ) -> Result<SendableRecordBatchStream, PipelineError> {
        let planning = |error| PipelineError::query(pipeline.name, "run the batch query of", error);
        let context = self.session();
        let events = cut_table(cut.clone(), Arc::clone(&self.store));
        let events =
            narrowed(&context, events, asked, source_keys(pipeline, asked.keys)).map_err(planning)?;
        context.register_table("events", events).map_err(planning)?;
        let fields = crm_history_table(cut, Arc::clone(&self.store));
        let fields = narrowed(&context, fields, asked, None).map_err(planning)?;
        context.register_table("crm_fields", fields).map_err(planning)?;
        let statement = query_of(pipeline, &context)?;
        let plan = context
            .state()
            .statement_to_plan(statement)
            .await
            .map_err(planning)?;
        let mut plan = LogicalPlanBuilder::from(plan);
        if let Some(tenant) = asked.tenant {
            plan = plan.filter(col("tenant_id").eq(lit(tenant))).map_err(planning)?;
        }
        if let Keys::These(keys) = asked.keys {
            plan = plan.filter(among(pipeline.key, keys)).map_err(planning)?;
        }
        let plan = plan.build().map_err(planning)?;
        let frame = context.execute_logical_plan(plan).await.map_err(planning)?;
        frame.execute_stream().await.map_err(planning)
    }

    /// [`Self::stream`], collected and in the normal form of statistics.
    pub(crate) async fn rows(
        &self,
        pipeline: &Pipeline,
        cut: Cut,
        asked: Asked<'_>,
    ) -> Result<Vec<RecordBatch>, PipelineError> {
        let failed = |error| PipelineError::query(pipeline.name, "run the batch query of", error);
        let stream = self.stream(pipeline, cut, asked).await?;
        let schema = crate::plan::normal_schema(&stream.schema());
        let rows: Vec<RecordBatch> = stream.try_collect().await.map_err(failed)?;
        rows.iter()
            .filter(|batch| batch.num_rows() > 0)
            .map(|batch| normalised(batch, &schema))
            .collect::<DfResult<_>>()
            .map_err(failed)
    }

    /// Raw events of some entities, newest first.
    pub(crate) async fn recent(
        &self,
        cut: Cut,
        column: EntityColumn,
        tenant: &str,
        keys: &[String],
        knowledge: Knowledge,
        limit: usize,
    ) -> Result<Vec<RecordBatch>, PipelineError> {
        let failed = |error| PipelineError::query("events", "read the recent events of", error);
        let (id, fallback) = match column {
            EntityColumn::Contact => ("contact_id", Some("email")),
            EntityColumn::Account => ("account_id", Some("domain")),
            EntityColumn::Deal => ("deal_id", None),
        };
        let mut filter = col("tenant_id").eq(lit(tenant)).and(match fallback {
            Some(fallback) => among(id, keys).or(col(id).is_null().and(among(fallback, keys))),
            None => among(id, keys),
        });
        if let Knowledge::At(instant) = knowledge {
            filter = filter.and(col("known_at").lt_eq(at(instant)));
        }
        let table = cut_table(cut, Arc::clone(&self.store));
        let frame = self
            .session()
            .read_table(table)
            .and_then(|frame| frame.filter(filter))
            .and_then(|frame| {
                frame.sort(vec![
                    col("event_time").sort(false, false),
                    col("event_id").sort(true, false),
                ])
            })
            .and_then(|frame| frame.limit(0, Some(limit)))
            .map_err(failed)?;
        frame.collect().await.map_err(failed)
    }

    /// The events of a cut for rebuilding: all of them, or only those that become CRM fields.
    pub(crate) async fn events(
        &self,
        cut: Cut,
        crm: bool,
    ) -> Result<SendableRecordBatchStream, PipelineError> {
        let failed = |error| PipelineError::query("events", "read the lake for", error);
        let table = if crm {
            crm_history_table(cut, Arc::clone(&self.store))
        } else {
            cut_table(cut, Arc::clone(&self.store))
        };
        let mut frame = self.session().read_table(table).map_err(failed)?;
        if !crm {
            let columns = revgauge_contract::schema::EVENT_COLUMNS.iter();
            frame = frame.select(columns.map(|name| col(*name))).map_err(failed)?;
        }
        frame.execute_stream().await.map_err(failed)
    }
}

/// A source table of which only the asked rows are seen, as a view that the optimiser merges with the query.
fn narrowed(
    context: &SessionContext,
    table: Arc<dyn TableProvider>,
    asked: Asked<'_>,
    keys: Option<Expr>,
) -> DfResult<Arc<dyn TableProvider>> {
    let known = match asked.knowledge {
        Knowledge::Now => None,
        Knowledge::At(instant) => Some(col("known_at").lt_eq(at(instant))),
    };
    let tenant = asked.tenant.map(|tenant| col("tenant_id").eq(lit(tenant)));
    let Some(filter) = known.into_iter().chain(tenant).chain(keys).reduce(Expr::and) else {
        return Ok(table);
    };
    Ok(context.read_table(table)?.filter(filter)?.into_view())
}

/// A filter on the source columns of a key made by `coalesce`, which pruning understands.
fn source_keys(pipeline: &Pipeline, keys: Keys<'_>) -> Option<Expr> {
    let Keys::These(keys) = keys else { return None };
    let (id, fallback) = match pipeline.key {
        "contact_key" => ("contact_id", "email"),
        "account_key" => ("account_id", "domain"),
        _ => return None,
    };
    Some(among(id, keys).or(among(fallback, keys)))
}
