//! Laws of the service: as-of equals replay, merged equals always-one, explanations sum.

use std::sync::Arc;

use proptest::prelude::*;
use revgauge_contract::{
    Timestamp,
    event::EventDraft,
    models::{DriftAlarm, DriftRule},
    score::{EntityKind, EntityScores, ScoreRows, ScoreService, scores_table},
    statistics::Knowledge,
    time::ManualClock,
};
use serde_json::json;

use super::*;
use crate::{
    sample::{Layer1, TENANT, act, crm_event, day},
    win::{NaiveBayes, WinModel},
};

fn scoring(layer: &Arc<Layer1>) -> Scoring {
    let clock = Arc::new(ManualClock::at(day(1_000.0)));
    let source: Arc<dyn StatisticsSource> = Arc::<Layer1>::clone(layer);
    Scoring::new(
        source,
        Arc::new(Definitions::shipped()),
        clock,
        ScoringSettings::default(),
    )
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}

const TYPES: [&str; 8] = [
    "email.opened",
    "email.clicked",
    "email.replied",
    "email.sent",
    "meeting.attended",
    "page.viewed",
    "form.submitted",
    "email.unsubscribed",
];

/// Events of two contacts, the second of whom is known by address, at one company.
fn events() -> impl Strategy<Value = Vec<(usize, bool, f64)>> {
    prop::collection::vec((0..TYPES.len(), any::<bool>(), 0.0..400.0f64), 1..25)
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
            json!({"account_id": "a1", "contact_id": "c1", "stage": "Discovery", "amount": 1000, "close_date": "2026-06-01"}),
        ),
        crm_event(
            "deal.upserted",
            "d1",
            day(30.0),
            json!({"stage": "Proposal", "close_date": "2026-08-01"}),
        ),
    ]
}

fn drafts(events: &[(usize, bool, f64)], second: &str) -> Vec<EventDraft> {
    events
        .iter()
        .map(|(kind, first, days)| {
            let mut draft = act(TYPES[*kind], if *first { "c1" } else { second }, day(*days));
            draft.account_id = Some("a1".to_owned());
            if kind % 2 == 0 {
                draft.deal_id = Some("d1".to_owned());
            }
            draft
        })
        .collect()
}

const ENTITIES: [(EntityKind, &str); 3] = [
    (EntityKind::Contact, "c1"),
    (EntityKind::Account, "a1"),
    (EntityKind::Deal, "d1"),
];

async fn all_scores(scoring: &Scoring, at: Timestamp, knowledge: Knowledge) -> Vec<EntityScores> {
    let mut all = Vec::new();
    for (kind, id) in ENTITIES {
        if let Ok(scores) = scoring.scores(TENANT, kind, id, at, knowledge).await {
            all.push(scores);
        }
    }
    all
}

fn assert_same(a: &[EntityScores], b: &[EntityScores]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert_eq!((&a.entity_id, a.scores.len()), (&b.entity_id, b.scores.len()));
        for (a, b) in a.scores.iter().zip(&b.scores) {
            let close = match (a.value, b.value) {
                (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(1.0),
                (a, b) => a == b,
            };
            assert!(close && a.tier == b.tier, "{}: {:?} {:?}", a.name, a, b);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// S-3: scores as of t equal those of a world that holds only what was known at t.
    #[test]
    fn as_of_equals_replay(events in events(), days in 1.0..400.0f64) {
        run(async {
            let mut drafts = drafts(&events, "joe@acme.io");
            drafts.extend(company());
            let then = day(days);
            let known = drafts.iter().filter(|draft| draft.event_time <= Some(then)).cloned();
            let replay = scoring(&Layer1::of(known));
            let whole = scoring(&Layer1::of(drafts));
            assert_same(
                &all_scores(&whole, then, Knowledge::At(then)).await,
                &all_scores(&replay, then, Knowledge::Now).await,
            );
        });
    }

    /// N-22: two contacts merged score as if they had always been one; unmerged, as if never merged.
    #[test]
    fn merged_equals_always_one(events in events()) {
        run(async {
            let at = day(410.0);
            let merge = |days: f64, into: Value| crm_event("contact.merged", "c2", day(days), json!({"into": into}));
            let second = crm_event("contact.upserted", "c2", day(0.0), json!({"account_id": "a1"}));
            let one = scoring(&Layer1::of(drafts(&events, "c1").into_iter().chain(company())));
            let mut two = drafts(&events, "c2");
            two.extend(company());
            two.push(second);
            let apart = scoring(&Layer1::of(two.clone()));
            two.push(merge(405.0, json!("c1")));
            let merged = scoring(&Layer1::of(two.clone()));
            assert_same(
                &all_scores(&merged, at, Knowledge::Now).await,
                &all_scores(&one, at, Knowledge::Now).await,
            );
            two.push(merge(406.0, Value::Null));
            let unmerged = scoring(&Layer1::of(two));
            assert_same(
                &all_scores(&unmerged, at, Knowledge::Now).await,
                &all_scores(&apart, at, Knowledge::Now).await,
            );
        });
    }

    /// S-1: contributions, their split by events, and change explanations all sum.
    #[test]
    fn explanations_sum(events in events(), from in 1.0..300.0f64, span in 0.0..200.0f64) {
        run(async {
            let mut drafts = drafts(&events, "joe@acme.io");
            drafts.extend(company());
            let scoring = scoring(&Layer1::of(drafts));
            let (from, to) = (day(from), day(from + span));
            for (kind, id) in ENTITIES {
                let explained = scoring.explain(TENANT, kind, id, to, Knowledge::At(to)).await.expect("known");
                for score in &explained.scores {
                    let sum: f64 = score.contributions.iter().map(|part| part.points).sum();
                    assert!((sum - score.value.unwrap_or(0.0)).abs() < 1e-9, "{score:?}");
                }
                let old = scoring.scores(TENANT, kind, id, from, Knowledge::At(from)).await.expect("known");
                let new = scoring.scores(TENANT, kind, id, to, Knowledge::At(to)).await.expect("known");
                for change in scoring.explain_change(TENANT, kind, id, from, to).await.expect("known") {
                    let of = |scores: &EntityScores| {
                        scores.scores.iter().find(|score| score.name == change.name).and_then(|score| score.value)
                    };
                    assert_eq!((change.old_value, change.new_value), (of(&old), of(&new)), "{}", change.name);
                    let sum: f64 = change.parts.iter().map(|part| part.points).sum();
                    let delta = change.new_value.unwrap_or(0.0) - change.old_value.unwrap_or(0.0);
                    assert!((sum - delta).abs() < 1e-9, "{change:?}");
                }
            }
        });
    }
}

#[test]
fn decay_is_its_own_part_and_so_is_a_definition() {
    run(async {
        let mut drafts = company();
        drafts.push(act("email.replied", "c1", day(10.0)));
        let scoring = scoring(&Layer1::of(drafts));
        let parts = |changes: Vec<ChangeExplanation>| -> Vec<String> {
            let change = changes
                .into_iter()
                .find(|change| change.name == "engagement")
                .expect("scored");
            change.parts.into_iter().map(|part| part.factor).collect()
        };
        let explain =
            || scoring.explain_change(TENANT, EntityKind::Contact, "jo@acme.io", day(11.0), day(40.0));
        assert_eq!(parts(explain().await.expect("known")), ["decay"]);
        let text = Definitions::shipped_text("engagement").expect("shipped");
        let dearer = text.replacen("saturation = ", "saturation = 2", 1);
        let set = Definitions::shipped()
            .with("engagement", &dearer)
            .expect("still valid");
        scoring.set_definitions(Some(TENANT), day(20.0), Arc::new(set));
        let named = parts(explain().await.expect("known"));
        assert!(
            named.contains(&"decay".to_owned()) && named.contains(&"definition".to_owned()),
            "{named:?}"
        );
    });
}

#[test]
fn tables_objects_alerts_and_keys_agree_with_single_answers() {
    run(async {
        let mut drafts = company();
        drafts.push(act("email.replied", "stranger@nowhere.com", day(10.0)));
        drafts.push(act("email.replied", "jo@acme.io", day(10.0)));
        let scoring = scoring(&Layer1::of(drafts));
        let at = day(60.0);
        let table = scoring
            .table(TENANT, EntityKind::Contact, &ScoreRows::all(), at, Knowledge::Now)
            .await
            .expect("a table");
        assert_eq!(table[0].schema(), scores_table());
        let rows: usize = table.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, 2 * 4, "two contacts with four scores each");
        let past = scoring
            .table(TENANT, EntityKind::Deal, &ScoreRows::all(), at, Knowledge::At(at))
            .await
            .expect("a table");
        assert_eq!(past.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
        let objects = scoring
            .objects(TENANT, EntityKind::Contact, None, Knowledge::Now)
            .await
            .expect("objects");
        let stranger = objects
            .iter()
            .find(|object| object["contact_id"] == "stranger@nowhere.com")
            .expect("listed");
        assert_eq!(
            (&stranger["provisional"], &stranger["account_id"]),
            (&json!(true), &json!("nowhere.com"))
        );
        let deals = scoring
            .objects(TENANT, EntityKind::Deal, None, Knowledge::Now)
            .await
            .expect("objects");
        assert_eq!(
            (&deals[0]["slips"], &deals[0]["amount"]),
            (&json!(1), &json!(1000.0))
        );
        assert_eq!(deals[0]["contacts"][0]["contact_id"], "c1");
        let keys = scoring
            .keys(TENANT, EntityKind::Contact, "jo@acme.io", Knowledge::Now)
            .await
            .expect("keys");
        assert_eq!(keys, ["c1", "jo@acme.io"]);
        let alerts = scoring
            .alerts(TENANT, None, at, Knowledge::Now)
            .await
            .expect("alerts");
        assert!(
            alerts
                .iter()
                .any(|alert| alert.rule == "no_follow_up" && alert.since == Some(day(17.0))),
            "{alerts:?}"
        );
        let missing = scoring
            .scores(TENANT, EntityKind::Contact, "nobody", at, Knowledge::Now)
            .await;
        assert_eq!(missing.expect_err("unknown").kind, ErrorKind::NotFound);
    });
}

#[test]
fn drift_of_the_serving_model_stands_among_the_alerts_while_that_version_serves() {
    run(async {
        let scoring = scoring(&Layer1::of(company()));
        let served = |version| Served {
            version,
            sha256: "ab".into(),
            model: Arc::new(WinModel {
                artifact: None,
                cold: NaiveBayes::default(),
                hazard: None,
            }),
            shadow: None,
        };
        let alarm = |rule, message: &str| DriftAlarm {
            rule,
            message: message.to_owned(),
        };
        let moved = alarm(DriftRule::ModelPopulation, "the column amount has moved");
        let wrong = alarm(DriftRule::ModelCalibration, "outcomes miss the probabilities");
        let look = |at, alarms| DriftLook {
            target: ModelTarget::Deals,
            at,
            version: 1,
            alarms,
        };
        let found = async |knowledge| -> Vec<(String, String, Option<Timestamp>)> {
            let alerts = scoring
                .alerts(TENANT, None, day(60.0), knowledge)
                .await
                .expect("alerts");
            let of_tenant = alerts
                .into_iter()
                .filter(|alert| alert.entity_kind == EntityKind::Tenant);
            of_tenant
                .map(|alert| (alert.rule, alert.severity, alert.since))
                .collect()
        };
        let told = |rule: &str, severity: &str, since| (rule.to_owned(), severity.to_owned(), Some(since));
        scoring.set_drift(TENANT, look(day(10.0), vec![moved.clone()]));
        assert!(found(Knowledge::Now).await.is_empty(), "no model serves");
        scoring.set_models(TENANT, ModelTarget::Deals, vec![(day(0.0), Some(served(1)))]);
        scoring.set_drift(TENANT, look(day(20.0), vec![moved, wrong]));
        let population = told("model_population", "medium", day(10.0));
        let calibration = told("model_calibration", "high", day(20.0));
        assert_eq!(found(Knowledge::Now).await, [calibration, population.clone()]);
        assert_eq!(found(Knowledge::At(day(15.0))).await, [population]);
        scoring.set_drift(TENANT, look(day(30.0), Vec::new()));
        assert!(
            found(Knowledge::Now).await.is_empty(),
            "the newest look found nothing"
        );
        scoring.set_drift(
            TENANT,
            look(day(40.0), vec![alarm(DriftRule::ModelPopulation, "again")]),
        );
        let again = told("model_population", "medium", day(40.0));
        assert_eq!(found(Knowledge::Now).await, [again]);
        scoring.set_models(TENANT, ModelTarget::Deals, vec![(day(50.0), Some(served(2)))]);
        assert!(found(Knowledge::Now).await.is_empty(), "another version serves");
    });
}
