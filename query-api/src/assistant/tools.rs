//! The tools: each takes JSON, asks as the caller, and gives JSON.

use std::sync::Arc;

use revgauge_contract::{
    Timestamp, access::Caller, forecast::ForecastQuestion, score::EntityKind, statistics::Knowledge,
};
use rmcp::model::{Tool, ToolAnnotations};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    access::AuditAction,
    api::Api,
    metrics::MetricQuestion,
    problem::Problem,
    rest::{forecasts, json_objects},
    sql::{SqlRequest, run_sql, type_name},
};

/// Every tool with the form of its arguments.
pub(super) fn all() -> Vec<Tool> {
    let instant = json!({"type": "string", "format": "date-time"});
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": {"type": "string"}});
    [
        (
            "list_metrics",
            "The numbers that have a defined meaning: name, description, grain, additivity, format, dimensions.",
            json!({}),
            json!([]),
        ),
        (
            "query_metric",
            "Values of one metric, broken down by dimensions; a flow by period too, a stock as of an instant.",
            json!({
                "name": text, "by": texts,
                "every": {"type": "string", "enum": crate::metrics::PERIODS},
                "from": instant, "to": instant, "as_of": instant,
            }),
            json!(["name"]),
        ),
        (
            "describe",
            "Tables, functions and reports; with 'table', its columns with types, units and descriptions.",
            json!({"table": text}),
            json!([]),
        ),
        (
            "query_sql",
            "Rows of one read-only SQL statement.",
            json!({
                "sql": text,
                "params": {"type": "array", "description": "values of $1, $2, ...: null, booleans, numbers, texts"},
                "limit_rows": {"type": "integer", "minimum": 1},
            }),
            json!(["sql"]),
        ),
        (
            "explain_score",
            "Why the scores of a contact, account or deal are what they are; with 'since', why they changed.",
            json!({
                "entity_kind": {"type": "string", "enum": ["contact", "account", "deal"]},
                "entity_id": {"type": "string", "description": "id, mail address or domain"},
                "as_of": instant, "since": instant,
            }),
            json!(["entity_kind", "entity_id"]),
        ),
        (
            "forecast",
            "The revenue of a period, one forecast a currency: closed, by category, expected, quantiles, each method with \
             its past error, and the deals it is made of. With 'what_if', some deals seen otherwise; nothing stored changes.",
            json!({
                "period": {"type": "string", "description": "such as 2026-Q4 or 2026-11; the current quarter when absent"},
                "start": instant, "end": instant, "as_of": instant,
                "owner_ids": texts, "team_of": text, "pipeline": text, "currency": text, "without_deals": texts,
                "quota": {"type": "number", "exclusiveMinimum": 0},
                "quantiles": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}},
                "what_if": {"type": "array", "items": {
                    "type": "object", "required": ["deal_id"], "additionalProperties": false,
                    "properties": {"deal_id": text, "amount": {"type": "number"},
                                   "probability": {"type": "number", "minimum": 0, "maximum": 1}},
                }},
                "limit_rows": {"type": "integer", "minimum": 0, "description": "deals listed; 20 when absent"},
            }),
            json!([]),
        ),
    ]
    .into_iter()
    .map(|(name, description, properties, required)| {
        let schema = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        });
        let schema: Map<String, Value> = schema.as_object().cloned().unwrap_or_default();
        Tool::new(name, description, schema)
            .with_annotations(ToolAnnotations::new().read_only(true).open_world(false))
    })
    .collect()
}

/// Calls a tool; `None` when there is none by that name.
pub(super) async fn call(
    api: &Arc<Api>,
    caller: &Caller,
    name: &str,
    arguments: Value,
) -> Option<Result<Value, Problem>> {
    Some(match name {
        "list_metrics" => read::<Nothing>(arguments).map(|_| list_metrics(api)),
        "query_metric" => match read(arguments) {
            Ok(asked) => query_metric(api, caller, asked).await,
            Err(problem) => Err(problem),
        },
        "describe" => match read(arguments) {
            Ok(asked) => describe(api, caller, asked).await,
            Err(problem) => Err(problem),
        },
        "query_sql" => match read(arguments) {
            Ok(asked) => query_sql(api, caller, asked).await,
            Err(problem) => Err(problem),
        },
        "forecast" => match forecast_arguments(arguments) {
            Ok((question, limit)) => forecast(api, caller, question, limit).await,
            Err(problem) => Err(problem),
        },
        "explain_score" => match read(arguments) {
            Ok(asked) => explain_score(api, caller, asked).await,
            Err(problem) => Err(problem),
        },
        _ => return None,
    })
}

fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, Problem> {
    serde_json::from_value(arguments)
        .map_err(|error| Problem::bad("bad_parameter", format!("cannot read the arguments: {error}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn list_metrics(api: &Api) -> Value {
    json!({"metrics": api.metric_definitions.all().collect::<Vec<_>>()})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricArguments {
    name: String,
    #[serde(default)]
    by: Vec<String>,
    every: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    as_of: Option<Timestamp>,
}

async fn query_metric(api: &Arc<Api>, caller: &Caller, asked: MetricArguments) -> Result<Value, Problem> {
    let metric = api.metric_definitions.get(&asked.name)?;
    let question = MetricQuestion {
        by: asked.by,
        every: asked.every,
        from: asked.from,
        to: asked.to,
        as_of: asked.as_of,
    };
    let sql = metric.sql(&question, api.clock.now())?;
    let mut answer = rows(api, caller, sql, Vec::new(), None).await?;
    answer["metric"] = json!(metric);
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DescribeArguments {
    table: Option<String>,
}

async fn describe(api: &Arc<Api>, caller: &Caller, asked: DescribeArguments) -> Result<Value, Problem> {
    let Some(table) = asked.table else {
        let sql = "SELECT DISTINCT table_name, table_description FROM table_columns ORDER BY 1";
        return rows(api, caller, sql.to_owned(), Vec::new(), Some(usize::MAX)).await;
    };
    // `waterfall` stands for `waterfall(from, to, ...)`.
    let sql = "SELECT column_name, data_type, unit, description, table_name, table_description FROM table_columns \
               WHERE table_name = $1 OR split_part(table_name, '(', 1) = $1";
    let params = vec![Value::from(table.as_str())];
    let answer = rows(api, caller, sql.to_owned(), params, Some(usize::MAX)).await?;
    if answer["row_count"] == 0 {
        let shown: String = table.chars().take(64).collect();
        return Err(Problem::bad("unknown_table", format!("no table '{shown}'"))
            .hint("call describe without a table to list all"));
    }
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlArguments {
    sql: String,
    #[serde(default)]
    params: Vec<Value>,
    limit_rows: Option<usize>,
}

async fn query_sql(api: &Arc<Api>, caller: &Caller, asked: SqlArguments) -> Result<Value, Problem> {
    rows(api, caller, asked.sql, asked.params, asked.limit_rows).await
}

/// Rows as objects, at most as many as the setting allows.
async fn rows(
    api: &Arc<Api>,
    caller: &Caller,
    sql: String,
    params: Vec<Value>,
    limit: Option<usize>,
) -> Result<Value, Problem> {
    let settings = &api.settings.assistant;
    let request = SqlRequest {
        sql,
        params,
        limit_rows: Some(limit.unwrap_or(settings.max_rows).clamp(1, settings.max_rows)),
        timeout_ms: Some(settings.timeout_ms),
    };
    let answer = run_sql(api, caller, request).await?;
    let columns = answer
        .schema
        .fields()
        .iter()
        .map(|field| json!({"name": field.name(), "type": type_name(field.data_type())}));
    let columns: Vec<Value> = columns.collect();
    let rows = json_objects(&answer.batches)?;
    Ok(json!({
        "as_of": answer.freshness.as_of,
        "watermarks": answer.freshness.watermarks,
        "columns": columns,
        "row_count": rows.len(),
        "truncated": answer.truncated,
        "rows": rows,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainArguments {
    entity_kind: EntityKind,
    entity_id: String,
    as_of: Option<Timestamp>,
    since: Option<Timestamp>,
}

async fn explain_score(api: &Arc<Api>, caller: &Caller, asked: ExplainArguments) -> Result<Value, Problem> {
    let now = api.clock.now();
    if let Some(ahead) = asked.as_of.filter(|at| *at > now) {
        return Err(Problem::bad(
            "as_of_ahead",
            format!("as_of {ahead} is still to come"),
        ));
    }
    let at = asked.as_of.unwrap_or(now);
    let scores = api.scores(caller);
    let read = format!("{} {}", asked.entity_kind.as_str(), asked.entity_id);
    api.audit.note(caller, AuditAction::Read, "assistant", &read, "");
    let (tenant_id, kind) = (&caller.tenant_id, asked.entity_kind);
    if let Some(since) = asked.since {
        let changes = scores
            .explain_change(tenant_id, kind, &asked.entity_id, since, at)
            .await?;
        return Ok(json!({"entity_kind": kind, "entity_id": asked.entity_id, "changes": changes}));
    }
    let knowledge = asked.as_of.map_or(Knowledge::Now, Knowledge::At);
    let explained = scores
        .explain(tenant_id, kind, &asked.entity_id, at, knowledge)
        .await?;
    Ok(json!(explained))
}

/// Deals a forecast lists when the call does not say.
const FORECAST_ROWS: u64 = 20;

/// The question, and how many deals to list.
fn forecast_arguments(mut arguments: Value) -> Result<(ForecastQuestion, usize), Problem> {
    let asked = arguments
        .as_object_mut()
        .and_then(|members| members.remove("limit_rows"));
    let limit = asked.unwrap_or_else(|| json!(FORECAST_ROWS)).as_u64();
    let limit = limit
        .and_then(|limit| usize::try_from(limit).ok())
        .ok_or_else(|| {
            Problem::bad(
                "bad_parameter",
                "cannot read 'limit_rows': it is a whole number from 0",
            )
        })?;
    Ok((read(arguments)?, limit))
}

async fn forecast(
    api: &Arc<Api>,
    caller: &Caller,
    question: ForecastQuestion,
    limit: usize,
) -> Result<Value, Problem> {
    let read = format!("forecast {}", question.period.as_deref().unwrap_or("now"));
    api.audit.note(caller, AuditAction::Read, "assistant", &read, "");
    let limit = limit.min(api.settings.assistant.max_rows);
    let (freshness, members) = forecasts(api, caller, question, limit).await?;
    let mut answer = json!({"as_of": freshness.as_of, "watermarks": freshness.watermarks});
    for (name, value) in members {
        answer[name] = value;
    }
    Ok(answer)
}
