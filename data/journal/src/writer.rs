//! The two tasks behind `append`: one encodes the next object, one writes the present one and answers its callers.

use std::sync::Arc;

use arrow::array::RecordBatch;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use revgauge_contract::{Clock, Position, Timestamp, cut::Delivered, invariant::Invariant};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};

use crate::{
    JournalError,
    backoff::Backoff,
    combine::{bytes_of, combine},
    format::{Body, Header, decode},
    journal::{COVERS_ITSELF, Shared},
    queue::Waiting,
};

type Answer = oneshot::Sender<Result<Position, JournalError>>;

/// A group ready to be written.
pub(crate) struct Encoded {
    batch: RecordBatch,
    bytes: usize,
    body: Body,
    covers: Position,
    answers: Vec<Answer>,
}

/// Takes groups off the queue and encodes them, at most one ahead of the writer.
pub(crate) async fn encode_groups(shared: Arc<Shared>, ready: mpsc::Sender<Encoded>) {
    loop {
        // The slot is reserved first, so that appends gather in the queue and not in front of the writer.
        let Ok(slot) = ready.reserve().await else {
            // The writer is gone: nobody may wait for it.
            return shared.queue.fail(&JournalError::Task("writes the journal"));
        };
        let Some(group) = shared.queue.take().await else {
            return;
        };
        let (answers, parts) = split(group);
        match encode(&shared, parts).await {
            Ok((batch, bytes, body, covers)) => slot.send(Encoded {
                batch,
                bytes,
                body,
                covers,
                answers,
            }),
            Err(error) => {
                answer(answers, &Err(error));
                shared.queue.answered();
            }
        }
    }
}

fn split(group: Vec<Waiting>) -> (Vec<Answer>, Vec<(RecordBatch, Position)>) {
    group
        .into_iter()
        .map(|waiting| (waiting.answer, (waiting.batch, waiting.covers)))
        .unzip()
}

async fn encode(
    shared: &Arc<Shared>,
    parts: Vec<(RecordBatch, Position)>,
) -> Result<(RecordBatch, usize, Body, Position), JournalError> {
    let schema = Arc::clone(&shared.schema);
    let compression = shared.settings.compression;
    let encoded = spawn_blocking(move || {
        let covers = parts.iter().map(|(_, covers)| *covers).max();
        let batches: Vec<_> = parts.into_iter().map(|(batch, _)| batch).collect();
        let batch = combine(&schema, &batches).map_err(|error| JournalError::Encode {
            attempt: "join appended batches",
            reason: error.to_string(),
        })?;
        let body = Body::encode(&batch, compression)?;
        let bytes = bytes_of(&batch);
        Ok((batch, bytes, body, covers.unwrap_or(COVERS_ITSELF)))
    });
    encoded
        .await
        .unwrap_or(Err(JournalError::Task("encodes journal objects")))
}

fn answer(answers: Vec<Answer>, result: &Result<Position, JournalError>) {
    for one in answers {
        // A caller that went away needs no answer.
        let _ = one.send(result.clone());
    }
}

/// Writes objects one after the other: never two in flight, so that a writer cannot leave a gap (J-2).
pub(crate) struct Writer {
    shared: Arc<Shared>,
    epoch: u64,
    next: Position,
    last_written_at: Timestamp,
    last_covers: Position,
    clock: Arc<dyn Clock>,
    random: StdRng,
    /// Nonces of objects that we tried to write at `next` and do not know the fate of.
    uncertain: Vec<u64>,
}

/// What an attempt to write came to.
enum Attempt {
    /// The object is there and ours.
    Written,
    /// The position holds an earlier object of ours whose fate was unknown.
    EarlierOne,
    /// The store failed; it may have been written or not.
    Unknown(JournalError),
    /// Nothing may be written any more.
    Fatal(JournalError),
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, claim: &Header, clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self {
            shared,
            epoch: claim.epoch,
            next: claim.position.next(),
            last_written_at: claim.written_at,
            last_covers: claim.covers,
            clock,
            random: StdRng::seed_from_u64(seed),
            uncertain: Vec::new(),
        }
    }

    pub(crate) async fn run(mut self, mut groups: mpsc::Receiver<Encoded>) {
        let mut broken: Option<JournalError> = None;
        while let Some(mut group) = groups.recv().await {
            let answers = std::mem::take(&mut group.answers);
            let result = match &broken {
                Some(error) => Err(error.clone()),
                None => self.write(group).await,
            };
            if let Err(error @ (JournalError::Fenced { .. } | JournalError::Corrupt { .. })) = &result
                && broken.is_none()
            {
                tracing::error!(journal = %self.shared.name, %error, "journal takes nothing more");
                broken = Some(error.clone());
                self.shared.queue.fail(error);
            }
            answer(answers, &result);
            self.shared.queue.answered();
        }
    }

    async fn write(&mut self, group: Encoded) -> Result<Position, JournalError> {
        let settings = &self.shared.settings;
        let mut backoff = Backoff::new(
            settings.retry_initial_ms,
            settings.retry_max_ms,
            self.random.random(),
        );
        let attempts = settings.write_attempts.max(1);
        let mut header = self.header(&group);
        loop {
            match self.attempt(&header, &group.body).await {
                Attempt::Written => return Ok(self.written(&header, group)),
                Attempt::EarlierOne => {
                    self.pass_earlier_one().await?;
                    header = self.header(&group);
                }
                Attempt::Fatal(error) => return Err(error),
                Attempt::Unknown(error) => {
                    let wait = backoff.next();
                    if backoff.failures() >= attempts {
                        self.uncertain.push(header.nonce);
                        return Err(error);
                    }
                    tracing::warn!(
                        journal = %self.shared.name, position = header.position.0, %error,
                        wait_ms = wait.as_millis() as u64, "journal write failed, repeated"
                    );
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    fn header(&mut self, group: &Encoded) -> Header {
        let covers = if group.covers == COVERS_ITSELF {
            self.next
        } else {
            group.covers.max(self.last_covers)
        };
        Header {
            claim: false,
            schema_version: self.shared.name.schema_version(),
            position: self.next,
            epoch: self.epoch,
            nonce: self.random.random(),
            written_at: self.clock.now().max(self.last_written_at),
            covers,
            rows: group.batch.num_rows() as u64,
        }
    }

    async fn attempt(&self, header: &Header, body: &Body) -> Attempt {
        let path = self.shared.name.object(header.position);
        let payload: PutPayload = [header.encode(body), body.bytes().clone()].into_iter().collect();
        match self.put(&path, payload.clone(), PutMode::Create).await {
            Ok(()) => Attempt::Written,
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                self.read_back(&path, header, payload).await
            }
            Err(source) => Attempt::Unknown(JournalError::store("write", &path, source)),
        }
    }

    async fn put(&self, path: &Path, payload: PutPayload, mode: PutMode) -> Result<(), StoreError> {
        let put = self.shared.store.put_opts(path, payload, PutOptions::from(mode));
        put.await.map(drop)
    }

    /// The position is taken: by us (a lost answer) or by another (we are fenced), J-3.
    async fn read_back(&self, path: &Path, header: &Header, payload: PutPayload) -> Attempt {
        let bytes = match self.shared.store.get(path).await {
            Ok(got) => got.bytes().await,
            Err(error) => Err(error),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(source) => return Attempt::Unknown(JournalError::store("read back", path, source)),
        };
        let found = match Header::decode(path.as_ref(), &bytes) {
            Ok(found) => found,
            Err(error) => return Attempt::Fatal(error),
        };
        let ours = found.epoch == self.epoch
            && (found.nonce == header.nonce || self.uncertain.contains(&found.nonce));
        if !ours {
            return Attempt::Fatal(JournalError::Fenced {
                journal: self.shared.name.as_str(),
                at: header.position,
                ours: self.epoch,
                theirs: found.epoch,
            });
        }
        let name = self.shared.name;
        let whole = decode(path.as_ref(), &bytes, &self.shared.schema, name.schema_version());
        match whole {
            Ok(_) if found.nonce == header.nonce => Attempt::Written,
            Ok(_) => Attempt::EarlierOne,
            // Ours, torn, and never acknowledged: nobody has read it, so it may be replaced.
            Err(_) => match self.put(path, payload, PutMode::Overwrite).await {
                Ok(()) => Attempt::Written,
                Err(source) => Attempt::Unknown(JournalError::store("rewrite", path, source)),
            },
        }
    }

    /// An earlier object whose callers were told of a failure is there after all: it counts, and we go on after it.
    async fn pass_earlier_one(&mut self) -> Result<(), JournalError> {
        let delivered = self.shared.fetch(self.next).await?;
        self.advance(delivered.written_at, delivered.covers);
        Ok(())
    }

    fn written(&mut self, header: &Header, group: Encoded) -> Position {
        let delivered = Arc::new(Delivered {
            position: header.position,
            written_at: header.written_at,
            covers: header.covers,
            batch: self.shared.stamped(header.position, group.batch),
        });
        self.shared.cache.lock().push(group.bytes, delivered);
        self.advance(header.written_at, header.covers);
        header.position
    }

    fn advance(&mut self, written_at: Timestamp, covers: Position) {
        let at = self.next;
        let before = *self.shared.durable.borrow();
        Invariant::PositionsWithoutGaps.check(before.next() == at, "an object follows the one before it");
        self.last_written_at = written_at;
        self.last_covers = covers;
        self.next = at.next();
        self.uncertain.clear();
        self.shared.ends.lock().last_covers = covers;
        self.shared.durable.send_replace(at);
    }
}

/// Starts both tasks; they end when the queue is closed and empty.
pub(crate) fn start(writer: Writer, shared: &Arc<Shared>) -> tokio::task::JoinHandle<()> {
    let (ready, groups) = mpsc::channel(1);
    tokio::spawn(encode_groups(Arc::clone(shared), ready));
    tokio::spawn(writer.run(groups))
}
