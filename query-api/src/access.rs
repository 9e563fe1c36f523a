//! Who may ask and what they see: keys, users, row rules, masks, and the wrappers every query and look-up goes through.

mod audit;
mod key_record;
mod key_store;
mod leak_proof;
mod mask;
mod oidc;
mod operator;
mod rates;
mod rules;
mod scram;
mod secret;
mod seen;
mod sight;
mod tenant_exec;
mod tenant_table;
mod user_store;
mod visible;
mod whose;

pub use audit::{AuditAction, AuditLog, AuditRecord, AuditSettings};
pub use key_record::KeyInfo;
pub use key_store::{AccessError, KeySettings, KeyStore, NewKey};
pub use oidc::{IdentityHttp, IssuerSettings, Oidc, OidcSettings};
pub use rules::{AccessSettings, Mask, RoleRule, RoleRules, Rows};
pub use scram::ScramVerifier;
pub use user_store::{UserError, UserInfo, UserRole, UserSettings, UserStore};

pub(crate) use mask::HIDDEN;
pub(crate) use oidc::KEY_PREFIX as OIDC_PREFIX;
#[cfg(test)]
pub(crate) use oidc::tests as oidc_tests;
pub(crate) use rates::Rates;
pub(crate) use seen::{SeenFeed, SeenForecasts, SeenReports, SeenScores};
pub(crate) use sight::{Sight, Sights};
pub(crate) use tenant_table::TenantTable;
