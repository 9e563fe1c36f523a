//! Which definitions were in force from when on: numbered objects that are never overwritten.
//!
//! `definitions/<number>.json` holds one [`DefinitionRecord`] with the version of its form. A record is written before
//! anything is scored with it; `definitions/<number>.applied` is put beside it once everything was scored anew, so a
//! crash in between is seen at the next start. A handful of objects of some tens of kilobytes: all are read at start.

use std::{collections::BTreeMap, sync::Arc};

use futures::TryStreamExt;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path,
};
use revgauge_contract::{
    Timestamp,
    definition_record::{DefinitionRecord, DefinitionTexts},
};
use serde::{Deserialize, Serialize};

use crate::JournalError;

const FOLDER: &str = "definitions";
/// Version of [`StoredRecord`].
const FORMAT: u32 = 1;

/// A record as it lies on the store.
#[derive(Debug, Serialize, Deserialize)]
struct StoredRecord {
    format: u32,
    #[serde(flatten)]
    record: DefinitionRecord,
}

/// The form alone: it is looked at before the rest, which a later one may say otherwise.
#[derive(Debug, Deserialize)]
struct RecordFormat {
    format: u32,
}

/// The records of a deployment, oldest first.
#[derive(Debug)]
pub struct DefinitionLog {
    store: Arc<dyn ObjectStore>,
    records: Vec<DefinitionRecord>,
    newest: u64,
    applied: u64,
}

fn path(number: u64, ending: &str) -> Path {
    Path::from(format!("{FOLDER}/{number:020}.{ending}"))
}

fn parse(path: &Path, ending: &str) -> Option<u64> {
    path.filename()?
        .strip_suffix(ending)?
        .strip_suffix('.')?
        .parse()
        .ok()
}

impl DefinitionLog {
    /// Reads all records.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] or [`JournalError::TooNew`] naming the object; [`JournalError::Store`].
    pub async fn open(store: Arc<dyn ObjectStore>) -> Result<Self, JournalError> {
        let folder = Path::from(FOLDER);
        let listed: Vec<_> = store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|source| JournalError::store("list", &folder, source))?;
        let numbers = |ending| {
            let found = listed
                .iter()
                .filter_map(move |meta| parse(&meta.location, ending));
            let mut found: Vec<u64> = found.collect();
            found.sort_unstable();
            found
        };
        let mut records = Vec::new();
        for number in numbers("json") {
            let path = path(number, "json");
            let failed = |source| JournalError::store("read", &path, source);
            let bytes = store
                .get(&path)
                .await
                .map_err(failed)?
                .bytes()
                .await
                .map_err(failed)?;
            records.push(decode(&path, &bytes)?);
        }
        let last = |ending| numbers(ending).last().copied().unwrap_or(0);
        Ok(Self {
            newest: last("json"),
            applied: last("applied"),
            store,
            records,
        })
    }

    /// All records, oldest first.
    #[must_use]
    pub fn records(&self) -> &[DefinitionRecord] {
        &self.records
    }

    /// Whether everything was scored with the newest record.
    #[must_use]
    pub const fn is_applied(&self) -> bool {
        self.applied >= self.newest
    }

    /// Puts texts in force: durable when it returns. Their instant is `now`, or just after the record before when the
    /// clock went back.
    ///
    /// # Errors
    /// [`JournalError::Busy`] when another process wrote a record meanwhile; [`JournalError::Store`].
    pub async fn append(
        &mut self,
        now: Timestamp,
        common: DefinitionTexts,
        tenants: BTreeMap<String, DefinitionTexts>,
    ) -> Result<&DefinitionRecord, JournalError> {
        let after = self
            .records
            .last()
            .map_or(Timestamp(i64::MIN), |last| Timestamp(last.since.micros() + 1));
        let record = DefinitionRecord {
            since: now.max(after),
            common,
            tenants,
        };
        let stored = StoredRecord {
            format: FORMAT,
            record,
        };
        let body = serde_json::to_vec_pretty(&stored).map_err(|error| JournalError::Encode {
            attempt: "encode a record of definitions",
            reason: error.to_string(),
        })?;
        let path = path(self.newest + 1, "json");
        let only_new = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&path, PutPayload::from(body), only_new).await {
            Ok(_) => {}
            Err(StoreError::AlreadyExists { .. }) => {
                return Err(JournalError::Busy {
                    journal: FOLDER,
                    attempts: 1,
                });
            }
            Err(source) => return Err(JournalError::store("write", &path, source)),
        }
        self.newest += 1;
        self.records.push(stored.record);
        Ok(&self.records[self.records.len() - 1])
    }

    /// Notes that everything was scored with the newest record.
    ///
    /// # Errors
    /// [`JournalError::Store`]; a repetition is safe.
    pub async fn mark_applied(&mut self) -> Result<(), JournalError> {
        if self.is_applied() {
            return Ok(());
        }
        let path = path(self.newest, "applied");
        let put = self.store.put(&path, PutPayload::default()).await;
        put.map_err(|source| JournalError::store("write", &path, source))?;
        self.applied = self.newest;
        Ok(())
    }
}

fn decode(path: &Path, bytes: &[u8]) -> Result<DefinitionRecord, JournalError> {
    let corrupt =
        |error: serde_json::Error| JournalError::corrupt(path, format!("it holds no definitions: {error}"));
    let RecordFormat { format } = serde_json::from_slice(bytes).map_err(corrupt)?;
    if format > FORMAT {
        return Err(JournalError::TooNew {
            object: path.to_string(),
            what: "definition record format",
            found: format,
            known: FORMAT,
        });
    }
    let stored: StoredRecord = serde_json::from_slice(bytes).map_err(corrupt)?;
    Ok(stored.record)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn texts(text: &str) -> DefinitionTexts {
        [("engagement".to_owned(), text.to_owned())].into()
    }

    #[tokio::test]
    async fn records_come_back_in_order_and_their_instants_rise() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut log = DefinitionLog::open(Arc::clone(&store)).await.expect("opened");
        assert!(log.records().is_empty() && log.is_applied());
        let own: BTreeMap<_, _> = [("acme".to_owned(), texts("own"))].into();
        log.append(Timestamp(10), texts("one"), own.clone())
            .await
            .expect("written");
        log.mark_applied().await.expect("marked");
        log.append(Timestamp(5), texts("two"), BTreeMap::new())
            .await
            .expect("written");
        let again = DefinitionLog::open(Arc::clone(&store)).await.expect("opened");
        let told: Vec<_> = again
            .records()
            .iter()
            .map(|record| {
                (
                    record.since.micros(),
                    record.common.clone(),
                    record.tenants.clone(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [(10, texts("one"), own), (11, texts("two"), BTreeMap::new())]
        );
        assert!(!again.is_applied(), "the second was not scored with yet");
    }

    #[tokio::test]
    async fn two_writers_do_not_overwrite_each_other_and_a_later_form_is_refused() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut one = DefinitionLog::open(Arc::clone(&store)).await.expect("opened");
        let mut two = DefinitionLog::open(Arc::clone(&store)).await.expect("opened");
        one.append(Timestamp(1), texts("one"), BTreeMap::new())
            .await
            .expect("written");
        let lost = two.append(Timestamp(2), texts("two"), BTreeMap::new()).await;
        assert!(matches!(lost, Err(JournalError::Busy { .. })), "{lost:?}");
        let later = PutPayload::from_static(b"{\"format\": 7}");
        store.put(&path(2, "json"), later).await.expect("put");
        let error = DefinitionLog::open(store).await.expect_err("refused").to_string();
        assert!(
            error.contains("00000000000000000002.json") && error.contains("format 7"),
            "{error}"
        );
    }
}
