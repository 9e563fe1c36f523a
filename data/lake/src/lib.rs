//! Delta tables of events and score changes, with journal positions.
//!
//! Reading order follows a batch: it is delivered (`consumer`) into the hot tail (`tail`), encoded (`encode`),
//! committed with its position (`commit`, `log`), and read again as one cut (`cut`). Around that: `compaction`,
//! `retention`, `vacuum`, and the loop that runs them (`maintenance`).
#![doc = include_str!("../README.md")]

mod settings;

mod error;
mod layout;
mod paths;

mod consumer;
mod tail;
mod watermark;

mod encode;
mod log;
mod sorted;
mod table;

mod commit;
mod cut;
mod files;

mod compaction;
mod erasure;
mod maintenance;
mod retention;
mod rewrite;
mod vacuum;

mod lake;

pub use erasure::{RewriteReport, Rewriter};
pub use error::LakeError;
pub use lake::Lake;
pub use maintenance::CheckpointReport;
pub use rewrite::{CompactionReport, RetentionReport};
pub use settings::LakeSettings;
pub use vacuum::VacuumReport;

#[cfg(test)]
mod tests;
