//! `POST /v1/sql`.

use std::sync::Arc;

use axum::{
    Extension,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use revgauge_contract::access::Caller;
use serde::Deserialize;
use serde_json::Value;

use super::{
    encode::{Format, respond},
    run::{SqlRequest, open_sql},
};
use crate::{api::Api, problem::Problem, rest::body_bytes};

/// The JSON form of the request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlBody {
    sql: String,
    #[serde(default)]
    params: Vec<Value>,
    format: Option<String>,
    limit_rows: Option<usize>,
    timeout_ms: Option<u64>,
}

pub(crate) async fn post_sql(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (request, format) = ask(&headers, body)?;
    let answer = open_sql(&api, &caller, request).await?;
    respond(answer, format, api.settings.sql.hold_back_bytes).await
}

/// The query of a request and the form its answer is wanted in.
pub(crate) fn ask(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(SqlRequest, Format), Problem> {
    let body = read_body(headers, &body_bytes(body)?)?;
    let format = format_of(headers, body.format.as_deref())?;
    let request = SqlRequest {
        sql: body.sql,
        params: body.params,
        limit_rows: body.limit_rows,
        timeout_ms: body.timeout_ms,
    };
    Ok((request, format))
}

fn read_body(headers: &HeaderMap, bytes: &[u8]) -> Result<SqlBody, Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let is_json =
        kind.is_some_and(|kind| kind.contains("json")) || bytes.trim_ascii_start().starts_with(b"{");
    if is_json {
        return serde_json::from_slice(bytes).map_err(|error| {
            Problem::bad("bad_body", format!("cannot read the request as JSON: {error}")).hint(
                "send {\"sql\": \"...\", \"params\": [], \"format\": \"json\", \"limit_rows\": 100, \
                 \"timeout_ms\": 1000}, or the SQL itself as text/plain",
            )
        });
    }
    let sql = std::str::from_utf8(bytes)
        .map_err(|error| Problem::bad("bad_body", format!("the query is not UTF-8: {error}")))?;
    Ok(SqlBody {
        sql: sql.to_owned(),
        params: Vec::new(),
        format: None,
        limit_rows: None,
        timeout_ms: None,
    })
}

fn format_of(headers: &HeaderMap, asked: Option<&str>) -> Result<Format, Problem> {
    if let Some(name) = asked {
        return Format::named(name).ok_or_else(|| {
            Problem::bad("bad_format", format!("no format '{name}'"))
                .hint("formats: json, ndjson, csv, arrow")
        });
    }
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("*/*");
    Format::accepted(accept).ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "bad_format",
            format!("nothing of '{accept}' can be given"),
        )
        .hint(
            "accept application/json, application/x-ndjson, text/csv or application/vnd.apache.arrow.stream",
        )
    })
}
