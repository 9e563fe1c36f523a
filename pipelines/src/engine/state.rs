//! Groups and the state of each: the key table and the log, joined by a place per group.

use arrow::array::ArrayRef;
use datafusion::error::Result as DfResult;
use serde::Serialize;

use super::{
    keys::{KeyScratch, Keys},
    log::{CHUNK_ROWS, Chunk, Log, Place},
    segmented::Segmented,
};

/// Size of a pipeline's live state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StateStatistics {
    /// Groups (output rows).
    pub groups: u64,
    /// Bytes of keys and look-up tables in memory.
    pub key_bytes: u64,
    /// Bytes of accumulator state in memory.
    pub state_bytes: u64,
    /// Bytes of accumulator state on local disk.
    pub spilled_bytes: u64,
    /// Chunks of the state log.
    pub chunks: u64,
}

/// Marks a place in the list of new groups while a batch's groups are numbered.
const FRESH: u32 = 1 << 31;

/// The state of one pipeline.
#[derive(Debug)]
pub(super) struct State {
    pub(super) keys: Keys,
    pub(super) log: Log,
    places: Segmented<Place>,
    /// Former places of the groups that are being changed.
    pending: Vec<Place>,
    dirty: Dirty,
    age: u64,
}

impl State {
    pub(super) fn new(keys: Keys) -> Self {
        Self {
            keys,
            log: Log::default(),
            places: Segmented::default(),
            pending: Vec::new(),
            dirty: Dirty::default(),
            age: 0,
        }
    }

    pub(super) fn statistics(&self) -> StateStatistics {
        StateStatistics {
            groups: self.keys.len() as u64,
            key_bytes: (self.keys.bytes() + self.places.bytes()) as u64,
            state_bytes: self.log.bytes() as u64,
            spilled_bytes: self.log.spilled_bytes() as u64,
            chunks: self.log.chunk_count() as u64,
        }
    }

    /// Numbers the rows' groups and marks them as being changed. Gives each row's place in `touched`, the distinct
    /// groups, the first row of each, and how many of them have state already: those come first.
    ///
    /// The order matters. An accumulator takes every group below the greatest number it was told for one that it has
    /// seen values of, so old states must be merged for a gapless range before any new group is named; otherwise the
    /// NULL of a new group turns into the type's least value.
    pub(super) fn begin(
        &mut self,
        columns: &[ArrayRef],
        scratch: &mut KeyScratch,
        local: &mut Vec<usize>,
        touched: &mut Vec<u32>,
        first_rows: &mut Vec<u32>,
    ) -> DfResult<usize> {
        let mut groups = Vec::new();
        self.keys.intern(columns, scratch, &mut groups)?;
        while self.places.len() < self.keys.len() {
            self.places.push(Place::NONE);
        }
        local.clear();
        touched.clear();
        self.pending.clear();
        first_rows.clear();
        let (mut fresh, mut fresh_rows) = (Vec::new(), Vec::new());
        for (row_at, group) in groups.into_iter().enumerate() {
            let place = self.places.at_mut(group);
            if place.chunk != Place::PENDING {
                let row = if *place == Place::NONE {
                    fresh.push(group);
                    fresh_rows.push(row_at as u32);
                    FRESH | (fresh.len() as u32 - 1)
                } else {
                    self.pending.push(*place);
                    touched.push(group);
                    first_rows.push(row_at as u32);
                    touched.len() as u32 - 1
                };
                *place = Place {
                    chunk: Place::PENDING,
                    row,
                };
            }
            local.push(place.row as usize);
        }
        let known = touched.len();
        for at in local.iter_mut().filter(|at| **at & FRESH as usize != 0) {
            *at = known + (*at & !(FRESH as usize));
        }
        for group in fresh {
            self.places.at_mut(group).row = touched.len() as u32;
            self.pending.push(Place::NONE);
            touched.push(group);
        }
        first_rows.append(&mut fresh_rows);
        Ok(known)
    }

    /// Former places of the groups begun that had state, in the order of `touched`.
    pub(super) fn pending(&self, known: usize) -> &[Place] {
        &self.pending[..known]
    }

    /// Ends the change: the groups' new state is `columns`.
    pub(super) fn commit(&mut self, touched: &[u32], columns: Vec<ArrayRef>) {
        self.age += 1;
        let chunk = self
            .log
            .push(Chunk::in_memory(touched.to_vec(), columns, self.age));
        for (row, group) in touched.iter().enumerate() {
            *self.places.at_mut(*group) = Place {
                chunk,
                row: row as u32,
            };
            self.dirty.mark(*group);
        }
        for old in std::mem::take(&mut self.pending) {
            if old != Place::NONE {
                self.log.release(old.chunk);
            }
        }
    }

    /// Where a group's state lies for readers; `None` while it has none.
    pub(super) fn place(&self, group: u32) -> Option<Place> {
        let place = self.places.get(group);
        let place = if place.chunk == Place::PENDING {
            self.pending[place.row as usize]
        } else {
            place
        };
        (place != Place::NONE).then_some(place)
    }

    /// Groups that have state, with their places.
    pub(super) fn resolve(&self, groups: &[u32]) -> (Vec<u32>, Vec<Place>) {
        groups
            .iter()
            .filter_map(|group| self.place(*group).map(|place| (*group, place)))
            .unzip()
    }

    /// Live rows of chunks that are worth merging, as groups and places, and the age of the youngest.
    pub(super) fn compactable(&self, appended: usize) -> (Vec<u32>, Vec<Place>, u64) {
        let budget = (2 * appended).clamp(CHUNK_ROWS / 4, CHUNK_ROWS);
        let (mut groups, mut places, mut age) = (Vec::new(), Vec::new(), 0);
        for number in self.log.worth_compacting(budget) {
            let Some(chunk) = &self.log.chunks[number as usize] else {
                continue;
            };
            age = age.max(chunk.age);
            for (row, group) in chunk.groups.iter().enumerate() {
                let place = Place {
                    chunk: number,
                    row: row as u32,
                };
                if self.places.get(*group) == place {
                    groups.push(*group);
                    places.push(place);
                }
            }
        }
        (groups, places, age)
    }

    /// Moves rows to a new chunk; their values are the same.
    pub(super) fn install(&mut self, groups: Vec<u32>, places: &[Place], columns: Vec<ArrayRef>, age: u64) {
        let moved = groups.clone();
        let chunk = self.log.push(Chunk::in_memory(groups, columns, age));
        for (row, group) in moved.into_iter().enumerate() {
            *self.places.at_mut(group) = Place {
                chunk,
                row: row as u32,
            };
        }
        for old in places {
            self.log.release(old.chunk);
        }
    }

    /// Groups changed since the last call.
    pub(super) fn take_dirty(&mut self) -> Vec<u32> {
        self.dirty.take()
    }

    /// The places of some groups.
    pub(super) fn places_of(&self, groups: &[u32]) -> Vec<Place> {
        groups.iter().map(|group| self.places.get(*group)).collect()
    }

    /// The place of every group.
    pub(super) fn all_places(&self) -> Vec<Place> {
        self.places.iter().collect()
    }

    /// Puts groups back on the list of the changed ones: their checkpoint was not written.
    pub(super) fn mark_dirty(&mut self, groups: &[u32]) {
        for group in groups {
            self.dirty.mark(*group);
        }
    }
}

/// The set of groups changed since the last checkpoint.
#[derive(Debug, Default)]
struct Dirty {
    bits: Vec<u64>,
    list: Vec<u32>,
}

impl Dirty {
    fn mark(&mut self, group: u32) {
        let (word, bit) = (group as usize / 64, 1_u64 << (group % 64));
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        if self.bits[word] & bit == 0 {
            self.bits[word] |= bit;
            self.list.push(group);
        }
    }

    fn take(&mut self) -> Vec<u32> {
        self.bits.clear();
        std::mem::take(&mut self.list)
    }
}
