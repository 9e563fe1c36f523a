//! Laws of account scores and the worked examples of ALGORITHMS.md.

use proptest::prelude::*;
use revgauge_contract::{Timestamp, event::MachineClass, invariant::Invariant, score::Score};

use super::*;
use crate::{
    contact::tests::{NOW, days_ago, rows},
    decay::ACCOUNT_HALF_LIVES,
    facts::{ActivityRow, Member},
};

fn signals(event_type: &str, ages: &[f64]) -> Vec<ActivityRow> {
    let times: Vec<Timestamp> = ages.iter().map(|age| days_ago(*age)).collect();
    rows(event_type, MachineClass::None, &times, ACCOUNT_HALF_LIVES)
}

fn member(id: &str, engagement: f64, authority: Option<f64>, heard: Option<f64>) -> Member {
    Member {
        contact_id: id.to_owned(),
        engagement,
        authority,
        last_inbound: heard.map(days_ago),
        two_way: heard.is_some(),
    }
}

fn account(fields: &[(&str, &str)]) -> AccountFacts {
    AccountFacts {
        account_id: "a1".to_owned(),
        fields: fields
            .iter()
            .map(|(field, value)| ((*field).to_owned(), (*value).to_owned()))
            .collect(),
        ..AccountFacts::default()
    }
}

fn scored(facts: &AccountFacts) -> AccountScores {
    score_account(&Definitions::shipped(), facts, NOW, Detail::Full)
}

fn all(scores: &AccountScores) -> [&Score; 5] {
    [
        &scores.intent,
        &scores.fit,
        &scores.engagement,
        &scores.relationship,
        &scores.health,
    ]
}

fn sums(score: &Score) -> bool {
    let sum: f64 = score.contributions.iter().map(|part| part.points).sum();
    Invariant::ContributionsSum.check(
        score.value.is_none_or(|value| (value - sum).abs() < 1e-9),
        &score.name,
    ) && Invariant::ScoreNamesItsMaker.check(
        score.definition.contains('@') && !score.fingerprint.is_empty(),
        &score.name,
    )
}

const TYPES: &[&str] = &[
    "signal.funding",
    "signal.hiring",
    "signal.topic_surge",
    "page.viewed",
    "form.submitted",
    "meeting.attended",
    "email.complained",
    "meeting.no_show",
];

prop_compose! {
    fn any_account()(
        events in proptest::collection::vec((0..TYPES.len(), 0.0..900.0_f64), 0..40),
        members in proptest::collection::vec(
            (0.0..100.0_f64, proptest::option::of(0.0..1.0_f64), proptest::option::of(0.0..300.0_f64)), 0..30),
        industry in proptest::option::of(prop_oneof!["software", "farming", "government"]),
        employees in proptest::option::of(1_u32..100_000),
        status in proptest::option::of(prop_oneof!["competitor", "customer"]),
        enriched in proptest::option::of(0.0..2_000.0_f64),
        deals in (0_usize..4, 0_usize..4, 0_usize..4),
    ) -> AccountFacts {
        let mut facts = account(&[]);
        for (place, name) in TYPES.iter().enumerate() {
            let ages: Vec<f64> = events.iter().filter(|event| event.0 == place).map(|event| event.1).collect();
            facts.signals.extend(signals(name, &ages));
        }
        facts.members = members.iter().enumerate()
            .map(|(place, (engagement, authority, heard))| member(&format!("c{place}"), *engagement, *authority, *heard))
            .collect();
        let mut put = |field: &str, value: Option<String>| {
            if let Some(value) = value {
                facts.fields.insert(field.to_owned(), value);
            }
        };
        put("industry", industry);
        put("employees", employees.map(|n| n.to_string()));
        put("account_status", status);
        put("enriched_at", enriched.map(|days| days_ago(days).to_string()));
        (facts.open_deals, facts.won_deals, facts.lost_deals) = deals;
        facts
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// S-1, and every score within its range.
    #[test]
    fn contributions_sum_to_the_scores(facts in any_account()) {
        let scores = scored(&facts);
        for (score, top) in all(&scores).into_iter().zip([1.0, 1.0, 100.0, 100.0, 100.0]) {
            prop_assert!(sums(score), "{score:?}");
            prop_assert!(score.value.is_none_or(|value| (-1e-12..=top + 1e-9).contains(&value)), "{score:?}");
            let reasoned = score.value.is_none() == score.unscored_because.is_some();
            prop_assert!(Invariant::UnscoredIsNull.check(reasoned, &score.name));
        }
    }

    /// N-5.
    #[test]
    fn intent_only_falls_and_crosses_where_it_says(facts in any_account(), theta in 0.05..0.9_f64) {
        let definitions = Definitions::shipped();
        let value = |at| score_account(&definitions, &facts, at, Detail::Value).intent.value.unwrap_or_default();
        let values: Vec<f64> = (0..60).map(|week| value(days_ago(-7.0 * f64::from(week)))).collect();
        prop_assert!(values.windows(2).all(|pair| pair[1] <= pair[0] + 1e-12), "{values:?}");
        match intent_crossing(&definitions, &facts, theta, NOW) {
            None => prop_assert!(value(NOW) < theta + 1e-9),
            Some(at) => {
                prop_assert!(value(at.plus_micros(2_000)) < theta);
                prop_assert!(value(at.plus_micros(-2_000)) >= theta - 1e-9);
            }
        }
    }

    /// The order of members, fields and rows does not matter.
    #[test]
    fn order_does_not_matter(facts in any_account()) {
        let mut turned = facts.clone();
        turned.members.reverse();
        turned.signals.reverse();
        for (a, b) in all(&scored(&facts)).into_iter().zip(all(&scored(&turned))) {
            prop_assert_eq!(&a.fingerprint, &b.fingerprint);
            prop_assert!((a.value.unwrap_or(-1.0) - b.value.unwrap_or(-1.0)).abs() < 1e-9);
        }
    }
}

/// S-4.
#[test]
fn nothing_known_is_unscored_not_zero() {
    for score in all(&scored(&account(&[]))) {
        assert_eq!(score.value, None, "{}", score.name);
        assert!(score.unscored_because.is_some());
    }
}

#[test]
fn the_champion_roll_up_is_the_worked_one() {
    let mut facts = account(&[]);
    facts.members = [80.0, 50.0, 30.0, 20.0]
        .iter()
        .enumerate()
        .map(|(place, engagement)| member(&format!("c{place}"), *engagement, None, None))
        .collect();
    let value = scored(&facts).engagement.value.expect("scored");
    assert!((value - 61.333_333_333).abs() < 1e-6, "{value}");
}

#[test]
fn the_other_roll_ups_hold() {
    let shipped = Definitions::shipped();
    let text = Definitions::shipped_text("account_engagement").expect("there");
    let with = |policy: &str| {
        let text = text.replace("policy = \"champion\"", &format!("policy = \"{policy}\""));
        shipped.with("account_engagement", &text).expect("valid")
    };
    let mut facts = account(&[]);
    facts.members = vec![
        member("a", 80.0, Some(1.0), None),
        member("b", 40.0, Some(0.0), None),
    ];
    let value = |policy: &str| {
        score_account(&with(policy), &facts, NOW, Detail::Full)
            .engagement
            .value
            .expect("scored")
    };
    assert!((value("max_breadth") - (0.7 * 80.0 + 0.3 * 100.0 * 2.0 / 5.0)).abs() < 1e-9);
    assert!((value("seniority_weighted") - (80.0 + 0.25 * 40.0) / 1.25).abs() < 1e-9);
}

#[test]
fn fit_is_judged_by_what_is_known() {
    let full = scored(&account(&[
        ("industry", "Computer Software"),
        ("employees", "1,200"),
        ("annual_revenue", "$80M"),
        ("country", "Germany"),
        ("tech:salesforce", "true"),
        ("growth", "0.3"),
    ]))
    .fit;
    assert_eq!(full.value, Some(1.0));
    assert_eq!(full.facts["completeness"], 1.0);
    let some = scored(&account(&[("industry", "Government"), ("employees", "60")])).fit;
    assert!((some.value.expect("scored") - (30.0 * 0.15 + 25.0 * 0.7) / 55.0).abs() < 1e-12);
    assert_eq!(some.facts["completeness"], 0.55);
    let excluded = scored(&account(&[
        ("industry", "software"),
        ("account_status", "Competitor"),
    ]))
    .fit;
    assert_eq!(excluded.value, Some(0.0));
    let unreadable = scored(&account(&[("employees", "many")])).fit;
    assert_eq!(unreadable.value, None, "no number is no knowledge");
}

#[test]
fn old_firmographics_lose_certainty() {
    let year_ago = days_ago(365.0).to_string();
    let fit = scored(&account(&[("industry", "software"), ("enriched_at", &year_ago)])).fit;
    assert!((fit.value.expect("scored") - (0.5 + 0.25)).abs() < 1e-9);
    assert!(fit.contributions.iter().any(|part| part.factor == "staleness"));
}

#[test]
fn acceleration_is_a_surge_and_habit_is_none() {
    let surge = |ages: &[f64]| {
        let mut facts = account(&[]);
        facts.signals = signals("page.viewed", ages);
        scored(&facts).intent.facts["surge"].as_f64().expect("number")
    };
    let habit: Vec<f64> = (0..120).map(|place| 3.0 * f64::from(place)).collect();
    assert!(surge(&habit) < 0.05, "{}", surge(&habit));
    let mut burst = habit.clone();
    burst.extend((0..20).map(|place| 0.2 * f64::from(place)));
    assert!(surge(&burst) > 0.9, "{}", surge(&burst));
    assert_eq!(surge(&[0.5, 1.0]), 0.0, "two events are no surge");
}

#[test]
fn more_recent_senior_two_way_contacts_are_a_stronger_relationship() {
    let strength = |members: Vec<Member>| {
        let facts = AccountFacts {
            members,
            ..account(&[])
        };
        scored(&facts).relationship.value.expect("scored")
    };
    let one = strength(vec![member("a", 50.0, Some(0.5), Some(10.0))]);
    let senior = strength(vec![member("a", 50.0, Some(0.9), Some(10.0))]);
    let stale = strength(vec![member("a", 50.0, Some(0.5), Some(100.0))]);
    let broad = strength(vec![
        member("a", 50.0, Some(0.5), Some(10.0)),
        member("b", 5.0, None, Some(20.0)),
    ]);
    let one_way = strength(vec![Member {
        two_way: false,
        ..member("a", 50.0, Some(0.5), Some(10.0))
    }]);
    assert!(stale < one && one < senior && one < broad && one_way < one);
}

#[test]
fn complaints_cost_health_and_fade() {
    let mut facts = account(&[]);
    facts.members = vec![member("a", 70.0, Some(0.9), Some(1.0))];
    facts.won_deals = 1;
    let calm = scored(&facts).health.value.expect("scored");
    facts.signals = signals("email.complained", &[0.0]);
    let angry = scored(&facts).health.value.expect("scored");
    facts.signals = signals("email.complained", &[60.0]);
    let later = scored(&facts).health.value.expect("scored");
    assert!(
        (calm - angry - 15.0).abs() < 1e-6 && (calm - later - 7.5).abs() < 1e-6,
        "{calm} {angry} {later}"
    );
}
