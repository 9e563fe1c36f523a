//! How a draft is judged, on borrowed text, so that a door can judge a hundred thousand a second without copying.
//!
//! [`crate::event::EventDraft::accept`] and the HTTP doors share this one judgement.

use std::{borrow::Cow, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{
    domain::{company_domain_of, normal_email_of},
    event::{Direction, Event, MAX_ID_BYTES, MAX_NAME_BYTES, MachineClass, Reception, Refusal, Trust},
    event_type::{EventKind, implied_direction, implied_kind},
    time::Timestamp,
};

/// An [`crate::event::EventDraft`] on borrowed text. `payload` is JSON text of an object; the caller vouches for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BorrowedDraft<'a> {
    /// Idempotency key; derived from the content when absent.
    pub event_id: Option<Cow<'a, str>>,
    /// Family; implied by a known type.
    pub kind: Option<EventKind>,
    /// Type name; required.
    pub event_type: Option<Cow<'a, str>>,
    /// When it happened; the receipt time when absent.
    pub event_time: Option<Timestamp>,
    /// When the organisation knew it; honoured only for [`Trust::History`].
    pub known_at: Option<Timestamp>,
    /// The system it came from; the connector's name when absent.
    pub source: Option<Cow<'a, str>>,
    /// Account id.
    pub account_id: Option<Cow<'a, str>>,
    /// Contact id.
    pub contact_id: Option<Cow<'a, str>>,
    /// Deal id.
    pub deal_id: Option<Cow<'a, str>>,
    /// Rep id.
    pub user_id: Option<Cow<'a, str>>,
    /// Mail address of the contact.
    pub email: Option<Cow<'a, str>>,
    /// Company host, URL or domain.
    pub domain: Option<Cow<'a, str>>,
    /// Direction.
    pub direction: Option<Direction>,
    /// Machine or person.
    pub machine_class: Option<MachineClass>,
    /// The type's number.
    pub value: Option<f64>,
    /// JSON text of an object.
    pub payload: Cow<'a, str>,
}

/// An accepted event on borrowed text: an [`Event`] but for its tenant, which is the reception's.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedEvent<'a> {
    /// Idempotency key within the tenant.
    pub event_id: Cow<'a, str>,
    /// Family.
    pub kind: EventKind,
    /// Type name.
    pub event_type: Cow<'a, str>,
    /// Whether Revgauge knows the type; an unknown one is stored, counted and unscored.
    pub known_type: bool,
    /// When it happened.
    pub event_time: Timestamp,
    /// When we received it.
    pub ingested_at: Timestamp,
    /// When the organisation knew it.
    pub known_at: Timestamp,
    /// The system it came from.
    pub source: Cow<'a, str>,
    /// Account id.
    pub account_id: Option<Cow<'a, str>>,
    /// Contact id.
    pub contact_id: Option<Cow<'a, str>>,
    /// Deal id.
    pub deal_id: Option<Cow<'a, str>>,
    /// Rep id.
    pub user_id: Option<Cow<'a, str>>,
    /// Normalised mail address.
    pub email: Option<Cow<'a, str>>,
    /// Registered company domain.
    pub domain: Option<Cow<'a, str>>,
    /// Direction, where the type has one.
    pub direction: Option<Direction>,
    /// Machine or person.
    pub machine_class: MachineClass,
    /// The type's number; finite.
    pub value: Option<f64>,
    /// JSON object text.
    pub payload: Cow<'a, str>,
}

impl<'a> BorrowedDraft<'a> {
    /// Judges the draft alone.
    ///
    /// # Errors
    /// The [`Refusal`]s of [`crate::event::EventDraft::accept`].
    pub fn accept(self, reception: &Reception) -> Result<JudgedEvent<'a>, Refusal> {
        let Some(event_type) = self.event_type.map(trim).filter(|name| !name.is_empty()) else {
            return Err(Refusal::field(
                "missing_type",
                "type",
                "the event has no type; give one such as 'email.opened'",
            ));
        };
        check_name("type", &event_type)?;
        let implied = implied_kind(&event_type);
        let kind = resolve_kind(&event_type, implied, self.kind)?;
        let source = self.source.map(trim).filter(|source| !source.is_empty());
        let source = source.unwrap_or(Cow::Borrowed(reception.source));
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
        let email = clean_email(self.email)?;
        let domain = match self.domain {
            Some(domain) => company_domain_of(domain),
            None => match &email {
                Some(Cow::Borrowed(email)) => company_domain_of(Cow::Borrowed(email)),
                Some(Cow::Owned(email)) => {
                    company_domain_of(Cow::Borrowed(email)).map(|domain| Cow::Owned(domain.into_owned()))
                }
                None => None,
            },
        };
        let subjects = [&account_id, &contact_id, &deal_id, &user_id, &email, &domain];
        check_subject(kind, &event_type, subjects)?;

        let direction = self.direction.or_else(|| implied_direction(&event_type));
        let mut event = JudgedEvent {
            event_id: Cow::Borrowed(""),
            kind,
            event_type,
            known_type: implied.is_some(),
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
            payload: self.payload,
        };
        event.event_id = match event_id {
            Some(id) => id,
            None => Cow::Owned(content_id(&event)),
        };
        Ok(event)
    }
}

impl JudgedEvent<'_> {
    /// The event on its own text, for the tenant of the reception that judged it.
    #[must_use]
    pub fn into_event(self, tenant_id: Arc<str>) -> Event {
        let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        Event {
            tenant_id,
            event_id: self.event_id.into_owned(),
            kind: self.kind,
            event_type: self.event_type.into_owned(),
            event_time: self.event_time,
            ingested_at: self.ingested_at,
            known_at: self.known_at,
            source: self.source.into_owned(),
            account_id: owned(self.account_id),
            contact_id: owned(self.contact_id),
            deal_id: owned(self.deal_id),
            user_id: owned(self.user_id),
            email: owned(self.email),
            domain: owned(self.domain),
            direction: self.direction,
            machine_class: self.machine_class,
            value: self.value,
            payload: self.payload.into_owned(),
        }
    }
}

/// Trims without copying: borrowed text stays borrowed, owned text that needs no trimming stays as it is.
fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => {
            let trimmed = text.trim();
            if trimmed.len() == text.len() {
                Cow::Owned(text)
            } else {
                Cow::Owned(trimmed.to_owned())
            }
        }
    }
}

fn resolve_kind(
    event_type: &str,
    implied: Option<EventKind>,
    given: Option<EventKind>,
) -> Result<EventKind, Refusal> {
    match (implied, given) {
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
    let plain_byte =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b' ' | b':' | b'/');
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ' | ':' | '/');
    if name.len() > MAX_NAME_BYTES || !(name.bytes().all(plain_byte) || name.chars().all(plain)) {
        let message = format!(
            "'{}' is no {field}: use up to {MAX_NAME_BYTES} letters, digits and . _ - : /",
            clip(name)
        );
        return Err(Refusal::field(&format!("bad_{field}"), field, message));
    }
    Ok(())
}

fn clean_id<'a>(field: &str, id: Option<Cow<'a, str>>) -> Result<Option<Cow<'a, str>>, Refusal> {
    let Some(id) = id.map(trim).filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    if id.len() > MAX_ID_BYTES {
        let message = format!(
            "{field} is {} bytes long; at most {MAX_ID_BYTES} are taken",
            id.len()
        );
        return Err(Refusal::field("id_too_long", field, message));
    }
    let printable = id.bytes().all(|b| (0x20..0x7f).contains(&b));
    if !printable && id.chars().any(char::is_control) {
        return Err(Refusal::field(
            "bad_id",
            field,
            format!("{field} holds control characters"),
        ));
    }
    Ok(Some(id))
}

fn clean_email(email: Option<Cow<'_, str>>) -> Result<Option<Cow<'_, str>>, Refusal> {
    let Some(text) = email.map(trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let refused = |text: &str| {
        let message = format!("'{}' is no mail address", clip(text));
        Refusal::field("bad_email", "email", message)
    };
    match text {
        Cow::Borrowed(text) => normal_email_of(text).ok_or_else(|| refused(text)).map(Some),
        Cow::Owned(text) => match normal_email_of(&text) {
            Some(email) => Ok(Some(Cow::Owned(email.into_owned()))),
            None => Err(refused(&text)),
        },
    }
}

fn check_subject(
    kind: EventKind,
    event_type: &str,
    subjects: [&Option<Cow<'_, str>>; 6],
) -> Result<(), Refusal> {
    let [account_id, contact_id, deal_id, user_id, email, domain] = subjects;
    if kind == EventKind::Crm {
        let of_contact = contact_id.is_some() || email.is_some();
        let (named, field, wanted) = match event_type
            .split_once('.')
            .map_or(event_type, |(object, _)| object)
        {
            "account" => (
                account_id.is_some() || domain.is_some(),
                "account_id",
                "account_id or domain",
            ),
            "contact" => (of_contact, "contact_id", "contact_id or email"),
            "deal" => (deal_id.is_some(), "deal_id", "deal_id"),
            "role" if deal_id.is_none() => (false, "deal_id", "deal_id"),
            "role" => (of_contact, "contact_id", "contact_id or email"),
            "user" => (user_id.is_some(), "user_id", "user_id"),
            _ => return Ok(()),
        };
        if !named {
            let message = format!("'{event_type}' does not say which object it is about: give {wanted}");
            return Err(Refusal::field("missing_object_id", field, message));
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
fn content_id(event: &JudgedEvent<'_>) -> String {
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
        for nibble in [byte >> 4, byte & 15] {
            id.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    id
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrowed_text_stays_borrowed() {
        let draft = BorrowedDraft {
            event_id: Some(Cow::Borrowed(" e1 ")),
            event_type: Some(Cow::Borrowed("email.opened")),
            email: Some(Cow::Borrowed("jo@acme.io")),
            payload: Cow::Borrowed("{}"),
            ..BorrowedDraft::default()
        };
        let reception = Reception::live("t".into(), Timestamp(1_770_000_000_000_000), "test");
        let event = draft.accept(&reception).expect("accepted");
        assert!(matches!(event.event_id, Cow::Borrowed("e1")));
        assert!(matches!(event.email, Some(Cow::Borrowed("jo@acme.io"))));
        assert!(event.known_type);
        assert_eq!(event.domain.as_deref(), Some("acme.io"));
    }

    #[test]
    fn an_unknown_type_is_taken_and_marked() {
        let draft = BorrowedDraft {
            event_type: Some(Cow::Borrowed("espresso.drunk")),
            contact_id: Some(Cow::Borrowed("c1")),
            payload: Cow::Borrowed("{}"),
            ..BorrowedDraft::default()
        };
        let reception = Reception::live("t".into(), Timestamp(1_770_000_000_000_000), "test");
        let event = draft.accept(&reception).expect("accepted");
        assert!(!event.known_type);
        assert!(event.event_id.starts_with("sha:"));
    }
}
