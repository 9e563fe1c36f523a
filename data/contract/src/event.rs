//! The event envelope, how a draft from outside becomes one, and why it may be refused.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    domain::{company_domain, normal_email},
    event_type::{EventKind, implied_direction, implied_kind},
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
    pub event_id: Option<String>,
    /// Family; implied by a known type.
    pub kind: Option<EventKind>,
    /// Type name; required.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// When it happened; `accept` takes the receipt time when absent.
    pub event_time: Option<Timestamp>,
    /// When the organisation knew it; honoured only for [`Trust::History`].
    pub known_at: Option<Timestamp>,
    /// The system it came from; the connector's name when absent.
    pub source: Option<String>,
    /// Account id.
    pub account_id: Option<String>,
    /// Contact id.
    pub contact_id: Option<String>,
    /// Deal id.
    pub deal_id: Option<String>,
    /// Rep id.
    pub user_id: Option<String>,
    /// Mail address of the contact.
    pub email: Option<String>,
    /// Company host, URL or domain.
    pub domain: Option<String>,
    /// Direction.
    pub direction: Option<Direction>,
    /// Machine or person.
    pub machine_class: Option<MachineClass>,
    /// The type's number.
    pub value: Option<f64>,
    /// The type's own fields.
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
    /// Judges the draft alone and makes it an [`Event`].
    ///
    /// # Errors
    /// A [`Refusal`] names the first field at fault: `missing_type`, `bad_type`, `missing_subject`, `id_too_long`,
    /// `bad_id`, `bad_email`, `time_too_early`, `time_too_far_ahead`, `not_finite`, `kind_mismatch`,
    /// `missing_object_id`.
    pub fn accept(self, reception: &Reception) -> Result<Event, Refusal> {
        let event_type = self
            .event_type
            .as_deref()
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let event_type = event_type
            .ok_or_else(|| {
                Refusal::field(
                    "missing_type",
                    "type",
                    "the event has no type; give one such as 'email.opened'",
                )
            })?
            .to_owned();
        check_name("type", &event_type)?;
        let kind = resolve_kind(&event_type, self.kind)?;
        let source = self
            .source
            .as_deref()
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .unwrap_or(reception.source)
            .to_owned();
        check_name("source", &source)?;

        let event_time = self.event_time.unwrap_or(reception.received_at);
        check_time(event_time, reception)?;
        let known_at = match reception.trust {
            Trust::Live => reception.received_at,
            Trust::History => self.known_at.unwrap_or(event_time).min(reception.received_at),
        };
        if self.value.is_some_and(|value| !value.is_finite()) {
            return Err(Refusal::field(
                "not_finite",
                "value",
                "value is not a finite number",
            ));
        }
        let account_id = clean_id("account_id", self.account_id)?;
        let contact_id = clean_id("contact_id", self.contact_id)?;
        let deal_id = clean_id("deal_id", self.deal_id)?;
        let user_id = clean_id("user_id", self.user_id)?;
        let event_id = clean_id("event_id", self.event_id)?;
        let email = match self
            .email
            .as_deref()
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            Some(text) => Some(normal_email(text).ok_or_else(|| {
                Refusal::field(
                    "bad_email",
                    "email",
                    format!("'{}' is no mail address", clip(text)),
                )
            })?),
            None => None,
        };
        let domain = self
            .domain
            .as_deref()
            .or(email.as_deref())
            .and_then(company_domain);
        check_subject(
            kind,
            &event_type,
            [&account_id, &contact_id, &deal_id, &user_id, &email, &domain],
        )?;

        let direction = self.direction.or_else(|| implied_direction(&event_type));
        let payload = Value::Object(self.payload).to_string();
        let mut event = Event {
            tenant_id: Arc::clone(&reception.tenant_id),
            event_id: String::new(),
            kind,
            event_type,
            event_time,
            ingested_at: reception.received_at,
            known_at,
            source,
            account_id,
            contact_id,
            deal_id,
            user_id,
            email,
            domain,
            direction,
            machine_class: self.machine_class.unwrap_or_default(),
            value: self.value,
            payload,
        };
        event.event_id = event_id.unwrap_or_else(|| content_id(&event));
        Ok(event)
    }
}

fn resolve_kind(event_type: &str, given: Option<EventKind>) -> Result<EventKind, Refusal> {
    match (implied_kind(event_type), given) {
        (Some(implied), Some(given)) if implied != given => Err(Refusal::field(
            "kind_mismatch",
            "kind",
            format!("type '{event_type}' is of kind '{implied}', not '{given}'"),
        )),
        (Some(kind), _) | (None, Some(kind)) => Ok(kind),
        (None, None) => Ok(EventKind::Engagement),
    }
}

fn check_time(event_time: Timestamp, reception: &Reception) -> Result<(), Refusal> {
    if event_time < Timestamp::EARLIEST_EVENT {
        return Err(Refusal::field(
            "time_too_early",
            "event_time",
            format!("{event_time} is before 1990"),
        ));
    }
    if event_time > reception.received_at.plus_micros(reception.max_future_us) {
        let message = format!(
            "{event_time} lies too far after its receipt at {}",
            reception.received_at
        );
        return Err(Refusal::field("time_too_far_ahead", "event_time", message));
    }
    Ok(())
}

fn check_name(field: &str, name: &str) -> Result<(), Refusal> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ' | ':' | '/');
    if name.len() > MAX_NAME_BYTES || !name.chars().all(plain) {
        let message = format!(
            "'{}' is no {field}: use up to {MAX_NAME_BYTES} letters, digits and . _ - : /",
            clip(name)
        );
        return Err(Refusal::field(&format!("bad_{field}"), field, message));
    }
    Ok(())
}

fn clean_id(field: &str, id: Option<String>) -> Result<Option<String>, Refusal> {
    let Some(id) = id else { return Ok(None) };
    let trimmed = id.trim();
    if trimmed.is_empty() {
        return Ok(None);
    }
    if trimmed.len() > MAX_ID_BYTES {
        let message = format!(
            "{field} is {} bytes long; at most {MAX_ID_BYTES} are taken",
            trimmed.len()
        );
        return Err(Refusal::field("id_too_long", field, message));
    }
    if trimmed.chars().any(char::is_control) {
        return Err(Refusal::field(
            "bad_id",
            field,
            format!("{field} holds control characters"),
        ));
    }
    Ok(Some(if trimmed.len() == id.len() {
        id
    } else {
        trimmed.to_owned()
    }))
}

fn check_subject(kind: EventKind, event_type: &str, subjects: [&Option<String>; 6]) -> Result<(), Refusal> {
    let [account_id, contact_id, deal_id, user_id, email, domain] = subjects;
    if kind == EventKind::Crm {
        let named = match event_type
            .split_once('.')
            .map_or(event_type, |(object, _)| object)
        {
            "account" => account_id.is_some() || domain.is_some(),
            "contact" => contact_id.is_some() || email.is_some(),
            "deal" => deal_id.is_some(),
            "role" => deal_id.is_some() && (contact_id.is_some() || email.is_some()),
            "user" => user_id.is_some(),
            _ => return Ok(()),
        };
        if !named {
            let message = format!("'{event_type}' does not say which object it is about");
            return Err(Refusal::field("missing_object_id", "account_id", message));
        }
        return Ok(());
    }
    if subjects.iter().all(|subject| subject.is_none()) {
        let message =
            "the event is about nobody: give contact_id, email, account_id, domain, deal_id or user_id";
        return Err(Refusal::whole("missing_subject", message));
    }
    Ok(())
}

/// An id from the content, so that the same event sent twice without one is one event. Receipt times are left out.
fn content_id(event: &Event) -> String {
    let mut hash = Sha256::new();
    let time = event.event_time.micros().to_string();
    let value = event.value.map(|value| value.to_bits().to_string());
    let parts: [Option<&str>; 13] = [
        Some(event.kind.as_str()),
        Some(&event.event_type),
        Some(&time),
        Some(&event.source),
        event.account_id.as_deref(),
        event.contact_id.as_deref(),
        event.deal_id.as_deref(),
        event.user_id.as_deref(),
        event.email.as_deref(),
        event.domain.as_deref(),
        event.direction.map(Direction::as_str),
        value.as_deref(),
        Some(&event.payload),
    ];
    for part in parts {
        match part {
            Some(text) => {
                hash.update(text.len().to_le_bytes());
                hash.update(text.as_bytes());
            }
            None => hash.update([0xff; 8]),
        }
    }
    let digest = hash.finalize();
    let mut id = String::with_capacity(36);
    id.push_str("sha:");
    for byte in &digest[..16] {
        id.push_str(&format!("{byte:02x}"));
    }
    id
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
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
}
