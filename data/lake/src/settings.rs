//! The numbers of the lake.

use serde::{Deserialize, Serialize};

use crate::error::LakeError;

/// Limits and rhythms of the lake; the same for both tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeSettings {
    /// Longest time rows wait in the tail for their commit.
    pub commit_interval_ms: u64,
    /// Rows in the tail that start a commit at once, and about the most that one commit takes.
    pub commit_rows: usize,
    /// Memory of the tail that starts a commit at once.
    pub commit_bytes: usize,
    /// Longest time a position without rows waits for a commit of its own.
    pub idle_commit_interval_ms: u64,
    /// Rows in the tail from which deliveries wait (back-pressure).
    pub tail_max_rows: usize,
    /// Memory of the tail from which deliveries wait.
    pub tail_max_bytes: usize,
    /// Longest wait of a delivery for room in the tail.
    pub deliver_wait_ms: u64,
    /// Longest wait of a cut until the tail holds everything acknowledged.
    pub cut_wait_ms: u64,
    /// How often one commit is tried when another writer takes its version.
    pub commit_attempts: u32,
    /// First pause after a failed commit; doubles up to `retry_max_ms`.
    pub retry_initial_ms: u64,
    /// Longest pause between failed commits.
    pub retry_max_ms: u64,
    /// Rows of a Parquet row group.
    pub row_group_rows: usize,
    /// Zstandard level of Parquet pages, 1 to 22.
    pub zstd_level: i32,
    /// Pause between rounds of maintenance.
    pub maintain_interval_ms: u64,
    /// Fewest small files that are worth rewriting together; at least 2.
    pub compact_min_files: usize,
    /// Most files rewritten together.
    pub compact_max_files: usize,
    /// Rows a compacted file should have; bounds the memory of one compaction.
    pub target_file_rows: u64,
    /// Bytes a compacted file should have.
    pub target_file_bytes: u64,
    /// Age by event time past which rows go; `None` keeps everything.
    pub retention_days: Option<u32>,
    /// How far a file's oldest row may pass the retention before the file is rewritten.
    pub retention_slack_days: u32,
    /// Pause between rounds of retention.
    pub retention_interval_ms: u64,
    /// How long a removed file stays for readers that pinned it.
    pub removed_file_retention_ms: u64,
    /// How old a file that no commit names must be before it is deleted.
    pub orphan_retention_ms: u64,
    /// Pause between rounds of vacuum.
    pub vacuum_interval_ms: u64,
    /// Commits between Delta checkpoints; bounds how many log entries an open reads.
    pub checkpoint_commits: u64,
    /// How long log entries older than a checkpoint stay.
    pub log_retention_ms: u64,
}

impl Default for LakeSettings {
    fn default() -> Self {
        Self {
            commit_interval_ms: 2_000,
            commit_rows: 500_000,
            commit_bytes: 256 << 20,
            idle_commit_interval_ms: 60_000,
            tail_max_rows: 4_000_000,
            tail_max_bytes: 768 << 20,
            deliver_wait_ms: 30_000,
            cut_wait_ms: 10_000,
            commit_attempts: 8,
            retry_initial_ms: 200,
            retry_max_ms: 10_000,
            row_group_rows: 131_072,
            zstd_level: 1,
            maintain_interval_ms: 10_000,
            compact_min_files: 8,
            compact_max_files: 64,
            target_file_rows: 1_000_000,
            target_file_bytes: 64 << 20,
            retention_days: None,
            retention_slack_days: 7,
            retention_interval_ms: 3_600_000,
            removed_file_retention_ms: 3_600_000,
            orphan_retention_ms: 86_400_000,
            vacuum_interval_ms: 600_000,
            checkpoint_commits: 100,
            log_retention_ms: 86_400_000,
        }
    }
}

impl LakeSettings {
    /// Refuses numbers with which the lake could not work.
    ///
    /// # Errors
    /// [`LakeError::Setting`] naming the first bad setting.
    pub fn check(&self) -> Result<(), LakeError> {
        let rules: [(&'static str, bool, &'static str); 9] = [
            ("commit_rows", self.commit_rows > 0, "at least 1"),
            ("commit_attempts", self.commit_attempts > 0, "at least 1"),
            (
                "tail_max_rows",
                self.tail_max_rows >= self.commit_rows,
                "at least commit_rows",
            ),
            (
                "tail_max_bytes",
                self.tail_max_bytes >= self.commit_bytes,
                "at least commit_bytes",
            ),
            ("row_group_rows", self.row_group_rows > 0, "at least 1"),
            ("zstd_level", (1..=22).contains(&self.zstd_level), "1 to 22"),
            ("compact_min_files", self.compact_min_files >= 2, "at least 2"),
            (
                "compact_max_files",
                self.compact_max_files >= self.compact_min_files,
                "at least compact_min_files",
            ),
            ("checkpoint_commits", self.checkpoint_commits > 0, "at least 1"),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            Some((name, _, rule)) => Err(LakeError::Setting { name, rule }),
            None => Ok(()),
        }
    }
}
