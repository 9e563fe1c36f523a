//! The log of state: immutable chunks of accumulator state, and which of their rows still count.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, new_empty_array},
    compute::{cast, interleave},
    datatypes::{DataType, FieldRef},
};
use datafusion::error::Result as DfResult;

use super::spill::SpilledChunk;
use crate::error::PipelineError;

/// Rows of a chunk made by compaction; also the most that one slice of compaction moves.
pub(super) const CHUNK_ROWS: usize = 16_384;
/// Small chunks tolerated before they are merged.
const SMALL_CHUNKS: usize = 32;

/// Where a group's state lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) chunk: u32,
    pub(super) row: u32,
}

impl Place {
    /// The group has no state yet.
    pub(super) const NONE: Self = Self {
        chunk: u32::MAX,
        row: 0,
    };
    /// Chunk number of a group that is being changed; `row` is its place in the list of those.
    pub(super) const PENDING: u32 = u32::MAX - 1;
}

#[derive(Debug)]
pub(super) enum Body {
    Memory(Vec<ArrayRef>),
    Disk(SpilledChunk),
}

/// Accumulator states of some groups at some time; never changed after it was made.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) groups: Vec<u32>,
    pub(super) body: Body,
    /// Bytes in memory (of a spilled chunk: of its group numbers only).
    pub(super) bytes: usize,
    /// When it was last written to; cold chunks spill first.
    pub(super) age: u64,
}

impl Chunk {
    pub(super) fn in_memory(groups: Vec<u32>, columns: Vec<ArrayRef>, age: u64) -> Self {
        let state: usize = columns.iter().map(|column| column.get_buffer_memory_size()).sum();
        Self {
            bytes: state + groups.len() * size_of::<u32>(),
            groups,
            body: Body::Memory(columns),
            age,
        }
    }
}

/// Stored type of a state column: text without views, so that a row costs its bytes and four more.
pub(super) fn stored_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        other => other.clone(),
    }
}

/// State as accumulators give it, in the form it is stored.
pub(super) fn stored(columns: &[ArrayRef]) -> DfResult<Vec<ArrayRef>> {
    columns
        .iter()
        .map(|column| Ok(cast(column, &stored_type(column.data_type()))?))
        .collect()
}

/// The chunks by number.
pub(super) type Chunks = Vec<Option<Arc<Chunk>>>;

/// State columns at the given places, in their order.
pub(super) fn gather(
    chunks: &Chunks,
    places: &[Place],
    fields: &[FieldRef],
) -> Result<Vec<ArrayRef>, PipelineError> {
    gather_some(chunks, places, fields, 0..fields.len())
}

/// As [`gather`], of the state columns with the wanted numbers only.
pub(super) fn gather_some(
    chunks: &Chunks,
    places: &[Place],
    fields: &[FieldRef],
    wanted: impl Iterator<Item = usize>,
) -> Result<Vec<ArrayRef>, PipelineError> {
    if places.is_empty() {
        return Ok(wanted.map(|at| new_empty_array(fields[at].data_type())).collect());
    }
    let mut sources = Sources::default();
    let mut first_source = vec![u32::MAX; chunks.len()];
    let mut indices = Vec::with_capacity(places.len());
    for place in places {
        let chunk = chunks[place.chunk as usize]
            .as_deref()
            .expect("a place points into a chunk that is kept while it has live rows");
        indices.push(sources.index(chunk, &mut first_source[place.chunk as usize], place.row as usize)?);
    }
    let gathered = wanted.map(|at| {
        let arrays: Vec<&dyn Array> = sources
            .columns
            .iter()
            .map(|columns| columns[at].as_ref())
            .collect();
        let column = interleave(&arrays, &indices)?;
        Ok(cast(&column, fields[at].data_type())?)
    });
    gathered
        .collect::<DfResult<_>>()
        .map_err(|error| PipelineError::query("state", "gather rows of", error))
}

/// Arrays to interleave from: whole chunks in memory, single blocks of spilled ones.
#[derive(Default)]
struct Sources {
    columns: Vec<Vec<ArrayRef>>,
    /// For a spilled chunk: the source of each of its blocks, by the chunk's entry in `first_source`.
    blocks: Vec<Vec<u32>>,
}

impl Sources {
    fn index(&mut self, chunk: &Chunk, known: &mut u32, row: usize) -> Result<(usize, usize), PipelineError> {
        match &chunk.body {
            Body::Memory(columns) => {
                if *known == u32::MAX {
                    *known = self.columns.len() as u32;
                    self.columns.push(columns.clone());
                }
                Ok((*known as usize, row))
            }
            Body::Disk(spilled) => {
                if *known == u32::MAX {
                    *known = self.blocks.len() as u32;
                    self.blocks.push(vec![u32::MAX; spilled.blocks()]);
                }
                let (block, row) = spilled.block_of(row);
                let entry = self.blocks[*known as usize][block];
                let source = if entry == u32::MAX {
                    self.columns.push(spilled.read(block)?);
                    let source = self.columns.len() as u32 - 1;
                    self.blocks[*known as usize][block] = source;
                    source
                } else {
                    entry
                };
                Ok((source as usize, row))
            }
        }
    }
}

/// Chunks, their live rows, and the free numbers.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) chunks: Chunks,
    live: Vec<u32>,
    free: Vec<u32>,
    rows: usize,
    live_rows: usize,
    bytes: usize,
    spilled: usize,
}

impl Log {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn spilled_bytes(&self) -> usize {
        self.spilled
    }

    pub(super) fn chunk_count(&self) -> usize {
        self.chunks.len() - self.free.len()
    }

    /// Adds a chunk whose rows are all live.
    pub(super) fn push(&mut self, chunk: Chunk) -> u32 {
        let rows = chunk.groups.len();
        self.rows += rows;
        self.live_rows += rows;
        self.count(&chunk, true);
        let number = self.free.pop().unwrap_or_else(|| {
            self.chunks.push(None);
            self.live.push(0);
            self.chunks.len() as u32 - 1
        });
        self.chunks[number as usize] = Some(Arc::new(chunk));
        self.live[number as usize] = rows as u32;
        number
    }

    fn count(&mut self, chunk: &Chunk, added: bool) {
        let spilled = match &chunk.body {
            Body::Disk(spilled) => spilled.bytes(),
            Body::Memory(_) => 0,
        };
        if added {
            self.bytes += chunk.bytes;
            self.spilled += spilled;
        } else {
            self.bytes -= chunk.bytes;
            self.spilled -= spilled;
        }
    }

    /// A row of a chunk no longer counts; the chunk goes with its last one.
    pub(super) fn release(&mut self, chunk: u32) {
        let live = &mut self.live[chunk as usize];
        *live -= 1;
        self.live_rows -= 1;
        if *live == 0
            && let Some(gone) = self.chunks[chunk as usize].take()
        {
            self.rows -= gone.groups.len();
            self.count(&gone, false);
            self.free.push(chunk);
        }
    }

    /// Puts the same rows in another form (spilled) in a chunk's place.
    pub(super) fn replace(&mut self, number: u32, chunk: Chunk) {
        self.count(&chunk, true);
        if let Some(old) = self.chunks[number as usize].replace(Arc::new(chunk)) {
            self.count(&old, false);
        }
    }

    /// Chunks to merge next, so that garbage stays below a quarter of what lives and small chunks stay few. At most
    /// `budget` live rows, so that a slice never pauses the engine for long.
    pub(super) fn worth_compacting(&self, budget: usize) -> Vec<u32> {
        let facts = self.chunks.iter().zip(&self.live).enumerate();
        let facts = facts.filter_map(|(at, (chunk, live))| {
            chunk
                .as_ref()
                .map(|chunk| (at as u32, chunk.groups.len(), *live as usize))
        });
        let garbage = self.rows > self.live_rows + self.live_rows / 4 + 2 * CHUNK_ROWS;
        choose(facts.collect(), garbage, budget)
    }

    /// The coldest chunk in memory that is worth a file.
    pub(super) fn coldest(&self) -> Option<(u32, Arc<Chunk>)> {
        let in_memory = self.chunks.iter().enumerate().filter_map(|(at, chunk)| {
            let chunk = chunk.as_ref()?;
            let worth = matches!(chunk.body, Body::Memory(_)) && chunk.groups.len() >= 256;
            worth.then(|| (at as u32, Arc::clone(chunk)))
        });
        in_memory.min_by_key(|(_, chunk)| chunk.age)
    }
}

/// Chooses chunks `(number, rows, live rows)`: the emptiest when there is much garbage, else the smallest when there
/// are many small ones.
fn choose(mut chunks: Vec<(u32, usize, usize)>, garbage: bool, budget: usize) -> Vec<u32> {
    if garbage {
        chunks.retain(|(_, rows, live)| live * 8 < rows * 7);
        chunks.sort_unstable_by_key(|(_, rows, live)| live * 1024 / rows);
    } else {
        chunks.retain(|(_, rows, _)| *rows < CHUNK_ROWS / 2);
        if chunks.len() <= SMALL_CHUNKS {
            return Vec::new();
        }
        chunks.sort_unstable_by_key(|(_, rows, _)| *rows);
    }
    // The first is taken whatever its size, or a small budget would never get past it.
    let mut moved = 0;
    let within = chunks.into_iter().take_while(|(_, _, live)| {
        let first = moved == 0;
        moved += live;
        first || moved <= budget
    });
    within.map(|(number, ..)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_taken_from_the_emptiest_first_within_the_budget() {
        let chunks = vec![(0, 1000, 900), (1, 1000, 100), (2, 1000, 300), (3, 1000, 500)];
        assert_eq!(choose(chunks.clone(), true, 450), vec![1, 2]);
        assert_eq!(choose(chunks, false, 450), Vec::<u32>::new());
    }

    #[test]
    fn many_small_chunks_are_merged_smallest_first() {
        let chunks: Vec<_> = (0..40).map(|at| (at, 10 + at as usize, 5)).collect();
        assert_eq!(choose(chunks, false, 25), vec![0, 1, 2, 3, 4]);
    }
}
