//! Look-ups: by any key of an entity, answered for its canonical one.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashSet;
use revgauge_contract::{
    domain::{company_domain, normal_email},
    score::EntityKind,
};

use super::{
    Directory, DuplicateCompanies, Evidence, StageCatalogue, duplicates,
    identity::{Identity, Standing},
    links::{NONE, Node},
    record::{self, FieldRef, OrderKey, Record},
};
use crate::facts::Fields;

/// A contact's part in a deal, as the CRM says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DealRole {
    /// Canonical contact id.
    pub contact_id: Arc<str>,
    /// `Decision Maker`, `Champion`, ... where given.
    pub role: Option<String>,
}

impl Directory {
    fn identity(&self, kind: EntityKind) -> Option<&Identity> {
        match kind {
            EntityKind::Contact => Some(&self.contacts),
            EntityKind::Account => Some(&self.accounts),
            EntityKind::Deal => Some(&self.deals),
            EntityKind::Tenant => None,
        }
    }

    fn root_of(&self, kind: EntityKind, key: &str) -> Option<Node> {
        let identity = self.identity(kind)?;
        let node = identity.find(key).or_else(|| match kind {
            EntityKind::Contact => identity.find(&normal_email(key)?),
            EntityKind::Account => identity.find(&company_domain(key)?),
            EntityKind::Deal | EntityKind::Tenant => None,
        })?;
        Some(identity.root(node))
    }

    /// The canonical id behind any key of an entity (id, merged id, address, domain); `None` when nothing is known of
    /// it. A deleted entity still has one: see [`Self::is_deleted`].
    #[must_use]
    pub fn canonical(&self, kind: EntityKind, key: &str) -> Option<Arc<str>> {
        let root = self.root_of(kind, key)?;
        self.is_known(kind, root)
            .then(|| self.identity(kind).map(|identity| Arc::clone(identity.id(root))))?
    }

    fn is_known(&self, kind: EntityKind, root: Node) -> bool {
        match kind {
            EntityKind::Contact => self.contacts.members(root).into_iter().any(|node| {
                let slot = &self.contact_slots[node as usize];
                slot.seen || !slot.crm.is_empty() || !slot.enrichment().is_empty()
            }),
            EntityKind::Account => self.accounts.members(root).into_iter().any(|node| {
                let slot = &self.account_slots[node as usize];
                slot.seen
                    || !slot.crm.is_empty()
                    || !slot.enrichment().is_empty()
                    || !self.contacts_of.of(node).is_empty()
                    || !self.deals_of_account.of(node).is_empty()
            }),
            EntityKind::Deal => self
                .deals
                .members(root)
                .into_iter()
                .any(|node| !self.deal_slots[node as usize].crm.is_empty()),
            EntityKind::Tenant => false,
        }
    }

    /// Whether the CRM deleted the entity.
    #[must_use]
    pub fn is_deleted(&self, kind: EntityKind, key: &str) -> bool {
        self.root_of(kind, key).is_some_and(|root| {
            self.identity(kind)
                .is_some_and(|identity| identity.place(root).standing == Standing::Deleted)
        })
    }

    /// Whether the entity is known from events or enrichment only.
    #[must_use]
    pub fn is_provisional(&self, kind: EntityKind, key: &str) -> bool {
        let (Some(identity), Some(root)) = (self.identity(kind), self.root_of(kind, key)) else {
            return false;
        };
        identity
            .members(root)
            .into_iter()
            .all(|node| identity.place(node).standing == Standing::Unrecorded)
    }

    /// Every layer-1 key that is this entity, canonical id first.
    #[must_use]
    pub fn keys(&self, kind: EntityKind, key: &str) -> Vec<Arc<str>> {
        let (Some(identity), Some(root)) = (self.identity(kind), self.root_of(kind, key)) else {
            return Vec::new();
        };
        identity
            .members(root)
            .into_iter()
            .map(|node| Arc::clone(identity.id(node)))
            .collect()
    }

    /// Canonical ids of all living entities of a kind.
    #[must_use]
    pub fn ids(&self, kind: EntityKind) -> Vec<Arc<str>> {
        let Some(identity) = self.identity(kind) else {
            return Vec::new();
        };
        (0..identity.len() as Node)
            .filter(|node| {
                identity.root(*node) == *node
                    && identity.place(*node).standing != Standing::Deleted
                    && self.is_known(kind, *node)
            })
            .map(|node| Arc::clone(identity.id(node)))
            .collect()
    }

    /// CRM fields of all merged records, the latest of each; where the CRM says nothing, what enrichment says.
    #[must_use]
    pub fn fields(&self, kind: EntityKind, key: &str) -> Fields {
        let (Some(identity), Some(root)) = (self.identity(kind), self.root_of(kind, key)) else {
            return Fields::new();
        };
        let members = identity.members(root);
        let empty = Record::default();
        let records = |node: Node| match kind {
            EntityKind::Contact => {
                let slot = &self.contact_slots[node as usize];
                (&slot.crm, slot.enrichment())
            }
            EntityKind::Account => {
                let slot = &self.account_slots[node as usize];
                (&slot.crm, slot.enrichment())
            }
            EntityKind::Deal | EntityKind::Tenant => (&self.deal_slots[node as usize].crm, &empty),
        };
        let mut fields = self.latest(members.iter().map(|node| records(*node).0));
        for (name, value) in self.latest(members.iter().map(|node| records(*node).1)) {
            fields.entry(name).or_insert(value);
        }
        let own_key = match kind {
            EntityKind::Contact => Some(("email", '@')),
            EntityKind::Account => Some(("domain", '.')),
            EntityKind::Deal | EntityKind::Tenant => None,
        };
        if let Some((field, sign)) = own_key
            && !fields.contains_key(field)
            && let Some(node) = members.iter().find(|node| identity.id(**node).contains(sign))
        {
            fields.insert(field.to_owned(), identity.id(*node).to_string());
        }
        fields
    }

    fn latest<'a>(&self, records: impl Iterator<Item = &'a Record>) -> Fields {
        let mut latest: BTreeMap<record::NameId, FieldRef<'a>> = BTreeMap::new();
        for field in records.flat_map(Record::fields) {
            let held = latest.entry(field.name).or_insert(field);
            if (field.key, field.value) > (held.key, held.value) {
                *held = field;
            }
        }
        latest
            .into_values()
            .filter_map(|field| Some((self.names.text(field.name), field.value?)))
            .filter(|(name, value)| !name.starts_with('_') && !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// Canonical account of a contact, unless it is deleted.
    #[must_use]
    pub fn account_of(&self, contact: &str) -> Option<Arc<str>> {
        let root = self.root_of(EntityKind::Contact, contact)?;
        self.account_root_of(root)
            .map(|account| Arc::clone(self.accounts.id(account)))
    }

    pub(super) fn account_root_of(&self, contact_root: Node) -> Option<Node> {
        let members = self.contacts.members(contact_root);
        let best = members
            .iter()
            .map(|node| (*node, &self.contact_slots[*node as usize]))
            .filter(|(_, slot)| slot.account != NONE)
            .min_by(|(a, slot_a), (b, slot_b)| {
                (
                    slot_a.evidence,
                    std::cmp::Reverse(said_at(slot_a.evidence, slot_a)),
                )
                    .cmp(&(
                        slot_b.evidence,
                        std::cmp::Reverse(said_at(slot_b.evidence, slot_b)),
                    ))
                    .then_with(|| self.contacts.id(*a).cmp(self.contacts.id(*b)))
            })?;
        let account = self.accounts.root(best.1.account);
        (self.accounts.place(account).standing != Standing::Deleted).then_some(account)
    }

    /// Canonical ids of the living contacts of an account, sorted.
    #[must_use]
    pub fn contacts_of(&self, account: &str) -> Vec<Arc<str>> {
        let Some(root) = self.root_of(EntityKind::Account, account) else {
            return Vec::new();
        };
        let mut contacts: Vec<Arc<str>> = self
            .accounts
            .members(root)
            .into_iter()
            .flat_map(|node| self.contacts_of.of(node))
            .map(|node| self.contacts.root(*node))
            .collect::<HashSet<_>>()
            .into_iter()
            .filter(|contact| {
                self.contacts.place(*contact).standing != Standing::Deleted
                    && self.account_root_of(*contact) == Some(root)
            })
            .map(|contact| Arc::clone(self.contacts.id(contact)))
            .collect();
        contacts.sort();
        contacts
    }

    /// Canonical ids of the living deals of an account, sorted.
    #[must_use]
    pub fn deals_of(&self, account: &str) -> Vec<Arc<str>> {
        let Some(root) = self.root_of(EntityKind::Account, account) else {
            return Vec::new();
        };
        let nodes = self.accounts.members(root);
        self.living_deals(
            nodes
                .iter()
                .flat_map(|node| self.deals_of_account.of(*node))
                .copied(),
        )
    }

    /// Canonical ids of the living deals a contact takes part in by role or as its main contact, sorted.
    #[must_use]
    pub fn deals_of_contact(&self, contact: &str) -> Vec<Arc<str>> {
        let Some(root) = self.root_of(EntityKind::Contact, contact) else {
            return Vec::new();
        };
        self.living_deals(self.deal_roots_of_contact(root).into_iter())
    }

    pub(super) fn deal_roots_of_contact(&self, contact_root: Node) -> Vec<Node> {
        let mut deals = Vec::new();
        for node in self.contacts.members(contact_root) {
            deals.extend(
                self.deals_of_contact
                    .of(node)
                    .iter()
                    .map(|deal| self.deals.root(*deal)),
            );
            deals.extend(
                self.roles_of_contact
                    .of(node)
                    .iter()
                    .map(|role| self.roles[*role as usize].deal)
                    .filter(|deal| *deal != NONE)
                    .map(|deal| self.deals.root(deal)),
            );
        }
        deals
    }

    fn living_deals(&self, nodes: impl Iterator<Item = Node>) -> Vec<Arc<str>> {
        let mut deals: Vec<Arc<str>> = nodes
            .map(|node| self.deals.root(node))
            .filter(|root| {
                self.deals.place(*root).standing != Standing::Deleted
                    && self.is_known(EntityKind::Deal, *root)
            })
            .map(|root| Arc::clone(self.deals.id(root)))
            .collect();
        deals.sort();
        deals.dedup();
        deals
    }

    /// Canonical account of a deal: its own, else that of its main contact.
    #[must_use]
    pub fn account_of_deal(&self, deal: &str) -> Option<Arc<str>> {
        let root = self.root_of(EntityKind::Deal, deal)?;
        let slots = self
            .deals
            .members(root)
            .into_iter()
            .map(|node| &self.deal_slots[node as usize]);
        let (mut by_account, mut by_contact) = (None, None);
        for slot in slots {
            if slot.account != NONE && by_account.is_none() {
                by_account = Some(self.accounts.root(slot.account));
            }
            if slot.contact != NONE && by_contact.is_none() {
                by_contact = self.account_root_of(self.contacts.root(slot.contact));
            }
        }
        by_account
            .or(by_contact)
            .map(|account| Arc::clone(self.accounts.id(account)))
    }

    /// The contacts the CRM names on a deal, with their roles, sorted by contact; its main contact among them.
    #[must_use]
    pub fn roles_of(&self, deal: &str) -> Vec<DealRole> {
        let Some(root) = self.root_of(EntityKind::Deal, deal) else {
            return Vec::new();
        };
        let mut roles: BTreeMap<Arc<str>, Option<String>> = BTreeMap::new();
        for node in self.deals.members(root) {
            let main = self.deal_slots[node as usize].contact;
            if main != NONE {
                roles
                    .entry(Arc::clone(self.contacts.id(self.contacts.root(main))))
                    .or_default();
            }
            for role in self.roles_of_deal.of(node) {
                let role = &self.roles[*role as usize];
                if role.contact == NONE || role.crm.value(record::DELETED) == Some("true") {
                    continue;
                }
                let contact = Arc::clone(self.contacts.id(self.contacts.root(role.contact)));
                let name = role.crm.value(record::ROLE).map(str::to_owned);
                let held = roles.entry(contact).or_default();
                *held = held.take().max(name);
            }
        }
        roles
            .into_iter()
            .map(|(contact_id, role)| DealRole { contact_id, role })
            .collect()
    }

    /// The tenant's stages.
    #[must_use]
    pub fn stages(&self) -> Arc<StageCatalogue> {
        Arc::clone(&self.stages)
    }

    /// Living objects without identity of their own (`user`, `stage`, `quota`, `forecast_submission`), sorted by id.
    #[must_use]
    pub fn objects(&self, object: &str) -> Vec<(Arc<str>, Fields)> {
        let mut objects: Vec<(Arc<str>, Fields)> = self
            .plain
            .get(object)
            .into_iter()
            .flatten()
            .filter(|(_, record)| record.value(record::DELETED) != Some("true"))
            .map(|(id, record)| (Arc::clone(id), self.latest(std::iter::once(record))))
            .collect();
        objects.sort_by(|a, b| a.0.cmp(&b.0));
        objects
    }

    /// Companies that look like one but are several accounts (SO-68). Cost: one pass over all accounts.
    #[must_use]
    pub fn duplicates(&self) -> Vec<DuplicateCompanies> {
        let living = |node: Node| {
            let place = self.accounts.place(self.accounts.root(node));
            (place.standing == Standing::Live).then(|| Arc::clone(self.accounts.id(self.accounts.root(node))))
        };
        let mut by_domain: BTreeMap<String, Vec<Arc<str>>> = BTreeMap::new();
        for (domain, claimants) in self.accounts.claims() {
            let own = living(domain);
            let roots = claimants.iter().filter_map(|node| living(*node)).chain(own);
            by_domain
                .entry(self.accounts.id(domain).to_string())
                .or_default()
                .extend(roots);
        }
        let mut by_name: BTreeMap<String, Vec<Arc<str>>> = BTreeMap::new();
        for node in 0..self.accounts.len() as Node {
            let slot = &self.account_slots[node as usize];
            let name = slot.crm.value(record::NAME).and_then(duplicates::normal_name);
            if let (Some(name), Some(root)) = (name, living(node)) {
                by_name.entry(name).or_default().push(root);
            }
        }
        duplicates::find(by_domain, by_name)
    }
}

/// When the CRM or enrichment said to which account a contact belongs, so that the latest of merged records wins.
fn said_at(evidence: Evidence, slot: &super::Slot) -> OrderKey {
    let record = match evidence {
        Evidence::Crm => &slot.crm,
        Evidence::Enrichment => slot.enrichment(),
        Evidence::Events | Evidence::Domain | Evidence::Nothing => return OrderKey::default(),
    };
    record
        .field(record::ACCOUNT_ID)
        .map_or_else(OrderKey::default, |field| field.key)
}
