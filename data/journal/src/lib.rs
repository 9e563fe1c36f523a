//! Durable log of events on an object store.
//!
//! In the order in which an event passes: it is queued ([`journal`]), written as an object ([`mod@format`], at its
//! [`paths`]), read back, recognised when it came twice ([`dedup`]) and handed to the readers ([`pump`]). The score feed
//! is a second journal of the same kind ([`feed`]); what was refused at the door lies in [`dead_letters`], and which
//! definitions were in force from when on in [`definition_log`].
#![doc = include_str!("../README.md")]

pub mod settings;

pub mod paths;

pub mod format;

mod queue;

mod combine;

mod cache;

mod backoff;

mod recover;

mod writer;

pub mod journal;

pub mod dedup;

pub mod pump;

pub mod feed;

pub mod dead_letters;

pub mod erasure;

pub mod definition_log;

mod error;

pub use dead_letters::StoredDeadLetters;
pub use dedup::{Deduplicator, DurableDedup};
pub use definition_log::DefinitionLog;
pub use error::JournalError;
pub use feed::FeedJournal;
pub use journal::{COVERS_ITSELF, Journal};
pub use paths::JournalName;
pub use pump::Pump;
pub use settings::{
    Compression, DeadLetterSettings, DedupSettings, FeedSettings, JournalSettings, PumpSettings,
};
