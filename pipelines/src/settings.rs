//! Numbers an operator may turn; everything else is decided in code.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Settings of layer 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PipelineSettings {
    /// Rows the engine takes in one step; larger batches are cut so that no step holds a lock for long.
    pub micro_batch_rows: usize,
    /// Threads that apply one batch to the pipelines side by side, and rebuild.
    pub apply_threads: usize,
    /// Memory for the state batches of all pipelines in bytes; past it cold batches go to `spill_dir` (P-3).
    pub state_memory_bytes: u64,
    /// Local folder of spilled state; emptied at start. A folder of the system's temporary directory when absent.
    pub spill_dir: Option<PathBuf>,
    /// Time between two checkpoints, milliseconds.
    pub checkpoint_interval_ms: u64,
    /// Events after which a checkpoint is taken even before the interval is over.
    pub checkpoint_rows: u64,
    /// Checkpoints kept; older ones and their parts are deleted.
    pub checkpoints_kept: usize,
    /// Incremental checkpoints after which a full one is taken.
    pub checkpoint_deltas: usize,
    /// Memory of all batch queries together in bytes (as-of reads, verify).
    pub query_memory_bytes: u64,
    /// Memory for rows as of past instants kept for the next question about the same, bytes; 0 keeps none.
    pub past_rows_bytes: u64,
    /// Partitions (threads) of a batch query.
    pub query_partitions: usize,
    /// How long `verify` waits for the live state to reach its cut, milliseconds.
    pub verify_wait_ms: u64,
}

impl Default for PipelineSettings {
    fn default() -> Self {
        Self {
            micro_batch_rows: 16_384,
            apply_threads: 2,
            state_memory_bytes: 512 << 20,
            spill_dir: None,
            checkpoint_interval_ms: 30_000,
            checkpoint_rows: 2_000_000,
            checkpoints_kept: 3,
            checkpoint_deltas: 20,
            query_memory_bytes: 1 << 30,
            past_rows_bytes: 128 << 20,
            query_partitions: 2,
            verify_wait_ms: 30_000,
        }
    }
}
