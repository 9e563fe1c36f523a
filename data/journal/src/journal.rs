//! The journal: durable append by group commit, reads by position, trim.

use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    datatypes::SchemaRef,
};
use async_trait::async_trait;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use revgauge_contract::{
    Clock, Event, Position, cut::Delivered, error::Failure, intake::EventIntake, invariant::Invariant,
    position::Cursor, schema::batch_of,
};
use tokio::{
    sync::{oneshot, watch},
    task::{JoinHandle, spawn_blocking},
};

use crate::{
    JournalError, JournalName, JournalSettings,
    cache::Cache,
    combine::bytes_of,
    format::{Header, decode},
    queue::{Queue, Waiting},
    recover::{assess, claim, delete, inventory, read_header},
    writer::{Writer, start},
};

/// Given as `covers` to [`Journal::append`]: the object covers its own position, as events do.
pub const COVERS_ITSELF: Position = Position(u64::MAX);

/// A durable log of record batches in numbered, immutable objects on a store.
///
/// States: open (appends and reads), fenced or damaged (every append fails with the reason, reads go on), shut down.
/// Cheap to share behind an [`Arc`]. Dropping it without [`Journal::shutdown`] still writes what queued.
pub struct Journal {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Trims exclude each other; holds the position through which objects were deleted.
    swept: tokio::sync::Mutex<Position>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("name", &self.shared.name)
            .field("first", &self.first())
            .field("last", &self.last())
            .finish_non_exhaustive()
    }
}

/// What the journal and its tasks share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) name: JournalName,
    pub(crate) schema: SchemaRef,
    pub(crate) settings: JournalSettings,
    pub(crate) queue: Queue,
    pub(crate) cache: Mutex<Cache>,
    pub(crate) durable: watch::Sender<Position>,
    pub(crate) ends: Mutex<Ends>,
}

/// What is known of both ends beside the last position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// Everything through this cursor was trimmed.
    pub(crate) trimmed: Cursor,
    /// Covers of the last object.
    pub(crate) last_covers: Position,
}

impl Journal {
    /// Opens a journal for writing: finds its last object, refuses gaps (J-2) and claims a higher epoch (J-3).
    ///
    /// Costs a list of its folder, one read and one write. Any other process that had it open for writing is fenced
    /// by this. `nonce_seed` must be random for each open. `schema` is the one that goes with `name`.
    ///
    /// # Errors
    /// [`JournalError::Gap`], [`JournalError::Corrupt`] or [`JournalError::TooNew`] for what it finds;
    /// [`JournalError::Busy`] when another writer keeps ahead; [`JournalError::Store`] when the store fails.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        name: JournalName,
        schema: SchemaRef,
        settings: JournalSettings,
        clock: Arc<dyn Clock>,
        nonce_seed: u64,
    ) -> Result<Arc<Self>, JournalError> {
        let extent = assess(name, inventory(&store, name).await?)?;
        delete(&store, name, extent.leftover).await?;
        let shared = Shared {
            queue: Queue::new(name, &settings),
            cache: Mutex::new(Cache::new(settings.cache_bytes)),
            durable: watch::Sender::new(extent.last),
            ends: Mutex::new(Ends {
                trimmed: extent.trimmed,
                last_covers: Position::START,
            }),
            store,
            name,
            schema,
            settings,
        };
        let mut random = StdRng::seed_from_u64(nonce_seed);
        let last = match extent.last {
            Position::START => None,
            last => Some(shared.fetch_whole(last).await?.0),
        };
        let attempts = shared.settings.claim_attempts;
        let claimed = claim(&shared.store, name, last, &*clock, random.random(), attempts).await?;
        shared.ends.lock().last_covers = claimed.covers;
        shared.durable.send_replace(claimed.position);
        tracing::info!(
            journal = %name, first = extent.trimmed.position.next().0, last = claimed.position.0, epoch = claimed.epoch,
            "journal opened"
        );
        let shared = Arc::new(shared);
        let writer = Writer::new(Arc::clone(&shared), &claimed, clock, random.random());
        Ok(Arc::new(Self {
            writer: Mutex::new(Some(start(writer, &shared))),
            swept: tokio::sync::Mutex::new(extent.trimmed.position),
            shared,
        }))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> JournalName {
        self.shared.name
    }

    /// The store it lies on.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.shared.store
    }

    /// Appends durably and waits for it; the position is that of the object, which may hold other appends too.
    ///
    /// `covers` goes with the object (the highest of those grouped), see [`COVERS_ITSELF`]. A batch without rows moves
    /// the position too. If the caller goes away while it waits, the batch is written all the same.
    ///
    /// # Errors
    /// [`JournalError::QueueFull`]: send again later. [`JournalError::Store`]: not acknowledged, though it may have
    /// been written. [`JournalError::Fenced`], [`JournalError::Corrupt`], [`JournalError::Closed`]: for good.
    pub async fn append(&self, batch: RecordBatch, covers: Position) -> Result<Position, JournalError> {
        self.check_schema(&batch)?;
        let (answer, answered) = oneshot::channel();
        self.shared.queue.push(Waiting {
            bytes: bytes_of(&batch),
            batch,
            covers,
            answer,
        })?;
        let position = answered
            .await
            .unwrap_or(Err(JournalError::Task("writes the journal")))?;
        Invariant::AcknowledgedIsDurable.check(position <= self.last(), "an answer follows its write");
        Ok(position)
    }

    fn check_schema(&self, batch: &RecordBatch) -> Result<(), JournalError> {
        let (ours, theirs) = (self.shared.schema.fields(), batch.schema_ref().fields());
        if Arc::ptr_eq(&self.shared.schema, batch.schema_ref()) || ours == theirs {
            return Ok(());
        }
        let mut pairs = ours.iter().zip(theirs.iter());
        let difference = pairs.find(|(ours, theirs)| ours != theirs).map_or_else(
            || format!("{} columns instead of {}", theirs.len(), ours.len()),
            |(ours, theirs)| format!("column '{}' where '{}' belongs", theirs.name(), ours.name()),
        );
        Err(JournalError::Schema {
            journal: self.shared.name.as_str(),
            difference,
        })
    }

    /// The last durable position.
    #[must_use]
    pub fn last(&self) -> Position {
        *self.shared.durable.borrow()
    }

    /// The first position kept: one past what was trimmed.
    #[must_use]
    pub fn first(&self) -> Position {
        self.trimmed().position.next()
    }

    /// Everything through this cursor was trimmed.
    #[must_use]
    pub fn trimmed(&self) -> Cursor {
        self.shared.ends.lock().trimmed
    }

    /// What the last object covers; for the feed, the event position up to which its entries speak.
    #[must_use]
    pub fn last_covers(&self) -> Position {
        self.shared.ends.lock().last_covers
    }

    /// Follows the last durable position.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Position> {
        self.shared.durable.subscribe()
    }

    /// The rows of a position, from memory when it was written lately.
    ///
    /// For the feed the columns `position` and `row` are filled: the cursor after each row.
    ///
    /// # Errors
    /// [`JournalError::Trimmed`] or [`JournalError::NotYet`] outside of what there is; [`JournalError::Corrupt`],
    /// [`JournalError::TooNew`] or [`JournalError::Store`] for what the object met.
    pub async fn read(&self, position: Position) -> Result<Arc<Delivered>, JournalError> {
        let (journal, first, last) = (self.shared.name.as_str(), self.first(), self.last());
        if position < first {
            return Err(JournalError::Trimmed {
                journal,
                position,
                first,
            });
        }
        if position > last {
            return Err(JournalError::NotYet {
                journal,
                position,
                last,
            });
        }
        match self.shared.fetch(position).await {
            // A trim may have overtaken the read.
            Err(error) if error.is_not_found() && position < self.first() => Err(JournalError::Trimmed {
                journal,
                position,
                first: self.first(),
            }),
            other => other,
        }
    }

    /// Deletes the objects through a position that no reader needs any more; the newest object always stays.
    ///
    /// The trim is made durable by a mark first, so that objects which reappear after a power loss are known as
    /// left-overs. Returns the position through which the journal is trimmed now.
    ///
    /// # Errors
    /// [`JournalError::Store`]; what was not deleted is deleted by the next trim or open.
    pub async fn trim_through(&self, position: Position) -> Result<Position, JournalError> {
        let mut swept = self.swept.lock().await;
        let name = self.shared.name;
        let target = position.min(Position(self.last().0.saturating_sub(1)));
        let before = self.trimmed();
        if target > before.position {
            let through = Cursor {
                position: target,
                row: self.rows_of(target).await?,
            };
            let mark = name.trim_mark(through);
            let written = self.store().put(&mark, PutPayload::default()).await;
            written.map_err(|source| JournalError::store("write", &mark, source))?;
            self.shared.ends.lock().trimmed = through;
            if before.position > Position::START {
                let mark = name.trim_mark(before);
                if let Err(error) = self.store().delete(&mark).await {
                    tracing::warn!(object = %mark, %error, "old trim mark could not be deleted");
                }
            }
        }
        let trimmed = self.trimmed().position;
        if trimmed > *swept {
            let gone = (swept.0 + 1..=trimmed.0).map(Position).collect();
            delete(&self.shared.store, name, gone).await?;
            *swept = trimmed;
        }
        Ok(trimmed)
    }

    async fn rows_of(&self, position: Position) -> Result<u64, JournalError> {
        let cached = self.shared.cache.lock().get(position);
        match cached {
            Some(delivered) => Ok(delivered.batch.num_rows() as u64),
            None => {
                let header = read_header(&self.shared.store, self.shared.name, position).await?;
                Ok(header.rows)
            }
        }
    }

    /// Takes nothing more, writes what queued and waits for it.
    pub async fn shutdown(&self) {
        self.shared.queue.close();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer
            && writer.await.is_err()
        {
            tracing::error!(journal = %self.shared.name, "the task that writes the journal ended early");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl Shared {
    /// The rows of a position from memory or the store, whatever is known of its ends.
    pub(crate) async fn fetch(&self, position: Position) -> Result<Arc<Delivered>, JournalError> {
        let cached = self.cache.lock().get(position);
        if let Some(delivered) = cached {
            return Ok(delivered);
        }
        let (header, batch) = self.fetch_whole(position).await?;
        Ok(Arc::new(Delivered {
            position,
            written_at: header.written_at,
            covers: header.covers,
            batch: self.stamped(position, batch),
        }))
    }

    async fn fetch_whole(&self, position: Position) -> Result<(Header, RecordBatch), JournalError> {
        let path = self.name.object(position);
        let failed = |source| JournalError::store("read", &path, source);
        let got = self.store.get(&path).await.map_err(failed)?;
        let bytes = got.bytes().await.map_err(failed)?;
        let (schema, version) = (Arc::clone(&self.schema), self.name.schema_version());
        let object = path.to_string();
        let decoded = spawn_blocking(move || decode(&object, &bytes, &schema, version));
        let (header, batch) = decoded
            .await
            .unwrap_or(Err(JournalError::Task("decodes journal objects")))?;
        if header.position != position {
            let reason = format!("its header says position {}", header.position);
            return Err(JournalError::corrupt(&path, reason));
        }
        Ok((header, batch))
    }

    /// Fills the columns of the feed that are known only once the object is written.
    pub(crate) fn stamped(&self, position: Position, batch: RecordBatch) -> RecordBatch {
        if self.name != JournalName::Feed {
            return batch;
        }
        let rows = batch.num_rows() as i64;
        let schema = batch.schema();
        let columns = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| -> ArrayRef {
                match field.name().as_str() {
                    "position" => Arc::new(Int64Array::from_value(position.0 as i64, rows as usize)),
                    "row" => Arc::new(Int64Array::from_iter_values(1..=rows)),
                    _ => Arc::clone(column),
                }
            })
            .collect();
        RecordBatch::try_new(schema, columns).expect("columns keep their type and length")
    }
}

#[async_trait]
impl EventIntake for Journal {
    async fn append(&self, events: Vec<Event>) -> Result<Position, Failure> {
        if events.is_empty() {
            return Ok(self.last());
        }
        Ok(Self::append(self, batch_of(&events), COVERS_ITSELF).await?)
    }

    async fn append_batch(&self, batch: RecordBatch) -> Result<Position, Failure> {
        if batch.num_rows() == 0 {
            return Ok(self.last());
        }
        Ok(Self::append(self, batch, COVERS_ITSELF).await?)
    }
}

#[cfg(test)]
mod tests;
