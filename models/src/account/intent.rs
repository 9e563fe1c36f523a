//! Intent 0-1: capped families of decaying signals plus the surge, saturated.

use revgauge_contract::{
    Timestamp,
    event::{Direction, MachineClass},
    score::{Contribution, Score},
};
use serde_json::json;

use crate::{
    assembly::{Detail, Maker, ScoreFacts, part},
    decay::{self, Term, decayed},
    definitions::{Definitions, Intent, Versioned, intent::RankedSignal},
    facts::AccountFacts,
    wording::{ago, counted},
};

/// What was read of one signal.
#[derive(Debug, Clone, Copy, Default)]
struct Kind {
    /// Decayed weight, machines as weighted by the definition.
    strength: f64,
    n: i64,
    machine_n: i64,
    last: Option<Timestamp>,
}

/// An account's intent at an instant, and from then on as long as nothing happens.
struct Reading<'a> {
    definition: &'a Intent,
    kinds: Vec<Kind>,
    /// Decayed counts that the surge compares.
    fast: f64,
    slow: f64,
}

impl<'a> Reading<'a> {
    fn new(definition: &'a Intent, facts: &AccountFacts, at: Timestamp) -> Self {
        let mut reading = Self {
            definition,
            kinds: vec![Kind::default(); definition.order.len()],
            fast: 0.0,
            slow: 0.0,
        };
        for row in &facts.signals {
            let Some(place) = definition.place(&row.event_type) else {
                continue;
            };
            let ranked = &definition.order[place];
            let outbound = row.direction == Some(Direction::Outbound);
            let counts = if outbound { ranked.signal.outbound } else { 1.0 };
            if counts == 0.0 || row.n <= 0 {
                continue;
            }
            let counts = counts * definition.machine.of(row.machine_class);
            let kind = &mut reading.kinds[place];
            kind.strength += ranked.signal.weight * counts * decayed(row, ranked.half_life_days, at);
            kind.last = kind.last.max(Some(row.last_time));
            if row.machine_class == MachineClass::None {
                kind.n += row.n;
            } else {
                kind.machine_n += row.n;
            }
            if ranked.surges {
                reading.fast += counts * decayed(row, definition.surge.fast_days, at);
                reading.slow += counts * decayed(row, definition.surge.slow_days, at);
            }
        }
        reading
    }

    /// Sum of capped families, `days` later. The order keeps a family's signals together.
    fn families(&self, days: f64) -> f64 {
        let (mut gains, mut family) = (0.0, (usize::MAX, 0.0, 0.0));
        for (ranked, kind) in self.definition.order.iter().zip(&self.kinds) {
            if ranked.family != family.0 {
                gains += f64::min(family.1, family.2);
                family = (ranked.family, 0.0, ranked.cap);
            }
            family.1 += Term {
                value: kind.strength,
                half_life_days: f64::from(ranked.half_life_days),
            }
            .after(days);
        }
        gains + f64::min(family.1, family.2)
    }

    /// Worth of the surge, `days` later.
    fn surge(&self, days: f64) -> f64 {
        let surge = &self.definition.surge;
        let after = |value: f64, class: u16| {
            Term {
                value,
                half_life_days: f64::from(class),
            }
            .after(days)
        };
        surge.weight
            * surge.strength(
                after(self.fast, surge.fast_days),
                after(self.slow, surge.slow_days),
            )
    }

    fn sum(&self, days: f64) -> f64 {
        self.families(days) + self.surge(days)
    }

    fn of_family(&self, family: usize) -> f64 {
        let kinds = self.definition.order.iter().zip(&self.kinds);
        kinds
            .filter(|(ranked, _)| ranked.family == family)
            .map(|(_, kind)| kind.strength)
            .sum()
    }

    fn parts(&self, per_gain: f64, at: Timestamp) -> Vec<Contribution> {
        let seen = |kind: &Kind| kind.n > 0 || kind.machine_n > 0;
        let kinds = self
            .definition
            .order
            .iter()
            .zip(&self.kinds)
            .filter(|(_, kind)| seen(kind));
        let mut parts: Vec<Contribution> = kinds
            .map(|(ranked, kind)| {
                let whole = self.of_family(ranked.family);
                let capped = if whole > ranked.cap {
                    ranked.cap / whole
                } else {
                    1.0
                };
                part(
                    &*ranked.event_type,
                    kind.strength * capped * per_gain,
                    reason(ranked, kind, at),
                )
            })
            .collect();
        let surge = self.surge(0.0);
        if surge > 0.0 {
            let usual = self.slow * f64::from(self.definition.surge.fast_days)
                / f64::from(self.definition.surge.slow_days);
            let reason = format!(
                "activity is {:.1} times what is usual for them",
                self.fast / usual.max(0.1)
            );
            parts.push(part("surge", surge * per_gain, reason));
        }
        parts
    }
}

fn reason(ranked: &RankedSignal, kind: &Kind, at: Timestamp) -> String {
    let n = kind.n + kind.machine_n;
    let mut text = counted(n, &ranked.signal.singular, &ranked.signal.plural);
    if let Some(last) = kind.last {
        text += if n == 1 { ", " } else { ", the last " };
        text += &ago(at, last);
    }
    if kind.machine_n > 0 {
        text += &format!("; {} by machines", kind.machine_n);
    }
    text
}

/// The account's intent; unscored when no signal was ever seen.
pub(super) fn score(
    definition: &Versioned<Intent>,
    facts: &AccountFacts,
    fingerprint: &str,
    at: Timestamp,
    detail: Detail,
) -> Score {
    let maker = Maker {
        name: "intent",
        definition: definition.id(),
        fingerprint,
    };
    let reading = Reading::new(definition, facts, at);
    let (people, machines) = reading
        .kinds
        .iter()
        .fold((0, 0), |sum, kind| (sum.0 + kind.n, sum.1 + kind.machine_n));
    if people == 0 && reading.kinds.iter().all(|kind| kind.strength <= 0.0) {
        return maker.unscored("no signal of intent has been seen", ScoreFacts::new());
    }
    let shared = definition.curve().share(reading.sum(0.0), 0.0);
    if !detail.is_full() {
        return maker.scored(shared.value, Vec::new(), ScoreFacts::new(), detail);
    }
    let strength = definition.surge.strength(reading.fast, reading.slow);
    let known = [
        ("signals".to_owned(), json!(people)),
        ("machine_signals".to_owned(), json!(machines)),
        ("surge".to_owned(), json!(strength)),
        (
            "last_signal_at".to_owned(),
            json!(reading.kinds.iter().filter_map(|kind| kind.last).max()),
        ),
    ];
    maker.scored(
        shared.value,
        reading.parts(shared.per_gain, at),
        known.into(),
        detail,
    )
}

/// The instant after `at` at which an account's intent falls below `theta` if nothing happens (N-5).
///
/// `None` when it is below already, unscored, or never falls below. Families only decay and the surge only fades, so
/// bisection is exact to a microsecond.
#[must_use]
pub fn intent_crossing(
    definitions: &Definitions,
    facts: &AccountFacts,
    theta: f64,
    at: Timestamp,
) -> Option<Timestamp> {
    let definition = &*definitions.intent;
    let bound = definition.curve().inverse(theta).filter(|bound| *bound > 0.0)?;
    let reading = Reading::new(definition, facts, at);
    if reading.sum(0.0) < bound {
        return None;
    }
    let days = decay::bisect(0.0, decay::HORIZON_DAYS, |days| reading.sum(days) < bound)?;
    Some(decay::instant_after(at, days))
}
