//! Ids per second on one core, and bytes an id.
//!
//! `cargo bench -p revgauge-journal --bench dedup [-- <millions of ids>]`.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, StringViewArray},
    datatypes::{DataType, Field, Schema},
};
use revgauge_contract::{Position, Timestamp, cut::Delivered};
use revgauge_journal::{DedupSettings, Deduplicator};

const ROWS: u64 = 8_192;

fn delivered(position: u64) -> Arc<Delivered> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("tenant_id", DataType::Utf8View, false),
        Field::new("event_id", DataType::Utf8View, false),
    ]));
    let tenants: StringViewArray = (0..ROWS).map(|_| Some("tenant-1")).collect();
    let ids: StringViewArray = (0..ROWS)
        .map(|row| Some(format!("0198f2c4-7c1e-7000-9b1d-{:012x}", position * ROWS + row)))
        .collect();
    Arc::new(Delivered {
        position: Position(position),
        written_at: Timestamp(position as i64),
        covers: Position(position),
        batch: RecordBatch::try_new(schema, vec![Arc::new(tenants), Arc::new(ids)]).expect("batch"),
    })
}

/// Seconds that this thread spent on a processor, so that a busy machine does not count.
fn on_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos: f64 = stat
        .split(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .expect("nanoseconds");
    nanos / 1e9
}

fn main() {
    let millions: u64 = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .next()
        .unwrap_or(20);
    let settings = DedupSettings {
        max_ids: 1_000_000_000,
        ..DedupSettings::default()
    };
    let mut dedup = Deduplicator::new(&settings, [1, 2]);
    let (mut busy, mut rows) = (0.0, 0_u64);
    for position in 1..=millions * 1_000_000 / ROWS {
        let batch = delivered(position);
        let begun = on_cpu();
        dedup.filter(&batch).expect("filtered");
        busy += on_cpu() - begun;
        rows += ROWS;
        if position % 64 == 0 {
            // What a checkpoint would have taken.
            dedup.forget_fresh();
        }
        if rows % (5_000_000 / ROWS * ROWS) == 0 {
            println!(
                "{:>9} ids: {:.2} M ids/s of the last 5 M, {:.1} bytes an id",
                dedup.ids(),
                5.0 / busy,
                dedup.memory_bytes() as f64 / dedup.ids() as f64
            );
            busy = 0.0;
        }
    }
    let mut replaying = 0.0;
    let replays = 200;
    for position in 1..=replays {
        let batch = delivered(position * 7 % (rows / ROWS) + 1);
        let begun = on_cpu();
        dedup.filter(&batch).expect("filtered");
        replaying += on_cpu() - begun;
    }
    println!(
        "replays: {:.2} M ids/s",
        (replays * ROWS) as f64 / 1e6 / replaying
    );
}
