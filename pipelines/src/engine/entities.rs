//! The entities of a pipeline: tenant and key, each pair once, by number.

use std::hash::{BuildHasher, Hasher};

use arrow::array::{Array, StringViewArray};
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{
    segmented::Segmented,
    texts::{Bytes, spread},
};

/// Stands for a NULL key; no UTF-8 text holds this byte.
const NULL_KEY: &[u8] = &[0xff];
const SHARDS: usize = 1024;

/// Where an entity's bytes lie stands in the slot, so that a probe costs two reads of cold memory and no more.
#[derive(Debug, Clone, Copy)]
struct Slot {
    tag: u32,
    entity: u32,
    block: u32,
    start: u32,
}

/// Tenants by code and keys as bytes; numbers from 0.
#[derive(Debug)]
pub(super) struct Entities {
    /// Tenant code (4 bytes), then the key.
    bytes: Bytes,
    places: Segmented<(u32, u32)>,
    shards: Vec<HashTable<Slot>>,
    hasher: RandomState,
}

/// Hashes and first candidates of one micro-batch, kept between batches to spare allocations.
#[derive(Debug, Default)]
pub(super) struct EntityScratch {
    /// Hash of each row; `None` where the row is about the same entity as the one before.
    hashes: Vec<Option<u64>>,
    candidates: Vec<Option<Slot>>,
}

#[inline]
const fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize & (SHARDS - 1)
}

#[inline]
fn key_at(keys: &StringViewArray, row: usize) -> &[u8] {
    if keys.is_null(row) {
        NULL_KEY
    } else {
        keys.value(row).as_bytes()
    }
}

/// Whether a row has the key of the row before it. Mostly told by the views alone: length and first letters.
#[inline]
fn repeats(keys: &StringViewArray, row: usize) -> bool {
    let views = keys.views();
    views[row] as u64 == views[row - 1] as u64 && key_at(keys, row) == key_at(keys, row - 1)
}

impl Entities {
    pub(super) fn new() -> Self {
        Self {
            bytes: Bytes::default(),
            places: Segmented::default(),
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
            hasher: RandomState::default(),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn memory(&self) -> usize {
        let tables: usize = self.shards.iter().map(HashTable::allocation_size).sum();
        self.bytes.memory() + self.places.bytes() + tables
    }

    #[inline]
    fn hash(&self, tenant: u32, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(tenant);
        hasher.write(key);
        hasher.finish()
    }

    #[inline]
    fn same(&self, slot: &Slot, tenant: u32, key: &[u8]) -> bool {
        let (stored_tenant, stored_key) = self.bytes.at(slot.block, slot.start).split_at(4);
        stored_tenant == tenant.to_le_bytes() && stored_key == key
    }

    /// The entity of each row; new ones get the next numbers.
    ///
    /// Three passes, hash, probe, compare: within a pass the reads of cold memory do not wait for each other. Rows of one
    /// entity that stand together, as the fields of a record do, are looked up once.
    pub(super) fn intern(
        &mut self,
        tenants: &[u32],
        keys: &StringViewArray,
        scratch: &mut EntityScratch,
        out: &mut Vec<u32>,
    ) {
        let EntityScratch { hashes, candidates } = scratch;
        hashes.clear();
        let rows = tenants.iter().enumerate();
        hashes.extend(rows.map(|(row, tenant)| {
            let repeated = row > 0 && tenants[row - 1] == *tenant && repeats(keys, row);
            (!repeated).then(|| self.hash(*tenant, key_at(keys, row)))
        }));
        candidates.clear();
        candidates.extend(hashes.iter().map(|hash| {
            let hash = (*hash)?;
            let tag = hash as u32;
            let found = self.shards[shard_of(hash)].find(spread(tag), |slot| slot.tag == tag);
            found.copied()
        }));
        out.clear();
        out.reserve(tenants.len());
        let mut entity = 0;
        for (row, (tenant, hash)) in tenants.iter().zip(hashes.iter()).enumerate() {
            if let Some(hash) = hash {
                let key = key_at(keys, row);
                entity = match candidates[row] {
                    Some(slot) if self.same(&slot, *tenant, key) => slot.entity,
                    _ => self.insert(*tenant, key, *hash),
                };
            }
            out.push(entity);
        }
    }

    fn insert(&mut self, tenant: u32, key: &[u8], hash: u64) -> u32 {
        if let Some(entity) = self.find_hashed(tenant, key, hash) {
            return entity;
        }
        let (block, start) = self.bytes.push(&[&tenant.to_le_bytes(), key]);
        let entity = self.places.len() as u32;
        self.places.push((block, start));
        let tag = hash as u32;
        let slot = Slot {
            tag,
            entity,
            block,
            start,
        };
        self.shards[shard_of(hash)].insert_unique(spread(tag), slot, |slot| spread(slot.tag));
        entity
    }

    fn find_hashed(&self, tenant: u32, key: &[u8], hash: u64) -> Option<u32> {
        let tag = hash as u32;
        self.shards[shard_of(hash)]
            .find(spread(tag), |slot| {
                slot.tag == tag && self.same(slot, tenant, key)
            })
            .map(|slot| slot.entity)
    }

    pub(super) fn find(&self, tenant: u32, key: Option<&str>) -> Option<u32> {
        let key = key.map_or(NULL_KEY, str::as_bytes);
        self.find_hashed(tenant, key, self.hash(tenant, key))
    }

    /// Tenant code and key.
    #[inline]
    pub(super) fn get(&self, entity: u32) -> (u32, Option<&[u8]>) {
        let (block, start) = self.places.get(entity);
        let (tenant, key) = self.bytes.at(block, start).split_at(4);
        let tenant = u32::from_le_bytes([tenant[0], tenant[1], tenant[2], tenant[3]]);
        (tenant, (key != NULL_KEY).then_some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_told_apart_and_read_back() {
        let mut entities = Entities::new();
        let keys = StringViewArray::from_iter([Some("a"), Some("b"), None, Some("a"), Some(""), Some("a")]);
        let (mut scratch, mut out) = (EntityScratch::default(), Vec::new());
        entities.intern(&[1, 1, 1, 2, 1, 1], &keys, &mut scratch, &mut out);
        assert_eq!(out, [0, 1, 2, 3, 4, 0]);
        assert_eq!(entities.get(3), (2, Some(b"a".as_slice())));
        assert_eq!(entities.get(2), (1, None));
        assert_eq!(entities.find(1, Some("")), Some(4));
        assert_eq!(entities.find(3, Some("a")), None);
        assert_eq!(entities.len(), 5);
    }
}
