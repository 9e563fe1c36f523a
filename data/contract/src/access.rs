//! Who is calling: the wall between doors and the key store.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{error::Failure, score::EntityKind};

/// What a caller is. Which rows and fields a role sees is a setting of the doors; the names are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything of the tenant, keys and definitions included.
    Admin,
    /// Reads the records of its people and those without owner, answers suggestions.
    Manager,
    /// Reads its own records.
    Rep,
    /// Reads everything of the tenant.
    Revops,
    /// Sends events and reads feeds: programs.
    Service,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Manager, Self::Rep, Self::Revops, Self::Service];

    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Manager => "manager",
            Self::Rep => "rep",
            Self::Revops => "revops",
            Self::Service => "service",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Whether callers of this role are people or their tools, rather than programs.
    #[must_use]
    pub const fn is_person(self) -> bool {
        !matches!(self, Self::Service)
    }
}

/// A part of what a role may do; a key may be made for some parts only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Sends events.
    Ingest,
    /// Reads records, scores, alerts and reports.
    Read,
    /// Asks in SQL, over any protocol.
    Sql,
    /// Reads the score feed.
    Feed,
    /// Keys, users, replays, erasure, audit log.
    Admin,
}

/// Whom a caller stands for, and what it was narrowed to. The default is a caller that stands for nobody and may do all
/// that its role may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rights {
    /// Id of the CRM user it stands for: its records are those this user owns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Team whose records it sees, where its role sees by team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Territory whose records it sees, where its role sees by territory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub territory: Option<String>,
    /// What it was narrowed to; everything of its role when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
    /// Requests a second of its own; the setting of the doors when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant all of its reads and writes belong to.
    pub tenant_id: Arc<str>,
    /// Public part of the key, for logs and rate limits.
    pub key_id: Arc<str>,
    /// What it is.
    pub role: Role,
    /// Whom it stands for and what it was narrowed to.
    pub rights: Arc<Rights>,
}

impl Caller {
    /// A caller that stands for nobody and is narrowed to nothing.
    #[must_use]
    pub fn new(tenant_id: &str, key_id: &str, role: Role) -> Self {
        Self {
            tenant_id: Arc::from(tenant_id),
            key_id: Arc::from(key_id),
            role,
            rights: Arc::default(),
        }
    }

    /// The same caller with rights of its own.
    #[must_use]
    pub fn with_rights(self, rights: Rights) -> Self {
        Self {
            rights: Arc::new(rights),
            ..self
        }
    }

    /// Whether its key was made for this part of what its role may do.
    #[must_use]
    pub fn has_scope(&self, scope: Scope) -> bool {
        let scopes = self.rights.scopes.as_ref();
        scopes.is_none_or(|scopes| scopes.contains(&scope))
    }
}

/// One of our people as the CRM knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Colleague {
    /// Id of the CRM user.
    pub user_id: String,
    /// Full name.
    pub name: Option<String>,
    /// What the CRM calls its role or title.
    pub role: Option<String>,
    /// Whom it reports to.
    pub manager_id: Option<String>,
    /// Its team.
    pub team: Option<String>,
    /// Its territory.
    pub territory: Option<String>,
}

/// A contact, account or deal and who has it, as known now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// What it is.
    pub entity_kind: EntityKind,
    /// Every key of it: ids, merged ids, mail addresses, domains.
    pub keys: Vec<Arc<str>>,
    /// CRM user who owns it.
    pub owner_id: Option<String>,
    /// Team the record itself names.
    pub team: Option<String>,
    /// Territory the record itself names.
    pub territory: Option<String>,
}

/// Tells who has what, for row rules. Implemented by `models`.
#[async_trait]
pub trait Ownership: Send + Sync {
    /// The tenant's own people as the CRM knows them now, with whom each reports to.
    ///
    /// # Errors
    /// What the statistics met.
    async fn colleagues(&self, tenant_id: &str) -> Result<Vec<Colleague>, Failure>;

    /// The contacts, accounts and deals that `keep` keeps. Costs one pass over all of the tenant's.
    ///
    /// # Errors
    /// What the statistics met.
    async fn owned(
        &self,
        tenant_id: &str,
        keep: &(dyn for<'a> Fn(&'a Owned) -> bool + Send + Sync),
    ) -> Result<Vec<Owned>, Failure>;
}

/// Checks credentials. Implemented by the access part of `query-api`.
pub trait Authenticator: Send + Sync {
    /// The caller behind an API key; `None` for anything else, in the same time whatever the reason.
    fn authenticate(&self, key: &str) -> Option<Caller>;
}
