//! Refused events, kept with their bytes: readable, replayable, bounded.
//!
//! Letters of one call lie in one object, `dead-letters/<tenant>/<time us>-<nonce>-<count>.ndjson`, one JSON letter a
//! line with the version of its form. The count stands in the name so that the limit is kept by listing alone.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use futures::TryStreamExt;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path,
};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use revgauge_contract::{
    Clock,
    error::Failure,
    intake::{DeadLetter, DeadLetters},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as AsyncMutex;

use crate::{DeadLetterSettings, JournalError};

const FOLDER: &str = "dead-letters";
/// Version of [`StoredLetter`].
const FORMAT: u32 = 1;

/// A letter as it lies on the store.
#[derive(Debug, Serialize, Deserialize)]
struct StoredLetter<L> {
    /// Absent in letters that were kept before it was written: those are of form 1.
    #[serde(default = "first_format")]
    format: u32,
    #[serde(flatten)]
    letter: L,
}

/// The form alone: it is looked at before the rest, which a later one may say otherwise.
#[derive(Debug, Deserialize)]
struct LetterFormat {
    #[serde(default = "first_format")]
    format: u32,
}

const fn first_format() -> u32 {
    1
}

fn decode_letter(path: &Path, line: &[u8]) -> Result<DeadLetter, JournalError> {
    let corrupt =
        |error: serde_json::Error| JournalError::corrupt(path, format!("it holds no letter: {error}"));
    let LetterFormat { format } = serde_json::from_slice(line).map_err(corrupt)?;
    if format > FORMAT {
        return Err(JournalError::TooNew {
            object: path.to_string(),
            what: "letter format",
            found: format,
            known: FORMAT,
        });
    }
    let stored: StoredLetter<DeadLetter> = serde_json::from_slice(line).map_err(corrupt)?;
    Ok(stored.letter)
}

/// Names one dead letter of a tenant: `<object>.<line>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId {
    object: String,
    line: usize,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.object, self.line)
    }
}

impl FromStr for LetterId {
    type Err = JournalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || JournalError::NoLetter(text.chars().take(96).collect());
        let (object, line) = text.rsplit_once('.').ok_or_else(unknown)?;
        Stored::parse(object).ok_or_else(unknown)?;
        Ok(Self {
            object: object.to_owned(),
            line: line.parse().map_err(|_| unknown())?,
        })
    }
}

/// One object of letters by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Stored {
    name: String,
    letters: u64,
}

impl Stored {
    fn new(at_us: i64, nonce: u64, letters: u64) -> Self {
        let at_us = at_us.max(0);
        Self {
            name: format!("{at_us:020}-{nonce:016x}-{letters}"),
            letters,
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let (time, nonce, count) = (parts.next()?, parts.next()?, parts.next()?);
        let plain = time.len() == 20 && nonce.len() == 16 && parts.next().is_none();
        let letters = count.parse().ok()?;
        (plain
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
        .then(|| Self {
            name: name.to_owned(),
            letters,
        })
    }

    fn path(&self, tenant_id: &str) -> Path {
        folder(tenant_id).join(format!("{}.ndjson", self.name))
    }
}

fn folder(tenant_id: &str) -> Path {
    Path::from(FOLDER).join(tenant_id)
}

/// Objects of a tenant, oldest first.
type Shelf = VecDeque<Stored>;

/// Dead letters on the store.
///
/// Keeping costs one durable write per call and tenant; a list of the tenant's folder at first use.
pub struct StoredDeadLetters {
    store: Arc<dyn ObjectStore>,
    settings: DeadLetterSettings,
    clock: Arc<dyn Clock>,
    random: Mutex<StdRng>,
    shelves: AsyncMutex<HashMap<String, Shelf>>,
    /// Time in the last name given, so that names sort in the order of keeping.
    last_us: AtomicI64,
    kept: AtomicU64,
    dropped: AtomicU64,
}

impl fmt::Debug for StoredDeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredDeadLetters")
            .field("kept", &self.kept)
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

impl StoredDeadLetters {
    /// Dead letters below `dead-letters/` of the store. `seed` must be random for each process.
    #[must_use]
    pub fn new(
        store: Arc<dyn ObjectStore>,
        settings: DeadLetterSettings,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Self {
        Self {
            store,
            settings,
            clock,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            shelves: AsyncMutex::default(),
            last_us: AtomicI64::new(0),
            kept: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Letters kept since the start of the process.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// Letters dropped since the start of the process because a tenant had too many.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// At most `limit` letters of a tenant, oldest first, each with the id to delete it by.
    ///
    /// # Errors
    /// [`JournalError::Store`], or [`JournalError::Corrupt`] for an object that holds no letters.
    pub async fn list(
        &self,
        tenant_id: &str,
        limit: usize,
    ) -> Result<Vec<(LetterId, DeadLetter)>, JournalError> {
        let mut letters = Vec::new();
        for stored in self.listed(tenant_id).await? {
            if letters.len() >= limit {
                break;
            }
            let lines = match self.read(tenant_id, &stored).await {
                Err(error) if error.is_not_found() => continue,
                other => other?,
            };
            letters.extend(lines.into_iter().enumerate().map(|(line, letter)| {
                let object = stored.name.clone();
                (LetterId { object, line }, letter)
            }));
        }
        letters.truncate(limit);
        Ok(letters)
    }

    /// Deletes letters, after their replay; ids that are gone are fine. Returns how many were there.
    ///
    /// # Errors
    /// As [`Self::list`]; a repetition is safe.
    pub async fn delete(&self, tenant_id: &str, ids: &[LetterId]) -> Result<usize, JournalError> {
        let mut by_object: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for id in ids {
            by_object.entry(&id.object).or_default().push(id.line);
        }
        let mut shelves = self.shelves.lock().await;
        let mut deleted = 0;
        for (object, lines) in by_object {
            let Some(stored) = Stored::parse(object) else {
                continue;
            };
            let letters = match self.read(tenant_id, &stored).await {
                Err(error) if error.is_not_found() => continue,
                other => other?,
            };
            let count = letters.len();
            let rest: Vec<_> = letters
                .into_iter()
                .enumerate()
                .filter(|(line, _)| !lines.contains(line))
                .map(|(_, letter)| letter)
                .collect();
            deleted += count - rest.len();
            // The rest first: dying in between leaves letters twice, never not at all.
            if !rest.is_empty() {
                let begun = rest[0].refused_at.micros();
                self.write(tenant_id, begun, &rest).await?;
            }
            self.remove(tenant_id, &stored).await?;
        }
        // Listed anew at the next keep.
        shelves.remove(tenant_id);
        Ok(deleted)
    }

    async fn listed(&self, tenant_id: &str) -> Result<Shelf, JournalError> {
        let folder = folder(tenant_id);
        let listed: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|source| JournalError::store("list", &folder, source))?;
        let mut shelf: Vec<_> = listed
            .iter()
            .filter_map(|meta| Stored::parse(meta.location.filename()?.strip_suffix(".ndjson")?))
            .collect();
        shelf.sort();
        Ok(shelf.into())
    }

    async fn read(&self, tenant_id: &str, stored: &Stored) -> Result<Vec<DeadLetter>, JournalError> {
        let path = stored.path(tenant_id);
        let failed = |source| JournalError::store("read", &path, source);
        let got = self.store.get(&path).await.map_err(failed)?;
        let bytes = got.bytes().await.map_err(failed)?;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| decode_letter(&path, line)).collect()
    }

    async fn write(
        &self,
        tenant_id: &str,
        at_us: i64,
        letters: &[DeadLetter],
    ) -> Result<Stored, JournalError> {
        let mut body = Vec::new();
        for letter in letters {
            let stored = StoredLetter {
                format: FORMAT,
                letter,
            };
            serde_json::to_writer(&mut body, &stored).map_err(|error| JournalError::Encode {
                attempt: "encode a dead letter",
                reason: error.to_string(),
            })?;
            body.push(b'\n');
        }
        let nonce = self.random.lock().random();
        let stored = Stored::new(at_us, nonce, letters.len() as u64);
        let path = stored.path(tenant_id);
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&path, PutPayload::from(body), options).await {
            // The name is random: what is there is ours, and the answer to an earlier try was lost.
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(stored),
            Err(source) => Err(JournalError::store("write", &path, source)),
        }
    }

    async fn remove(&self, tenant_id: &str, stored: &Stored) -> Result<(), JournalError> {
        let path = stored.path(tenant_id);
        match self.store.delete(&path).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(source) => Err(JournalError::store("delete", &path, source)),
        }
    }

    async fn keep_for(&self, tenant_id: &str, letters: &[DeadLetter]) -> Result<(), JournalError> {
        let mut shelves = self.shelves.lock().await;
        if !shelves.contains_key(tenant_id) {
            shelves.insert(tenant_id.to_owned(), self.listed(tenant_id).await?);
        }
        let shelf = shelves.entry(tenant_id.to_owned()).or_default();
        for part in letters.chunks(self.settings.object_letters.max(1)) {
            let at_us = self
                .clock
                .now()
                .micros()
                .max(self.last_us.load(Ordering::Relaxed) + 1);
            self.last_us.store(at_us, Ordering::Relaxed);
            let stored = self.write(tenant_id, at_us, part).await?;
            shelf.push_back(stored);
            self.kept.fetch_add(part.len() as u64, Ordering::Relaxed);
        }
        let mut held: u64 = shelf.iter().map(|stored| stored.letters).sum();
        // The newest object stays, whatever its size.
        while held > self.settings.max_letters_per_tenant && shelf.len() > 1 {
            let Some(oldest) = shelf.pop_front() else { break };
            held -= oldest.letters;
            self.dropped.fetch_add(oldest.letters, Ordering::Relaxed);
            tracing::warn!(
                tenant = tenant_id,
                letters = oldest.letters,
                "oldest dead letters dropped"
            );
            self.remove(tenant_id, &oldest).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl DeadLetters for StoredDeadLetters {
    async fn keep(&self, letters: Vec<DeadLetter>) -> Result<(), Failure> {
        let mut by_tenant: BTreeMap<String, Vec<DeadLetter>> = BTreeMap::new();
        for letter in letters {
            by_tenant
                .entry(letter.tenant_id.clone())
                .or_default()
                .push(letter);
        }
        for (tenant_id, letters) in by_tenant {
            self.keep_for(&tenant_id, &letters).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use revgauge_contract::{Refusal, Timestamp, time::ManualClock};

    use super::*;

    fn letter(tenant: &str, number: usize) -> DeadLetter {
        DeadLetter {
            tenant_id: tenant.to_owned(),
            refused_at: Timestamp(number as i64),
            source: "http".to_owned(),
            refusal: Refusal::whole("missing_subject", "about nobody"),
            body: format!("{{\"n\":{number},\n\"text\":\"äöü\"}}"),
            body_is_base64: false,
        }
    }

    fn letters(store: &Arc<InMemory>, limit: u64) -> (StoredDeadLetters, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
        let settings = DeadLetterSettings {
            max_letters_per_tenant: limit,
            object_letters: 3,
        };
        let store: Arc<dyn ObjectStore> = Arc::clone(store) as _;
        let letters = StoredDeadLetters::new(store, settings, Arc::clone(&clock) as _, 1);
        (letters, clock)
    }

    async fn numbers(kept: &StoredDeadLetters, tenant: &str, limit: usize) -> Vec<i64> {
        let listed = kept.list(tenant, limit).await.expect("listed");
        listed
            .iter()
            .map(|(_, letter)| letter.refused_at.micros())
            .collect()
    }

    #[tokio::test]
    async fn letters_come_back_whole_and_by_tenant() {
        let store = Arc::new(InMemory::new());
        let (kept, _) = letters(&store, 100);
        kept.keep(vec![letter("a", 1), letter("b/../a", 2), letter("a", 3)])
            .await
            .expect("kept");
        let listed = kept.list("a", 10).await.expect("listed");
        assert_eq!(listed[0].1, letter("a", 1));
        assert_eq!(numbers(&kept, "a", 10).await, [1, 3]);
        assert_eq!(numbers(&kept, "b/../a", 10).await, [2]);
        assert_eq!(numbers(&kept, "a", 1).await, [1]);
    }

    #[test]
    fn a_letter_of_before_its_version_was_written_is_read_and_a_later_form_is_refused() {
        let path = Path::from("dead-letters/a/x.ndjson");
        let mut line = serde_json::to_value(letter("a", 1)).expect("JSON");
        let bytes = |line: &serde_json::Value| serde_json::to_vec(line).expect("JSON");
        assert_eq!(decode_letter(&path, &bytes(&line)).expect("read"), letter("a", 1));
        line["format"] = 9.into();
        let error = decode_letter(&path, &bytes(&line))
            .expect_err("refused")
            .to_string();
        assert!(
            error.contains("x.ndjson") && error.contains("letter format 9"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn the_oldest_go_past_the_limit_counted() {
        let store = Arc::new(InMemory::new());
        let (kept, clock) = letters(&store, 4);
        for number in 1..=6 {
            clock.advance(1);
            kept.keep(vec![letter("a", number)]).await.expect("kept");
        }
        assert_eq!(numbers(&kept, "a", 10).await, [3, 4, 5, 6]);
        let (again, clock) = letters(&store, 4);
        clock.set(Timestamp(2_000));
        again.keep(vec![letter("a", 7)]).await.expect("kept");
        assert_eq!(numbers(&again, "a", 10).await, [4, 5, 6, 7]);
        assert_eq!((kept.dropped(), again.dropped(), kept.kept()), (2, 1, 6));
    }

    #[tokio::test]
    async fn replayed_letters_are_deleted_one_by_one() {
        let store = Arc::new(InMemory::new());
        let (kept, _) = letters(&store, 100);
        kept.keep((1..=5).map(|n| letter("a", n)).collect())
            .await
            .expect("kept");
        let listed = kept.list("a", 10).await.expect("listed");
        let id: LetterId = listed[1].0.to_string().parse().expect("id");
        assert_eq!(
            kept.delete("a", std::slice::from_ref(&id))
                .await
                .expect("deleted"),
            1
        );
        let mut left = numbers(&kept, "a", 10).await;
        // What is left of an object is stored anew by the time of its first letter.
        left.sort_unstable();
        assert_eq!(left, [1, 3, 4, 5]);
        assert_eq!(
            kept.delete("a", std::slice::from_ref(&id))
                .await
                .expect("nothing left"),
            0
        );
        let all: Vec<_> = kept.list("a", 10).await.expect("listed");
        let ids: Vec<_> = all.into_iter().map(|(id, _)| id).collect();
        assert_eq!(kept.delete("a", &ids).await.expect("deleted"), 4);
        assert!(numbers(&kept, "a", 10).await.is_empty());
        assert!("../x.0".parse::<LetterId>().is_err());
    }
}
