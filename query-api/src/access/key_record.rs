//! The stored form of keys: one JSON object holding all of them, numbered and never overwritten.

use revgauge_contract::{
    Timestamp,
    access::{Rights, Role},
};
use serde::{Deserialize, Serialize};

use super::scram::ScramVerifier;

/// Version of [`KeyFile`].
pub(super) const FORMAT: u32 = 1;

/// Content of `access/keys-<version>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeyFile {
    /// [`FORMAT`] at the time of writing.
    pub(super) format: u32,
    /// Every key ever made that was not forgotten, oldest first.
    pub(super) keys: Vec<KeyRecord>,
}

impl Default for KeyFile {
    fn default() -> Self {
        Self {
            format: FORMAT,
            keys: Vec::new(),
        }
    }
}

/// One key as stored. The secret itself is not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeyRecord {
    pub(super) key_id: String,
    pub(super) tenant_id: String,
    pub(super) role: Role,
    #[serde(default)]
    pub(super) rights: Rights,
    pub(super) name: String,
    pub(super) created_at: Timestamp,
    #[serde(default)]
    pub(super) expires_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) revoked_at: Option<Timestamp>,
    /// SHA-256 of the key text in hexadecimal.
    pub(super) sha256: String,
    pub(super) scram: ScramVerifier,
}

impl KeyRecord {
    /// The public side.
    pub(super) fn info(&self) -> KeyInfo {
        KeyInfo {
            key_id: self.key_id.clone(),
            tenant_id: self.tenant_id.clone(),
            role: self.role,
            rights: self.rights.clone(),
            name: self.name.clone(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
        }
    }
}

/// What may be shown of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyInfo {
    /// Public part of the key.
    pub key_id: String,
    /// Whose.
    pub tenant_id: String,
    /// What it may do.
    pub role: Role,
    /// Whom it stands for and what it was narrowed to.
    pub rights: Rights,
    /// For people.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused, if ever.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// Object path of a version.
pub(super) fn path_of(version: u64) -> object_store::path::Path {
    object_store::path::Path::from(format!("access/keys-{version:020}.json"))
}

/// Version of an object path; `None` when the object is something else.
pub(super) fn version_of(path: &object_store::path::Path) -> Option<u64> {
    path.filename()?
        .strip_prefix("keys-")?
        .strip_suffix(".json")?
        .parse()
        .ok()
}
