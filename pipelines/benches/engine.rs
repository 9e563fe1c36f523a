//! Speed, pauses and memory of the incremental engine: Arrow batches in, changed rows out.
//!
//! `cargo bench -p revgauge-pipelines --bench engine -- [scenario] [events] [contacts]` with the scenarios `reference`
//! (the four aggregates of the feasibility study), `contact` (the shipped `contact_engagement`), `all` (every shipped
//! pipeline, then a checkpoint and a restart). Without arguments: all three, at a tenth of full size.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arrow::array::{ArrayRef, Float64Builder, RecordBatch, StringViewBuilder, TimestampMicrosecondArray};
use async_trait::async_trait;
use object_store::{ObjectStore, memory::InMemory};
use revgauge_contract::{
    Clock, Position, Timestamp,
    cut::Delivered,
    error::Failure,
    event_type::implied_direction,
    schema::events,
    statistics::{Changed, StatisticsListener},
    time::{SECOND_US, SystemClock},
};
use revgauge_pipelines::{Pipeline, PipelineSettings, Runtime, catalog};

const REFERENCE: &str = "--! description: the feasibility study's aggregates
--! entity: contact
--! key: contact_id
INSERT INTO reference
SELECT tenant_id, contact_id, type, machine_class, count(*) AS n,
  sum(power(2.0, (extract(epoch FROM event_time) - 1767225600.0) / 1209600.0)) AS s14,
  sum(power(2.0, (extract(epoch FROM event_time) - 1767225600.0) / 5184000.0)) AS s60,
  max(event_time) AS last_time
FROM events GROUP BY tenant_id, contact_id, type, machine_class";

const TYPES: [&str; 8] = [
    "email.sent",
    "email.opened",
    "email.clicked",
    "email.replied",
    "meeting.attended",
    "page.viewed",
    "call.completed",
    "form.submitted",
];
const BATCH_ROWS: u64 = 8_192;

fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Events in random order of time and contact; ids and addresses as long as real ones.
fn batch(from: u64, rows: u64, contacts: u64) -> RecordBatch {
    let mut text: [StringViewBuilder; 14] = std::array::from_fn(|_| StringViewBuilder::new());
    let mut times = Vec::with_capacity(rows as usize);
    let mut value = Float64Builder::with_capacity(rows as usize);
    for number in from..from + rows {
        let contact = mix(number * 7) % contacts;
        let account = contact / 10;
        let event_type = TYPES[(mix(number * 3 + 1) % 8) as usize];
        times.push(1_767_225_600 * SECOND_US + (mix(number * 11 + 5) % (300 * 86_400)) as i64 * SECOND_US);
        value.append_option((number.is_multiple_of(4)).then_some(60.0));
        let machine = if mix(number).is_multiple_of(10) {
            "proxy"
        } else {
            "none"
        };
        let row = [
            Some(format!("t{}", contact % 50)),
            Some(format!("e{number}")),
            Some("engagement".to_owned()),
            Some(event_type.to_owned()),
            Some("hubspot".to_owned()),
            Some(format!("a{account}")),
            Some(format!("c{contact}")),
            (number.is_multiple_of(5)).then(|| format!("d{}", contact / 4)),
            Some(format!("u{}", account % 200)),
            Some(format!("jo.doe{contact}@company{account}.example")),
            Some(format!("company{account}.example")),
            implied_direction(event_type).map(|direction| direction.as_str().to_owned()),
            Some(machine.to_owned()),
            Some("{}".to_owned()),
        ];
        for (builder, text) in text.iter_mut().zip(row) {
            builder.append_option(text);
        }
    }
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times));
    let mut text = text
        .iter_mut()
        .map(|builder| Arc::new(builder.finish()) as ArrayRef);
    let mut columns: Vec<ArrayRef> = text.by_ref().take(4).collect();
    columns.extend([Arc::clone(&times), Arc::clone(&times), times]);
    columns.extend(text.by_ref().take(9));
    columns.push(Arc::new(value.finish()));
    columns.extend(text);
    RecordBatch::try_new(events(), columns).expect("columns are in schema order")
}

#[derive(Default)]
struct Counting(AtomicU64);

#[async_trait]
impl StatisticsListener for Counting {
    async fn changed(
        &self,
        _position: Position,
        _as_of: Timestamp,
        changed: Vec<Changed>,
    ) -> Result<(), Failure> {
        let rows: usize = changed.iter().map(|changed| changed.rows.num_rows()).sum();
        self.0.fetch_add(rows as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn resident_mib() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0.0);
    pages * 4096.0 / f64::from(1 << 20)
}

async fn run(
    name: &str,
    pipelines: &[Pipeline],
    total: u64,
    contacts: u64,
    threads: usize,
) -> (Arc<Runtime>, Arc<dyn ObjectStore>) {
    let settings = settings(threads);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let runtime = Runtime::open_with(settings, Arc::clone(&store), clock, pipelines)
        .await
        .expect("opened");
    let counting = Arc::new(Counting::default());
    let mut consumer = runtime.consumer(Some(Arc::clone(&counting) as _));
    let (mut steps, mut busy) = (Vec::new(), Duration::ZERO);
    for (position, from) in (0..total).step_by(BATCH_ROWS as usize).enumerate() {
        let delivered = Arc::new(Delivered {
            position: Position(position as u64 + 1),
            written_at: Timestamp(0),
            covers: Position(position as u64 + 1),
            batch: batch(from, BATCH_ROWS.min(total - from), contacts),
        });
        let started = Instant::now();
        consumer.deliver(&delivered).await.expect("delivered");
        let step = started.elapsed();
        busy += step;
        steps.push(step);
    }
    steps.sort_unstable();
    let at = |share: f64| steps[((steps.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let mut sizes = [0_u64; 4];
    for pipeline in runtime.pipelines() {
        let size = runtime.statistics(pipeline.name).expect("known");
        for (sum, part) in
            sizes
                .iter_mut()
                .zip([size.groups, size.key_bytes, size.state_bytes, size.spilled_bytes])
        {
            *sum += part;
        }
    }
    let [groups, keys, state, spilled] = sizes;
    println!(
        "{name}: {:.2} M events/s ({total} events, {threads} thread(s)), batch of {BATCH_ROWS}: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; \
         {} changed rows out; {groups} groups, {:.0} B a group in memory (keys {:.0}, state {:.0}), {} MiB spilled, {:.0} MiB resident",
        total as f64 / busy.as_secs_f64() / 1e6,
        at(0.5),
        at(0.99),
        at(1.0),
        counting.0.load(Ordering::Relaxed),
        (keys + state) as f64 / groups as f64,
        keys as f64 / groups as f64,
        state as f64 / groups as f64,
        spilled >> 20,
        resident_mib(),
    );
    (runtime, store)
}

/// No checkpoint by itself: what is timed is the engine.
fn settings(threads: usize) -> PipelineSettings {
    PipelineSettings {
        apply_threads: threads,
        checkpoint_rows: u64::MAX,
        checkpoint_interval_ms: u64::MAX,
        ..PipelineSettings::default()
    }
}

async fn everything(total: u64, contacts: u64) {
    let (runtime, store) = run("all pipelines", catalog::all(), total, contacts, 2).await;
    let started = Instant::now();
    runtime.checkpoint_now().await.expect("checkpoint");
    println!("full checkpoint: {:.2} s", started.elapsed().as_secs_f64());
    drop(runtime);
    let started = Instant::now();
    let runtime = Runtime::open_with(settings(2), store, Arc::new(SystemClock), catalog::all())
        .await
        .expect("restored");
    println!(
        "restart from it: {:.2} s, position {}, {:.0} MiB resident",
        started.elapsed().as_secs_f64(),
        runtime.position(),
        resident_mib()
    );
}

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let number = |at: usize, default: u64| args.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (total, contacts) = (number(1, 1_000_000), number(2, 10_000));
    let chosen = |scenario: &str| args.first().is_none_or(|asked| asked == scenario);
    let reference = Pipeline::parse("reference", REFERENCE).expect("directives");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        if chosen("reference") {
            run("reference", &[reference], total, contacts, 1).await;
        }
        if chosen("contact") {
            run("contact_engagement", &catalog::all()[..1], total, contacts, 1).await;
        }
        if chosen("all") {
            everything(total, contacts).await;
        }
    });
}
