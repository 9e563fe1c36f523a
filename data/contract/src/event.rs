//! The event envelope, how a draft from outside becomes one, and why it may be refused.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    event_type::EventKind,
    judge::BorrowedDraft,
    time::{DAY_US, Timestamp},
};

/// Which way a message or call went, seen from our organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the buyer to us.
    Inbound,
    /// From us to the buyer.
    Outbound,
}

impl Direction {
    /// The text stored in the `direction` column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// Whether a machine made the event (N-8): tagged, never dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MachineClass {
    /// A person.
    #[default]
    None,
    /// A mail privacy proxy that opens on behalf of a person.
    Proxy,
    /// A link or attachment scanner.
    Scanner,
    /// A crawler or other robot.
    Bot,
}

impl MachineClass {
    /// The text stored in the `machine_class` column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Proxy => "proxy",
            Self::Scanner => "scanner",
            Self::Bot => "bot",
        }
    }
}

/// An accepted event: every rule of [`EventDraft::accept`] holds.
///
/// `payload` is JSON text of an object: the type's own fields, for CRM events the changed fields, and every
/// envelope field that nobody knew.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Whose event it is.
    pub tenant_id: Arc<str>,
    /// Idempotency key within the tenant.
    pub event_id: String,
    /// Family.
    pub kind: EventKind,
    /// Type name such as `email.opened`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When it happened.
    pub event_time: Timestamp,
    /// When we received it.
    pub ingested_at: Timestamp,
    /// When the organisation knew it.
    pub known_at: Timestamp,
    /// The system it came from.
    pub source: String,
    /// Account id as the source names it.
    pub account_id: Option<String>,
    /// Contact id as the source names it.
    pub contact_id: Option<String>,
    /// Deal id as the source names it.
    pub deal_id: Option<String>,
    /// The rep.
    pub user_id: Option<String>,
    /// Normalised mail address of the contact.
    pub email: Option<String>,
    /// Registered company domain; never a free-mail host.
    pub domain: Option<String>,
    /// Direction, where the type has one.
    pub direction: Option<Direction>,
    /// Machine or person.
    pub machine_class: MachineClass,
    /// The type's number, where it has one (seconds of a call, amount of a funding round); finite.
    pub value: Option<f64>,
    /// JSON object text.
    pub payload: String,
}

impl Event {
    /// The key under which layer 1 keeps the contact: the source's id, else the normalised address.
    #[must_use]
    pub fn contact_key(&self) -> Option<&str> {
        self.contact_id.as_deref().or(self.email.as_deref())
    }

    /// The key under which layer 1 keeps the account: the source's id, else the registered domain.
    #[must_use]
    pub fn account_key(&self) -> Option<&str> {
        self.account_id.as_deref().or(self.domain.as_deref())
    }
}

/// Longest id accepted, in bytes.
pub const MAX_ID_BYTES: usize = 256;
/// Longest type or source name accepted, in bytes.
pub const MAX_NAME_BYTES: usize = 96;

/// An event as a source gives it: everything optional, nothing trusted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventDraft {
    /// Idempotency key; derived from the content when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Family; implied by a known type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<EventKind>,
    /// Type name; required.
    #[serde(rename = "type")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// When it happened; `accept` takes the receipt time when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time: Option<Timestamp>,
    /// When the organisation knew it; honoured only for [`Trust::History`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_at: Option<Timestamp>,
    /// The system it came from; the connector's name when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Account id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// Contact id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact_id: Option<String>,
    /// Deal id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deal_id: Option<String>,
    /// Rep id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Mail address of the contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Company host, URL or domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Machine or person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_class: Option<MachineClass>,
    /// The type's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The type's own fields.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub payload: Map<String, Value>,
}

/// Whether the source may say when the organisation knew something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A live door: known when received.
    Live,
    /// A trusted import: `known_at` is the draft's, else its event time.
    History,
}

/// What a connector knows about a draft beside the draft.
#[derive(Debug, Clone)]
pub struct Reception {
    /// The tenant of the key that brought it.
    pub tenant_id: Arc<str>,
    /// Receipt time.
    pub received_at: Timestamp,
    /// Source name when the draft has none.
    pub source: &'static str,
    /// Whether `known_at` is honoured.
    pub trust: Trust,
    /// How far in the future an event may lie, microseconds (default one day; meetings to come are events of
    /// type `meeting.scheduled` that happen when they are scheduled, with `starts_at` in the payload).
    pub max_future_us: i64,
}

impl Reception {
    /// A live reception with default limits.
    #[must_use]
    pub fn live(tenant_id: Arc<str>, received_at: Timestamp, source: &'static str) -> Self {
        Self {
            tenant_id,
            received_at,
            source,
            trust: Trust::Live,
            max_future_us: DAY_US,
        }
    }
}

/// Why an event was refused: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// Stable machine-readable reason, such as `time_too_far_ahead`.
    pub code: String,
    /// The field at fault, where there is one.
    pub field: Option<String>,
    /// For people: what was wrong and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal of one field.
    pub fn field(code: &str, field: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            field: Some(field.to_owned()),
            message: message.into(),
        }
    }

    /// A refusal of the whole.
    pub fn whole(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            field: None,
            message: message.into(),
        }
    }
}

impl EventDraft {
    /// Judges the draft alone and makes it an [`Event`] (see [`crate::judge`], where the rules are).
    ///
    /// # Errors
    /// A [`Refusal`] names the first field at fault: `missing_type`, `bad_type`, `missing_subject`, `id_too_long`,
    /// `bad_id`, `bad_email`, `time_too_early`, `time_too_far_ahead`, `not_finite`, `kind_mismatch`,
    /// `missing_object_id`.
    pub fn accept(self, reception: &Reception) -> Result<Event, Refusal> {
        let owned = |text: Option<String>| text.map(Cow::Owned);
        let draft = BorrowedDraft {
            event_id: owned(self.event_id),
            kind: self.kind,
            event_type: owned(self.event_type),
            event_time: self.event_time,
            known_at: self.known_at,
            source: owned(self.source),
            account_id: owned(self.account_id),
            contact_id: owned(self.contact_id),
            deal_id: owned(self.deal_id),
            user_id: owned(self.user_id),
            email: owned(self.email),
            domain: owned(self.domain),
            direction: self.direction,
            machine_class: self.machine_class,
            value: self.value,
            payload: Cow::Owned(Value::Object(self.payload).to_string()),
        };
        Ok(draft
            .accept(reception)?
            .into_event(Arc::clone(&reception.tenant_id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reception() -> Reception {
        Reception::live("t".into(), Timestamp(1_770_000_000_000_000), "test")
    }

    fn opened() -> EventDraft {
        EventDraft {
            event_type: Some("email.opened".into()),
            email: Some("Jo@Acme.io".into()),
            ..EventDraft::default()
        }
    }

    #[test]
    fn a_plain_draft_is_accepted_and_keyed() {
        let event = opened().accept(&reception()).expect("accepted");
        assert_eq!(event.contact_key(), Some("jo@acme.io"));
        assert_eq!(event.account_key(), Some("acme.io"));
        assert_eq!(event.kind, EventKind::Engagement);
        assert_eq!(
            event.event_id,
            opened().accept(&reception()).expect("accepted").event_id
        );
    }

    #[test]
    fn each_fault_is_refused_by_its_code() {
        let cases: Vec<(&str, EventDraft)> = vec![
            ("missing_type", EventDraft::default()),
            (
                "missing_subject",
                EventDraft {
                    email: None,
                    ..opened()
                },
            ),
            (
                "bad_email",
                EventDraft {
                    email: Some("nobody".into()),
                    ..opened()
                },
            ),
            (
                "not_finite",
                EventDraft {
                    value: Some(f64::NAN),
                    ..opened()
                },
            ),
            (
                "time_too_early",
                EventDraft {
                    event_time: Some(Timestamp(0)),
                    ..opened()
                },
            ),
            (
                "time_too_far_ahead",
                EventDraft {
                    event_time: Some(Timestamp(4_000_000_000_000_000)),
                    ..opened()
                },
            ),
            (
                "id_too_long",
                EventDraft {
                    contact_id: Some("x".repeat(300)),
                    ..opened()
                },
            ),
            (
                "bad_id",
                EventDraft {
                    contact_id: Some("a\u{0}b".into()),
                    ..opened()
                },
            ),
            (
                "bad_type",
                EventDraft {
                    event_type: Some("a\nb".into()),
                    ..opened()
                },
            ),
            (
                "kind_mismatch",
                EventDraft {
                    kind: Some(EventKind::Crm),
                    ..opened()
                },
            ),
            (
                "missing_object_id",
                EventDraft {
                    event_type: Some("deal.upserted".into()),
                    ..EventDraft::default()
                },
            ),
        ];
        for (code, draft) in cases {
            assert_eq!(draft.accept(&reception()).expect_err(code).code, code);
        }
    }

    #[test]
    fn an_object_that_is_not_named_is_told_by_the_field_it_lacks() {
        for (event_type, field) in [
            ("account.upserted", "account_id"),
            ("contact.merged", "contact_id"),
            ("deal.deleted", "deal_id"),
            ("role.upserted", "deal_id"),
            ("user.upserted", "user_id"),
        ] {
            let draft = EventDraft {
                event_type: Some(event_type.into()),
                ..EventDraft::default()
            };
            let refusal = draft.accept(&reception()).expect_err(event_type);
            assert_eq!(refusal.field.as_deref(), Some(field), "{event_type}: {refusal:?}");
        }
    }
}
