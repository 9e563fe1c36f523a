//! One native event: JSON text to a borrowed draft, without a tree of values in between.
//!
//! Every value is taken as raw text first, so that one wrong value is that field's refusal and not a syntax error, and
//! a payload that needs no change is kept as it came.

use std::{borrow::Cow, fmt};

use revgauge_contract::{
    Timestamp,
    event::{Direction, MachineClass, Refusal},
    event_type::EventKind,
    judge::BorrowedDraft,
};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, value::RawValue};

use super::{machine, sheet::clip};

/// The envelope's fields, aliases after the name they stand for.
const FIELDS: [&str; 20] = [
    "event_id",
    "id",
    "messageId",
    "event_time",
    "timestamp",
    "occurred_at",
    "type",
    "kind",
    "source",
    "account_id",
    "contact_id",
    "deal_id",
    "user_id",
    "email",
    "domain",
    "direction",
    "machine_class",
    "value",
    "payload",
    "known_at",
];
const EVENT_ID: [usize; 3] = [0, 1, 2];
const EVENT_TIME: [usize; 3] = [3, 4, 5];

/// An event object as raw texts: known fields by place, unknown ones in order.
#[derive(Debug, Default)]
pub(crate) struct Envelope<'a> {
    fields: [Option<&'a RawValue>; FIELDS.len()],
    extras: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Envelope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut envelope = Envelope::default();
                while let Some(key) = map.next_key_seed(KeySeed)? {
                    let raw: &RawValue = map.next_value()?;
                    match key {
                        Key::Known(place) => envelope.fields[place] = Some(raw),
                        Key::Unknown(name) => envelope.extras.push((name, raw)),
                    }
                }
                Ok(envelope)
            }
        }
        deserializer.deserialize_any(Object)
    }
}

enum Key<'a> {
    Known(usize),
    Unknown(Cow<'a, str>),
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(known(name).map_or(Key::Unknown(Cow::Borrowed(name)), Key::Known))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(known(name).map_or_else(|| Key::Unknown(Cow::Owned(name.to_owned())), Key::Known))
    }
}

fn known(name: &str) -> Option<usize> {
    FIELDS.iter().position(|field| *field == name)
}

impl<'a> Envelope<'a> {
    /// The event's own id, for the answer, even when the rest is refused.
    pub(crate) fn event_id(&self) -> Option<Cow<'a, str>> {
        let (_, raw) = self.first(EVENT_ID)?;
        text("event_id", Some(raw)).ok().flatten()
    }

    /// The draft it stands for.
    ///
    /// # Errors
    /// `wrong_type`, `bad_text`, `bad_time`, `bad_kind`, `bad_direction`, `bad_machine_class`, `bad_payload`: the first
    /// field at fault.
    pub(crate) fn into_draft(mut self) -> Result<BorrowedDraft<'a>, Refusal> {
        let event_id = self.take_first(EVENT_ID);
        let event_time = self.take_first(EVENT_TIME);
        let [
            ..,
            event_type,
            kind,
            source,
            account,
            contact,
            deal,
            user,
            email,
            domain,
            direction,
            machine,
            value,
            payload,
            known_at,
        ] = self.fields;
        let event_id = text("event_id", event_id)?;
        let mut draft = BorrowedDraft {
            kind: word("kind", kind, "bad_kind", kind_of)?,
            event_type: string("type", event_type)?,
            event_time: time("event_time", event_time)?,
            known_at: time("known_at", known_at)?,
            source: string("source", source)?,
            account_id: text("account_id", account)?,
            contact_id: text("contact_id", contact)?,
            deal_id: text("deal_id", deal)?,
            user_id: text("user_id", user)?,
            email: string("email", email)?,
            domain: string("domain", domain)?,
            direction: word("direction", direction, "bad_direction", direction_of)?,
            machine_class: word("machine_class", machine, "bad_machine_class", machine_class_of)?,
            value: number("value", value)?,
            payload: Cow::Borrowed("{}"),
            event_id,
        };
        draft.payload = self.payload(payload, draft.event_id.is_some())?;
        if draft.machine_class.is_none() {
            draft.machine_class = hinted_machine(&draft);
        }
        Ok(draft)
    }

    fn first(&self, places: [usize; 3]) -> Option<(usize, &'a RawValue)> {
        let given = |place: &usize| self.fields[*place].map(|raw| (*place, raw));
        places
            .iter()
            .filter_map(given)
            .find(|(_, raw)| raw.get() != "null")
    }

    /// The first of the names that is given; what stands under the others is kept as unknown fields.
    fn take_first(&mut self, places: [usize; 3]) -> Option<&'a RawValue> {
        let (taken, raw) = self.first(places)?;
        for place in places.into_iter().filter(|place| *place != taken) {
            if let Some(other) = self.fields[place].filter(|raw| raw.get() != "null") {
                self.extras.push((Cow::Borrowed(FIELDS[place]), other));
            }
        }
        Some(raw)
    }

    /// The payload as it came where that is safe, else written anew with the unknown fields in it.
    ///
    /// Without an `event_id` the id is made from the content, so then the payload is always written in one form.
    fn payload(&self, raw: Option<&'a RawValue>, has_id: bool) -> Result<Cow<'a, str>, Refusal> {
        let text = match raw.map(RawValue::get) {
            None | Some("null") => "{}",
            Some(text) if text.starts_with('{') => text,
            Some(other) => return Err(wrong_type("payload", "an object", other)),
        };
        if has_id && self.extras.is_empty() && is_plainly_sound(text) {
            return Ok(Cow::Borrowed(text));
        }
        let mut payload: Map<String, Value> =
            serde_json::from_str(text).map_err(|e| bad_payload("payload", &e))?;
        for (name, raw) in &self.extras {
            let value = serde_json::from_str(raw.get()).map_err(|error| bad_payload(name, &error))?;
            let name = if payload.contains_key(name.as_ref()) {
                format!("_envelope_{name}")
            } else {
                name.clone().into_owned()
            };
            payload.insert(name, value);
        }
        Ok(Cow::Owned(Value::Object(payload).to_string()))
    }
}

fn bad_payload(field: &str, error: &serde_json::Error) -> Refusal {
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    Refusal::field(
        "bad_payload",
        &clip(field),
        format!("cannot read '{}': {said}", clip(field)),
    )
}

/// Whether JSON text, already known to be syntax, can be read by every reader: no broken surrogates, no number out of
/// range, no nesting past 128, on one line. The cheap test first, a real reading when it does not settle it.
fn is_plainly_sound(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.contains(&b'\n') || bytes.contains(&b'\r') {
        return false;
    }
    let exponent = |pair: &[u8]| (pair[1] | 0x20) == b'e' && pair[0].is_ascii_digit();
    if bytes.len() < 256 && !bytes.contains(&b'\\') && !bytes.windows(2).any(exponent) {
        return true;
    }
    serde_json::from_str::<Sound>(text).is_ok()
}

/// Reads any JSON to its end and keeps nothing.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Sound;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("json")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Sound, E> {
                Ok(Sound)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Sound, E> {
                Ok(Sound)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Sound, E> {
                Ok(Sound)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Sound, E> {
                Ok(Sound)
            }

            fn visit_str<E>(self, _: &str) -> Result<Sound, E> {
                Ok(Sound)
            }

            fn visit_unit<E>(self) -> Result<Sound, E> {
                Ok(Sound)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sound, A::Error> {
                while items.next_element::<Sound>()?.is_some() {}
                Ok(Sound)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Sound, A::Error> {
                while entries.next_entry::<Sound, Sound>()?.is_some() {}
                Ok(Sound)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

fn wrong_type(field: &str, wanted: &str, raw: &str) -> Refusal {
    let message = format!("{field} is to be {wanted}, not {}", clip(raw));
    Refusal::field("wrong_type", field, message)
}

/// A text field; numbers are not taken for text.
fn string<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, Refusal> {
    let Some(raw) = raw.map(RawValue::get) else {
        return Ok(None);
    };
    match raw.as_bytes().first() {
        Some(b'"') => unquote(field, raw).map(Some),
        Some(b'n') => Ok(None),
        _ => Err(wrong_type(field, "a text", raw)),
    }
}

/// An id: text, or a number as many CRMs give it, digit by digit.
fn text<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, Refusal> {
    match raw.map(RawValue::get) {
        Some(raw) if raw.bytes().all(|b| b.is_ascii_digit()) => Ok(Some(Cow::Borrowed(raw))),
        _ => string(field, raw),
    }
}

fn unquote<'a>(field: &str, raw: &'a str) -> Result<Cow<'a, str>, Refusal> {
    if !raw.as_bytes().contains(&b'\\') {
        return Ok(Cow::Borrowed(&raw[1..raw.len() - 1]));
    }
    serde_json::from_str(raw).map(Cow::Owned).map_err(|_| {
        Refusal::field(
            "bad_text",
            field,
            format!("{field} holds a broken unicode escape"),
        )
    })
}

/// A finite number or infinity; the judgement refuses the latter.
fn number(field: &str, raw: Option<&RawValue>) -> Result<Option<f64>, Refusal> {
    match raw.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(raw) if raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => raw
            .parse()
            .map(Some)
            .map_err(|_| wrong_type(field, "a number", raw)),
        Some(raw) => Err(wrong_type(field, "a number", raw)),
    }
}

/// A time as text, or as epoch seconds, milliseconds or microseconds (told apart by size; see [`epoch`]).
fn time(field: &str, raw: Option<&RawValue>) -> Result<Option<Timestamp>, Refusal> {
    if let Some(digits) = raw.map(RawValue::get)
        && digits.starts_with(|c: char| c == '-' || c.is_ascii_digit())
    {
        return epoch(field, digits).map(Some);
    }
    let Some(text) = string(field, raw)? else {
        return Ok(None);
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let parsed = text.parse::<Timestamp>();
    parsed
        .map(Some)
        .map_err(|error| Refusal::field("bad_time", field, error.to_string()))
}

/// Epoch seconds below 1e11 (year 5138), milliseconds below 1e14, microseconds below 1e17.
pub(crate) fn epoch(field: &str, digits: &str) -> Result<Timestamp, Refusal> {
    let bad = || {
        let message = format!("{} is no epoch time: give seconds or milliseconds", clip(digits));
        Refusal::field("bad_time", field, message)
    };
    if let Ok(whole) = digits.parse::<i64>() {
        return match whole.unsigned_abs() {
            0..100_000_000_000 => Ok(Timestamp(whole * 1_000_000)),
            100_000_000_000..100_000_000_000_000 => Ok(Timestamp(whole * 1_000)),
            100_000_000_000_000..100_000_000_000_000_000 => Ok(Timestamp(whole)),
            _ => Err(bad()),
        };
    }
    let number: f64 = digits.parse().map_err(|_| bad())?;
    let micros = match number.abs() {
        size if size < 1e11 => number * 1e6,
        size if size < 1e14 => number * 1e3,
        size if size < 1e17 => number,
        _ => return Err(bad()),
    };
    #[expect(clippy::cast_possible_truncation, reason = "below 1e17 by the arms above")]
    Ok(Timestamp(micros.round() as i64))
}

fn word<T>(
    field: &str,
    raw: Option<&RawValue>,
    code: &str,
    read: fn(&str) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    let Some(text) = string(field, raw)? else {
        return Ok(None);
    };
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    match read(text) {
        Some(found) => Ok(Some(found)),
        None => Err(Refusal::field(
            code,
            field,
            format!("'{}' is no {field}", clip(text)),
        )),
    }
}

fn kind_of(text: &str) -> Option<EventKind> {
    [EventKind::Engagement, EventKind::Enrichment, EventKind::Crm]
        .into_iter()
        .find(|kind| kind.as_str().eq_ignore_ascii_case(text))
}

pub(crate) fn direction_of(text: &str) -> Option<Direction> {
    [Direction::Inbound, Direction::Outbound]
        .into_iter()
        .find(|direction| direction.as_str().eq_ignore_ascii_case(text))
}

pub(crate) fn machine_class_of(text: &str) -> Option<MachineClass> {
    use MachineClass::{Bot, None as Person, Proxy, Scanner};
    [Person, Proxy, Scanner, Bot]
        .into_iter()
        .find(|class| class.as_str().eq_ignore_ascii_case(text))
}

/// Opens, clicks and views whose payload names a user agent are classed by it when the sender did not.
fn hinted_machine(draft: &BorrowedDraft<'_>) -> Option<MachineClass> {
    let event_type = draft.event_type.as_deref()?.trim();
    if !machine::is_suspect(event_type)
        || !draft.payload.contains("gent\"") && !draft.payload.contains("machine")
    {
        return None;
    }
    let fields = serde_json::from_str(&draft.payload).ok()?;
    machine::class_of_fields(event_type, &fields)
}

/// Whether text is one whole JSON value.
pub(crate) fn is_whole(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
