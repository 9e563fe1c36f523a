//! What twenty SQL clients were recorded to send replays without a failure.
//!
//! The recorded statements are in `tests/clients/corpus`, one file a client. They were recorded against a database with two
//! tables and a view in a schema `mart`; a world offers the same three, and their names are said as it offers them.

use std::{collections::BTreeSet, fs, sync::Arc};

use datafusion::{
    arrow::array::{
        ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, ListBuilder, RecordBatch,
        StringArray, StringBuilder, TimestampMicrosecondArray,
    },
    datasource::MemTable,
};
use revgauge_testkit::wire::{Ask, Wire};
use serde::Deserialize;

use super::{wire::open, world::World};
use crate::sql::CatalogTable;

/// Names as recorded, and as the world offers them; the longer first.
const NAMES: [(&str, &str); 9] = [
    ("\"revops\".\"mart\".\"", "\"public\".\"mart_"),
    ("revops.mart.", "public.mart_"),
    ("\"revops\".\"dbt_out\".\"healthy\"", "public.mart_account_health"),
    ("\"mart\".\"accounts\"", "public.mart_accounts"),
    ("mart.account_health", "public.mart_account_health"),
    ("mart.accounts", "public.mart_accounts"),
    ("\"mart\".\"events\"", "public.mart_events"),
    ("mart.events", "public.mart_events"),
    ("dbt_out.healthy", "public.mart_account_health"),
];

#[derive(Deserialize)]
struct Recorded {
    sql: String,
    how: String,
    params: Option<String>,
}

fn offered(name: &str, columns: Vec<(&str, ArrayRef)>) -> CatalogTable {
    let tenant: ArrayRef = Arc::new(StringArray::from(vec!["acme"; columns[0].1.len()]));
    let columns = columns
        .into_iter()
        .chain([("tenant_id", tenant)])
        .map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
    CatalogTable {
        name: name.to_owned(),
        description: "a recorded table".to_owned(),
        provider: Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("table")),
        columns: Vec::new(),
    }
}

/// `mart.accounts`, `mart.events` and `mart.account_health` as they were when the clients were recorded.
fn recorded_tables() -> Vec<CatalogTable> {
    let text = |values: [&str; 2]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let health = || Arc::new(Float64Array::from(vec![71.5, 55.0])) as ArrayRef;
    let mut tags = ListBuilder::new(StringBuilder::new());
    for _ in 0..2 {
        tags.values().append_value("x");
        tags.values().append_value("y");
        tags.append(true);
    }
    let amount = Decimal128Array::from(vec![120_050, 0])
        .with_precision_and_scale(18, 2)
        .expect("it fits");
    let at = 1_795_177_626_000_000;
    let accounts = vec![
        ("account_id", text(["a1", "a2"])),
        ("name", text(["Acme", "Beta"])),
        ("health", health()),
        ("arr", Arc::new(amount) as ArrayRef),
        (
            "created_at",
            Arc::new(TimestampMicrosecondArray::from(vec![at; 2]).with_timezone("+00:00")) as ArrayRef,
        ),
        ("tags", Arc::new(tags.finish())),
        ("day", Arc::new(Date32Array::from(vec![Some(20_455), None]))),
    ];
    let one = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let events = vec![
        ("event_id", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("account_id", one("a1")),
        ("event", one("open")),
        (
            "ts",
            Arc::new(TimestampMicrosecondArray::from(vec![1_767_323_045_000_000])),
        ),
        ("props", one("{\"k\":1}")),
    ];
    vec![
        offered("mart_accounts", accounts),
        offered("mart_events", events),
        offered(
            "mart_account_health",
            vec![("account_id", text(["a1", "a2"])), ("health", health())],
        ),
    ]
}

/// `$1 = 'a', $2 = NULL`, as the recording server logged values.
fn values_of(logged: &str) -> Vec<Option<String>> {
    let mut values = Vec::new();
    let mut rest = logged;
    while let Some(at) = rest.find(" = ") {
        rest = &rest[at + 3..];
        let Some(quoted) = rest.strip_prefix('\'') else {
            values.push(None);
            continue;
        };
        let mut value = String::new();
        let mut letters = quoted.char_indices().peekable();
        while let Some((place, letter)) = letters.next() {
            if letter != '\'' {
                value.push(letter);
            } else if letters.next_if(|(_, next)| *next == '\'').is_some() {
                value.push('\'');
            } else {
                rest = &quoted[place + 1..];
                break;
            }
        }
        values.push(Some(value));
    }
    values
}

/// Statements that only make sense after others, or that write, are no part of the replay.
fn is_replayed(sql: &str) -> bool {
    let mut text = sql.trim_start();
    while let Some(rest) = text.strip_prefix("/*") {
        text = rest.split_once("*/").map_or("", |(_, rest)| rest).trim_start();
    }
    let first = text
        .split(|letter: char| !letter.is_ascii_alphabetic())
        .next()
        .unwrap_or_default();
    ![
        "create",
        "drop",
        "alter",
        "insert",
        "update",
        "delete",
        "commit",
        "rollback",
        "begin",
        "savepoint",
        "release",
        "deallocate",
        "close",
        "fetch",
        "declare",
        "copy",
        "set",
        "truncate",
        "comment",
        "start",
    ]
    .contains(&first.to_ascii_lowercase().as_str())
}

async fn replay(wire: &mut Wire, recorded: &Recorded, sql: &str) -> Option<String> {
    let reply = if recorded.how == "statement" {
        wire.query(sql).await
    } else {
        let values = values_of(recorded.params.as_deref().unwrap_or_default());
        let values: Vec<Option<&[u8]>> = values
            .iter()
            .map(|value| value.as_deref().map(str::as_bytes))
            .collect();
        let ask = Ask {
            sql,
            values: &values,
            ..Ask::default()
        };
        wire.ask(&ask).await
    };
    match reply {
        Ok(reply) => reply
            .refusal
            .map(|refusal| format!("{} {}", refusal.code, refusal.message)),
        Err(error) => Some(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_clients_replay_without_a_failure() {
    let folder = revgauge_testkit::root().join("tests/clients/corpus");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    let mut statements = Vec::new();
    let mut seen = BTreeSet::new();
    for file in &files {
        let client = file
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("named")
            .to_owned();
        for line in fs::read_to_string(file).expect("readable").lines() {
            let recorded: Recorded = serde_json::from_str(line).expect("a recorded statement");
            let sql = NAMES
                .iter()
                .fold(recorded.sql.clone(), |sql, (from, to)| sql.replace(from, to));
            let shape: String = sql.chars().filter(|letter| !letter.is_ascii_digit()).collect();
            if is_replayed(&sql) && seen.insert((recorded.how.clone(), shape)) {
                statements.push((client.clone(), recorded, sql));
            }
        }
    }
    assert!(
        files.len() >= 20 && statements.len() > 150,
        "{} statements",
        statements.len()
    );
    let door = Arc::new(open(World::with_tables(recorded_tables()).await).await);
    let total = statements.len();
    let halves =
        statements
            .into_iter()
            .enumerate()
            .fold([Vec::new(), Vec::new()], |mut halves, (n, statement)| {
                halves[n % 2].push(statement);
                halves
            });
    let replays = halves.map(|half| {
        let door = Arc::clone(&door);
        tokio::spawn(async move {
            let mut failures = Vec::new();
            let mut wire = door.wire().await;
            for (client, recorded, sql) in half {
                if let Some(failure) = replay(&mut wire, &recorded, &sql).await {
                    failures.push(format!("{client}: {failure}\n    {sql}"));
                    wire = door.wire().await;
                }
            }
            failures
        })
    });
    let mut failures = Vec::new();
    for half in replays {
        failures.extend(half.await.expect("ran"));
    }
    assert!(
        failures.is_empty(),
        "{} of {total} failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
