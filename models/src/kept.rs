//! Rows of scores kept between questions: of which entities, how old they may get, and which to make again.
//!
//! A row holds what scoring gave at one instant, and names that instant, so it stays true however old it is: keeping rows
//! changes how fresh an answer is, never whether it is right. What an event touches is marked and made again at the next
//! question, as far as that is quick; the live scorer hands in each row it makes anyway; and a background round makes
//! the oldest again, so that decay is never further behind than its settings say. All of it lives in memory, for one
//! process, and is bounded.

mod rows;
#[cfg(test)]
mod tests;
mod upkeep;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hashbrown::HashMap;
use parking_lot::RwLock;
use revgauge_contract::{
    Timestamp,
    score::{Alert, EntityKind, RecordChanges, Score},
};
use serde::{Deserialize, Serialize};

use crate::directory::Directory;
pub(crate) use rows::Rows;

/// Limits of kept rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeptSettings {
    /// Entities of all tenants together of which rows are kept, about 200 bytes each; tenants that come later are scored at
    /// each question. 0 keeps none.
    pub max_entities: usize,
    /// Rows made again by one question; where more wait, the answer tells those it has, with their instants.
    pub rows_at_once: usize,
    /// Age past which a question makes a row again, where those are few enough, milliseconds.
    pub fresh_ms: u64,
    /// Age past which the background round makes a row again, milliseconds.
    pub renew_after_ms: u64,
    /// Rows of one step of the background round.
    pub step_rows: usize,
    /// Rows of one step while rows are first made. Large, because statistics that lie on disk are read by blocks: each step
    /// touches most of those. An entity of a step takes a few KB for its time.
    pub first_step_rows: usize,
    /// Share of one core that the background round may take, per cent; 80 of one while rows are first made.
    pub percent_of_a_core: u32,
    /// While rows are first made, a question about no more entities than this is computed.
    pub computed_entities: usize,
    /// A question about more waits for the rows so long, milliseconds, and then is told how far they are.
    pub first_wait_ms: u64,
}

impl Default for KeptSettings {
    fn default() -> Self {
        Self {
            max_entities: 4_000_000,
            rows_at_once: 500,
            fresh_ms: 5_000,
            renew_after_ms: 60_000,
            step_rows: 500,
            first_step_rows: 20_000,
            percent_of_a_core: 5,
            computed_entities: 20_000,
            first_wait_ms: 20_000,
        }
    }
}

/// Kinds whose rows are kept, in the order in which they are first made.
pub(crate) const KINDS: [EntityKind; 3] = [EntityKind::Deal, EntityKind::Contact, EntityKind::Account];

/// One entity, scored.
#[derive(Debug)]
pub(crate) struct Scored {
    pub(crate) id: Arc<str>,
    pub(crate) account_id: Option<String>,
    pub(crate) owner_id: Option<String>,
    /// In the order they are told.
    pub(crate) scores: Vec<Score>,
    pub(crate) alerts: Vec<Alert>,
}

/// What about an entity was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Something its scores are made of.
    Scores,
    /// Its record, and so its scores too.
    Record,
}

type Table = Arc<RwLock<Rows>>;

/// Kept rows of all tenants.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) settings: KeptSettings,
    tables: RwLock<HashMap<(Arc<str>, EntityKind), Table>>,
    /// Whether the background round runs.
    kept_up: AtomicBool,
}

impl Kept {
    pub(crate) fn new(settings: KeptSettings) -> Self {
        Self {
            settings,
            tables: RwLock::default(),
            kept_up: AtomicBool::new(false),
        }
    }

    /// Whether a background round makes rows that are missing, so that waiting for them has an end.
    pub(crate) fn is_kept_up(&self) -> bool {
        self.kept_up.load(Ordering::Acquire)
    }

    pub(crate) fn keep_up(&self, kept_up: bool) {
        self.kept_up.store(kept_up, Ordering::Release);
    }

    pub(crate) fn table(&self, tenant_id: &str, kind: EntityKind) -> Option<Table> {
        let tables = self.tables.read();
        tables.get(&(Arc::from(tenant_id), kind)).cloned()
    }

    /// Whether rows are kept of anything.
    pub(crate) fn any(&self) -> bool {
        !self.tables.read().is_empty()
    }

    /// Begins to keep rows of a kind, unless that is too many: marks count from then on. Says whether they are kept.
    pub(crate) fn begin(
        &self,
        tenant_id: &Arc<str>,
        kind: EntityKind,
        directory: &RwLock<Directory>,
        now: Timestamp,
    ) -> bool {
        if self.table(tenant_id, kind).is_some() {
            return true;
        }
        let held: usize = self.tables.read().values().map(|table| table.read().len()).sum();
        if held + directory.read().ids(kind).len() > self.settings.max_entities {
            return false;
        }
        let table = {
            let mut tables = self.tables.write();
            let place = (Arc::clone(tenant_id), kind);
            if tables.contains_key(&place) {
                // A question and the background round may both begin.
                return true;
            }
            let table = Table::new(RwLock::new(Rows::new(kind, now)));
            tables.insert(place, Arc::clone(&table));
            table
        };
        // Listed after marks count, so that none that comes meanwhile is missed.
        let ids = directory.read().ids(kind);
        let mut rows = table.write();
        for id in ids {
            rows.touch(&id, Touch::Record);
        }
        true
    }

    /// Notes what was touched.
    pub(crate) fn touch<'a>(
        &self,
        touched: impl IntoIterator<Item = &'a (EntityKind, Arc<str>, Arc<str>)>,
        what: Touch,
    ) {
        let mut last: Option<(EntityKind, Arc<str>, Option<Table>)> = None;
        for (kind, tenant, id) in touched {
            if last
                .as_ref()
                .is_none_or(|(held, of, _)| held != kind || of != tenant)
            {
                last = Some((*kind, Arc::clone(tenant), self.table(tenant, *kind)));
            }
            if let Some((_, _, Some(table))) = &last {
                table.write().touch(id, what);
            }
        }
    }

    /// Something that all entities of some kinds depend on became another: definitions, a model, the population. Rows stay
    /// true for their instants and are made again as fast as the settings allow.
    pub(crate) fn renew_all(&self, tenant_id: Option<&str>, kinds: &[EntityKind]) {
        for ((tenant, kind), table) in self.tables.read().iter() {
            if kinds.contains(kind) && tenant_id.is_none_or(|id| **tenant == *id) {
                table.write().renew_all();
            }
        }
    }

    /// All records of a kind may be others.
    pub(crate) fn change_all(&self, tenant_id: &str, kind: EntityKind) {
        if let Some(table) = self.table(tenant_id, kind) {
            table.write().change_all();
        }
    }

    /// The revision to be given to [`Self::put`] with what is read from here on; zero where nothing is kept.
    pub(crate) fn revision(&self, tenant_id: &str, kind: EntityKind) -> u64 {
        self.table(tenant_id, kind)
            .map_or(0, |table| table.read().revision())
    }

    /// Keeps what scoring gave at an instant for facts that were read after `revision`.
    pub(crate) fn put(
        &self,
        tenant_id: &str,
        kind: EntityKind,
        revision: u64,
        at: Timestamp,
        rows: impl IntoIterator<Item = Scored>,
    ) {
        if let Some(table) = self.table(tenant_id, kind).filter(|_| revision > 0) {
            let mut table = table.write();
            for row in rows {
                table.put(revision, at, row);
            }
        }
    }

    /// What changed in the records of a kind since a revision.
    pub(crate) fn changed_since(
        &self,
        tenant_id: &str,
        kind: EntityKind,
        revision: u64,
    ) -> Option<RecordChanges> {
        let table = self.table(tenant_id, kind)?;
        let changes = table.read().changed_since(revision);
        Some(changes)
    }
}
