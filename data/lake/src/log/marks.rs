//! Watermarks beside the log: what each commit adds, and snapshots of the sum.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use serde_json::Value;

use super::{Log, delta_error, store_error};
use crate::{
    error::LakeError,
    paths::{WATERMARKS, table_root, watermarks_name, watermarks_version},
    watermark::{Marks, StoredMarks},
};

/// Key of a commit's own watermarks in its `commitInfo`.
pub(super) const MARKS_KEY: &str = "revgaugeWatermarks";
/// Snapshots of the watermarks that are kept.
const MARKS_KEPT: usize = 2;

impl Log {
    /// Watermarks at a version: the newest snapshot and what the commits after it add. `None` when a piece is missing.
    pub(super) async fn marks(&self, version: u64) -> Result<Option<Marks>, LakeError> {
        if !self.layout.has_sources {
            return Ok(Some(Marks::default()));
        }
        let newest = self
            .marks_snapshots()
            .await?
            .into_iter()
            .rev()
            .find(|(at, _)| *at <= version);
        let (mut marks, from) = match newest {
            None => (Marks::default(), 0),
            Some((at, path)) => match self
                .get(&path)
                .await?
                .map(|bytes| serde_json::from_slice::<StoredMarks>(&bytes))
            {
                Some(Ok(stored)) => (Marks::from(stored), at + 1),
                _ => return Ok(None),
            },
        };
        for version in from..=version {
            match self.commit_marks(version).await? {
                Some(more) => marks.merge(&more),
                None => return Ok(None),
            }
        }
        Ok(Some(marks))
    }

    /// What one commit adds to the watermarks. `None` when the commit is gone, or added rows without saying whose.
    async fn commit_marks(&self, version: u64) -> Result<Option<Marks>, LakeError> {
        let entry = self.log_store.read_commit_entry(version).await;
        let entry = entry.map_err(|source| delta_error(self.layout, "read a commit", source))?;
        let Some(bytes) = entry else { return Ok(None) };
        let (mut marks, mut adds_rows) = (None, false);
        for action in serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>() {
            let Ok(action) = action else { return Ok(None) };
            adds_rows |= action.pointer("/add/dataChange").and_then(Value::as_bool) == Some(true);
            let stored = action.pointer("/commitInfo").and_then(|info| info.get(MARKS_KEY));
            if let Some(stored) = stored {
                marks = serde_json::from_value::<StoredMarks>(stored.clone()).ok();
            }
        }
        Ok(match (marks, adds_rows) {
            (Some(stored), _) => Some(Marks::from(stored)),
            (None, false) => Some(Marks::default()),
            (None, true) => None,
        })
    }

    fn marks_root(&self) -> Path {
        table_root(self.layout.table).join(WATERMARKS)
    }

    async fn marks_snapshots(&self) -> Result<BTreeMap<u64, Path>, LakeError> {
        let root = self.marks_root();
        let listed = self.store.list(Some(&root)).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|source| store_error("list", &root, source))?;
        let named = listed.into_iter().filter_map(|object| {
            let version = watermarks_version(object.location.filename()?)?;
            Some((version, object.location))
        });
        Ok(named.collect())
    }

    /// Writes a snapshot of the watermarks up to a version and deletes the oldest ones.
    pub(super) async fn put_marks(&self, version: u64, marks: &Marks) -> Result<(), LakeError> {
        if !self.layout.has_sources {
            return Ok(());
        }
        let path = self.marks_root().join(watermarks_name(version));
        let text = serde_json::to_vec(&marks.to_stored()).unwrap_or_default();
        let put = self.store.put(&path, text.into()).await;
        put.map_err(|source| store_error("write", &path, source))?;
        let snapshots = self.marks_snapshots().await?;
        let outdated = snapshots.len().saturating_sub(MARKS_KEPT);
        for path in snapshots.into_values().take(outdated) {
            let deleted = self.store.delete(&path).await;
            deleted.map_err(|source| store_error("delete", &path, source))?;
        }
        Ok(())
    }
}
