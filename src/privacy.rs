//! Erasure of a person (N-25): takes its bytes out of everything that is stored, and shows by a scan that none is left.
//!
//! It works on a store at rest. A request to a running server is kept and carried out at its next start, before any door
//! opens. The order makes a crash harmless: what was rewritten stays rewritten, and the request is there until the scan
//! has found nothing, so the next start does it again.

mod expiry;
mod person;
mod retention;
mod scan;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use revgauge_contract::{
    Clock, ErrorKind, Timestamp,
    cut::LakeTable,
    score::{EntityKind, ScoreService},
    statistics::Knowledge,
    time::{DAY_US, SystemClock},
};
use revgauge_journal::{JournalName, erasure as journal_erasure};
use revgauge_lake::{Lake, LakeSettings};
use serde::{Deserialize, Serialize};

use self::{person::Person, scan::scan};
use crate::{
    doors::letter_bytes,
    model_registry, run_file,
    settings::Settings,
    wire::{self, Node, Purpose},
};

pub(crate) use retention::{PrivacySettings, run_when_due, until_round};

/// Requests that wait.
const REQUESTS: &str = "privacy/requests";
/// Reports of what was done, without the person.
const REPORTS: &str = "privacy/reports";

/// What stays, said with every report.
const KEPT: [&str; 4] = [
    "state and scores of accounts, deals and reps are computed anew from the rows that are left: the person's own activity \
     no longer counts in them",
    "score changes of accounts and deals that the feed has reported stay with their numbers; their words no longer name \
     the person",
    "the watermarks still count the removed events per source, without saying whose they were",
    "fitted models keep their weights, which hold no row of anyone; the next training reads what is left",
];

/// Asks for the erasure of one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// Whose data it is in.
    pub(crate) tenant_id: String,
    /// Any key of the contact: id, merged id, mail address.
    pub(crate) subject: String,
    /// Further texts that are the person's wherever they stand.
    #[serde(default)]
    pub(crate) also: Vec<String>,
    /// When it was asked for.
    pub(crate) requested_at: Timestamp,
    /// Key id of who asked.
    pub(crate) requested_by: String,
}

/// What an erasure did. It does not say whom it was about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) tenant_id: String,
    pub(crate) requested_at: Timestamp,
    pub(crate) done_at: Timestamp,
    /// Rows of the person that went, and files that were rewritten, in the lake.
    pub(crate) lake_rows_removed: u64,
    pub(crate) lake_files_rewritten: usize,
    /// Objects rewritten in the journal of events and of the feed.
    pub(crate) journal_objects: usize,
    pub(crate) dead_letters: usize,
    /// Other documents in which the person was named: audit log, users, saved reports.
    pub(crate) documents: usize,
    pub(crate) checkpoints_deleted: usize,
    /// The proof: everything stored was looked through afterwards.
    pub(crate) objects_scanned: usize,
    pub(crate) bytes_scanned: u64,
    pub(crate) texts_looked_for: usize,
    pub(crate) kept: Vec<String>,
}

/// Keeps a request for the next start.
///
/// # Errors
/// What the store met.
pub(crate) async fn keep(store: &dyn ObjectStore, request: &Request) -> Result<()> {
    let path = Path::from(format!("{REQUESTS}/{:020}.json", request.requested_at.micros()));
    store.put(&path, serde_json::to_vec(request)?.into()).await?;
    Ok(())
}

/// Requests that wait, oldest first, each with its object.
///
/// # Errors
/// What the store met, or a request that cannot be read.
pub(crate) async fn waiting(store: &dyn ObjectStore) -> Result<Vec<(Path, Request)>> {
    read_all(store, REQUESTS).await
}

/// Reports of a tenant's erasures, oldest first.
///
/// # Errors
/// As [`waiting`].
pub(crate) async fn reports(store: &dyn ObjectStore, tenant_id: &str) -> Result<Vec<Report>> {
    let all: Vec<(Path, Report)> = read_all(store, REPORTS).await?;
    let own = all.into_iter().map(|(_, report)| report);
    Ok(own.filter(|report| report.tenant_id == tenant_id).collect())
}

async fn read_all<T: serde::de::DeserializeOwned>(
    store: &dyn ObjectStore,
    folder: &str,
) -> Result<Vec<(Path, T)>> {
    let mut listed: Vec<_> = store.list(Some(&Path::from(folder))).try_collect().await?;
    listed.sort_by(|a, b| a.location.cmp(&b.location));
    let mut found = Vec::new();
    for object in listed {
        let bytes = store.get(&object.location).await?.bytes().await?;
        let read =
            serde_json::from_slice(&bytes).with_context(|| format!("cannot read '{}'", object.location))?;
        found.push((object.location, read));
    }
    Ok(found)
}

/// Carries out what waits, before a server opens its doors. Costs nothing when nothing does.
///
/// # Errors
/// As [`erase`]; the request keeps waiting.
pub(crate) async fn run_waiting(settings: &Settings) -> Result<()> {
    let opened = revgauge_store::open(&settings.store.url, &settings.store.options).await?;
    for (path, request) in waiting(opened.store.as_ref()).await? {
        tracing::info!(tenant = request.tenant_id, "a requested erasure is carried out");
        let report = erase(settings, &request).await?;
        opened.store.delete(&path).await?;
        tracing::info!(
            tenant = report.tenant_id,
            rows = report.lake_rows_removed,
            objects_scanned = report.objects_scanned,
            "a person was erased"
        );
    }
    Ok(())
}

/// Erases a person from a store that no server is open on.
///
/// Cost: reads and where needed rewrites the whole lake, then computes the state anew from it.
///
/// # Errors
/// What a room met, or objects in which the person still is after all, by name.
pub(crate) async fn erase(settings: &Settings, request: &Request) -> Result<Report> {
    const GRACE: Duration = Duration::from_secs(60);
    let (person, dead_letters) = Box::pin(find(settings, request, GRACE)).await?;
    let mut report = Box::pin(purge(settings, request, &person)).await?;
    report.dead_letters = dead_letters;
    // Layer 1 is built anew from what is left, so that the next start finds its checkpoint.
    let node = Box::pin(Node::open(settings, Purpose::Command)).await?;
    Box::pin(node.close(GRACE)).await?;
    let opened = revgauge_store::open(&settings.store.url, &settings.store.options).await?;
    let store = opened.store.as_ref();
    // The request names the person: the scan is of everything else.
    let scanned = scan(store, person.needles()).await?;
    let left: Vec<&String> = scanned
        .found
        .iter()
        .filter(|path| !path.starts_with(REQUESTS))
        .collect();
    if !left.is_empty() {
        bail!(
            "the person is still in {left:?}: these objects are not known to the erasure, remove it there by hand"
        );
    }
    report.objects_scanned = scanned.objects;
    report.bytes_scanned = scanned.bytes;
    report.done_at = SystemClock.now();
    let path = Path::from(format!("{REPORTS}/{:020}.json", report.done_at.micros()));
    store.put(&path, serde_json::to_vec(&report)?.into()).await?;
    Ok(report)
}

/// Who the person is, by all its keys; its dead letters go on the way. When the node closes, everything that was
/// acknowledged is in the lake.
async fn find(settings: &Settings, request: &Request, grace: Duration) -> Result<(Person, usize)> {
    let node = Node::open(settings, Purpose::Command).await?;
    let rooms = Arc::clone(node.rooms());
    let tenant = request.tenant_id.as_str();
    let mut delivered = rooms.delivered.clone();
    let last = rooms.journal.last();
    delivered.wait_for(|position| *position >= last).await?;
    let mut person = Person::new(tenant);
    person.add_key(&request.subject);
    request.also.iter().for_each(|text| person.add_needle(text));
    let kind = EntityKind::Contact;
    match rooms
        .scoring
        .keys(tenant, kind, &request.subject, Knowledge::Now)
        .await
    {
        Ok(keys) => keys.iter().for_each(|key| person.add_key(key)),
        // It may stand in dead letters or in payloads alone.
        Err(failure) if failure.kind == ErrorKind::NotFound => {}
        Err(failure) => return Err(failure.into()),
    }
    let ids = [request.subject.clone()];
    for record in rooms
        .scoring
        .objects(tenant, kind, Some(&ids), Knowledge::Now)
        .await?
    {
        person.add_record(&record);
    }
    let letters = rooms.dead_letters.list(tenant, usize::MAX).await?;
    let about: Vec<_> = letters
        .into_iter()
        .filter(|(_, letter)| {
            let body = String::from_utf8_lossy(&letter_bytes(letter)).into_owned();
            [
                ("body", body.as_str()),
                ("", &letter.source),
                ("", &letter.refusal.message),
            ]
            .iter()
            .any(|(field, text)| *person.text(field, text) != **text)
        })
        .map(|(id, _)| id)
        .collect();
    let deleted = rooms.dead_letters.delete(tenant, &about).await?;
    drop(rooms);
    node.close(grace).await?;
    Ok((person, deleted))
}

/// Rewrites what is at rest.
async fn purge(settings: &Settings, request: &Request, person: &Person) -> Result<Report> {
    let opened = revgauge_store::open(&settings.store.url, &settings.store.options).await?;
    let _lock = opened.local_dir.as_deref().map(run_file::lock).transpose()?;
    let store = opened.store;
    let lake = Lake::open(Arc::clone(&store), at_once(settings), Arc::new(SystemClock)).await?;
    let events = lake
        .rewrite(LakeTable::Events, &|batch| person.events(batch))
        .await?;
    let changes = lake
        .rewrite(LakeTable::ScoreChanges, &|batch| person.score_changes(batch))
        .await?;
    lake.shutdown().await?;
    let compression = settings.journal.compression;
    let in_events = |batch: &arrow::array::RecordBatch| person.events(batch);
    let in_feed = |batch: &arrow::array::RecordBatch| person.feed(batch);
    let journal_objects =
        journal_erasure::rewrite(store.as_ref(), JournalName::Events, compression, &in_events).await?
            + journal_erasure::rewrite(store.as_ref(), JournalName::Feed, compression, &in_feed).await?;
    Ok(Report {
        tenant_id: request.tenant_id.clone(),
        requested_at: request.requested_at,
        done_at: request.requested_at,
        lake_rows_removed: events.rows_removed + changes.rows_removed,
        lake_files_rewritten: events.files_rewritten + changes.files_rewritten,
        journal_objects,
        dead_letters: 0,
        documents: purge_documents(store.as_ref(), person).await?,
        checkpoints_deleted: delete_all(store.as_ref(), "checkpoints").await?,
        objects_scanned: 0,
        bytes_scanned: 0,
        texts_looked_for: person.needles().len(),
        kept: KEPT.map(str::to_owned).to_vec(),
    })
}

/// What a round of text retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Expired {
    /// Texts said before then have lost their words.
    pub(crate) before: Timestamp,
    pub(crate) lake_files_rewritten: usize,
    pub(crate) journal_objects: usize,
}

/// Takes the words of texts past the retention of the text definitions out of lake, journal and state, on a store that no
/// server is open on. Their events stay, with when, who and how.
///
/// Cost: reads the whole lake; when something was past its time, writes those files and computes the state anew.
///
/// # Errors
/// What a room met; doing it again finishes it.
pub(crate) async fn expire_texts(settings: &Settings) -> Result<Expired> {
    const GRACE: Duration = Duration::from_secs(60);
    let days = wire::definitions(settings)?.common().text_signals.retention_days;
    let span_us = (days * DAY_US as f64) as i64;
    let before = SystemClock.now().plus_micros(-span_us);
    let node = Box::pin(Node::open(settings, Purpose::Command)).await?;
    Box::pin(node.close(GRACE)).await?;
    let expired = {
        let opened = revgauge_store::open(&settings.store.url, &settings.store.options).await?;
        let _lock = opened.local_dir.as_deref().map(run_file::lock).transpose()?;
        let store = opened.store;
        let lake = Lake::open(Arc::clone(&store), at_once(settings), Arc::new(SystemClock)).await?;
        let change = |batch: &arrow::array::RecordBatch| expiry::events(batch, before);
        let rewritten = lake.rewrite(LakeTable::Events, &change).await?;
        lake.shutdown().await?;
        let compression = settings.journal.compression;
        let journal_objects =
            journal_erasure::rewrite(store.as_ref(), JournalName::Events, compression, &change).await?;
        if rewritten.files_rewritten + journal_objects > 0 {
            delete_all(store.as_ref(), "checkpoints").await?;
        }
        Expired {
            before,
            lake_files_rewritten: rewritten.files_rewritten,
            journal_objects,
        }
    };
    if expired.lake_files_rewritten + expired.journal_objects > 0 {
        let node = Box::pin(Node::open(settings, Purpose::Command)).await?;
        Box::pin(node.close(GRACE)).await?;
    }
    Ok(expired)
}

/// Settings of a lake that keeps nothing that was replaced.
fn at_once(settings: &Settings) -> LakeSettings {
    LakeSettings {
        removed_file_retention_ms: 0,
        orphan_retention_ms: 0,
        log_retention_ms: 0,
        ..settings.lake.clone()
    }
}

/// Folders whose objects have rewriters of their own, or are the request itself.
const OTHERS: [&str; 6] = [
    "lake/",
    "journal/",
    "checkpoints/",
    "dead-letters/",
    "privacy/requests/",
    "run/",
];

/// Delivered files. A row of one tells more of a person than its keys, so a file that names it goes whole.
const DELIVERED: &str = "reports/files/";

/// Takes the person out of every document that is text: audit log, users, saved reports, models.
async fn purge_documents(store: &dyn ObjectStore, person: &Person) -> Result<usize> {
    let listed: Vec<_> = store.list(None).try_collect().await?;
    let mut changed = 0;
    for object in listed {
        let path = object.location;
        if OTHERS.iter().any(|folder| path.as_ref().starts_with(folder)) {
            continue;
        }
        let bytes = store.get(&path).await?.bytes().await?;
        let Ok(text) = std::str::from_utf8(&bytes) else {
            continue;
        };
        let Some(new) = person.without_needles(text) else {
            continue;
        };
        changed += 1;
        if path.as_ref().starts_with(DELIVERED) {
            store.delete(&path).await?;
        } else if let Some(sealed) = model_registry::resealed(&path, &new) {
            store.put(&path, sealed.into()).await?;
        } else {
            store.put(&path, new.into()).await?;
        }
    }
    Ok(changed)
}

async fn delete_all(store: &dyn ObjectStore, folder: &str) -> Result<usize> {
    let listed: Vec<_> = store.list(Some(&Path::from(folder))).try_collect().await?;
    for object in &listed {
        store.delete(&object.location).await?;
    }
    Ok(listed.len())
}
