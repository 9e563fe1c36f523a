//! Takes delivered batches into the hot tail.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use revgauge_contract::{
    Position,
    cut::{Delivered, JournalConsumer, LakeTable},
    error::Failure,
};
use tokio::time::{Instant, timeout_at};

use crate::{error::LakeError, table::Table, watermark::Marks};

/// The lake's reader of one journal.
#[derive(Debug)]
pub(crate) struct Consumer {
    table: Arc<Table>,
}

impl Consumer {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self { table }
    }
}

#[async_trait]
impl JournalConsumer for Consumer {
    fn name(&self) -> &'static str {
        match self.table.layout.table {
            LakeTable::Events => "lake-events",
            LakeTable::ScoreChanges => "lake-score-changes",
        }
    }

    /// The position in the Delta log: what only the tail holds is delivered again after a restart.
    fn resume_after(&self) -> Position {
        self.table.position()
    }

    async fn deliver(&mut self, delivered: &Arc<Delivered>) -> Result<(), Failure> {
        self.table.wait_for_room().await?;
        self.table.take_in(delivered)?;
        Ok(())
    }
}

impl Table {
    /// Waits while the tail is over its limits.
    async fn wait_for_room(&self) -> Result<(), LakeError> {
        let waited_ms = self.settings.deliver_wait_ms;
        let deadline = Instant::now() + Duration::from_millis(waited_ms);
        let mut committed = self.committed.subscribe();
        loop {
            committed.mark_unchanged();
            if self.has_room() {
                return Ok(());
            }
            let full = |_| LakeError::TailFull {
                table: self.name(),
                waited_ms,
            };
            // The sender lives in this table, so the only error is the deadline.
            let _ = timeout_at(deadline, committed.changed()).await.map_err(full)?;
        }
    }

    fn has_room(&self) -> bool {
        let shared = self.shared.lock();
        shared.tail.rows() < self.settings.tail_max_rows && shared.tail.bytes() < self.settings.tail_max_bytes
    }

    /// Appends a batch to the tail. A position that is held already is passed over: a pump that retries is safe.
    fn take_in(&self, delivered: &Arc<Delivered>) -> Result<(), LakeError> {
        let marks = match self.layout.has_sources {
            true => Marks::of(&delivered.batch),
            false => Marks::default(),
        };
        if delivered.batch.num_rows() > 0
            && delivered.batch.schema_ref().fields() != self.layout.schema.fields()
        {
            return Err(LakeError::Batch {
                table: self.name(),
                source: arrow::error::ArrowError::SchemaError("columns differ from the table's".to_owned()),
            });
        }
        {
            let mut shared = self.shared.lock();
            if delivered.position <= shared.delivered {
                return Ok(());
            }
            if delivered.position != shared.delivered.next() {
                return Err(LakeError::Gap {
                    table: self.name(),
                    after: shared.delivered,
                    got: delivered.position,
                });
            }
            shared.delivered = delivered.position;
            shared.tail.push(Arc::clone(delivered), marks, Instant::now());
        }
        self.announce();
        self.pushed.notify_one();
        Ok(())
    }
}
