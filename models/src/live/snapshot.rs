//! What layer 2 holds, as parts of bytes and back: the directories and what the feed last said, for a checkpoint.
//!
//! Parts are taken while scoring goes on, a slice of nodes under the locks at a time. A snapshot stands for the event
//! position and the feed position at which it began: reading again what layer 1 changed after the one, and the feed after
//! the other, in order, gives what was held at the end, however much of it the later slices had already seen.

use std::sync::Arc;

use hashbrown::HashMap;
use revgauge_contract::{Position, score::EntityKind};

use super::{
    FeedMemory, LiveScorer,
    emitted::{Emitted, Entry},
};
use crate::{
    directory::{Directory, Section},
    packing::{Damaged, Packer, Unpacker},
};

/// Version of what the parts mean; another one's parts are not read.
pub const SNAPSHOT_LAYOUT: u32 = 1;
/// Nodes packed while the locks are held: some hundred microseconds.
const SLICE_NODES: u32 = 1024;
/// Marks the part that ends a snapshot; sections have other numbers.
const ENDING: u8 = 255;

const fn kind_of(section: Section) -> Option<EntityKind> {
    match section {
        Section::Roles => None,
        Section::Deals => Some(EntityKind::Deal),
        Section::Contacts => Some(EntityKind::Contact),
        Section::Accounts => Some(EntityKind::Account),
    }
}

/// A snapshot being taken.
#[derive(Debug)]
pub struct Snapshot {
    scorer: Arc<LiveScorer>,
    tenants: Vec<Arc<str>>,
    /// Tenant, section and node to go on with.
    next: (usize, usize, u32),
    /// Nodes taken of each section of each tenant.
    taken: Vec<[u32; Section::ALL.len()]>,
    ended: bool,
    position: Position,
    fed: Position,
    /// The definitions in force, when nothing waited as it began.
    at_rest: Option<String>,
}

impl LiveScorer {
    /// Begins a snapshot of the tenants that are watched.
    #[must_use]
    pub fn snapshot(self: &Arc<Self>) -> Snapshot {
        let tenants = self.scoring.directories.tenants();
        let definitions = self.definitions();
        let (position, fed, at_rest) = {
            let state = self.state.lock();
            let at_rest = !state.in_turn && state.queues.len() == 0 && state.sweeps.is_empty();
            (state.applied, state.fed, at_rest.then_some(definitions))
        };
        Snapshot {
            scorer: Arc::clone(self),
            taken: vec![[0; Section::ALL.len()]; tenants.len()],
            tenants,
            next: (0, 0, 0),
            ended: false,
            position,
            fed,
            at_rest,
        }
    }
}

impl Snapshot {
    /// Last event position of which everything is in the snapshot.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Last position of the feed of which everything is in the snapshot.
    #[must_use]
    pub const fn fed(&self) -> Position {
        self.fed
    }

    /// The next part, of about so many bytes; `None` after the last one.
    pub fn next_part(&mut self, bytes: usize) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        let mut packer = Packer::default();
        while packer.0.len() < bytes {
            if !self.pack_slice(&mut packer) {
                self.pack_ending(&mut packer);
                self.ended = true;
                break;
            }
        }
        Some(packer.0)
    }

    /// Packs the next slice; false when all nodes are packed.
    fn pack_slice(&mut self, packer: &mut Packer) -> bool {
        let (tenant_at, section_at, from) = self.next;
        let Some(tenant) = self.tenants.get(tenant_at) else {
            return false;
        };
        let Some(section) = Section::ALL.get(section_at).copied() else {
            self.next = (tenant_at + 1, 0, 0);
            return true;
        };
        let Some(directory) = self.scorer.scoring.directories.loaded(tenant) else {
            self.next = (tenant_at + 1, 0, 0);
            return true;
        };
        let directory = directory.read();
        let to = directory.nodes(section).min(from.saturating_add(SLICE_NODES));
        if from == to {
            self.next = (tenant_at, section_at + 1, 0);
            return true;
        }
        packer.byte(section.code());
        packer.text(tenant);
        packer.number(to - from);
        let memory = self.scorer.memory.read();
        for node in from..to {
            directory.pack(section, node, packer);
            if let Some(kind) = kind_of(section) {
                let entry = memory.entry(tenant, kind, directory.node_id(section, node));
                packer.byte(u8::from(entry.is_some()));
                if let Some(entry) = entry {
                    entry.pack(packer);
                }
            }
        }
        self.taken[tenant_at][section_at] = to;
        self.next = (tenant_at, section_at, to);
        true
    }

    fn pack_ending(&self, packer: &mut Packer) {
        packer.byte(ENDING);
        packer.number(self.tenants.len() as u32);
        for (tenant, taken) in self.tenants.iter().zip(&self.taken) {
            packer.text(tenant);
            taken.iter().for_each(|nodes| packer.number(*nodes));
            let directory = self.scorer.scoring.directories.loaded(tenant).unwrap_or_default();
            directory.read().pack_rest(packer);
            let cuts = self.scorer.memory.read().cuts(tenant);
            // Cuts are numbers and texts: encoding them cannot fail, and an empty text stands for none.
            let cuts = cuts.and_then(|cuts| serde_json::to_string(&*cuts).ok());
            packer.text(cuts.as_deref().unwrap_or_default());
        }
        packer.text(self.at_rest.as_deref().unwrap_or_default());
        let memory = self.scorer.memory.read();
        packer.number(memory.labels().len() as u32);
        memory.labels().iter().for_each(|label| packer.text(label));
    }
}

/// What layer 2 held when a snapshot was taken.
#[derive(Debug, Default)]
pub struct Held {
    directories: HashMap<Arc<str>, Directory>,
    memory: Emitted,
    at_rest: Option<String>,
    ended: bool,
}

impl Held {
    /// Takes the next part.
    ///
    /// # Errors
    /// The bytes are not a part of a snapshot, or come after its last one.
    pub fn take(&mut self, part: &[u8]) -> Result<(), Damaged> {
        let mut from = Unpacker(part);
        while !from.is_empty() {
            if self.ended {
                return Err(Damaged("it goes on after its end"));
            }
            let code = from.byte()?;
            if code == ENDING {
                self.take_ending(&mut from)?;
                continue;
            }
            let section = Section::of_code(code).ok_or(Damaged("a kind of node is unknown"))?;
            let tenant: Arc<str> = from.text()?.into();
            let nodes = from.number()?;
            let directory = self.directories.entry(Arc::clone(&tenant)).or_default();
            for _ in 0..nodes {
                let id = directory.unpack(section, &mut from)?;
                if let Some(kind) = kind_of(section)
                    && from.byte()? != 0
                {
                    self.memory.put(&tenant, kind, id, Entry::unpack(&mut from)?);
                }
            }
        }
        Ok(())
    }

    fn take_ending(&mut self, from: &mut Unpacker<'_>) -> Result<(), Damaged> {
        for _ in 0..from.number()? {
            let tenant: Arc<str> = from.text()?.into();
            let directory = self.directories.entry(Arc::clone(&tenant)).or_default();
            for section in Section::ALL {
                if directory.nodes(section) != from.number()? {
                    return Err(Damaged("nodes are missing"));
                }
            }
            directory.unpack_rest(from)?;
            directory.unpacked()?;
            let cuts = from.text()?;
            if !cuts.is_empty() {
                let cuts = serde_json::from_str(cuts).map_err(|_| Damaged("its cut-offs cannot be read"))?;
                self.memory.set_cuts(&tenant, cuts);
            }
        }
        let at_rest = from.text()?;
        self.at_rest = (!at_rest.is_empty()).then(|| at_rest.to_owned());
        let labels: Vec<Arc<str>> = (0..from.number()?)
            .map(|_| from.text().map(Arc::from))
            .collect::<Result<_, _>>()?;
        self.memory.set_labels(labels);
        self.ended = true;
        Ok(())
    }

    /// The memory of the feed and the directories; the former takes the feed from where the snapshot ends.
    ///
    /// # Errors
    /// The last part is missing.
    pub fn open(self) -> Result<(FeedMemory, HashMap<Arc<str>, Directory>), Damaged> {
        if !self.ended {
            return Err(Damaged("its last part is missing"));
        }
        let memory = FeedMemory {
            emitted: self.memory,
            at_rest: self.at_rest,
        };
        Ok((memory, self.directories))
    }
}
