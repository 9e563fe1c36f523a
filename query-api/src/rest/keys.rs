//! API keys over REST, for administrators of the tenant.

use std::sync::Arc;

use axum::{
    Extension,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use revgauge_contract::{
    access::{Caller, Rights, Role},
    time::{DAY_US, SECOND_US},
};
use serde::Deserialize;

use super::{
    arguments::{Arguments, json_body},
    records::{answer, value},
};
use crate::{access::NewKey, api::Api, problem::Problem};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRequest {
    role: Role,
    name: String,
    expires_in_days: Option<u32>,
    #[serde(default)]
    rights: Rights,
}

/// `GET /v1/keys`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let keys = api.keys.list(&caller.tenant_id);
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("items", value(keys)?)],
    ))
}

/// `POST /v1/keys`
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let wanted: KeyRequest = json_body(body)?;
    let expires_in_us = wanted.expires_in_days.map(|days| i64::from(days) * DAY_US);
    if expires_in_us == Some(0) {
        return Err(Problem::bad(
            "bad_body",
            "expires_in_days is 0: leave it out for a key that does not expire",
        ));
    }
    let key = api
        .keys
        .create_with(
            &caller.tenant_id,
            wanted.role,
            wanted.rights,
            &wanted.name,
            expires_in_us,
        )
        .await?;
    created(&api, &caller, &key)
}

/// `POST /v1/keys/{key_id}/rotate`
pub(super) async fn rotate(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
    Path(key_id): Path<String>,
) -> Result<Response, Problem> {
    let grace_seconds = arguments.parsed::<u32>("grace_seconds")?.unwrap_or(86_400);
    let grace_us = i64::from(grace_seconds) * SECOND_US;
    let key = api.keys.rotate(&caller.tenant_id, &key_id, grace_us).await?;
    created(&api, &caller, &key)
}

fn created(api: &Api, caller: &Caller, key: &NewKey) -> Result<Response, Problem> {
    let members = [("key", value(&key.info)?), ("secret", value(&key.secret)?)];
    let body = answer(&api.freshness(&caller.tenant_id), members);
    Ok((StatusCode::CREATED, body).into_response())
}

/// `DELETE /v1/keys/{key_id}`
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(key_id): Path<String>,
) -> Result<Response, Problem> {
    if *caller.key_id == key_id {
        return Err(
            Problem::new(StatusCode::CONFLICT, "own_key", "a key cannot revoke itself")
                .hint("use another admin key, so that nobody locks the tenant out by mistake"),
        );
    }
    let key = api.keys.revoke(&caller.tenant_id, &key_id).await?;
    Ok(answer(&api.freshness(&caller.tenant_id), [("key", value(key)?)]))
}
