//! Which replays need not be made again? Whole rows of a pipeline as of a past instant, kept while the cut that they were read from stands.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use parking_lot::Mutex;
use revgauge_contract::{
    Position, Timestamp,
    cut::{Cut, DataFile},
};

/// What decides the rows of a replay: what is asked, and of which bytes. A file is never changed, only replaced by one of another
/// name, so position and files name what a cut holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replay {
    pipeline: String,
    tenant_id: String,
    instant: Timestamp,
    position: Position,
    files: Vec<DataFile>,
}

impl Replay {
    /// A replay of all of a tenant's rows of a pipeline over `cut`.
    pub(crate) fn of(pipeline: &str, tenant_id: &str, instant: Timestamp, cut: &Cut) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            tenant_id: tenant_id.to_owned(),
            instant,
            position: cut.position,
            files: cut.files.clone(),
        }
    }
}

#[derive(Debug)]
struct Held {
    replay: Replay,
    rows: Vec<RecordBatch>,
    bytes: usize,
}

/// The replays asked for last, up to a number of bytes. One table of scores as of the past asks some pipelines three times.
#[derive(Debug)]
pub(crate) struct Replays {
    limit_bytes: usize,
    held: Mutex<VecDeque<Held>>,
}

impl Replays {
    /// None yet; with a limit of 0 none is ever kept.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes: usize::try_from(limit_bytes).unwrap_or(usize::MAX),
            held: Mutex::default(),
        }
    }

    /// The rows of a replay that was made before. Cost: a comparison for each that is kept, and no copy of rows.
    pub(crate) fn get(&self, replay: &Replay) -> Option<Vec<RecordBatch>> {
        let mut held = self.held.lock();
        let place = held.iter().position(|one| one.replay == *replay)?;
        let found = held.remove(place)?;
        let rows = found.rows.clone();
        held.push_back(found);
        Some(rows)
    }

    /// Keeps the rows of a replay, and lets go of those not asked for longest until all fit. Rows larger than the limit
    /// are not kept, and what stood there stays.
    pub(crate) fn keep(&self, replay: Replay, rows: &[RecordBatch]) {
        let bytes = rows.iter().map(RecordBatch::get_array_memory_size).sum();
        if bytes > self.limit_bytes {
            return;
        }
        let mut held = self.held.lock();
        held.retain(|one| one.replay != replay);
        held.push_back(Held {
            replay,
            rows: rows.to_vec(),
            bytes,
        });
        let mut total: usize = held.iter().map(|one| one.bytes).sum();
        while total > self.limit_bytes {
            let Some(oldest) = held.pop_front() else { break };
            total -= oldest.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use revgauge_contract::cut::LakeTable;

    use super::*;

    fn rows(count: i64) -> Vec<RecordBatch> {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        vec![RecordBatch::try_from_iter([("n", numbers)]).expect("rows")]
    }

    fn replay(instant: i64, position: u64, file: &str) -> Replay {
        let cut = Cut {
            table: LakeTable::Events,
            lake_position: Position(1),
            position: Position(position),
            files: vec![DataFile {
                path: file.to_owned(),
                size: 1,
                rows: 1,
            }],
            tail: Vec::new(),
        };
        Replay::of("contact_engagement", "t1", Timestamp(instant), &cut)
    }

    #[test]
    fn a_replay_answers_only_for_its_own_instant_and_bytes() {
        let replays = Replays::new(1 << 20);
        replays.keep(replay(5, 7, "a"), &rows(3));
        assert_eq!(replays.get(&replay(5, 7, "a")).expect("kept"), rows(3));
        for other in [replay(6, 7, "a"), replay(5, 8, "a"), replay(5, 7, "b")] {
            assert!(replays.get(&other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn the_one_not_asked_for_longest_goes_first_and_too_large_a_one_is_not_kept() {
        let size = rows(1000)[0].get_array_memory_size() as u64;
        let replays = Replays::new(2 * size);
        replays.keep(replay(1, 1, "a"), &rows(1000));
        replays.keep(replay(2, 1, "a"), &rows(1000));
        assert!(replays.get(&replay(1, 1, "a")).is_some());
        replays.keep(replay(3, 1, "a"), &rows(1000));
        assert!(
            replays.get(&replay(2, 1, "a")).is_none(),
            "not asked for since it came"
        );
        replays.keep(replay(4, 1, "a"), &rows(10_000));
        assert!(replays.get(&replay(4, 1, "a")).is_none(), "larger than the limit");
        assert!(replays.get(&replay(1, 1, "a")).is_some() && replays.get(&replay(3, 1, "a")).is_some());
    }
}
