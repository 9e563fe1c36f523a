//! Ids per second on one core, and bytes an id.
//!
//! `cargo bench -p revgauge-journal --bench dedup [-- <millions of ids>]`.

use std::{sync::Arc, time::Instant};

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
        let begun = Instant::now();
        dedup.filter(&batch).expect("filtered");
        busy += begun.elapsed().as_secs_f64();
        rows += ROWS;
        if position % 512 == 0 {
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
    let begun = Instant::now();
    let again = 200;
    for position in 1..=again {
        dedup
            .filter(&delivered(position * 7 % (rows / ROWS) + 1))
            .expect("filtered");
    }
    println!(
        "replays (with making the batches): {:.2} M ids/s",
        (again * ROWS) as f64 / 1e6 / begun.elapsed().as_secs_f64()
    );
}
