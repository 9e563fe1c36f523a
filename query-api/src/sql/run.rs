//! Running a query: on its own runtime, within memory, time and row limits, streaming with back-pressure.
//!
//! The computation lives on the query runtime and fills a short queue; the door empties it. A slow reader stops the
//! computation, never another reader; a dropped answer ends it. The deadline is watched from the door's side too, so it
//! holds even when every thread of the query runtime is busy.

use std::{fmt, sync::Arc, time::Duration};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    common::{ParamValues, ScalarValue, tree_node::TreeNodeRecursion},
    dataframe::DataFrame,
    execution::{TaskContext, context::SQLOptions},
    logical_expr::{LogicalPlan, LogicalPlanBuilder},
    physical_plan::execute_stream,
    prelude::SessionContext,
    sql::{parser::Statement, sqlparser::ast},
};
use futures::{StreamExt as _, future::BoxFuture};
use revgauge_contract::access::Caller;
use serde_json::Value;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::{
    error::SqlError,
    outline::ShownTable,
    output::OutputShape,
    session::{self, Addition, TenantSession},
    stop::{StopSign, stoppable},
};
use crate::{
    access::{AuditAction, Sight},
    api::Api,
    freshness::Freshness,
};

/// Rows handed to an encoder at once, so that encoding never holds a serving thread for long.
const SLICE_ROWS: usize = 1_024;

/// A query as asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SqlRequest {
    /// One statement.
    pub sql: String,
    /// Values of `$1`, `$2`, ...: null, booleans, numbers, texts.
    pub params: Vec<Value>,
    /// Cut the answer after this many rows and say so.
    pub limit_rows: Option<usize>,
    /// Time limit, milliseconds; the setting when absent.
    pub timeout_ms: Option<u64>,
}

/// A running query. Dropping it ends the computation.
pub struct QueryAnswer {
    /// For which instant and with which sources the answer is.
    pub freshness: Freshness,
    /// Columns.
    pub schema: SchemaRef,
    /// Whether rows were cut off by `limit_rows`; known once the rows have ended.
    pub truncated: bool,
    rows: Rows,
}

impl fmt::Debug for QueryAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryAnswer")
            .field("freshness", &self.freshness)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// A whole answer in memory.
#[derive(Debug, Clone)]
pub struct CollectedAnswer {
    /// For which instant and with which sources the answer is.
    pub freshness: Freshness,
    /// Columns.
    pub schema: SchemaRef,
    /// Rows.
    pub batches: Vec<RecordBatch>,
    /// Whether rows were cut off by `limit_rows`.
    pub truncated: bool,
}

impl QueryAnswer {
    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// What stopped the query; nothing comes after it.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, SqlError>> {
        match self.rows.step().await {
            Ok(Step::Rows(batch)) => Some(Ok(batch)),
            Ok(Step::Ended { truncated }) => {
                self.truncated = truncated;
                None
            }
            Ok(Step::Begun { .. }) => Some(Err(SqlError::internal("a query began twice"))),
            Err(error) => Some(Err(error)),
        }
    }

    /// All rows.
    ///
    /// # Errors
    /// What stopped the query.
    pub async fn collect(mut self) -> Result<CollectedAnswer, SqlError> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(CollectedAnswer {
            freshness: self.freshness,
            schema: self.schema,
            batches,
            truncated: self.truncated,
        })
    }
}

/// Runs a query to its end. The rows are held in memory, so mind `limit_rows`.
///
/// # Errors
/// [`SqlError`] with a code for each way a query can fail.
pub async fn run_sql(
    api: &Arc<Api>,
    caller: &Caller,
    request: SqlRequest,
) -> Result<CollectedAnswer, SqlError> {
    open_sql(api, caller, request).await?.collect().await
}

/// Starts a query; returns when its columns are known.
///
/// # Errors
/// As [`run_sql`], for what shows before the first row.
pub async fn open_sql(api: &Arc<Api>, caller: &Caller, request: SqlRequest) -> Result<QueryAnswer, SqlError> {
    let settings = &api.settings.sql;
    if let Some(limit) = request.limit_rows.filter(|limit| *limit > settings.max_rows) {
        return Err(
            SqlError::user("row_limit", format!("cannot give {limit} rows in one answer"))
                .hint(format!("limit_rows may be at most {}", settings.max_rows)),
        );
    }
    let timeout_ms = request.timeout_ms.unwrap_or(settings.timeout_ms);
    if timeout_ms == 0 || timeout_ms > settings.max_timeout_ms {
        return Err(
            SqlError::user("time_limit", format!("cannot run a query for {timeout_ms} ms"))
                .hint(format!("timeout_ms may be 1 to {}", settings.max_timeout_ms)),
        );
    }
    let params = request
        .params
        .iter()
        .map(parameter)
        .collect::<Result<Vec<_>, _>>()?;
    let limits = Limits {
        rows: request.limit_rows.unwrap_or(settings.max_rows),
        cut: request.limit_rows.is_some(),
        timeout_ms,
        slice_rows: SLICE_ROWS,
    };
    let plan: Planner = Box::new(move |session| {
        Box::pin(async move {
            let plan = plan_sql(session, &request.sql).await?;
            bound(plan, (!params.is_empty()).then(|| ParamValues::from(params)))
        })
    });
    start(api, caller, limits, plan, None).await
}

/// [`open_sql`] for a query nobody waits for: it may take as long as the setting `later.timeout_ms` says.
///
/// # Errors
/// As [`open_sql`].
pub(crate) async fn open_patient(
    api: &Arc<Api>,
    caller: &Caller,
    request: SqlRequest,
) -> Result<QueryAnswer, SqlError> {
    let settings = &api.settings;
    let longest_ms = settings.later.timeout_ms;
    let params = request
        .params
        .iter()
        .map(parameter)
        .collect::<Result<Vec<_>, _>>()?;
    let limits = Limits {
        rows: request
            .limit_rows
            .unwrap_or(settings.sql.max_rows)
            .min(settings.sql.max_rows),
        cut: request.limit_rows.is_some(),
        timeout_ms: request.timeout_ms.unwrap_or(longest_ms).clamp(1, longest_ms),
        slice_rows: SLICE_ROWS,
    };
    let plan: Planner = Box::new(move |session| {
        Box::pin(async move {
            let plan = plan_sql(session, &request.sql).await?;
            bound(plan, (!params.is_empty()).then(|| ParamValues::from(params)))
        })
    });
    start(api, caller, limits, plan, None).await
}

/// [`open_sql`] for doors that take rows in batches as large as the engine makes them.
///
/// # Errors
/// As [`open_sql`].
pub(crate) async fn open_whole(
    api: &Arc<Api>,
    caller: &Caller,
    sql: String,
    params: Option<ParamValues>,
) -> Result<QueryAnswer, SqlError> {
    let limits = Limits {
        rows: api.settings.flight.max_rows,
        cut: false,
        timeout_ms: api.settings.sql.timeout_ms,
        slice_rows: usize::MAX,
    };
    let plan: Planner =
        Box::new(move |session| Box::pin(async move { bound(plan_sql(session, &sql).await?, params) }));
    start(api, caller, limits, plan, None).await
}

/// The columns a query will answer with, and its plan; nothing runs.
///
/// # Errors
/// As [`open_sql`], for what shows before running.
pub(crate) async fn describe_sql(
    api: &Arc<Api>,
    caller: &Caller,
    sql: String,
) -> Result<(SchemaRef, LogicalPlan), SqlError> {
    let (inner, sight) = (Arc::clone(api), api.sight(caller));
    let work = async move {
        let session = session::open(&inner, &sight, None).await?;
        let plan = plan_sql(&session, &sql).await?;
        let schema = OutputShape::of(plan.schema().as_arrow()).schema;
        Ok((schema, plan))
    };
    aside(api, work).await
}

/// The tables a caller's session shows, with their columns.
///
/// # Errors
/// As [`open_sql`], for what shows before running.
pub(crate) async fn shown_tables(api: &Arc<Api>, caller: &Caller) -> Result<Arc<[ShownTable]>, SqlError> {
    let (inner, sight) = (Arc::clone(api), api.sight(caller));
    let work = async move {
        let outline = inner.outlines.of(&inner, &sight).await;
        let outline = outline.map_err(SqlError::failure)?;
        Ok(Arc::clone(&outline.shown))
    };
    aside(api, work).await
}

/// Runs work that only plans on the query runtime, for no longer than a query may take.
async fn aside<T: Send + 'static>(
    api: &Arc<Api>,
    work: impl Future<Output = Result<T, SqlError>> + Send + 'static,
) -> Result<T, SqlError> {
    let timeout_ms = api.settings.sql.timeout_ms;
    let mut task = api.query_runtime.spawn(Box::pin(work));
    match timeout_at(Instant::now() + Duration::from_millis(timeout_ms), &mut task).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(SqlError::internal(&error.to_string())),
        Err(_) => {
            task.abort();
            Err(SqlError::time_limit(timeout_ms))
        }
    }
}

/// Starts a statement that a door has parsed itself, in a session with what the door adds.
///
/// # Errors
/// As [`open_sql`].
pub(crate) async fn open_statement(
    api: &Arc<Api>,
    caller: &Caller,
    statement: ast::Statement,
    params: Option<ParamValues>,
    timeout_ms: u64,
    addition: Arc<dyn Addition>,
) -> Result<QueryAnswer, SqlError> {
    let limits = Limits {
        rows: api.settings.sql.max_rows,
        cut: false,
        timeout_ms: timeout_ms.clamp(1, api.settings.sql.max_timeout_ms),
        slice_rows: SLICE_ROWS,
    };
    let plan: Planner = Box::new(move |session| {
        Box::pin(async move {
            let plan = plan_statement(session, Statement::Statement(Box::new(statement))).await?;
            bound(plan, params)
        })
    });
    start(api, caller, limits, plan, Some(addition)).await
}

/// The plan of a statement, for its parameters and columns; nothing runs. Costs a session and the planning.
///
/// # Errors
/// As [`open_sql`], for what shows before running.
pub(crate) async fn describe_statement(
    api: &Arc<Api>,
    caller: &Caller,
    statement: ast::Statement,
    addition: Arc<dyn Addition>,
) -> Result<LogicalPlan, SqlError> {
    let (inner, sight) = (Arc::clone(api), api.sight(caller));
    let work = async move {
        let session = session::open(&inner, &sight, Some(&*addition)).await?;
        plan_statement(&session, Statement::Statement(Box::new(statement))).await
    };
    aside(api, work).await
}

/// Starts a query that a door builds itself, cut after `rows`.
pub(crate) async fn open_frame(
    api: &Arc<Api>,
    caller: &Caller,
    rows: usize,
    plan: impl FnOnce(SessionContext) -> BoxFuture<'static, Result<DataFrame, SqlError>> + Send + 'static,
) -> Result<QueryAnswer, SqlError> {
    let plan: Planner = Box::new(move |session| {
        let context = SessionContext::new_with_state(session.state.clone());
        Box::pin(async move { Ok(plan(context).await?.into_parts().1) })
    });
    let limits = Limits {
        rows,
        cut: true,
        timeout_ms: api.settings.sql.timeout_ms,
        slice_rows: SLICE_ROWS,
    };
    start(api, caller, limits, plan, None).await
}

type Planner =
    Box<dyn for<'a> FnOnce(&'a TenantSession) -> BoxFuture<'a, Result<LogicalPlan, SqlError>> + Send>;

#[derive(Debug, Clone, Copy)]
struct Limits {
    rows: usize,
    /// Whether to cut at `rows`, or to refuse more.
    cut: bool,
    timeout_ms: u64,
    /// Rows handed over at once.
    slice_rows: usize,
}

enum Step {
    Begun { freshness: Freshness, schema: SchemaRef },
    Rows(RecordBatch),
    Ended { truncated: bool },
}

struct Rows {
    steps: Receiver<Result<Step, SqlError>>,
    task: JoinHandle<()>,
    stop: StopSign,
    deadline: Instant,
    timeout_ms: u64,
    ended: bool,
}

impl Rows {
    async fn step(&mut self) -> Result<Step, SqlError> {
        if self.ended {
            return Ok(Step::Ended { truncated: false });
        }
        let step = match timeout_at(self.deadline, self.steps.recv()).await {
            Ok(Some(step)) => step,
            // It could not say so itself: a reader that stalls leaves its queue full past the deadline.
            Ok(None) if Instant::now() >= self.deadline => Err(SqlError::time_limit(self.timeout_ms)),
            Ok(None) => Err(SqlError::internal("a query ended without a word")),
            Err(_) => {
                self.stop.raise();
                self.task.abort();
                Err(SqlError::time_limit(self.timeout_ms))
            }
        };
        self.ended = !matches!(step, Ok(Step::Begun { .. } | Step::Rows(_)));
        if self.ended && !self.task.is_finished() {
            // Its place is free again when the asker has the answer.
            let _ = timeout_at(self.deadline, &mut self.task).await;
        }
        step
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.stop.raise();
        self.task.abort();
    }
}

async fn start(
    api: &Arc<Api>,
    caller: &Caller,
    limits: Limits,
    plan: Planner,
    addition: Option<Arc<dyn Addition>>,
) -> Result<QueryAnswer, SqlError> {
    let sight = api.sight(caller);
    let deadline = Instant::now() + Duration::from_millis(limits.timeout_ms);
    let slot = api
        .slots
        .take(&caller.tenant_id, &api.settings.sql, deadline)
        .await?;
    let (sender, steps) = mpsc::channel(api.settings.sql.queue_batches.max(1));
    let inner = Arc::clone(api);
    let stop = StopSign::default();
    let sign = stop.clone();
    let task = api.query_runtime.spawn(async move {
        let _slot = slot;
        let added = addition.as_deref();
        let work = Box::pin(compute(&inner, &sight, limits, plan, &sender, &sign, added));
        let error = match timeout_at(deadline, work).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => SqlError::time_limit(limits.timeout_ms),
        };
        // A reader that is gone or at its deadline learns it without this.
        let _ = timeout_at(deadline + Duration::from_secs(1), sender.send(Err(error))).await;
    });
    let mut rows = Rows {
        steps,
        task,
        stop,
        deadline,
        timeout_ms: limits.timeout_ms,
        ended: false,
    };
    match rows.step().await? {
        Step::Begun { freshness, schema } => Ok(QueryAnswer {
            freshness,
            schema,
            truncated: false,
            rows,
        }),
        Step::Rows(_) | Step::Ended { .. } => Err(SqlError::internal("a query did not begin")),
    }
}

async fn compute(
    api: &Arc<Api>,
    sight: &Arc<Sight>,
    limits: Limits,
    plan: Planner,
    sender: &Sender<Result<Step, SqlError>>,
    stop: &StopSign,
    addition: Option<&dyn Addition>,
) -> Result<(), SqlError> {
    let session = session::open(api, sight, addition).await?;
    let mut plan = plan(&session).await?;
    let read = tables_with_people(&plan);
    if !read.is_empty() {
        api.audit
            .note(&sight.caller, AuditAction::Read, "sql", &read.join(", "), "");
    }
    if limits.cut {
        plan = first_rows(plan, limits.rows)?;
    }
    let physical = stoppable(session.state.create_physical_plan(&plan).await?, stop)?;
    let task = TaskContext::from(&session.state).with_runtime(Arc::clone(&session.runtime));
    let mut stream = execute_stream(physical, Arc::new(task))?;
    let shape = OutputShape::of(&stream.schema());
    let begun = Step::Begun {
        freshness: session.freshness(),
        schema: Arc::clone(&shape.schema),
    };
    if sender.send(Ok(begun)).await.is_err() {
        return Ok(());
    }
    let mut left = limits.rows;
    let mut truncated = false;
    while let Some(batch) = stream.next().await {
        let mut batch = shape.apply(&batch?)?;
        if batch.num_rows() > left {
            if !limits.cut {
                return Err(SqlError::row_limit(limits.rows));
            }
            truncated = true;
            batch = batch.slice(0, left);
        }
        left -= batch.num_rows();
        for from in (0..batch.num_rows()).step_by(limits.slice_rows) {
            let part = batch.slice(from, limits.slice_rows.min(batch.num_rows() - from));
            if sender.send(Ok(Step::Rows(part))).await.is_err() {
                return Ok(());
            }
        }
        if truncated {
            break;
        }
    }
    let _ = sender.send(Ok(Step::Ended { truncated })).await;
    Ok(())
}

/// Tables of a query that hold rows about single people, sorted. Tables that only count or describe are left out.
fn tables_with_people(plan: &LogicalPlan) -> Vec<String> {
    const OTHERS: [&str; 3] = ["event_counts", "table_columns", "duplicate_companies"];
    let mut tables = std::collections::BTreeSet::new();
    // Walking a plan does not fail when what is called for each node does not.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let catalogue = matches!(
                scan.table_name.schema(),
                Some("information_schema" | "pg_catalog")
            );
            let name = scan.table_name.table();
            if !catalogue && !OTHERS.contains(&name) {
                tables.insert(name.to_owned());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    tables.into_iter().collect()
}

/// A query of which no more than its first rows are asked for, and whether there are more: what sorts them need not sort the
/// others. Statements that are no query stay as they are.
fn first_rows(plan: LogicalPlan, rows: usize) -> Result<LogicalPlan, SqlError> {
    let is_query = matches!(
        plan,
        LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::TableScan(_)
    );
    if !is_query {
        return Ok(plan);
    }
    let cut = LogicalPlanBuilder::from(plan).limit(0, Some(rows.saturating_add(1)))?;
    Ok(cut.build()?)
}

async fn plan_sql(session: &TenantSession, sql: &str) -> Result<LogicalPlan, SqlError> {
    if sql.trim().is_empty() {
        return Err(SqlError::user("sql_syntax", "the query is empty").hint("send a SELECT"));
    }
    let dialect = session.state.config_options().sql_parser.dialect;
    let statement = session.state.sql_to_statement(sql, &dialect)?;
    plan_statement(session, statement).await
}

/// The plan of a statement that reads; anything else is refused, before and after planning.
async fn plan_statement(session: &TenantSession, statement: Statement) -> Result<LogicalPlan, SqlError> {
    only_reads(&statement)?;
    session.prepare(&statement).await?;
    let plan = session.state.statement_to_plan(statement).await?;
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)?;
    Ok(plan)
}

/// A plan with the values of its parameters.
fn bound(plan: LogicalPlan, params: Option<ParamValues>) -> Result<LogicalPlan, SqlError> {
    match params {
        Some(params) => Ok(plan.with_param_values(params)?),
        None => Ok(plan),
    }
}

/// Statements that could ever read; the plan is checked again afterwards.
fn only_reads(statement: &Statement) -> Result<(), SqlError> {
    let reads = match statement {
        Statement::Statement(inner) => matches!(
            &**inner,
            ast::Statement::Query(_)
                | ast::Statement::Explain { .. }
                | ast::Statement::ExplainTable { .. }
                | ast::Statement::ShowTables { .. }
                | ast::Statement::ShowColumns { .. }
                | ast::Statement::ShowFunctions { .. }
        ),
        Statement::Explain(explain) => return only_reads(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    };
    if reads {
        return Ok(());
    }
    let text = statement.to_string();
    let verb = text.split_whitespace().next().unwrap_or("this").to_uppercase();
    Err(SqlError::read_only(&verb))
}

fn parameter(value: &Value) -> Result<ScalarValue, SqlError> {
    match value {
        Value::Null => Ok(ScalarValue::Null),
        Value::Bool(flag) => Ok(ScalarValue::from(*flag)),
        Value::String(text) => Ok(ScalarValue::from(text.as_str())),
        Value::Number(number) => number
            .as_i64()
            .map(ScalarValue::from)
            .or_else(|| number.as_f64().map(ScalarValue::from))
            .ok_or_else(|| SqlError::user("bad_parameter", format!("cannot use {number} as a parameter"))),
        Value::Array(_) | Value::Object(_) => Err(SqlError::user(
            "bad_parameter",
            "a parameter is null, a boolean, a number or a text",
        )
        .hint("pass lists as several parameters: IN ($1, $2)")),
    }
}
