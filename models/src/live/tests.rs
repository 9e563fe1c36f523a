//! Laws of live scoring: batching is nothing, restarts neither double nor miss, decay fires at its instant.

use std::collections::BTreeMap;

use proptest::prelude::*;
use revgauge_contract::{
    event::EventDraft, score::ScoreService, statistics::StatisticsSource, time::ManualClock,
};
use serde_json::json;

use super::*;
use crate::{
    sample::{Feed, Layer1, TENANT, act, crm_event, day, feed_batch},
    service::{Memories, ScoringSettings},
};

type LastWords = BTreeMap<(EntityKind, String, String), (Option<f64>, Option<String>)>;

struct World {
    layer: Arc<Layer1>,
    feed: Arc<Feed>,
    clock: Arc<ManualClock>,
    scoring: Arc<Scoring>,
    live: Arc<LiveScorer>,
}

fn settings(least: f64) -> LiveSettings {
    LiveSettings {
        minimum_change: MinimumChange {
            points: least,
            fraction: least / 100.0,
            urgency: least,
        },
        ..LiveSettings::default()
    }
}

impl World {
    fn new(layer: Arc<Layer1>, feed: Arc<Feed>, settings: LiveSettings) -> Self {
        let clock = Arc::new(ManualClock::at(day(0.0)));
        let source: Arc<dyn StatisticsSource> = Arc::<Layer1>::clone(&layer);
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let definitions = Arc::new(Definitions::shipped());
        let scoring = Arc::new(Scoring::new(
            source,
            definitions,
            Arc::clone(&shared),
            ScoringSettings::default(),
        ));
        let sink: Arc<dyn FeedSink> = Arc::<Feed>::clone(&feed);
        let live = LiveScorer::new(Arc::clone(&scoring), sink, settings, shared);
        let memory: Arc<dyn TierMemory> = Arc::<LiveScorer>::clone(&live);
        scoring.set_memories(Memories {
            live: Some(memory),
            past: None,
        });
        Self {
            layer,
            feed,
            clock,
            scoring,
            live,
        }
    }

    async fn hear(&self, position: u64, at: Timestamp, drafts: Vec<EventDraft>) {
        let changed = self.layer.push(drafts);
        self.clock.set(at);
        self.live
            .changed(Position(position), at, changed)
            .await
            .expect("taken");
    }

    fn last(&self) -> LastWords {
        let changes = self.feed.changes.read();
        let of_entities = changes
            .iter()
            .filter(|change| change.entity_kind != EntityKind::Tenant);
        of_entities
            .map(|change| {
                let key = (change.entity_kind, change.entity_id.clone(), change.score.clone());
                (key, (change.new_value, change.new_tier.clone()))
            })
            .collect()
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}

fn memory_of(changes: &[ScoreChange]) -> FeedMemory {
    let mut memory = FeedMemory::default();
    memory.take(&feed_batch(changes));
    memory
}

fn company() -> Vec<EventDraft> {
    let at = day(0.0);
    vec![
        crm_event(
            "account.upserted",
            "a1",
            at,
            json!({"name": "Acme", "domain": "acme.io", "industry": "software", "employees": 300}),
        ),
        crm_event(
            "contact.upserted",
            "c1",
            at,
            json!({"email": "jo@acme.io", "title": "VP Sales", "account_id": "a1"}),
        ),
        crm_event(
            "deal.upserted",
            "d1",
            at,
            json!({"account_id": "a1", "contact_id": "c1", "stage": "Discovery", "close_date": "2026-12-01"}),
        ),
    ]
}

const TYPES: [&str; 5] = [
    "email.opened",
    "email.clicked",
    "email.replied",
    "meeting.attended",
    "email.sent",
];

fn drafts(events: &[(usize, usize, f64)]) -> Vec<EventDraft> {
    let of = |(kind, contact, days): &(usize, usize, f64)| {
        act(
            TYPES[*kind],
            ["jo@acme.io", "c1", "ann@acme.io"][*contact],
            day(*days),
        )
    };
    events.iter().map(of).collect()
}

fn events() -> impl Strategy<Value = Vec<(usize, usize, f64)>> {
    prop::collection::vec((0..TYPES.len(), 0..3usize, 1.0..30.0f64), 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// The last word of the feed is the same whatever the batching, and equals the service's own answer.
    #[test]
    fn batching_is_nothing(events in events(), sizes in prop::collection::vec((1usize..5, any::<bool>()), 16)) {
        run(async {
            let end = day(31.0);
            let whole = World::new(Layer1::of([]), Arc::default(), settings(0.0));
            whole.hear(1, end, company().into_iter().chain(drafts(&events)).collect()).await;
            whole.live.settle().await;

            let pieces = World::new(Layer1::of([]), Arc::default(), settings(0.0));
            pieces.hear(1, end, company()).await;
            let (mut rest, mut position) = (&events[..], 1);
            for (size, settle) in sizes {
                let (now, later) = rest.split_at(size.min(rest.len()));
                rest = later;
                position += 1;
                pieces.hear(position, end, drafts(now)).await;
                if settle {
                    pieces.live.settle().await;
                }
            }
            pieces.hear(position + 1, end, drafts(rest)).await;
            pieces.live.settle().await;
            let (whole_last, pieces_last) = (whole.last(), pieces.last());
            assert_eq!(whole_last.keys().collect::<Vec<_>>(), pieces_last.keys().collect::<Vec<_>>());
            for (key, (value, _)) in &whole_last {
                let other = pieces_last[key].0;
                let close = value.zip(other).is_none_or(|(a, b)| (a - b).abs() < 1e-9);
                assert!(close && value.is_some() == other.is_some(), "{key:?} {value:?} {other:?}");
                let asked = pieces.scoring.scores(TENANT, key.0, &key.1, end, Knowledge::Now).await.expect("known");
                let asked = asked.scores.iter().find(|score| score.name == key.2).expect("named").value;
                let close = asked.zip(other).is_none_or(|(a, b)| (a - b).abs() < 1e-9);
                assert!(close, "{key:?} asked {asked:?} fed {other:?}");
            }
            assert_eq!(pieces.live.lag().covered, Position(position + 1));
        });
    }

    /// A scorer restored from the feed writes nothing twice, and what came after the feed's cover is written.
    #[test]
    fn a_restart_neither_doubles_nor_misses(events in events(), cut in 0usize..16) {
        run(async {
            let end = day(31.0);
            let (before, after) = events.split_at(cut.min(events.len()));
            let steady = World::new(Layer1::of([]), Arc::default(), settings(0.0));
            steady.hear(1, end, company()).await;
            steady.hear(2, end, drafts(before)).await;
            steady.live.settle().await;
            let feed = Arc::new(Feed::default());
            feed.changes.write().extend(steady.feed.changes.read().iter().cloned());
            let covers = *steady.feed.covers.read();
            assert_eq!(covers, Position(2));

            let again = World::new(Layer1::of(company().into_iter().chain(drafts(before))), Arc::clone(&feed), settings(0.0));
            again.clock.set(end);
            again.live.restore(memory_of(&feed.changes.read()), covers, covers);
            again.live.watch(&[TENANT.into()], Position(2)).await.expect("loaded");
            let replayed = again.layer.push(Vec::new());
            again.live.changed(Position(2), end, replayed).await.expect("taken");
            again.live.settle().await;
            assert_eq!(feed.changes.read().len(), steady.feed.changes.read().len(), "nothing twice");

            steady.hear(3, end, drafts(after)).await;
            steady.live.settle().await;
            again.hear(3, end, drafts(after)).await;
            again.live.settle().await;
            let (a, b) = (steady.last(), again.last());
            assert_eq!(a.len(), b.len());
            for (key, (value, tier)) in &a {
                let close = value.zip(b[key].0).is_none_or(|(a, b)| (a - b).abs() < 1e-9);
                assert!(close && *tier == b[key].1, "{key:?}");
            }
        });
    }

    /// A scorer restored from a checkpoint is the one that went on: what the checkpoint missed is read again from layer 1
    /// and the feed, and from then on the two write the same.
    #[test]
    fn a_checkpoint_restores_what_was_held(events in events(), cuts in (0usize..16, 0usize..16), bytes in 1usize..4_000) {
        run(async {
            let end = day(31.0);
            let (first, last) = (cuts.0.min(cuts.1), cuts.0.max(cuts.1));
            let [first, last] = [first, last].map(|cut| cut.min(events.len()));
            let steady = World::new(Layer1::of([]), Arc::default(), settings(0.0));
            steady.hear(1, end, company()).await;
            steady.hear(2, end, drafts(&events[..first])).await;
            steady.live.settle().await;
            let mut snapshot = steady.live.snapshot();
            assert_eq!(snapshot.position(), Position(2));
            let fed = steady.feed.changes.read().len();
            let mut held = Held::default();
            let mut parts = vec![snapshot.next_part(bytes).expect("a part")];
            // The rest of the snapshot sees what came after it began.
            steady.hear(3, end, drafts(&events[first..last])).await;
            steady.live.settle().await;
            parts.extend(std::iter::from_fn(|| snapshot.next_part(bytes)));
            for part in &parts {
                held.take(part).expect("whole");
            }
            let (mut memory, directories) = held.open().expect("ended");
            let feed = Arc::new(Feed::default());
            feed.changes.write().extend(steady.feed.changes.read().iter().cloned());
            memory.take(&feed_batch(&feed.changes.read()[fed..]));
            memory.overtaken();

            let layer = Layer1::of(company().into_iter().chain(drafts(&events[..last])));
            let again = World::new(Arc::clone(&layer), Arc::clone(&feed), settings(0.0));
            again.clock.set(end);
            again.scoring.directories().install(directories);
            let mut touched = crate::gather::TouchedKeys::default();
            touched.add(&crate::sample::event_batch(drafts(&events[first..last])));
            touched.refresh(again.scoring.directories(), &*layer).await.expect("read again");
            again.live.restore(memory, Position(3), Position(3));
            again.live.watch(&[TENANT.into()], Position(3)).await.expect("loaded");
            again.live.settle().await;
            assert_eq!(feed.changes.read().len(), steady.feed.changes.read().len(), "nothing twice");

            steady.hear(4, end, drafts(&events[last..])).await;
            steady.live.settle().await;
            again.hear(4, end, drafts(&events[last..])).await;
            again.live.settle().await;
            let (a, b) = (steady.last(), again.last());
            assert_eq!(a.len(), b.len());
            for (key, (value, tier)) in &a {
                let close = value.zip(b[key].0).is_none_or(|(a, b)| (a - b).abs() < 1e-9);
                assert!(close && *tier == b[key].1, "{key:?}");
            }
        });
    }

    /// N-5: with nothing happening, each tier change is written as of the very instant at which it happens.
    #[test]
    fn decay_fires_at_its_instant(events in events()) {
        run(async {
            let world = World::new(Layer1::of([]), Arc::default(), settings(1.0));
            let start = day(31.0);
            world.hear(1, start, company().into_iter().chain(drafts(&events)).collect()).await;
            world.live.settle().await;
            let first = world.feed.changes.read().len();
            let mut now = start;
            for _ in 0..60 {
                now = now.plus_micros(day(5.0).micros() - day(0.0).micros());
                world.clock.set(now);
                world.live.settle().await;
            }
            let changes = world.feed.changes.read()[first..].to_vec();
            for change in &changes {
                assert_eq!(change.cause, Cause::Decay);
                assert!(change.as_of <= now);
            }
            for change in changes.iter().filter(|change| change.score == "engagement") {
                let tier_at = |at| {
                    let scoring = Arc::clone(&world.scoring);
                    let id = change.entity_id.clone();
                    async move {
                        let scores = scoring.scores(TENANT, EntityKind::Contact, &id, at, Knowledge::Now).await;
                        let scores = scores.expect("known").scores;
                        scores.into_iter().find(|score| score.name == "engagement").and_then(|score| score.tier)
                    }
                };
                assert_eq!(tier_at(change.as_of).await, change.new_tier);
                assert_eq!(tier_at(change.as_of.plus_micros(-2)).await, change.old_tier);
            }
            for ((kind, id, score), (_, tier)) in world.last() {
                if score == "engagement" || score == "health" {
                    let asked = world.scoring.scores(TENANT, kind, &id, now, Knowledge::Now).await.expect("known");
                    let asked = asked.scores.iter().find(|held| held.name == score).expect("named").clone();
                    assert_eq!(asked.tier, tier, "{id} {score}");
                }
            }
        });
    }
}

/// After an orderly stop nothing is scored anew, and what time alone does still happens at its instant.
#[test]
fn a_restart_at_rest_scores_nothing_and_keeps_its_timers() {
    run(async {
        let reply = || vec![act("email.replied", "c1", day(1.0))];
        let steady = World::new(Layer1::of([]), Arc::default(), settings(1.0));
        steady.hear(1, day(2.0), company()).await;
        steady.hear(2, day(2.0), reply()).await;
        steady.live.settle().await;
        let mut snapshot = steady.live.snapshot();
        let mut held = Held::default();
        for part in std::iter::from_fn(|| snapshot.next_part(1_000)) {
            held.take(&part).expect("whole");
        }
        let (memory, directories) = held.open().expect("ended");
        let feed = Arc::new(Feed::default());
        feed.changes
            .write()
            .extend(steady.feed.changes.read().iter().cloned());
        let layer = Layer1::of(company().into_iter().chain(reply()));
        let again = World::new(layer, Arc::clone(&feed), settings(1.0));
        again.clock.set(day(2.0));
        again.scoring.directories().install(directories);
        again.live.restore(memory, Position(2), Position(2));
        again
            .live
            .watch(&[TENANT.into()], Position(2))
            .await
            .expect("loaded");
        assert_eq!(again.live.lag().sweeping, 0, "nothing to look at");
        for world in [&steady, &again] {
            world.clock.set(day(400.0));
            world.live.settle().await;
        }
        let changes = |world: &World| {
            let changes = world.feed.changes.read();
            let mut texts: Vec<String> = changes
                .iter()
                .map(|change| {
                    let score = (&change.entity_id, &change.score, &change.new_tier);
                    format!("{score:?} {:?} {:?}", change.as_of, change.cause)
                })
                .collect();
            texts.sort();
            texts
        };
        assert!(
            steady
                .feed
                .changes
                .read()
                .iter()
                .any(|change| change.cause == Cause::Decay)
        );
        assert_eq!(changes(&steady), changes(&again));
    });
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    run(async {
        let world = World::new(Layer1::of([]), Arc::default(), settings(1.0));
        world.hear(1, day(1.0), company()).await;
        world.live.settle().await;
        let mut snapshot = world.live.snapshot();
        let parts: Vec<_> = std::iter::from_fn(|| snapshot.next_part(1)).collect();
        assert!(parts.len() > 2, "{} parts", parts.len());
        let open = |parts: &[Vec<u8>]| {
            let mut held = Held::default();
            parts.iter().try_for_each(|part| held.take(part))?;
            held.open().map(drop)
        };
        assert_eq!(open(&parts), Ok(()));
        let doubled = [&parts[..], &parts[..1]].concat();
        for damaged in [&parts[1..], &parts[..parts.len() - 1], &doubled[..]] {
            open(damaged).expect_err("parts are missing or too many");
        }
        let last = parts.len() - 1;
        for at in 0..parts[last].len() {
            let mut cut = parts.clone();
            cut[last].truncate(at);
            open(&cut).expect_err("cut off");
        }
    });
}

#[test]
fn a_merged_contact_leaves_the_feed() {
    run(async {
        let world = World::new(Layer1::of([]), Arc::default(), settings(1.0));
        let second = crm_event("contact.upserted", "c2", day(0.0), json!({"account_id": "a1"}));
        let reply = act("email.replied", "c2", day(1.0));
        world
            .hear(
                1,
                day(2.0),
                company().into_iter().chain([second, reply]).collect(),
            )
            .await;
        world.live.settle().await;
        assert!(
            world
                .last()
                .contains_key(&(EntityKind::Contact, "c2".into(), "engagement".into()))
        );
        let merge = crm_event("contact.merged", "c2", day(3.0), json!({"into": "c1"}));
        world.hear(2, day(3.0), vec![merge]).await;
        world.live.settle().await;
        let last = world.last();
        assert_eq!(
            last[&(EntityKind::Contact, "c2".into(), "engagement".into())],
            (None, None)
        );
        assert!(
            last[&(EntityKind::Contact, "c1".into(), "engagement".into())]
                .0
                .is_some_and(|value| value > 0.0)
        );
    });
}

#[test]
fn the_population_is_cut_logged_and_read_back() {
    run(async {
        let world = World::new(Layer1::of([]), Arc::default(), settings(1.0));
        let mut drafts = company();
        for n in 0..30 {
            let mut visit = act("page.viewed", &format!("p{n}@acme{}.com", n % 7), day(1.0));
            visit.domain = Some(format!("acme{}.com", n % 7));
            drafts.extend(std::iter::repeat_n(visit, 1 + n % 5));
        }
        world.hear(1, day(2.0), drafts.clone()).await;
        world.live.settle().await;
        let cut = world
            .feed
            .changes
            .read()
            .iter()
            .find(|change| change.score == "cutoffs")
            .cloned();
        let cut = cut.expect("a population of 30 is cut");
        assert_eq!((cut.entity_kind, cut.cause), (EntityKind::Tenant, Cause::Recut));
        let cuts: TenantCuts = serde_json::from_str(&cut.detail).expect("readable");
        assert!(cuts.cut_offs.is_some_and(|cuts| cuts.population >= 20));
        let again = World::new(Layer1::of(drafts), Arc::default(), settings(1.0));
        again
            .live
            .restore(memory_of(&world.feed.changes.read()), Position(1), Position(1));
        let read = TierMemory::cuts(&*again.live, TENANT, Knowledge::Now)
            .await
            .expect("read");
        assert_eq!(read.as_deref(), Some(&cuts));
        let log = crate::service::TierLog::read([&feed_batch(&world.feed.changes.read())], TENANT, day(3.0));
        assert_eq!(log.cuts().as_deref(), Some(&cuts));
    });
}

#[test]
fn a_new_definition_is_its_own_cause() {
    run(async {
        let world = World::new(Layer1::of([]), Arc::default(), settings(1.0));
        world
            .hear(
                1,
                day(2.0),
                company()
                    .into_iter()
                    .chain([act("email.replied", "c1", day(1.0))])
                    .collect(),
            )
            .await;
        world.live.settle().await;
        let before = world.feed.changes.read().len();
        let text = Definitions::shipped_text("engagement")
            .expect("shipped")
            .replacen("saturation = ", "saturation = 3", 1);
        let set = Definitions::shipped().with("engagement", &text).expect("valid");
        world.live.set_definitions(None, Arc::new(set));
        world.live.settle().await;
        let changes = world.feed.changes.read()[before..].to_vec();
        assert!(
            changes
                .iter()
                .any(|change| change.score == "engagement" && change.cause == Cause::Definition),
            "{changes:?}"
        );
    });
}

#[test]
fn an_idle_contact_and_an_idle_deal_fall_tier_by_tier() {
    run(async {
        let world = World::new(Layer1::of([]), Arc::default(), settings(1.0));
        let events = [(3, 0, 30.0), (3, 0, 30.2), (2, 0, 30.5), (2, 0, 30.6)];
        world
            .hear(
                1,
                day(31.0),
                company().into_iter().chain(drafts(&events)).collect(),
            )
            .await;
        world.live.settle().await;
        let first = world.feed.changes.read().len();
        // One long sleep: all crossings in between are still written, each as of its own instant.
        world.clock.set(day(400.0));
        world.live.settle().await;
        let changes = world.feed.changes.read()[first..].to_vec();
        for (kind, score, least) in [
            (EntityKind::Contact, "engagement", 2),
            (EntityKind::Deal, "health", 2),
        ] {
            let falls: Vec<_> = changes
                .iter()
                .filter(|change| (change.entity_kind, &*change.score) == (kind, score))
                .collect();
            assert!(falls.len() >= least, "{score}: {falls:?}");
            assert!(falls.windows(2).all(|pair| pair[0].as_of < pair[1].as_of));
            assert!(falls.windows(2).all(|pair| pair[0].new_tier == pair[1].old_tier));
        }
    });
}

#[test]
fn the_loop_scores_what_it_hears_and_stops() {
    run(async {
        let world = World::new(Layer1::of([]), Arc::default(), settings(1.0));
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(Arc::clone(&world.live).run(stopped));
        world.hear(1, day(2.0), company()).await;
        let heard = async {
            while *world.feed.covers.read() < Position(1) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), heard)
            .await
            .expect("covered in time");
        assert!(!world.feed.changes.read().is_empty());
        let lag = world.live.lag();
        assert_eq!(
            (lag.applied, lag.covered, lag.contacts),
            (Position(1), Position(1), 0)
        );
        stop.send(true).expect("still running");
        timeout(Duration::from_secs(20), running)
            .await
            .expect("stops in time")
            .expect("without panic");
    });
}
