//! Interning of byte strings: each distinct one is kept once and has a number.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::segmented::Segmented;

const FIRST_BLOCK: usize = 1 << 12;
const MAX_BLOCK: usize = 1 << 18;
/// Bytes of the length in front of each string.
const LEN: usize = 4;

/// Byte strings in blocks that are never moved.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    blocks: Vec<Vec<u8>>,
    memory: usize,
}

impl Bytes {
    pub(super) const fn memory(&self) -> usize {
        self.memory
    }

    /// Appends the parts as one string; gives its block and where it starts there.
    pub(super) fn push(&mut self, parts: &[&[u8]]) -> (u32, u32) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let need = len + LEN;
        let full = self
            .blocks
            .last()
            .is_none_or(|block| block.capacity() - block.len() < need);
        if full {
            let grown = self.blocks.last().map_or(FIRST_BLOCK, |last| last.capacity() * 2);
            let room = grown.min(MAX_BLOCK).max(need);
            self.blocks.push(Vec::with_capacity(room));
            self.memory += room;
        }
        let at = self.blocks.len() - 1;
        let block = &mut self.blocks[at];
        let place = (at as u32, block.len() as u32);
        block.extend_from_slice(&(len as u32).to_le_bytes());
        for part in parts {
            block.extend_from_slice(part);
        }
        place
    }

    #[inline]
    pub(super) fn at(&self, block: u32, start: u32) -> &[u8] {
        let rest = &self.blocks[block as usize][start as usize..];
        let (len, rest) = rest.split_at(LEN);
        &rest[..u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize]
    }
}

/// Byte strings by number.
#[derive(Debug, Default)]
struct Arena {
    bytes: Bytes,
    places: Segmented<(u32, u32)>,
}

impl Arena {
    fn push(&mut self, bytes: &[u8]) -> u32 {
        let place = self.bytes.push(&[bytes]);
        self.places.push(place);
        self.places.len() as u32 - 1
    }

    #[inline]
    fn get(&self, id: u32) -> &[u8] {
        let (block, start) = self.places.get(id);
        self.bytes.at(block, start)
    }
}

/// The part of the hash kept in a slot; the rest chose the shard.
#[derive(Debug, Clone, Copy)]
struct Slot {
    tag: u32,
    id: u32,
}

/// A tag as a hash whose high and low bits both differ.
#[inline]
pub(super) const fn spread(tag: u32) -> u64 {
    (tag as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Byte strings with numbers from 0. Growing re-hashes one shard at a time, so no insert waits for the whole table.
#[derive(Debug)]
pub(super) struct Texts {
    arena: Arena,
    shards: Vec<HashTable<Slot>>,
    hasher: RandomState,
}

impl Texts {
    /// `shards` is a power of two; many for tables of millions.
    pub(super) fn new(shards: usize) -> Self {
        debug_assert!(shards.is_power_of_two());
        Self {
            arena: Arena::default(),
            shards: (0..shards).map(|_| HashTable::new()).collect(),
            hasher: RandomState::default(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let tables: usize = self.shards.iter().map(HashTable::allocation_size).sum();
        self.arena.bytes.memory() + self.arena.places.bytes() + tables
    }

    #[inline]
    fn place(&self, bytes: &[u8]) -> (usize, u32) {
        let hash = self.hasher.hash_one(bytes);
        ((hash >> 40) as usize & (self.shards.len() - 1), hash as u32)
    }

    pub(super) fn find(&self, bytes: &[u8]) -> Option<u32> {
        let (shard, tag) = self.place(bytes);
        self.shards[shard]
            .find(spread(tag), |slot| {
                slot.tag == tag && self.arena.get(slot.id) == bytes
            })
            .map(|slot| slot.id)
    }

    /// The number of `bytes`, a new one when first seen.
    pub(super) fn intern(&mut self, bytes: &[u8]) -> u32 {
        let (shard, tag) = self.place(bytes);
        let arena = &mut self.arena;
        let table = &mut self.shards[shard];
        if let Some(slot) = table.find(spread(tag), |slot| slot.tag == tag && arena.get(slot.id) == bytes) {
            return slot.id;
        }
        let id = arena.push(bytes);
        table.insert_unique(spread(tag), Slot { tag, id }, |slot| spread(slot.tag));
        id
    }

    #[inline]
    pub(super) fn get(&self, id: u32) -> &[u8] {
        self.arena.get(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_read_back() {
        let mut texts = Texts::new(4);
        let long = "x".repeat(MAX_BLOCK + 1);
        let words: Vec<String> = (0..5_000)
            .map(|i| format!("word {i}"))
            .chain([long, String::new()])
            .collect();
        let ids: Vec<u32> = words.iter().map(|word| texts.intern(word.as_bytes())).collect();
        for (word, id) in words.iter().zip(&ids) {
            assert_eq!(texts.get(*id), word.as_bytes());
            assert_eq!(texts.find(word.as_bytes()), Some(*id));
            assert_eq!(texts.intern(word.as_bytes()), *id);
        }
        assert_eq!(texts.find(b"never seen"), None);
        assert_eq!(ids.iter().max(), Some(&(words.len() as u32 - 1)));
    }
}
