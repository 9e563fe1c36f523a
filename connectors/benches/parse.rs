//! Parse, judge and batch rate of the native door on one core, without network or journal.
//!
//! `cargo bench -p revgauge-connectors --bench parse`

use std::{fmt::Write as _, hint::black_box, time::Instant};

use revgauge_connectors::http::parse_events;
use revgauge_contract::{Timestamp, event::Reception};

const BATCH: usize = 500;
const BATCHES: usize = 40;
const ROUNDS: usize = 50;

fn main() {
    for (name, line) in [("plain", plain as fn(&mut String, usize)), ("odd", odd)] {
        let bodies: Vec<String> = (0..BATCHES).map(|batch| body(batch, line)).collect();
        let bytes: usize = bodies.iter().map(String::len).sum();
        let started = Instant::now();
        let mut rows = 0;
        for _ in 0..ROUNDS {
            for body in &bodies {
                let reception = Reception::live(
                    "acme-corp-tenant".into(),
                    Timestamp(1_770_000_000_000_000),
                    "http",
                );
                let parsed =
                    parse_events(reception, black_box(body.as_bytes()), BATCH).expect("within the limit");
                assert!(parsed.refused.is_empty(), "{:?}", parsed.refused);
                rows += black_box(parsed.batch).expect("rows").num_rows();
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{name}: {:.0} events/s, {:.0} ns an event, {:.0} bytes an event",
            rows as f64 / seconds,
            seconds / rows as f64 * 1e9,
            bytes as f64 / (BATCH * BATCHES) as f64
        );
    }
}

fn body(batch: usize, line: fn(&mut String, usize)) -> String {
    let mut body = String::new();
    for row in 0..BATCH {
        line(&mut body, batch * BATCH + row);
        body.push('\n');
    }
    body
}

/// What a well-behaved sender writes.
fn plain(out: &mut String, n: usize) {
    let written = write!(
        out,
        r#"{{"event_id":"5f0c1c1e-{n:08x}-4b7a","type":"email.opened","event_time":"2026-01-{:02}T09:{:02}:{:02}.{:03}Z","source":"outreach","account_id":"acct_{}","contact_id":"contact_{}","email":"jo.doe{}@acme{}.io","payload":{{"campaign":"q1-{}","subject":"hello there"}}}}"#,
        1 + n % 28,
        n % 60,
        (n / 60) % 60,
        n % 1000,
        n % 977,
        n % 9_973,
        n % 9_973,
        n % 977,
        n % 7,
    );
    assert!(written.is_ok());
}

/// What costs more: no event id, unknown fields, epoch times, escapes, upper case.
fn odd(out: &mut String, n: usize) {
    let written = write!(
        out,
        r#"{{"type":"page.viewed","timestamp":17690{:05}000,"email":"Jo.Doe{}@Acme.IO","domain":"www.Acme.io","title":"caf\u00e9 {}","utm":{{"source":"x","n":[1,2,3]}},"payload":{{"url":"https://acme.io/p/{n}"}}}}"#,
        n % 100_000,
        n % 9_973,
        n % 13,
    );
    assert!(written.is_ok());
}
