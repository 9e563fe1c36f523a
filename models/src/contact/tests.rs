//! Laws of contact scores over random facts and instants, and the worked examples.

use proptest::prelude::*;
use revgauge_contract::{
    Timestamp,
    event::{Direction, MachineClass},
    event_type::implied_direction,
    score::Score,
    time::DAY_US,
};

use super::*;
use crate::{
    decay::{CONTACT_HALF_LIVES, era_start},
    facts::{ActivityRow, RhythmRow},
};

pub(crate) const DAY: f64 = DAY_US as f64;
/// 2026-11-20T10:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_795_168_800_000_000);
const EVEN: [f64; 168] = [0.0; 168];

#[expect(clippy::cast_possible_truncation, reason = "days to microseconds")]
pub(crate) fn days_ago(days: f64) -> Timestamp {
    NOW.plus_micros((-days * DAY) as i64)
}

/// The layer-1 rows of events: one for each era.
pub(crate) fn rows(
    event_type: &str,
    class: MachineClass,
    times: &[Timestamp],
    classes: &[u16],
) -> Vec<ActivityRow> {
    let mut eras: Vec<i64> = times.iter().map(|time| time.era()).collect();
    eras.sort_unstable();
    eras.dedup();
    let of_era = |era: i64| {
        let times: Vec<Timestamp> = times.iter().copied().filter(|time| time.era() == era).collect();
        let sum = |class: u16| {
            times
                .iter()
                .map(|time| (time.days_since(era_start(era)) / f64::from(class)).exp2())
                .sum::<f64>()
        };
        ActivityRow {
            event_type: event_type.into(),
            direction: implied_direction(event_type),
            machine_class: class,
            era,
            n: i64::try_from(times.len()).expect("few"),
            sums: classes.iter().map(|class| (*class, sum(*class))).collect(),
            value_sum: 0.0,
            value_max: None,
            first_time: *times.iter().min().expect("some"),
            last_time: *times.iter().max().expect("some"),
        }
    };
    eras.into_iter().map(of_era).collect()
}

/// One row of a person's events of one era.
pub(crate) fn row(event_type: &str, times: &[Timestamp]) -> ActivityRow {
    rows(event_type, MachineClass::None, times, CONTACT_HALF_LIVES).remove(0)
}

fn contact(activity: Vec<ActivityRow>, fields: &[(&str, &str)]) -> ContactFacts {
    ContactFacts {
        contact_id: "c1".to_owned(),
        fields: fields
            .iter()
            .map(|(field, value)| ((*field).to_owned(), (*value).to_owned()))
            .collect(),
        activity,
        ..ContactFacts::default()
    }
}

fn scored(facts: &ContactFacts, at: Timestamp) -> ContactScores {
    score_contact(&Definitions::shipped(), facts, &EVEN, at, Detail::Full)
}

fn sums(score: &Score) -> bool {
    let sum: f64 = score.contributions.iter().map(|part| part.points).sum();
    score.value.is_none_or(|value| (value - sum).abs() < 1e-9)
}

const TYPES: &[&str] = &[
    "email.sent",
    "email.opened",
    "email.clicked",
    "email.replied",
    "email.bounced",
    "email.unsubscribed",
    "meeting.attended",
    "meeting.no_show",
    "meeting.scheduled",
    "call.completed",
    "page.viewed",
    "form.submitted",
    "custom.demo",
    "unknown.type",
];

/// Events over five years: type, class, age in days.
fn events() -> impl Strategy<Value = Vec<(usize, MachineClass, f64)>> {
    let class = prop_oneof![
        4 => Just(MachineClass::None),
        1 => Just(MachineClass::Proxy),
        1 => Just(MachineClass::Scanner),
    ];
    proptest::collection::vec(
        (
            0..TYPES.len(),
            class,
            prop_oneof![0.0..60.0_f64, 0.0..1_800.0_f64],
        ),
        0..40,
    )
}

fn facts_of(events: &[(usize, MachineClass, f64)]) -> ContactFacts {
    let mut activity = Vec::new();
    for (place, name) in TYPES.iter().enumerate() {
        for class in [MachineClass::None, MachineClass::Proxy, MachineClass::Scanner] {
            let of_kind = events.iter().filter(|event| event.0 == place && event.1 == class);
            let times: Vec<Timestamp> = of_kind.map(|event| days_ago(event.2)).collect();
            activity.extend(rows(name, class, &times, CONTACT_HALF_LIVES));
        }
    }
    contact(activity, &[("title", "VP of Sales"), ("email", "jo@acme.io")])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// S-1.
    #[test]
    fn contributions_sum_to_the_scores(events in events(), later in 0.0..400.0_f64) {
        let scores = scored(&facts_of(&events), days_ago(-later));
        for score in [&scores.engagement, &scores.authority, &scores.next_action] {
            prop_assert!(sums(score), "{score:?}");
        }
        if let Some(value) = scores.engagement.value {
            prop_assert!((0.0..100.0).contains(&value));
        }
        for score in [&scores.authority, &scores.next_action] {
            prop_assert!(score.value.is_none_or(|value| (0.0..=1.0).contains(&value)));
        }
    }

    /// Without penalties time alone only takes away.
    #[test]
    fn gains_only_decay(events in events(), days in 0.0..200.0_f64, more in 0.0..200.0_f64) {
        let kept: Vec<_> = events.into_iter()
            .filter(|event| !matches!(TYPES[event.0], "email.bounced" | "email.unsubscribed" | "meeting.no_show"))
            .collect();
        let facts = facts_of(&kept);
        let (sooner, later) = (scored(&facts, days_ago(-days)), scored(&facts, days_ago(-days - more)));
        prop_assert_eq!(sooner.engagement.value.is_some(), later.engagement.value.is_some());
        if let (Some(sooner), Some(later)) = (sooner.engagement.value, later.engagement.value) {
            prop_assert!(later <= sooner + 1e-9, "{later} > {sooner}");
        }
    }

    /// N-5: just before the computed instant the score is not below, just after it is.
    #[test]
    fn the_crossing_is_where_the_score_falls_below(events in events(), theta in 1.0..95.0_f64) {
        let definitions = Definitions::shipped();
        let facts = facts_of(&events);
        let value = |at| scored(&facts, at).engagement.value.unwrap_or_default();
        match engagement_crossing(&definitions, &facts, theta, NOW) {
            None => prop_assert!(value(NOW) < theta + 1e-9),
            Some(at) => {
                prop_assert!(at > NOW);
                prop_assert!(value(NOW) >= theta - 1e-9);
                prop_assert!(value(at.plus_micros(2_000)) < theta, "{} after", value(at.plus_micros(2_000)));
                prop_assert!(value(at.plus_micros(-2_000)) >= theta - 1e-7);
            }
        }
    }

    /// N-22: one contact under two keys is the contact under one, fingerprint included.
    #[test]
    fn two_keys_are_one(events in events(), split in proptest::collection::vec(any::<bool>(), 40)) {
        let part = |side: bool| {
            let kept: Vec<_> = events.iter().zip(&split).filter(|(_, s)| **s == side).map(|(e, _)| *e).collect();
            facts_of(&kept)
        };
        let whole = facts_of(&events);
        let mut merged = part(true);
        merged.activity.extend(part(false).activity);
        let (whole, merged) = (scored(&whole, NOW), scored(&merged, NOW));
        prop_assert_eq!(&whole.engagement.fingerprint, &merged.engagement.fingerprint);
        for (a, b) in [(&whole.engagement, &merged.engagement), (&whole.authority, &merged.authority)] {
            match (a.value, b.value) {
                (Some(a), Some(b)) => prop_assert!((a - b).abs() < 1e-9),
                (a, b) => prop_assert_eq!(a, b),
            }
        }
    }

    /// The quick way and the full way agree.
    #[test]
    fn detail_changes_no_value(events in events()) {
        let facts = facts_of(&events);
        let full = scored(&facts, NOW);
        let quick = score_contact(&Definitions::shipped(), &facts, &EVEN, NOW, Detail::Value);
        for (a, b) in [
            (&full.engagement, &quick.engagement),
            (&full.authority, &quick.authority),
            (&full.next_action, &quick.next_action),
        ] {
            prop_assert_eq!((a.value, &a.tier, &a.fingerprint), (b.value, &b.tier, &b.fingerprint));
        }
    }
}

/// S-4.
#[test]
fn nothing_known_is_unscored_not_zero() {
    let scores = scored(&ContactFacts::default(), NOW);
    assert_eq!(scores.engagement.value, None);
    assert_eq!(
        scores.engagement.unscored_because.as_deref(),
        Some("no engagement has been seen")
    );
    assert_eq!(scores.authority.value, None);
    let sent_only = contact(vec![row("email.sent", &[days_ago(1.0)])], &[]);
    assert_eq!(
        scored(&sent_only, NOW).engagement.value,
        None,
        "what we send is no engagement of theirs"
    );
    let robots = contact(
        rows(
            "email.opened",
            MachineClass::Bot,
            &[days_ago(1.0)],
            CONTACT_HALF_LIVES,
        ),
        &[],
    );
    let scores = scored(&robots, NOW);
    assert_eq!(
        scores.engagement.unscored_because.as_deref(),
        Some("only machine events have been seen (1)")
    );
}

/// N-8.
#[test]
fn machine_opens_are_counted_apart() {
    let mut activity = vec![row("email.opened", &[days_ago(0.0)])];
    activity.extend(rows(
        "email.opened",
        MachineClass::Proxy,
        &[days_ago(0.0); 10],
        CONTACT_HALF_LIVES,
    ));
    let score = scored(&contact(activity, &[]), NOW).engagement;
    let fact = |name: &str| score.facts[name].as_f64().expect("number");
    assert_eq!((fact("events"), fact("machine_events")), (1.0, 10.0));
    let of = |sum: f64| 100.0 * (1.0 - (-sum / 30.0_f64).exp());
    assert!((score.value.expect("scored") - of(2.0)).abs() < 1e-9);
    assert!((fact("value_without_machines") - of(1.0)).abs() < 1e-9);
    assert!((fact("value_machines_as_people") - of(11.0)).abs() < 1e-9);
}

#[test]
fn reasons_are_for_people() {
    let facts = contact(
        vec![
            row("email.replied", &[days_ago(9.0), days_ago(5.0), days_ago(2.0)]),
            row("email.unsubscribed", &[days_ago(1.5)]),
        ],
        &[],
    );
    let score = scored(&facts, NOW).engagement;
    let reasons: Vec<&str> = score
        .contributions
        .iter()
        .map(|part| part.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        ["3 replies, the last 2 days ago", "1 unsubscription, 36 hours ago"]
    );
    assert!(score.contributions[1].points < 0.0);
}

#[test]
fn caps_hold_a_channel_back() {
    let views = vec![days_ago(0.0); 1_000];
    let score = scored(&contact(vec![row("page.viewed", &views)], &[]), NOW).engagement;
    let expected = 100.0 * (1.0 - (-45.0 / 30.0_f64).exp());
    assert!(
        (score.value.expect("scored") - expected).abs() < 1e-9,
        "{:?}",
        score.value
    );
}

#[test]
fn titles_are_read() {
    let level = |title: &str| {
        let score = scored(&contact(Vec::new(), &[("title", title)]), NOW).authority;
        let text = |name: &str| {
            score
                .facts
                .get(name)
                .and_then(|v| v.as_str())
                .unwrap_or("-")
                .to_owned()
        };
        format!("{} {}", text("level"), text("function"))
    };
    for (title, expected) in [
        ("Chief Financial Officer", "c_level finance"),
        ("CTO", "c_level it"),
        ("Co-Founder & CEO", "owner -"),
        ("Senior Vice President, Global Sales", "vp sales"),
        ("VP Marketing", "vp marketing"),
        ("Director of Engineering", "director engineering"),
        ("Head of Procurement", "head procurement"),
        ("Executive Assistant to the CEO", "assistant -"),
        ("Account Executive", "individual sales"),
        ("Partner Manager", "manager -"),
        ("Senior Software Engineer", "senior engineering"),
        ("Assistant Vice President, IT", "vp it"),
        ("Wizard", "- -"),
    ] {
        assert_eq!(level(title), expected, "{title}");
    }
}

#[test]
fn deeds_and_roles_raise_authority() {
    let value = |facts: &ContactFacts| scored(facts, NOW).authority.value.expect("scored");
    let title = [("title", "Sales Manager")];
    let plain = value(&contact(Vec::new(), &title));
    let met = value(&contact(
        vec![row("meeting.attended", &[days_ago(2.0), days_ago(1.0)])],
        &title,
    ));
    let role = value(&contact(
        Vec::new(),
        &[("title", "Sales Manager"), ("buying_role", "DECISION_MAKER")],
    ));
    assert!(plain < met && met < 1.0);
    assert!((role - 0.9).abs() < 1e-12);
    let untitled = contact(vec![row("meeting.attended", &[days_ago(2.0)])], &[]);
    assert!(value(&untitled) > 0.25);
}

#[test]
fn silence_after_many_touches_pauses_the_sequence() {
    let sent: Vec<Timestamp> = (0..7)
        .map(|week| days_ago(50.0 - 7.0 * f64::from(week)))
        .collect();
    let silent = contact(vec![row("email.sent", &sent)], &[("email", "jo@acme.io")]);
    let scores = scored(&silent, NOW);
    assert!(scores.unresponsive);
    assert_eq!(scores.next_action.tier.as_deref(), Some("pause_sequence"));
    assert_eq!(
        scores.next_action.contributions[0].advice.as_deref(),
        Some("pause the sequence and try a colleague")
    );
    let answered = contact(
        vec![row("email.sent", &sent), row("email.replied", &[days_ago(1.0)])],
        &[],
    );
    let scores = scored(&answered, NOW);
    assert!(!scores.unresponsive && scores.two_way);
    assert_eq!(scores.next_action.tier.as_deref(), Some("answer_reply"));
    assert_eq!(scores.last_inbound, Some(days_ago(1.0)));
    let replied_by_us = ActivityRow {
        direction: Some(Direction::Outbound),
        ..row("email.replied", &[days_ago(1.0)])
    };
    let ours = contact(vec![row("email.sent", &sent), replied_by_us], &[]);
    assert!(scored(&ours, NOW).unresponsive, "our own replies are no answer");
}

#[test]
fn high_engagement_asks_for_a_meeting_unless_one_is_set() {
    let hot = vec![
        row("email.replied", &[days_ago(4.0), days_ago(3.0)]),
        row("page.viewed", &[days_ago(1.0); 12]),
        row("email.sent", &[days_ago(0.5)]),
    ];
    let scores = scored(&contact(hot.clone(), &[]), NOW);
    assert!(scores.engagement.value.expect("scored") > 60.0);
    assert_eq!(scores.next_action.tier.as_deref(), Some("schedule_meeting"));
    let mut booked = row("meeting.scheduled", &[days_ago(0.6)]);
    booked.value_max = Some(days_ago(-3.0).seconds_f64());
    let mut with_meeting = hot;
    with_meeting.push(booked);
    let scores = scored(&contact(with_meeting, &[]), NOW);
    assert_ne!(scores.next_action.tier.as_deref(), Some("schedule_meeting"));
}

#[test]
fn a_bounced_address_closes_the_channel() {
    let facts = contact(
        vec![
            row("email.sent", &[days_ago(3.0)]),
            row("email.bounced", &[days_ago(3.0)]),
        ],
        &[("email", "jo@acme.io"), ("phone", "+49 30 1")],
    );
    let action = scored(&facts, NOW).next_action;
    assert_eq!(action.tier.as_deref(), Some("repair_address"));
    assert_eq!(action.facts["channel"], "phone");
}

#[test]
fn the_rhythm_of_a_segment_adds_up() {
    let definitions = Definitions::shipped();
    let at = |machine_class, n| RhythmRow {
        event_type: "email.replied".into(),
        machine_class,
        hour_of_week: 33,
        n,
    };
    let mut segment = EVEN;
    add_rhythm(
        &definitions,
        &[at(MachineClass::None, 3), at(MachineClass::Proxy, 50)],
        &mut segment,
    );
    assert_eq!(segment[33], 3.0);
}
