//! `POST /v1/dead-letters`: rows that an import on another machine refused, kept with their bytes.

use std::sync::Arc;

use axum::{
    Extension,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    response::Response,
};
use revgauge_contract::{access::Caller, event::Refusal, intake::DeadLetter};
use serde::Deserialize;

use super::{
    arguments::json_body,
    records::{answer, value},
};
use crate::{api::Api, problem::Problem};

/// Longest place a row may be said to come from, bytes.
const MAX_SOURCE_BYTES: usize = 4_096;

/// Refused rows. Whose they are and when they came is said by the receiver.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedRows {
    items: Vec<RefusedRow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedRow {
    source: String,
    refusal: Refusal,
    body: String,
    body_is_base64: bool,
}

/// Keeps the rows durably, all or none.
pub(super) async fn keep(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let rows: RefusedRows = json_body(body)?;
    let refused_at = api.clock.now();
    let letters = rows
        .items
        .into_iter()
        .map(|row| {
            if row.source.is_empty() || row.source.len() > MAX_SOURCE_BYTES {
                return Err(Problem::bad(
                    "bad_body",
                    format!("the source of a refused row has {} bytes", row.source.len()),
                )
                .hint("give 1 to 4096 bytes, such as import:deals.csv:17"));
            }
            Ok(DeadLetter {
                tenant_id: caller.tenant_id.to_string(),
                refused_at,
                source: row.source,
                refusal: row.refusal,
                body: row.body,
                body_is_base64: row.body_is_base64,
            })
        })
        .collect::<Result<Vec<DeadLetter>, Problem>>()?;
    let kept = letters.len();
    api.status.keep_dead_letters(letters).await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("kept", value(kept)?)],
    ))
}
