//! An object store with named toxics, chosen by seed.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory,
    path::Path,
};
use parking_lot::Mutex;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Names of the toxics as they stand in the log.
pub(crate) const TOXICS: [&str; 7] = [
    "lost answer",
    "failed put",
    "slow put",
    "conflict with itself",
    "torn object",
    "killed",
    "failed get",
];

/// How often each toxic acts, in percent of the puts (or gets).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    /// The object is written, the answer is lost.
    pub(crate) lost_answer: u32,
    /// Nothing is written.
    pub(crate) failed_put: u32,
    /// It takes a while.
    pub(crate) slow_put: u32,
    /// The object is written, and a repetition by the client meets it: the answer is a conflict.
    pub(crate) conflict: u32,
    /// Part of the object is written, the answer is an error.
    pub(crate) torn: u32,
    /// The process dies, before or after the write.
    pub(crate) killed: u32,
    /// A read fails.
    pub(crate) failed_get: u32,
}

impl Rates {
    /// Everything, often.
    pub(crate) const HARSH: Self = Self {
        lost_answer: 8,
        failed_put: 8,
        slow_put: 8,
        conflict: 8,
        torn: 8,
        killed: 6,
        failed_get: 10,
    };

    /// Any mixture that leaves half of the puts alone.
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        prop::array::uniform7(0_u32..9).prop_map(|rates| {
            let [
                lost_answer,
                failed_put,
                slow_put,
                conflict,
                torn,
                killed,
                failed_get,
            ] = rates;
            Self {
                lost_answer,
                failed_put,
                slow_put,
                conflict,
                torn,
                killed,
                failed_get,
            }
        })
    }
}

/// One process's view of a disk that outlives it.
#[derive(Debug)]
pub(crate) struct FaultStore {
    disk: Arc<InMemory>,
    random: Mutex<StdRng>,
    rates: Mutex<Option<Rates>>,
    dead: AtomicBool,
    log: Mutex<Vec<String>>,
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultStore")
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Toxic {
    None,
    LostAnswer,
    FailedPut,
    SlowPut,
    Conflict,
    Torn(f64),
    Killed { written: bool },
}

impl FaultStore {
    pub(crate) fn new(disk: Arc<InMemory>, seed: u64, rates: Rates) -> Self {
        Self {
            disk,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            rates: Mutex::new(Some(rates)),
            dead: AtomicBool::new(false),
            log: Mutex::default(),
        }
    }

    /// No more faults.
    pub(crate) fn heal(&self) {
        *self.rates.lock() = None;
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock())
    }

    fn note(&self, what: &str, location: &Path) {
        self.log.lock().push(format!("{what}: {location}"));
    }

    fn toxic(&self) -> Toxic {
        let Some(rates) = *self.rates.lock() else {
            return Toxic::None;
        };
        let mut random = self.random.lock();
        let mut dice = i64::from(random.random_range(0_u32..100));
        let mut hit = |rate: u32| {
            dice -= i64::from(rate);
            (-i64::from(rate)..0).contains(&dice)
        };
        if hit(rates.lost_answer) {
            Toxic::LostAnswer
        } else if hit(rates.failed_put) {
            Toxic::FailedPut
        } else if hit(rates.slow_put) {
            Toxic::SlowPut
        } else if hit(rates.conflict) {
            Toxic::Conflict
        } else if hit(rates.torn) {
            Toxic::Torn(random.random())
        } else if hit(rates.killed) {
            Toxic::Killed {
                written: random.random(),
            }
        } else {
            Toxic::None
        }
    }

    fn alive(&self) -> Result<()> {
        if self.is_dead() {
            return Err(error("the process is dead"));
        }
        Ok(())
    }
}

fn error(what: &'static str) -> Error {
    Error::Generic {
        store: "FaultStore",
        source: what.into(),
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.alive()?;
        let toxic = self.toxic();
        let whole = Bytes::from(payload.clone());
        let put = |payload: PutPayload| self.disk.put_opts(location, payload, opts);
        match toxic {
            Toxic::None => {
                self.note("put", location);
                put(payload).await
            }
            Toxic::SlowPut => {
                self.note("slow put", location);
                tokio::time::sleep(Duration::from_millis(1)).await;
                put(payload).await
            }
            Toxic::LostAnswer => {
                self.note("lost answer", location);
                put(payload).await?;
                Err(error("lost answer"))
            }
            Toxic::FailedPut => {
                self.note("failed put", location);
                Err(error("failed put"))
            }
            Toxic::Conflict => {
                self.note("conflict with itself", location);
                put(payload).await?;
                Err(Error::AlreadyExists {
                    path: location.to_string(),
                    source: "conflict with itself".into(),
                })
            }
            Toxic::Torn(part) => {
                self.note("torn object", location);
                let len = (whole.len() as f64 * part) as usize;
                put(whole.slice(..len).into()).await?;
                Err(error("torn object"))
            }
            Toxic::Killed { written } => {
                self.note("killed", location);
                self.dead.store(true, Ordering::SeqCst);
                if written {
                    put(payload).await?;
                }
                Err(error("killed"))
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(error("the journal uploads in one piece"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.alive()?;
        let rate = self.rates.lock().map_or(0, |rates| rates.failed_get);
        if self.random.lock().random_range(0..100) < rate {
            self.note("failed get", location);
            return Err(error("failed get"));
        }
        self.note("get", location);
        self.disk.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if self.is_dead() {
            return stream::once(async { Err(error("the process is dead")) }).boxed();
        }
        // Sequential, so that a failure in the middle leaves a known half.
        let disk = Arc::clone(&self.disk);
        locations
            .then(move |location| {
                let disk = Arc::clone(&disk);
                async move {
                    let location = location?;
                    disk.delete(&location).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.disk.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.disk.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.disk.copy_opts(from, to, options).await
    }
}
