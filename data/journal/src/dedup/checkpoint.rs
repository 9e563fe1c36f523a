//! Checkpoints of the deduplicator: immutable runs of ids, and a manifest for each checkpoint that names its runs.
//!
//! A checkpoint writes only the ids that are new since the one before, then a manifest. Small runs of like size are
//! merged eight at a time, so an id is rewritten a few times in its life and a checkpoint stays small. Several
//! manifests are kept until every reader has durably passed the older ones: a restart takes the newest one that lies
//! at or below the readers' own resume point and goes on from exactly that state.
//!
//! Both files: magic 8 bytes, version u32, CRC32 of the rest u32, then for a run `count u64` and per id
//! `key u64, shard u16, first position u64`; for a manifest JSON. Numbers are little-endian.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path};
use rand::{Rng, SeedableRng, rngs::StdRng};
use revgauge_contract::Position;
use serde::{Deserialize, Serialize};

use super::{
    Deduplicator, Fresh,
    table::{Fingerprint, SHARDS},
    window::Window,
};
use crate::{DedupSettings, JournalError, paths::DedupPaths};

const RUN_MAGIC: [u8; 8] = *b"RVGDRUN\n";
const MANIFEST_MAGIC: [u8; 8] = *b"RVGDMAN\n";
const VERSION: u32 = 1;
const PREAMBLE: usize = 16;
const ENTRY: usize = 18;
/// Runs of like size that are merged into one.
const FAN_IN: usize = 8;

/// What a manifest says; JSON on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Manifest {
    position: Position,
    key: [u64; 2],
    window: Window,
    runs: Vec<Run>,
    next_serial: u64,
}

/// One object of ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    through: Position,
    serial: u64,
    ids: usize,
}

/// A deduplicator with its checkpoints on a store.
#[derive(Debug)]
pub struct DurableDedup {
    pub(crate) dedup: Deduplicator,
    pub(crate) checkpoints: Checkpoints,
}

/// The checkpoints on the store.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    store: Arc<dyn ObjectStore>,
    paths: DedupPaths,
    settings: DedupSettings,
    manifest: Manifest,
    /// Checkpoints on the store, oldest first.
    kept: Vec<Kept>,
}

/// A checkpoint on the store; its window is left there.
#[derive(Debug, Clone)]
struct Kept {
    position: Position,
    runs: Vec<Run>,
}

impl From<&Manifest> for Kept {
    fn from(manifest: &Manifest) -> Self {
        Self {
            position: manifest.position,
            runs: manifest.runs.clone(),
        }
    }
}

/// What a checkpoint has to write; made without waiting, written beside the pump.
#[derive(Debug)]
pub(crate) struct Draft {
    position: Position,
    window: Window,
    fresh: Vec<Fresh>,
}

impl Draft {
    /// One draft of two that follow each other, after the save of the first failed.
    pub(crate) fn followed_by(mut self, later: Self) -> Self {
        self.fresh.extend(later.fresh);
        Self {
            fresh: self.fresh,
            ..later
        }
    }
}

impl Deduplicator {
    /// Takes what the next checkpoint has to write.
    pub(crate) fn draft(&mut self) -> Draft {
        Draft {
            position: self.position,
            window: self.window.clone(),
            fresh: std::mem::take(&mut self.fresh),
        }
    }
}

impl DurableDedup {
    /// Restores the newest checkpoint at or below `at_most` (the least position that any reader resumes after), else
    /// the oldest above it; begins empty with a random key from `seed` when there is none.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] or [`JournalError::TooNew`] naming the object; [`JournalError::Store`].
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        folder: Path,
        at_most: Position,
        settings: DedupSettings,
        seed: u64,
    ) -> Result<Self, JournalError> {
        let paths = DedupPaths::new(folder);
        let mut manifests = read_manifests(&store, &paths).await?;
        let chosen = match manifests
            .iter()
            .rposition(|manifest| manifest.position <= at_most)
        {
            Some(index) => Some(index),
            None if manifests.is_empty() => None,
            None => Some(0),
        };
        let Some(chosen) = chosen else {
            let key = StdRng::seed_from_u64(seed).random();
            return Ok(Self::empty(store, paths, settings, key));
        };
        // Later manifests continue from a state that is not ours any more: their positions are noted again.
        for later in manifests.drain(chosen + 1..) {
            delete(&store, &paths.manifest(later.position)).await?;
        }
        let manifest = manifests[chosen].clone();
        let mut restored = Self::empty(store, paths, settings, manifest.key);
        restored.load(&manifest).await?;
        restored.checkpoints.manifest = manifest;
        restored.checkpoints.kept = manifests.iter().map(Kept::from).collect();
        restored.checkpoints.sweep_runs().await?;
        tracing::info!(
            position = restored.dedup.position.0,
            ids = restored.dedup.ids(),
            "dedup checkpoint restored"
        );
        Ok(restored)
    }

    fn empty(store: Arc<dyn ObjectStore>, paths: DedupPaths, settings: DedupSettings, key: [u64; 2]) -> Self {
        Self {
            dedup: Deduplicator::new(&settings, key),
            checkpoints: Checkpoints {
                store,
                paths,
                settings,
                manifest: Manifest {
                    position: Position::START,
                    key,
                    window: Window::default(),
                    runs: Vec::new(),
                    next_serial: 0,
                },
                kept: Vec::new(),
            },
        }
    }

    async fn load(&mut self, manifest: &Manifest) -> Result<(), JournalError> {
        let floor = manifest.window.floor();
        for run in &manifest.runs {
            // An id that came again after the window stands in two runs; runs are in order of age, the later wins.
            for Fresh { id, first } in self.checkpoints.read_run(run).await? {
                if first > floor {
                    self.dedup.table.restore(id, first, floor);
                }
            }
        }
        self.dedup.window = manifest.window.clone();
        self.dedup.position = manifest.position;
        Ok(())
    }

    /// The deduplicator.
    #[must_use]
    pub const fn dedup(&self) -> &Deduplicator {
        &self.dedup
    }

    /// The deduplicator, to fill it from the lake when [`Deduplicator::position`] says that no checkpoint was left.
    pub const fn dedup_mut(&mut self) -> &mut Deduplicator {
        &mut self.dedup
    }

    /// Saves a checkpoint now. `settled` is the position that every reader holds durably: older checkpoints go.
    ///
    /// # Errors
    /// [`JournalError::Store`]; the state in memory is unharmed, but ids of the failed save are in no checkpoint, so
    /// the caller must not trim past the last good one and should start anew.
    pub async fn save(&mut self, settled: Position) -> Result<Position, JournalError> {
        let draft = self.dedup.draft();
        self.checkpoints.save(&draft, settled).await
    }
}

impl Checkpoints {
    /// Positions of the checkpoints that a restart can choose from, oldest first.
    pub(crate) fn positions(&self) -> Vec<Position> {
        self.kept.iter().map(|manifest| manifest.position).collect()
    }

    pub(crate) const fn settings(&self) -> &DedupSettings {
        &self.settings
    }

    /// Writes a checkpoint; may be repeated with the same draft after a failure.
    pub(crate) async fn save(&mut self, draft: &Draft, settled: Position) -> Result<Position, JournalError> {
        let mut next = Manifest {
            position: draft.position,
            window: draft.window.clone(),
            ..self.manifest.clone()
        };
        for part in draft.fresh.chunks(self.settings.run_ids.max(1)) {
            let run = self.write_run(&mut next, draft.position, part).await?;
            next.runs.push(run);
        }
        self.merge(&mut next).await?;
        let body = serde_json::to_vec(&next).map_err(|error| JournalError::Encode {
            attempt: "encode a dedup manifest",
            reason: error.to_string(),
        })?;
        let path = self.paths.manifest(next.position);
        self.put(&path, frame(MANIFEST_MAGIC, &body)).await?;
        self.kept.retain(|kept| kept.position != next.position);
        self.kept.push(Kept::from(&next));
        self.manifest = next;
        if let Err(error) = self.forget(settled).await {
            tracing::warn!(%error, "old dedup checkpoints could not be deleted");
        }
        Ok(draft.position)
    }

    /// Merges runs of like size while there are enough of them.
    async fn merge(&self, manifest: &mut Manifest) -> Result<(), JournalError> {
        let floor = manifest.window.floor();
        manifest.runs.retain(|run| run.through > floor);
        while let Some((from, to)) = mergeable(&manifest.runs, self.settings.run_ids) {
            let mut entries = Vec::new();
            for run in &manifest.runs[from..to] {
                entries.extend(self.read_run(run).await?);
            }
            entries.retain(|entry| entry.first > floor);
            let through = manifest.runs[to - 1].through;
            let merged = self.write_run(manifest, through, &entries).await?;
            manifest.runs.splice(from..to, [merged]);
        }
        Ok(())
    }

    /// Deletes the manifests that no restart can need, and the runs that no manifest names.
    async fn forget(&mut self, settled: Position) -> Result<(), JournalError> {
        let oldest_needed = self
            .kept
            .iter()
            .rposition(|manifest| manifest.position <= settled)
            .unwrap_or(0);
        let gone: Vec<_> = self.kept.drain(..oldest_needed).collect();
        for manifest in &gone {
            delete(&self.store, &self.paths.manifest(manifest.position)).await?;
        }
        let unused = |run: &&Run| !self.kept.iter().any(|manifest| manifest.runs.contains(run));
        let mut runs: Vec<_> = gone.iter().flat_map(|manifest| &manifest.runs).collect();
        runs.dedup();
        for run in runs.into_iter().filter(unused) {
            delete(&self.store, &self.paths.run(run.through, run.serial)).await?;
        }
        Ok(())
    }

    /// Deletes runs that no manifest names: left by a process that died between run and manifest.
    async fn sweep_runs(&self) -> Result<(), JournalError> {
        let named: Vec<_> = self
            .kept
            .iter()
            .flat_map(|manifest| &manifest.runs)
            .map(|run| self.paths.run(run.through, run.serial))
            .collect();
        let folder = self.paths.folder().clone().join("runs");
        let listed: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|source| JournalError::store("list", &folder, source))?;
        for meta in listed {
            if !named.contains(&meta.location) {
                delete(&self.store, &meta.location).await?;
            }
        }
        Ok(())
    }

    async fn write_run(
        &self,
        manifest: &mut Manifest,
        through: Position,
        entries: &[Fresh],
    ) -> Result<Run, JournalError> {
        let serial = manifest.next_serial;
        manifest.next_serial += 1;
        let mut body = Vec::with_capacity(8 + entries.len() * ENTRY);
        body.extend((entries.len() as u64).to_le_bytes());
        for Fresh { id, first } in entries {
            body.extend(id.key.to_le_bytes());
            body.extend(id.shard.to_le_bytes());
            body.extend(first.0.to_le_bytes());
        }
        let path = self.paths.run(through, serial);
        self.put(&path, frame(RUN_MAGIC, &body)).await?;
        Ok(Run {
            through,
            serial,
            ids: entries.len(),
        })
    }

    async fn read_run(&self, run: &Run) -> Result<Vec<Fresh>, JournalError> {
        let path = self.paths.run(run.through, run.serial);
        let body = read_framed(&self.store, &path, RUN_MAGIC).await?;
        let corrupt = || JournalError::corrupt(&path, "its entries are not what its count says");
        let (count, entries) = body.split_at_checked(8).ok_or_else(corrupt)?;
        if entries.len() != run.ids * ENTRY || count != (run.ids as u64).to_le_bytes() {
            return Err(corrupt());
        }
        entries
            .chunks_exact(ENTRY)
            .map(|entry| read_entry(entry).ok_or_else(corrupt))
            .collect()
    }

    async fn put(&self, path: &Path, bytes: Vec<u8>) -> Result<(), JournalError> {
        let put = self.store.put(path, PutPayload::from(bytes));
        put.await
            .map(drop)
            .map_err(|source| JournalError::store("write", path, source))
    }
}

/// The first group of neighbours of like size (by powers of [`FAN_IN`]) that is large enough, oldest first.
fn mergeable(runs: &[Run], run_ids: usize) -> Option<(usize, usize)> {
    let class = |run: &Run| run.ids.max(1).ilog(FAN_IN);
    let mut from = 0;
    while from < runs.len() {
        let mut to = from;
        let mut ids = 0;
        while to < runs.len() && class(&runs[to]) <= class(&runs[from]) && to - from < FAN_IN {
            ids += runs[to].ids;
            to += 1;
        }
        if to - from == FAN_IN && ids <= run_ids {
            return Some((from, to));
        }
        from += 1;
    }
    None
}

fn read_entry(entry: &[u8]) -> Option<Fresh> {
    let (key, rest) = entry.split_first_chunk::<8>()?;
    let (shard, rest) = rest.split_first_chunk::<2>()?;
    let (first, _) = rest.split_first_chunk::<8>()?;
    let shard = u16::from_le_bytes(*shard);
    let key = u64::from_le_bytes(*key);
    (usize::from(shard) < SHARDS && key != 0).then_some(Fresh {
        id: Fingerprint { shard, key },
        first: Position(u64::from_le_bytes(*first)),
    })
}

fn frame(magic: [u8; 8], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREAMBLE + body.len());
    bytes.extend(magic);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(crc32fast::hash(body).to_le_bytes());
    bytes.extend(body);
    bytes
}

async fn read_framed(
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    magic: [u8; 8],
) -> Result<Bytes, JournalError> {
    let failed = |source| JournalError::store("read", path, source);
    let bytes = store
        .get(path)
        .await
        .map_err(failed)?
        .bytes()
        .await
        .map_err(failed)?;
    let preamble: Option<&[u8; PREAMBLE]> = bytes.first_chunk();
    let preamble = preamble.ok_or_else(|| JournalError::corrupt(path, "it was torn"))?;
    if preamble[..8] != magic {
        return Err(JournalError::corrupt(path, "it is no dedup checkpoint"));
    }
    let number =
        |at: usize| u32::from_le_bytes([preamble[at], preamble[at + 1], preamble[at + 2], preamble[at + 3]]);
    if number(8) > VERSION {
        return Err(JournalError::TooNew {
            object: path.to_string(),
            what: "format version",
            found: number(8),
            known: VERSION,
        });
    }
    let body = bytes.slice(PREAMBLE..);
    if crc32fast::hash(&body) != number(12) {
        return Err(JournalError::corrupt(path, "its checksum does not match"));
    }
    Ok(body)
}

async fn read_manifests(
    store: &Arc<dyn ObjectStore>,
    paths: &DedupPaths,
) -> Result<Vec<Manifest>, JournalError> {
    let listed: Vec<_> = store
        .list(Some(paths.folder()))
        .try_collect()
        .await
        .map_err(|source| JournalError::store("list", paths.folder(), source))?;
    let mut manifests = Vec::new();
    for meta in listed {
        if paths.parse_manifest(&meta.location).is_some() {
            let body = read_framed(store, &meta.location, MANIFEST_MAGIC).await?;
            let manifest: Manifest = serde_json::from_slice(&body)
                .map_err(|error| JournalError::corrupt(&meta.location, error.to_string()))?;
            manifests.push(manifest);
        }
    }
    manifests.sort_by_key(|manifest| manifest.position);
    Ok(manifests)
}

async fn delete(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<(), JournalError> {
    match store.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(source) => Err(JournalError::store("delete", path, source)),
    }
}
