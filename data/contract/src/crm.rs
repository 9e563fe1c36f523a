//! CRM changes, one row a field: the source table `crm_fields` of the CRM pipelines.
//!
//! A CRM event carries the fields that changed. Exploded into one row a field, the latest value of each field is a
//! plain `max(order_key || value)`, which commutes, so late and reordered changes resolve by source version, then
//! event time, and nothing else (DESIGN.md section 2).

use std::{
    fmt::Write as _,
    sync::{Arc, LazyLock},
};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, StringViewBuilder, TimestampMicrosecondBuilder},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use serde_json::{Map, Value};

use crate::{
    event_type::crm_parts,
    schema::{text_column, time_column, timestamp_type},
};

/// Reserved field: `"true"` once the object is deleted, `"false"` when it is upserted again.
pub const DELETED: &str = "_deleted";
/// Reserved field: id of the object this one was merged into; empty after an unmerge.
pub const MERGED_INTO: &str = "_merged_into";
/// Reserved field: the object exists since this change.
pub const EXISTS: &str = "_exists";
/// Payload key with the source's own version or modification time of the object.
pub const VERSION: &str = "_version";
/// Width of the hexadecimal order key before the value in `crm_state.latest`.
pub const ORDER_KEY_LEN: usize = 32;

static CRM_FIELDS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8View, nullable);
    Arc::new(Schema::new(vec![
        text("tenant_id", false),
        text("event_id", false),
        text("object", false),
        text("object_id", false),
        text("field", false),
        text("order_key", false),
        text("value", true),
        text("source", false),
        Field::new("event_time", timestamp_type(), false),
        Field::new("known_at", timestamp_type(), false),
    ]))
});

/// The schema of `crm_fields`.
///
/// Columns: `tenant_id, event_id, object, object_id, field, order_key, value, source,
/// event_time, known_at`. `value` is the field's text (JSON text for objects and lists), NULL when cleared.
#[must_use]
pub fn crm_fields() -> SchemaRef {
    Arc::clone(&CRM_FIELDS)
}

/// One change of one field as read back from `crm_state` or the deal history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// Field name.
    pub field: String,
    /// Sort key of the change: version, then event time.
    pub order_key: String,
    /// New value; `None` when cleared.
    pub value: Option<String>,
}

/// The order key of a change.
///
/// Version then event time, each as 16 hexadecimal digits, so that text order is
/// numeric order (negative numbers are offset). Without a version the event time stands in its place.
#[must_use]
pub fn order_key(version: Option<i64>, event_time_us: i64) -> String {
    let biased = |number: i64| (number as u64) ^ (1 << 63);
    let mut key = String::with_capacity(ORDER_KEY_LEN);
    let _ = write!(
        key,
        "{:016x}{:016x}",
        biased(version.unwrap_or(event_time_us)),
        biased(event_time_us)
    );
    key
}

/// Splits `crm_state.latest` into its order key and value (`None` when the field was cleared).
///
/// The text is `order_key`, then `=` and the value, or `-` when cleared.
#[must_use]
pub fn split_latest(latest: &str) -> Option<(&str, Option<&str>)> {
    let (key, rest) = latest.split_at_checked(ORDER_KEY_LEN)?;
    match rest.split_at_checked(1)? {
        ("=", value) => Some((key, Some(value))),
        ("-", "") => Some((key, None)),
        _ => None,
    }
}

/// The order key as an event time in microseconds (its second half).
#[must_use]
pub fn order_key_time(order_key: &str) -> Option<i64> {
    let raw = u64::from_str_radix(order_key.get(16..ORDER_KEY_LEN)?, 16).ok()?;
    Some((raw ^ (1 << 63)) as i64)
}

/// A source version given as a number, digits or a time. Times become microseconds.
#[must_use]
pub fn version_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse::<i64>().ok().or_else(|| {
            text.parse::<crate::Timestamp>()
                .ok()
                .map(crate::Timestamp::micros)
        }),
        _ => None,
    }
}

fn value_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Explodes the CRM events of an events batch into `crm_fields` rows; other events give nothing.
///
/// Deterministic and row-local, so any batching of the same events gives the same rows.
/// Envelope references become fields too: `email` of a contact, `domain` of an account, `account_id` of contact and
/// deal, `user_id` as `owner_id`, `contact_id` of a role. A `deleted` event gives [`DELETED`], a `merged` one
/// [`MERGED_INTO`] (payload key `into`; null undoes the merge). The object id of a role is `deal/contact`. Enrichment
/// (`company.enriched`, `person.enriched`, `signal.tech_detected`) becomes fields of the objects `company` and `person`.
#[must_use]
pub fn explode(batch: &RecordBatch) -> RecordBatch {
    let mut rows = FieldRows::default();
    if let (Some(types), Some(payloads), Some(times)) = (
        text_column(batch, "type"),
        text_column(batch, "payload"),
        time_column(batch, "event_time"),
    ) {
        for row in 0..batch.num_rows() {
            if let Some((object, verb)) = exploded(types.value(row)) {
                let payload: Map<String, Value> =
                    serde_json::from_str(payloads.value(row)).unwrap_or_default();
                rows.append_event(batch, row, object, verb, &payload, times.value(row));
            }
        }
    }
    rows.finish()
}

/// Object and verb of the types that become field rows: CRM events, and enrichment as its own objects `company` and
/// `person`, so that what a vendor says never overwrites what the CRM says.
fn exploded(event_type: &str) -> Option<(&str, &str)> {
    match event_type {
        "company.enriched" => Some(("company", "enriched")),
        "signal.tech_detected" => Some(("company", "tech")),
        "person.enriched" => Some(("person", "enriched")),
        other => crm_parts(other),
    }
}

/// Which rows of an events batch are CRM events.
#[must_use]
pub fn crm_rows(batch: &RecordBatch) -> BooleanArray {
    text_column(batch, "kind")
        .map(|kinds| kinds.iter().map(|kind| Some(kind == Some("crm"))).collect())
        .unwrap_or_else(|| BooleanArray::from(vec![false; batch.num_rows()]))
}

#[derive(Default)]
struct FieldRows {
    text: [StringViewBuilder; 8],
    times: [TimestampMicrosecondBuilder; 2],
}

impl FieldRows {
    fn append_event(
        &mut self,
        batch: &RecordBatch,
        row: usize,
        object: &str,
        verb: &str,
        payload: &Map<String, Value>,
        event_time_us: i64,
    ) {
        let envelope = |name: &str| {
            text_column(batch, name)
                .filter(|column| !column.is_null(row))
                .map(|column| column.value(row).to_owned())
        };
        let Some(object_id) = object_id(object, payload, &envelope) else {
            return;
        };
        let key = order_key(payload.get(VERSION).and_then(version_of), event_time_us);
        let known_at_us = time_column(batch, "known_at").map_or(event_time_us, |column| column.value(row));
        let subject = Subject {
            tenant_id: envelope("tenant_id").unwrap_or_default(),
            event_id: envelope("event_id").unwrap_or_default(),
            source: envelope("source").unwrap_or_default(),
            object,
            object_id: &object_id,
            order_key: &key,
            times_us: [event_time_us, known_at_us],
        };
        match verb {
            "deleted" => self.append(&subject, DELETED, Some("true")),
            "merged" => {
                let into = payload.get("into").and_then(value_text);
                self.append(&subject, MERGED_INTO, into.as_deref());
            }
            "tech" => {
                if let Some(name) = payload.get("technology").and_then(value_text) {
                    self.append(&subject, &format!("tech:{}", name.to_lowercase()), Some("true"));
                }
            }
            _ => {
                if verb == "upserted" {
                    self.append(&subject, EXISTS, Some("true"));
                    self.append(&subject, DELETED, Some("false"));
                }
                self.append_references(&subject, payload, &envelope);
                for (field, value) in payload.iter().filter(|(field, _)| !field.starts_with('_')) {
                    self.append(&subject, field, value_text(value).as_deref());
                }
            }
        }
    }

    fn append_references(
        &mut self,
        subject: &Subject<'_>,
        payload: &Map<String, Value>,
        envelope: &impl Fn(&str) -> Option<String>,
    ) {
        let references: &[(&str, &str)] = match subject.object {
            "contact" => &[
                ("email", "email"),
                ("account_id", "account_id"),
                ("user_id", "owner_id"),
            ],
            "account" => &[("domain", "domain"), ("user_id", "owner_id")],
            "person" => &[("email", "email"), ("account_id", "account_id")],
            "company" => &[("domain", "domain")],
            "deal" => &[
                ("account_id", "account_id"),
                ("contact_id", "contact_id"),
                ("user_id", "owner_id"),
            ],
            "role" => &[
                ("deal_id", "deal_id"),
                ("contact_id", "contact_id"),
                ("email", "email"),
            ],
            "quota" | "forecast_submission" => &[("user_id", "user_id")],
            _ => &[],
        };
        for (column, field) in references {
            if !payload.contains_key(*field)
                && let Some(value) = envelope(column)
            {
                self.append(subject, field, Some(&value));
            }
        }
    }

    fn append(&mut self, subject: &Subject<'_>, field: &str, value: Option<&str>) {
        let texts = [
            Some(subject.tenant_id.as_str()),
            Some(&subject.event_id),
            Some(subject.object),
            Some(subject.object_id),
            Some(field),
            Some(subject.order_key),
            value,
            Some(&subject.source),
        ];
        for (builder, text) in self.text.iter_mut().zip(texts) {
            builder.append_option(text);
        }
        for (builder, micros) in self.times.iter_mut().zip(subject.times_us) {
            builder.append_value(micros);
        }
    }

    fn finish(mut self) -> RecordBatch {
        let mut columns: Vec<ArrayRef> = self
            .text
            .iter_mut()
            .map(|b| Arc::new(b.finish()) as ArrayRef)
            .collect();
        columns.extend(self.times.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef));
        RecordBatch::try_new(crm_fields(), columns).expect("columns are built in schema order")
    }
}

struct Subject<'a> {
    tenant_id: String,
    event_id: String,
    source: String,
    object: &'a str,
    object_id: &'a str,
    order_key: &'a str,
    times_us: [i64; 2],
}

fn object_id(
    object: &str,
    payload: &Map<String, Value>,
    envelope: &impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let from_payload = |name: &str| payload.get(name).and_then(value_text);
    match object {
        "account" | "company" => envelope("account_id").or_else(|| envelope("domain")),
        "contact" | "person" => envelope("contact_id").or_else(|| envelope("email")),
        "deal" => envelope("deal_id"),
        "user" => envelope("user_id"),
        "role" => {
            let contact = envelope("contact_id").or_else(|| envelope("email"))?;
            Some(format!("{}/{contact}", envelope("deal_id")?))
        }
        _ => from_payload("id")
            .or_else(|| from_payload(&format!("{object}_id")))
            .or_else(|| envelope("event_id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Timestamp,
        event::{EventDraft, Reception},
        schema::batch_of,
    };

    #[test]
    fn order_keys_sort_like_their_numbers() {
        let mut keys: Vec<_> = [-5, 0, 3, 900].iter().map(|v| order_key(Some(*v), 7)).collect();
        let sorted = keys.clone();
        keys.sort();
        assert_eq!(keys, sorted);
        assert_eq!(order_key_time(&order_key(Some(3), -9)), Some(-9));
    }

    #[test]
    fn a_deal_change_becomes_a_row_a_field() {
        let draft = EventDraft {
            event_type: Some("deal.upserted".into()),
            deal_id: Some("d1".into()),
            account_id: Some("a1".into()),
            payload: serde_json::from_str(r#"{"_version":7,"stage":"won","amount":12.5,"next_step":null}"#)
                .expect("json"),
            ..EventDraft::default()
        };
        let reception = Reception::live("t".into(), Timestamp(1_770_000_000_000_000), "test");
        let rows = explode(&batch_of(&[draft.accept(&reception).expect("accepted")]));
        let fields = text_column(&rows, "field").expect("field");
        let values = text_column(&rows, "value").expect("value");
        let got: Vec<_> = (0..rows.num_rows())
            .map(|row| {
                (
                    fields.value(row),
                    (!values.is_null(row)).then(|| values.value(row)),
                )
            })
            .collect();
        let expected = [
            ("_exists", Some("true")),
            ("_deleted", Some("false")),
            ("account_id", Some("a1")),
            ("stage", Some("won")),
            ("amount", Some("12.5")),
            ("next_step", None),
        ];
        for row in expected {
            assert!(got.contains(&row), "{row:?} in {got:?}");
        }
        assert_eq!(got.len(), expected.len());
    }
}
