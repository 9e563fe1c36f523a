//! The feed keeps order, tenants apart, and its cursors.

use object_store::memory::InMemory;
use revgauge_contract::{
    Timestamp,
    score::{Cause, EntityKind},
    time::ManualClock,
};

use super::*;

fn change(tenant: &str, entity: usize) -> ScoreChange {
    ScoreChange {
        tenant_id: tenant.to_owned(),
        entity_kind: EntityKind::Deal,
        entity_id: format!("deal {entity}"),
        score: "health".to_owned(),
        old_value: None,
        new_value: Some(entity as f64),
        old_tier: None,
        new_tier: Some("warm".to_owned()),
        reason: "the last reply is 9 days old".to_owned(),
        cause: Cause::Decay,
        as_of: Timestamp(7),
        definition: "health@3".to_owned(),
        fingerprint: "f".to_owned(),
        detail: "[]".to_owned(),
    }
}

async fn feed(store: &Arc<InMemory>, seed: u64) -> FeedJournal {
    let clock = Arc::new(ManualClock::at(Timestamp(1)));
    let settings = FeedSettings {
        page_objects: 3,
        ..FeedSettings::default()
    };
    let store: Arc<dyn ObjectStore> = Arc::clone(store) as _;
    FeedJournal::open(store, JournalSettings::default(), settings, clock, seed)
        .await
        .expect("opened")
}

async fn read_all(feed: &FeedJournal, tenant: &str, limit: usize) -> Vec<(Cursor, ScoreChange)> {
    let mut all = Vec::new();
    let mut after = Cursor::default();
    loop {
        let page = feed.read(tenant, after, limit).await.expect("page");
        all.extend(page.entries);
        if page.next == after {
            return all;
        }
        after = page.next;
    }
}

#[tokio::test]
async fn pages_of_any_size_give_a_tenants_entries_in_order() {
    let store = Arc::new(InMemory::new());
    let feed = feed(&store, 1).await;
    for round in 0..6 {
        let changes = (0..4)
            .map(|n| change(if n % 2 == 0 { "a" } else { "b" }, round * 4 + n))
            .collect();
        feed.append(changes, Position(round as u64))
            .await
            .expect("appended");
    }
    let whole = read_all(&feed, "a", 1_000).await;
    assert_eq!(whole.len(), 12);
    assert!(whole.is_sorted_by(|a, b| a.0 < b.0));
    let ids: Vec<_> = whole.iter().map(|(_, change)| change.entity_id.clone()).collect();
    let expected: Vec<_> = (0..24)
        .filter(|n| n % 2 == 0)
        .map(|n| format!("deal {n}"))
        .collect();
    assert_eq!(ids, expected);
    assert_eq!(whole[1].1, change("a", 2), "every field comes back");
    for limit in [1, 2, 3, 5] {
        assert_eq!(read_all(&feed, "a", limit).await, whole, "limit {limit}");
    }
    for (cursor, _) in &whole {
        let rest = feed.read("a", *cursor, 1_000).await.expect("from a cursor");
        assert!(rest.entries.iter().all(|(at, _)| at > cursor));
    }
    assert!(read_all(&feed, "nobody", 10).await.is_empty());
}

#[tokio::test]
async fn rows_carry_their_cursor_and_covers_survives_a_restart() {
    let store = Arc::new(InMemory::new());
    let first = feed(&store, 1).await;
    assert_eq!(first.last_covers(), Position::START);
    let at = first
        .append(vec![change("a", 1), change("a", 2)], Position(17))
        .await
        .expect("appended");
    first
        .append(vec![], Position(19))
        .await
        .expect("covers moves alone");
    first.journal().shutdown().await;
    let second = feed(&store, 2).await;
    assert_eq!(second.last_covers(), Position(19));
    let delivered = second.journal().read(at).await.expect("read");
    assert_eq!(delivered.covers, Position(17));
    let column = |name: &str| -> Vec<i64> {
        let column = delivered.batch.column_by_name(name).expect("column");
        let numbers: &arrow::array::Int64Array =
            arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(column);
        numbers.values().to_vec()
    };
    assert_eq!(
        (column("position"), column("row")),
        (vec![at.0 as i64; 2], vec![1, 2])
    );
}

#[tokio::test]
async fn a_cursor_older_than_the_feed_is_told_where_it_begins() {
    let store = Arc::new(InMemory::new());
    let feed = feed(&store, 1).await;
    let mut at = Position::START;
    for n in 0..5 {
        at = feed
            .append(vec![change("a", n)], Position(1))
            .await
            .expect("appended");
    }
    let kept = Position(at.0 - 2);
    feed.journal().trim_through(kept).await.expect("trimmed");
    let error = feed.read("a", Cursor::default(), 10).await.expect_err("too old");
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.message.contains(&format!("'{}.0'", kept.next())), "{error}");
    let begin: Cursor = format!("{}.0", kept.next()).parse().expect("cursor");
    assert_eq!(feed.read("a", begin, 10).await.expect("page").entries.len(), 2);
    let at_end = Cursor {
        position: kept,
        row: 1,
    };
    let page = feed.read("a", at_end, 10).await.expect("missed nothing");
    assert_eq!(page.entries.len(), 2);
}

#[tokio::test]
async fn a_waiting_reader_wakes_when_the_feed_grows() {
    let store = Arc::new(InMemory::new());
    let feed = Arc::new(feed(&store, 1).await);
    let last = feed.journal().last();
    let waiter = Arc::clone(&feed);
    let waiting = tokio::spawn(async move { waiter.grown_past(last).await });
    feed.append(vec![change("a", 1)], Position(1))
        .await
        .expect("appended");
    waiting.await.expect("woken");
}
