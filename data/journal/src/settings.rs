//! Limits of the journal and its readers. Every queue, cache and retry has one.

use serde::{Deserialize, Serialize};

/// How the bodies of journal objects are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4 frames: half of Zstandard's processor time, four times its bytes (`benches/append.rs`).
    Lz4,
    /// Zstandard level 1: under 1 us an event, and less to sync, send and keep.
    #[default]
    Zstd,
}

/// Limits of one journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalSettings {
    /// Rows that may wait for their commit; one more is answered with `Limit`.
    pub queue_rows: usize,
    /// Bytes that may wait for their commit.
    pub queue_bytes: usize,
    /// Rows at which an object is full; a single larger batch still makes one object.
    pub object_rows: usize,
    /// Bytes (before compression) at which an object is full.
    pub object_bytes: usize,
    /// Rows waiting at which the next object is encoded while the one before is still being written.
    pub encode_ahead_rows: usize,
    /// Compression of the bodies.
    pub compression: Compression,
    /// Bytes of recently written batches kept in memory for the readers.
    pub cache_bytes: usize,
    /// Tries to write one object before its callers are told that the store fails.
    pub write_attempts: u32,
    /// First wait between two tries, milliseconds; doubles, with jitter.
    pub retry_initial_ms: u64,
    /// Longest wait between two tries, milliseconds.
    pub retry_max_ms: u64,
    /// Positions lost to another writer at open before giving up.
    pub claim_attempts: u32,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            queue_rows: 400_000,
            queue_bytes: 256 << 20,
            object_rows: 65_536,
            object_bytes: 32 << 20,
            encode_ahead_rows: 4_096,
            compression: Compression::Zstd,
            cache_bytes: 64 << 20,
            write_attempts: 6,
            retry_initial_ms: 50,
            retry_max_ms: 2_000,
            claim_attempts: 100,
        }
    }
}

/// How long and how many ids are remembered (P-1).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DedupSettings {
    /// Arrival time over which a repeated id is recognised, hours.
    pub horizon_hours: u64,
    /// Ids remembered at most; the oldest go first. About 15 bytes each.
    pub max_ids: u64,
    /// Ids after which the checkpoint is saved, whatever the time: bounds the memory waiting for it.
    pub checkpoint_ids: usize,
    /// Ids in one checkpoint object at most (14 bytes each).
    pub run_ids: usize,
}

impl Default for DedupSettings {
    fn default() -> Self {
        Self {
            horizon_hours: 7 * 24,
            max_ids: 50_000_000,
            checkpoint_ids: 1_000_000,
            run_ids: 4_000_000,
        }
    }
}

/// How the pump reads, retries and trims.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PumpSettings {
    /// Objects read and decoded ahead of their delivery.
    pub read_ahead_objects: usize,
    /// Deduplicated batches waiting for delivery.
    pub deliver_ahead_batches: usize,
    /// First wait before a failed read or delivery is repeated, milliseconds; doubles, with jitter.
    pub retry_initial_ms: u64,
    /// Longest wait before a repetition, milliseconds.
    pub retry_max_ms: u64,
    /// Positions between two dedup checkpoints at most.
    pub checkpoint_positions: u64,
    /// Time between two dedup checkpoints, milliseconds.
    pub checkpoint_every_ms: u64,
    /// Time between two attempts to trim the journal, milliseconds.
    pub trim_every_ms: u64,
}

impl Default for PumpSettings {
    fn default() -> Self {
        Self {
            read_ahead_objects: 4,
            deliver_ahead_batches: 2,
            retry_initial_ms: 20,
            retry_max_ms: 5_000,
            checkpoint_positions: 10_000,
            checkpoint_every_ms: 15_000,
            trim_every_ms: 5_000,
        }
    }
}

/// Limits of feed reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedSettings {
    /// Entries in one page at most, whatever is asked for.
    pub page_entries: usize,
    /// Objects read for one page at most; a page of a quiet tenant may be empty and still move its cursor.
    pub page_objects: usize,
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self {
            page_entries: 10_000,
            page_objects: 256,
        }
    }
}

/// Limits of dead letters.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetterSettings {
    /// Letters kept per tenant; past it the oldest go, counted.
    pub max_letters_per_tenant: u64,
    /// Letters in one object at most.
    pub object_letters: usize,
}

impl Default for DeadLetterSettings {
    fn default() -> Self {
        Self {
            max_letters_per_tenant: 10_000,
            object_letters: 1_000,
        }
    }
}
