//! `actions.toml`: what to do next, through which channel, when, and when to stop.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::{Check, Definition};
use crate::decay::CONTACT_HALF_LIVES;

/// Next action, channel, send time and unresponsive contacts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actions {
    /// `actions`.
    pub name: String,
    /// Rises with every change of meaning.
    pub version: u32,
    /// Share of urgency that comes from engagement, 0-1.
    pub engagement_mix: f64,
    /// Engagement from which on a meeting is suggested (SO-09).
    pub escalate_at: f64,
    /// What the contact does.
    pub inbound: Inbound,
    /// Event types by which we touch the contact.
    pub touches: Vec<String>,
    /// When a contact counts as unresponsive (SO-10).
    pub unresponsive: Unresponsive,
    /// The rules; the most urgent one that holds is the next action.
    pub rules: Rules,
    /// Channels to choose from.
    pub channels: BTreeMap<String, ActionChannel>,
    /// Half-life class in days of the channels' counts.
    pub channel_half_life_days: u16,
    /// Send time.
    pub send_time: SendTime,
    #[serde(skip)]
    roles: HashMap<String, EventRoles>,
}

/// What the contact does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    /// Any sign of life of a person.
    pub activity: Vec<String>,
    /// Answers: they end unresponsiveness.
    pub responses: Vec<String>,
    /// What makes a relationship two-way.
    pub two_way: Vec<String>,
}

/// When a contact counts as unresponsive: both must hold since the last answer (or ever).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unresponsive {
    /// Touches without an answer.
    pub touches: u32,
    /// Days without an answer.
    pub days: f64,
}

/// The rules of the next action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// They wrote last.
    pub answer_reply: ActionRule,
    /// They did not come to the meeting, or cancelled it, and no new one is set.
    pub rebook_meeting: ActionRule,
    /// The meeting took place and nobody wrote since.
    pub follow_up_meeting: ActionRule,
    /// Engagement is high and no meeting is set (SO-09).
    pub schedule_meeting: ActionRule,
    /// They unsubscribed or complained: mail is closed.
    pub change_channel: ActionRule,
    /// The address bounced and nothing came after.
    pub repair_address: ActionRule,
    /// Unresponsive: stop the sequence (SO-10).
    pub pause_sequence: ActionRule,
    /// They show interest and nobody has written for a while.
    pub reach_out: ActionRule,
    /// Nothing else holds.
    pub keep_going: ActionRule,
}

impl Rules {
    /// All rules with their names.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &ActionRule); 9] {
        [
            ("answer_reply", &self.answer_reply),
            ("rebook_meeting", &self.rebook_meeting),
            ("follow_up_meeting", &self.follow_up_meeting),
            ("schedule_meeting", &self.schedule_meeting),
            ("change_channel", &self.change_channel),
            ("repair_address", &self.repair_address),
            ("pause_sequence", &self.pause_sequence),
            ("reach_out", &self.reach_out),
            ("keep_going", &self.keep_going),
        ]
    }
}

/// A rule: urgent when its trigger is fresh, less so as it ages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionRule {
    /// Urgency when fresh, 0-1.
    pub urgency: f64,
    /// Days after the trigger from which on it holds.
    #[serde(default)]
    pub after_days: f64,
    /// Days after which the urgency has halved.
    pub fade_days: f64,
    /// What to do, for people.
    pub advice: String,
}

/// A channel to choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionChannel {
    /// Event types that are attempts.
    pub attempts: Vec<String>,
    /// Event types that are answers to them.
    pub responses: Vec<String>,
    /// Response rate assumed before any attempt, 0-1.
    pub prior_rate: f64,
    /// Attempts that the assumption is worth.
    pub prior_strength: f64,
    /// Fields of which one must be known to use the channel.
    pub requires: Vec<String>,
    /// Event types that close the channel until an answer on it comes later.
    #[serde(default)]
    pub closed_by: Vec<String>,
}

/// Send time from the hours at which the contact answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendTime {
    /// Weight of an event of each type (people only).
    pub events: BTreeMap<String, f64>,
    /// Events that the segment's rhythm is worth.
    pub prior_strength: f64,
    /// First local hour at which anything is sent, 0-23.
    pub earliest_hour: u8,
    /// Last local hour at which anything is sent, 0-23.
    pub latest_hour: u8,
    /// Whether Saturday and Sunday are allowed.
    pub weekends: bool,
    /// Time zone of a country (ISO code or name, lower case) where the contact's own is unknown.
    pub country_zones: BTreeMap<String, String>,
}

/// The parts an event type plays, for one pass over the rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct EventRoles {
    pub(crate) activity: bool,
    pub(crate) response: bool,
    pub(crate) two_way: bool,
    pub(crate) touch: bool,
}

impl Actions {
    /// The parts an event type plays.
    pub(crate) fn roles(&self, event_type: &str) -> EventRoles {
        self.roles.get(event_type).copied().unwrap_or_default()
    }
}

impl Definition for Actions {
    const NAME: &'static str = "actions";
    const SHIPPED: &'static str = include_str!("../../definitions/actions.toml");

    fn header(&self) -> (&str, u32) {
        (&self.name, self.version)
    }

    fn check(&self, check: &mut Check) {
        check.within(&["engagement_mix"], self.engagement_mix, 0.0, 1.0);
        check.within(&["escalate_at"], self.escalate_at, 0.0, 100.0);
        types(check, &["inbound", "activity"], &self.inbound.activity);
        types(check, &["inbound", "responses"], &self.inbound.responses);
        types(check, &["inbound", "two_way"], &self.inbound.two_way);
        types(check, &["touches"], &self.touches);
        check.ensure(
            &["unresponsive", "touches"],
            self.unresponsive.touches > 0,
            "must be 1 or more",
        );
        check.positive(&["unresponsive", "days"], self.unresponsive.days);
        for (name, rule) in self.rules.all() {
            check.within(&["rules", name, "urgency"], rule.urgency, 0.0, 1.0);
            check.within(&["rules", name, "after_days"], rule.after_days, 0.0, 3_650.0);
            check.positive(&["rules", name, "fade_days"], rule.fade_days);
            check.named(&["rules", name, "advice"], &rule.advice);
        }
        check.half_life(
            &["channel_half_life_days"],
            self.channel_half_life_days,
            CONTACT_HALF_LIVES,
        );
        check.ensure(
            &["channels"],
            !self.channels.is_empty(),
            "must have at least one channel",
        );
        for (name, channel) in &self.channels {
            types(check, &["channels", name, "attempts"], &channel.attempts);
            types(check, &["channels", name, "responses"], &channel.responses);
            types(check, &["channels", name, "closed_by"], &channel.closed_by);
            check.within(&["channels", name, "prior_rate"], channel.prior_rate, 0.0, 1.0);
            check.positive(&["channels", name, "prior_strength"], channel.prior_strength);
        }
        self.send_time.check(check);
    }

    fn prepare(&mut self) {
        let lists = [
            &self.inbound.activity,
            &self.inbound.responses,
            &self.inbound.two_way,
            &self.touches,
        ];
        for name in lists.into_iter().flatten() {
            let roles = EventRoles {
                activity: self.inbound.activity.contains(name),
                response: self.inbound.responses.contains(name),
                two_way: self.inbound.two_way.contains(name),
                touch: self.touches.contains(name),
            };
            self.roles.insert(name.clone(), roles);
        }
    }
}

impl SendTime {
    fn check(&self, check: &mut Check) {
        for (name, weight) in &self.events {
            check.event_type(&["send_time", "events", name], name);
            check.positive(&["send_time", "events", name], *weight);
        }
        check.positive(&["send_time", "prior_strength"], self.prior_strength);
        check.within(
            &["send_time", "latest_hour"],
            f64::from(self.latest_hour),
            0.0,
            23.0,
        );
        let rising = self.earliest_hour <= self.latest_hour;
        check.ensure(
            &["send_time", "earliest_hour"],
            rising,
            "must not be after latest_hour",
        );
        for (country, zone) in &self.country_zones {
            let known = zone.parse::<chrono_tz::Tz>().is_ok();
            check.ensure(
                &["send_time", "country_zones", country],
                known,
                format!("'{zone}' is no IANA time zone such as Europe/Paris"),
            );
        }
    }
}

fn types(check: &mut Check, path: &[&str], names: &[String]) {
    for (place, name) in names.iter().enumerate() {
        let place = place.to_string();
        let mut here = path.to_vec();
        here.push(&place);
        check.event_type(&here, name);
    }
}
