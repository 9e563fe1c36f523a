//! Who is calling: the wall between doors and the key store.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a key may do. Row and field rules of people (manager, rep, ...) come on top of the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything of the tenant, keys and definitions included.
    Admin,
    /// Reads everything of the tenant.
    Revops,
    /// Sends events and reads feeds: programs.
    Service,
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant all of its reads and writes belong to.
    pub tenant_id: Arc<str>,
    /// Public part of the key, for logs and rate limits.
    pub key_id: Arc<str>,
    /// What it may do.
    pub role: Role,
}

/// Checks credentials. Implemented by the access part of `query-api`.
pub trait Authenticator: Send + Sync {
    /// The caller behind an API key; `None` for anything else, in the same time whatever the reason.
    fn authenticate(&self, key: &str) -> Option<Caller>;
}
