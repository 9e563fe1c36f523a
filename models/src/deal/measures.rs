//! The quantities that the health rules read, each a number that only time or new facts move.

use revgauge_contract::{Timestamp, event::MachineClass, time::DAY_US};

use super::{DealContact, DealFacts};
use crate::{
    definitions::DealHealth,
    wording::{ago, counted},
};

/// A quantity at an instant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    /// In the unit of the rule.
    pub(crate) quantity: f64,
    /// How it moves with time alone.
    pub(crate) course: Course,
    /// For people.
    pub(crate) reason: String,
}

/// How a quantity moves with time alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Course {
    /// Days since an instant, divided by a scale in days: crossings are closed form.
    Since(Timestamp, f64),
    /// Steps, at known instants.
    Stepped,
    /// Rests from an instant on, until a text's retention ends.
    Said(Timestamp),
    /// Fades in and out: crossings are found by search.
    Fading,
}

/// The last times of a deal's activity, by meaning.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Recency {
    pub(crate) activity: Option<Timestamp>,
    pub(crate) contact: Option<Timestamp>,
    pub(crate) answer: Option<Timestamp>,
    pub(crate) attempt: Option<Timestamp>,
    /// Start of the latest meeting agreed or held.
    pub(crate) meeting: Option<Timestamp>,
}

impl Recency {
    pub(crate) fn of(rules: &DealHealth, facts: &DealFacts) -> Self {
        let mut recency = Self::default();
        let (mut scheduled, mut cancelled, mut booked_for) = (None, None, None);
        for row in facts
            .activity
            .iter()
            .filter(|row| row.machine_class == MachineClass::None)
        {
            let at = Some(row.last_time);
            let is = |list: &[String]| list.iter().any(|name| **name == *row.event_type);
            recency.activity = recency.activity.max(at);
            if is(&rules.activity.contact) {
                recency.contact = recency.contact.max(at);
            }
            if is(&rules.activity.answer) {
                recency.answer = recency.answer.max(at);
            }
            if is(&rules.activity.attempt) {
                recency.attempt = recency.attempt.max(at);
            }
            match &*row.event_type {
                "meeting.scheduled" => {
                    scheduled = scheduled.max(at);
                    booked_for = booked_for.max(row.value_max.and_then(start_of_meeting));
                }
                "meeting.cancelled" => cancelled = cancelled.max(at),
                "meeting.attended" => recency.meeting = recency.meeting.max(at),
                _ => {}
            }
        }
        // Only times are kept of cancellations, not which meeting: one after the last booking voids it.
        if cancelled <= scheduled {
            recency.meeting = recency.meeting.max(booked_for);
        }
        for contact in &facts.contacts {
            recency.contact = recency.contact.max(contact.last_contact);
            recency.answer = recency.answer.max(contact.last_answer);
            recency.activity = recency.activity.max(contact.last_contact);
        }
        recency
    }
}

/// `meeting.scheduled` carries the start of the meeting as epoch seconds.
#[expect(
    clippy::cast_possible_truncation,
    reason = "checked to lie between 1990 and 2255"
)]
fn start_of_meeting(value: f64) -> Option<Timestamp> {
    (631_152_000.0..9_000_000_000.0)
        .contains(&value)
        .then_some(Timestamp((value * 1e6) as i64))
}

/// Reads one rule's quantity; `None` when the deal gives no way to measure it.
pub(crate) fn measure(
    name: &str,
    rules: &DealHealth,
    facts: &DealFacts,
    recency: &Recency,
    at: Timestamp,
) -> Option<Measured> {
    let created = facts.history.created_at;
    match name {
        "no_activity" => {
            let last = recency.activity.max(facts.history.last_change).max(created)?;
            Some(since(last, 1.0, at, |ago| {
                format!("last activity or CRM change {ago}")
            }))
        }
        "no_follow_up" => match recency.contact {
            Some(last) => Some(since(last.max(created?), 1.0, at, |ago| {
                format!("last contact {ago}")
            })),
            None => Some(since(created?, 1.0, at, |ago| {
                format!("no contact since creation {ago}")
            })),
        },
        "ghosted" => ghosted(recency, created?, at),
        "champion_gone_dark" => champion(facts, created?, at),
        "no_next_meeting" => {
            let last = recency.meeting.max(created)?;
            Some(since(last, 1.0, at, |ago| {
                if last > at {
                    format!("next meeting {ago}")
                } else if recency.meeting.is_some() {
                    format!("no meeting ahead, the last was {ago}")
                } else {
                    format!("no meeting since creation {ago}")
                }
            }))
        }
        "overdue" => {
            let close = facts.history.close_date?;
            Some(since(close, 1.0, at, |ago| format!("the close date was {ago}")))
        }
        "single_threaded" => Some(single_threaded(rules, facts, created?, at)),
        "no_power" => Some(no_power(rules, facts, created?, at)),
        "stalled" => stalled(rules, facts, at),
        "slips" => {
            let slips = facts.history.slips.iter().filter(|slip| slip.at <= at).count();
            Some(Measured {
                quantity: slips as f64,
                course: Course::Stepped,
                reason: format!(
                    "the close date was pushed out {}",
                    counted(slips as i64, "time", "times")
                ),
            })
        }
        text => facts
            .findings
            .measure(text, at)
            .map(|(quantity, since, reason)| Measured {
                quantity,
                course: Course::Said(since),
                reason,
            }),
    }
}

fn since(anchor: Timestamp, scale_days: f64, at: Timestamp, reason: impl Fn(String) -> String) -> Measured {
    Measured {
        quantity: (at.days_since(anchor) / scale_days).max(0.0),
        course: Course::Since(anchor, scale_days),
        reason: reason(ago(at, anchor)),
    }
}

fn ghosted(recency: &Recency, created: Timestamp, at: Timestamp) -> Option<Measured> {
    let attempt = recency.attempt?;
    let silent_since = recency.answer.unwrap_or(created).max(created);
    (attempt > silent_since).then(|| {
        since(silent_since, 1.0, at, |ago| match recency.answer {
            Some(_) => format!("our messages are unanswered, the last answer was {ago}"),
            None => format!("never answered since creation {ago}"),
        })
    })
}

/// Of those who were in a two-way conversation, the one with most authority, then most activity on the deal.
fn champion(facts: &DealFacts, created: Timestamp, at: Timestamp) -> Option<Measured> {
    let named = |contact: &&DealContact| {
        contact
            .role
            .as_deref()
            .is_some_and(|role| role.to_lowercase().contains("champion"))
    };
    let champion = facts
        .contacts
        .iter()
        .filter(|contact| contact.two_way && contact.last_answer.is_some())
        .max_by(|a, b| {
            named(a)
                .cmp(&named(b))
                .then(a.authority.unwrap_or(0.0).total_cmp(&b.authority.unwrap_or(0.0)))
                .then(a.inbound.cmp(&b.inbound))
                .then(b.contact_id.cmp(&a.contact_id))
        })?;
    let last = champion.last_answer?.max(created);
    Some(since(last, 1.0, at, |ago| {
        format!("{} last answered {ago}", champion.contact_id)
    }))
}

/// How much an engaged contact still counts: 1 while fresh, falling to 0.
fn presence(rules: &DealHealth, contact: &DealContact, at: Timestamp) -> f64 {
    let Some(last) = contact.last_answer else {
        return 0.0;
    };
    let (fresh, faded) = (rules.contacts.fresh_days, rules.contacts.faded_days);
    1.0 - ((at.days_since(last) - fresh) / (faded - fresh)).clamp(0.0, 1.0)
}

fn grace(rules: &DealHealth, created: Timestamp, at: Timestamp) -> f64 {
    let (start, full) = (rules.contacts.grace_start_days, rules.contacts.grace_full_days);
    ((at.days_since(created) - start) / (full - start)).clamp(0.0, 1.0)
}

fn single_threaded(rules: &DealHealth, facts: &DealFacts, created: Timestamp, at: Timestamp) -> Measured {
    let engaged: f64 = facts
        .contacts
        .iter()
        .map(|contact| presence(rules, contact, at))
        .sum();
    let people = facts
        .contacts
        .iter()
        .filter(|contact| presence(rules, contact, at) > 0.0)
        .count();
    Measured {
        quantity: (rules.contacts.required - engaged).max(0.0) * grace(rules, created, at),
        course: Course::Fading,
        reason: format!(
            "{} answered lately",
            counted(people as i64, "contact", "contacts")
        ),
    }
}

fn no_power(rules: &DealHealth, facts: &DealFacts, created: Timestamp, at: Timestamp) -> Measured {
    let power = facts
        .contacts
        .iter()
        .map(|contact| contact.authority.unwrap_or(0.0) * presence(rules, contact, at))
        .fold(0.0, f64::max);
    Measured {
        quantity: (1.0 - power / rules.contacts.power).max(0.0) * grace(rules, created, at),
        course: Course::Fading,
        reason: if power > 0.0 {
            format!("the most senior engaged contact has authority {power:.2} of 1")
        } else {
            "nobody with known authority is engaged".to_owned()
        },
    }
}

fn stalled(rules: &DealHealth, facts: &DealFacts, at: Timestamp) -> Option<Measured> {
    let spell = facts.history.stages.last()?;
    let (usual, whose) = match facts.stage_median {
        Some(median) => (median.days.max(1.0), "the median here"),
        None => (rules.default_stage_days, "the usual"),
    };
    let mut measured = since(spell.from, usual, at, |_| String::new());
    let days = measured.quantity * usual;
    measured.reason = format!("{days:.0} days in stage {}, {whose} is {usual:.0}", spell.stage);
    Some(measured)
}

/// The instant at which a quantity that grows with time reaches a value.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "centuries fit in f64 microseconds"
)]
pub(crate) fn reached_at(anchor: Timestamp, scale_days: f64, quantity: f64) -> Timestamp {
    anchor.plus_micros((quantity * scale_days * DAY_US as f64).ceil() as i64)
}
