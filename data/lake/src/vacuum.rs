//! Deletes files that no commit names any more, once no reader can hold them.

use std::collections::HashSet;

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use revgauge_contract::Timestamp;

use crate::{error::LakeError, log::store_error, paths::table_root, table::Table};

/// What a round of vacuum did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VacuumReport {
    /// Removed files whose time had come.
    pub removed_deleted: usize,
    /// Files of commits that never were.
    pub orphans_deleted: usize,
    /// Removed files kept for readers that may have pinned them.
    pub kept: usize,
}

/// What to do with one file in the table's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Live,
    Pinned,
    Removed,
    Orphan,
}

impl Table {
    /// Deletes files removed longer ago than `removed_file_retention_ms` and orphans older than `orphan_retention_ms`.
    ///
    /// The log is read first: a file may be live by a commit whose answer was lost, or by another writer's.
    ///
    /// Cost: a load of the log and one listing of the table's folder.
    pub(crate) async fn vacuum_once(&self) -> Result<VacuumReport, LakeError> {
        {
            let mut head = self.head.lock().await;
            self.refresh(&mut head).await?;
        }
        let root = table_root(self.layout.table);
        let listed: Vec<ObjectMeta> = self
            .store
            .list(Some(&root))
            .try_collect()
            .await
            .map_err(|source| store_error("list", &root, source))?;
        let mut report = VacuumReport::default();
        let now = self.clock.now();
        self.forget_deleted(&listed);
        for (object, name, verdict) in self.judge(listed, now) {
            match verdict {
                Verdict::Live => continue,
                Verdict::Pinned => {
                    report.kept += 1;
                    continue;
                }
                Verdict::Removed => report.removed_deleted += 1,
                Verdict::Orphan => report.orphans_deleted += 1,
            }
            match self.store.delete(&object.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(store_error("delete", &object.location, source)),
            }
            self.shared.lock().removed.remove(&name);
        }
        if report.removed_deleted + report.orphans_deleted > 0 {
            tracing::info!(
                table = self.name(),
                removed = report.removed_deleted,
                orphans = report.orphans_deleted,
                "lake files deleted"
            );
        }
        Ok(report)
    }

    /// Drops removals whose files are gone.
    fn forget_deleted(&self, listed: &[ObjectMeta]) {
        let names: HashSet<&str> = listed
            .iter()
            .filter_map(|object| object.location.filename())
            .collect();
        let mut shared = self.shared.lock();
        shared.removed.retain(|path, _| names.contains(path.as_str()));
    }

    /// Judges each data file by one look at the state.
    fn judge(&self, listed: Vec<ObjectMeta>, now: Timestamp) -> Vec<(ObjectMeta, String, Verdict)> {
        let prefix = format!("{}/", table_root(self.layout.table));
        let shared = self.shared.lock();
        let live: HashSet<&str> = shared.files.iter().map(|file| file.path.as_str()).collect();
        let older = |at: Timestamp, than_ms: u64| {
            let span_us = i64::try_from(than_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
            at.plus_micros(span_us) <= now
        };
        let verdict = |name: &str, object: &ObjectMeta| {
            if live.contains(name) {
                return Verdict::Live;
            }
            if shared
                .pending
                .as_ref()
                .is_some_and(|pending| pending.file.facts.path == name)
            {
                return Verdict::Pinned;
            }
            match shared.removed.get(name) {
                Some(at) if older(*at, self.settings.removed_file_retention_ms) => Verdict::Removed,
                Some(_) => Verdict::Pinned,
                None if older(object.last_modified.into(), self.settings.orphan_retention_ms) => {
                    Verdict::Orphan
                }
                None => Verdict::Pinned,
            }
        };
        let files = listed.into_iter().filter_map(|object| {
            let name = object.location.as_ref().strip_prefix(&prefix)?.to_owned();
            let is_data = name.ends_with(".parquet") && !name.starts_with('_');
            let verdict = is_data.then(|| verdict(&name, &object))?;
            Some((object, name, verdict))
        });
        files.collect()
    }
}
