//! Answers in JSON: every one with `as_of` and `watermarks`, in the body and in headers.

use std::sync::Arc;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use datafusion::{
    arrow::{
        array::RecordBatch,
        json::{WriterBuilder, writer::JsonArray},
    },
    logical_expr::{Expr, SortExpr},
    prelude::DataFrame,
};
use revgauge_contract::{ErrorKind, Timestamp, access::Caller};
use serde_json::{Map, Value};

use crate::{
    api::Api,
    freshness::Freshness,
    problem::Problem,
    sql::{SqlError, open_frame},
};

/// An answer: freshness first, then the members.
pub(super) fn answer<const N: usize>(freshness: &Freshness, members: [(&str, Value); N]) -> Response {
    let mut body = Map::new();
    body.insert("as_of".to_owned(), serde_json::json!(freshness.as_of));
    body.insert("watermarks".to_owned(), serde_json::json!(freshness.watermarks));
    for (name, value) in members {
        body.insert(name.to_owned(), value);
    }
    let mut response = Json(body).into_response();
    freshness.stamp(response.headers_mut());
    response
}

/// Anything of ours as JSON.
pub(super) fn value(of: impl serde::Serialize) -> Result<Value, Problem> {
    serde_json::to_value(of).map_err(|error| SqlError::internal(&error.to_string()).into())
}

/// Where rows come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// A table of the session.
    Table(&'static str),
    /// `scores_as_of(instant)`.
    ScoresAsOf(Timestamp),
}

/// Rows of a source as JSON objects, filtered, ordered and cut; with them the freshness and whether there are more.
pub(super) async fn table_rows(
    api: &Arc<Api>,
    caller: &Caller,
    source: Source,
    filter: Expr,
    order: Vec<SortExpr>,
    limit: usize,
) -> Result<(Vec<Value>, Freshness, bool), Problem> {
    let query = open_frame(api, caller, limit, move |context| {
        Box::pin(async move {
            let rows = match source {
                Source::Table(name) => context.table(name).await?,
                Source::ScoresAsOf(at) => {
                    context
                        .sql(&format!("SELECT * FROM scores_as_of('{at}')"))
                        .await?
                }
            };
            // One more than asked for tells whether there is more.
            Ok::<DataFrame, SqlError>(rows.filter(filter)?.sort(order)?.limit(0, Some(limit + 1))?)
        })
    });
    let answer = query.await?.collect().await?;
    Ok((objects(&answer.batches)?, answer.freshness, answer.truncated))
}

/// Batches as JSON objects, nulls included, instants as RFC 3339.
pub(crate) fn objects(batches: &[RecordBatch]) -> Result<Vec<Value>, Problem> {
    let failed = |error: String| {
        Problem::from(revgauge_contract::error::Failure::new(
            ErrorKind::Internal,
            format!("cannot print rows: {error}"),
        ))
    };
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .with_timestamp_format("%Y-%m-%dT%H:%M:%S%.fZ".to_owned())
        .build::<_, JsonArray>(&mut bytes);
    for batch in batches {
        writer.write(batch).map_err(|error| failed(error.to_string()))?;
    }
    writer.finish().map_err(|error| failed(error.to_string()))?;
    drop(writer);
    serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))
}

/// Replaces members that hold JSON text by what the text holds.
pub(super) fn unfold(rows: &mut [Value], members: &[&str]) {
    for row in rows {
        for member in members {
            if let Some(place) = row.get_mut(member)
                && let Some(text) = place.as_str()
                && let Ok(inner) = serde_json::from_str(text)
            {
                *place = inner;
            }
        }
    }
}

/// Leaves the tenant out: the caller knows its own.
pub(super) fn strip(rows: &mut [Value]) {
    for row in rows {
        if let Some(members) = row.as_object_mut() {
            members.remove("tenant_id");
        }
    }
}
