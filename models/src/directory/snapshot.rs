//! A directory as bytes and back, a slice of nodes at a time, so that writing one holds nobody up for long.
//!
//! A slice holds of each node what was said of it and what was derived from that alone (claim, account, standing); who is
//! whose root and which nodes hang on which is derived anew when all nodes are there. Slices may be taken at different
//! instants: everything in them is a join that only grows, so reading what changed since the first slice again gives the
//! directory of now. Roles come first, then deals, contacts and accounts, so that a node never names one of a later kind
//! that was taken before it.

use std::sync::Arc;

use super::{
    DealSlot, Directory, Evidence, RoleSlot, Slot, StageCatalogue,
    identity::{Identity, Place, Standing},
    links::{Links, NONE, Node},
    record::Record,
};
use crate::packing::{Damaged, Packer, Unpacker};

/// The kinds of nodes, in the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Roles,
    Deals,
    Contacts,
    Accounts,
}

impl Section {
    pub(crate) const ALL: [Self; 4] = [Self::Roles, Self::Deals, Self::Contacts, Self::Accounts];

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Roles => 1,
            Self::Deals => 2,
            Self::Contacts => 3,
            Self::Accounts => 4,
        }
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.code() == code)
    }
}

const SEEN: u8 = 1;
const ENRICHED: u8 = 2;

const fn standing_code(standing: Standing) -> u8 {
    match standing {
        Standing::Live => 0,
        Standing::Merged => 1,
        Standing::Unrecorded => 2,
        Standing::Deleted => 3,
    }
}

const fn evidence_code(evidence: Evidence) -> u8 {
    match evidence {
        Evidence::Crm => 0,
        Evidence::Enrichment => 1,
        Evidence::Events => 2,
        Evidence::Domain => 3,
        Evidence::Nothing => 4,
    }
}

fn pack_node(packer: &mut Packer, node: Node) {
    packer.number(node.wrapping_add(1));
}

fn read_node(from: &mut Unpacker<'_>) -> Result<Node, Damaged> {
    Ok(from.number()?.wrapping_sub(1))
}

fn pack_place(packer: &mut Packer, place: Place) {
    pack_node(packer, place.merged_into);
    pack_node(packer, place.claim);
    packer.byte(standing_code(place.standing));
}

fn read_place(from: &mut Unpacker<'_>) -> Result<Place, Damaged> {
    Ok(Place {
        merged_into: read_node(from)?,
        claim: read_node(from)?,
        standing: match from.byte()? {
            0 => Standing::Live,
            1 => Standing::Merged,
            2 => Standing::Unrecorded,
            3 => Standing::Deleted,
            _ => return Err(Damaged("a standing is unknown")),
        },
    })
}

fn pack_slot(packer: &mut Packer, slot: &Slot) {
    let enriched = slot.enrichment.is_some();
    packer.byte((u8::from(slot.seen) * SEEN) | (u8::from(enriched) * ENRICHED));
    packer.bytes(slot.crm.packed());
    if let Some(record) = &slot.enrichment {
        packer.bytes(record.packed());
    }
    pack_node(packer, slot.account);
    packer.byte(evidence_code(slot.evidence));
    pack_node(packer, slot.hint_email);
    pack_node(packer, slot.hint_account);
}

fn read_slot(from: &mut Unpacker<'_>) -> Result<Slot, Damaged> {
    let flags = from.byte()?;
    Ok(Slot {
        seen: flags & SEEN != 0,
        crm: Record::of_packed(from.bytes()?),
        enrichment: if flags & ENRICHED == 0 {
            None
        } else {
            Some(Box::new(Record::of_packed(from.bytes()?)))
        },
        account: read_node(from)?,
        evidence: match from.byte()? {
            0 => Evidence::Crm,
            1 => Evidence::Enrichment,
            2 => Evidence::Events,
            3 => Evidence::Domain,
            4 => Evidence::Nothing,
            _ => return Err(Damaged("a kind of evidence is unknown")),
        },
        hint_email: read_node(from)?,
        hint_account: read_node(from)?,
    })
}

impl Directory {
    /// Nodes of a section.
    pub(crate) fn nodes(&self, section: Section) -> u32 {
        let nodes = match section {
            Section::Roles => self.roles.len(),
            Section::Deals => self.deals.len(),
            Section::Contacts => self.contacts.len(),
            Section::Accounts => self.accounts.len(),
        };
        nodes as u32
    }

    /// The key of a node; of a role, its id.
    pub(crate) fn node_id(&self, section: Section, node: Node) -> &Arc<str> {
        match section {
            Section::Roles => &self.roles[node as usize].id,
            Section::Deals => self.deals.id(node),
            Section::Contacts => self.contacts.id(node),
            Section::Accounts => self.accounts.id(node),
        }
    }

    /// Packs one node.
    pub(crate) fn pack(&self, section: Section, node: Node, packer: &mut Packer) {
        packer.text(self.node_id(section, node));
        match section {
            Section::Roles => {
                let role = &self.roles[node as usize];
                packer.bytes(role.crm.packed());
                pack_node(packer, role.deal);
                pack_node(packer, role.contact);
            }
            Section::Deals => {
                let deal = &self.deal_slots[node as usize];
                packer.bytes(deal.crm.packed());
                pack_node(packer, deal.account);
                pack_node(packer, deal.contact);
                pack_place(packer, self.deals.place(node));
            }
            Section::Contacts => {
                pack_slot(packer, &self.contact_slots[node as usize]);
                pack_place(packer, self.contacts.place(node));
            }
            Section::Accounts => {
                pack_slot(packer, &self.account_slots[node as usize]);
                pack_place(packer, self.accounts.place(node));
            }
        }
    }

    /// Packs what is not kept by node: field names, whose numbers the records use, and objects without identity.
    pub(crate) fn pack_rest(&self, packer: &mut Packer) {
        let names = self.names.texts();
        packer.number(names.len() as u32);
        names.iter().for_each(|name| packer.text(name));
        packer.number(self.plain.len() as u32);
        for (object, records) in &self.plain {
            packer.text(object);
            packer.number(records.len() as u32);
            for (id, record) in records {
                packer.text(id);
                packer.bytes(record.packed());
            }
        }
    }

    /// Takes the next node of a section, in the order in which they were packed; answers with its key.
    pub(crate) fn unpack(&mut self, section: Section, from: &mut Unpacker<'_>) -> Result<Arc<str>, Damaged> {
        let id: Arc<str> = from.text()?.into();
        let of = Arc::clone(&id);
        let once = match section {
            Section::Roles => {
                let node = self.roles.len() as Node;
                self.roles.push(RoleSlot {
                    id: of,
                    crm: Record::of_packed(from.bytes()?),
                    deal: read_node(from)?,
                    contact: read_node(from)?,
                });
                self.role_index.insert(Arc::clone(&id), node).is_none()
            }
            Section::Deals => {
                self.deal_slots.push(DealSlot {
                    crm: Record::of_packed(from.bytes()?),
                    account: read_node(from)?,
                    contact: read_node(from)?,
                });
                self.deals.push(of, read_place(from)?)
            }
            Section::Contacts => {
                self.contact_slots.push(read_slot(from)?);
                self.contacts.push(of, read_place(from)?)
            }
            Section::Accounts => {
                self.account_slots.push(read_slot(from)?);
                self.accounts.push(of, read_place(from)?)
            }
        };
        once.then_some(id).ok_or(Damaged("a key stands in it twice"))
    }

    /// Takes what [`Self::pack_rest`] packed.
    pub(crate) fn unpack_rest(&mut self, from: &mut Unpacker<'_>) -> Result<(), Damaged> {
        for number in 0..from.number()? {
            if self.names.intern(from.text()?) != number {
                return Err(Damaged("its field names are not those of this version"));
            }
        }
        for _ in 0..from.number()? {
            let object = from.text()?;
            for _ in 0..from.number()? {
                let id = from.text()?;
                *self.plain_record(object, id) = Record::of_packed(from.bytes()?);
            }
        }
        Ok(())
    }

    /// Derives relations and identity once all nodes are there. Cost: one pass over the nodes, no text is read.
    pub(crate) fn unpacked(&mut self) -> Result<(), Damaged> {
        let (contacts, accounts, deals) = (self.contacts.len(), self.accounts.len(), self.deals.len());
        let within = |node: Node, len: usize| node == NONE || (node as usize) < len;
        let slot_within = |slot: &Slot| {
            within(slot.account, accounts)
                && within(slot.hint_account, accounts)
                && within(slot.hint_email, contacts)
        };
        let whole = self.contact_slots.iter().all(slot_within)
            && self.account_slots.iter().all(slot_within)
            && self
                .deal_slots
                .iter()
                .all(|slot| within(slot.account, accounts) && within(slot.contact, contacts))
            && self
                .roles
                .iter()
                .all(|role| within(role.deal, deals) && within(role.contact, contacts))
            && [&self.contacts, &self.accounts, &self.deals]
                .into_iter()
                .all(Identity::is_closed);
        if !whole {
            return Err(Damaged("it names a key that it does not hold"));
        }
        self.contacts_of = Links::of_all(self.contact_slots.iter().map(|slot| slot.account));
        self.deals_of_account = Links::of_all(self.deal_slots.iter().map(|slot| slot.account));
        self.deals_of_contact = Links::of_all(self.deal_slots.iter().map(|slot| slot.contact));
        self.roles_of_deal = Links::of_all(self.roles.iter().map(|role| role.deal));
        self.roles_of_contact = Links::of_all(self.roles.iter().map(|role| role.contact));
        for identity in [&mut self.contacts, &mut self.accounts, &mut self.deals] {
            identity.derive_all();
        }
        let stages = self.objects("stage").into_iter();
        self.stages = Arc::new(StageCatalogue::from_objects(
            stages.map(|(id, fields)| (id.to_string(), fields)),
        ));
        Ok(())
    }
}
