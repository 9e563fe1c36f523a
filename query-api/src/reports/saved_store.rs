//! Where saved reports and their deliveries are kept: one object each, read once at start.
//!
//! The delivery of a report for a due instant is one object named after the two, created only if absent: that is what
//! makes a due instant count once, through restarts and for two servers at once.

use std::{collections::BTreeMap, fmt, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, path::Path};
use parking_lot::{Mutex, RwLock};
use rand::{RngCore, TryRngCore as _, rngs::OsRng};
use revgauge_contract::{Clock, Timestamp};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    DeliverySettings,
    saved::{Delivery, DeliveryState, Pattern, SavedError, SavedReport, Schedule, Target},
};

const HOUR_US: i64 = 3_600_000_000;
/// Reads of the store at the same time when it opens.
const READS: usize = 16;

type Key = (String, String);

#[derive(Default)]
struct Held {
    reports: BTreeMap<Key, SavedReport>,
    deliveries: BTreeMap<Key, BTreeMap<Timestamp, Delivery>>,
}

/// All saved reports of a deployment.
pub struct SavedReports {
    store: Arc<dyn ObjectStore>,
    settings: DeliverySettings,
    clock: Arc<dyn Clock>,
    random: Mutex<Box<dyn RngCore + Send>>,
    held: RwLock<Held>,
}

impl fmt::Debug for SavedReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedReports")
            .field("reports", &self.held.read().reports.len())
            .finish_non_exhaustive()
    }
}

impl SavedReports {
    /// Reads what is kept under `reports/` of the store. Costs one read an object, a few at a time.
    ///
    /// # Errors
    /// When the store fails or an object cannot be read.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        settings: DeliverySettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, SavedError> {
        let mut held = Held::default();
        for (_, report) in read_all::<SavedReport>(&store, "reports/saved").await? {
            held.reports
                .insert((report.tenant_id.clone(), report.report_id.clone()), report);
        }
        for (path, delivery) in read_all::<Delivery>(&store, "reports/deliveries").await? {
            let parts: Vec<String> = path.parts().map(|part| part.as_ref().to_owned()).collect();
            if let [_, _, tenant, report, _] = parts.as_slice() {
                let of_report = held.deliveries.entry((tenant.clone(), report.clone()));
                of_report.or_default().insert(delivery.due_at, delivery);
            }
        }
        Ok(Arc::new(Self {
            store,
            settings,
            clock,
            random: Mutex::new(Box::new(OsRng.unwrap_err())),
            held: RwLock::new(held),
        }))
    }

    /// Keeps a query under a title. Durable at return.
    ///
    /// # Errors
    /// When title or query are empty or too long, at the limit, or when the store fails.
    pub async fn save(
        &self,
        tenant_id: &str,
        created_by: &str,
        title: &str,
        sql: &str,
    ) -> Result<SavedReport, SavedError> {
        let (title, sql) = (title.trim(), sql.trim());
        if title.is_empty() || title.chars().count() > 120 || title.chars().any(char::is_control) {
            return Err(refused("its title is one line of 1 to 120 characters"));
        }
        if sql.is_empty() || sql.len() > 20_000 {
            return Err(refused("its query is 1 to 20000 characters long"));
        }
        let own = self.list(tenant_id).len();
        if own >= self.settings.max_saved {
            return Err(SavedError::TooMany(own));
        }
        let report = SavedReport {
            report_id: format!("{:016x}", self.random.lock().next_u64()),
            tenant_id: tenant_id.to_owned(),
            title: title.to_owned(),
            sql: sql.to_owned(),
            created_by: created_by.to_owned(),
            created_at: self.clock.now(),
            schedule: None,
        };
        self.put(&report_path(&report), &report, PutMode::Create).await?;
        self.held.write().reports.insert(
            (report.tenant_id.clone(), report.report_id.clone()),
            report.clone(),
        );
        Ok(report)
    }

    /// Sets or takes away the schedule of a report. What was due before stays as it stands.
    ///
    /// # Errors
    /// When there is no such report, the schedule cannot be used, or the store fails.
    pub async fn schedule(
        &self,
        tenant_id: &str,
        report_id: &str,
        wanted: Option<(&str, &str, Target)>,
    ) -> Result<SavedReport, SavedError> {
        let mut report = self.get(tenant_id, report_id)?;
        report.schedule = match wanted {
            None => None,
            Some((cron, timezone, target)) => Some(self.checked(cron, timezone, target)?),
        };
        self.put(&report_path(&report), &report, PutMode::Overwrite)
            .await?;
        let key = (tenant_id.to_owned(), report_id.to_owned());
        self.held.write().reports.insert(key, report.clone());
        Ok(report)
    }

    fn checked(&self, cron: &str, timezone: &str, target: Target) -> Result<Schedule, SavedError> {
        let since = self.clock.now();
        let pattern = Pattern::parse(cron, timezone)?;
        let least = i64::from(self.settings.min_interval_seconds) * 1_000_000;
        if pattern.shortest_gap(since).is_some_and(|gap| gap < least) {
            return Err(refused(&format!(
                "its deliveries would be less than {} s apart, which is the setting 'min_interval_seconds'",
                self.settings.min_interval_seconds
            )));
        }
        if pattern.next_after(since).is_none() {
            return Err(refused(&format!("'{cron}' never comes")));
        }
        let target = match target {
            Target::File => Target::File,
            Target::Webhook { url, secret } => Target::Webhook {
                secret: self.webhook_secret(secret)?,
                url: web_address(&url)?,
            },
            Target::Mail { to } => Target::Mail {
                to: self.recipients(to)?,
            },
        };
        Ok(Schedule {
            cron: cron.trim().to_owned(),
            timezone: timezone.trim().to_owned(),
            target,
            since,
        })
    }

    fn webhook_secret(&self, given: String) -> Result<String, SavedError> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        if given.is_empty() {
            let mut bytes = [0_u8; 24];
            self.random.lock().fill_bytes(&mut bytes);
            return Ok(format!("whsec_{}", STANDARD.encode(bytes)));
        }
        super::webhook::key_of(&given).map(|_| given)
    }

    fn recipients(&self, to: Vec<String>) -> Result<Vec<String>, SavedError> {
        if self.settings.smtp.host.is_empty() {
            return Err(refused("no mail server is set; give 'smtp.host' in the settings"));
        }
        if to.is_empty() || to.len() > self.settings.max_recipients {
            return Err(refused(&format!(
                "a mail goes to 1 to {} addresses",
                self.settings.max_recipients
            )));
        }
        for address in &to {
            super::mail::mailbox(address)?;
        }
        Ok(to)
    }

    /// Forgets a report and its deliveries. Files that were delivered stay.
    ///
    /// # Errors
    /// When there is no such report or the store fails.
    pub async fn remove(&self, tenant_id: &str, report_id: &str) -> Result<SavedReport, SavedError> {
        let report = self.get(tenant_id, report_id)?;
        self.delete(&report_path(&report)).await?;
        let key = (tenant_id.to_owned(), report_id.to_owned());
        let deliveries = {
            let mut held = self.held.write();
            held.reports.remove(&key);
            held.deliveries.remove(&key).unwrap_or_default()
        };
        for due_at in deliveries.keys() {
            self.delete(&delivery_path(tenant_id, report_id, *due_at)).await?;
        }
        Ok(report)
    }

    /// One report.
    ///
    /// # Errors
    /// When the tenant has none of this id.
    pub fn get(&self, tenant_id: &str, report_id: &str) -> Result<SavedReport, SavedError> {
        let key = (tenant_id.to_owned(), report_id.to_owned());
        let held = self.held.read();
        let found = held.reports.get(&key).cloned();
        found.ok_or_else(|| SavedError::NoSuchReport(report_id.chars().take(40).collect()))
    }

    /// The reports of a tenant, oldest first.
    #[must_use]
    pub fn list(&self, tenant_id: &str) -> Vec<SavedReport> {
        let held = self.held.read();
        let own = held
            .reports
            .values()
            .filter(|report| report.tenant_id == tenant_id);
        let mut own: Vec<_> = own.cloned().collect();
        own.sort_by(|a, b| (a.created_at, &a.report_id).cmp(&(b.created_at, &b.report_id)));
        own
    }

    /// Deliveries of a report, newest first.
    #[must_use]
    pub fn deliveries(&self, tenant_id: &str, report_id: &str) -> Vec<Delivery> {
        let key = (tenant_id.to_owned(), report_id.to_owned());
        let held = self.held.read();
        let of_report = held.deliveries.get(&key).into_iter();
        of_report.flat_map(|all| all.values().rev().cloned()).collect()
    }

    /// When a report goes out next.
    #[must_use]
    pub fn next_due(&self, report: &SavedReport) -> Option<Timestamp> {
        let schedule = report.schedule.as_ref()?;
        let pattern = Pattern::parse(&schedule.cron, &schedule.timezone).ok()?;
        pattern.next_after(self.clock.now())
    }

    /// Makes a report due now, beside its pattern.
    ///
    /// # Errors
    /// When it has no schedule, hence no target, or the store fails.
    pub async fn send_now(&self, tenant_id: &str, report_id: &str) -> Result<Delivery, SavedError> {
        let report = self.get(tenant_id, report_id)?;
        if report.schedule.is_none() {
            return Err(refused("it has no schedule that says where to; set one first"));
        }
        let now = self.clock.now();
        self.claim(&report, now).await?;
        Ok(waiting(now))
    }

    /// Claims what has become due, and gives all that is to be tried now, oldest first.
    ///
    /// # Errors
    /// When the store fails; what was not claimed is claimed at the next call.
    pub(crate) async fn ready(&self) -> Result<Vec<(SavedReport, Delivery)>, SavedError> {
        /// Instants of one report claimed in one go.
        const MOST: usize = 64;
        let now = self.clock.now();
        let oldest = now.plus_micros(-i64::from(self.settings.catch_up_hours) * HOUR_US);
        for (report, after) in self.scheduled() {
            let Some(schedule) = &report.schedule else {
                continue;
            };
            let Ok(pattern) = Pattern::parse(&schedule.cron, &schedule.timezone) else {
                continue;
            };
            if after < oldest && pattern.next_after(after).is_some_and(|due| due <= oldest) {
                tracing::warn!(report = report.report_id, until = %oldest, "instants a report was due at passed while no server ran");
            }
            for due_at in pattern.due(after.max(oldest), now, MOST) {
                self.claim(&report, due_at).await?;
            }
        }
        let held = self.held.read();
        let mut ready: Vec<(SavedReport, Delivery)> = Vec::new();
        for (key, report) in &held.reports {
            let open = held.deliveries.get(key).into_iter().flat_map(BTreeMap::values);
            let open = open.filter(|delivery| {
                matches!(delivery.state, DeliveryState::Waiting | DeliveryState::Begun)
                    && delivery.next_try_at <= now
            });
            ready.extend(open.map(|delivery| (report.clone(), delivery.clone())));
        }
        ready.sort_by_key(|(_, delivery)| delivery.due_at);
        Ok(ready)
    }

    /// Scheduled reports, and the instant after which they are due again.
    fn scheduled(&self) -> Vec<(SavedReport, Timestamp)> {
        let held = self.held.read();
        let scheduled = held.reports.iter().filter_map(|(key, report)| {
            let since = report.schedule.as_ref()?.since;
            let last = held.deliveries.get(key).and_then(|all| all.keys().next_back());
            Some((report.clone(), last.map_or(since, |last| since.max(*last))))
        });
        scheduled.collect()
    }

    async fn claim(&self, report: &SavedReport, due_at: Timestamp) -> Result<(), SavedError> {
        let path = delivery_path(&report.tenant_id, &report.report_id, due_at);
        let delivery = waiting(due_at);
        let delivery = match self.put(&path, &delivery, PutMode::Create).await {
            Ok(()) => delivery,
            // Another server has it: what it makes of it is read at the next start.
            Err(SavedError::Store {
                source: object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. },
                ..
            }) => Delivery {
                state: DeliveryState::Failed,
                message: "another server claimed it".to_owned(),
                ..delivery
            },
            Err(error) => return Err(error),
        };
        self.remember(report, delivery);
        self.forget_old(report).await
    }

    /// Writes down how a delivery stands. Durable at return.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn record(&self, report: &SavedReport, delivery: Delivery) -> Result<(), SavedError> {
        if self.get(&report.tenant_id, &report.report_id).is_err() {
            // Removed meanwhile.
            return Ok(());
        }
        let path = delivery_path(&report.tenant_id, &report.report_id, delivery.due_at);
        self.put(&path, &delivery, PutMode::Overwrite).await?;
        self.remember(report, delivery);
        Ok(())
    }

    fn remember(&self, report: &SavedReport, delivery: Delivery) {
        let key = (report.tenant_id.clone(), report.report_id.clone());
        let mut held = self.held.write();
        held.deliveries
            .entry(key)
            .or_default()
            .insert(delivery.due_at, delivery);
    }

    /// Lets the oldest ended deliveries go; the newest stays, since it tells what was claimed last.
    async fn forget_old(&self, report: &SavedReport) -> Result<(), SavedError> {
        let key = (report.tenant_id.clone(), report.report_id.clone());
        let old: Vec<Timestamp> = {
            let mut held = self.held.write();
            let Some(all) = held.deliveries.get_mut(&key) else {
                return Ok(());
            };
            let spare = all.len().saturating_sub(self.settings.keep_deliveries.max(1));
            let ended = all.values().filter(|delivery| delivery.ended_at.is_some());
            let old: Vec<Timestamp> = ended.map(|delivery| delivery.due_at).take(spare).collect();
            for due_at in &old {
                all.remove(due_at);
            }
            old
        };
        for due_at in old {
            self.delete(&delivery_path(&report.tenant_id, &report.report_id, due_at))
                .await?;
        }
        Ok(())
    }

    /// Writes a delivered file; again under the same name when an attempt is repeated.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn write_file(
        &self,
        report: &SavedReport,
        due_at: Timestamp,
        csv: String,
    ) -> Result<String, SavedError> {
        let stamp = due_at.to_datetime().format("%Y-%m-%dT%H%M%SZ");
        let path = Path::from(format!(
            "reports/files/{}/{}/{stamp}.csv",
            report.tenant_id, report.report_id
        ));
        let put = self.store.put(&path, PutPayload::from(csv)).await;
        put.map_err(|source| failed(&path, source))?;
        Ok(path.to_string())
    }

    async fn put(&self, path: &Path, of: &impl Serialize, mode: PutMode) -> Result<(), SavedError> {
        let body = serde_json::to_vec(of).map_err(|error| corrupt(path, error.to_string()))?;
        let put = self
            .store
            .put_opts(path, PutPayload::from(body), PutOptions::from(mode))
            .await;
        put.map(|_| ()).map_err(|source| failed(path, source))
    }

    async fn delete(&self, path: &Path) -> Result<(), SavedError> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(failed(path, source)),
        }
    }
}

const fn waiting(due_at: Timestamp) -> Delivery {
    Delivery {
        due_at,
        state: DeliveryState::Waiting,
        attempts: 0,
        next_try_at: due_at,
        ended_at: None,
        rows: None,
        message: String::new(),
    }
}

fn refused(why: &str) -> SavedError {
    SavedError::Refused(why.to_owned())
}

fn web_address(url: &str) -> Result<String, SavedError> {
    let url = url.trim();
    let parsed: Result<axum::http::Uri, _> = url.parse();
    let good = parsed.is_ok_and(|uri| {
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        let bare = uri
            .authority()
            .is_some_and(|authority| !authority.as_str().contains('@'));
        known && bare
    });
    if good && url.len() <= 2_000 {
        return Ok(url.to_owned());
    }
    Err(refused(
        "a webhook's address begins with http:// or https:// and holds no password",
    ))
}

fn report_path(report: &SavedReport) -> Path {
    Path::from(format!(
        "reports/saved/{}/{}.json",
        report.tenant_id, report.report_id
    ))
}

fn delivery_path(tenant_id: &str, report_id: &str, due_at: Timestamp) -> Path {
    Path::from(format!(
        "reports/deliveries/{tenant_id}/{report_id}/{:020}.json",
        due_at.micros()
    ))
}

async fn read_all<T: DeserializeOwned>(
    store: &Arc<dyn ObjectStore>,
    folder: &str,
) -> Result<Vec<(Path, T)>, SavedError> {
    let folder = Path::from(folder);
    let found: Vec<_> = store
        .list(Some(&folder))
        .try_collect()
        .await
        .map_err(|source| failed(&folder, source))?;
    futures::stream::iter(found)
        .map(|object| async move {
            let path = object.location;
            let answer = store.get(&path).await.map_err(|source| failed(&path, source))?;
            let bytes = answer.bytes().await.map_err(|source| failed(&path, source))?;
            let read = serde_json::from_slice(&bytes).map_err(|error| corrupt(&path, error.to_string()))?;
            Ok((path, read))
        })
        .buffer_unordered(READS)
        .try_collect()
        .await
}

fn failed(path: &Path, source: object_store::Error) -> SavedError {
    SavedError::Store {
        path: path.to_string(),
        source,
    }
}

fn corrupt(path: &Path, reason: String) -> SavedError {
    SavedError::Corrupt {
        path: path.to_string(),
        reason,
    }
}
