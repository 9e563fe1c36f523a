//! Laws of kept rows: each is what scoring gives at the instant it names, and what an event touches is made again.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use proptest::prelude::*;
use revgauge_contract::{
    Clock, Position,
    event::EventDraft,
    feed::FeedSink,
    schema::text_column,
    score::{ScoreRows, ScoreService, scores_table},
    statistics::{Knowledge, StatisticsListener, StatisticsSource},
    time::ManualClock,
};
use serde_json::json;

use super::*;
use crate::{
    Definitions,
    live::{LiveScorer, LiveSettings},
    sample::{Feed, Layer1, TENANT, act, crm_event, day},
    service::{Memories, Scoring, ScoringSettings, TierMemory},
};

struct World {
    layer: Arc<Layer1>,
    clock: Arc<ManualClock>,
    scoring: Arc<Scoring>,
    live: Arc<LiveScorer>,
}

impl World {
    fn new(kept: KeptSettings) -> Self {
        let layer = Arc::new(Layer1::default());
        let clock = Arc::new(ManualClock::at(day(0.0)));
        let source: Arc<dyn StatisticsSource> = Arc::<Layer1>::clone(&layer);
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let settings = ScoringSettings {
            kept,
            ..ScoringSettings::default()
        };
        let definitions = Arc::new(Definitions::shipped());
        let scoring = Arc::new(Scoring::new(source, definitions, Arc::clone(&shared), settings));
        let sink: Arc<dyn FeedSink> = Arc::new(Feed::default());
        let live = LiveScorer::new(Arc::clone(&scoring), sink, LiveSettings::default(), shared);
        let memory: Arc<dyn TierMemory> = Arc::<LiveScorer>::clone(&live);
        scoring.set_memories(Memories {
            live: Some(memory),
            past: None,
        });
        Self {
            layer,
            clock,
            scoring,
            live,
        }
    }

    async fn hear(&self, position: u64, days: f64, drafts: Vec<EventDraft>) {
        self.clock.set(day(days));
        let changed = self.layer.push(drafts);
        self.live
            .changed(Position(position), day(days), changed)
            .await
            .expect("taken");
    }

    async fn rows(&self, kind: EntityKind, asked: &ScoreRows) -> BTreeMap<(String, String), Told> {
        let now = self.clock.now();
        let batches = self.scoring.table(TENANT, kind, asked, now, Knowledge::Now).await;
        told(&batches.expect("rows"))
    }
}

/// Value, tier, reason for none, account, owner and instant of a score.
type Told = (Option<f64>, Vec<Option<String>>, i64);

fn told(batches: &[RecordBatch]) -> BTreeMap<(String, String), Told> {
    let mut rows = BTreeMap::new();
    for batch in batches {
        let text = |name, row| {
            let column = text_column(batch, name).expect("a column");
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let values = batch["value"].as_primitive::<Float64Type>();
        let times = batch["as_of"].as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let texts = ["tier", "unscored_because", "account_id", "owner_id", "definition"];
            let key = (
                text("entity_id", row).expect("an id"),
                text("score", row).expect("a name"),
            );
            let value = values.is_valid(row).then(|| values.value(row));
            rows.insert(
                key,
                (value, texts.map(|name| text(name, row)).into(), times.value(row)),
            );
        }
    }
    rows
}

fn without_explanations() -> ScoreRows {
    let columns = scores_table();
    let columns = columns.fields().iter().map(|field| field.name().clone());
    ScoreRows {
        columns: Some(
            columns
                .filter(|name| !upkeep::NOT_KEPT.contains(&name.as_str()))
                .collect(),
        ),
        ..ScoreRows::all()
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}

/// What may happen to two companies, their people and deals.
fn draft(kind: usize, who: usize, at: Timestamp) -> EventDraft {
    let (contact, account, deal) = (
        format!("c{}", who % 3),
        format!("a{}", who % 2),
        format!("d{}", who % 2),
    );
    match kind {
        0 => crm_event(
            "account.upserted",
            &account,
            at,
            json!({"name": "Acme", "industry": (["software", "farming"][who % 2]), "employees": 100 * (who + 1)}),
        ),
        1 => crm_event(
            "contact.upserted",
            &contact,
            at,
            json!({"title": (["VP Sales", "Clerk"][who % 2]), "account_id": account, "owner_id": format!("u{}", who % 2)}),
        ),
        2 => crm_event(
            "deal.upserted",
            &deal,
            at,
            json!({"account_id": account, "contact_id": contact, "stage": (["Discovery", "Proposal", "Closed Won"][who % 3]), "amount": 10 * who}),
        ),
        3 => crm_event(
            "contact.merged",
            &contact,
            at,
            json!({"merged_into": format!("c{}", (who + 1) % 3)}),
        ),
        4 => crm_event("deal.deleted", &deal, at, json!({})),
        5 => crm_event("account.merged", "a1", at, json!({"merged_into": "a0"})),
        kind => {
            let types = [
                "email.replied",
                "email.sent",
                "page.viewed",
                "meeting.attended",
                "call.completed",
            ];
            let mut draft = act(types[kind % types.len()], &contact, at);
            draft.account_id = Some(account);
            draft.deal_id = who.is_multiple_of(2).then_some(deal);
            draft
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// After any events, heard one by one, with the live scorer working or not, what a question gives is what scoring
    /// anew gives now; and a row that no event touched and that is not old is kept, not made again.
    #[test]
    fn kept_rows_are_what_scoring_anew_gives(
        events in prop::collection::vec((0usize..11, 0usize..6, 0.01f64..3.0, any::<bool>()), 1..25),
    ) {
        run(async {
            let world = World::new(KeptSettings { fresh_ms: 0, ..KeptSettings::default() });
            let mut now = 0.0;
            for (place, (kind, who, days, settles)) in events.iter().enumerate() {
                now += days;
                world.hear(place as u64 + 1, now, vec![draft(*kind, *who, day(now))]).await;
                if *settles {
                    world.live.settle().await;
                }
                if place == events.len() / 2 {
                    world.scoring.fill_kept_rows().await;
                }
            }
            world.scoring.fill_kept_rows().await;
            world.clock.set(day(now + 0.5));
            for kind in KINDS {
                let kept = world.rows(kind, &without_explanations()).await;
                let anew = world.rows(kind, &ScoreRows::all()).await;
                prop_assert_eq!(kept, anew, "{:?}", kind);
            }
            let mut alerts = world.scoring.alerts(TENANT, None, world.clock.now(), Knowledge::Now).await.expect("alerts");
            let ids: BTreeSet<String> = world.scoring.directories().loaded(TENANT)
                .map(|directory| directory.read().ids(EntityKind::Deal).iter().map(ToString::to_string).collect())
                .unwrap_or_default();
            let ids: Vec<String> = ids.into_iter().collect();
            let mut anew = world.scoring.alerts_at(TENANT, Some(&ids), world.clock.now(), Knowledge::Now).await.expect("alerts");
            for alerts in [&mut alerts, &mut anew] {
                alerts.sort_by(|a, b| (&a.entity_id, &a.rule).cmp(&(&b.entity_id, &b.rule)));
            }
            prop_assert_eq!(alerts, anew);
            Ok(())
        })?;
    }

    /// Time stands still, so only marks make rows again: what an event touches is told by them alone, records too.
    #[test]
    fn what_an_event_touches_is_marked(
        events in prop::collection::vec((0usize..11, 0usize..6), 1..25),
    ) {
        run(async {
            let world = World::new(KeptSettings::default());
            let mut records: BTreeMap<(EntityKind, String), serde_json::Value> = BTreeMap::new();
            let mut revisions = BTreeMap::from(KINDS.map(|kind| (kind, 0)));
            for (place, (kind, who)) in events.iter().enumerate() {
                world.hear(place as u64 + 1, 1.0, vec![draft(*kind, *who, day(1.0))]).await;
                world.scoring.fill_kept_rows().await;
                for kind in KINDS {
                    let kept = world.rows(kind, &without_explanations()).await;
                    let anew = world.rows(kind, &ScoreRows::all()).await;
                    prop_assert_eq!(kept, anew, "{:?} after {:?}", kind, &events[..=place]);
                    let changes = world.scoring.changed_since(TENANT, kind, revisions[&kind]).await.expect("changes").expect("followed");
                    revisions.insert(kind, changes.revision);
                    for id in &changes.ids {
                        records.remove(&(kind, id.clone()));
                    }
                    let name = format!("{}_id", kind.as_str());
                    for record in world.scoring.own_records(TENANT, kind, Some(&changes.ids)).await.expect("records") {
                        let id = record[&name].as_str().expect("an id").to_owned();
                        records.insert((kind, id), record);
                    }
                    let all: BTreeMap<String, serde_json::Value> = world.scoring.own_records(TENANT, kind, None).await.expect("records")
                        .into_iter().map(|record| (record[&name].as_str().expect("an id").to_owned(), record)).collect();
                    let held: BTreeMap<String, serde_json::Value> = records.iter()
                        .filter(|((of, _), _)| *of == kind)
                        .map(|((_, id), record)| (id.clone(), record.clone())).collect();
                    prop_assert_eq!(held, all, "{:?} after {:?}", kind, &events[..=place]);
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn a_kept_row_names_its_instant_and_is_renewed_when_old() {
    run(async {
        let world = World::new(KeptSettings {
            rows_at_once: 0,
            ..KeptSettings::default()
        });
        let drafts = (0..3).map(|kind| draft(kind, 0, day(0.0))).collect();
        world.hear(1, 0.0, drafts).await;
        world
            .hear(2, 0.5, vec![act("email.replied", "c0", day(0.5))])
            .await;
        world.scoring.fill_kept_rows().await;
        world.clock.set(day(1.0));
        let asked = without_explanations();
        let engagement = ("c0".to_owned(), "engagement".to_owned());
        let old = world.rows(EntityKind::Contact, &asked).await[&engagement].clone();
        assert_eq!(old.2, day(0.5).micros(), "no question may make rows again here");
        let then = world
            .scoring
            .table(
                TENANT,
                EntityKind::Contact,
                &ScoreRows::all(),
                day(0.5),
                Knowledge::Now,
            )
            .await
            .expect("rows");
        assert_eq!(told(&then)[&engagement], old);
        // The background round brings it to now.
        let (worked, _) = world.scoring.upkeep().await;
        assert!(worked);
        let new = world.rows(EntityKind::Contact, &asked).await[&engagement].clone();
        assert_eq!(new.2, day(1.0).micros());
        assert!(new.0 < old.0, "decay goes on");
        assert_eq!(world.scoring.upkeep().await, (false, false));
    });
}

#[test]
fn questions_about_many_wait_for_the_first_rows_and_are_told_how_far_they_are() {
    let world = World::new(KeptSettings {
        first_step_rows: 1,
        computed_entities: 2,
        first_wait_ms: 200,
        ..KeptSettings::default()
    });
    run(async {
        let drafts = (0..3).map(|who| draft(1, who, day(0.0))).collect();
        world.hear(1, 0.0, drafts).await;
        world.scoring.upkeep().await;
        let (asked, now) = (without_explanations(), world.clock.now());
        let answer = world
            .scoring
            .table(TENANT, EntityKind::Contact, &asked, now, Knowledge::Now);
        let failure = answer.await.expect_err("one row of three is there");
        assert_eq!(failure.kind, revgauge_contract::ErrorKind::Limit);
        assert!(failure.message.contains("scores of 3 contacts"), "{failure}");
        assert!(failure.message.contains("2 are left"), "{failure}");
        let (rows, ()) = tokio::join!(
            world.rows(EntityKind::Contact, &asked),
            world.scoring.fill_kept_rows()
        );
        let ids: BTreeSet<&String> = rows.keys().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), 3, "{rows:?}");
    });
}
