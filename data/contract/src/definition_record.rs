//! Which definitions were in force from when on: the record that storage keeps and scoring reads (S-2, S-3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Definition texts (TOML) by name.
pub type DefinitionTexts = BTreeMap<String, String>;

/// Everything that was in force from an instant until the next record.
///
/// Texts are kept whole, the shipped ones too, so that a score of the past is read with what was in force then,
/// whatever a later version ships.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionRecord {
    /// From when on; rises from record to record.
    pub since: Timestamp,
    /// The complete set for tenants without their own.
    pub common: DefinitionTexts,
    /// What tenants replace of it, by tenant.
    pub tenants: BTreeMap<String, DefinitionTexts>,
}
