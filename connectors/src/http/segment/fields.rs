//! Reading the loosely typed fields of Segment messages: nulls, numbers for ids, several names for one thing.

use revgauge_contract::{Timestamp, event::Refusal};
use serde_json::{Map, Value};

use crate::{event_names::snake_case, http::envelope::epoch};

/// A JSON object's fields.
pub(crate) type Fields = Map<String, Value>;

/// An id or name at the top of a message: text or number. Null and empty text are absent.
///
/// # Errors
/// `wrong_type` for anything else.
pub(crate) fn id(fields: &Fields, name: &str) -> Result<Option<String>, Refusal> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(Refusal::field(
            "wrong_type",
            name,
            format!("{name} is to be a text"),
        )),
    }
}

/// The first of several names that holds a text or number; what is of another type is passed over.
pub(crate) fn first_text(fields: &Fields, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| id(fields, name).ok().flatten())
}

/// The first of several names that holds a number, or a text of one.
pub(crate) fn first_number(fields: &Fields, names: &[&str]) -> Option<f64> {
    names.iter().find_map(|name| match fields.get(*name)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    })
}

/// An object under a name; null is an empty one.
///
/// # Errors
/// `wrong_type` for anything else.
pub(crate) fn take_object(fields: &mut Fields, name: &str) -> Result<Fields, Refusal> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(Fields::new()),
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(Refusal::field(
            "wrong_type",
            name,
            format!("{name} is to be an object"),
        )),
    }
}

/// A time as text or epoch number; null and empty text are absent.
///
/// # Errors
/// `bad_time` and `wrong_type`.
pub(crate) fn time(name: &str, value: Option<&Value>) -> Result<Option<Timestamp>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => match text.parse() {
            Ok(at) => Ok(Some(at)),
            Err(error) => Err(Refusal::field("bad_time", name, format!("{error}"))),
        },
        Some(Value::Number(number)) => epoch(name, &number.to_string()).map(Some),
        Some(_) => Err(Refusal::field(
            "wrong_type",
            name,
            format!("{name} is to be a time"),
        )),
    }
}

/// Traits under our enrichment's names: `firstName` is `first_name`. A name that would collide stays as it came.
pub(crate) fn snake_keys(fields: Fields) -> Fields {
    let mut renamed = Fields::new();
    let mut kept = Vec::new();
    for (name, value) in fields {
        let snake = snake_case(&name);
        if snake == name || name.starts_with('_') {
            renamed.insert(name, value);
        } else {
            kept.push((name, snake, value));
        }
    }
    for (name, snake, value) in kept {
        let free = !snake.is_empty() && !renamed.contains_key(&snake);
        renamed.insert(if free { snake } else { name }, value);
    }
    renamed
}
