//! Checkpoints: the state of all pipelines at one journal position, on the object store.
//!
//! A checkpoint is a manifest that names parts. A part holds groups with their accumulator state; the parts of one
//! pipeline, read in order, give its state, a later row of a group replacing an earlier one. So an incremental
//! checkpoint writes the groups changed since the one before and names the older parts again. The manifest is written
//! last and conditionally: what it does not name does not exist.

mod companion;
mod format;
mod paths;

use std::{collections::BTreeSet, sync::Arc};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};
use parking_lot::Mutex;
use revgauge_contract::{Position, Timestamp};
use serde::{Deserialize, Serialize};

pub use companion::{CompanionCheckpoints, CompanionDraft, CompanionManifest};

use crate::error::PipelineError;

/// One object of groups and states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) path: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// The parts of one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PipelineParts {
    pub(crate) name: String,
    /// Of the SQL that made the state.
    pub(crate) fingerprint: String,
    /// Incremental checkpoints since the last full one.
    pub(crate) deltas: usize,
    pub(crate) parts: Vec<Part>,
}

/// What a checkpoint consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Rises by one with each checkpoint.
    pub(crate) id: u64,
    /// Last journal position that the state holds.
    pub(crate) position: Position,
    pub(crate) taken_at: Timestamp,
    pub(crate) pipelines: Vec<PipelineParts>,
}

/// The bytes of a part. Cost: tens of milliseconds for a quarter of a million groups.
pub(crate) fn encode_part(pipeline: &str, batches: &[RecordBatch]) -> Result<Vec<u8>, PipelineError> {
    format::seal_part(batches).map_err(|message| PipelineError::Corrupt {
        path: format!("new part of {pipeline}"),
        message,
    })
}

/// The checkpoints of a deployment.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    store: Arc<dyn ObjectStore>,
    kept: usize,
    /// Newest last.
    manifests: Mutex<Vec<Manifest>>,
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(object_store::Error) -> PipelineError {
    let path = path.to_string();
    move |source| PipelineError::Store { doing, path, source }
}

impl Checkpoints {
    /// Finds the checkpoints of the store. Damaged manifests are said in the log and left out.
    pub(crate) async fn open(store: Arc<dyn ObjectStore>, kept: usize) -> Result<Self, PipelineError> {
        let prefix = paths::folder();
        let listed = store
            .list_with_delimiter(Some(&prefix))
            .await
            .map_err(failed("list", &prefix))?;
        let mut manifests = Vec::new();
        for object in listed.objects {
            let Some(id) = paths::manifest_id(&object.location) else {
                continue;
            };
            match read_manifest(store.as_ref(), &object.location).await {
                Ok(manifest) if manifest.id == id => manifests.push(manifest),
                Ok(_) => {
                    tracing::warn!(path = %object.location, "checkpoint manifest has another's name; left out")
                }
                Err(error) => tracing::warn!(path = %object.location, %error, "checkpoint manifest left out"),
            }
        }
        manifests.sort_unstable_by_key(|manifest| manifest.id);
        Ok(Self {
            store,
            kept: kept.max(1),
            manifests: Mutex::new(manifests),
        })
    }

    /// Known checkpoints, newest first.
    pub(crate) fn newest_first(&self) -> Vec<Manifest> {
        self.manifests.lock().iter().rev().cloned().collect()
    }

    /// Forgets a checkpoint that turned out to be damaged: later ones build on the one before.
    pub(crate) fn forget(&self, id: u64) {
        self.manifests.lock().retain(|manifest| manifest.id != id);
    }

    /// Number for the next checkpoint: above every one seen, damaged ones included.
    pub(crate) async fn next_id(&self) -> Result<u64, PipelineError> {
        let prefix = paths::folder();
        let listed = self
            .store
            .list_with_delimiter(Some(&prefix))
            .await
            .map_err(failed("list", &prefix))?;
        let manifests = listed
            .objects
            .iter()
            .filter_map(|object| paths::manifest_id(&object.location));
        let parts = listed.common_prefixes.iter().filter_map(paths::part_folder_id);
        Ok(manifests.chain(parts).max().unwrap_or(0) + 1)
    }

    /// Reads a part back.
    pub(crate) async fn read_part(&self, part: &Part) -> Result<Vec<RecordBatch>, PipelineError> {
        let path = Path::from(part.path.as_str());
        let bytes = read(self.store.as_ref(), &path).await?;
        let opening = tokio::task::spawn_blocking(move || format::open_part(&bytes));
        let opened = opening
            .await
            .map_err(|error| PipelineError::Task(error.to_string()))?;
        opened.map_err(|message| PipelineError::Corrupt {
            path: part.path.clone(),
            message,
        })
    }

    /// Writes one encoded part.
    pub(crate) async fn write_part(
        &self,
        id: u64,
        pipeline: &str,
        number: usize,
        rows: u64,
        bytes: Vec<u8>,
    ) -> Result<Part, PipelineError> {
        let path = paths::part(id, pipeline, number);
        let part = Part {
            path: path.to_string(),
            rows,
            bytes: bytes.len() as u64,
        };
        self.store
            .put(&path, PutPayload::from(bytes))
            .await
            .map_err(failed("write", &path))?;
        Ok(part)
    }

    /// Makes a checkpoint exist, then deletes what no kept checkpoint names.
    pub(crate) async fn publish(&self, manifest: Manifest) -> Result<(), PipelineError> {
        let path = paths::manifest(manifest.id);
        let bytes = format::seal_manifest(&manifest).map_err(|message| PipelineError::Corrupt {
            path: path.to_string(),
            message,
        })?;
        let create = PutOptions::from(PutMode::Create);
        self.store
            .put_opts(&path, PutPayload::from(bytes), create)
            .await
            .map_err(failed("write", &path))?;
        let newest = manifest.id;
        {
            let mut manifests = self.manifests.lock();
            manifests.push(manifest);
            let surplus = manifests.len().saturating_sub(self.kept);
            manifests.drain(..surplus);
        }
        if let Err(error) = self.sweep(newest).await {
            tracing::warn!(%error, "old checkpoints were not deleted; the next checkpoint tries again");
        }
        Ok(())
    }

    async fn sweep(&self, newest: u64) -> Result<(), PipelineError> {
        let named: BTreeSet<String> = {
            let manifests = self.manifests.lock();
            let parts = manifests.iter().flat_map(|manifest| &manifest.pipelines);
            let parts = parts.flat_map(|pipeline| pipeline.parts.iter().map(|part| part.path.clone()));
            let own = manifests
                .iter()
                .map(|manifest| paths::manifest(manifest.id).to_string());
            parts.chain(own).collect()
        };
        let prefix = paths::folder();
        let objects: Vec<_> = self
            .store
            .list(Some(&prefix))
            .try_collect()
            .await
            .map_err(failed("list", &prefix))?;
        for object in objects {
            let old = paths::id_of(&object.location).is_some_and(|id| id <= newest);
            if old && !named.contains(object.location.as_ref()) {
                self.store
                    .delete(&object.location)
                    .await
                    .map_err(failed("delete", &object.location))?;
            }
        }
        Ok(())
    }
}

async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Bytes, PipelineError> {
    let object = store.get(path).await.map_err(failed("read", path))?;
    object.bytes().await.map_err(failed("read", path))
}

async fn read_manifest(store: &dyn ObjectStore, path: &Path) -> Result<Manifest, PipelineError> {
    let bytes = read(store, path).await?;
    format::open_manifest(&bytes).map_err(|message| PipelineError::Corrupt {
        path: path.to_string(),
        message,
    })
}
