//! Engagement 0-100: decayed, capped, saturated, with machine events kept apart (N-8).

use revgauge_contract::{
    Timestamp,
    event::{Direction, MachineClass},
    score::{Contribution, Score},
};
use serde_json::{Map, Value, json};

use crate::{
    assembly::{Detail, Maker, ScoreFacts, part},
    decay::{self, Term, decayed},
    definitions::{
        Definitions, Versioned,
        engagement::{Engagement, MachineWeights, Ranked},
    },
    facts::ContactFacts,
    saturation::Shared,
    wording::{ago, counted},
};

/// What was read of one event type: decayed weights at the instant, people and machines apart.
#[derive(Debug, Clone, Copy, Default)]
struct Kind {
    /// Decayed weight of people's events, without sign.
    people: f64,
    /// Decayed weight of machine events by class, without sign.
    machines: [f64; 3],
    n: i64,
    machine_n: i64,
    last: Option<Timestamp>,
}

impl Kind {
    fn strength(&self, machine: &MachineWeights) -> f64 {
        let [proxy, scanner, bot] = self.machines;
        self.people + proxy * machine.proxy + scanner * machine.scanner + bot * machine.bot
    }
}

/// A contact's engagement at an instant, and from then on as long as nothing happens.
pub(crate) struct Reading<'a> {
    definition: &'a Engagement,
    /// One for each event type of the definition, in its order.
    kinds: Vec<Kind>,
}

/// Points of one event type and the decayed weight they stand for.
pub(crate) struct Share<'a> {
    pub(crate) ranked: &'a Ranked,
    pub(crate) points: f64,
    /// Decayed weight before the cap, machines as weighted by the definition.
    pub(crate) strength: f64,
    kind: Kind,
}

/// Worth of one fresh event of a type and its half-life in days; `None` when it is not scored.
pub(crate) fn event_weight(
    definition: &Engagement,
    event_type: &str,
    direction: Option<Direction>,
    class: MachineClass,
) -> Option<(f64, u16)> {
    let event = &definition.order[definition.place(event_type)?].event;
    let weight = event.weight.abs() * event.of(direction) * definition.machine.of(class);
    Some((weight, event.half_life_days))
}

impl<'a> Reading<'a> {
    pub(crate) fn new(definition: &'a Engagement, facts: &ContactFacts, at: Timestamp) -> Self {
        let mut kinds = vec![Kind::default(); definition.order.len()];
        for row in &facts.activity {
            let Some(place) = definition.place(&row.event_type) else {
                continue;
            };
            let event = &definition.order[place].event;
            let weight = event.weight.abs() * event.of(row.direction);
            if weight == 0.0 || row.n <= 0 {
                continue;
            }
            let kind = &mut kinds[place];
            let strength = weight * decayed(row, event.half_life_days, at);
            match row.machine_class {
                MachineClass::None => {
                    kind.people += strength;
                    kind.n += row.n;
                    kind.last = kind.last.max(Some(row.last_time));
                    continue;
                }
                MachineClass::Proxy => kind.machines[0] += strength,
                MachineClass::Scanner => kind.machines[1] += strength,
                MachineClass::Bot => kind.machines[2] += strength,
            }
            kind.machine_n += row.n;
        }
        Self { definition, kinds }
    }

    /// Sums of capped gains and of penalties `days` later. The order keeps a channel's types together.
    fn sums(&self, machine: &MachineWeights, days: f64) -> (f64, f64) {
        let (mut gains, mut penalties, mut channel) = (0.0, 0.0, (usize::MAX, 0.0, 0.0));
        for (ranked, kind) in self.definition.order.iter().zip(&self.kinds) {
            let strength = kind.strength(machine);
            if strength == 0.0 {
                continue;
            }
            let term = Term {
                value: strength,
                half_life_days: f64::from(ranked.event.half_life_days),
            };
            let strength = if days == 0.0 { strength } else { term.after(days) };
            if ranked.event.weight < 0.0 {
                penalties += strength;
                continue;
            }
            if ranked.channel != channel.0 {
                gains += f64::min(channel.1, channel.2);
                channel = (ranked.channel, 0.0, ranked.cap);
            }
            channel.1 += strength;
        }
        (gains + f64::min(channel.1, channel.2), penalties)
    }

    fn share(&self, machine: &MachineWeights) -> Shared {
        let (gains, penalties) = self.sums(machine, 0.0);
        self.definition.curve().share(gains, penalties)
    }

    /// Points of each type that was seen; they sum to the score.
    pub(crate) fn shares(&self) -> Vec<Share<'a>> {
        let machine = &self.definition.machine;
        let shared = self.share(machine);
        let of_channel = |channel: usize| -> f64 {
            let kinds = self.definition.order.iter().zip(&self.kinds);
            kinds
                .filter(|(ranked, _)| ranked.channel == channel && ranked.event.weight >= 0.0)
                .map(|(_, kind)| kind.strength(machine))
                .sum()
        };
        let seen = |kind: &Kind| kind.n > 0 || kind.machine_n > 0;
        let kinds = self
            .definition
            .order
            .iter()
            .zip(&self.kinds)
            .filter(|(_, kind)| seen(kind));
        kinds
            .map(|(ranked, kind)| {
                let strength = kind.strength(machine);
                let rate = if ranked.event.weight < 0.0 {
                    -shared.per_penalty
                } else {
                    let whole = of_channel(ranked.channel);
                    shared.per_gain
                        * if whole > ranked.cap {
                            ranked.cap / whole
                        } else {
                            1.0
                        }
                };
                Share {
                    ranked,
                    points: strength * rate,
                    strength,
                    kind: *kind,
                }
            })
            .collect()
    }

    /// When the score falls below `theta`, in days from the instant of the reading.
    fn falls_below(&self, theta: f64) -> Option<f64> {
        let bound = self
            .definition
            .curve()
            .inverse(theta)
            .filter(|bound| *bound > 0.0)?;
        let machine = &self.definition.machine;
        let (gains, penalties) = self.sums(machine, 0.0);
        if gains - penalties < bound {
            return None;
        }
        let terms: Vec<Term> = self
            .definition
            .order
            .iter()
            .zip(&self.kinds)
            .filter(|(ranked, _)| ranked.event.weight > 0.0)
            .map(|(ranked, kind)| Term {
                value: kind.strength(machine),
                half_life_days: f64::from(ranked.event.half_life_days),
            })
            .collect();
        let uncapped: f64 = terms.iter().map(|term| term.value).sum();
        if penalties == 0.0 && uncapped <= gains * (1.0 + 1e-12) {
            return decay::crossing_days(&terms, bound);
        }
        // Penalties fade too, so the score may rise before it falls: spans are judged by the extremes of both.
        let bounds = |from: f64, to: f64| {
            let (high, worst) = self.sums(machine, from);
            let (low, least) = self.sums(machine, to);
            (low - worst, high - least)
        };
        decay::first_below(0.0, decay::HORIZON_DAYS, bound, &bounds)
    }

    fn last(&self) -> Option<Timestamp> {
        self.kinds.iter().filter_map(|kind| kind.last).max()
    }
}

/// The instant after `at` at which a contact's engagement falls below `theta` if nothing happens (N-5).
///
/// `None` when it is below already, unscored, or never falls below (theta of 0 or less, or beyond a hundred years).
/// Closed form for one half-life class, bisection for several; exact to a microsecond.
#[must_use]
pub fn engagement_crossing(
    definitions: &Definitions,
    facts: &ContactFacts,
    theta: f64,
    at: Timestamp,
) -> Option<Timestamp> {
    let days = Reading::new(&definitions.engagement, facts, at).falls_below(theta)?;
    Some(decay::instant_after(at, days))
}

/// The engagement score of a contact.
pub(super) fn score(
    definition: &Versioned<Engagement>,
    facts: &ContactFacts,
    fingerprint: &str,
    at: Timestamp,
    detail: Detail,
) -> Score {
    let maker = Maker {
        name: "engagement",
        definition: definition.id(),
        fingerprint,
    };
    let reading = Reading::new(definition, facts, at);
    let (people, machines) = reading.kinds.iter().fold((0, 0), |(people, machines), kind| {
        (people + kind.n, machines + kind.machine_n)
    });
    let counted_machines = reading
        .kinds
        .iter()
        .any(|kind| kind.strength(&definition.machine) > 0.0);
    if people == 0 && !counted_machines {
        let because = match machines {
            0 => "no engagement has been seen".to_owned(),
            n => format!("only machine events have been seen ({n})"),
        };
        let facts = if machines > 0 {
            [("machine_events".to_owned(), json!(machines))].into()
        } else {
            ScoreFacts::new()
        };
        return maker.unscored(because, facts);
    }
    let value = reading.share(&definition.machine).value;
    let (parts, facts) = if detail.is_full() {
        (
            parts(&reading, at),
            score_facts(&reading, value, at, people, machines),
        )
    } else {
        (Vec::new(), ScoreFacts::new())
    };
    let mut score = maker.scored(value, parts, facts, detail);
    score.tier = band(definition, value).map(|(label, _)| label.to_owned());
    score
}

/// Label and lower bound of the band that a value reaches.
fn band(definition: &Engagement, value: f64) -> Option<(&str, f64)> {
    let reached = definition
        .bands
        .iter()
        .rev()
        .find(|band| value >= band.at_least)?;
    Some((&reached.label, reached.at_least))
}

fn parts(reading: &Reading<'_>, at: Timestamp) -> Vec<Contribution> {
    reading
        .shares()
        .into_iter()
        .map(|share| part(&*share.ranked.event_type, share.points, reason(&share, at)))
        .collect()
}

fn reason(share: &Share<'_>, at: Timestamp) -> String {
    let Kind {
        n, machine_n, last, ..
    } = share.kind;
    let words = &share.ranked.event;
    let mut text = String::new();
    if n > 0 {
        text = counted(n, &words.singular, &words.plural);
        if let Some(last) = last {
            text += if n == 1 { ", " } else { ", the last " };
            text += &ago(at, last);
        }
    }
    if machine_n > 0 {
        let machines = format!(
            "{} by machines",
            counted(machine_n, &words.singular, &words.plural)
        );
        text = if n > 0 {
            format!("{text}; {machines}")
        } else {
            machines
        };
    }
    text
}

fn score_facts(reading: &Reading<'_>, value: f64, at: Timestamp, people: i64, machines: i64) -> ScoreFacts {
    let definition = reading.definition;
    let mut facts = ScoreFacts::new();
    facts.insert("events".into(), json!(people));
    facts.insert("machine_events".into(), json!(machines));
    facts.insert(
        "value_without_machines".into(),
        json!(reading.share(&MachineWeights::IGNORED).value),
    );
    facts.insert(
        "value_machines_as_people".into(),
        json!(reading.share(&MachineWeights::AS_PEOPLE).value),
    );
    if let Some(last) = reading.last() {
        facts.insert("last_event_at".into(), json!(last));
    }
    let names: Vec<&String> = definition.channels.keys().collect();
    let mut channels = Map::new();
    for share in reading.shares() {
        let points = channels
            .entry(names[share.ranked.channel].clone())
            .or_insert(json!(0.0));
        *points = json!(points.as_f64().unwrap_or_default() + share.points);
    }
    facts.insert("channels".into(), Value::Object(channels));
    if let Some((_, at_least)) = band(definition, value)
        && let Some(days) = reading.falls_below(at_least)
    {
        facts.insert(
            "falls_below".into(),
            json!({"value": at_least, "at": decay::instant_after(at, days)}),
        );
    }
    facts
}
