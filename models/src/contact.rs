//! What is scored of a person: engagement, authority, the next action.

mod authority;
mod channel;
mod engagement;
mod next_action;
mod responses;
mod send_time;
#[cfg(test)]
pub(crate) mod tests;

use revgauge_contract::{Timestamp, score::Score};

pub(crate) use self::engagement::{Reading as EngagementReading, event_weight};
pub use self::{engagement::engagement_crossing, send_time::add_rhythm};
use crate::{
    assembly::Detail, definitions::Definitions, facts::ContactFacts, fingerprint::contact_fingerprint,
};

/// The scores of a contact at an instant, and what the account's scores read of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ContactScores {
    /// Engagement 0-100; its tier is the band.
    pub engagement: Score,
    /// Buying authority 0-1.
    pub authority: Score,
    /// Urgency 0-1 of the next action; the action, channel and send time are its facts, its name is the tier.
    pub next_action: Score,
    /// Whether touches have gone unanswered long enough to stop (SO-10).
    pub unresponsive: bool,
    /// Last inbound activity of a person.
    pub last_inbound: Option<Timestamp>,
    /// Whether they have replied, met or called.
    pub two_way: bool,
}

/// Scores a contact. A pure function of definitions, facts and instant.
///
/// `segment_rhythm` is how the segment's answers spread over the hours of the week in UTC, in any unit (see
/// [`add_rhythm`]); all zero means evenly. Cost: a few microseconds with [`Detail::Value`], several times that with
/// [`Detail::Full`].
#[must_use]
pub fn score_contact(
    definitions: &Definitions,
    facts: &ContactFacts,
    segment_rhythm: &[f64; 168],
    at: Timestamp,
    detail: Detail,
) -> ContactScores {
    let fingerprint = contact_fingerprint(facts);
    let responses = responses::read(&definitions.actions, facts);
    let engagement = engagement::score(&definitions.engagement, facts, &fingerprint, at, detail);
    let authority = authority::score(&definitions.authority, facts, &fingerprint, at, detail);
    let unresponsive = responses.unresponsive(&definitions.actions, at);
    let situation = next_action::Situation {
        facts,
        responses: &responses,
        unresponsive,
        engagement: engagement.value,
        segment_rhythm,
        at,
    };
    let next_action = next_action::score(&definitions.actions, &situation, &fingerprint, detail);
    ContactScores {
        engagement,
        authority,
        next_action,
        unresponsive,
        last_inbound: responses.last_activity,
        two_way: responses.two_way,
    }
}
