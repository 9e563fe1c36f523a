//! Durable appends per second on a local disk, and reading them back through pump and dedup.
//!
//! `cargo bench -p revgauge-journal --bench append [-- <callers> <seconds>]`. The store below syncs like the product's
//! own (file, then folder), so that the journal is measured without another room.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, local::LocalFileSystem, path::Path,
};
use revgauge_contract::{
    Event, Position, Timestamp,
    cut::{Delivered, JournalConsumer},
    error::Failure,
    event::{EventDraft, Reception},
    intake::EventIntake,
    schema::{batch_of, events},
    time::SystemClock,
};
use revgauge_journal::{
    Compression, DedupSettings, DurableDedup, Journal, JournalName, JournalSettings, Pump, PumpSettings,
};
use tokio_util::sync::CancellationToken;

const BATCH: usize = 500;

#[derive(Debug)]
struct Synced {
    inner: LocalFileSystem,
    root: PathBuf,
    syncs_us: AtomicU64,
}

impl fmt::Display for Synced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Synced")
    }
}

#[async_trait]
impl ObjectStore for Synced {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(location, payload, opts).await?;
        let file = self.root.join(location.as_ref());
        let begun = Instant::now();
        tokio::task::spawn_blocking(move || {
            std::fs::File::open(&file)
                .and_then(|opened| opened.sync_all())
                .expect("file synced");
            let folder = file.parent().expect("folder");
            std::fs::File::open(folder)
                .and_then(|opened| opened.sync_all())
                .expect("folder synced");
        })
        .await?;
        self.syncs_us
            .fetch_add(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
        Ok(put)
    }
    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn sample(serial: u64) -> Vec<Event> {
    let reception = Reception::live("tenant-1".into(), Timestamp(1_770_000_000_000_000), "http");
    (0..BATCH as u64)
        .map(|row| {
            let id = serial * BATCH as u64 + row;
            let draft = EventDraft {
                event_id: Some(format!("0198f2c4-7c1e-7{:03x}-9b1d-{id:012x}", id % 4_096)),
                event_type: Some("email.opened".into()),
                email: Some(format!("person{}@company{}.com", id % 100_000, id % 3_000)),
                user_id: Some(format!("rep-{}", id % 40)),
                payload: serde_json::from_str(&format!(
                    r#"{{"campaign":"spring-{}","message_id":"m{id}","agent":"Mozilla/5.0"}}"#,
                    id % 7
                ))
                .expect("json"),
                ..EventDraft::default()
            };
            draft.accept(&reception).expect("accepted")
        })
        .collect()
}

struct Count(Arc<AtomicU64>);

#[async_trait]
impl JournalConsumer for Count {
    fn name(&self) -> &'static str {
        "count"
    }
    fn resume_after(&self) -> Position {
        Position::START
    }
    async fn deliver(&mut self, delivered: &Arc<Delivered>) -> std::result::Result<(), Failure> {
        self.0
            .fetch_add(delivered.batch.num_rows() as u64, Ordering::Relaxed);
        Ok(())
    }
}

async fn measure(compression: Compression, callers: usize, seconds: u64) {
    let dir = tempfile::tempdir_in(".").expect("folder");
    let store = Arc::new(Synced {
        inner: LocalFileSystem::new_with_prefix(dir.path()).expect("store"),
        root: dir.path().to_owned(),
        syncs_us: AtomicU64::new(0),
    });
    let settings = JournalSettings {
        compression,
        ..JournalSettings::default()
    };
    let shared: Arc<dyn ObjectStore> = Arc::clone(&store) as _;
    let journal = Journal::open(
        Arc::clone(&shared),
        JournalName::Events,
        events(),
        settings,
        Arc::new(SystemClock),
        1,
    )
    .await
    .expect("opened");
    let batches: Vec<_> = (0..400).map(|serial| batch_of(&sample(serial))).collect();
    let begun = Instant::now();
    let serial = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (journal, serial, batches) = (Arc::clone(&journal), Arc::clone(&serial), batches.clone());
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while begun.elapsed() < Duration::from_secs(seconds) {
                let next = serial.fetch_add(1, Ordering::Relaxed) as usize;
                let at = Instant::now();
                journal
                    .append_batch(batches[next % batches.len()].clone())
                    .await
                    .expect("appended");
                waits.push(at.elapsed());
            }
            waits
        });
    }
    let mut waits: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    let elapsed = begun.elapsed().as_secs_f64();
    waits.sort_unstable();
    let objects = journal.last().0 - 1;
    let rows = (waits.len() * BATCH) as f64;
    let bytes: u64 = std::fs::read_dir(dir.path().join("journal/events"))
        .expect("objects")
        .map(|entry| entry.expect("entry").metadata().expect("metadata").len())
        .sum();
    println!(
        "{compression:?} {callers} callers: {:.0} events/s durable, p50 {:.1} ms, p99 {:.1} ms, {objects} objects, \
         {:.1} ms sync an object, {:.0} bytes an event",
        rows / elapsed,
        waits[waits.len() / 2].as_secs_f64() * 1e3,
        waits[waits.len() * 99 / 100].as_secs_f64() * 1e3,
        store.syncs_us.load(Ordering::Relaxed) as f64 / 1e3 / objects as f64,
        bytes as f64 / rows,
    );
    read_back(shared, journal, rows).await;
}

async fn read_back(store: Arc<dyn ObjectStore>, journal: Arc<Journal>, rows: f64) {
    let dedup = DurableDedup::open(
        store,
        Path::from("checkpoints/dedup"),
        Position::START,
        DedupSettings::default(),
        1,
    )
    .await
    .expect("dedup");
    let count = Arc::new(AtomicU64::new(0));
    let pump = Pump::new(
        Arc::clone(&journal),
        vec![Box::new(Count(Arc::clone(&count)))],
        Some(dedup),
        Arc::new(|| Position::START),
        PumpSettings::default(),
        1,
    );
    let mut progress = pump.progress();
    let shutdown = CancellationToken::new();
    let begun = Instant::now();
    let running = tokio::spawn(pump.run(shutdown.clone()));
    let last = journal.last();
    progress.wait_for(|at| *at >= last).await.expect("delivered");
    println!(
        "    read, decoded, deduplicated: {:.0} events/s, {} of {rows} events were first",
        rows / begun.elapsed().as_secs_f64(),
        count.load(Ordering::Relaxed),
    );
    shutdown.cancel();
    running.await.expect("joined").expect("stopped");
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let (callers, seconds) = match numbers.as_slice() {
        [callers, seconds, ..] => (*callers as usize, *seconds),
        _ => (16, 5),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        for compression in [Compression::Zstd, Compression::Lz4, Compression::None] {
            measure(compression, callers, seconds).await;
        }
        measure(Compression::Zstd, 1, seconds).await;
    });
}
