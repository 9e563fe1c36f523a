//! The journal on a store that fails in every way we know of, by seed.
//!
//! Each run appends, restarts, takes over and trims at random while named toxics act on the store. Afterwards every
//! acknowledged batch is read exactly once, at its position, in order; positions have no gap; a batch whose append
//! failed is there once or not at all; and the writer that was taken over is fenced (J-1, J-2, J-3).

mod fault_store;

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use fault_store::{FaultStore, Rates};
use futures::future::join_all;
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use revgauge_contract::{Position, Timestamp, invariant::Invariant, time::ManualClock};
use revgauge_journal::{
    COVERS_ITSELF, Journal, JournalError, JournalName, JournalSettings, paths::JournalPath,
};

const STEPS: usize = 25;

/// What we know of a batch that was appended; batches are known by their first number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Acknowledged(Position),
    Unknown,
}

struct Sim {
    disk: Arc<InMemory>,
    random: StdRng,
    clock: Arc<ManualClock>,
    rates: Rates,
    store: Arc<FaultStore>,
    journal: Arc<Journal>,
    /// First number and rows of every append, in the order of appending.
    appended: Vec<(i64, i64, Fate)>,
    next_number: i64,
    /// Everything that the store and the journal answered.
    trace: Vec<String>,
    trimmed: Position,
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn settings() -> JournalSettings {
    JournalSettings {
        object_rows: 40,
        encode_ahead_rows: 1_000,
        cache_bytes: 300,
        write_attempts: 3,
        retry_initial_ms: 0,
        retry_max_ms: 1,
        claim_attempts: 20,
        ..JournalSettings::default()
    }
}

impl Sim {
    async fn new(seed: u64, rates: Rates) -> Self {
        let disk = Arc::new(InMemory::new());
        let clock = Arc::new(ManualClock::at(Timestamp(0)));
        let mut random = StdRng::seed_from_u64(seed);
        let mut trace = Vec::new();
        let (store, journal) = open(&disk, &clock, &mut random, rates, Position::START, &mut trace).await;
        Self {
            disk,
            random,
            clock,
            rates,
            store,
            journal,
            appended: Vec::new(),
            next_number: 0,
            trace,
            trimmed: Position::START,
        }
    }

    async fn run(&mut self) {
        for _ in 0..STEPS {
            self.clock.advance(1_000);
            match self.random.random_range(0..10) {
                0 => self.restart().await,
                1 => self.take_over().await,
                2 => self.trim().await,
                _ => self.burst().await,
            }
            self.trace.append(&mut self.store.take_log());
        }
        self.restart().await;
        self.check().await;
    }

    /// Several appends at once, so that they share objects.
    async fn burst(&mut self) {
        let mut batches = Vec::new();
        for _ in 0..self.random.random_range(1..6) {
            let rows = self.random.random_range(1..20);
            batches.push((self.next_number, rows));
            self.next_number += rows;
        }
        let appends = batches
            .iter()
            .map(|(first, rows)| self.journal.append(numbers(*first, *rows), COVERS_ITSELF));
        let mut broken = self.store.is_dead();
        for ((first, rows), result) in batches.iter().zip(join_all(appends).await) {
            self.trace.push(format!("append {first}: {result:?}"));
            let fate = match result {
                Ok(position) => Fate::Acknowledged(position),
                Err(error) => {
                    broken |= !matches!(error, JournalError::Store { .. });
                    Fate::Unknown
                }
            };
            self.appended.push((*first, *rows, fate));
        }
        if broken || self.store.is_dead() {
            self.restart().await;
        }
    }

    fn last_acknowledged(&self) -> Position {
        let positions = self.appended.iter().filter_map(|(_, _, fate)| match fate {
            Fate::Acknowledged(position) => Some(*position),
            Fate::Unknown => None,
        });
        positions.max().unwrap_or(Position::START)
    }

    async fn reopened(&mut self) -> (Arc<FaultStore>, Arc<Journal>) {
        let acknowledged = self.last_acknowledged();
        open(
            &self.disk,
            &self.clock,
            &mut self.random,
            self.rates,
            acknowledged,
            &mut self.trace,
        )
        .await
    }

    async fn restart(&mut self) {
        self.journal.shutdown().await;
        (self.store, self.journal) = self.reopened().await;
    }

    /// Another process opens the journal while ours is still there: ours is fenced, theirs goes on.
    async fn take_over(&mut self) {
        let (store, journal) = self.reopened().await;
        let ours = std::mem::replace(&mut self.journal, journal);
        self.store = store;
        let number = self.next_number;
        self.next_number += 1;
        let result = ours.append(numbers(number, 1), COVERS_ITSELF).await;
        self.trace.push(format!("append by the old writer: {result:?}"));
        assert!(Invariant::OneWriter.check(result.is_err(), "the old writer was not fenced"));
        // It must not be found later either, whatever failed on the way.
        let again = ours.append(numbers(number, 1), COVERS_ITSELF).await;
        assert!(again.is_err());
    }

    async fn trim(&mut self) {
        let through = Position(
            self.journal
                .last()
                .0
                .saturating_sub(self.random.random_range(0..6)),
        );
        let result = self.journal.trim_through(through).await;
        self.trace.push(format!("trim {through}: {result:?}"));
        self.trimmed = self.trimmed.max(self.journal.trimmed().position);
        if self.store.is_dead() {
            self.restart().await;
        }
    }

    /// Reads the whole journal without faults and compares.
    async fn check(&mut self) {
        self.store.heal();
        let first = self.journal.first();
        assert!(
            first > self.trimmed || self.trimmed == Position::START,
            "a trim was forgotten"
        );
        let mut found: BTreeMap<i64, Position> = BTreeMap::new();
        let mut last_number = -1;
        for at in first.0..=self.journal.last().0 {
            let delivered = self
                .journal
                .read(Position(at))
                .await
                .expect("every position is there");
            let gapless = (delivered.position.0, delivered.covers.0) == (at, at);
            assert!(Invariant::PositionsWithoutGaps.check(gapless, at));
            let column: &Int64Array = delivered.batch.column(0).as_primitive::<Int64Type>();
            for &number in column.values() {
                assert!(
                    number > last_number,
                    "{number} after {last_number}: order or doubles"
                );
                last_number = number;
                found.insert(number, Position(at));
            }
        }
        for (number, rows, fate) in &self.appended {
            let places: Vec<_> = (*number..number + rows).map(|n| found.remove(&n)).collect();
            match fate {
                Fate::Acknowledged(position) if *position >= first => {
                    let once = places.iter().all(|place| place == &Some(*position));
                    assert!(
                        once,
                        "{number} was acknowledged at {position}, found at {places:?}"
                    );
                }
                Fate::Acknowledged(_) => assert!(places.iter().all(Option::is_none)),
                Fate::Unknown => {
                    let whole = places.iter().all(|place| place == &places[0]);
                    assert!(whole, "{number} is there in part: {places:?}");
                }
            }
        }
        assert!(found.is_empty(), "rows that nobody appended: {found:?}");
    }
}

fn numbers(first: i64, rows: i64) -> RecordBatch {
    let column = Int64Array::from_iter_values(first..first + rows);
    RecordBatch::try_new(schema(), vec![Arc::new(column)]).expect("batch")
}

/// Opens as an operator would: again after a failure, and moving torn objects away that were never acknowledged.
async fn open(
    disk: &Arc<InMemory>,
    clock: &Arc<ManualClock>,
    random: &mut StdRng,
    rates: Rates,
    acknowledged: Position,
    trace: &mut Vec<String>,
) -> (Arc<FaultStore>, Arc<Journal>) {
    loop {
        let store = Arc::new(FaultStore::new(Arc::clone(disk), random.random(), rates));
        let shared: Arc<dyn ObjectStore> = Arc::clone(&store) as _;
        let opened = Journal::open(
            shared,
            JournalName::Events,
            schema(),
            settings(),
            Arc::clone(clock) as _,
            random.random(),
        )
        .await;
        trace.append(&mut store.take_log());
        match opened {
            Ok(journal) => return (store, journal),
            Err(JournalError::Corrupt { object, reason }) => {
                trace.push(format!("torn: {object}: {reason}"));
                let path = Path::from(object);
                let Some(JournalPath::Object(position)) = JournalName::Events.parse(&path) else {
                    panic!("{path} is no object");
                };
                assert!(position > acknowledged, "{path} was acknowledged and is torn");
                disk.delete(&path).await.expect("moved away");
            }
            Err(error @ (JournalError::Store { .. } | JournalError::Busy { .. })) => {
                trace.push(format!("open: {error}"));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn simulate(seed: u64, rates: Rates) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let mut sim = Sim::new(seed, rates).await;
        sim.run().await;
        sim.trace
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn acknowledged_batches_are_read_once_in_order(seed in any::<u64>(), rates in Rates::any()) {
        simulate(seed, rates);
    }
}

#[test]
fn the_simulation_is_deterministic() {
    for seed in 0..5 {
        let one = simulate(seed, Rates::HARSH);
        assert_eq!(one, simulate(seed, Rates::HARSH), "seed {seed}");
        assert!(one.len() > STEPS);
    }
}

#[test]
fn every_toxic_acts() {
    let traces: Vec<String> = (0..20).flat_map(|seed| simulate(seed, Rates::HARSH)).collect();
    for name in fault_store::TOXICS {
        assert!(
            traces.iter().any(|line| line.contains(name)),
            "'{name}' never acted"
        );
    }
}
