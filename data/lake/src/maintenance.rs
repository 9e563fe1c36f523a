//! The loop that keeps the table small: compaction, retention, vacuum, checkpoints and log clean-up.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{error::LakeError, table::Table};

/// What a checkpoint and its clean-up did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckpointReport {
    /// The Delta version that the newest checkpoint holds.
    pub version: u64,
    /// Log entries deleted because a checkpoint replaced them.
    pub log_entries_deleted: usize,
}

/// When the slower rounds run next.
struct Rounds {
    retention: Instant,
    vacuum: Instant,
}

/// Maintains the tables until `shutdown` resolves. A failed step is logged and tried again the next round.
pub(crate) async fn run(tables: &[Arc<Table>], shutdown: impl Future<Output = ()> + Send) {
    let Some(pause_ms) = tables.first().map(|table| table.settings.maintain_interval_ms) else {
        return;
    };
    let rounds = async {
        let mut next = Rounds {
            retention: Instant::now(),
            vacuum: Instant::now(),
        };
        loop {
            sleep(Duration::from_millis(pause_ms)).await;
            round(tables, &mut next).await;
        }
    };
    tokio::select! {
        () = shutdown => {}
        () = rounds => {}
    }
}

async fn round(tables: &[Arc<Table>], next: &mut Rounds) {
    let now = Instant::now();
    let (retain, vacuum) = (next.retention <= now, next.vacuum <= now);
    for table in tables {
        noted(table, "compact", table.compact_once().await);
        if retain {
            noted(table, "apply the retention", table.retain_once().await);
            next.retention = now + Duration::from_millis(table.settings.retention_interval_ms);
        }
        if vacuum {
            noted(table, "vacuum", table.vacuum_once().await);
            next.vacuum = now + Duration::from_millis(table.settings.vacuum_interval_ms);
        }
        noted(table, "checkpoint", table.checkpoint_if_due().await);
    }
}

fn noted<T>(table: &Table, step: &'static str, result: Result<T, LakeError>) {
    if let Err(error) = result {
        tracing::warn!(table = table.name(), step, %error, "maintenance of the lake failed");
    }
}

impl Table {
    async fn checkpoint_if_due(&self) -> Result<(), LakeError> {
        let behind = {
            let head = self.head.lock().await;
            head.version.saturating_sub(head.checkpoint)
        };
        if behind >= self.settings.checkpoint_commits {
            self.checkpoint_once().await?;
        }
        Ok(())
    }

    /// Writes a Delta checkpoint of the newest version with the watermarks up to it, then deletes log entries past
    /// their retention.
    pub(crate) async fn checkpoint_once(&self) -> Result<CheckpointReport, LakeError> {
        // Version and watermarks are of one moment: every commit holds this lock. Writing needs it no more.
        let (version, marks, newest) = {
            let head = self.head.lock().await;
            (head.version, self.shared.lock().marks.clone(), head.checkpoint)
        };
        if version > newest {
            self.log.checkpoint(version, &marks).await?;
            let mut head = self.head.lock().await;
            head.checkpoint = head.checkpoint.max(version);
        }
        let span_us = i64::try_from(self.settings.log_retention_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let before = self.clock.now().plus_micros(-span_us);
        Ok(CheckpointReport {
            version,
            log_entries_deleted: self.log.clean(version, before).await?,
        })
    }
}
