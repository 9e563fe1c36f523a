//! The hot tail: batches that are delivered and not yet committed, in position order.

use std::{collections::VecDeque, sync::Arc};

use arrow::array::RecordBatch;
use revgauge_contract::{Position, cut::Delivered};
use tokio::time::Instant;

use crate::watermark::Marks;

/// One delivered batch.
#[derive(Debug)]
struct Entry {
    delivered: Arc<Delivered>,
    marks: Marks,
    bytes: usize,
    since: Instant,
}

/// The tail of one table. Pure but for the instants handed in.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    entries: VecDeque<Entry>,
    rows: usize,
    bytes: usize,
}

/// The oldest entries of the tail, to be committed together.
#[derive(Debug)]
pub(crate) struct Part {
    /// First position.
    pub first: Position,
    /// Last position.
    pub last: Position,
    /// What the last entry covers.
    pub covers: Position,
    /// Batches with rows.
    pub batches: Vec<RecordBatch>,
    /// Watermarks of the rows.
    pub marks: Marks,
}

impl Tail {
    /// Rows held.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Memory held by the rows, in bytes; buffers that batches share count for each.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Since when the oldest entry waits.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.entries.front().map(|entry| entry.since)
    }

    /// First position held.
    pub(crate) fn first(&self) -> Option<Position> {
        self.entries.front().map(|entry| entry.delivered.position)
    }

    /// Takes a batch in; the caller has checked that it is next.
    pub(crate) fn push(&mut self, delivered: Arc<Delivered>, marks: Marks, now: Instant) {
        let bytes = match delivered.batch.num_rows() {
            0 => 0,
            _ => delivered.batch.get_array_memory_size(),
        };
        self.rows += delivered.batch.num_rows();
        self.bytes += bytes;
        self.entries.push_back(Entry {
            delivered,
            marks,
            bytes,
            since: now,
        });
    }

    /// All batches with rows.
    pub(crate) fn batches(&self) -> Vec<RecordBatch> {
        let with_rows = self
            .entries
            .iter()
            .filter(|entry| entry.delivered.batch.num_rows() > 0);
        with_rows.map(|entry| entry.delivered.batch.clone()).collect()
    }

    /// Adds one tenant's watermarks of the tail.
    pub(crate) fn add_marks(&self, tenant: &str, marks: &mut Marks) {
        for entry in &self.entries {
            marks.merge_only(tenant, &entry.marks);
        }
    }

    /// The oldest entries, up to about so many rows and bytes, and at least one. They stay in the tail until their commit
    /// is done.
    pub(crate) fn part(&self, max_rows: usize, max_bytes: usize) -> Option<Part> {
        self.part_until(|_, rows, bytes| rows >= max_rows || bytes >= max_bytes)
    }

    /// The oldest entries through a position: a part that was cut before.
    pub(crate) fn part_through(&self, last: Position) -> Option<Part> {
        self.part_until(|position, _, _| position >= last)
    }

    fn part_until(&self, enough: impl Fn(Position, usize, usize) -> bool) -> Option<Part> {
        let first = self.entries.front()?;
        let mut part = Part {
            first: first.delivered.position,
            last: first.delivered.position,
            covers: first.delivered.covers,
            batches: Vec::new(),
            marks: Marks::default(),
        };
        let (mut rows, mut bytes) = (0, 0);
        for entry in &self.entries {
            part.last = entry.delivered.position;
            part.covers = entry.delivered.covers;
            part.marks.merge(&entry.marks);
            if entry.delivered.batch.num_rows() > 0 {
                part.batches.push(entry.delivered.batch.clone());
            }
            rows += entry.delivered.batch.num_rows();
            bytes += entry.bytes;
            if enough(part.last, rows, bytes) {
                break;
            }
        }
        Some(part)
    }

    /// Forgets everything up to a position: the files hold it now.
    pub(crate) fn drop_through(&mut self, position: Position) {
        while let Some(entry) = self.entries.front()
            && entry.delivered.position <= position
        {
            self.rows -= entry.delivered.batch.num_rows();
            self.bytes -= entry.bytes;
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::rows::delivered;

    fn tail(rows: &[usize]) -> Tail {
        let mut tail = Tail::default();
        for (index, rows) in rows.iter().enumerate() {
            let entry = delivered(index as u64 + 1, *rows);
            let marks = Marks::of(&entry.batch);
            tail.push(entry, marks, Instant::now());
        }
        tail
    }

    #[tokio::test]
    async fn parts_follow_each_other_until_the_tail_is_empty() {
        let mut tail = tail(&[3, 0, 4, 1]);
        assert_eq!((tail.rows(), tail.batches().len()), (8, 3));
        let part = tail.part(4, usize::MAX).unwrap();
        assert_eq!(
            (part.first, part.last, part.batches.len()),
            (Position(1), Position(3), 2)
        );
        tail.drop_through(part.last);
        let part = tail.part(4, usize::MAX).unwrap();
        assert_eq!((part.first, part.last), (Position(4), Position(4)));
        tail.drop_through(part.last);
        assert_eq!((tail.rows(), tail.bytes()), (0, 0));
        assert!(tail.part(1, 1).is_none());
    }

    #[tokio::test]
    async fn a_part_takes_at_least_one_entry() {
        let tail = tail(&[10, 10]);
        assert_eq!(tail.part(1, 1).unwrap().last, Position(1));
        assert_eq!(tail.part_through(Position(2)).unwrap().batches.len(), 2);
    }
}
