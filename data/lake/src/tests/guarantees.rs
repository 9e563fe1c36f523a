//! L-1 and L-2, with crashes and concurrent commits.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use revgauge_contract::{
    ErrorKind, Position,
    cut::{CutReader, LakeTable},
    invariant::Invariant,
};
use tokio::sync::watch;

use super::{
    Deployment, EVENTS, deliver, expected,
    faults::{Faults, FaultyStore},
    position, rows, stored, values,
};
use crate::Lake;

impl Deployment {
    async fn open_faulty(&self) -> (Arc<Lake>, Arc<Faults>) {
        let faults = Arc::new(Faults::default());
        let store = FaultyStore {
            inner: self.store(),
            faults: Arc::clone(&faults),
        };
        (self.open_over(Arc::new(store)).await, faults)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_crash_between_file_and_commit_delivers_again_once() {
    let deployment = Deployment::new();
    let (lake, faults) = deployment.open_faulty().await;
    let mut consumer = lake.consumer(EVENTS);
    deliver(&mut *consumer, 1, 6).await;
    faults.lost_writes.store(1, Ordering::SeqCst);
    lake.flush(EVENTS).await.expect_err("the commit was lost");
    assert_eq!(deployment.data_files().len(), 1, "the file was written");
    drop((lake, consumer));

    let lake = deployment.open().await;
    let mut consumer = lake.consumer(EVENTS);
    assert_eq!(consumer.resume_after(), Position::START);
    assert!(stored(&lake).await.is_empty(), "an orphan is not read");
    deliver(&mut *consumer, 1, 6).await;
    assert_eq!(lake.flush(EVENTS).await.unwrap(), position(6));
    assert_eq!(
        deployment.data_files().len(),
        2,
        "the orphan's name is not taken over"
    );
    deliver(&mut *consumer, 7, 8).await;
    assert_eq!(lake.flush(EVENTS).await.unwrap(), position(8));
    assert_eq!(stored(&lake).await, expected(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_crash_between_commit_and_answer_is_not_delivered_again() {
    let deployment = Deployment::new();
    let (lake, faults) = deployment.open_faulty().await;
    let mut consumer = lake.consumer(EVENTS);
    deliver(&mut *consumer, 1, 6).await;
    faults.lost_answers.store(1, Ordering::SeqCst);
    lake.flush(EVENTS).await.expect_err("the answer was lost");
    drop((lake, consumer));

    let lake = deployment.open().await;
    let mut consumer = lake.consumer(EVENTS);
    assert_eq!(consumer.resume_after(), position(6));
    deliver(&mut *consumer, 4, 9).await;
    assert_eq!(lake.flush(EVENTS).await.unwrap(), position(9));
    assert_eq!(stored(&lake).await, expected(9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_lost_answers_are_recognised_without_a_restart() {
    let deployment = Deployment::new();
    let (lake, faults) = deployment.open_faulty().await;
    let mut consumer = lake.consumer(EVENTS);
    deliver(&mut *consumer, 1, 3).await;
    faults.lost_answers.store(1, Ordering::SeqCst);
    lake.flush(EVENTS).await.expect_err("the answer was lost");
    deliver(&mut *consumer, 4, 7).await;
    assert_eq!(
        stored(&lake).await,
        expected(7),
        "in doubt: files without, tail with"
    );
    assert_eq!(lake.flush(EVENTS).await.unwrap(), position(7));
    assert_eq!(stored(&lake).await, expected(7));
    assert_eq!(lake.covers(EVENTS), position(7));
    let reopened = deployment.open().await;
    assert_eq!(stored(&reopened).await, expected(7));
    assert_eq!(reopened.watermarks("a"), lake.watermarks("a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_writer_of_the_same_journal_makes_no_row_twice() {
    let deployment = Deployment::new();
    let (one, two) = (deployment.open().await, deployment.open().await);
    deliver(&mut *one.consumer(EVENTS), 1, 4).await;
    deliver(&mut *two.consumer(EVENTS), 1, 6).await;
    one.flush(EVENTS).await.unwrap();
    two.flush(EVENTS).await.unwrap();
    assert_eq!(stored(&two).await, expected(6));
    assert_eq!(stored(&*deployment.open().await).await, expected(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_without_rows_move_and_gaps_are_refused() {
    let deployment = Deployment::new();
    let lake = deployment.open().await;
    let mut consumer = lake.consumer(EVENTS);
    for number in 1..=3 {
        consumer.deliver(&rows::delivered(number, 0)).await.unwrap();
    }
    assert_eq!(lake.flush(EVENTS).await.unwrap(), position(3));
    assert!(deployment.data_files().is_empty());
    let gap = consumer
        .deliver(&rows::at(5))
        .await
        .expect_err("position 4 is missing");
    assert_eq!(gap.kind, ErrorKind::Data);
    drop((lake, consumer));
    assert_eq!(deployment.open().await.position(EVENTS), position(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_every_cut_is_a_prefix_while_commits_and_compactions_run() {
    let mut deployment = Deployment::new();
    deployment.settings.commit_interval_ms = 1;
    deployment.settings.commit_rows = 12;
    let lake = deployment.open().await;
    const LAST: u64 = 150;
    let pump = tokio::spawn({
        let lake = Arc::clone(&lake);
        async move {
            let mut consumer = lake.consumer(EVENTS);
            for number in 1..=LAST {
                consumer.deliver(&rows::at(number)).await.unwrap();
                if number % 40 == 0 {
                    lake.compact_once(EVENTS).await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let (mut cuts, mut split) = (0, 0);
    while lake.delivered(EVENTS) < position(LAST) {
        let cut = lake.cut(EVENTS).await.unwrap();
        let in_files: u64 = cut.files.iter().map(|file| file.rows).sum();
        assert_eq!(
            in_files as usize,
            expected(cut.lake_position.0).len(),
            "at {}",
            cut.lake_position
        );
        let all = expected(cut.position.0);
        let tail = values(&cut.tail);
        assert_eq!(
            tail,
            all[in_files as usize..],
            "{} between {} and {}",
            Invariant::ConsistentCut.code(),
            cut.lake_position,
            cut.position
        );
        cuts += 1;
        split += usize::from(in_files > 0 && !tail.is_empty());
        tokio::task::yield_now().await;
    }
    pump.await.unwrap();
    assert!(cuts > 20 && split > 0, "{cuts} cuts, {split} over files and tail");
    lake.shutdown().await.unwrap();
    assert_eq!(
        (lake.position(EVENTS), stored(&lake).await),
        (position(LAST), expected(LAST))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_a_cut_waits_for_what_is_acknowledged() {
    let mut deployment = Deployment::new();
    deployment.settings.cut_wait_ms = 20;
    let lake = deployment.open().await;
    let (acknowledged, receiver) = watch::channel(position(2));
    lake.set_acknowledged(EVENTS, receiver);
    let mut consumer = lake.consumer(EVENTS);
    deliver(&mut *consumer, 1, 1).await;
    let behind = lake.cut(EVENTS).await.expect_err("position 2 is not there");
    assert_eq!(behind.kind, ErrorKind::Limit);
    deliver(&mut *consumer, 2, 2).await;
    assert_eq!(lake.cut(EVENTS).await.unwrap().position, position(2));
    acknowledged.send(position(3)).unwrap();
    let late = tokio::spawn(async move { deliver(&mut *consumer, 3, 3).await });
    assert_eq!(lake.cut(EVENTS).await.unwrap().position, position(3));
    late.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_tail_pushes_back_and_then_takes_more() {
    let mut deployment = Deployment::new();
    deployment.settings.commit_rows = 8;
    deployment.settings.tail_max_rows = 8;
    let (lake, faults) = deployment.open_faulty().await;
    faults.lost_writes.store(u32::MAX, Ordering::SeqCst);
    let mut consumer = lake.consumer(EVENTS);
    consumer.deliver(&rows::delivered(1, 9)).await.unwrap();
    let full = consumer
        .deliver(&rows::delivered(2, 1))
        .await
        .expect_err("no room");
    assert_eq!(full.kind, ErrorKind::Limit);
    faults.lost_writes.store(0, Ordering::SeqCst);
    tokio::time::timeout(Duration::from_secs(20), async {
        while consumer.deliver(&rows::delivered(2, 1)).await.is_err() {}
    })
    .await
    .expect("the committer makes room");
    assert_eq!(lake.flush(EVENTS).await.unwrap(), position(2));
    assert_eq!(
        deployment.data_files().len(),
        2,
        "retries took the file of the first try"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_happen_by_themselves_and_shutdown_takes_the_rest() {
    let mut deployment = Deployment::new();
    deployment.settings.commit_interval_ms = 5;
    let lake = deployment.open().await;
    let mut positions = lake.positions(EVENTS);
    let mut consumer = lake.consumer(EVENTS);
    deliver(&mut *consumer, 1, 4).await;
    let reached = positions.wait_for(|at| *at >= position(4));
    tokio::time::timeout(Duration::from_secs(20), reached)
        .await
        .expect("committed")
        .unwrap();
    deliver(&mut *consumer, 5, 6).await;
    lake.shutdown().await.unwrap();
    assert_eq!(lake.position(EVENTS), position(6));
    assert_eq!(lake.position(LakeTable::ScoreChanges), Position::START);
}
