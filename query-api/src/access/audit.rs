//! The audit log: who read personal data, who changed what, who was refused; an ordered log in the store.
//!
//! Noting never waits and never fails: a record goes into a queue of fixed length. When that is full the record is lost,
//! but not silently: the next record that is written is preceded by one of the action `gap` that says how many were, and
//! the metric `revgauge_audit_lost_total` counts them. A task writes the queue, some seconds of it at a time; equal
//! records of one such time are one record with their number. What a crash can lose is that time.
//!
//! `audit/<tenant>/<start, us>-<nonce>.ndjson` holds one record a line; an object grows until it is an hour old or full,
//! then the next one begins.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use parking_lot::Mutex;
use rand::{TryRngCore as _, rngs::OsRng};
use revgauge_contract::{Clock, ErrorKind, Timestamp, access::Caller, error::Failure, time::DAY_US};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

const FOLDER: &str = "audit";
const HOUR_US: i64 = 3_600_000_000;

/// Numbers of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSettings {
    /// Records that may wait to be written; past it they are lost and counted.
    pub queue_records: usize,
    /// Longest time between the noting of a record and its writing, milliseconds.
    pub flush_ms: u64,
    /// Bytes of one object of the log.
    pub object_bytes: usize,
    /// Days that records are kept.
    pub retention_days: u32,
    /// Most records of one answer, newest first.
    pub max_records: usize,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            queue_records: 20_000,
            flush_ms: 2_000,
            object_bytes: 1 << 20,
            retention_days: 730,
            max_records: 100_000,
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditAction {
    /// Personal data was read.
    Read,
    /// Something was changed.
    Change,
    /// Something was refused.
    Denied,
    /// Records were lost before this one.
    Gap,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When; of several that were equal, the first.
    pub at: Timestamp,
    /// Key id or `user:login` of who did it.
    pub actor: String,
    /// Its role.
    pub role: String,
    /// What.
    pub action: AuditAction,
    /// Way in: `rest`, `sql`, `web`.
    pub door: String,
    /// Path of the door, or tables of the query.
    pub object: String,
    /// Anything else: status, reason.
    pub detail: String,
    /// How many equal ones there were.
    pub times: u64,
}

enum Message {
    Note(Arc<str>, AuditRecord),
    Flush(oneshot::Sender<()>),
}

/// The log of all tenants.
pub struct AuditLog {
    store: Arc<dyn ObjectStore>,
    settings: AuditSettings,
    clock: Arc<dyn Clock>,
    sender: mpsc::Sender<Message>,
    lost: Arc<Mutex<HashMap<Arc<str>, u64>>>,
    /// What the store does not hold after several tries, microseconds of the first failure; 0 when all is written.
    failing_since_us: Arc<AtomicI64>,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Opens the log in `audit/` of the store. Must be called within a tokio runtime, where its writer runs.
    #[must_use]
    pub fn open(store: Arc<dyn ObjectStore>, settings: AuditSettings, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (sender, receiver) = mpsc::channel(settings.queue_records.max(1));
        let lost = Arc::default();
        let failing_since_us = Arc::default();
        let writer = Writer {
            store: Arc::clone(&store),
            settings: settings.clone(),
            clock: Arc::clone(&clock),
            lost: Arc::clone(&lost),
            failing_since_us: Arc::clone(&failing_since_us),
            pending: BTreeMap::new(),
            open: HashMap::new(),
            swept_at: Timestamp(i64::MIN),
        };
        tokio::spawn(writer.run(receiver));
        Arc::new(Self {
            store,
            settings,
            clock,
            sender,
            lost,
            failing_since_us,
        })
    }

    /// Notes what a caller did. Never waits.
    pub(crate) fn note(&self, caller: &Caller, action: AuditAction, door: &str, object: &str, detail: &str) {
        let short = |text: &str| text.chars().take(400).collect::<String>();
        let record = AuditRecord {
            at: self.clock.now(),
            actor: caller.key_id.to_string(),
            role: caller.role.as_str().to_owned(),
            action,
            door: door.to_owned(),
            object: short(object),
            detail: short(detail),
            times: 1,
        };
        let message = Message::Note(Arc::clone(&caller.tenant_id), record);
        if self.sender.try_send(message).is_err() {
            *self.lost.lock().entry(Arc::clone(&caller.tenant_id)).or_default() += 1;
            metrics::counter!("revgauge_audit_lost_total").increment(1);
        }
    }

    /// Writes what waits, as far as the store takes it.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.sender.send(Message::Flush(done)).await.is_ok() {
            let _ = written.await;
        }
    }

    /// Records of a tenant in `[from, to)`, newest first, at most `limit`; what waits is written before.
    ///
    /// # Errors
    /// When the store fails or a stored record cannot be read.
    pub async fn read(
        &self,
        tenant_id: &str,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, Failure> {
        self.flush().await;
        let limit = limit.min(self.settings.max_records);
        let mut objects = list(self.store.as_ref(), tenant_id).await?;
        objects.sort_by(|a, b| b.cmp(a));
        let mut found: Vec<AuditRecord> = Vec::new();
        for (started, path) in objects {
            if started >= to {
                continue;
            }
            // An object is open for an hour: what began long before `from` ends before it.
            if started.plus_micros(2 * HOUR_US) < from || found.len() >= limit {
                break;
            }
            let bytes = async { self.store.get(&path).await?.bytes().await };
            let bytes = bytes.await.map_err(|error| failed("read", &path, &error))?;
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let record: AuditRecord = serde_json::from_slice(line).map_err(|error| {
                    Failure::new(
                        ErrorKind::Data,
                        format!("cannot read a record of the audit log in '{path}': {error}"),
                    )
                })?;
                if record.at >= from && record.at < to {
                    found.push(record);
                }
            }
        }
        found.sort_by_key(|record| std::cmp::Reverse(record.at));
        found.truncate(limit);
        Ok(found)
    }

    /// Since when the store has refused to take records; `None` when everything noted is written or waits its turn.
    #[must_use]
    pub fn failing_since(&self) -> Option<Timestamp> {
        let since = self.failing_since_us.load(Ordering::Relaxed);
        (since != 0).then_some(Timestamp(since))
    }
}

type Equal = (String, AuditAction, String, String, String);

/// An object that still grows.
struct Growing {
    path: Path,
    started: Timestamp,
    bytes: Vec<u8>,
    written: usize,
}

struct Writer {
    store: Arc<dyn ObjectStore>,
    settings: AuditSettings,
    clock: Arc<dyn Clock>,
    lost: Arc<Mutex<HashMap<Arc<str>, u64>>>,
    failing_since_us: Arc<AtomicI64>,
    pending: BTreeMap<Arc<str>, HashMap<Equal, AuditRecord>>,
    open: HashMap<Arc<str>, Growing>,
    swept_at: Timestamp,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Message>) {
        let mut tick = tokio::time::interval(Duration::from_millis(self.settings.flush_ms.max(10)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = receiver.recv() => match message {
                    Some(Message::Note(tenant, record)) => self.take(tenant, record),
                    Some(Message::Flush(done)) => {
                        self.write().await;
                        let _ = done.send(());
                    }
                    None => {
                        self.write().await;
                        return;
                    }
                },
                _ = tick.tick() => {
                    self.write().await;
                    self.sweep().await;
                }
            }
        }
    }

    fn take(&mut self, tenant: Arc<str>, record: AuditRecord) {
        let equal = (
            record.actor.clone(),
            record.action,
            record.door.clone(),
            record.object.clone(),
            record.detail.clone(),
        );
        let known = self.pending.entry(tenant).or_default().entry(equal);
        known.and_modify(|known| known.times += 1).or_insert(record);
    }

    async fn write(&mut self) {
        let now = self.clock.now();
        let lost_by_tenant = std::mem::take(&mut *self.lost.lock());
        for (tenant, lost) in lost_by_tenant {
            let gap = AuditRecord {
                at: now,
                actor: String::new(),
                role: String::new(),
                action: AuditAction::Gap,
                door: String::new(),
                object: String::new(),
                detail: "the queue was full: this many records are missing".to_owned(),
                times: lost,
            };
            self.take(tenant, gap);
        }
        for (tenant, records) in std::mem::take(&mut self.pending) {
            let mut records: Vec<AuditRecord> = records.into_values().collect();
            records.sort_by_key(|record| record.at);
            let growing = self
                .open
                .entry(Arc::clone(&tenant))
                .or_insert_with(|| Growing::begin(&tenant, now));
            for record in records {
                // What the store has not taken for long is given up, newest first, and counted.
                if growing.bytes.len() > 8 * self.settings.object_bytes {
                    *self.lost.lock().entry(Arc::clone(&tenant)).or_default() += record.times;
                    metrics::counter!("revgauge_audit_lost_total").increment(record.times);
                    continue;
                }
                if serde_json::to_writer(&mut growing.bytes, &record).is_ok() {
                    growing.bytes.push(b'\n');
                }
            }
        }
        let mut full = Vec::new();
        let mut failing = false;
        for (tenant, growing) in &mut self.open {
            if growing.written < growing.bytes.len() {
                let body = growing.bytes.clone();
                match self.store.put(&growing.path, body.into()).await {
                    Ok(_) => growing.written = growing.bytes.len(),
                    Err(error) => {
                        failing = true;
                        tracing::error!(path = %growing.path, %error, "the audit log cannot be written, trying again");
                        continue;
                    }
                }
            }
            if growing.bytes.len() >= self.settings.object_bytes
                || growing.started.plus_micros(HOUR_US) <= now
            {
                full.push(Arc::clone(tenant));
            }
        }
        for tenant in full {
            self.open.remove(&tenant);
        }
        if !failing {
            self.failing_since_us.store(0, Ordering::Relaxed);
        } else if self.failing_since_us.load(Ordering::Relaxed) == 0 {
            self.failing_since_us
                .store(now.micros().max(1), Ordering::Relaxed);
        }
    }

    /// Deletes what is past its retention, once a day.
    async fn sweep(&mut self) {
        let now = self.clock.now();
        if now.micros().saturating_sub(self.swept_at.micros()) < DAY_US {
            return;
        }
        self.swept_at = now;
        let before = now.plus_micros(-i64::from(self.settings.retention_days) * DAY_US - HOUR_US);
        let listed: Result<Vec<_>, _> = self.store.list(Some(&Path::from(FOLDER))).try_collect().await;
        match listed {
            Ok(objects) => {
                for object in objects {
                    let old = started_of(&object.location).is_some_and(|started| started < before);
                    if old && let Err(error) = self.store.delete(&object.location).await {
                        tracing::warn!(path = %object.location, %error, "an old part of the audit log stays");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the audit log cannot be listed for its retention"),
        }
    }
}

impl Growing {
    fn begin(tenant: &str, now: Timestamp) -> Self {
        // Two processes on one store never write the same object.
        let nonce = OsRng.try_next_u32().unwrap_or_default();
        let name = format!("{:020}-{nonce:08x}.ndjson", now.micros().max(0));
        Self {
            path: Path::from(FOLDER).join(tenant).join(name),
            started: now,
            bytes: Vec::new(),
            written: 0,
        }
    }
}

fn started_of(path: &Path) -> Option<Timestamp> {
    let (micros, _) = path.filename()?.strip_suffix(".ndjson")?.split_once('-')?;
    micros.parse().ok().map(Timestamp)
}

async fn list(store: &dyn ObjectStore, tenant_id: &str) -> Result<Vec<(Timestamp, Path)>, Failure> {
    let folder = Path::from(FOLDER).join(tenant_id);
    let listed: Vec<_> = store
        .list(Some(&folder))
        .try_collect()
        .await
        .map_err(|error| failed("list", &folder, &error))?;
    Ok(listed
        .into_iter()
        .filter_map(|object| Some((started_of(&object.location)?, object.location)))
        .collect())
}

fn failed(what: &str, path: &Path, error: &object_store::Error) -> Failure {
    Failure::new(
        ErrorKind::External,
        format!("cannot {what} the audit log at '{path}': {error}"),
    )
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use revgauge_contract::{access::Role, time::ManualClock};

    use super::*;

    const ALL: (Timestamp, Timestamp) = (Timestamp(i64::MIN / 2), Timestamp(i64::MAX / 2));

    #[tokio::test]
    async fn records_are_kept_in_order_by_tenant_and_equal_ones_are_counted() {
        let store = Arc::new(InMemory::new());
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
        let log = AuditLog::open(
            Arc::clone(&store) as _,
            AuditSettings::default(),
            Arc::clone(&clock) as _,
        );
        let caller = |tenant: &str| Caller::new(tenant, "k1", Role::Admin);
        for _ in 0..3 {
            log.note(
                &caller("acme"),
                AuditAction::Read,
                "rest",
                "/v1/contacts/c1",
                "200",
            );
        }
        clock.set(Timestamp(2_000_000));
        log.note(&caller("acme"), AuditAction::Denied, "rest", "/v1/keys", "403");
        log.note(&caller("other"), AuditAction::Change, "rest", "/v1/keys", "201");
        let found = log.read("acme", ALL.0, ALL.1, 100).await.expect("reads");
        let short: Vec<_> = found.iter().map(|record| (record.action, record.times)).collect();
        assert_eq!(short, [(AuditAction::Denied, 1), (AuditAction::Read, 3)]);
        let late = log
            .read("acme", Timestamp(1_500_000), ALL.1, 100)
            .await
            .expect("reads");
        assert_eq!(late.len(), 1);
        assert_eq!(
            log.read("other", ALL.0, ALL.1, 100).await.expect("reads").len(),
            1
        );
        // Another process goes on in an object of its own.
        let again = AuditLog::open(store, AuditSettings::default(), clock);
        again.note(&caller("acme"), AuditAction::Read, "sql", "contacts", "");
        assert_eq!(
            again.read("acme", ALL.0, ALL.1, 100).await.expect("reads").len(),
            3
        );
    }

    #[tokio::test]
    async fn a_full_queue_says_how_many_are_missing() {
        let settings = AuditSettings {
            queue_records: 2,
            ..AuditSettings::default()
        };
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
        let log = AuditLog::open(Arc::new(InMemory::new()), settings, clock);
        let caller = Caller::new("acme", "k1", Role::Admin);
        // The writer has had no turn yet: two wait, the others are lost.
        for number in 0..7 {
            log.note(
                &caller,
                AuditAction::Read,
                "rest",
                &format!("/v1/contacts/c{number}"),
                "",
            );
        }
        let found = log.read("acme", ALL.0, ALL.1, 100).await.expect("reads");
        let gap: u64 = found
            .iter()
            .filter(|record| record.action == AuditAction::Gap)
            .map(|record| record.times)
            .sum();
        let kept = found
            .iter()
            .filter(|record| record.action == AuditAction::Read)
            .count();
        assert_eq!((gap, kept), (5, 2), "{found:?}");
    }

    #[tokio::test]
    async fn old_records_go() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let day = |number: i64| Timestamp(number * DAY_US);
        let clock = Arc::new(ManualClock::at(day(10)));
        let log = AuditLog::open(
            Arc::clone(&store),
            AuditSettings::default(),
            Arc::clone(&clock) as _,
        );
        let caller = Caller::new("acme", "k1", Role::Admin);
        log.note(&caller, AuditAction::Read, "rest", "/x", "");
        log.flush().await;
        clock.set(day(10 + 731));
        let later = AuditLog::open(
            Arc::clone(&store),
            AuditSettings {
                flush_ms: 10,
                ..AuditSettings::default()
            },
            clock,
        );
        for _ in 0..200 {
            if later
                .read("acme", ALL.0, ALL.1, 10)
                .await
                .expect("reads")
                .is_empty()
            {
                return;
            }
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the record of two years ago is still there");
    }
}
