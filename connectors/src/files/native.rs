//! Events in our own form: one JSON object, or one row with envelope names as columns.

use std::borrow::Cow;

use revgauge_contract::{
    Timestamp,
    event::{EventDraft, Refusal},
    time::TimestampError,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    error::ImportError,
    rows::{Flow, Header, Raw, RowVisitor, Slot},
    work::Collector,
};

/// What the receiver sets itself; a file that holds our own rows carries them too.
const RECEIVERS_OWN: [&str; 2] = ["tenant_id", "ingested_at"];

/// A draft from a JSON object as `POST /v1/events` reads it, and its `known_at` besides.
///
/// Explicit nulls are absent, ids may be numbers, times text or epoch seconds, milliseconds or microseconds; fields
/// nobody knows are kept in the payload (as `_envelope_<name>` when it has that name already).
///
/// # Errors
/// `wrong_type`, `bad_time`, `bad_kind`, `bad_direction`, `bad_machine_class`: the first field at fault.
pub fn draft_from_json(mut object: Map<String, Value>) -> Result<EventDraft, Refusal> {
    let event_id = first_of(&mut object, &["event_id", "id", "messageId"]);
    let event_time = first_of(&mut object, &["event_time", "timestamp", "occurred_at"]);
    let mut take = |name: &'static str| object.remove(name).filter(|value| !value.is_null());
    let mut draft = EventDraft {
        event_id: id("event_id", event_id)?,
        kind: word("kind", "bad_kind", take("kind"))?,
        event_type: text("type", take("type"))?,
        event_time: time("event_time", event_time)?,
        known_at: time("known_at", take("known_at"))?,
        source: text("source", take("source"))?,
        account_id: id("account_id", take("account_id"))?,
        contact_id: id("contact_id", take("contact_id"))?,
        deal_id: id("deal_id", take("deal_id"))?,
        user_id: id("user_id", take("user_id"))?,
        email: text("email", take("email"))?,
        domain: text("domain", take("domain"))?,
        direction: word("direction", "bad_direction", take("direction"))?,
        machine_class: word("machine_class", "bad_machine_class", take("machine_class"))?,
        value: number("value", take("value"))?,
        payload: payload(take("payload"))?,
    };
    for (name, value) in object {
        if RECEIVERS_OWN.contains(&name.as_str()) {
            continue;
        }
        let taken = draft.payload.contains_key(&name);
        draft
            .payload
            .insert(if taken { format!("_envelope_{name}") } else { name }, value);
    }
    Ok(draft)
}

/// The first of several names that is given; the others stay and become unknown fields.
fn first_of(object: &mut Map<String, Value>, names: &[&str]) -> Option<Value> {
    let given = |name: &&&str| object.get(**name).is_some_and(|value| !value.is_null());
    let found = names.iter().find(given).copied();
    let value = found.and_then(|name| object.remove(name));
    object.retain(|name, value| !(value.is_null() && names.contains(&name.as_str())));
    value
}

fn wrong_type(field: &str, wanted: &str, value: &Value) -> Refusal {
    let shown: String = value.to_string().chars().take(64).collect();
    Refusal::field(
        "wrong_type",
        field,
        format!("{field} is to be {wanted}, not {shown}"),
    )
}

fn text(field: &str, value: Option<Value>) -> Result<Option<String>, Refusal> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong_type(field, "a text", &other)),
    }
}

/// An id: text, or a whole number as many systems give it.
fn id(field: &str, value: Option<Value>) -> Result<Option<String>, Refusal> {
    match value {
        Some(Value::Number(number)) if number.is_u64() => Ok(Some(number.to_string())),
        other => text(field, other),
    }
}

fn number(field: &str, value: Option<Value>) -> Result<Option<f64>, Refusal> {
    match value {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(other) => Err(wrong_type(field, "a number", &other)),
    }
}

fn payload(value: Option<Value>) -> Result<Map<String, Value>, Refusal> {
    match value {
        None => Ok(Map::new()),
        Some(Value::Object(fields)) => Ok(fields),
        Some(other) => Err(wrong_type("payload", "an object", &other)),
    }
}

fn word<T: DeserializeOwned>(field: &str, code: &str, value: Option<Value>) -> Result<Option<T>, Refusal> {
    let Some(word) = text(field, value)?.filter(|word| !word.trim().is_empty()) else {
        return Ok(None);
    };
    let lower = word.trim().to_ascii_lowercase();
    serde_json::from_value(Value::String(lower))
        .map(Some)
        .map_err(|_| {
            let shown: String = word.chars().take(64).collect();
            Refusal::field(code, field, format!("'{shown}' is no {field}"))
        })
}

fn time(field: &str, value: Option<Value>) -> Result<Option<Timestamp>, Refusal> {
    if let Some(Value::Number(number)) = &value {
        return epoch(number).map(Some).ok_or_else(|| {
            let message = format!("{number} is no epoch time: give seconds or milliseconds");
            Refusal::field("bad_time", field, message)
        });
    }
    let Some(text) = text(field, value)?.filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|error: TimestampError| Refusal::field("bad_time", field, error.to_string()))
}

/// Epoch seconds below 1e11 (year 5138), milliseconds below 1e14, microseconds below 1e17.
fn epoch(number: &serde_json::Number) -> Option<Timestamp> {
    let amount = number.as_f64()?;
    let micros_per_unit = match amount.abs() {
        size if size < 1e11 => 1_000_000,
        size if size < 1e14 => 1_000,
        size if size < 1e17 => 1,
        _ => return None,
    };
    if let Some(whole) = number.as_i64() {
        return whole.checked_mul(micros_per_unit).map(Timestamp);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "below 1e17 by the arms above"
    )]
    Some(Timestamp((amount * micros_per_unit as f64).round() as i64))
}

/// Rows with envelope names as columns (CSV, or columns of other types than ours).
pub(crate) fn draft_from_cells<'a>(
    cells: impl Iterator<Item = (&'a str, Cow<'a, str>)>,
) -> Result<EventDraft, Refusal> {
    let mut object = Map::new();
    let mut value = None;
    for (name, text) in cells {
        let cell = match (name, text.parse::<f64>()) {
            // Not through JSON, which has no form for what is not finite; acceptance refuses that.
            ("value", Ok(number)) => {
                value = Some(number);
                continue;
            }
            ("payload", _) => serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text.as_ref())),
            _ => Value::from(text.as_ref()),
        };
        object.insert(name.to_owned(), cell);
    }
    let mut draft = draft_from_json(object)?;
    draft.value = value;
    Ok(draft)
}

/// Takes rows of native events.
pub(crate) struct NativeRows<'a, 'c> {
    pub(crate) file: &'a str,
    pub(crate) names: Vec<String>,
    pub(crate) out: &'a mut Collector<'c>,
}

impl RowVisitor for NativeRows<'_, '_> {
    fn header(&mut self, header: &Header<'_>) -> Result<(), ImportError> {
        if let Header::Named(names) = header {
            self.names = names.to_vec();
            if !self.names.iter().any(|name| name == "type") {
                return Err(ImportError::MissingColumn {
                    file: self.file.to_owned(),
                    column: "type".to_owned(),
                    line: 0,
                    present: names.iter().take(12).cloned().collect::<Vec<_>>().join(", "),
                    suggestion: None,
                });
            }
        }
        Ok(())
    }

    fn row(&mut self, line: u64, raw: &Raw<'_>) -> Result<Flow, ImportError> {
        self.out.count_row();
        let draft = match raw {
            Raw::Json(object) => draft_from_json((*object).clone()),
            Raw::Csv(_) | Raw::Columns(..) => {
                draft_from_cells(self.names.iter().enumerate().filter_map(|(at, name)| {
                    Some((name.as_str(), raw.cell(&Slot::At(at), line, self.file)?))
                }))
            }
        };
        let body = || raw.body(&self.names);
        match draft {
            Ok(draft) => self.out.accept(draft, self.file, line, &|_| None, &body)?,
            Err(refusal) => {
                self.out
                    .refuse(self.file, line, refusal.field.clone(), refusal, body().as_bytes())?
            }
        }
        Ok(Flow::Continue)
    }

    fn bad(
        &mut self,
        line: u64,
        column: Option<String>,
        message: String,
        body: &[u8],
    ) -> Result<Flow, ImportError> {
        self.out.count_row();
        self.out.refuse(
            self.file,
            line,
            column,
            Refusal::whole("unreadable_row", message),
            body,
        )?;
        Ok(Flow::Continue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<EventDraft, Refusal> {
        draft_from_json(serde_json::from_str(json).expect("json"))
    }

    #[test]
    fn unknown_fields_are_kept_and_nulls_are_absent() {
        let draft = read(
            r#"{"type":"email.opened","email":null,"campaign":"spring","payload":{"a":1},"tenant_id":"x"}"#,
        )
        .expect("draft");
        assert_eq!(draft.email, None);
        assert_eq!(
            Value::Object(draft.payload).to_string(),
            r#"{"a":1,"campaign":"spring"}"#
        );
    }

    #[test]
    fn a_wrong_type_names_its_field() {
        for (json, name) in [
            (r#"{"type":7}"#, ("wrong_type", "type")),
            (r#"{"value":"much"}"#, ("wrong_type", "value")),
            (r#"{"event_time":"yesterday"}"#, ("bad_time", "event_time")),
            (r#"{"event_time":1e30}"#, ("bad_time", "event_time")),
            (r#"{"payload":[]}"#, ("wrong_type", "payload")),
            (r#"{"direction":"up"}"#, ("bad_direction", "direction")),
            (r#"{"kind":"crmm"}"#, ("bad_kind", "kind")),
        ] {
            let refusal = read(json).expect_err(json);
            assert_eq!(
                (refusal.code.as_str(), refusal.field.as_deref().unwrap_or("")),
                name
            );
        }
    }
}
