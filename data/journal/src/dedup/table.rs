//! A compact table from fingerprint to first position.
//!
//! 4,096 shards, each a sorted open-addressing table: an entry's home slot rises with its key, so entries lie in key
//! order with gaps, a search for an absent key stops early, and growing is one pass. Shards grow by an eighth on their
//! own, so memory never doubles: 12 bytes an entry at 78 to 90 % load, about 15 bytes in all.

use revgauge_contract::Position;

/// Number of shards; a shard is chosen by bits that are not in the key, which widens the fingerprint.
pub(crate) const SHARDS: usize = 4_096;
/// Slots behind the last home slot; an overflow grows the shard.
const TAIL: usize = 24;
const EMPTY: u64 = 0;

/// A fingerprint: 64 bits of key and 12 of shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint {
    pub(crate) shard: u16,
    pub(crate) key: u64,
}

impl Fingerprint {
    pub(crate) fn new(bits: u128) -> Self {
        Self {
            shard: (bits >> 116) as u16,
            key: (bits as u64).max(1),
        }
    }
}

/// First positions by fingerprint. Positions are kept as differences to a base that moves with the floor.
#[derive(Debug)]
pub(crate) struct Table {
    shards: Vec<Shard>,
    base: u64,
}

#[derive(Debug, Default)]
struct Shard {
    keys: Vec<u64>,
    ages: Vec<u32>,
    /// Home slots; the vectors are longer by [`TAIL`].
    homes: usize,
    len: usize,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::iter::repeat_with(Shard::default).take(SHARDS).collect(),
            base: 0,
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let slots: usize = self.shards.iter().map(|shard| shard.keys.capacity()).sum();
        slots * 12 + SHARDS * size_of::<Shard>()
    }

    /// The first position of an id, if it is above the floor.
    pub(crate) fn get(&self, id: Fingerprint, floor: Position) -> Option<Position> {
        let shard = &self.shards[usize::from(id.shard)];
        let slot = shard.find(id.key).ok()?;
        let first = Position(self.base + u64::from(shard.ages[slot]));
        (first > floor).then_some(first)
    }

    /// The first position of an id if it is above the floor; otherwise notes the id as first seen at `position`.
    pub(crate) fn note(&mut self, id: Fingerprint, position: Position, floor: Position) -> Option<Position> {
        self.put(id, position, floor, floor)
    }

    /// Puts an id back as it was; of several first positions the latest stays.
    pub(crate) fn restore(&mut self, id: Fingerprint, first: Position, floor: Position) {
        self.put(id, first, Position(first.0.saturating_sub(1)), floor);
    }

    /// Answers with the position kept if it is above `replace`; otherwise keeps `position` instead.
    fn put(
        &mut self,
        id: Fingerprint,
        position: Position,
        replace: Position,
        floor: Position,
    ) -> Option<Position> {
        if position.0 - self.base > u64::from(u32::MAX) {
            self.rebase(position, floor);
        }
        let base = self.base;
        let age = u32::try_from(position.0 - base).unwrap_or(u32::MAX);
        let shard = &mut self.shards[usize::from(id.shard)];
        loop {
            match shard.find(id.key) {
                Ok(slot) => {
                    let first = Position(base + u64::from(shard.ages[slot]));
                    if first > replace {
                        return Some(first);
                    }
                    shard.ages[slot] = age;
                    return None;
                }
                Err(slot) => {
                    if shard.insert(slot, id.key, age) {
                        return None;
                    }
                    shard.grow(floor.0.saturating_sub(base));
                }
            }
        }
    }

    /// Moves the base up to the floor, so that differences fit; drops what is not above it.
    fn rebase(&mut self, position: Position, floor: Position) {
        let least = position.0 - u64::from(u32::MAX) / 2;
        let new_base = floor.0.max(least);
        let shift = new_base - self.base;
        for shard in &mut self.shards {
            shard.rebuild(shard.homes, |age| {
                let age = u64::from(age);
                (age > shift).then(|| (age - shift) as u32)
            });
        }
        self.base = new_base;
    }
}

impl Shard {
    /// The slot of a key, or the slot where it belongs.
    fn find(&self, key: u64) -> Result<usize, usize> {
        let mut slot = self.home(key);
        // Keys rise along the slots; an empty one or a larger key ends the search.
        while let Some(&found) = self.keys.get(slot) {
            if found == key {
                return Ok(slot);
            }
            if found == EMPTY || found > key {
                return Err(slot);
            }
            slot += 1;
        }
        Err(slot)
    }

    fn home(&self, key: u64) -> usize {
        ((u128::from(key) * self.homes as u128) >> 64) as usize
    }

    /// Puts a key at the slot where it belongs, moving larger ones up; false when there is no room.
    fn insert(&mut self, slot: usize, key: u64, age: u32) -> bool {
        if (self.len + 1) * 10 > self.homes * 9 {
            return false;
        }
        let Some(run) = self.keys[slot..].iter().position(|&found| found == EMPTY) else {
            return false;
        };
        self.keys.copy_within(slot..slot + run, slot + 1);
        self.ages.copy_within(slot..slot + run, slot + 1);
        self.keys[slot] = key;
        self.ages[slot] = age;
        self.len += 1;
        true
    }

    /// Drops what is not above the floor and makes room for more.
    fn grow(&mut self, floor_age: u64) {
        let keep = |age: u32| (floor_age == 0 || u64::from(age) > floor_age).then_some(age);
        let live = self
            .keys
            .iter()
            .zip(&self.ages)
            .filter(|(key, age)| **key != EMPTY && keep(**age).is_some())
            .count();
        let homes = if live == self.len {
            self.homes + self.homes / 8 + 6
        } else {
            live + live / 4 + 6
        };
        self.rebuild(homes, keep);
    }

    /// Rewrites the entries that are kept into `homes` home slots.
    fn rebuild(&mut self, homes: usize, keep: impl Fn(u32) -> Option<u32>) {
        let keys = std::mem::replace(&mut self.keys, vec![EMPTY; homes + TAIL]);
        let ages = std::mem::replace(&mut self.ages, vec![0; homes + TAIL]);
        self.homes = homes;
        self.len = 0;
        let mut free = 0;
        for (key, age) in keys.into_iter().zip(ages) {
            let Some(age) = keep(age).filter(|_| key != EMPTY) else {
                continue;
            };
            let slot = self.home(key).max(free);
            if slot + TAIL / 2 > self.keys.len() {
                // A long run at the very end: the tail grows with it.
                self.keys.resize(slot + TAIL, EMPTY);
                self.ages.resize(slot + TAIL, 0);
            }
            self.keys[slot] = key;
            self.ages[slot] = age;
            self.len += 1;
            free = slot + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn agrees_with_a_hash_map_under_a_rising_floor() {
        let mut random = StdRng::seed_from_u64(7);
        let mut table = Table::new();
        let mut model: HashMap<Fingerprint, u64> = HashMap::new();
        let mut floor = 0;
        for position in 1..=400_u64 {
            for _ in 0..200 {
                // Few shards and clustered keys, so that runs are long and overflow.
                let id = Fingerprint {
                    shard: random.random_range(0..3),
                    key: if random.random() {
                        random.random_range(1..5_000)
                    } else {
                        u64::MAX - random.random_range(0..400)
                    },
                };
                let expected = model.get(&id).copied().filter(|first| *first > floor);
                assert_eq!(table.get(id, Position(floor)), expected.map(Position));
                let noted = table.note(id, Position(position), Position(floor));
                assert_eq!(noted, expected.map(Position));
                if expected.is_none() {
                    model.insert(id, position);
                }
            }
            if position % 50 == 0 {
                floor += 40;
            }
        }
    }

    #[test]
    fn positions_past_32_bits_are_rebased() {
        let mut table = Table::new();
        let id = |key| Fingerprint { shard: 1, key };
        assert_eq!(table.note(id(1), Position(5), Position(0)), None);
        let far = u64::from(u32::MAX) + 10;
        assert_eq!(table.note(id(2), Position(far), Position(0)), None);
        assert_eq!(table.get(id(2), Position(0)), Some(Position(far)));
        assert_eq!(table.get(id(1), Position(0)), None, "too far back to be kept");
    }

    #[test]
    fn memory_stays_near_fifteen_bytes_an_entry() {
        let mut random = StdRng::seed_from_u64(1);
        let mut table = Table::new();
        let ids = 600_000;
        for _ in 0..ids {
            table.note(Fingerprint::new(random.random()), Position(1), Position(0));
        }
        let per_id = table.memory_bytes() as f64 / f64::from(ids);
        assert!(per_id < 19.0, "{per_id} bytes an id at 150 a shard");
    }
}
