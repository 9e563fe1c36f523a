//! Layer 1: streaming SQL pipelines and the incremental engine that runs them.
//!
//! Reading order: [`catalog`] (the SQL files), `plan` (cutting them), `engine` (incremental state), [`runtime`] (all
//! of them in journal order), `checkpoint`, then the readers: [`tables`], [`statistics`] (and the `replays` it keeps), [`verify`], [`explain`];
//! [`arroyo`] writes the same SQL as a program for a cluster.
#![doc = include_str!("../README.md")]

pub mod arroyo;
mod batch;
pub mod catalog;
mod checkpoint;
mod engine;
pub mod error;
pub mod explain;
#[cfg(test)]
mod golden;
mod plan;
mod replays;
pub mod runtime;
pub mod settings;
pub mod statistics;
pub mod tables;
#[cfg(test)]
mod testing;
pub mod verify;

pub use catalog::Pipeline;
pub use checkpoint::{CompanionCheckpoints, CompanionDraft, CompanionManifest};
pub use engine::StateStatistics;
pub use error::PipelineError;
pub use runtime::Runtime;
pub use settings::PipelineSettings;
pub use statistics::Statistics;
