//! Each pipeline against its golden directory: `tests/pipelines/<name>/{input,expected}.ndjson` at the root.
//!
//! Live state fed backwards in two batches and batch query must both give exactly the expected rows.
//! `REVGAUGE_APPROVE=1` writes the expected file; read it before you keep it.

use std::path::PathBuf;

use arrow::{array::RecordBatch, json::LineDelimitedWriter};
use revgauge_contract::{
    Event, Timestamp,
    cut::{CutReader, LakeTable},
    event::{EventDraft, Reception},
};

use crate::{PipelineSettings, Runtime, batch::Asked, catalog, testing::Rig};

fn event(line: &str) -> Event {
    let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let text = |name: &str| value[name].as_str().unwrap_or_else(|| panic!("{name} in {line}"));
    let received_at: Timestamp = text("ingested_at").parse().expect("time");
    let reception = Reception::live(text("tenant_id").into(), received_at, "golden");
    let draft: EventDraft = serde_json::from_value(value.clone()).expect("draft");
    draft.accept(&reception).expect("accepted")
}

/// A float to twelve digits: the last ones depend on the order of the sum and on the platform's `pow`.
fn rounded(value: serde_json::Value) -> serde_json::Value {
    match value.as_f64() {
        Some(float) if value.is_f64() => format!("{float:.11e}").parse::<f64>().map_or(value, Into::into),
        _ => value,
    }
}

fn line(text: &str) -> String {
    let row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).expect("JSON");
    let row: serde_json::Map<_, _> = row
        .into_iter()
        .map(|(name, value)| (name, rounded(value)))
        .collect();
    serde_json::Value::Object(row).to_string()
}

/// Rows as sorted lines of JSON, NULLs left out.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    for batch in batches {
        writer.write(batch).expect("JSON");
    }
    writer.finish().expect("JSON");
    let text = String::from_utf8(writer.into_inner()).expect("UTF-8");
    let mut lines: Vec<String> = text.lines().map(line).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelines_give_the_approved_rows() {
    let approve = std::env::var_os("REVGAUGE_APPROVE").is_some();
    for pipeline in catalog::all() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../tests/pipelines")
            .join(pipeline.name);
        let input = std::fs::read_to_string(folder.join("input.ndjson")).expect(pipeline.name);
        let mut events: Vec<Event> = input.lines().map(event).collect();
        let mut rig = Rig::new(PipelineSettings::default()).await;
        events.reverse();
        let (first, second) = events.split_at(events.len() / 2);
        rig.deliver(first).await;
        rig.deliver(second).await;
        let cut = rig.lake.cut(LakeTable::Events).await.expect("cut");
        let batch = rig
            .runtime
            .queries()
            .rows(pipeline, cut, Asked::ALL)
            .await
            .expect("batch query");
        let found = lines(&batch);
        let path = folder.join("expected.ndjson");
        if approve {
            std::fs::write(&path, found.join("\n") + "\n").expect("write");
        }
        let expected = std::fs::read_to_string(&path).expect("expected");
        let expected: Vec<String> = expected.lines().map(str::to_owned).collect();
        assert_eq!(found, expected, "{} as a batch query", pipeline.name);
        if let Ok(engine) = rig.runtime.engine(pipeline.name) {
            let live = Runtime::rows(&engine, &engine.all_groups(None)).expect("rows");
            assert_eq!(lines(&live), expected, "{} live", pipeline.name);
        }
    }
}
