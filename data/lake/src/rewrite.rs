//! Acts on the plans of compaction and retention: reads files, writes their replacement, commits the exchange.
//!
//! The journal position is never touched, and the exchange is one commit, so a cut sees either side whole.

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::filter_record_batch,
};
use revgauge_contract::{Timestamp, schema::time_column};

use crate::{
    compaction,
    error::LakeError,
    log::{Commit, FileFacts, NewFile, Reason},
    paths::merged_stem,
    retention,
    table::Table,
    watermark::Marks,
};

/// What a round of compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactionReport {
    /// Small files that were replaced.
    pub files_before: usize,
    /// Files they became.
    pub files_after: usize,
    /// Rows that were rewritten.
    pub rows: u64,
}

/// What a round of retention did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// Files dropped whole.
    pub files_dropped: usize,
    /// Files rewritten without their old rows.
    pub files_rewritten: usize,
    /// Rows that went.
    pub rows_removed: u64,
}

impl Table {
    /// Merges small files, group by group, as planned from the files of this moment.
    pub(crate) async fn compact_once(&self) -> Result<CompactionReport, LakeError> {
        let groups = compaction::plan(&self.shared.lock().files, &self.settings);
        let mut report = CompactionReport::default();
        for group in groups {
            let mut batches = Vec::new();
            for file in &group {
                batches.extend(self.read(&file.path, None).await?);
            }
            let rows = rows_of(&batches);
            let merged = self.write_merged(batches).await?;
            let (before, after) = (group.len(), usize::from(merged.is_some()));
            if self.exchange(Reason::Compaction, group, merged).await? {
                report.files_before += before;
                report.files_after += after;
                report.rows += rows;
            }
        }
        if report.files_before > 0 {
            tracing::info!(
                table = self.name(),
                files_before = report.files_before,
                files_after = report.files_after,
                rows = report.rows,
                "lake files compacted"
            );
        }
        Ok(report)
    }

    /// Removes rows past the retention, if there is one.
    pub(crate) async fn retain_once(&self) -> Result<RetentionReport, LakeError> {
        let mut report = RetentionReport::default();
        let Some(before) = retention::cut_off(self.clock.now(), &self.settings) else {
            return Ok(report);
        };
        let plan = retention::plan(&self.shared.lock().files, before, &self.settings);
        let (dropped, rows) = (
            plan.drop.len(),
            plan.drop.iter().map(|file| file.rows).sum::<u64>(),
        );
        if dropped > 0 && self.exchange(Reason::Retention, plan.drop, None).await? {
            report.files_dropped = dropped;
            report.rows_removed = rows;
        }
        for file in plan.rewrite {
            let batches = self.read(&file.path, None).await?;
            let kept = self.without_old(&batches, before)?;
            let removed = rows_of(&batches) - rows_of(&kept);
            if removed == 0 {
                continue;
            }
            let merged = self.write_merged(kept).await?;
            if self.exchange(Reason::Retention, vec![file], merged).await? {
                report.files_rewritten += 1;
                report.rows_removed += removed;
            }
        }
        if report.rows_removed > 0 {
            tracing::info!(
                table = self.name(),
                rows = report.rows_removed,
                files_dropped = report.files_dropped,
                files_rewritten = report.files_rewritten,
                "rows past the retention removed"
            );
        }
        Ok(report)
    }

    fn without_old(&self, batches: &[RecordBatch], before: Timestamp) -> Result<Vec<RecordBatch>, LakeError> {
        let keep = |batch: &RecordBatch| match time_column(batch, self.layout.time) {
            Some(times) => {
                let young: BooleanArray = times
                    .iter()
                    .map(|at| Some(at.is_none_or(|at| at >= before.0)))
                    .collect();
                filter_record_batch(batch, &young)
            }
            None => Ok(batch.clone()),
        };
        let kept: Result<Vec<_>, _> = batches.iter().map(keep).collect();
        kept.map_err(|source| LakeError::Batch {
            table: self.name(),
            source,
        })
    }

    pub(crate) async fn write_merged(&self, batches: Vec<RecordBatch>) -> Result<Option<NewFile>, LakeError> {
        if rows_of(&batches) == 0 {
            return Ok(None);
        }
        let encoded = self.encode(batches).await?;
        let stem = merged_stem(&encoded.bytes);
        let facts = FileFacts {
            size: encoded.bytes.len() as u64,
            rows: encoded.rows,
            times: encoded.times,
            path: self.put(&stem, encoded.bytes).await?,
        };
        Ok(Some(NewFile {
            facts,
            stats: encoded.stats,
        }))
    }

    pub(crate) async fn exchange(
        &self,
        reason: Reason,
        removes: Vec<FileFacts>,
        merged: Option<NewFile>,
    ) -> Result<bool, LakeError> {
        let commit = Commit {
            reason,
            adds: merged.into_iter().collect(),
            removes,
            advance: None,
            marks: Marks::default(),
        };
        let mut head = self.head.lock().await;
        self.commit(&mut head, &commit).await
    }
}

fn rows_of(batches: &[RecordBatch]) -> u64 {
    batches.iter().map(|batch| batch.num_rows() as u64).sum()
}
