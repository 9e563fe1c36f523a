//! The lake over a real folder: positions exactly once, cuts while commits run, maintenance, reopening.

mod faults;
mod guarantees;
mod maintenance;
pub(crate) mod rows;

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::Float64Type};
use object_store::{ObjectStore, local::LocalFileSystem};
use revgauge_contract::{
    Clock, Position,
    cut::{JournalConsumer, LakeTable},
    time::{ManualClock, SystemClock},
};
use tempfile::TempDir;

use crate::{Lake, LakeSettings};

const EVENTS: LakeTable = LakeTable::Events;

/// A folder, a clock that stands at the machine's time, and settings under which nothing happens by itself.
struct Deployment {
    folder: TempDir,
    clock: Arc<ManualClock>,
    settings: LakeSettings,
}

impl Deployment {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::at(SystemClock.now())),
            settings: LakeSettings {
                commit_interval_ms: 3_600_000,
                idle_commit_interval_ms: 3_600_000,
                cut_wait_ms: 50,
                deliver_wait_ms: 50,
                retry_initial_ms: 1,
                compact_min_files: 3,
                ..LakeSettings::default()
            },
        }
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(LocalFileSystem::new_with_prefix(self.folder.path()).unwrap())
    }

    async fn open(&self) -> Arc<Lake> {
        self.open_over(self.store()).await
    }

    async fn open_over(&self, store: Arc<dyn ObjectStore>) -> Arc<Lake> {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        Lake::open(store, self.settings.clone(), clock).await.unwrap()
    }

    /// Names of the data files in the folder of a table.
    fn data_files(&self) -> Vec<String> {
        let folder = self.folder.path().join("lake/events");
        let entries = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(".parquet"));
        names.sort();
        names
    }
}

/// Delivers positions `from..=to`, each with as many rows as [`rows::delivered`] gives its number.
async fn deliver(consumer: &mut dyn JournalConsumer, from: u64, to: u64) {
    for position in from..=to {
        consumer.deliver(&rows::at(position)).await.unwrap();
    }
}

/// The `value` of every row, sorted; [`rows`] gives each row of all positions another.
fn values(batches: &[RecordBatch]) -> Vec<u64> {
    use arrow::array::AsArray;
    let mut values: Vec<u64> = batches
        .iter()
        .flat_map(|batch| {
            let column = batch
                .column_by_name("value")
                .unwrap()
                .as_primitive::<Float64Type>();
            column
                .values()
                .iter()
                .map(|value| *value as u64)
                .collect::<Vec<_>>()
        })
        .collect();
    values.sort_unstable();
    values
}

async fn stored(lake: &Lake) -> Vec<u64> {
    values(&lake.read_all(EVENTS).await.unwrap())
}

/// What [`stored`] must give when positions `1..=to` are held.
fn expected(to: u64) -> Vec<u64> {
    let batches: Vec<RecordBatch> = (1..=to)
        .map(|position| rows::at(position).batch.clone())
        .collect();
    values(&batches)
}

fn position(number: u64) -> Position {
    Position(number)
}
