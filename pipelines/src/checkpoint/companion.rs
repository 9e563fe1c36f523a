//! Checkpoints of what layer 2 holds, beside those of the state: parts of bytes that mean nothing here.
//!
//! ```text
//! checkpoints/scoring/<id>/<number>.part   "RGSCORE1", length, bytes, CRC-32
//! checkpoints/scoring/<id>.manifest        which parts, and the positions they stand for; written last
//! ```
//!
//! A manifest names who made it: the program's version, the layout of the parts and the SQL texts. One of another maker
//! is passed over, a damaged part is refused, and in both cases what was held is computed anew.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};
use revgauge_contract::Position;
use serde::{Deserialize, Serialize};

use super::{failed, format, read};
use crate::{catalog, error::PipelineError};

const FOLDER: &str = "checkpoints/scoring";

/// What a checkpoint of layer 2 consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanionManifest {
    id: u64,
    made_by: String,
    /// Last event position that it holds.
    pub position: Position,
    /// Last position of the score feed that it holds.
    pub fed: Position,
    parts: Vec<String>,
}

impl CompanionManifest {
    /// Number of parts.
    #[must_use]
    pub const fn parts(&self) -> usize {
        self.parts.len()
    }
}

/// A checkpoint being written; it does not exist until it is published.
#[derive(Debug)]
pub struct CompanionDraft {
    id: u64,
    parts: Vec<String>,
}

/// The checkpoints of layer 2 of a deployment.
#[derive(Debug, Clone)]
pub struct CompanionCheckpoints {
    store: Arc<dyn ObjectStore>,
    made_by: String,
}

impl CompanionCheckpoints {
    /// `layout` is the version of what the parts mean.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, layout: u32) -> Self {
        let sql = catalog::all().iter().map(catalog::Pipeline::fingerprint);
        let sql: Vec<String> = sql.collect();
        Self {
            store,
            made_by: format!("{} layout {layout} {}", env!("CARGO_PKG_VERSION"), sql.join(" ")),
        }
    }

    /// The newest checkpoint that this program can read; damaged manifests are said in the log and passed over.
    ///
    /// # Errors
    /// `Store` when the objects cannot be listed.
    pub async fn newest(&self) -> Result<Option<CompanionManifest>, PipelineError> {
        let mut ids = self.ids().await?;
        while let Some(id) = ids.pop() {
            let path = manifest_path(id);
            let opened = match read(self.store.as_ref(), &path).await {
                Ok(bytes) => open_manifest(&path, &bytes),
                Err(error) => Err(error),
            };
            match opened {
                Ok(manifest) if manifest.made_by == self.made_by => return Ok(Some(manifest)),
                Ok(_) => {
                    tracing::info!(%path, "checkpoint of layer 2 is another version's; what it held is computed anew");
                }
                Err(error) => tracing::warn!(%error, "checkpoint of layer 2 left out"),
            }
        }
        Ok(None)
    }

    /// The bytes of a part.
    ///
    /// # Errors
    /// `Store` when it cannot be read, `Corrupt` when it is not what was written.
    pub async fn part(&self, manifest: &CompanionManifest, number: usize) -> Result<Bytes, PipelineError> {
        let Some(path) = manifest.parts.get(number) else {
            return Ok(Bytes::new());
        };
        let bytes = read(self.store.as_ref(), &Path::from(path.as_str())).await?;
        let body = format::open_companion(&bytes).map_err(|message| PipelineError::Corrupt {
            path: path.clone(),
            message,
        })?;
        Ok(bytes.slice_ref(body))
    }

    /// Begins a checkpoint.
    ///
    /// # Errors
    /// `Store` when the objects cannot be listed.
    pub async fn begin(&self) -> Result<CompanionDraft, PipelineError> {
        let newest = self.ids().await?.pop().unwrap_or(0);
        Ok(CompanionDraft {
            id: newest + 1,
            parts: Vec::new(),
        })
    }

    /// Writes the next part.
    ///
    /// # Errors
    /// `Store` when it cannot be written.
    pub async fn add(&self, draft: &mut CompanionDraft, body: &[u8]) -> Result<(), PipelineError> {
        let path = Path::from(format!("{FOLDER}/{:020}/{:05}.part", draft.id, draft.parts.len()));
        let bytes = format::seal_companion(body);
        let put = self.store.put(&path, PutPayload::from(bytes));
        put.await.map_err(failed("write", &path))?;
        draft.parts.push(path.to_string());
        Ok(())
    }

    /// Makes the checkpoint exist, then deletes those before it.
    ///
    /// # Errors
    /// `Store` when the manifest cannot be written; the checkpoint before stays.
    pub async fn publish(
        &self,
        draft: CompanionDraft,
        position: Position,
        fed: Position,
    ) -> Result<(), PipelineError> {
        let manifest = CompanionManifest {
            id: draft.id,
            made_by: self.made_by.clone(),
            position,
            fed,
            parts: draft.parts,
        };
        let path = manifest_path(manifest.id);
        let body = serde_json::to_vec(&manifest).map_err(|error| PipelineError::Corrupt {
            path: path.to_string(),
            message: error.to_string(),
        })?;
        let create = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from(format::seal_companion(&body));
        self.store
            .put_opts(&path, payload, create)
            .await
            .map_err(failed("write", &path))?;
        if let Err(error) = self.sweep(manifest.id).await {
            tracing::warn!(%error, "old checkpoints of layer 2 were not deleted; the next one tries again");
        }
        Ok(())
    }

    /// Numbers of the checkpoints, rising.
    async fn ids(&self) -> Result<Vec<u64>, PipelineError> {
        let folder = Path::from(FOLDER);
        let listed = self
            .store
            .list_with_delimiter(Some(&folder))
            .await
            .map_err(failed("list", &folder))?;
        let names = listed
            .objects
            .iter()
            .filter_map(|object| object.location.filename());
        let mut ids: Vec<u64> = names
            .filter_map(|name| name.strip_suffix(".manifest")?.parse().ok())
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    async fn sweep(&self, newest: u64) -> Result<(), PipelineError> {
        let folder = Path::from(FOLDER);
        let objects: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(failed("list", &folder))?;
        for object in objects {
            let name = object.location.as_ref().strip_prefix(FOLDER);
            let id = name.and_then(|name| name.get(1..21)?.parse::<u64>().ok());
            if id.is_some_and(|id| id < newest) {
                self.store
                    .delete(&object.location)
                    .await
                    .map_err(failed("delete", &object.location))?;
            }
        }
        Ok(())
    }
}

fn manifest_path(id: u64) -> Path {
    Path::from(format!("{FOLDER}/{id:020}.manifest"))
}

fn open_manifest(path: &Path, bytes: &[u8]) -> Result<CompanionManifest, PipelineError> {
    let corrupt = |message| PipelineError::Corrupt {
        path: path.to_string(),
        message,
    };
    let body = format::open_companion(bytes).map_err(corrupt)?;
    serde_json::from_slice(body).map_err(|error| corrupt(error.to_string()))
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    async fn written(checkpoints: &CompanionCheckpoints, bodies: &[&[u8]], position: u64) {
        let mut draft = checkpoints.begin().await.expect("begun");
        for body in bodies {
            checkpoints.add(&mut draft, body).await.expect("written");
        }
        checkpoints
            .publish(draft, Position(position), Position(3))
            .await
            .expect("published");
    }

    #[tokio::test]
    async fn the_newest_is_read_back_and_damage_is_refused() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let checkpoints = CompanionCheckpoints::new(Arc::clone(&store), 1);
        assert_eq!(checkpoints.newest().await.expect("listed"), None);
        written(&checkpoints, &[b"old"], 5).await;
        written(&checkpoints, &[b"one", b"two"], 9).await;
        let newest = checkpoints.newest().await.expect("listed").expect("there");
        assert_eq!(
            (newest.position, newest.fed, newest.parts()),
            (Position(9), Position(3), 2)
        );
        let second = checkpoints.part(&newest, 1).await.expect("read");
        assert_eq!(second.as_ref(), b"two");
        let objects: Vec<_> = store.list(None).try_collect().await.expect("listed");
        assert_eq!(objects.len(), 3, "the one before is gone: {objects:?}");

        let path = Path::from(newest.parts[0].as_str());
        let mut bytes = read(store.as_ref(), &path).await.expect("read").to_vec();
        bytes[17] ^= 1;
        store.put(&path, PutPayload::from(bytes)).await.expect("damaged");
        checkpoints.part(&newest, 0).await.expect_err("damaged part");
        let other = CompanionCheckpoints::new(store, 2);
        assert_eq!(other.newest().await.expect("listed"), None, "another layout");
    }
}
