//! What of the stored rows and texts is a person's, and what becomes of it. Pure.
//!
//! Rows *of* the person go whole. Rows of others that *name* the person stay without the name: its keys and numbers
//! wherever they stand, its full name only in words that people said or wrote, since others may bear it too.

use std::{borrow::Cow, collections::BTreeSet};

use arrow::{
    array::{Array as _, ArrayRef, BooleanArray, RecordBatch, StringViewArray},
    compute::filter_record_batch,
    error::ArrowError,
};
use revgauge_contract::schema::text_column;
use serde_json::Value;

/// What stands in the place of what was erased.
pub(crate) const ERASED: &str = "erased";

/// Shortest text that is looked for inside other texts; shorter ones count only as whole values.
const MIN_NEEDLE_BYTES: usize = 6;

/// Fields that hold words of people.
const WORDS: [&str; 12] = [
    "text",
    "transcript",
    "body",
    "html",
    "content",
    "note",
    "notes",
    "quote",
    "summary",
    "segments",
    "subject",
    "reason",
];

/// Fields of a contact's record that are the person's alone.
const NUMBERS: [&str; 4] = ["phone", "mobile", "fax", "msisdn"];

/// A person to be erased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Person {
    tenant_id: String,
    /// Ids and mail addresses, lower case.
    keys: BTreeSet<String>,
    /// Texts that are removed from inside others, lower case.
    needles: BTreeSet<String>,
    /// Full names, lower case.
    names: BTreeSet<String>,
}

impl Person {
    pub(crate) fn new(tenant_id: &str) -> Self {
        Self {
            tenant_id: tenant_id.to_owned(),
            ..Self::default()
        }
    }

    /// Adds an id or mail address.
    pub(crate) fn add_key(&mut self, key: &str) {
        let key = key.trim().to_ascii_lowercase();
        if key.is_empty() {
            return;
        }
        self.add_needle(&key);
        self.keys.insert(key);
    }

    /// Adds a text that is the person's wherever it stands.
    pub(crate) fn add_needle(&mut self, text: &str) {
        let text = text.trim().to_ascii_lowercase();
        if text.len() >= MIN_NEEDLE_BYTES {
            self.needles.insert(text);
        }
    }

    /// Adds what a contact's record says of it: addresses, numbers, name.
    pub(crate) fn add_record(&mut self, record: &Value) {
        let Some(members) = record.as_object() else {
            return;
        };
        let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
        self.add_key(text("email"));
        for (name, value) in members {
            let name = name.to_ascii_lowercase();
            if NUMBERS.iter().any(|part| name.contains(part)) {
                let number = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                if !value.is_null() {
                    self.add_needle(&number);
                }
            }
        }
        for key in members
            .get("contact_keys")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            self.add_key(key.as_str().unwrap_or_default());
        }
        let full = text("name").trim().to_ascii_lowercase();
        if full.contains(' ') {
            self.names.insert(full);
        }
    }

    /// Texts of which no byte may be left.
    pub(crate) const fn needles(&self) -> &BTreeSet<String> {
        &self.needles
    }

    /// The text without any of [`Self::needles`]; `None` when it has none.
    pub(crate) fn without_needles(&self, text: &str) -> Option<String> {
        self.needles.iter().fold(None, |shown, needle| {
            without_needle(shown.as_deref().unwrap_or(text), needle).or(shown)
        })
    }

    fn is_key(&self, text: &str) -> bool {
        self.keys.contains(&text.trim().to_ascii_lowercase())
    }

    /// The events as they stay; `None` when nothing in them is the person's.
    pub(crate) fn events(&self, batch: &RecordBatch) -> Result<Option<RecordBatch>, ArrowError> {
        let own = |row: usize| {
            ["contact_id", "email"]
                .iter()
                .any(|name| cell(batch, name, row).is_some_and(|text| self.is_key(text)))
        };
        let kept = self.without(batch, own)?;
        let redacted = self.redacted(kept.as_ref().unwrap_or(batch))?;
        Ok(redacted.or(kept))
    }

    /// The score changes as they stay in the lake.
    pub(crate) fn score_changes(&self, batch: &RecordBatch) -> Result<Option<RecordBatch>, ArrowError> {
        let kept = self.without(batch, |row| self.is_change(batch, row))?;
        let redacted = self.redacted(kept.as_ref().unwrap_or(batch))?;
        Ok(redacted.or(kept))
    }

    /// The score changes as they stay in the feed's journal, whose cursors count rows: a row of the person keeps its
    /// place, without tenant, entity and words.
    pub(crate) fn feed(&self, batch: &RecordBatch) -> Result<Option<RecordBatch>, ArrowError> {
        let blank: Vec<bool> = (0..batch.num_rows())
            .map(|row| self.is_change(batch, row))
            .collect();
        let blanked = if blank.contains(&true) {
            Some(map_texts(batch, |name, row, text| {
                let goes = blank[row] && matches!(name, "tenant_id" | "entity_id" | "reason" | "detail");
                goes.then(|| {
                    if name == "detail" {
                        "{}".to_owned()
                    } else {
                        ERASED.to_owned()
                    }
                })
                .filter(|new| new != text)
            })?)
        } else {
            None
        };
        let blanked = blanked.flatten();
        let redacted = self.redacted(blanked.as_ref().unwrap_or(batch))?;
        Ok(redacted.or(blanked))
    }

    fn is_change(&self, batch: &RecordBatch, row: usize) -> bool {
        self.is_ours(batch, row)
            && cell(batch, "entity_kind", row) == Some("contact")
            && cell(batch, "entity_id", row).is_some_and(|id| self.is_key(id))
    }

    fn is_ours(&self, batch: &RecordBatch, row: usize) -> bool {
        cell(batch, "tenant_id", row) == Some(&self.tenant_id)
    }

    fn without(
        &self,
        batch: &RecordBatch,
        goes: impl Fn(usize) -> bool,
    ) -> Result<Option<RecordBatch>, ArrowError> {
        let stays: BooleanArray = (0..batch.num_rows())
            .map(|row| Some(!(self.is_ours(batch, row) && goes(row))))
            .collect();
        if stays.true_count() == batch.num_rows() {
            return Ok(None);
        }
        filter_record_batch(batch, &stays).map(Some)
    }

    fn redacted(&self, batch: &RecordBatch) -> Result<Option<RecordBatch>, ArrowError> {
        map_texts(batch, |name, row, text| {
            if name == "tenant_id" || !self.is_ours(batch, row) {
                return None;
            }
            if matches!(name, "contact_id" | "email" | "entity_id") && self.is_key(text) {
                return Some(ERASED.to_owned());
            }
            match self.text(name, text) {
                Cow::Owned(new) => Some(new),
                Cow::Borrowed(_) => None,
            }
        })
    }

    /// A stored text without the person; JSON stays JSON.
    pub(crate) fn text<'a>(&self, field: &str, text: &'a str) -> Cow<'a, str> {
        if text.trim_start().starts_with(['{', '['])
            && let Ok(mut value) = serde_json::from_str::<Value>(text)
        {
            return if self.value(field, &mut value) {
                Cow::Owned(value.to_string())
            } else {
                Cow::Borrowed(text)
            };
        }
        let named = WORDS.contains(&field).then_some(&self.names);
        let mut shown = Cow::Borrowed(text);
        for needle in self.needles.iter().chain(named.into_iter().flatten()) {
            if let Some(new) = without_needle(&shown, needle) {
                shown = Cow::Owned(new);
            }
        }
        shown
    }

    fn value(&self, field: &str, value: &mut Value) -> bool {
        match value {
            Value::String(text) => {
                if self.is_key(text) {
                    ERASED.clone_into(text);
                    return true;
                }
                let new = match self.text(field, text) {
                    Cow::Owned(new) => new,
                    Cow::Borrowed(_) => return false,
                };
                *text = new;
                true
            }
            Value::Number(number) => {
                let named = self.needles.contains(&number.to_string());
                if named {
                    *value = Value::from(ERASED);
                }
                named
            }
            Value::Array(items) => items
                .iter_mut()
                .fold(false, |changed, item| self.value(field, item) | changed),
            Value::Object(members) => {
                let held = std::mem::take(members);
                let mut changed = false;
                for (name, mut member) in held {
                    // Words may be nested: `segments` holds objects with `text`.
                    let inner = if WORDS.contains(&name.as_str()) {
                        name.as_str()
                    } else {
                        field
                    };
                    changed |= self.value(inner, &mut member);
                    let key = self.text("", &name).into_owned();
                    changed |= key != name;
                    members.insert(key, member);
                }
                changed
            }
            Value::Null | Value::Bool(_) => false,
        }
    }
}

fn cell<'a>(batch: &'a RecordBatch, name: &str, row: usize) -> Option<&'a str> {
    let column = text_column(batch, name)?;
    column.is_valid(row).then(|| column.value(row))
}

/// The batch with other texts where `change` gives one; `None` when it gives none.
pub(super) fn map_texts(
    batch: &RecordBatch,
    change: impl Fn(&str, usize, &str) -> Option<String>,
) -> Result<Option<RecordBatch>, ArrowError> {
    let schema = batch.schema();
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    let mut changed = false;
    for (place, field) in schema.fields().iter().enumerate() {
        let Some(texts) = text_column(batch, field.name()) else {
            continue;
        };
        let new: Vec<Option<String>> = texts
            .iter()
            .enumerate()
            .map(|(row, text)| change(field.name(), row, text?))
            .collect();
        if new.iter().all(Option::is_none) {
            continue;
        }
        changed = true;
        let mixed = texts.iter().zip(&new).map(|(old, new)| new.as_deref().or(old));
        columns[place] = std::sync::Arc::new(mixed.collect::<StringViewArray>());
    }
    if changed {
        RecordBatch::try_new(schema, columns).map(Some)
    } else {
        Ok(None)
    }
}

/// The text with each occurrence of a lower-case needle, in any case, replaced; `None` when there is none.
fn without_needle(text: &str, needle: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let mut at = lower.find(needle)?;
    let (mut new, mut from) = (String::with_capacity(text.len()), 0);
    loop {
        new.push_str(&text[from..at]);
        new.push_str(ERASED);
        from = at + needle.len();
        match lower[from..].find(needle) {
            Some(next) => at = from + next,
            None => break,
        }
    }
    new.push_str(&text[from..]);
    Some(new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn jo() -> Person {
        let mut person = Person::new("acme");
        person.add_key("c-77");
        person.add_record(&json!({
            "name": "Jo Doe", "email": "Jo@Acme.io", "mobile_phone": "+49 30 1234", "contact_keys": ["c-77", "old-jo-1"],
        }));
        person
    }

    #[test]
    fn what_names_the_person_stays_without_the_name() {
        let person = jo();
        let payload = json!({
            "contact_id": "C-77", "to": ["jo@acme.io", "mo@acme.io"], "subject": "Call with Jo Doe",
            "segments": [{"speaker": "x", "text": "jo doe said +49 30 1234"}], "owner": "Jo Doe", "by": {"JO@acme.io": 1},
        });
        let shown = person.text("payload", &payload.to_string()).into_owned();
        let lower = shown.to_lowercase();
        for gone in ["jo@acme.io", "c-77", "1234", "said jo", "with jo"] {
            assert!(!lower.contains(gone), "{gone} in {shown}");
        }
        assert!(shown.contains("mo@acme.io"), "{shown}");
        assert!(
            shown.contains(r#""owner":"Jo Doe""#),
            "a namesake's field stays: {shown}"
        );
        assert!(matches!(person.text("payload", r#"{"a":"b"}"#), Cow::Borrowed(_)));
        // Short ids count as whole values only, or they would tear other words apart.
        assert_eq!(person.text("reason", "deal c-771 moved"), "deal c-771 moved");
    }
}
