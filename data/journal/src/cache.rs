//! Recently written batches, so that readers at the head do not read them back from the store.

use std::{collections::VecDeque, sync::Arc};

use revgauge_contract::{Position, cut::Delivered};

/// A bounded window on the newest positions.
#[derive(Debug)]
pub(crate) struct Cache {
    limit_bytes: usize,
    bytes: usize,
    entries: VecDeque<(usize, Arc<Delivered>)>,
}

impl Cache {
    pub(crate) const fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            bytes: 0,
            entries: VecDeque::new(),
        }
    }

    /// Keeps a batch; the oldest go while there are more bytes than allowed.
    pub(crate) fn push(&mut self, bytes: usize, delivered: Arc<Delivered>) {
        // A position that was skipped (found written later) breaks the run: what lies before it goes.
        if self
            .entries
            .back()
            .is_some_and(|(_, last)| last.position.next() != delivered.position)
        {
            self.entries.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.entries.push_back((bytes, delivered));
        while self.bytes > self.limit_bytes {
            let Some((bytes, _)) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= bytes;
        }
    }

    pub(crate) fn get(&self, position: Position) -> Option<Arc<Delivered>> {
        let first = self.entries.front()?.1.position;
        let index = usize::try_from(position.0.checked_sub(first.0)?).ok()?;
        self.entries
            .get(index)
            .map(|(_, delivered)| Arc::clone(delivered))
    }
}

#[cfg(test)]
mod tests {
    use arrow::{array::RecordBatch, datatypes::Schema};
    use revgauge_contract::Timestamp;

    use super::*;

    fn delivered(position: u64) -> Arc<Delivered> {
        Arc::new(Delivered {
            position: Position(position),
            written_at: Timestamp(0),
            covers: Position(position),
            batch: RecordBatch::new_empty(Arc::new(Schema::empty())),
        })
    }

    #[test]
    fn the_newest_stay_within_the_limit() {
        let mut cache = Cache::new(30);
        for position in 5..=9 {
            cache.push(10, delivered(position));
        }
        let kept: Vec<_> = (1..12).filter(|p| cache.get(Position(*p)).is_some()).collect();
        assert_eq!(kept, [7, 8, 9]);
        cache.push(10, delivered(12));
        assert!(cache.get(Position(9)).is_none());
        assert_eq!(cache.get(Position(12)).map(|d| d.position), Some(Position(12)));
        cache.push(31, delivered(13));
        assert!(cache.get(Position(13)).is_none(), "larger than the whole cache");
    }
}
