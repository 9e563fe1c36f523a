//! Takes rows out of every file for good: rewrites the files, then leaves no old version, no statistics and no log entry
//! that names what was in them (N-25).

use arrow::{array::RecordBatch, error::ArrowError};
use revgauge_contract::cut::LakeTable;

use crate::{error::LakeError, lake::Lake, log::Reason, table::Table};

/// What becomes of a batch: `None` leaves it as it is, a batch takes its place.
pub type Rewriter<'a> = &'a (dyn Fn(&RecordBatch) -> Result<Option<RecordBatch>, ArrowError> + Send + Sync);

/// What a rewrite did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RewriteReport {
    /// Files read.
    pub files_read: usize,
    /// Files that were replaced.
    pub files_rewritten: usize,
    /// Rows that went.
    pub rows_removed: u64,
}

impl Table {
    /// Rewrites the files that `change` changes, one commit a file. The tail is not touched: flush it first.
    async fn rewrite_rows(&self, change: Rewriter<'_>) -> Result<RewriteReport, LakeError> {
        let files = self.shared.lock().files.clone();
        let mut report = RewriteReport::default();
        for file in files {
            report.files_read += 1;
            let mut changed = false;
            let mut kept = Vec::new();
            let before = file.rows;
            for batch in self.read(&file.path, None).await? {
                let new = change(&batch).map_err(|source| LakeError::Batch {
                    table: self.name(),
                    source,
                })?;
                changed |= new.is_some();
                kept.push(new.unwrap_or(batch));
            }
            if !changed {
                continue;
            }
            let merged = self.write_merged(kept).await?;
            let after = merged.as_ref().map_or(0, |file| file.facts.rows);
            if !self.exchange(Reason::Erasure, vec![file], merged).await? {
                return Err(LakeError::Contended {
                    table: self.name(),
                    attempts: self.settings.commit_attempts,
                });
            }
            report.files_rewritten += 1;
            report.rows_removed += before.saturating_sub(after);
        }
        Ok(report)
    }
}

impl Lake {
    /// Rewrites every file that `change` changes, then deletes what was replaced: old files, checkpoints and log
    /// entries. For that the lake must be opened with retentions of 0, and nobody else may be reading it.
    ///
    /// Cost: reads the whole table; writes the files that change.
    ///
    /// # Errors
    /// What the store met; what was rewritten so far stays rewritten, and doing it again finishes it.
    pub async fn rewrite(&self, table: LakeTable, change: Rewriter<'_>) -> Result<RewriteReport, LakeError> {
        self.flush(table).await?;
        let report = self.table(table).rewrite_rows(change).await?;
        self.checkpoint_once(table).await?;
        self.vacuum_once(table).await?;
        Ok(report)
    }
}
