//! Layer 2: definitions, scores, explanation.
#![doc = include_str!("../README.md")]

pub mod facts;
pub mod definitions;
pub mod decay;
pub mod contact;
pub mod account;
pub mod priority;
pub mod explain;
pub mod directory;
pub mod deal;
pub mod gather;
pub mod service;
pub mod live;

mod assembly;
mod fingerprint;
#[cfg(test)]
mod sample;
mod saturation;
mod wording;
mod words;

pub use account::{AccountScores, intent_crossing, score_account};
pub use assembly::Detail;
pub use contact::{ContactScores, add_rhythm, engagement_crossing, score_contact};
pub use definitions::{DefinitionError, Definitions};
pub use explain::{RecentEvent, explain_change, split_by_events};
pub use fingerprint::{account_fingerprint, contact_fingerprint};
pub use priority::{CutOffs, cut, score_priority, tier, tier_crossing};
