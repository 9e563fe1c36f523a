//! The lake: both tables and the tasks that keep them.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use object_store::{ObjectStore, path::Path};
use parking_lot::Mutex;
use revgauge_contract::{
    Clock, Position,
    cut::{Cut, CutReader, JournalConsumer, LakeTable, Watermark},
    error::Failure,
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    consumer::Consumer,
    error::LakeError,
    layout::layout,
    maintenance::{self, CheckpointReport},
    rewrite::{CompactionReport, RetentionReport},
    settings::LakeSettings,
    table::Table,
    vacuum::VacuumReport,
};

/// Delta tables of events and score changes over one store, with their hot tails.
///
/// Dropping it without [`Self::shutdown`] is like a crash: what only the tail holds is delivered again next time.
#[derive(Debug)]
pub struct Lake {
    events: Arc<Table>,
    score_changes: Arc<Table>,
    closing: watch::Sender<bool>,
    committers: Mutex<Vec<JoinHandle<()>>>,
}

impl Lake {
    /// Creates or loads both tables under `lake/` of the store and starts committing in the background.
    ///
    /// The store must honour `PutMode::Create`, or two writers could both believe that they committed.
    ///
    /// Cost: the newest checkpoint of each table and the commits after it.
    ///
    /// # Errors
    /// [`LakeError::Setting`] for impossible settings, [`LakeError::Foreign`] when a table is not ours, else what the
    /// store met.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        settings: LakeSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, LakeError> {
        settings.check()?;
        let open = |table, settings: LakeSettings| {
            Box::pin(Table::open(
                Arc::clone(&store),
                layout(table),
                settings,
                Arc::clone(&clock),
            ))
        };
        let events = open(LakeTable::Events, settings.clone()).await?;
        let score_changes = open(LakeTable::ScoreChanges, settings).await?;
        let closing = watch::Sender::new(false);
        let committers = [&events, &score_changes]
            .map(|table| tokio::spawn(Arc::clone(table).run_committer(closing.subscribe())));
        Ok(Arc::new(Self {
            events,
            score_changes,
            closing,
            committers: Mutex::new(committers.into()),
        }))
    }

    pub(crate) fn table(&self, table: LakeTable) -> &Arc<Table> {
        match table {
            LakeTable::Events => &self.events,
            LakeTable::ScoreChanges => &self.score_changes,
        }
    }

    /// The reader that the journal's pump feeds. Each table has one journal and one pump.
    #[must_use]
    pub fn consumer(&self, table: LakeTable) -> Box<dyn JournalConsumer> {
        Box::new(Consumer::new(Arc::clone(self.table(table))))
    }

    /// Wires the positions that are durable in the journal of a table: cuts wait until the tail holds them. Without it
    /// a cut holds what was delivered.
    pub fn set_acknowledged(&self, table: LakeTable, acknowledged: watch::Receiver<Position>) {
        *self.table(table).acknowledged.lock() = Some(acknowledged);
    }

    /// Last journal position whose rows are in the table's files.
    #[must_use]
    pub fn position(&self, table: LakeTable) -> Position {
        self.table(table).position()
    }

    /// [`Self::position`] as it moves: the journal may forget what is below.
    #[must_use]
    pub fn positions(&self, table: LakeTable) -> watch::Receiver<Position> {
        self.table(table).committed.subscribe()
    }

    /// Last journal position that the table holds in files or tail.
    #[must_use]
    pub fn delivered(&self, table: LakeTable) -> Position {
        *self.table(table).delivered.borrow()
    }

    /// What the last committed batch covers ([`revgauge_contract::cut::Delivered::covers`]); kept in the Delta log.
    #[must_use]
    pub fn covers(&self, table: LakeTable) -> Position {
        self.table(table).shared.lock().covers
    }

    /// Commits everything delivered before the call, now. Gives the table's position.
    ///
    /// # Errors
    /// What the commit met; nothing is lost, the tail keeps it.
    pub async fn flush(&self, table: LakeTable) -> Result<Position, LakeError> {
        self.table(table).flush().await
    }

    /// Stops the background commits and commits what the tails hold.
    ///
    /// # Errors
    /// What the commits met; the journal still has the rows.
    pub async fn shutdown(&self) -> Result<(), LakeError> {
        self.closing.send_replace(true);
        let committers = std::mem::take(&mut *self.committers.lock());
        for committer in committers {
            committer.await.map_err(|error| LakeError::Task {
                what: "commit",
                table: "events and score_changes",
                reason: error.to_string(),
            })?;
        }
        self.events.flush().await?;
        self.score_changes.flush().await?;
        Ok(())
    }

    /// Compacts, applies the retention, vacuums, checkpoints and cleans the logs, by the settings, until `shutdown`
    /// resolves. Failures are logged and tried again.
    pub async fn maintain(&self, shutdown: impl Future<Output = ()> + Send) {
        let tables = [Arc::clone(&self.events), Arc::clone(&self.score_changes)];
        maintenance::run(&tables, shutdown).await;
    }

    /// Merges small files once. Cost: memory for `target_file_rows` rows.
    ///
    /// # Errors
    /// What the store met; the table is as before or compacted in part.
    pub async fn compact_once(&self, table: LakeTable) -> Result<CompactionReport, LakeError> {
        self.table(table).compact_once().await
    }

    /// Removes rows past the retention once.
    ///
    /// # Errors
    /// As [`Self::compact_once`].
    pub async fn retain_once(&self, table: LakeTable) -> Result<RetentionReport, LakeError> {
        self.table(table).retain_once().await
    }

    /// Deletes files that no commit names and no reader can still hold.
    ///
    /// # Errors
    /// When the store fails to list or delete.
    pub async fn vacuum_once(&self, table: LakeTable) -> Result<VacuumReport, LakeError> {
        self.table(table).vacuum_once().await
    }

    /// Writes a Delta checkpoint now and cleans the log.
    ///
    /// # Errors
    /// What the store met; the log stays readable.
    pub async fn checkpoint_once(&self, table: LakeTable) -> Result<CheckpointReport, LakeError> {
        self.table(table).checkpoint_once().await
    }

    /// Every row of a cut: files first, then the tail. For tests, exports and `doctor`; a query engine reads the files
    /// itself.
    ///
    /// # Errors
    /// As [`CutReader::cut`], and when a file cannot be read.
    pub async fn read_all(&self, table: LakeTable) -> Result<Vec<RecordBatch>, LakeError> {
        let table = self.table(table);
        let cut = table.cut().await?;
        let mut batches = Vec::new();
        for file in &cut.files {
            batches.extend(table.read_path(Path::from(file.path.as_str()), None).await?);
        }
        batches.extend(cut.tail);
        Ok(batches)
    }
}

impl Drop for Lake {
    fn drop(&mut self) {
        for committer in self.committers.get_mut() {
            committer.abort();
        }
    }
}

#[async_trait]
impl CutReader for Lake {
    async fn cut(&self, table: LakeTable) -> Result<Cut, Failure> {
        Ok(self.table(table).cut().await?)
    }

    async fn delivered(&self, table: LakeTable) -> Result<Cut, Failure> {
        Ok(self.table(table).delivered_cut())
    }

    fn watermarks(&self, tenant_id: &str) -> BTreeMap<String, Watermark> {
        self.events.watermarks(tenant_id)
    }
}
