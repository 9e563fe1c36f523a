//! `GET /v1/audit-log`: who read personal data, changed something or was refused.

use std::sync::Arc;

use axum::{Extension, extract::State, response::Response};
use revgauge_contract::{Timestamp, access::Caller};

use super::{
    arguments::Arguments,
    records::{answer, value},
};
use crate::{access::AuditAction, api::Api, problem::Problem};

/// Records of the tenant, newest first.
pub(super) async fn log(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
) -> Result<Response, Problem> {
    let limit = arguments.limit(&api.settings.http)?;
    let from = arguments.instant("from")?.unwrap_or(Timestamp(i64::MIN / 2));
    let to = arguments.instant("to")?.unwrap_or(Timestamp(i64::MAX / 2));
    let action = arguments.one_of("action", &["read", "change", "denied", "gap"])?;
    let actor = arguments.text("actor");
    let mut found = api.audit.read(&caller.tenant_id, from, to, usize::MAX).await?;
    found.retain(|record| {
        action.is_none_or(|action| name_of(record.action) == action)
            && actor.is_none_or(|actor| record.actor == actor)
    });
    let total = found.len();
    found.truncate(limit);
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("total", value(total)?), ("items", value(found)?)],
    ))
}

const fn name_of(action: AuditAction) -> &'static str {
    match action {
        AuditAction::Read => "read",
        AuditAction::Change => "change",
        AuditAction::Denied => "denied",
        AuditAction::Gap => "gap",
    }
}
