//! Who may ask, and the wall between tenants: keys, their store, and the table wrapper every query goes through.

mod key_record;
mod key_store;
mod leak_proof;
mod operator;
mod scram;
mod secret;
mod tenant_exec;
mod tenant_table;
mod user_store;

pub use key_record::KeyInfo;
pub use key_store::{AccessError, KeySettings, KeyStore, NewKey};
pub use scram::ScramVerifier;
pub use tenant_table::TenantTable;
pub use user_store::{UserError, UserInfo, UserRole, UserSettings, UserStore};
