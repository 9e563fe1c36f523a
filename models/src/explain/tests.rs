//! Explanations sum: by event and between two instants.

use revgauge_contract::time::DAY_US;

use super::*;
use crate::{
    assembly::Detail,
    contact::{
        score_contact,
        tests::{NOW, days_ago, row, rows},
    },
    decay::CONTACT_HALF_LIVES,
};

fn facts(replies: &[Timestamp], opens: &[Timestamp]) -> ContactFacts {
    let mut activity = vec![
        row("email.replied", replies),
        row("email.bounced", &[days_ago(20.0)]),
    ];
    activity.extend(rows(
        "email.opened",
        MachineClass::Proxy,
        opens,
        CONTACT_HALF_LIVES,
    ));
    ContactFacts {
        activity,
        ..ContactFacts::default()
    }
}

fn engagement(facts: &ContactFacts, at: Timestamp) -> Score {
    score_contact(&Definitions::shipped(), facts, &[0.0; 168], at, Detail::Full).engagement
}

#[test]
fn parts_of_events_sum_to_the_score() {
    let replies = [days_ago(30.0), days_ago(8.0), days_ago(1.0)];
    let opens = [days_ago(2.0), days_ago(3.0)];
    let facts = facts(&replies, &opens);
    let event = |id: &str, event_type: &str, machine_class, event_time| RecentEvent {
        event_id: id.to_owned(),
        event_type: event_type.to_owned(),
        direction: None,
        machine_class,
        event_time,
    };
    let events = [
        event("r2", "email.replied", MachineClass::None, replies[1]),
        event("r3", "email.replied", MachineClass::None, replies[2]),
        event("o1", "email.opened", MachineClass::Proxy, opens[0]),
        event("o2", "email.opened", MachineClass::Proxy, opens[1]),
        event("x", "email.sent", MachineClass::None, replies[2]),
    ];
    let parts = split_by_events(&Definitions::shipped(), &facts, &events, NOW);
    let sum: f64 = parts.iter().map(|part| part.points).sum();
    let score = engagement(&facts, NOW);
    assert!((sum - score.value.expect("scored")).abs() < 1e-9);
    let mut factors: Vec<&str> = parts.iter().map(|part| part.factor.as_str()).collect();
    factors.sort_unstable();
    assert_eq!(
        factors,
        [
            "email.bounced",
            "email.opened#o1",
            "email.opened#o2",
            "email.replied",
            "email.replied#r2",
            "email.replied#r3"
        ]
    );
}

#[test]
fn a_change_is_decay_and_what_became_known() {
    let later = NOW.plus_micros(20 * DAY_US);
    let before = facts(&[days_ago(30.0), days_ago(8.0)], &[days_ago(2.0)]);
    let after = facts(
        &[days_ago(30.0), days_ago(8.0), days_ago(-18.0)],
        &[days_ago(2.0)],
    );
    let (old, aged, new) = (
        engagement(&before, NOW),
        engagement(&before, later),
        engagement(&after, later),
    );
    let change = explain_change(&old, &aged, &new, NOW, later);
    let sum: f64 = change.parts.iter().map(|part| part.points).sum();
    let difference = new.value.expect("scored") - old.value.expect("scored");
    assert!((sum - difference).abs() < 1e-9);
    let points = |factor: &str| {
        change
            .parts
            .iter()
            .find(|part| part.factor == factor)
            .expect("there")
            .points
    };
    assert!(points("decay") < 0.0 && points("email.replied") > 0.0);
}

#[test]
fn a_first_score_is_all_new() {
    let nothing = engagement(&ContactFacts::default(), NOW);
    let new = engagement(&facts(&[days_ago(1.0)], &[days_ago(1.0)]), NOW);
    let change = explain_change(&nothing, &nothing, &new, days_ago(5.0), NOW);
    assert_eq!(change.old_value, None);
    let sum: f64 = change.parts.iter().map(|part| part.points).sum();
    assert!((sum - new.value.expect("scored")).abs() < 1e-9);
    assert!(change.parts.iter().all(|part| part.factor != "decay"));
}
