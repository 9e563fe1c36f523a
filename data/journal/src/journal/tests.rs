//! Appends in company, restarts, takeovers and trims.

use arrow::{
    array::Int64Array,
    datatypes::{DataType, Field, Schema},
};
use futures::future::join_all;
use object_store::memory::InMemory;
use revgauge_contract::{Classified, ErrorKind, Timestamp, time::ManualClock};

use super::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from_iter_values(numbers))]).expect("batch")
}

async fn open(store: &Arc<InMemory>, seed: u64) -> Arc<Journal> {
    let clock = Arc::new(ManualClock::at(Timestamp(seed as i64 * 1_000)));
    let store: Arc<dyn ObjectStore> = Arc::clone(store) as _;
    let settings = JournalSettings {
        cache_bytes: 200,
        ..JournalSettings::default()
    };
    Journal::open(store, JournalName::Events, schema(), settings, clock, seed)
        .await
        .expect("opened")
}

async fn numbers(journal: &Journal) -> Vec<i64> {
    let mut all = Vec::new();
    for at in journal.first().0..=journal.last().0 {
        let delivered = journal.read(Position(at)).await.expect("read");
        assert_eq!(delivered.position, Position(at));
        let column = delivered.batch.column(0);
        let column: &Int64Array = arrow::array::AsArray::as_primitive(column);
        all.extend(column.values());
    }
    all
}

#[tokio::test]
async fn many_callers_share_objects_and_all_is_read_after_a_restart() {
    let store = Arc::new(InMemory::new());
    let journal = open(&store, 1).await;
    let appends = (0..100).map(|n| journal.append(rows(n * 10..n * 10 + 10), COVERS_ITSELF));
    let positions: Vec<_> = join_all(appends)
        .await
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("all");
    assert!(positions.is_sorted());
    assert!(
        journal.last().0 < 20,
        "{} objects for 100 appends",
        journal.last().0
    );
    let expected: Vec<_> = (0..1_000).collect();
    assert_eq!(numbers(&journal).await, expected);
    let last = journal.last();
    journal.shutdown().await;
    let error = journal
        .append(rows(0..1), COVERS_ITSELF)
        .await
        .expect_err("closed");
    assert!(matches!(error, JournalError::Closed { .. }));
    let again = open(&store, 2).await;
    assert_eq!(again.last(), last.next(), "one object for the claim");
    assert_eq!(numbers(&again).await, expected);
}

#[tokio::test]
async fn a_second_opener_fences_the_first() {
    let store = Arc::new(InMemory::new());
    let first = open(&store, 1).await;
    first.append(rows(0..1), COVERS_ITSELF).await.expect("ours");
    let second = open(&store, 2).await;
    for _ in 0..2 {
        let error = first
            .append(rows(9..10), COVERS_ITSELF)
            .await
            .expect_err("fenced");
        assert!(
            matches!(
                error,
                JournalError::Fenced {
                    ours: 1,
                    theirs: 2,
                    ..
                }
            ),
            "{error}"
        );
        assert!(!error.retryable());
    }
    second.append(rows(1..2), COVERS_ITSELF).await.expect("ours");
    assert_eq!(numbers(&second).await, [0, 1]);
}

#[tokio::test]
async fn trims_survive_restarts_and_keep_the_newest() {
    let store = Arc::new(InMemory::new());
    let journal = open(&store, 1).await;
    for n in 0..5 {
        journal
            .append(rows(n..n + 1), COVERS_ITSELF)
            .await
            .expect("appended");
    }
    assert_eq!(
        journal.trim_through(Position(3)).await.expect("trimmed"),
        Position(3)
    );
    let error = journal.read(Position(3)).await.expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(numbers(&journal).await, [2, 3, 4]);
    journal.shutdown().await;
    // A deleted object that reappears is a left-over.
    let path = JournalName::Events.object(Position(2));
    store
        .put(&path, PutPayload::from_static(b"back again"))
        .await
        .expect("put");
    let again = open(&store, 2).await;
    assert!(store.head(&path).await.is_err(), "left-overs are deleted");
    assert_eq!(again.first(), Position(4));
    let all = again.trim_through(Position(99)).await.expect("trimmed");
    assert_eq!(all.next(), again.last());
    again.shutdown().await;
    let third = open(&store, 3).await;
    assert!(numbers(&third).await.is_empty());
    assert_eq!(third.last(), again.last().next());
}

#[tokio::test]
async fn strange_batches_and_positions_are_refused() {
    let store = Arc::new(InMemory::new());
    let journal = open(&store, 1).await;
    let other = Arc::new(Schema::new(vec![Field::new("m", DataType::Int64, false)]));
    let batch = RecordBatch::new_empty(other);
    let error = journal.append(batch, COVERS_ITSELF).await.expect_err("schema");
    assert!(
        error.to_string().contains("column 'm' where 'n' belongs"),
        "{error}"
    );
    let error = journal.read(Position(7)).await.expect_err("not yet");
    assert!(matches!(error, JournalError::NotYet { .. }));
}

#[tokio::test]
async fn writing_times_never_fall() {
    let store = Arc::new(InMemory::new());
    let later = open(&store, 9).await;
    later.append(rows(0..1), COVERS_ITSELF).await.expect("appended");
    later.shutdown().await;
    let clock_set_back = open(&store, 1).await;
    let at = clock_set_back
        .append(rows(0..1), COVERS_ITSELF)
        .await
        .expect("appended");
    let delivered = clock_set_back.read(at).await.expect("read");
    assert_eq!((delivered.written_at, delivered.covers), (Timestamp(9_000), at));
}

#[tokio::test]
async fn a_lost_object_is_a_gap() {
    let store = Arc::new(InMemory::new());
    let journal = open(&store, 1).await;
    for n in 0..3 {
        journal
            .append(rows(n..n + 1), COVERS_ITSELF)
            .await
            .expect("appended");
    }
    journal.shutdown().await;
    store
        .delete(&JournalName::Events.object(Position(2)))
        .await
        .expect("deleted");
    let shared: Arc<dyn ObjectStore> = Arc::clone(&store) as _;
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let settings = JournalSettings::default();
    let error = Journal::open(shared, JournalName::Events, schema(), settings, clock, 2)
        .await
        .expect_err("gap");
    assert!(matches!(error, JournalError::Gap { .. }), "{error}");
}
