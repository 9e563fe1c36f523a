//! What the tests of this room share: a lake of batches, events by number, a runtime on a store in memory.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, memory::InMemory, path::Path};
use parking_lot::Mutex;
use revgauge_contract::{
    Event, Position, Timestamp,
    cut::{Cut, CutReader, DataFile, Delivered, JournalConsumer, LakeTable, Watermark},
    error::Failure,
    event::{Direction, MachineClass},
    event_type::{EventKind, implied_direction, implied_kind},
    invariant::Invariant,
    schema::batch_of,
    time::{DAY_US, ManualClock, SECOND_US},
};

use crate::{PipelineSettings, Runtime, Statistics, catalog, verify::verify};

/// 2026-01-01.
pub(crate) const START: Timestamp = Timestamp(1_767_225_600 * SECOND_US);

const TYPES: [&str; 12] = [
    "email.sent",
    "email.opened",
    "email.clicked",
    "email.replied",
    "meeting.attended",
    "call.completed",
    "page.viewed",
    "signal.funding",
    "company.enriched",
    "deal.upserted",
    "contact.upserted",
    "deal.deleted",
];

/// A pure function of a number that looks random.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// An event of one of two tenants and `entities` contacts, decided by its number alone.
pub(crate) fn event(number: u64, entities: u64) -> Event {
    let pick = |salt: u64, among: u64| mix(number.wrapping_mul(31).wrapping_add(salt)) % among;
    let event_type = TYPES[pick(1, TYPES.len() as u64) as usize];
    let kind = implied_kind(event_type).expect("known type");
    let contact = pick(2, entities);
    let seconds = pick(3, 9 * 365 * 86_400) as i64;
    let event_time = START.plus_micros((seconds - 6 * 365 * 86_400) * SECOND_US + pick(4, 1_000_000) as i64);
    let known_at = event_time.plus_micros(pick(5, 5) as i64 * DAY_US);
    let some = |salt, text: String| (pick(salt, 4) != 0).then_some(text);
    let payload = match kind {
        EventKind::Crm | EventKind::Enrichment => format!(
            r#"{{"_version":{},"stage":"s{}","amount":{},"note":{}}}"#,
            pick(6, 50),
            pick(7, 5),
            pick(8, 1_000),
            if pick(9, 3) == 0 {
                "null"
            } else {
                "\"a longer text, past twelve bytes\""
            }
        ),
        EventKind::Engagement if pick(9, 3) == 0 => format!(r#"{{"text":"said {}"}}"#, pick(8, 1_000)),
        EventKind::Engagement => "{}".to_owned(),
    };
    Event {
        tenant_id: format!("t{}", contact % 2).into(),
        event_id: format!("e{number}"),
        kind,
        event_type: event_type.to_owned(),
        event_time,
        ingested_at: known_at,
        known_at,
        source: format!("source{}", pick(10, 3)),
        account_id: some(11, format!("a{}", contact / 4)),
        contact_id: some(12, format!("c{contact}")),
        deal_id: (kind == EventKind::Crm || pick(13, 2) == 0).then(|| format!("d{}", contact / 3)),
        user_id: some(14, format!("u{}", pick(15, 5))),
        email: Some(format!("person{contact}@company{}.example", contact / 4)),
        domain: Some(format!("company{}.example", contact / 4)),
        direction: implied_direction(event_type).or((pick(16, 2) == 0).then_some(Direction::Outbound)),
        machine_class: [MachineClass::None, MachineClass::None, MachineClass::Proxy][pick(17, 3) as usize],
        value: (pick(18, 2) == 0).then(|| pick(19, 1_000) as f64 / 8.0),
        payload,
    }
}

pub(crate) fn events(numbers: impl IntoIterator<Item = u64>, entities: u64) -> Vec<Event> {
    numbers
        .into_iter()
        .map(|number| event(number, entities))
        .collect()
}

/// A lake whose tail is what was delivered.
#[derive(Debug, Default)]
pub(crate) struct TestLake {
    pub(crate) tail: Mutex<Vec<RecordBatch>>,
    pub(crate) files: Mutex<Vec<DataFile>>,
    pub(crate) position: Mutex<Position>,
}

#[async_trait]
impl CutReader for TestLake {
    async fn cut(&self, table: LakeTable) -> Result<Cut, Failure> {
        let position = *self.position.lock();
        Ok(Cut {
            table,
            lake_position: position,
            position,
            files: self.files.lock().clone(),
            tail: self.tail.lock().clone(),
        })
    }

    fn watermarks(&self, _tenant_id: &str) -> BTreeMap<String, Watermark> {
        BTreeMap::new()
    }
}

impl TestLake {
    /// Moves the tail into a Parquet file of the store, text as plain strings as other writers have it.
    pub(crate) async fn flush(&self, store: &dyn ObjectStore) {
        use arrow::{
            compute::cast,
            datatypes::{DataType, Field, Schema},
        };
        use datafusion::parquet::arrow::ArrowWriter;
        let tail = std::mem::take(&mut *self.tail.lock());
        for batch in tail {
            let fields = batch.schema();
            let plain = |data_type: &DataType| match data_type {
                DataType::Utf8View => DataType::Utf8,
                other => other.clone(),
            };
            let fields: Vec<Field> = fields
                .fields()
                .iter()
                .map(|field| Field::new(field.name(), plain(field.data_type()), field.is_nullable()))
                .collect();
            let columns = batch
                .columns()
                .iter()
                .map(|column| cast(column, &plain(column.data_type())).expect("cast"));
            let batch =
                RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.collect()).expect("batch");
            let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("writer");
            writer.write(&batch).expect("written");
            let bytes = writer.into_inner().expect("closed");
            let path = format!("lake/events/{}.parquet", self.files.lock().len());
            let size = bytes.len() as u64;
            store
                .put(&Path::from(path.as_str()), PutPayload::from(bytes))
                .await
                .expect("put");
            self.files.lock().push(DataFile {
                path,
                size,
                rows: batch.num_rows() as u64,
            });
        }
    }
}

/// A runtime with the lake it is fed beside.
pub(crate) struct Rig {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) lake: Arc<TestLake>,
    pub(crate) settings: PipelineSettings,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) consumer: Box<dyn JournalConsumer>,
    pub(crate) delivered: Vec<Arc<Delivered>>,
}

impl Rig {
    pub(crate) async fn new(settings: PipelineSettings) -> Self {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let clock = Arc::new(ManualClock::at(START));
        let runtime = Runtime::open(settings.clone(), Arc::clone(&store), Arc::clone(&clock) as _)
            .await
            .expect("opened");
        Self {
            store,
            clock,
            lake: Arc::default(),
            settings,
            consumer: runtime.consumer(None),
            runtime,
            delivered: Vec::new(),
        }
    }

    /// Appends events as the next journal object and delivers it.
    pub(crate) async fn deliver(&mut self, events: &[Event]) {
        let position = self.lake.position.lock().next();
        let delivered = Arc::new(Delivered {
            position,
            written_at: START,
            covers: position,
            batch: batch_of(events),
        });
        self.lake.tail.lock().push(delivered.batch.clone());
        *self.lake.position.lock() = position;
        self.consumer.deliver(&delivered).await.expect("delivered");
        self.delivered.push(delivered);
    }

    /// Drops the runtime as a crash would and opens it again; replays what no checkpoint held.
    pub(crate) async fn crash(&mut self) {
        self.runtime = Runtime::open(
            self.settings.clone(),
            Arc::clone(&self.store),
            Arc::clone(&self.clock) as _,
        )
        .await
        .expect("opened");
        self.consumer = self.runtime.consumer(None);
        let after = self.consumer.resume_after();
        for delivered in self
            .delivered
            .iter()
            .filter(|delivered| delivered.position > after)
        {
            self.consumer.deliver(delivered).await.expect("replayed");
        }
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let cuts = Arc::clone(&self.lake) as Arc<dyn CutReader>;
        Statistics::new(
            Arc::clone(&self.runtime),
            cuts,
            Arc::clone(&self.store),
            &self.settings,
        )
        .expect("statistics")
    }

    /// P-2, for all pipelines.
    pub(crate) async fn verify(&self) {
        let cuts = Arc::clone(&self.lake) as Arc<dyn CutReader>;
        let reports = verify(&self.runtime, &cuts).await.expect("verified");
        let kept = catalog::all()
            .iter()
            .filter(|pipeline| pipeline.name != "crm_history");
        assert_eq!(reports.len(), kept.count());
        for report in reports {
            assert!(
                report.holds(),
                "{}: {report:?}",
                Invariant::IncrementalEqualsBatch.code()
            );
            assert_eq!(report.rows, report.batch_rows, "{}", report.pipeline);
        }
    }
}
