//! Who is who in a tenant: CRM objects as they stand, the identity map, and what belongs to what.
//!
//! A directory is a function of the rows it was given, not of their order: each field keeps its latest value (greatest
//! order key), and every relation is derived from those values. So the same rows, in any order and any batching, give
//! the same directory, live or as of an instant (N-22). Identity is resolved when it is read; no statistic is ever
//! re-keyed.

mod duplicates;
mod identity;
mod links;
mod read;
mod record;
mod settle;
mod snapshot;
mod stages;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use arrow::array::{Array as _, RecordBatch, StringViewArray};
use hashbrown::{HashMap, HashSet};
use revgauge_contract::{crm, schema::text_column};

use identity::Identity;
use links::{Links, NONE, Node};
use record::{Names, OrderKey, Record};

pub use duplicates::{DuplicateCompanies, DuplicateReason, normal_name};
pub use read::DealRole;
pub(crate) use snapshot::Section;
pub use stages::{Outcome, Stage, StageCatalogue};
pub(crate) use stages::{STAGE_FIELDS, first, number};

/// Canonical entities that rows touched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Contacts, by canonical id before and after.
    pub contacts: BTreeSet<Arc<str>>,
    /// Accounts, by canonical id before and after.
    pub accounts: BTreeSet<Arc<str>>,
    /// Deals, by canonical id before and after.
    pub deals: BTreeSet<Arc<str>>,
    /// Whether the stage catalogue changed, which may concern every deal.
    pub stages: bool,
}

/// What is kept of a contact or account key beside its identity.
#[derive(Debug)]
struct Slot {
    crm: Record,
    enrichment: Option<Box<Record>>,
    /// Contacts: the account node this key names, and from which kind of evidence.
    account: Node,
    evidence: Evidence,
    /// Contacts: address and account that events carried beside the key.
    hint_email: Node,
    hint_account: Node,
    /// Whether layer 1 holds rows of this key.
    seen: bool,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            crm: Record::default(),
            enrichment: None,
            account: NONE,
            evidence: Evidence::default(),
            hint_email: NONE,
            hint_account: NONE,
            seen: false,
        }
    }
}

/// From where an account of a contact is known; the least wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Evidence {
    Crm,
    Enrichment,
    Events,
    Domain,
    #[default]
    Nothing,
}

static NOTHING: LazyLock<Record> = LazyLock::new(Record::default);

impl Slot {
    /// What enrichment says; mostly nothing, and then it costs a pointer.
    fn enrichment(&self) -> &Record {
        self.enrichment.as_deref().unwrap_or(&NOTHING)
    }
}

#[derive(Debug)]
struct DealSlot {
    crm: Record,
    account: Node,
    contact: Node,
}

#[derive(Debug)]
struct RoleSlot {
    id: Arc<str>,
    crm: Record,
    deal: Node,
    contact: Node,
}

/// The directory of one tenant.
#[derive(Debug, Default)]
pub struct Directory {
    names: Names,
    contacts: Identity,
    contact_slots: Vec<Slot>,
    accounts: Identity,
    account_slots: Vec<Slot>,
    deals: Identity,
    deal_slots: Vec<DealSlot>,
    roles: Vec<RoleSlot>,
    role_index: HashMap<Arc<str>, Node>,
    plain: HashMap<Arc<str>, HashMap<Arc<str>, Record>>,
    contacts_of: Links,
    deals_of_account: Links,
    deals_of_contact: Links,
    roles_of_deal: Links,
    roles_of_contact: Links,
    stages: Arc<StageCatalogue>,
}

/// Changed keys of one call of [`Directory::apply`], settled once each at its end.
#[derive(Debug, Default)]
struct Unsettled {
    contacts: HashSet<Node>,
    accounts: HashSet<Node>,
    deals: HashSet<Node>,
    roles: HashSet<Node>,
    stages: bool,
}

impl Directory {
    /// Takes changed rows of `crm_state`, `contact_engagement` or `account_signals` (rows of other pipelines are
    /// ignored), all of this tenant. Rows may come in any order and more than once.
    pub fn apply(&mut self, pipeline: &str, rows: &RecordBatch) -> Touched {
        let all: Vec<usize> = (0..rows.num_rows()).collect();
        self.apply_rows(pipeline, rows, &all)
    }

    /// Like [`Self::apply`] for some rows of a batch that holds several tenants.
    pub fn apply_rows(&mut self, pipeline: &str, batch: &RecordBatch, rows: &[usize]) -> Touched {
        let mut touched = Some(Touched::default());
        self.take(pipeline, batch, rows, &mut touched);
        touched.unwrap_or_default()
    }

    /// Like [`Self::apply`] when nobody asks what was touched: a third of the cost.
    pub fn fill(&mut self, pipeline: &str, rows: &RecordBatch) {
        let all: Vec<usize> = (0..rows.num_rows()).collect();
        self.take(pipeline, rows, &all, &mut None);
    }

    fn take(&mut self, pipeline: &str, batch: &RecordBatch, rows: &[usize], touched: &mut Option<Touched>) {
        let mut unsettled = Unsettled::default();
        match pipeline {
            "crm_state" => self.take_crm_state(batch, rows, &mut unsettled),
            "contact_engagement" => self.take_contact_rows(batch, rows, &mut unsettled),
            "account_signals" => self.take_account_rows(batch, rows, &mut unsettled),
            _ => {}
        }
        self.settle(unsettled, touched);
    }

    fn take_crm_state(&mut self, batch: &RecordBatch, rows: &[usize], unsettled: &mut Unsettled) {
        let (Some(objects), Some(ids), Some(fields), Some(latest)) = (
            text_column(batch, "object"),
            text_column(batch, "object_id"),
            text_column(batch, "field"),
            text_column(batch, "latest"),
        ) else {
            return;
        };
        for row in rows {
            if latest.is_null(*row) {
                continue;
            }
            let Some((key, value)) = crm::split_latest(latest.value(*row)) else {
                continue;
            };
            let Some(key) = OrderKey::parse(key) else {
                continue;
            };
            let name = self.names.intern(fields.value(*row));
            self.take_field(
                objects.value(*row),
                ids.value(*row),
                (name, key, value),
                unsettled,
            );
        }
    }

    fn take_field(
        &mut self,
        object: &str,
        id: &str,
        (name, key, value): (record::NameId, OrderKey, Option<&str>),
        unsettled: &mut Unsettled,
    ) {
        match object {
            "contact" | "person" => {
                let node = self.contact_node(id);
                let slot = &mut self.contact_slots[node as usize];
                let record = if object == "contact" {
                    &mut slot.crm
                } else {
                    slot.enrichment.get_or_insert_default()
                };
                if record.set(name, key, value) {
                    unsettled.contacts.insert(node);
                }
            }
            "account" | "company" => {
                let node = self.account_node(id);
                let slot = &mut self.account_slots[node as usize];
                let record = if object == "account" {
                    &mut slot.crm
                } else {
                    slot.enrichment.get_or_insert_default()
                };
                if record.set(name, key, value) {
                    unsettled.accounts.insert(node);
                }
            }
            "deal" => {
                let node = self.deal_node(id);
                if self.deal_slots[node as usize].crm.set(name, key, value) {
                    unsettled.deals.insert(node);
                }
            }
            "role" => {
                let node = self.role_node(id);
                if self.roles[node as usize].crm.set(name, key, value) {
                    unsettled.roles.insert(node);
                }
            }
            other => {
                let changed = self.plain_record(other, id).set(name, key, value);
                unsettled.stages |= changed && other == "stage";
            }
        }
    }

    fn take_contact_rows(&mut self, batch: &RecordBatch, rows: &[usize], unsettled: &mut Unsettled) {
        let Some(keys) = text_column(batch, "contact_key") else {
            return;
        };
        let (emails, accounts) = (text_column(batch, "email"), text_column(batch, "account_key"));
        for row in rows {
            if keys.is_null(*row) {
                continue;
            }
            let node = self.contact_node(keys.value(*row));
            let email = cell(emails, *row).map_or(NONE, |email| self.contact_node(email));
            let account = cell(accounts, *row).map_or(NONE, |account| self.account_node(account));
            let slot = &self.contact_slots[node as usize];
            let email = later(&self.contacts, slot.hint_email, email);
            let account = later(&self.accounts, slot.hint_account, account);
            if !slot.seen || email != slot.hint_email || account != slot.hint_account {
                let slot = &mut self.contact_slots[node as usize];
                (slot.seen, slot.hint_email, slot.hint_account) = (true, email, account);
                unsettled.contacts.insert(node);
            }
        }
    }

    fn take_account_rows(&mut self, batch: &RecordBatch, rows: &[usize], unsettled: &mut Unsettled) {
        let Some(keys) = text_column(batch, "account_key") else {
            return;
        };
        for row in rows {
            if keys.is_null(*row) {
                continue;
            }
            let node = self.account_node(keys.value(*row));
            let slot = &mut self.account_slots[node as usize];
            if !std::mem::replace(&mut slot.seen, true) {
                unsettled.accounts.insert(node);
            }
        }
    }

    fn contact_node(&mut self, id: &str) -> Node {
        let node = self.contacts.node(id);
        self.contact_slots.resize_with(self.contacts.len(), Slot::default);
        node
    }

    fn account_node(&mut self, id: &str) -> Node {
        let node = self.accounts.node(id);
        self.account_slots.resize_with(self.accounts.len(), Slot::default);
        node
    }

    fn deal_node(&mut self, id: &str) -> Node {
        let node = self.deals.node(id);
        self.deal_slots.resize_with(self.deals.len(), || DealSlot {
            crm: Record::default(),
            account: NONE,
            contact: NONE,
        });
        node
    }

    fn role_node(&mut self, id: &str) -> Node {
        if let Some(node) = self.role_index.get(id) {
            return *node;
        }
        let node = self.roles.len() as Node;
        let id: Arc<str> = id.into();
        self.role_index.insert(Arc::clone(&id), node);
        self.roles.push(RoleSlot {
            id,
            crm: Record::default(),
            deal: NONE,
            contact: NONE,
        });
        node
    }

    fn plain_record(&mut self, object: &str, id: &str) -> &mut Record {
        if !self.plain.contains_key(object) {
            self.plain.insert(object.into(), HashMap::new());
        }
        let table = self.plain.entry_ref(object).or_default();
        table.entry_ref(id).or_default()
    }
}

fn cell(column: Option<&StringViewArray>, row: usize) -> Option<&str> {
    column
        .filter(|column| !column.is_null(row))
        .map(|column| column.value(row))
        .filter(|text| !text.is_empty())
}

/// Of two hints the greater text, so that it does not matter which came first.
fn later(keys: &Identity, held: Node, new: Node) -> Node {
    if held == NONE || new == NONE {
        return held.min(new);
    }
    if keys.id(new) > keys.id(held) { new } else { held }
}
