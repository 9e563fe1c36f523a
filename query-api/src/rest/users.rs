//! People who sign in to the dashboards, over REST, for administrators of the tenant.

use std::sync::Arc;

use axum::{
    Extension,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    response::Response,
};
use revgauge_contract::access::{Caller, Rights};
use serde::Deserialize;

use super::{
    arguments::json_body,
    records::{answer, value},
};
use crate::{access::UserRole, api::Api, problem::Problem, web::sign_in_path};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserRequest {
    login: String,
    password: String,
    role: UserRole,
    #[serde(default)]
    rights: Rights,
}

/// `GET /v1/users`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let users = value(api.users.list(&caller.tenant_id))?;
    Ok(answer(&api.freshness(&caller.tenant_id), [("items", users)]))
}

/// `POST /v1/users`
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let wanted: UserRequest = json_body(body)?;
    let users = &api.users;
    let user = users
        .create_with(
            &caller.tenant_id,
            wanted.role,
            wanted.rights,
            &wanted.login,
            &wanted.password,
        )
        .await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("user", value(user)?)],
    ))
}

/// `DELETE /v1/users/{login}`
pub(super) async fn end(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(login): Path<String>,
) -> Result<Response, Problem> {
    let user = api.users.end(&caller.tenant_id, &login).await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("user", value(user)?)],
    ))
}

/// `POST /v1/sign-in-links`
pub(super) async fn sign_in_link(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let path = value(sign_in_path(&api, &caller))?;
    Ok(answer(&api.freshness(&caller.tenant_id), [("path", path)]))
}
