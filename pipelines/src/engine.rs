//! Incremental aggregation: keyed state as a log of Arrow batches of accumulator state.
//!
//! Reading order: [`keys`] gives each group a number, [`log`] keeps the accumulators' states, [`state`] joins the two,
//! [`incremental`] runs a micro-batch through them, [`spill`] keeps the memory bounded.

mod entities;
mod incremental;
mod keys;
mod log;
mod segmented;
mod spill;
mod state;
mod texts;

pub(crate) use incremental::{Captured, Engine, View};
pub(crate) use spill::SpillFolder;
pub use state::StateStatistics;
