//! What the doors ask of the rooms behind them: tables for SQL, the state of operations, tiers of the past.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Result;
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::TableProvider,
    datasource::MemTable,
    execution::runtime_env::RuntimeEnv,
    prelude::{Expr, SessionConfig, SessionContext, col, lit},
};
use futures::{Stream, StreamExt};
use hashbrown::HashMap;
use object_store::ObjectStore;
use parking_lot::{Mutex, const_mutex};
use revgauge_connectors::http::{self, Door};
use revgauge_contract::{
    ErrorKind, Position, Timestamp,
    access::Caller,
    cut::{Cut, CutReader, LakeTable},
    error::Failure,
    event::Reception,
    intake::{DeadLetter, DeadLetters, EventIntake},
    score::EntityKind,
    statistics::Knowledge,
};
use revgauge_models::{
    definitions::history,
    service::{TenantCuts, TierLog, TierMemory},
};
use revgauge_pipelines::{tables, verify};
use revgauge_query_api::{
    DataHealth, PipelineInfo, Readiness, ReplayReport, StatusSource,
    sql::{CatalogColumn, CatalogSource, CatalogTable},
};
use serde_json::{Value, json};

use crate::{privacy, read_your_writes::Caught, wire::Rooms};

/// The operator's key for a tenant, valid for one run of the server.
pub(crate) fn operator_key(secret: &str, tenant: &str) -> String {
    format!("rg_operator_{secret}_{tenant}")
}

/// The process's metrics; the recorder is installed at the first call.
///
/// # Errors
/// Another recorder is installed.
pub(crate) fn metrics() -> Result<metrics_exporter_prometheus::PrometheusHandle> {
    // Locked, not only set once: two that come first at the same time would both install it.
    static HANDLE: Mutex<Option<metrics_exporter_prometheus::PrometheusHandle>> = const_mutex(None);
    let mut installed = HANDLE.lock();
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let handle = revgauge_query_api::metrics_handle()?;
    *installed = Some(handle.clone());
    Ok(handle)
}

fn engine_failure(error: impl Into<datafusion::error::DataFusionError>) -> Failure {
    let error = error.into();
    Failure::new(ErrorKind::External, format!("cannot read the lake: {error}"))
}

/// Tenants that have sent anything, from the live counts.
///
/// # Errors
/// What reading the state met.
pub(crate) async fn tenants_with_data(runtime: &Arc<revgauge_pipelines::Runtime>) -> Result<Vec<Arc<str>>> {
    let table = tables::state_table(runtime, "event_counts")?;
    let context = SessionContext::new();
    let batches = context
        .read_table(table)?
        .select_columns(&["tenant_id"])?
        .distinct()?
        .collect()
        .await?;
    let mut tenants = Vec::new();
    for batch in &batches {
        let names = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8View)?;
        let names = arrow::array::AsArray::as_string_view(&names);
        tenants.extend(names.iter().flatten().map(Arc::from));
    }
    Ok(tenants)
}

/// Ids of a cut's events with the latest receipt of each batch, in the order of their receipt.
pub(crate) type IdBatches =
    std::pin::Pin<Box<dyn Stream<Item = Result<(RecordBatch, Timestamp), Failure>> + Send>>;

/// Reads `tenant_id` and `event_id` of every event of a cut.
///
/// # Errors
/// What the lake met.
pub(crate) async fn ids_of(cut: Cut, store: &Arc<dyn ObjectStore>) -> Result<IdBatches, Failure> {
    let table = tables::cut_table(cut, Arc::clone(store));
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let wanted = ["tenant_id", "event_id", "ingested_at"];
    let frame = context
        .read_table(table)
        .and_then(|frame| frame.select_columns(&wanted))
        .map_err(engine_failure)?;
    let stream = frame.execute_stream().await.map_err(engine_failure)?;
    Ok(Box::pin(stream.map(|batch| {
        let batch = batch.map_err(engine_failure)?;
        let received = revgauge_contract::schema::time_column(&batch, "ingested_at");
        let latest = received.and_then(arrow::compute::max).unwrap_or_default();
        Ok((batch, Timestamp(latest)))
    })))
}

/// Tables of one query's cut.
#[derive(Debug)]
pub(crate) struct Tables {
    rooms: Arc<Rooms>,
    caught: Caught,
    runtime: Arc<RuntimeEnv>,
}

impl Tables {
    pub(crate) fn new(rooms: Arc<Rooms>, caught: Caught) -> Self {
        Self {
            rooms,
            caught,
            runtime: Arc::new(RuntimeEnv::default()),
        }
    }

    fn definition_history(&self, tenant_id: &str) -> Result<Arc<dyn TableProvider>, Failure> {
        let rows = history::table(&self.rooms.definitions.history(), tenant_id).map_err(engine_failure)?;
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).map_err(engine_failure)?;
        Ok(Arc::new(table))
    }
}

fn definition_columns() -> Vec<CatalogColumn> {
    [
        ("name", "definition", ""),
        ("version", "version that its file states", ""),
        (
            "definition",
            "name, version and fingerprint, as scores name it",
            "name@version+hash",
        ),
        ("own", "whether it is the tenant's own", ""),
        ("in_force_from", "from when on scores were made with it", "UTC"),
        ("in_force_until", "until when; null while it is in force", "UTC"),
        ("text", "its text", "TOML"),
    ]
    .map(|(name, description, unit)| CatalogColumn::new(name, description, unit))
    .into()
}

#[async_trait]
impl CatalogSource for Tables {
    async fn tables(&self, tenant_id: &str) -> Result<Vec<CatalogTable>, Failure> {
        self.caught.up().await;
        let store = || Arc::clone(&self.rooms.store);
        let events = self.rooms.lake.cut(LakeTable::Events).await?;
        let changes = self.rooms.lake.cut(LakeTable::ScoreChanges).await?;
        let table = |name: &str, description: &str, provider| CatalogTable {
            name: name.to_owned(),
            description: description.to_owned(),
            provider,
            columns: Vec::new(),
        };
        let mut offered = vec![
            table(
                "events",
                "every accepted event, once",
                tables::cut_table(events.clone(), store()),
            ),
            table(
                "crm_history",
                "one row a change of one CRM field",
                tables::crm_history_table(events, store()),
            ),
            table(
                "score_changes",
                "the score feed",
                tables::cut_table(changes, store()),
            ),
        ];
        offered.push(CatalogTable {
            columns: definition_columns(),
            ..table(
                "definition_history",
                "one row for each stay of one version of one definition in force",
                self.definition_history(tenant_id)?,
            )
        });
        let live = tables::state_tables(&self.rooms.runtime).map_err(|error| Failure::from_error(&error))?;
        offered.extend(
            live.into_iter()
                .map(|live| table(live.name, live.description, live.provider)),
        );
        Ok(offered)
    }

    fn runtime(&self) -> Arc<RuntimeEnv> {
        Arc::clone(&self.runtime)
    }
}

/// How the rooms are doing.
#[derive(Debug)]
pub(crate) struct Status {
    rooms: Arc<Rooms>,
    door: Arc<Door>,
}

impl Status {
    pub(crate) const fn new(rooms: Arc<Rooms>, door: Arc<Door>) -> Self {
        Self { rooms, door }
    }

    fn positions(&self) -> BTreeMap<String, u64> {
        let rooms = &self.rooms;
        [
            ("delivered", rooms.delivered.borrow().0),
            ("lake", rooms.lake.position(LakeTable::Events).0),
            ("state", rooms.runtime.position().0),
            ("state_checkpoint", rooms.runtime.checkpoint_position().0),
            ("scores", rooms.live.lag().covered.0),
            ("feed", rooms.feed.journal().last().0),
            ("feed_lake", rooms.lake.position(LakeTable::ScoreChanges).0),
        ]
        .map(|(name, position)| (name.to_owned(), position))
        .into()
    }
}

#[async_trait]
impl StatusSource for Status {
    fn readiness(&self) -> Readiness {
        let waiting = *self.rooms.delivered.borrow() < self.rooms.journal.last();
        let waiting_for: Vec<String> = waiting
            .then(|| "the journal to be caught up with".to_owned())
            .into_iter()
            .collect();
        Readiness {
            ready: waiting_for.is_empty(),
            waiting_for,
        }
    }

    fn last_change(&self, tenant_id: &str) -> u64 {
        self.rooms.live.last_change(tenant_id)
    }

    async fn changed_after(&self, tenant_id: &str, change: u64) {
        self.rooms.live.changed_after(tenant_id, change).await;
    }

    async fn data_health(&self, tenant_id: &str) -> Result<DataHealth, Failure> {
        let letters = self.rooms.dead_letters.list(tenant_id, usize::MAX).await;
        let letters = letters.map_err(|error| Failure::from_error(&error))?;
        Ok(DataHealth {
            journal_position: self.rooms.journal.last().0,
            positions: self.positions(),
            dead_letters: letters.len() as u64,
            ..DataHealth::default()
        })
    }

    async fn pipelines(&self) -> Result<Vec<PipelineInfo>, Failure> {
        let runtime = &self.rooms.runtime;
        let all = revgauge_pipelines::catalog::all().iter();
        all.map(|pipeline| {
            let state = runtime
                .statistics(pipeline.name)
                .map_err(|error| Failure::from_error(&error))?;
            let sizes: BTreeMap<String, u64> = serde_json::to_value(state)
                .ok()
                .and_then(|value| serde_json::from_value(value).ok())
                .unwrap_or_default();
            Ok(PipelineInfo {
                name: pipeline.name.to_owned(),
                description: pipeline.description.to_owned(),
                sql: pipeline.sql.to_owned(),
                kind: if runtime.pipelines().any(|kept| kept.name == pipeline.name) {
                    "aggregation"
                } else {
                    "projection"
                }
                .to_owned(),
                state: sizes,
            })
        })
        .collect()
    }

    async fn explain_pipeline(&self, name: &str) -> Result<Value, Failure> {
        let explanation = self
            .rooms
            .runtime
            .explain(name)
            .map_err(|error| Failure::from_error(&error))?;
        serde_json::to_value(explanation)
            .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))
    }

    async fn verify_pipelines(&self) -> Result<Value, Failure> {
        let cuts: Arc<dyn CutReader> = Arc::clone(&self.rooms.lake) as _;
        let reports = verify::verify(&self.rooms.runtime, &cuts)
            .await
            .map_err(|error| Failure::from_error(&error))?;
        Ok(json!(reports))
    }

    async fn dead_letters(&self, tenant_id: &str, limit: usize) -> Result<Vec<DeadLetter>, Failure> {
        let letters = self.rooms.dead_letters.list(tenant_id, usize::MAX).await;
        let letters = letters.map_err(|error| Failure::from_error(&error))?;
        Ok(letters
            .into_iter()
            .rev()
            .take(limit)
            .map(|(_, letter)| letter)
            .collect())
    }

    async fn keep_dead_letters(&self, letters: Vec<DeadLetter>) -> Result<(), Failure> {
        self.rooms.dead_letters.keep(letters).await
    }

    async fn replay_dead_letters(&self, tenant_id: &str) -> Result<ReplayReport, Failure> {
        let letters = self.rooms.dead_letters.list(tenant_id, usize::MAX).await;
        let letters = letters.map_err(|error| Failure::from_error(&error))?;
        let mut report = ReplayReport::default();
        let mut taken = Vec::new();
        for (id, letter) in letters {
            let bytes = letter_bytes(&letter);
            let reception = Reception::live(Arc::from(tenant_id), self.rooms.clock.now(), "http");
            let parsed = if letter.source == "segment" {
                http::parse_segment(reception, &self.rooms.event_names, &bytes, usize::MAX)
            } else {
                http::parse_events(reception, &bytes, usize::MAX)
            };
            match parsed {
                Some(parsed) if parsed.refused.is_empty() => {
                    if let Some(batch) = parsed.batch {
                        report.accepted += batch.num_rows() as u64;
                        self.rooms.journal.append_batch(batch).await?;
                    }
                    taken.push(id);
                }
                _ => report.refused += 1,
            }
        }
        let deleted = self.rooms.dead_letters.delete(tenant_id, &taken).await;
        deleted.map_err(|error| Failure::from_error(&error))?;
        tracing::info!(accepted = report.accepted, refused = report.refused, door = ?self.door, "dead letters replayed");
        Ok(report)
    }

    async fn request_erasure(
        &self,
        caller: &Caller,
        subject: String,
        also: Vec<String>,
    ) -> Result<Value, Failure> {
        let request = privacy::Request {
            tenant_id: caller.tenant_id.to_string(),
            subject,
            also,
            requested_at: self.rooms.clock.now(),
            requested_by: caller.key_id.to_string(),
        };
        privacy::keep(self.rooms.store.as_ref(), &request)
            .await
            .map_err(|error| {
                Failure::new(ErrorKind::External, format!("cannot keep the request: {error}"))
            })?;
        Ok(json!(request))
    }

    async fn erasures(&self, tenant_id: &str) -> Result<Value, Failure> {
        let failed = |error: anyhow::Error| {
            Failure::new(ErrorKind::External, format!("cannot read the erasures: {error}"))
        };
        let store = self.rooms.store.as_ref();
        let mut waiting = privacy::waiting(store).await.map_err(failed)?;
        waiting.retain(|(_, request)| request.tenant_id == tenant_id);
        let waiting: Vec<_> = waiting.into_iter().map(|(_, request)| request).collect();
        let done = privacy::reports(store, tenant_id).await.map_err(failed)?;
        Ok(json!({"waiting": waiting, "done": done}))
    }
}

pub(crate) fn letter_bytes(letter: &DeadLetter) -> Vec<u8> {
    use base64::Engine as _;
    if letter.body_is_base64 {
        base64::engine::general_purpose::STANDARD
            .decode(&letter.body)
            .unwrap_or_default()
    } else {
        letter.body.clone().into_bytes()
    }
}

/// Tiers and cut-offs of the past, read from the score feed's table.
pub(crate) struct PastTiers {
    cuts: Arc<dyn CutReader>,
    store: Arc<dyn ObjectStore>,
}

impl std::fmt::Debug for PastTiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PastTiers").finish_non_exhaustive()
    }
}

/// Batches of the feed in feed order.
pub(crate) type FeedBatches = std::pin::Pin<Box<dyn Stream<Item = Result<RecordBatch, Failure>> + Send>>;

impl PastTiers {
    pub(crate) fn new(cuts: Arc<dyn CutReader>, store: Arc<dyn ObjectStore>) -> Self {
        Self { cuts, store }
    }

    /// The feed after a position, in order, and the position where it ends: for the live scorer at start.
    ///
    /// # Errors
    /// What the lake met.
    pub(crate) async fn after(&self, position: Position) -> Result<(Position, FeedBatches), Failure> {
        let cut = self.cuts.cut(LakeTable::ScoreChanges).await?;
        let end = cut.position;
        let later = (position > Position::START).then(|| {
            let position = i64::try_from(position.0).unwrap_or(i64::MAX);
            col("position").gt(lit(position))
        });
        Ok((end, self.read(cut, later).await?))
    }

    async fn read(&self, cut: Cut, filter: Option<Expr>) -> Result<FeedBatches, Failure> {
        let table = tables::cut_table(cut, Arc::clone(&self.store));
        let schema: SchemaRef = table.schema();
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let mut frame = context.read_table(table).map_err(engine_failure)?;
        if let Some(filter) = filter {
            frame = frame.filter(filter).map_err(engine_failure)?;
        }
        let order = vec![col("position").sort(true, false), col("row").sort(true, false)];
        let stream = frame
            .sort(order)
            .map_err(engine_failure)?
            .execute_stream()
            .await
            .map_err(engine_failure)?;
        Ok(Box::pin(stream.map(move |batch| {
            let batch = batch.map_err(engine_failure)?;
            let cast = batch
                .columns()
                .iter()
                .zip(schema.fields())
                .map(|(column, field)| arrow::compute::cast(column, field.data_type()));
            let columns = cast.collect::<Result<Vec<_>, _>>().map_err(engine_failure)?;
            RecordBatch::try_new(Arc::clone(&schema), columns).map_err(engine_failure)
        })))
    }

    async fn log(&self, tenant_id: &str, knowledge: Knowledge) -> Result<TierLog, Failure> {
        let until = match knowledge {
            Knowledge::Now => Timestamp(i64::MAX),
            Knowledge::At(at) => at,
        };
        let cut = self.cuts.cut(LakeTable::ScoreChanges).await?;
        let instant = datafusion::scalar::ScalarValue::TimestampMicrosecond(Some(until.micros()), None);
        let filter = col("tenant_id")
            .eq(lit(tenant_id))
            .and(col("as_of").lt_eq(lit(instant)));
        let batches: Vec<RecordBatch> = self
            .read(cut, Some(filter))
            .await?
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect::<Result<_, _>>()?;
        Ok(TierLog::read(&batches, tenant_id, until))
    }
}

#[async_trait]
impl TierMemory for PastTiers {
    async fn tiers(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        ids: Option<&[Arc<str>]>,
        knowledge: Knowledge,
    ) -> Result<HashMap<(Arc<str>, String), String>, Failure> {
        Ok(self.log(tenant_id, knowledge).await?.tiers(entity_kind, ids))
    }

    async fn cuts(&self, tenant_id: &str, knowledge: Knowledge) -> Result<Option<Arc<TenantCuts>>, Failure> {
        Ok(self.log(tenant_id, knowledge).await?.cuts())
    }
}
