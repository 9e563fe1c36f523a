//! Laws of layer 1: P-1, P-2, P-3, S-3, and what a restart finds.

use std::sync::Arc;

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType},
};
use async_trait::async_trait;
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutPayload, path::Path};
use parking_lot::Mutex;
use proptest::prelude::*;
use revgauge_contract::{
    Position, Timestamp,
    cut::{CutReader, LakeTable},
    error::{ErrorKind, Failure},
    invariant::Invariant,
    schema::{batch_of, text_column},
    statistics::{Changed, EntityColumn, Keys, Knowledge, StatisticsListener, StatisticsSource},
    time::{DAY_US, ERA_SECONDS, SECOND_US},
};

use super::Runtime;
use crate::{
    PipelineSettings, catalog,
    testing::{Rig, START, event, events, mix},
};

/// Rows as sorted text with rounded floats, to compare tables.
fn table(batches: &[RecordBatch]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| match column.data_type() {
                _ if column.is_null(row) => "-".to_owned(),
                DataType::Float64 => format!("{:.10e}", column.as_primitive::<Float64Type>().value(row)),
                _ => arrow::util::display::array_value_to_string(column, row).expect("text"),
            });
            rows.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    rows.sort();
    rows
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// P-1 and P-2: any order, any batching, any crashes and checkpoints give the batch query's rows.
    #[test]
    fn state_equals_the_batch_query_whatever_happened(
        seed in any::<u64>(),
        cuts in proptest::collection::vec((1_usize..40, 0_u8..8), 1..8),
        micro_batch_rows in 1_usize..20,
    ) {
        runtime().block_on(async {
            let settings = PipelineSettings { micro_batch_rows, checkpoint_deltas: 2, ..PipelineSettings::default() };
            let mut rig = Rig::new(settings).await;
            let total: usize = cuts.iter().map(|(rows, _)| rows).sum();
            let mut all = events((0..total as u64).map(|number| number ^ (seed << 20)), 9);
            all.sort_by_key(|event| mix(seed ^ event.event_id.len() as u64 ^ event.event_time.micros() as u64));
            for (rows, fate) in &cuts {
                let rest = all.split_off((*rows).min(all.len()));
                rig.deliver(&all).await;
                all = rest;
                match fate {
                    0 | 1 => { rig.runtime.checkpoint_now().await.expect("checkpoint"); }
                    2 => rig.crash().await,
                    _ => {}
                }
            }
            rig.verify().await;
            rig.crash().await;
            rig.verify().await;
            let delivered: usize = rig.delivered.iter().map(|delivered| delivered.batch.num_rows()).sum();
            prop_assert_eq!(delivered, total, "{}: every event was delivered", Invariant::OrderFree.code());
            Ok(())
        })?;
    }

    /// S-3: what is answered as of an instant is what a runtime says that never saw anything later.
    #[test]
    fn as_of_equals_a_state_that_knew_no_more(seed in any::<u64>(), day in -2_000_i64..1_000) {
        runtime().block_on(async {
            let instant = START.plus_micros(day * DAY_US);
            let all = events((0..120).map(|number| number ^ (seed << 20)), 6);
            let known: Vec<_> = all.iter().filter(|event| event.known_at <= instant).cloned().collect();
            let mut rig = Rig::new(PipelineSettings::default()).await;
            let statistics = rig.statistics();
            rig.deliver(&all[..60]).await;
            // Rows kept of a cut that knew half must not answer for the cut that knows all.
            statistics.rows("crm_state", "t1", Keys::All, Knowledge::At(instant)).await.expect("replayed");
            rig.deliver(&all[60..]).await;
            let mut then = Rig::new(PipelineSettings::default()).await;
            then.deliver(&known).await;
            let keys = ["c1".to_owned(), "a0".to_owned(), "d1".to_owned(), "person3@company0.example".to_owned()];
            for pipeline in catalog::all() {
                // The second time all rows are those that were kept.
                for asked in [Keys::All, Keys::These(&keys), Keys::All] {
                    let replayed = statistics
                        .rows(pipeline.name, "t1", asked, Knowledge::At(instant)).await.expect("replayed");
                    let live = then.statistics()
                        .rows(pipeline.name, "t1", asked, Knowledge::Now).await.expect("live");
                    prop_assert_eq!(table(&replayed), table(&live), "{}: {}", Invariant::AsOfEqualsReplay.code(), pipeline.name);
                    prop_assert_eq!(replayed[0].schema(), live[0].schema());
                }
            }
            Ok(())
        })?;
    }
}

/// Keys and values of every kind of state, out of order.
const SOME_COLUMNS: [(&str, &[&str]); 4] = [
    ("crm_state", &["latest", "object_id", "field", "object"]),
    (
        "contact_engagement",
        &["last_time", "email", "contact_key", "s_days_14"],
    ),
    ("account_signals", &["account_key"]),
    ("deal_activity", &["deal_id", "n"]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_equal_scans() {
    let mut rig = Rig::new(PipelineSettings::default()).await;
    rig.deliver(&events(0..600, 20)).await;
    let statistics = rig.statistics();
    for pipeline in rig.runtime.pipelines() {
        let all = statistics
            .rows(pipeline.name, "t0", Keys::All, Knowledge::Now)
            .await
            .expect("scan");
        let mut keys: Vec<String> = Vec::new();
        for batch in &all {
            let column = text_column(batch, pipeline.key).expect("key");
            keys.extend(column.iter().flatten().map(str::to_owned));
            let tenants = text_column(batch, "tenant_id").expect("tenant");
            assert!(tenants.iter().all(|tenant| tenant == Some("t0")));
        }
        assert!(!keys.is_empty(), "{}", pipeline.name);
        // Asked twice, answered once.
        let looked_up = statistics
            .rows(pipeline.name, "t0", Keys::These(&keys), Knowledge::Now)
            .await
            .expect("look-up");
        assert_eq!(table(&looked_up), table(&all), "{}", pipeline.name);
        let nothing = statistics
            .rows(pipeline.name, "nobody", Keys::These(&keys), Knowledge::Now)
            .await
            .expect("empty");
        assert_eq!(nothing.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    }
    for (pipeline, columns) in SOME_COLUMNS {
        let (mut whole, mut some) = (Vec::new(), Vec::new());
        let mut take = |batch: RecordBatch| {
            let places = columns
                .iter()
                .map(|name| batch.schema().index_of(name).expect("column"));
            whole.push(batch.project(&places.collect::<Vec<_>>()).expect("projected"));
        };
        let walked = statistics.each(pipeline, "t0", Knowledge::Now, &mut take).await;
        walked.expect("whole");
        let mut take = |batch: RecordBatch| some.push(batch);
        let walked = statistics
            .each_of(pipeline, "t0", columns, Knowledge::Now, &mut take)
            .await;
        walked.expect("some");
        assert!(whole.iter().any(|batch| batch.num_rows() > 0), "{pipeline}");
        assert_eq!(some[0].schema(), whole[0].schema(), "{pipeline}");
        assert_eq!(table(&some), table(&whole), "{pipeline}");
    }
    let unknown = statistics.rows("nothing", "t0", Keys::All, Knowledge::Now).await;
    assert_eq!(unknown.expect_err("unknown").kind, ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_updates_compact_and_spill_without_a_difference() {
    let folder = tempfile::tempdir().expect("folder");
    let settings = PipelineSettings {
        micro_batch_rows: 700,
        state_memory_bytes: 200_000,
        spill_dir: Some(folder.path().to_owned()),
        ..PipelineSettings::default()
    };
    let mut rig = Rig::new(settings).await;
    for round in 0..8_u64 {
        rig.deliver(&events(round * 4_000..(round + 1) * 4_000, 3_000))
            .await;
    }
    let size = rig.runtime.statistics("contact_engagement").expect("statistics");
    assert!(size.spilled_bytes > 0, "{size:?}");
    let memory: u64 = rig
        .runtime
        .pipelines()
        .map(|pipeline| {
            rig.runtime
                .statistics(pipeline.name)
                .expect("statistics")
                .state_bytes
        })
        .sum();
    assert!(
        memory < 2_000_000,
        "{}: {memory} bytes stay in memory",
        Invariant::BoundedState.code()
    );
    assert!(std::fs::read_dir(folder.path()).expect("folder").count() > 0);
    rig.verify().await;
    rig.runtime.checkpoint_now().await.expect("checkpoint");
    rig.crash().await;
    assert_eq!(rig.runtime.position(), Position(8));
    rig.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_the_state_log_stays_bounded() {
    let mut rig = Rig::new(PipelineSettings::default()).await;
    for round in 0..40_u64 {
        rig.deliver(&events(round * 3_000..(round + 1) * 3_000, 200))
            .await;
    }
    let size = rig.runtime.statistics("contact_engagement").expect("statistics");
    assert!(size.chunks < 80, "{size:?}");
    assert!(size.state_bytes / size.groups < 4_000, "{size:?}");
    rig.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_takes_the_newest_whole_checkpoint() {
    let mut rig = Rig::new(PipelineSettings::default()).await;
    rig.deliver(&events(0..200, 9)).await;
    assert_eq!(rig.runtime.checkpoint_now().await.expect("first"), Position(1));
    rig.deliver(&events(200..400, 9)).await;
    assert_eq!(rig.runtime.checkpoint_now().await.expect("second"), Position(2));
    assert_eq!(
        rig.runtime.checkpoint_position(),
        Position(1),
        "the journal after the older one is still needed"
    );
    rig.crash().await;
    assert_eq!(
        rig.runtime.newest_checkpoint().map(|newest| newest.position),
        Some(Position(2))
    );

    // The second is damaged in one part: the first holds, the rest is replayed.
    let objects: Vec<_> = rig
        .store
        .list(Some(&Path::from("checkpoints/00000000000000000002")))
        .try_collect()
        .await
        .expect("list");
    let damaged = &objects.first().expect("a part of its own").location;
    let mut bytes = rig
        .store
        .get(damaged)
        .await
        .expect("get")
        .bytes()
        .await
        .expect("bytes")
        .to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    rig.store
        .put(damaged, PutPayload::from(bytes))
        .await
        .expect("put");
    rig.crash().await;
    assert_eq!(
        rig.runtime.newest_checkpoint().map(|newest| newest.position),
        Some(Position(1))
    );
    rig.verify().await;

    // The next checkpoint is whole again.
    assert_eq!(rig.runtime.checkpoint_now().await.expect("third"), Position(2));
    rig.crash().await;
    assert_eq!(
        rig.runtime.newest_checkpoint().map(|newest| newest.position),
        Some(Position(2))
    );
    rig.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_checkpoints_go_and_checkpoints_come_by_themselves() {
    let settings = PipelineSettings {
        checkpoints_kept: 2,
        checkpoint_rows: 50,
        ..PipelineSettings::default()
    };
    let mut rig = Rig::new(settings).await;
    for round in 0..6_u64 {
        rig.deliver(&events(round * 60..(round + 1) * 60, 9)).await;
        // Written in the background: wait for it by asking for one.
        rig.runtime.checkpoint_now().await.expect("settled");
    }
    let manifests = rig
        .store
        .list_with_delimiter(Some(&Path::from("checkpoints")))
        .await
        .expect("list");
    assert_eq!(manifests.objects.len(), 2);
    assert_eq!(rig.runtime.checkpoint_position(), Position(5));
    rig.clock.advance(31 * SECOND_US);
    rig.deliver(&events(1_000..1_001, 9)).await;
    while rig.runtime.newest_checkpoint().map(|newest| newest.position) != Some(Position(7)) {
        tokio::task::yield_now().await;
    }
    rig.crash().await;
    rig.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_sql_text_makes_a_checkpoint_unfit() {
    let mut rig = Rig::new(PipelineSettings::default()).await;
    rig.deliver(&events(0..100, 9)).await;
    rig.runtime.checkpoint_now().await.expect("checkpoint");
    let mut changed = catalog::all().to_vec();
    changed[0].sql = format!("{}\n", changed[0].sql).leak();
    let clock = Arc::clone(&rig.clock) as _;
    let opened = Runtime::open_with(rig.settings.clone(), Arc::clone(&rig.store), clock, &changed)
        .await
        .expect("open");
    assert_eq!(opened.position(), Position::START);
    assert_eq!(
        opened
            .statistics("contact_engagement")
            .expect("statistics")
            .groups,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_from_files_and_tail_equals_the_fed_state() {
    let mut rig = Rig::new(PipelineSettings::default()).await;
    rig.deliver(&events(0..3_000, 50)).await;
    rig.deliver(&events(3_000..4_000, 50)).await;
    rig.lake.flush(rig.store.as_ref()).await;
    rig.deliver(&events(4_000..4_500, 50)).await;
    rig.verify().await;
    let statistics = rig.statistics();
    let fed = statistics
        .rows("contact_engagement", "t1", Keys::All, Knowledge::Now)
        .await
        .expect("fed");
    let at_end = Knowledge::At(START.plus_micros(9_999 * DAY_US));
    let replayed = statistics
        .rows("contact_engagement", "t1", Keys::All, at_end)
        .await
        .expect("replayed");
    assert_eq!(table(&replayed), table(&fed));

    rig.crash_empty().await;
    let cut = rig.lake.cut(LakeTable::Events).await.expect("cut");
    assert_eq!(
        rig.runtime.rebuild_from(cut.clone()).await.expect("rebuilt"),
        4_500
    );
    assert_eq!(rig.runtime.position(), Position(3));
    rig.verify().await;
    assert!(
        rig.runtime.rebuild_from(cut).await.is_err(),
        "only an empty state is rebuilt"
    );

    rig.crash_empty().await;
    let batches: Vec<Result<RecordBatch, Failure>> = rig
        .delivered
        .iter()
        .rev()
        .map(|delivered| Ok(delivered.batch.clone()))
        .collect();
    let rows = rig
        .runtime
        .rebuild(futures::stream::iter(batches), Position(3))
        .await
        .expect("rebuilt");
    assert_eq!(rows, 4_500);
    rig.verify().await;
}

impl Rig {
    /// A new runtime without checkpoints and without a replay.
    async fn crash_empty(&mut self) {
        self.runtime = Runtime::open(
            self.settings.clone(),
            Arc::clone(&self.store),
            Arc::clone(&self.clock) as _,
        )
        .await
        .expect("opened");
        self.consumer = self.runtime.consumer(None);
    }
}

#[derive(Default)]
struct Heard {
    changed: Mutex<Vec<(Position, Vec<Changed>)>>,
    deaf: Mutex<bool>,
}

#[async_trait]
impl StatisticsListener for Heard {
    async fn changed(
        &self,
        position: Position,
        _as_of: Timestamp,
        changed: Vec<Changed>,
    ) -> Result<(), Failure> {
        if std::mem::take(&mut *self.deaf.lock()) {
            return Err(Failure::new(ErrorKind::Limit, "full"));
        }
        self.changed.lock().push((position, changed));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_hears_each_change_once_with_the_state_behind_it() {
    let mut rig = Rig::new(PipelineSettings {
        micro_batch_rows: 7,
        ..PipelineSettings::default()
    })
    .await;
    let heard = Arc::new(Heard::default());
    rig.consumer = rig.runtime.consumer(Some(Arc::clone(&heard) as _));
    rig.deliver(&events(0..100, 9)).await;
    rig.deliver(&[]).await;
    // The listener refuses once; the pump delivers again.
    *heard.deaf.lock() = true;
    let next = Arc::new(revgauge_contract::cut::Delivered {
        position: Position(3),
        written_at: START,
        covers: Position(3),
        batch: batch_of(&events(100..130, 9)),
    });
    assert!(rig.consumer.deliver(&next).await.is_err());
    rig.consumer.deliver(&next).await.expect("again");
    let heard = heard.changed.lock();
    assert_eq!(
        heard.iter().map(|(position, _)| position.0).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(heard[1].1.is_empty());
    let last = heard[2]
        .1
        .iter()
        .filter(|changed| changed.pipeline == "event_counts");
    let told: Vec<RecordBatch> = last.map(|changed| changed.rows.clone()).collect();
    let engine = rig.runtime.engine("event_counts").expect("engine");
    let now = table(&Runtime::rows(&engine, &engine.all_groups(None)).expect("rows"));
    assert!(
        table(&told).iter().all(|row| now.contains(row)),
        "told rows are the state's own"
    );
    let n: i64 = told
        .iter()
        .flat_map(|rows| {
            rows.column_by_name("n")
                .expect("n")
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        })
        .count() as i64;
    assert!(n > 0 && n <= 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decay_is_exact_in_every_era_since_1990() {
    let mut rig = Rig::new(PipelineSettings::default()).await;
    let as_of = START;
    let instants = [
        Timestamp::EARLIEST_EVENT,
        Timestamp::EARLIEST_EVENT.plus_micros(1),
        Timestamp(14 * ERA_SECONDS * SECOND_US - 1),
        Timestamp(14 * ERA_SECONDS * SECOND_US),
        START.plus_micros(-3 * DAY_US - 123_456),
        START.plus_micros(-1),
    ];
    let mut given = Vec::new();
    for (number, at) in instants.iter().enumerate() {
        let mut one = event(number as u64, 1);
        (one.tenant_id, one.event_type, one.kind) = (
            "t".into(),
            "page.viewed".into(),
            revgauge_contract::event_type::EventKind::Engagement,
        );
        (one.contact_id, one.direction, one.machine_class) = (Some("c".into()), None, Default::default());
        (one.event_time, one.value) = (*at, None);
        given.push(one);
    }
    rig.deliver(&given).await;
    let rows = rig
        .statistics()
        .rows(
            "contact_engagement",
            "t",
            Keys::These(&["c".into()]),
            Knowledge::Now,
        )
        .await
        .expect("rows");
    for (column, days) in [("s_days_3", 3.0), ("s_days_14", 14.0), ("s_days_60", 60.0)] {
        let mut decayed = 0.0;
        for batch in &rows {
            let eras = batch
                .column_by_name("era")
                .expect("era")
                .as_primitive::<Int64Type>();
            let sums = batch
                .column_by_name(column)
                .expect("sum")
                .as_primitive::<Float64Type>();
            for row in 0..batch.num_rows() {
                assert!(sums.value(row).is_finite());
                let since = as_of.seconds_f64() - (eras.value(row) * ERA_SECONDS) as f64;
                decayed += sums.value(row) * (-since / (days * 86_400.0)).exp2();
            }
        }
        let direct: f64 = instants
            .iter()
            .map(|at| (-as_of.days_since(*at) / days).exp2())
            .sum();
        assert!(
            ((decayed - direct) / direct).abs() < 1e-9,
            "{column}: {decayed} {direct}"
        );
    }
    let eras: std::collections::BTreeSet<i64> = rows
        .iter()
        .flat_map(|batch| {
            batch
                .column_by_name("era")
                .expect("era")
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        })
        .collect();
    assert_eq!(eras, instants.iter().map(|at| at.era()).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recent_events_are_the_newest_known_ones() {
    let mut rig = Rig::new(PipelineSettings::default()).await;
    let all = events(0..400, 6);
    rig.deliver(&all[..300]).await;
    rig.lake.flush(rig.store.as_ref()).await;
    rig.deliver(&all[300..]).await;
    let instant = START;
    let keys = ["c1".to_owned(), "person1@company0.example".to_owned()];
    let mut expected: Vec<_> = all
        .iter()
        .filter(|event| {
            event.known_at <= instant
                && event
                    .contact_key()
                    .is_some_and(|key| keys.iter().any(|k| k == key))
        })
        .map(|event| event.event_time.micros())
        .collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    expected.truncate(5);
    let found = rig
        .statistics()
        .recent_events(EntityColumn::Contact, "t1", &keys, Knowledge::At(instant), 5)
        .await
        .expect("recent");
    let times: Vec<i64> = found
        .iter()
        .flat_map(|batch| {
            batch
                .column_by_name("event_time")
                .expect("time")
                .as_primitive::<TimestampMicrosecondType>()
                .values()
                .to_vec()
        })
        .collect();
    assert_eq!(times, expected);
    assert_eq!(found[0].schema(), revgauge_contract::schema::events());
}
