//! Compaction, retention, vacuum, checkpoints: rows, position and pinned files stay.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::DataType;
use revgauge_contract::{
    Position, Timestamp,
    cut::{CutReader, Delivered, LakeTable},
    score::score_changes,
    time::DAY_US,
};

use super::{Deployment, EVENTS, deliver, expected, position, rows, stored};
use crate::Lake;

/// Commits each position on its own.
async fn commit_each(lake: &Lake, from: u64, to: u64) {
    let mut consumer = lake.consumer(EVENTS);
    for number in from..=to {
        deliver(&mut *consumer, number, number).await;
        lake.flush(EVENTS).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_keeps_rows_position_and_watermarks() {
    let deployment = Deployment::new();
    let lake = deployment.open().await;
    commit_each(&lake, 1, 20).await;
    let marks = (lake.watermarks("a"), lake.watermarks("b"));
    let report = lake.compact_once(EVENTS).await.unwrap();
    assert_eq!((report.files_before, report.rows), (16, 40), "{report:?}");
    let cut = lake.cut(EVENTS).await.unwrap();
    assert_eq!(cut.files.len(), report.files_after);
    assert_eq!(cut.lake_position, position(20));
    assert_eq!(stored(&lake).await, expected(20));
    let reopened = deployment.open().await;
    assert_eq!(reopened.position(EVENTS), position(20));
    assert_eq!(reopened.covers(EVENTS), position(20));
    assert_eq!(stored(&reopened).await, expected(20));
    assert_eq!((reopened.watermarks("a"), reopened.watermarks("b")), marks);
    assert_eq!(marks.0["test"].events + marks.1["test"].events, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vacuum_keeps_what_readers_pinned_and_deletes_it_later() {
    let deployment = Deployment::new();
    let lake = deployment.open().await;
    commit_each(&lake, 1, 9).await;
    let pinned = lake.cut(EVENTS).await.unwrap();
    let replaced = lake.compact_once(EVENTS).await.unwrap().files_before;
    assert!(replaced > 2, "{replaced} files replaced");
    let report = lake.vacuum_once(EVENTS).await.unwrap();
    assert_eq!((report.removed_deleted, report.kept), (0, replaced));
    for file in &pinned.files {
        assert!(
            deployment.folder.path().join(&file.path).try_exists().unwrap(),
            "{}",
            file.path
        );
    }
    drop(lake);

    // After a restart the removals are known from the log.
    let lake = deployment.open().await;
    deployment.clock.advance(3_600_000_000 - 2_000);
    assert_eq!(lake.vacuum_once(EVENTS).await.unwrap().removed_deleted, 0);
    deployment.clock.advance(4_000);
    assert_eq!(lake.vacuum_once(EVENTS).await.unwrap().removed_deleted, replaced);
    assert_eq!(
        deployment.data_files().len(),
        lake.cut(EVENTS).await.unwrap().files.len()
    );
    assert_eq!(stored(&lake).await, expected(9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vacuum_deletes_old_orphans() {
    let deployment = Deployment::new();
    let lake = deployment.open().await;
    commit_each(&lake, 1, 2).await;
    let orphan = deployment.folder.path().join("lake/events/part-lost.parquet");
    std::fs::write(&orphan, b"never committed").unwrap();
    assert_eq!(lake.vacuum_once(EVENTS).await.unwrap().orphans_deleted, 0);
    deployment.clock.advance(DAY_US + 60_000_000);
    assert_eq!(lake.vacuum_once(EVENTS).await.unwrap().orphans_deleted, 1);
    assert_eq!(stored(&lake).await, expected(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_drops_and_rewrites_but_keeps_the_position() {
    let mut deployment = Deployment::new();
    deployment.settings.retention_days = Some(30);
    deployment.settings.retention_slack_days = 1;
    let lake = deployment.open().await;
    let now = deployment.clock_now();
    let days = |days: i64| rows::EventRow::new("a", now - days * DAY_US);
    let batches = [
        rows::batch(&[days(50), days(40)]),
        rows::batch(&[days(45), days(3), days(2)]),
        rows::batch(&[days(1)]),
    ];
    let mut consumer = lake.consumer(EVENTS);
    for (number, batch) in (1..).zip(batches) {
        let delivered = Delivered {
            position: Position(number),
            written_at: Timestamp(now),
            covers: Position(number),
            batch,
        };
        consumer.deliver(&Arc::new(delivered)).await.unwrap();
        lake.flush(EVENTS).await.unwrap();
    }
    let report = lake.retain_once(EVENTS).await.unwrap();
    assert_eq!(
        (report.files_dropped, report.files_rewritten, report.rows_removed),
        (1, 1, 3)
    );
    assert_eq!(lake.retain_once(EVENTS).await.unwrap().rows_removed, 0);
    let reopened = deployment.open().await;
    assert_eq!(
        (reopened.position(EVENTS), stored(&reopened).await.len()),
        (position(3), 3)
    );
}

impl Deployment {
    fn clock_now(&self) -> i64 {
        use revgauge_contract::Clock;
        self.clock.now().micros()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_and_clean_up_lose_nothing() {
    let mut deployment = Deployment::new();
    deployment.settings.log_retention_ms = 0;
    let lake = deployment.open().await;
    commit_each(&lake, 1, 7).await;
    let marks = lake.watermarks("a");
    deployment.clock.advance(60_000_000);
    let report = lake.checkpoint_once(EVENTS).await.unwrap();
    assert_eq!(report.version, 7);
    commit_each(&lake, 8, 8).await;
    deployment.clock.advance(60_000_000);
    let report = lake.checkpoint_once(EVENTS).await.unwrap();
    assert!(report.log_entries_deleted > 0, "{report:?}");
    commit_each(&lake, 9, 9).await;
    drop(lake);
    let lake = deployment.open().await;
    assert_eq!(
        (lake.position(EVENTS), lake.covers(EVENTS)),
        (position(9), position(9))
    );
    assert_eq!(stored(&lake).await, expected(9));
    assert_ne!(lake.watermarks("a"), marks);
    let marks = lake.watermarks("a");

    // Without the snapshots and the early commits the watermarks are counted from the files.
    std::fs::remove_dir_all(deployment.folder.path().join("lake/events/_watermarks")).unwrap();
    assert_eq!(deployment.open().await.watermarks("a"), marks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loop_compacts_and_stops_when_told() {
    let mut deployment = Deployment::new();
    deployment.settings.maintain_interval_ms = 1;
    deployment.settings.checkpoint_commits = 4;
    let lake = deployment.open().await;
    commit_each(&lake, 1, 20).await;
    let enough = async {
        while lake.cut(EVENTS).await.unwrap().files.len() > 5 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    lake.maintain(enough).await;
    assert_eq!(stored(&lake).await, expected(20));
}

fn score_change_rows(count: usize) -> RecordBatch {
    let schema = score_changes();
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.data_type() {
            DataType::Int64 => Arc::new(Int64Array::from_iter_values(0..count as i64)),
            DataType::Float64 => Arc::new(Float64Array::from(vec![None; count])),
            DataType::Timestamp(..) => Arc::new(TimestampMicrosecondArray::from(vec![
                1_770_000_000_000_000;
                count
            ])),
            _ => Arc::new(StringViewArray::from(vec!["x"; count])),
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn score_changes_are_a_table_of_their_own() {
    let deployment = Deployment::new();
    let lake = deployment.open().await;
    let mut consumer = lake.consumer(LakeTable::ScoreChanges);
    for number in 1..=4 {
        let delivered = Delivered {
            position: Position(number),
            written_at: Timestamp(0),
            covers: Position(number * 10),
            batch: score_change_rows(3),
        };
        consumer.deliver(&Arc::new(delivered)).await.unwrap();
        lake.flush(LakeTable::ScoreChanges).await.unwrap();
    }
    lake.compact_once(LakeTable::ScoreChanges).await.unwrap();
    let lake = deployment.open().await;
    assert_eq!(lake.covers(LakeTable::ScoreChanges), position(40));
    assert_eq!(lake.position(EVENTS), Position::START);
    let batches = lake.read_all(LakeTable::ScoreChanges).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 12);
}
