//! The Delta log of one table: create, load, commit, checkpoint, clean up. The only file that speaks Delta.
//!
//! Commits are written here rather than through the library's conflict checker because the rule of this lake is
//! narrower: a commit may be tried again only while the journal position it starts from is still the table's (L-1).

mod entry;
mod marks;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use deltalake::{
    DeltaTable, DeltaTableError,
    checkpoints::{cleanup_expired_logs_for, create_checkpoint},
    kernel::transaction::TransactionError,
    logstore::{CommitOrBytes, LogStoreRef, StorageConfig, logstore_with},
    operations::create::CreateBuilder,
    protocol::SaveMode,
};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use revgauge_contract::{Position, Timestamp};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

pub(crate) use self::entry::{Advance, Commit, NewFile, Reason};
use crate::{
    error::LakeError, layout::Layout, paths::table_root, settings::LakeSettings, sorted::SortedListings,
    watermark::Marks,
};

/// What is known of one data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileFacts {
    /// Path within the table's folder.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Rows.
    pub rows: u64,
    /// First and last value of the time column, widened to milliseconds; `None` when unknown.
    pub times: Option<(Timestamp, Timestamp)>,
}

/// State of a table as its log says.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Version of the newest commit.
    pub version: u64,
    /// Version of the newest checkpoint, 0 for none.
    pub checkpoint: u64,
    /// Live files, by path.
    pub files: Vec<FileFacts>,
    /// Removed files that are not deleted yet, with the instant of removal.
    pub removed: HashMap<String, Timestamp>,
    /// Last journal position held.
    pub position: Position,
    /// What that position covers.
    pub covers: Position,
    /// Watermarks; `None` when they must be read from the files.
    pub marks: Option<Marks>,
}

/// The log of one table.
#[derive(Clone)]
pub(crate) struct Log {
    layout: &'static Layout,
    store: Arc<dyn ObjectStore>,
    log_store: LogStoreRef,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("table", &self.name())
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log over the deployment's store, and creates the table when there is none.
    pub(crate) async fn open(
        store: Arc<dyn ObjectStore>,
        layout: &'static Layout,
        settings: &LakeSettings,
    ) -> Result<Self, LakeError> {
        let delta = |what| move |source| delta_error(layout, what, source);
        // `memory` stands for a store that is handed in; paths are relative to that store's root.
        let url = format!("memory:///{}/", table_root(layout.table));
        let url = Url::parse(&url).map_err(|error| LakeError::Foreign {
            table: layout.table.name(),
            reason: format!("its location '{url}' is no url: {error}"),
        })?;
        let sorted = Arc::new(SortedListings(Arc::clone(&store)));
        let log_store =
            logstore_with(sorted, &url, StorageConfig::default()).map_err(delta("open the log"))?;
        let log = Self {
            layout,
            store,
            log_store,
        };
        let exists = log
            .log_store
            .is_delta_table_location()
            .await
            .map_err(delta("find the log"))?;
        if !exists {
            log.create(settings).await?;
        }
        Ok(log)
    }

    async fn create(&self, settings: &LakeSettings) -> Result<(), LakeError> {
        let milliseconds = |number: u64| Some(format!("interval {number} milliseconds"));
        let properties = [
            (
                "delta.checkpointInterval",
                Some(settings.checkpoint_commits.to_string()),
            ),
            (
                "delta.logRetentionDuration",
                milliseconds(settings.log_retention_ms),
            ),
            (
                "delta.deletedFileRetentionDuration",
                // Longer than ours, or checkpoints would forget removals before vacuum comes by.
                milliseconds(settings.removed_file_retention_ms + 4 * settings.vacuum_interval_ms),
            ),
            (
                "delta.dataSkippingStatsColumns",
                Some(self.layout.bounded.join(",")),
            ),
        ];
        let create = CreateBuilder::new()
            .with_log_store(Arc::clone(&self.log_store))
            .with_table_name(self.name())
            .with_columns(self.layout.delta_fields()?)
            .with_configuration(properties)
            .with_save_mode(SaveMode::Ignore);
        create
            .await
            .map_err(|source| delta_error(self.layout, "create the log", source))?;
        Ok(())
    }

    fn name(&self) -> &'static str {
        self.layout.table.name()
    }

    /// Application id of the position in the log.
    fn position_app(&self) -> String {
        format!("revgauge-journal-{}", self.name())
    }

    /// Application id of what the position covers.
    fn covers_app(&self) -> String {
        format!("revgauge-covers-{}", self.name())
    }

    /// Reads the newest state. Cost: the newest checkpoint and the commits after it.
    pub(crate) async fn load(&self) -> Result<Loaded, LakeError> {
        let delta = |source| delta_error(self.layout, "load the log", source);
        let mut table = DeltaTable::new(Arc::clone(&self.log_store));
        table.load().await.map_err(delta)?;
        let state = table.snapshot().map_err(delta)?;
        self.check_schema(state.schema().fields().map(|field| field.name().as_str()))?;
        let mut files = Vec::new();
        for view in state.log_data().iter() {
            if view.deletion_vector_descriptor().is_some() {
                return Err(
                    self.foreign("it has deletion vectors; run 'optimize' with the writer that made them")
                );
            }
            let stats = view.stats();
            files.push(FileFacts {
                path: view.path().into_owned(),
                size: u64::try_from(view.size()).unwrap_or_default(),
                rows: view.num_records().unwrap_or_default() as u64,
                times: stats.and_then(|stats| times(&stats, self.layout.time)),
            });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut removed: HashMap<String, Timestamp> = state
            .all_tombstones(self.log_store.as_ref())
            .map_ok(|view| {
                let at = Timestamp(
                    view.deletion_timestamp()
                        .unwrap_or_default()
                        .saturating_mul(1_000),
                );
                (view.path().into_owned(), at)
            })
            .try_collect()
            .await
            .map_err(delta)?;
        for file in &files {
            removed.remove(&file.path);
        }
        let position = self.transaction(&table, self.position_app()).await?;
        let covers = self.transaction(&table, self.covers_app()).await?;
        let version = state.version();
        Ok(Loaded {
            version,
            checkpoint: self.newest_checkpoint().await?,
            files,
            removed,
            position,
            covers,
            marks: self.marks(version).await?,
        })
    }

    async fn transaction(&self, table: &DeltaTable, app: String) -> Result<Position, LakeError> {
        let delta = |source| delta_error(self.layout, "read the position", source);
        let state = table.snapshot().map_err(delta)?;
        let version = state
            .transaction_version(self.log_store.as_ref(), app)
            .await
            .map_err(delta)?;
        let number = u64::try_from(version.unwrap_or_default());
        number
            .map(Position)
            .map_err(|_| self.foreign("its journal position is negative"))
    }

    fn check_schema<'a>(&self, found: impl Iterator<Item = &'a str>) -> Result<(), LakeError> {
        let found: Vec<&str> = found.collect();
        let wanted: Vec<&str> = self
            .layout
            .schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        if found == wanted {
            return Ok(());
        }
        Err(self.foreign(&format!(
            "its columns are {found:?} where {wanted:?} are expected; it was written by another version"
        )))
    }

    fn foreign(&self, reason: &str) -> LakeError {
        LakeError::Foreign {
            table: self.name(),
            reason: reason.to_owned(),
        }
    }

    /// Writes a commit as the given version. `false` when that version exists: the log must be loaded again.
    ///
    /// # Errors
    /// When the store fails; the commit may or may not have taken place, which the next load tells.
    pub(crate) async fn write(
        &self,
        version: u64,
        commit: &Commit,
        now: Timestamp,
    ) -> Result<bool, LakeError> {
        let delta = |source| delta_error(self.layout, "write a commit", source);
        let bytes = self
            .commit_bytes(commit, now)
            .map_err(|error| delta(error.into()))?;
        let entry = CommitOrBytes::LogBytes(bytes);
        match self
            .log_store
            .write_commit_entry(version, entry, Uuid::nil())
            .await
        {
            Ok(()) => Ok(true),
            Err(TransactionError::VersionAlreadyExists(_)) => Ok(false),
            Err(error) => Err(delta(error.into())),
        }
    }

    /// Writes a checkpoint of a version and the watermarks up to it.
    pub(crate) async fn checkpoint(&self, version: u64, marks: &Marks) -> Result<(), LakeError> {
        let delta = |source| delta_error(self.layout, "write a checkpoint", source);
        self.put_marks(version, marks).await?;
        let mut table = DeltaTable::new(Arc::clone(&self.log_store));
        table.load_version(version).await.map_err(delta)?;
        create_checkpoint(&table, None).await.map_err(delta)
    }

    /// Deletes log entries that a checkpoint replaced and that are older than `before`. Gives their number.
    pub(crate) async fn clean(&self, version: u64, before: Timestamp) -> Result<usize, LakeError> {
        let before_ms = before.micros().div_euclid(1_000);
        cleanup_expired_logs_for(version, self.log_store.as_ref(), before_ms, None)
            .await
            .map_err(|source| delta_error(self.layout, "clean up the log", source))
    }

    async fn newest_checkpoint(&self) -> Result<u64, LakeError> {
        let path = table_root(self.layout.table)
            .join("_delta_log")
            .join("_last_checkpoint");
        let Some(bytes) = self.get(&path).await? else {
            return Ok(0);
        };
        let hint: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(hint.get("version").and_then(Value::as_u64).unwrap_or_default())
    }

    async fn get(&self, path: &Path) -> Result<Option<Bytes>, LakeError> {
        let store = |source| store_error("read", path, source);
        match self.store.get(path).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(store)?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(store(source)),
        }
    }
}

fn delta_error(layout: &Layout, what: &'static str, source: DeltaTableError) -> LakeError {
    LakeError::Delta {
        what,
        table: layout.table.name(),
        source: Box::new(source),
    }
}

/// An error of the store on one object.
pub(crate) fn store_error(what: &'static str, path: &Path, source: object_store::Error) -> LakeError {
    LakeError::Store {
        what,
        path: path.to_string(),
        source,
    }
}

/// Bounds of the time column in Delta statistics.
fn times(stats: &str, column: &str) -> Option<(Timestamp, Timestamp)> {
    let stats: Value = serde_json::from_str(stats).ok()?;
    let bound = |key: &str| stats.get(key)?.get(column)?.as_str()?.parse::<Timestamp>().ok();
    Some((bound("minValues")?, bound("maxValues")?))
}
