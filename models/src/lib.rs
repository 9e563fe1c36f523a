//! Layer 2: definitions, scores, explanation.
#![doc = include_str!("../README.md")]

pub mod account;
pub mod changelog;
pub mod contact;
pub mod deal;
pub mod decay;
pub mod definitions;
pub mod directory;
pub mod explain;
pub mod facts;
pub mod forecast;
pub mod gather;
pub mod hierarchy;
pub mod live;
pub mod priority;
pub mod reports;
pub mod service;
pub mod text;
pub mod win;

mod assembly;
mod fingerprint;
mod kept;
mod packing;
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
