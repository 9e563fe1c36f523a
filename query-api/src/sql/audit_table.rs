//! The table `audit_log`, for administrators: who read personal data, changed something or was refused.

use std::sync::Arc;

use revgauge_contract::{
    Timestamp,
    access::{Caller, Role},
};

use super::{
    catalog::CatalogTable,
    object_table::{Column, Reading, Records, column},
    session::{object_table, records},
};
use crate::{access::Sight, api::Api};

const AUDIT_LOG: &[Column] = &[
    column(
        "at",
        Reading::Instant,
        &["at"],
        "when; of several equal ones, the first",
        "UTC",
    ),
    column("actor", Reading::Text, &["actor"], "key id or user:login", ""),
    column("role", Reading::Text, &["role"], "its role", ""),
    column(
        "action",
        Reading::Text,
        &["action"],
        "read, change, denied or gap",
        "",
    ),
    column(
        "door",
        Reading::Text,
        &["door"],
        "rest, sql, postgres, flight, assistant or web",
        "",
    ),
    column(
        "object",
        Reading::Text,
        &["object"],
        "path of the door, or tables of the query",
        "",
    ),
    column("detail", Reading::Text, &["detail"], "status or reason", ""),
    column(
        "times",
        Reading::Number,
        &["times"],
        "how many equal ones there were",
        "records",
    ),
];

/// Whether a caller may read the audit log of its tenant.
pub(crate) fn sees_audit(caller: &Caller) -> bool {
    caller.role == Role::Admin
}

/// The table, for who may read it.
pub(super) fn audit_table(api: &Api, sight: &Arc<Sight>) -> Option<CatalogTable> {
    if !sees_audit(&sight.caller) {
        return None;
    }
    let (audit, tenant) = (Arc::clone(&api.audit), Arc::clone(sight.tenant_id()));
    let fetch = move || -> Records {
        let (audit, tenant) = (Arc::clone(&audit), Arc::clone(&tenant));
        Box::pin(async move {
            let (from, to) = (Timestamp(i64::MIN / 2), Timestamp(i64::MAX / 2));
            records(&audit.read(&tenant, from, to, usize::MAX).await?)
        })
    };
    Some(object_table(
        "audit_log",
        "one row per read of personal data, change and refusal, for administrators",
        sight.tenant_id(),
        AUDIT_LOG,
        Arc::new(fetch),
    ))
}
