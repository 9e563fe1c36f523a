//! Texts past their retention (AC-22): their words go from the stored payloads, what is known about them stays.

use arrow::{array::RecordBatch, error::ArrowError};
use revgauge_contract::{Timestamp, schema::time_column};
use serde_json::Value;

use super::person::map_texts;

/// Members of a payload that are the words of a text.
const WORDS: [&str; 7] = [
    "text",
    "segments",
    "transcript",
    "body",
    "body_text",
    "body_html",
    "html",
];

/// The events as they stay when words said before an instant are taken out; `None` when none were.
pub(super) fn events(batch: &RecordBatch, before: Timestamp) -> Result<Option<RecordBatch>, ArrowError> {
    let Some(times) = time_column(batch, "event_time") else {
        return Ok(None);
    };
    map_texts(batch, |name, row, text| {
        let old = name == "payload" && times.value(row) < before.micros();
        if !old || !WORDS.iter().any(|word| text.contains(word)) {
            return None;
        }
        let mut payload: Value = serde_json::from_str(text).ok()?;
        let members = payload.as_object_mut()?;
        let held = members.len();
        members.retain(|name, _| !WORDS.contains(&name.as_str()));
        (members.len() < held).then(|| payload.to_string())
    })
}
