//! The channel to use (SO-37): the best response rate, smoothed towards what is usual, among those that are open.

use revgauge_contract::{Timestamp, event::MachineClass};

use crate::{
    decay::decayed,
    definitions::{Actions, actions::ActionChannel},
    facts::ContactFacts,
};

/// A channel and its smoothed response rate.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rated<'a> {
    pub(super) name: &'a str,
    /// Answers for each attempt, 0-1.
    pub(super) rate: f64,
    /// Why it cannot be used now.
    pub(super) closed_because: Option<&'static str>,
}

/// All channels, open ones first, best first.
pub(super) fn rated<'a>(definition: &'a Actions, facts: &ContactFacts, at: Timestamp) -> Vec<Rated<'a>> {
    let mut all: Vec<_> = definition
        .channels
        .iter()
        .map(|(name, channel)| rate(name, channel, definition, facts, at))
        .collect();
    all.sort_by(|a, b| {
        let open = a.closed_because.is_some().cmp(&b.closed_because.is_some());
        open.then_with(|| b.rate.total_cmp(&a.rate))
    });
    all
}

fn rate<'a>(
    name: &'a str,
    channel: &ActionChannel,
    definition: &Actions,
    facts: &ContactFacts,
    at: Timestamp,
) -> Rated<'a> {
    let (mut attempts, mut responses) = (0.0, 0.0);
    let (mut last_response, mut last_closed, mut used) = (None, None, false);
    for row in facts
        .activity
        .iter()
        .filter(|row| row.machine_class == MachineClass::None && row.n > 0)
    {
        let among = |types: &[String]| types.iter().any(|name| **name == *row.event_type);
        if among(&channel.attempts) {
            attempts += decayed(row, definition.channel_half_life_days, at);
            used = true;
        }
        if among(&channel.responses) {
            responses += decayed(row, definition.channel_half_life_days, at);
            last_response = last_response.max(Some(row.last_time));
            used = true;
        }
        if among(&channel.closed_by) {
            last_closed = last_closed.max(Some(row.last_time));
        }
    }
    let reachable = used
        || channel
            .requires
            .iter()
            .any(|field| facts.fields.get(field).is_some_and(|v| !v.is_empty()));
    let closed_because = if last_closed > last_response {
        Some("closed by a bounce, unsubscription or complaint")
    } else if !reachable {
        Some("no address or number is known")
    } else {
        None
    };
    let prior = channel.prior_rate * channel.prior_strength;
    let rate = (responses + prior) / (f64::max(attempts, responses) + channel.prior_strength);
    Rated {
        name,
        rate: rate.min(1.0),
        closed_because,
    }
}
