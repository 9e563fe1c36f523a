//! One table in memory: what its files hold, what its tail holds, and where the journal is.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use arrow::array::RecordBatch;
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, path::Path};
use parking_lot::Mutex;
use revgauge_contract::{
    Clock, Position, Timestamp,
    cut::{DataFile, Watermark},
};
use tokio::{
    sync::{Notify, watch},
    task::spawn_blocking,
};

use crate::{
    encode::{Encoded, encode},
    error::LakeError,
    files::decode,
    layout::Layout,
    log::{Commit, FileFacts, Loaded, Log, NewFile, store_error},
    paths::{data_file_name, table_root},
    settings::LakeSettings,
    tail::Tail,
    watermark::Marks,
};

/// The Delta log's head. Its lock is held while a commit is written, so commits of one process never race.
#[derive(Debug)]
pub(crate) struct Head {
    /// Version of the newest commit.
    pub version: u64,
    /// Version of the newest checkpoint.
    pub checkpoint: u64,
}

/// What readers see. Files, tail and position change under one lock, so every look is one cut (L-2).
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Live files.
    pub files: Vec<FileFacts>,
    /// Removed files that are not deleted yet, with the instant of removal.
    pub removed: HashMap<String, Timestamp>,
    /// Last position that the files hold.
    pub position: Position,
    /// What that position covers.
    pub covers: Position,
    /// Watermarks of the files.
    pub marks: Marks,
    /// Batches above `position`.
    pub tail: Tail,
    /// Last position that the tail holds.
    pub delivered: Position,
    /// The file of a commit that has not taken place yet, as far as we know.
    pub pending: Option<Pending>,
}

/// A file of tail rows that waits for its commit: a retry takes it, and vacuum leaves it.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Last position in it; the first is the one after the table's.
    pub last: Position,
    /// The file.
    pub file: NewFile,
}

/// One table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) layout: &'static Layout,
    pub(crate) settings: LakeSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) log: Log,
    pub(crate) head: tokio::sync::Mutex<Head>,
    pub(crate) shared: Mutex<Shared>,
    /// Last position that the tail holds.
    pub(crate) delivered: watch::Sender<Position>,
    /// Last position that the files hold.
    pub(crate) committed: watch::Sender<Position>,
    /// Wakes the committer.
    pub(crate) pushed: Notify,
    /// Positions durable in the journal, when wired.
    pub(crate) acknowledged: Mutex<Option<watch::Receiver<Position>>>,
}

impl Table {
    /// Creates or loads the table.
    pub(crate) async fn open(
        store: Arc<dyn ObjectStore>,
        layout: &'static Layout,
        settings: LakeSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, LakeError> {
        let log = Log::open(Arc::clone(&store), layout, &settings).await?;
        let loaded = log.load().await?;
        let table = Self {
            layout,
            settings,
            clock,
            store,
            log,
            head: tokio::sync::Mutex::new(Head {
                version: loaded.version,
                checkpoint: loaded.checkpoint,
            }),
            shared: Mutex::default(),
            delivered: watch::Sender::new(Position::START),
            committed: watch::Sender::new(Position::START),
            pushed: Notify::new(),
            acknowledged: Mutex::default(),
        };
        table.take_over(loaded).await?;
        tracing::info!(
            table = table.name(),
            position = table.position().0,
            files = table.shared.lock().files.len(),
            "lake table opened"
        );
        Ok(Arc::new(table))
    }

    pub(crate) fn name(&self) -> &'static str {
        self.layout.table.name()
    }

    /// Last position that the files hold.
    pub(crate) fn position(&self) -> Position {
        *self.committed.borrow()
    }

    /// Replaces the state of the files by what the log says; the tail keeps what the files do not hold.
    pub(crate) async fn take_over(&self, loaded: Loaded) -> Result<(), LakeError> {
        let marks = match loaded.marks {
            Some(marks) => marks,
            None => self.count_marks(&loaded.files).await?,
        };
        {
            let mut shared = self.shared.lock();
            if shared.position != loaded.position {
                shared.pending = None;
            }
            // A checkpoint forgets removals in time; what this process saw go it still knows.
            let live: HashSet<&str> = loaded.files.iter().map(|file| file.path.as_str()).collect();
            shared.removed.extend(loaded.removed);
            shared.removed.retain(|path, _| !live.contains(path.as_str()));
            shared.files = loaded.files;
            shared.position = loaded.position;
            shared.covers = loaded.covers;
            shared.marks = marks;
            shared.tail.drop_through(loaded.position);
            shared.delivered = shared.delivered.max(loaded.position);
        }
        self.announce();
        Ok(())
    }

    /// Takes a commit that is in the log into the state that readers see.
    pub(crate) fn apply(&self, commit: &Commit, now: Timestamp) {
        {
            let mut shared = self.shared.lock();
            let gone: HashSet<&str> = commit.removes.iter().map(|file| file.path.as_str()).collect();
            shared.files.retain(|file| !gone.contains(file.path.as_str()));
            for file in &commit.removes {
                shared.removed.insert(file.path.clone(), now);
            }
            shared
                .files
                .extend(commit.adds.iter().map(|file| file.facts.clone()));
            if let Some(advance) = commit.advance {
                shared.pending = None;
                shared.position = advance.last;
                shared.covers = advance.covers;
                shared.tail.drop_through(advance.last);
            }
            shared.marks.merge(&commit.marks);
        }
        self.announce();
    }

    /// Tells the waiting what the state is. Outside the lock: whoever wakes takes it.
    pub(crate) fn announce(&self) {
        let (delivered, committed) = {
            let shared = self.shared.lock();
            (shared.delivered, shared.position)
        };
        raise(&self.delivered, delivered);
        raise(&self.committed, committed);
    }

    /// The files as readers name them: by their path in the deployment's store.
    pub(crate) fn data_files(&self, files: &[FileFacts]) -> Vec<DataFile> {
        let files = files.iter().map(|file| DataFile {
            path: self.path_of(&file.path).to_string(),
            size: file.size,
            rows: file.rows,
        });
        files.collect()
    }

    /// A file's path in the deployment's store.
    pub(crate) fn path_of(&self, file: &str) -> Path {
        Path::from(format!("{}/{file}", table_root(self.layout.table)))
    }

    /// Watermarks of one tenant: files and tail.
    pub(crate) fn watermarks(&self, tenant_id: &str) -> BTreeMap<String, Watermark> {
        let shared = self.shared.lock();
        let mut marks = Marks::default();
        marks.merge_only(tenant_id, &shared.marks);
        shared.tail.add_marks(tenant_id, &mut marks);
        marks.into_tenant(tenant_id)
    }

    /// Writes an encoded file and gives its name.
    ///
    /// A file of that name is a copy that an earlier crash left. It is not taken: vacuum may be about to delete it.
    pub(crate) async fn put(&self, stem: &str, bytes: Bytes) -> Result<String, LakeError> {
        let name = data_file_name(stem, None);
        let path = self.path_of(&name);
        match self.create(&path, bytes.clone()).await {
            Ok(()) => return Ok(name),
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(source) => return Err(store_error("write", &path, source)),
        }
        let name = data_file_name(stem, Some(self.clock.now()));
        let path = self.path_of(&name);
        let created = self.create(&path, bytes).await;
        created.map_err(|source| store_error("write", &path, source))?;
        Ok(name)
    }

    async fn create(&self, path: &Path, bytes: Bytes) -> object_store::Result<()> {
        let put = self.store.put_opts(path, bytes.into(), PutMode::Create.into());
        put.await.map(drop)
    }

    /// Reads one file's rows, all columns or some.
    pub(crate) async fn read(
        &self,
        file: &str,
        columns: Option<&'static [&'static str]>,
    ) -> Result<Vec<RecordBatch>, LakeError> {
        self.read_path(self.path_of(file), columns).await
    }

    /// Reads one file's rows by its path in the deployment's store.
    pub(crate) async fn read_path(
        &self,
        path: Path,
        columns: Option<&'static [&'static str]>,
    ) -> Result<Vec<RecordBatch>, LakeError> {
        let bytes = async { self.store.get(&path).await?.bytes().await }.await;
        let bytes = bytes.map_err(|source| store_error("read", &path, source))?;
        let layout = self.layout;
        self.off_runtime("read a file", move || decode(bytes, layout, columns))
            .await
    }

    /// Sorts and encodes rows on a blocking thread.
    pub(crate) async fn encode(&self, batches: Vec<RecordBatch>) -> Result<Encoded, LakeError> {
        let (layout, settings) = (self.layout, self.settings.clone());
        self.off_runtime("encode a file", move || encode(&batches, layout, &settings))
            .await
    }

    async fn off_runtime<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce() -> Result<T, LakeError> + Send + 'static,
    ) -> Result<T, LakeError> {
        spawn_blocking(work).await.unwrap_or_else(|error| {
            Err(LakeError::Task {
                what,
                table: self.name(),
                reason: error.to_string(),
            })
        })
    }

    /// Counts watermarks from the files: the way back when the log no longer says them.
    async fn count_marks(&self, files: &[FileFacts]) -> Result<Marks, LakeError> {
        tracing::info!(
            table = self.name(),
            files = files.len(),
            "counting watermarks from the files"
        );
        let mut marks = Marks::default();
        for file in files {
            for batch in self.read(&file.path, Some(&Marks::COLUMNS)).await? {
                marks.merge(&Marks::of(&batch));
            }
        }
        Ok(marks)
    }
}

fn raise(sender: &watch::Sender<Position>, position: Position) {
    sender.send_if_modified(|held| {
        let higher = position > *held;
        *held = (*held).max(position);
        higher
    });
}
