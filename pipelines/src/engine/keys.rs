//! Groups by number, and back.
//!
//! A group key is split in two: the entity (tenant and the entity's own key) and the rest, its facet (era, type,
//! direction, ...). Each is kept once and numbered; a group is a pair of numbers. So a key costs the same whatever
//! its length, an entity's groups hang on one list, and a look-up by entity is one hash probe.
//!
//! Most entities have few groups, and those made by one event lie side by side, so the first [`LISTED`] of an entity are
//! found by walking its list. Only the rest stand in a hash table, which would else be a third of all keys' memory.

mod column;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringViewBuilder},
    datatypes::FieldRef,
};
use datafusion::error::Result;
use hashbrown::HashTable;

use super::{
    entities::{Entities, EntityScratch},
    segmented::Segmented,
    texts::Texts,
};
use column::KeyColumn;

/// End of an entity's list of groups.
const END: u32 = u32::MAX;
const SHARDS: usize = 1024;
/// Groups of an entity that are found by walking: the fields of a CRM record.
const LISTED: usize = 12;
/// Combinations remembered in front of the facet table: an hour's events hold a few dozen.
const MEMO: usize = 256;
/// Facet columns whose codes fit the memo.
const MEMO_COLUMNS: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Group {
    entity: u32,
    facet: u32,
    next: u32,
}

#[derive(Debug, Clone, Copy)]
struct GroupSlot {
    entity: u32,
    facet: u32,
    group: u32,
}

#[inline]
const fn group_hash(entity: u32, facet: u32) -> u64 {
    let mut mixed = ((entity as u64) << 32 | facet as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^= mixed >> 32;
    mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

/// The numbers of one micro-batch, kept between batches to spare allocations.
#[derive(Debug, Default)]
pub(super) struct KeyScratch {
    tenants: Vec<u32>,
    entity: EntityScratch,
    entities: Vec<u32>,
    codes: Vec<Vec<u32>>,
    facets: Vec<u32>,
    combination: Vec<u8>,
}

/// The key table of one pipeline.
#[derive(Debug)]
pub(super) struct Keys {
    fields: Vec<FieldRef>,
    tenant: usize,
    key: usize,
    /// Group columns that are neither tenant nor key, each with its own dictionary.
    facet_columns: Vec<(usize, KeyColumn)>,
    tenants: KeyColumn,
    entities: Entities,
    /// First group of each entity.
    heads: Segmented<u32>,
    /// Codes of the facet columns, 4 bytes each.
    facets: Texts,
    /// Codes and facet of combinations seen lately.
    memo: Vec<([u32; MEMO_COLUMNS], u32)>,
    /// Groups of entities that have more than are walked.
    slots: Vec<HashTable<GroupSlot>>,
    groups: Segmented<Group>,
}

/// What walking an entity's list found.
enum Walked {
    Found(u32),
    /// The group is not among those walked: the last of them, how many they are, and whether there are others, which the
    /// hash table holds.
    Missing {
        last: u32,
        walked: usize,
        more: bool,
    },
}

impl Keys {
    pub(super) fn new(fields: &[FieldRef], tenant: usize, key: usize) -> Self {
        let facet_columns = (0..fields.len())
            .filter(|at| *at != tenant && *at != key)
            .map(|at| (at, KeyColumn::new(fields[at].data_type())))
            .collect();
        Self {
            tenants: KeyColumn::new(fields[tenant].data_type()),
            fields: fields.to_vec(),
            tenant,
            key,
            facet_columns,
            entities: Entities::new(),
            heads: Segmented::default(),
            facets: Texts::new(64),
            // No column has this many codes, so these entries match nothing.
            memo: vec![([u32::MAX; MEMO_COLUMNS], 0); MEMO],
            slots: (0..SHARDS).map(|_| HashTable::new()).collect(),
            groups: Segmented::default(),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn bytes(&self) -> usize {
        let slots: usize = self.slots.iter().map(HashTable::allocation_size).sum();
        let columns: usize = self.facet_columns.iter().map(|(_, column)| column.bytes()).sum();
        slots
            + columns
            + self.tenants.bytes()
            + self.entities.memory()
            + self.heads.bytes()
            + self.facets.bytes()
            + self.groups.bytes()
    }

    /// Gives each row of the group columns its group number; new groups get the next numbers.
    ///
    /// Cost: one probe of the entity table and one of the group table a row, and cheap ones of small dictionaries.
    pub(super) fn intern(
        &mut self,
        columns: &[ArrayRef],
        scratch: &mut KeyScratch,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        let rows = columns[self.tenant].len();
        self.tenants.codes(&columns[self.tenant], &mut scratch.tenants)?;
        let keys = columns[self.key].as_string_view();
        self.entities
            .intern(&scratch.tenants, keys, &mut scratch.entity, &mut scratch.entities);
        while self.heads.len() < self.entities.len() {
            self.heads.push(END);
        }
        scratch.codes.resize_with(self.facet_columns.len(), Vec::new);
        for ((at, column), codes) in self.facet_columns.iter_mut().zip(&mut scratch.codes) {
            column.codes(&columns[*at], codes)?;
        }
        self.intern_facets(rows, scratch);
        out.clear();
        out.reserve(rows);
        for (entity, facet) in scratch.entities.iter().zip(&scratch.facets) {
            out.push(self.group(*entity, *facet));
        }
        Ok(())
    }

    fn intern_facets(&mut self, rows: usize, scratch: &mut KeyScratch) {
        let KeyScratch {
            codes,
            facets,
            combination,
            ..
        } = scratch;
        facets.clear();
        facets.reserve(rows);
        for row in 0..rows {
            let mut short = [0; MEMO_COLUMNS];
            for (short, column) in short.iter_mut().zip(codes.iter()) {
                *short = column[row];
            }
            let mixed = short.iter().fold(0_u64, |mixed, code| {
                (mixed ^ u64::from(*code)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            });
            let slot = (mixed >> 56) as usize;
            if codes.len() <= MEMO_COLUMNS && self.memo[slot].0 == short {
                facets.push(self.memo[slot].1);
                continue;
            }
            combination.clear();
            for column in codes.iter() {
                combination.extend_from_slice(&column[row].to_le_bytes());
            }
            let facet = self.facets.intern(combination);
            self.memo[slot] = (short, facet);
            facets.push(facet);
        }
    }

    /// Looks for a facet among the first groups of an entity.
    #[inline]
    fn walk_to(&self, entity: u32, facet: u32) -> Walked {
        let (mut last, mut at) = (END, self.heads.get(entity));
        for walked in 0..LISTED {
            if at == END {
                return Walked::Missing {
                    last,
                    walked,
                    more: false,
                };
            }
            let group = self.groups.get(at);
            if group.facet == facet {
                return Walked::Found(at);
            }
            (last, at) = (at, group.next);
        }
        Walked::Missing {
            last,
            walked: LISTED,
            more: at != END,
        }
    }

    fn probe(&self, entity: u32, facet: u32, hash: u64) -> Option<u32> {
        self.slots[(hash >> 32) as usize & (SHARDS - 1)]
            .find(hash, |slot| slot.entity == entity && slot.facet == facet)
            .map(|slot| slot.group)
    }

    fn find_group(&self, entity: u32, facet: u32) -> Option<u32> {
        match self.walk_to(entity, facet) {
            Walked::Found(group) => Some(group),
            Walked::Missing { more: false, .. } => None,
            Walked::Missing { more: true, .. } => self.probe(entity, facet, group_hash(entity, facet)),
        }
    }

    /// The group of an entity and a facet; a new one goes behind the last that was walked, so that the first ones of an
    /// entity stay the first.
    #[inline]
    fn group(&mut self, entity: u32, facet: u32) -> u32 {
        let (last, walked, more) = match self.walk_to(entity, facet) {
            Walked::Found(group) => return group,
            Walked::Missing { last, walked, more } => (last, walked, more),
        };
        let hash = group_hash(entity, facet);
        if more && let Some(group) = self.probe(entity, facet, hash) {
            return group;
        }
        let group = self.groups.len() as u32;
        let next = if last == END {
            std::mem::replace(self.heads.at_mut(entity), group)
        } else {
            std::mem::replace(&mut self.groups.at_mut(last).next, group)
        };
        self.groups.push(Group { entity, facet, next });
        if walked == LISTED {
            let slot = GroupSlot { entity, facet, group };
            self.slots[(hash >> 32) as usize & (SHARDS - 1)]
                .insert_unique(hash, slot, |slot| group_hash(slot.entity, slot.facet));
        }
        group
    }

    /// The group of each row of the group columns, `None` for groups never seen.
    pub(super) fn find(&self, columns: &[ArrayRef]) -> Result<Vec<Option<u32>>> {
        let tenants = self.tenants.find_codes(&columns[self.tenant])?;
        let keys = columns[self.key].as_string_view();
        let codes = self.facet_columns.iter();
        let codes = codes.map(|(at, column)| column.find_codes(&columns[*at]));
        let codes = codes.collect::<Result<Vec<_>>>()?;
        let find_row = |row: usize| {
            let key = (!keys.is_null(row)).then(|| keys.value(row));
            let entity = self.entities.find(tenants[row]?, key)?;
            let mut text = Vec::with_capacity(codes.len() * 4);
            for column in &codes {
                text.extend_from_slice(&column[row]?.to_le_bytes());
            }
            let facet = self.facets.find(&text)?;
            self.find_group(entity, facet)
        };
        Ok((0..keys.len()).map(find_row).collect())
    }

    /// Appends the groups of one entity.
    pub(super) fn groups_of(&self, tenant: &str, key: &str, out: &mut Vec<u32>) {
        let Some(tenant) = self.tenants.find_text(tenant) else {
            return;
        };
        if let Some(entity) = self.entities.find(tenant, Some(key)) {
            self.walk(entity, out);
        }
    }

    /// Appends the groups of all entities of a tenant.
    pub(super) fn groups_of_tenant(&self, tenant: &str, out: &mut Vec<u32>) {
        let Some(tenant) = self.tenants.find_text(tenant) else {
            return;
        };
        for entity in 0..self.entities.len() as u32 {
            if self.entities.get(entity).0 == tenant {
                self.walk(entity, out);
            }
        }
    }

    fn walk(&self, entity: u32, out: &mut Vec<u32>) {
        let mut at = self.heads.get(entity);
        while at != END {
            out.push(at);
            at = self.groups.get(at).next;
        }
    }

    /// The group columns of the given groups.
    pub(super) fn columns(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.some_columns(groups, 0..self.fields.len())
    }

    /// As [`Self::columns`], those with the wanted numbers only, in that order.
    pub(super) fn some_columns(
        &self,
        groups: &[u32],
        wanted: impl Iterator<Item = usize>,
    ) -> Result<Vec<ArrayRef>> {
        let records: Vec<Group> = groups.iter().map(|group| self.groups.get(*group)).collect();
        let entity = |record: &Group| self.entities.get(record.entity);
        let number = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let column = |at: usize| -> Result<ArrayRef> {
            let kind = self.fields[at].data_type();
            if at == self.tenant {
                let codes = records.iter().map(|record| entity(record).0);
                return self.tenants.values(codes, kind);
            }
            if at == self.key {
                let mut keys = StringViewBuilder::with_capacity(records.len());
                for record in &records {
                    keys.append_option(entity(record).1.map(column::text));
                }
                return Ok(std::sync::Arc::new(keys.finish()));
            }
            // Facets hold their codes in the order of the columns that are neither tenant nor key.
            let facet = at - usize::from(self.tenant < at) - usize::from(self.key < at);
            let codes = records
                .iter()
                .map(|record| number(&self.facets.get(record.facet)[facet * 4..]));
            self.facet_columns[facet].1.values(codes, kind)
        };
        wanted.map(column).collect()
    }
}
