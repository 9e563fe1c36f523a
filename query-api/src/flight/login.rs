//! Who calls: a key as bearer, or as password in the handshake, which gives it back as bearer.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use revgauge_contract::access::{Caller, Scope};
use tonic::{Status, metadata::MetadataMap};

use crate::{access::AuditAction, api::Api};

/// User name that says: the password is the whole key.
const KEY_AS_PASSWORD: &str = "revgauge";

/// One answer for everything that is wrong with credentials.
fn refused() -> Status {
    Status::unauthenticated(
        "this needs a valid API key: send 'authorization: Bearer <key>', or the key as password",
    )
}

/// The caller of a request, and the key it gave.
pub(super) async fn caller(api: &Arc<Api>, metadata: &MetadataMap) -> Result<(Caller, String), Status> {
    let value = metadata
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let (scheme, credentials) = value
        .and_then(|value| value.split_once(' '))
        .ok_or_else(refused)?;
    let (user, key) = if scheme.eq_ignore_ascii_case("bearer") {
        (None, credentials.trim().to_owned())
    } else if scheme.eq_ignore_ascii_case("basic") {
        let text = STANDARD.decode(credentials.trim()).ok();
        let text = text
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(refused)?;
        let (user, key) = text.split_once(':').ok_or_else(refused)?;
        (Some(user.to_owned()), key.to_owned())
    } else {
        return Err(refused());
    };
    let caller = api.keys.authenticate_fresh(&key).await.ok_or_else(refused)?;
    // A user name is the key's id; as with the PostgreSQL door, `revgauge` stands for any.
    let own = |user: &String| user == KEY_AS_PASSWORD || *user == *caller.key_id;
    if user.is_some_and(|user| !own(&user)) {
        return Err(refused());
    }
    if !caller.role.is_person() || !caller.has_scope(Scope::Sql) {
        api.audit
            .note(&caller, AuditAction::Denied, "flight", "login", "");
        return Err(Status::permission_denied(
            "a service key may not read with SQL: use a key with the role revops or admin",
        ));
    }
    if api.rates.check(&caller).is_err() {
        return Err(Status::resource_exhausted(
            "this key makes more requests than it may",
        ));
    }
    Ok((caller, key))
}
