//! The event types Revgauge knows by name. Others are stored and counted but unscored.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The three families of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// Something a person did: opened, replied, met, called, visited.
    Engagement,
    /// Something learnt about a company or person.
    Enrichment,
    /// A change in the CRM.
    Crm,
}

impl EventKind {
    /// The text stored in the `kind` column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Engagement => "engagement",
            Self::Enrichment => "enrichment",
            Self::Crm => "crm",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Known engagement types.
pub const ENGAGEMENT: &[&str] = &[
    "email.sent",
    "email.delivered",
    "email.opened",
    "email.clicked",
    "email.replied",
    "email.bounced",
    "email.unsubscribed",
    "email.complained",
    "meeting.scheduled",
    "meeting.attended",
    "meeting.no_show",
    "meeting.cancelled",
    "call.completed",
    "call.no_answer",
    "page.viewed",
    "form.submitted",
    "content.downloaded",
    "linkedin.accepted",
    "linkedin.replied",
    "sms.replied",
    "transcript.recorded",
    "action.accepted",
    "action.rejected",
    "practice.completed",
];

/// Known enrichment types.
pub const ENRICHMENT: &[&str] = &[
    "company.enriched",
    "person.enriched",
    "signal.funding",
    "signal.hiring",
    "signal.news",
    "signal.website_change",
    "signal.review",
    "signal.conference",
    "signal.tech_detected",
    "signal.topic_surge",
];

/// CRM objects; each has the verbs `upserted`, `deleted` and `merged`.
pub const CRM_OBJECTS: &[&str] = &[
    "account",
    "contact",
    "deal",
    "user",
    "quota",
    "role",
    "stage",
    "forecast_submission",
    "exchange_rate",
];

/// Verbs of CRM events.
pub const CRM_VERBS: &[&str] = &["upserted", "deleted", "merged"];

/// The kind a type name implies, where it implies one. `custom.*` is engagement.
#[must_use]
pub fn implied_kind(name: &str) -> Option<EventKind> {
    if ENGAGEMENT.contains(&name) || name.starts_with("custom.") {
        return Some(EventKind::Engagement);
    }
    if ENRICHMENT.contains(&name) {
        return Some(EventKind::Enrichment);
    }
    crm_parts(name).map(|_| EventKind::Crm)
}

/// Splits `deal.upserted` into its object and verb when both are known.
#[must_use]
pub fn crm_parts(name: &str) -> Option<(&str, &str)> {
    let (object, verb) = name.split_once('.')?;
    (CRM_OBJECTS.contains(&object) && CRM_VERBS.contains(&verb)).then_some((object, verb))
}

/// Whether the type is one Revgauge scores or keeps as CRM state (an unknown one is stored and counted).
#[must_use]
pub fn is_known(name: &str) -> bool {
    implied_kind(name).is_some()
}

/// The direction a known type implies when the source gives none.
///
/// `meeting.*`, `call.*` and unknown types imply none. For `meeting.scheduled` the event's `value` is the start of the
/// meeting in epoch seconds; for `call.completed` and `meeting.attended` it is the duration in seconds.
#[must_use]
pub fn implied_direction(name: &str) -> Option<crate::event::Direction> {
    use crate::event::Direction::{Inbound, Outbound};
    match name {
        "email.sent" | "email.delivered" | "email.bounced" => Some(Outbound),
        "email.opened" | "email.clicked" | "email.replied" | "email.unsubscribed" | "email.complained"
        | "page.viewed" | "form.submitted" | "content.downloaded" | "linkedin.accepted"
        | "linkedin.replied" | "sms.replied" => Some(Inbound),
        _ => None,
    }
}
