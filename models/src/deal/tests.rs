//! Laws of deal health, and a deal whose every number is known.

use std::collections::BTreeMap;

use proptest::prelude::*;
use revgauge_contract::{Timestamp, crm::order_key, event::MachineClass, time::DAY_US};

use super::*;
use crate::{
    Definitions, Detail,
    definitions::deal_health::{DEAL_RULES, TEXT_RULES},
    directory::{Outcome, StageCatalogue},
    facts::{ActivityRow, Fields},
    sample::day,
    text::DealText,
};

fn history(changes: &[(&str, f64, Option<&str>)]) -> DealHistory {
    let mut fields: BTreeMap<String, Vec<FieldValue>> = BTreeMap::new();
    for (field, days, value) in changes {
        fields.entry((*field).to_owned()).or_default().push(FieldValue {
            order_key: order_key(None, day(*days).micros()),
            value: value.map(str::to_owned),
        });
    }
    DealHistory::fold(fields, &StageCatalogue::default())
}

fn row(event_type: &str, last: f64, value_max: Option<f64>) -> ActivityRow {
    ActivityRow {
        event_type: event_type.into(),
        direction: None,
        machine_class: MachineClass::None,
        era: 0,
        n: 1,
        sums: Vec::new(),
        value_sum: 0.0,
        value_max,
        first_time: day(last),
        last_time: day(last),
    }
}

fn open(history: DealHistory, activity: Vec<ActivityRow>, contacts: Vec<DealContact>) -> DealFacts {
    DealFacts {
        deal_id: "d1".to_owned(),
        account_id: None,
        fields: Fields::new(),
        outcome: Outcome::Open,
        history,
        activity,
        contacts,
        stage_median: None,
        texts: Vec::new(),
        findings: crate::text::TextFindings::default(),
    }
}

fn answered(id: &str, days: f64, authority: f64) -> DealContact {
    DealContact {
        contact_id: id.to_owned(),
        authority: Some(authority),
        last_answer: Some(day(days)),
        last_contact: Some(day(days)),
        two_way: true,
        ..DealContact::default()
    }
}

fn deals() -> impl Strategy<Value = DealFacts> {
    let types = prop_oneof![
        Just("email.sent"),
        Just("email.replied"),
        Just("meeting.attended"),
        Just("page.viewed")
    ];
    let rows = prop::collection::vec((types, 0.0..200.0f64), 0..6);
    let people = prop::collection::vec((0.0..200.0f64, 0.0..1.0f64), 0..4);
    let closes = prop::collection::vec((0.0..150.0f64, 0u32..300), 0..5);
    (rows, people, closes, 0.0..100.0f64).prop_map(|(rows, people, closes, stage)| {
        let closes: Vec<(f64, String)> = closes
            .into_iter()
            .map(|(at, close)| (at, day(f64::from(close)).to_string()))
            .collect();
        let mut changes = vec![
            ("stage", 0.0, Some("Discovery")),
            ("stage", stage, Some("Proposal")),
        ];
        changes.extend(
            closes
                .iter()
                .map(|(at, close)| ("close_date", *at, Some(close.as_str()))),
        );
        let rows = rows
            .into_iter()
            .map(|(name, last)| row(name, last, None))
            .collect();
        let people = people
            .into_iter()
            .enumerate()
            .map(|(n, (last, authority))| answered(&format!("c{n}"), last, authority))
            .collect();
        open(history(&changes), rows, people)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// S-1, the range of AC-01, and that time alone only lowers health once the last fact is past.
    #[test]
    fn parts_sum_and_time_only_lowers(deal in deals(), early in 300.0..400.0f64, later in 0.0..300.0f64) {
        let definitions = Definitions::shipped();
        let at = day(early);
        let score = score_deal(&definitions, &deal, at, None, Detail::Full);
        let value = score.value.expect("open");
        let sum: f64 = score.contributions.iter().map(|part| part.points).sum();
        prop_assert!((sum - value).abs() < 1e-9, "{} {}", sum, value);
        prop_assert!((1.0..=100.0).contains(&value));
        let next = score_deal(&definitions, &deal, day(early + later), None, Detail::Value);
        prop_assert!(next.value.expect("open") <= value + 1e-9);
    }

    /// The band changes at the computed instant and not a microsecond earlier (N-5).
    #[test]
    fn the_crossing_is_exact(deal in deals()) {
        let definitions = Definitions::shipped();
        let at = day(201.0);
        let tier = score_deal(&definitions, &deal, at, None, Detail::Value).tier;
        let of = |then: Timestamp| score_deal(&definitions, &deal, then, tier.as_deref(), Detail::Value).tier;
        match deal_crossing(&definitions, &deal, at, tier.as_deref()) {
            Some(then) => {
                prop_assert_ne!(of(then), tier.clone());
                prop_assert_eq!(of(then.plus_micros(-2)), tier.clone());
            }
            None => prop_assert_eq!(of(at.plus_micros(10_000 * DAY_US)), tier.clone()),
        }
    }

    /// An alert says since when: just before that instant it does not hold.
    #[test]
    fn alerts_know_when_they_began(deal in deals(), days in 201.0..400.0f64) {
        let definitions = Definitions::shipped();
        for alert in deal_alerts(&definitions, &deal, day(days)) {
            prop_assert!(!alert.advice.is_empty() && !alert.message.is_empty());
            let Some(since) = alert.since else { continue };
            prop_assert!(since <= day(days), "{} since {}", alert.rule, since);
            if since > day(200.0) {
                let before = deal_alerts(&definitions, &deal, since.plus_micros(-2));
                prop_assert!(!before.iter().any(|held| held.rule == alert.rule), "{}", alert.rule);
                let then = deal_alerts(&definitions, &deal, since);
                prop_assert!(then.iter().any(|held| held.rule == alert.rule), "{}", alert.rule);
            }
        }
    }

    /// The history is a function of the set of changes.
    #[test]
    fn history_is_order_free(changes in prop::collection::vec((0u32..9, prop::option::of("[ab]")), 1..12)) {
        let of = |changes: &[(u32, Option<String>)]| {
            let changes: Vec<_> =
                changes.iter().map(|(at, value)| ("stage", f64::from(*at), value.as_deref())).collect();
            history(&changes)
        };
        let mut reversed = changes.clone();
        reversed.reverse();
        prop_assert_eq!(of(&changes), of(&reversed));
    }
}

#[test]
fn a_healthy_deal_has_no_warnings() {
    let meeting = day(12.0).seconds_f64();
    let rows = vec![
        row("email.replied", 9.5, None),
        row("meeting.scheduled", 9.0, Some(meeting)),
    ];
    let people = vec![answered("c1", 9.5, 0.9), answered("c2", 9.0, 0.4)];
    let deal = open(history(&[("stage", 5.0, Some("Proposal"))]), rows, people);
    let score = score_deal(&Definitions::shipped(), &deal, day(10.0), None, Detail::Full);
    assert_eq!(score.value, Some(100.0), "{:?}", score.contributions);
    assert_eq!(score.tier.as_deref(), Some("healthy"));
}

#[test]
fn each_warning_is_found_by_its_rule() {
    let close = day(20.0).to_string();
    let later = day(30.0).to_string();
    let changes = [
        ("stage", 0.0, Some("Proposal")),
        ("close_date", 0.0, Some(close.as_str())),
        ("close_date", 1.0, Some(later.as_str())),
        ("close_date", 2.0, Some(close.as_str())),
        ("close_date", 3.0, Some(later.as_str())),
    ];
    let rows = vec![row("email.sent", 25.0, None), row("email.replied", 4.0, None)];
    let deal = open(history(&changes), rows, vec![answered("c1", 4.0, 0.2)]);
    let rules = |days: f64| -> Vec<String> {
        deal_alerts(&Definitions::shipped(), &deal, day(days))
            .into_iter()
            .map(|alert| alert.rule)
            .collect()
    };
    let late = rules(80.0);
    let unsaid = DEAL_RULES.iter().filter(|rule| !TEXT_RULES.contains(rule));
    for rule in unsaid {
        assert!(late.iter().any(|held| held == rule), "{rule} in {late:?}");
    }
    // AC-03: seven days since the last contact, not six.
    assert!(!rules(31.0).contains(&"no_follow_up".to_owned()));
    assert!(rules(32.0).contains(&"no_follow_up".to_owned()));
    let closed = DealFacts {
        outcome: Outcome::Lost,
        ..deal
    };
    let score = score_deal(&Definitions::shipped(), &closed, day(80.0), None, Detail::Full);
    assert_eq!(
        (score.value, score.unscored_because.as_deref()),
        (None, Some("the deal is lost"))
    );
}

#[test]
fn slips_stages_and_changes_are_read_from_the_log() {
    let deal = history(&[
        ("stage", 0.0, Some("Discovery")),
        ("stage", 4.0, Some("Discovery")),
        ("stage", 9.0, Some("Closed Won")),
        ("amount", 0.0, Some("100")),
        ("amount", 2.0, Some("100.0")),
        ("amount", 3.0, Some("80")),
        ("close_date", 0.0, Some("2026-02-01")),
        ("close_date", 5.0, Some("2026-03-01")),
        ("close_date", 6.0, Some("2026-02-15")),
        ("owner_id", 0.0, Some("u1")),
        ("owner_id", 7.0, Some("u2")),
    ]);
    assert_eq!(
        (
            deal.slips.len(),
            deal.pull_ins.len(),
            deal.amounts.len(),
            deal.owners.len()
        ),
        (1, 1, 1, 1)
    );
    assert_eq!(deal.stages.len(), 2);
    assert_eq!(deal.stage_entered_at(), Some(day(9.0)));
    assert_eq!(
        (deal.created_at, deal.closed_at),
        (Some(day(0.0)), Some(day(9.0)))
    );
    assert_eq!(deal.close_date, "2026-02-15".parse().ok());
}

fn talked(texts: &[&str]) -> DealFacts {
    let changes = [
        ("stage", 0.0, Some("Proposal")),
        ("amount", 0.0, Some("48000")),
        ("close_date", 0.0, Some("2030-01-01")),
    ];
    let mut deal = open(history(&changes), Vec::new(), Vec::new());
    deal.texts = (0..)
        .zip(texts)
        .map(|(n, text)| DealText {
            event_id: format!("e{n}"),
            event_type: "transcript.recorded".to_owned(),
            at: day(f64::from(n)),
            user_id: None,
            direction: None,
            payload: serde_json::json!({"consent": true, "text": text}).to_string(),
        })
        .collect();
    deal.fields.insert("amount".to_owned(), "48000".to_owned());
    deal.analyse(&Definitions::shipped().text_signals);
    deal
}

#[test]
fn each_text_warning_is_found_by_its_rule_until_its_text_expires() {
    let definitions = Definitions::shipped();
    let loud = talked(&[
        "Rep: This call is recorded.\nBuyer: That is too expensive. Forecastly offers more.",
        "Rep: Hello.\nBuyer: I like it.\nRep: The total is $39,000.",
        "Rep: Hello.\nBuyer: Fine.\nRep: We guarantee it. Let's touch base.",
    ]);
    let silent = talked(&["Rep: One.", "Rep: Two.", "Rep: Three.", "Rep: Four."]);
    let rules = |deal: &DealFacts, days: f64| -> Vec<String> {
        let alerts = deal_alerts(&definitions, deal, day(days)).into_iter();
        alerts.map(|alert| alert.rule).collect()
    };
    let held = [rules(&loud, 5.0), rules(&silent, 5.0)].concat();
    for rule in TEXT_RULES {
        assert!(held.iter().any(|name| name == rule), "{rule} in {held:?}");
    }
    let red_flag = deal_alerts(&definitions, &loud, day(5.0))
        .into_iter()
        .find(|alert| alert.rule == "red_flag")
        .expect("holds");
    assert_eq!(red_flag.since, Some(day(2.0)));
    let later = [rules(&loud, 100.0), rules(&silent, 100.0)].concat();
    assert!(
        !later.iter().any(|name| TEXT_RULES.contains(&name.as_str())),
        "{later:?}"
    );

    let at = day(6.0);
    let score = score_deal(&definitions, &loud, at, None, Detail::Full);
    let sum: f64 = score.contributions.iter().map(|part| part.points).sum();
    assert!((sum - score.value.expect("scored")).abs() < 1e-9);
    let crossing = deal_crossing(&definitions, &loud, at, score.tier.as_deref()).expect("time lowers it");
    let tier = |at| score_deal(&definitions, &loud, at, score.tier.as_deref(), Detail::Value).tier;
    assert_ne!(tier(crossing), score.tier);
    assert_eq!(tier(crossing.plus_micros(-2)), score.tier);
}
