//! Imports from end to end: samples with golden answers, real data where present, every kind of bad input.

mod datasets;
mod faults;
mod lanes;
mod samples;

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use revgauge_contract::{
    Timestamp, error::Failure, event::Reception, intake::DeadLetter, schema::text_column,
};

use super::{
    EventSink, ImportError, ImportReport, ImportSettings, Input, Plan, ndjson_of, reception, run, shipped,
};

/// Keeps what an import hands on.
#[derive(Default)]
struct Kept {
    batches: Vec<RecordBatch>,
    letters: Vec<DeadLetter>,
}

impl Kept {
    fn ndjson(&self) -> String {
        self.batches
            .iter()
            .map(|batch| String::from_utf8(ndjson_of(batch)).expect("text"))
            .collect()
    }

    fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self
            .batches
            .iter()
            .flat_map(|batch| {
                text_column(batch, "event_id")
                    .expect("column")
                    .iter()
                    .flatten()
                    .map(str::to_owned)
            })
            .collect();
        ids.sort();
        ids
    }
}

#[async_trait]
impl EventSink for Kept {
    async fn take(&mut self, events: RecordBatch) -> Result<(), Failure> {
        self.batches.push(events);
        Ok(())
    }

    async fn refuse(&mut self, letters: Vec<DeadLetter>) -> Result<(), Failure> {
        self.letters.extend(letters);
        Ok(())
    }
}

/// 2026-11-20.
fn received() -> Reception {
    reception("t".into(), Timestamp(1_795_132_800_000_000))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn shipped_plan(name: &str) -> Plan {
    Plan::load(shipped(name).expect("shipped"), name).expect("a sound mapping")
}

async fn import(plan: &Plan, inputs: &[Input]) -> Result<(Kept, ImportReport), ImportError> {
    let mut kept = Kept::default();
    let settings = ImportSettings::default();
    let report = run(plan, inputs, &received(), &settings, &mut kept, &mut |_| {}).await?;
    Ok((kept, report))
}

/// Writes files into a folder of their own.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("written");
    }
    folder
}

async fn import_text(mapping: &str, name: &str, text: &[u8]) -> Result<(Kept, ImportReport), ImportError> {
    let folder = folder(&[(name, text)]);
    let plan = if mapping == "events" {
        Plan::events()
    } else {
        Plan::load(mapping, "test.toml").expect("mapping")
    };
    import(&plan, &super::discover(folder.path())?).await
}
