//! `POST /v1/queries`, `GET` and `DELETE /v1/queries/{id}`, `GET /v1/queries/{id}/result`: long queries, fetched later.

use std::sync::Arc;

use axum::{
    Extension,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use revgauge_contract::access::Caller;

use super::records::{answer, value};
use crate::{
    api::Api,
    problem::Problem,
    sql::{LaterQueries, ask},
};

/// Starts one; 202 with where to look.
pub(super) async fn start(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (request, format) = ask(&headers, body)?;
    let told = LaterQueries::start(&api, &caller, request, format)?;
    let place = HeaderValue::from_str(&format!("/v1/queries/{}", told.id));
    let mut response = answer(&api.freshness(&caller.tenant_id), [("query", value(told)?)]);
    *response.status_mut() = StatusCode::ACCEPTED;
    if let Ok(place) = place {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// Where one is.
pub(super) async fn look(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let told = api.later.look(&api, &caller, &id)?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("query", value(told)?)],
    ))
}

/// Its result, as of when it was computed.
pub(super) async fn result(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(api.later.result(&api, &caller, &id)?.into_response())
}

/// Ends it and forgets it.
pub(super) async fn forget(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    api.later.forget(&caller, &id)?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("forgotten", value(id)?)],
    ))
}
