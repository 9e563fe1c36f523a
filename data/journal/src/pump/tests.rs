//! Readers get every position once, in order, without duplicates, through failures and restarts.

use std::time::Duration;

use arrow::array::AsArray;
use async_trait::async_trait;
use object_store::{ObjectStore, memory::InMemory, path::Path};
use parking_lot::Mutex;
use revgauge_contract::{
    ErrorKind, Timestamp,
    cut::Delivered,
    error::Failure,
    event::{Event, EventDraft, Reception},
    intake::EventIntake,
    schema::events,
    time::ManualClock,
};

use super::*;
use crate::{DedupSettings, JournalName, JournalSettings};

/// A position and the ids it brought.
type Taken = (Position, Vec<String>);

/// Holds what it was given; fails every third time.
#[derive(Debug, Clone, Default)]
struct Reader {
    resume: Position,
    taken: Arc<Mutex<Vec<Taken>>>,
    calls: Arc<Mutex<usize>>,
}

#[async_trait]
impl JournalConsumer for Reader {
    fn name(&self) -> &'static str {
        "reader"
    }

    fn resume_after(&self) -> Position {
        self.resume
    }

    async fn deliver(&mut self, delivered: &Arc<Delivered>) -> Result<(), Failure> {
        let calls = {
            let mut calls = self.calls.lock();
            *calls += 1;
            *calls
        };
        if calls % 3 == 0 {
            return Err(Failure::new(ErrorKind::External, "not now"));
        }
        let ids = delivered.batch.column_by_name("event_id").expect("ids");
        let ids = ids.as_string_view().iter().flatten().map(str::to_owned).collect();
        self.taken.lock().push((delivered.position, ids));
        Ok(())
    }
}

impl Reader {
    fn ids(&self) -> Vec<String> {
        self.taken
            .lock()
            .iter()
            .flat_map(|(_, ids)| ids.clone())
            .collect()
    }
}

fn event(id: usize) -> Event {
    let draft = EventDraft {
        event_id: Some(format!("e{id}")),
        event_type: Some("page.viewed".into()),
        contact_id: Some("c".into()),
        ..EventDraft::default()
    };
    let reception = Reception::live("t".into(), Timestamp(1_770_000_000_000_000), "test");
    draft.accept(&reception).expect("accepted")
}

async fn journal(store: &Arc<InMemory>, seed: u64) -> Arc<Journal> {
    let clock = Arc::new(ManualClock::at(Timestamp(1_770_000_000_000_000)));
    let store: Arc<dyn ObjectStore> = Arc::clone(store) as _;
    Journal::open(
        store,
        JournalName::Events,
        events(),
        JournalSettings::default(),
        clock,
        seed,
    )
    .await
    .expect("opened")
}

async fn dedup(store: &Arc<InMemory>, at_most: Position) -> DurableDedup {
    let store: Arc<dyn ObjectStore> = Arc::clone(store) as _;
    DurableDedup::open(
        store,
        Path::from("checkpoints/dedup"),
        at_most,
        DedupSettings::default(),
        1,
    )
    .await
    .expect("opened")
}

fn quick() -> PumpSettings {
    PumpSettings {
        retry_initial_ms: 1,
        retry_max_ms: 2,
        checkpoint_positions: 2,
        trim_every_ms: 5,
        ..PumpSettings::default()
    }
}

/// Runs a pump until it has delivered a position, then stops it.
async fn run_until(pump: Pump, position: Position) {
    let mut progress = pump.progress();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(pump.run(shutdown.clone()));
    progress.wait_for(|at| *at >= position).await.expect("delivered");
    tokio::time::sleep(Duration::from_millis(30)).await;
    shutdown.cancel();
    running.await.expect("joined").expect("stopped");
}

#[tokio::test]
async fn each_event_once_in_order_through_failures_and_a_restart() {
    let store = Arc::new(InMemory::new());
    let first = journal(&store, 1).await;
    for id in 0..20 {
        // Every event twice: at once, and again five positions later.
        let events = vec![event(id), event(id), event(id.saturating_sub(5))];
        EventIntake::append(&*first, events).await.expect("appended");
    }
    let behind = Reader::default();
    let ahead = Reader {
        resume: Position(8),
        ..Reader::default()
    };
    let settled = Position(7);
    let pump = Pump::new(
        Arc::clone(&first),
        vec![Box::new(behind.clone()), Box::new(ahead.clone())],
        Some(dedup(&store, Position::START).await),
        Arc::new(move || settled),
        quick(),
        1,
    );
    run_until(pump, first.last()).await;
    let expected: Vec<_> = (0..20).map(|id| format!("e{id}")).collect();
    assert_eq!(behind.ids(), expected);
    assert_eq!(ahead.taken.lock()[0].0, Position(9), "only what it did not hold");
    let positions: Vec<_> = behind.taken.lock().iter().map(|(at, _)| at.0).collect();
    assert_eq!(positions, (1..=first.last().0).collect::<Vec<_>>());
    assert!(
        (2..=8).contains(&first.first().0),
        "trimmed, but not past what is settled"
    );

    // A restart replays what was not settled; the same rows pass.
    first.shutdown().await;
    let second = journal(&store, 2).await;
    EventIntake::append(&*second, vec![event(3), event(20)])
        .await
        .expect("appended");
    let again = Reader {
        resume: settled,
        ..Reader::default()
    };
    let pump = Pump::new(
        Arc::clone(&second),
        vec![Box::new(again.clone())],
        Some(dedup(&store, settled).await),
        Arc::new(move || settled),
        quick(),
        2,
    );
    run_until(pump, second.last()).await;
    // Position 1 is the claim, so position 7 holds event 5.
    let expected: Vec<_> = (6..21).map(|id| format!("e{id}")).collect();
    assert_eq!(again.ids(), expected);
}

#[tokio::test]
async fn a_reader_below_the_journal_is_told_so() {
    let store = Arc::new(InMemory::new());
    let journal = journal(&store, 1).await;
    for id in 0..5 {
        EventIntake::append(&*journal, vec![event(id)])
            .await
            .expect("appended");
    }
    journal.trim_through(Position(4)).await.expect("trimmed");
    let reader = Reader {
        resume: Position(2),
        ..Reader::default()
    };
    let pump = Pump::new(
        journal,
        vec![Box::new(reader)],
        None,
        Arc::new(|| Position::START),
        quick(),
        1,
    );
    let error = pump.run(CancellationToken::new()).await.expect_err("refused");
    assert!(matches!(error, JournalError::ResumeTrimmed { .. }), "{error}");
    assert!(error.to_string().contains("'reader'") && error.to_string().contains("begins at 5"));
}

#[tokio::test]
async fn what_the_deduplicator_has_not_read_yet_is_not_trimmed() {
    let store = Arc::new(InMemory::new());
    let journal = journal(&store, 1).await;
    for id in 0..5 {
        EventIntake::append(&*journal, vec![event(id)])
            .await
            .expect("appended");
    }
    // As after a crash that left no checkpoint of known ids: every reader holds everything, and the sieve begins anew. It has
    // not sent a position yet, nor said which checkpoints there are.
    let (send, receive) = mpsc::channel(1);
    let (_restorable, checkpoints) = watch::channel(None);
    let last = journal.last();
    let delivery = Delivery {
        consumers: Vec::new(),
        trimmer: Trimmer {
            journal: Arc::clone(&journal),
            settled: Arc::new(move || last),
            checkpoints,
        },
        settings: quick(),
        seed: 1,
        progress: watch::Sender::new(last),
        trouble: watch::Sender::new(None),
    };
    let running = tokio::spawn(delivery.run(Position(1), receive, CancellationToken::new()));
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(journal.first(), Position(1), "nothing was read yet");
    send.send(journal.read(Position(3)).await.expect("read"))
        .await
        .expect("taken");
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(journal.first(), Position(4), "what was read goes");
    drop(send);
    running.await.expect("ends");
}
