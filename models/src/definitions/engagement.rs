//! `engagement.toml`: what an interaction is worth, for how long, and how much a channel can add.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use revgauge_contract::event::{Direction, MachineClass};
use serde::{Deserialize, Serialize};

use super::{Check, Definition};
use crate::{decay::CONTACT_HALF_LIVES, saturation::Curve};

/// Engagement of a contact, 0-100.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engagement {
    /// `engagement`.
    pub name: String,
    /// Rises with every change of meaning.
    pub version: u32,
    /// Sum of decayed weights at which 63 points are reached.
    pub saturation: f64,
    /// Worth of events that a machine made.
    pub machine: MachineWeights,
    /// Bands by their lower bound, rising; the highest that is reached is the score's tier.
    pub bands: Vec<Band>,
    /// Channels and their caps.
    pub channels: BTreeMap<String, Channel>,
    /// Event types; `custom.*` stands for every custom type not named.
    pub events: BTreeMap<String, EventWeight>,
    /// Event types, those of a channel together.
    #[serde(skip)]
    pub(crate) order: Vec<Ranked>,
    #[serde(skip)]
    index: HashMap<String, usize>,
    #[serde(skip)]
    custom: Option<usize>,
}

/// Multipliers of the machine classes; a person counts 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineWeights {
    /// Privacy proxies that open for a person.
    pub proxy: f64,
    /// Link and attachment scanners.
    pub scanner: f64,
    /// Other robots.
    pub bot: f64,
}

impl MachineWeights {
    /// Machines count for nothing.
    pub(crate) const IGNORED: Self = Self {
        proxy: 0.0,
        scanner: 0.0,
        bot: 0.0,
    };
    /// Machines count like people.
    pub(crate) const AS_PEOPLE: Self = Self {
        proxy: 1.0,
        scanner: 1.0,
        bot: 1.0,
    };

    /// The multiplier of a class.
    #[must_use]
    pub const fn of(&self, class: MachineClass) -> f64 {
        match class {
            MachineClass::None => 1.0,
            MachineClass::Proxy => self.proxy,
            MachineClass::Scanner => self.scanner,
            MachineClass::Bot => self.bot,
        }
    }

    pub(crate) fn check(&self, check: &mut Check) {
        for (class, weight) in [
            ("proxy", self.proxy),
            ("scanner", self.scanner),
            ("bot", self.bot),
        ] {
            check.within(&["machine", class], weight, 0.0, 1.0);
        }
    }
}

/// A named stretch of the score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// Label.
    pub label: String,
    /// Lower bound, inclusive, 0-100.
    pub at_least: f64,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Most that the channel's decayed weights can add up to.
    pub cap: f64,
}

/// What one event of a type is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventWeight {
    /// Channel it belongs to.
    pub channel: String,
    /// Worth when fresh; negative for a penalty.
    pub weight: f64,
    /// Half-life class in days: 3, 14, 30 or 60.
    pub half_life_days: u16,
    /// Multiplier for inbound events (and those without direction).
    #[serde(default = "one")]
    pub inbound: f64,
    /// Multiplier for outbound events.
    #[serde(default = "one")]
    pub outbound: f64,
    /// What one is called: "reply".
    pub singular: String,
    /// What several are called: "replies".
    pub plural: String,
}

const fn one() -> f64 {
    1.0
}

impl EventWeight {
    /// The multiplier of a direction.
    #[must_use]
    pub const fn of(&self, direction: Option<Direction>) -> f64 {
        match direction {
            Some(Direction::Outbound) => self.outbound,
            Some(Direction::Inbound) | None => self.inbound,
        }
    }
}

/// An event type at its place in the order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) event_type: String,
    pub(crate) channel: usize,
    pub(crate) cap: f64,
    pub(crate) event: EventWeight,
}

impl Engagement {
    /// The place of an event type in the order; `None` when it is not scored.
    pub(crate) fn place(&self, event_type: &str) -> Option<usize> {
        self.index
            .get(event_type)
            .copied()
            .or_else(|| self.custom.filter(|_| event_type.starts_with("custom.")))
    }

    /// The saturating curve.
    pub(crate) const fn curve(&self) -> Curve {
        Curve {
            top: 100.0,
            scale: self.saturation,
        }
    }
}

impl Definition for Engagement {
    const NAME: &'static str = "engagement";
    const SHIPPED: &'static str = include_str!("../../definitions/engagement.toml");

    fn header(&self) -> (&str, u32) {
        (&self.name, self.version)
    }

    fn check(&self, check: &mut Check) {
        check.positive(&["saturation"], self.saturation);
        self.machine.check(check);
        let bounds: Vec<f64> = self.bands.iter().map(|band| band.at_least).collect();
        check.ascending(&["bands"], &bounds);
        for (place, band) in self.bands.iter().enumerate() {
            check.within(
                &["bands", &place.to_string(), "at_least"],
                band.at_least,
                0.0,
                100.0,
            );
            check.named(&["bands", &place.to_string(), "label"], &band.label);
        }
        for (name, channel) in &self.channels {
            check.positive(&["channels", name, "cap"], channel.cap);
        }
        for (name, event) in &self.events {
            let at = |key| ["events", name.as_str(), key];
            check.event_type(&["events", name], name);
            check.one_of(
                &at("channel"),
                &event.channel,
                self.channels.keys().map(String::as_str),
            );
            check.finite(&at("weight"), event.weight);
            check.half_life(&at("half_life_days"), event.half_life_days, CONTACT_HALF_LIVES);
            check.within(&at("inbound"), event.inbound, 0.0, 10.0);
            check.within(&at("outbound"), event.outbound, 0.0, 10.0);
            check.named(&at("singular"), &event.singular);
            check.named(&at("plural"), &event.plural);
        }
    }

    fn prepare(&mut self) {
        let channels: Vec<(&String, &Channel)> = self.channels.iter().collect();
        for (event_type, event) in &self.events {
            if let Some(channel) = channels.iter().position(|(name, _)| **name == event.channel) {
                let (event_type, event, cap) = (event_type.clone(), event.clone(), channels[channel].1.cap);
                self.order.push(Ranked {
                    event_type,
                    channel,
                    cap,
                    event,
                });
            }
        }
        self.order.sort_by_key(|ranked| ranked.channel);
        for (place, ranked) in self.order.iter().enumerate() {
            if ranked.event_type == "custom.*" {
                self.custom = Some(place);
            } else {
                self.index.insert(ranked.event_type.clone(), place);
            }
        }
    }
}
