//! Fields that a role does not see: what becomes of mail addresses, phone numbers and the words of conversations.
//!
//! A masked value is replaced before anything of the query sees it, so it can be neither compared, counted nor made to
//! fail for what it was. Mail addresses are found wherever they stand, ids and free text included, and become a token
//! that is the same at each place: joins still work, and the address cannot be computed from it.

use std::borrow::Cow;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use hmac::{Hmac, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::rules::Mask;

/// What stands in the place of a masked number or text.
pub(crate) const HIDDEN: &str = "***";

/// Fields that hold words of people.
const WORDS: [&str; 16] = [
    "text",
    "transcript",
    "body",
    "body_text",
    "body_html",
    "html",
    "content",
    "note",
    "notes",
    "quote",
    "snippet",
    "summary",
    "segments",
    "utterances",
    "subject",
    "comment",
];

/// Parts of the names of fields that hold phone numbers.
const PHONES: [&str; 4] = ["phone", "mobile", "fax", "msisdn"];

/// Columns that hold no personal data, whatever is masked: comparing them tells nothing.
const HARMLESS: [&str; 17] = [
    "tenant_id",
    "entity_kind",
    "score",
    "tier",
    "old_tier",
    "new_tier",
    "cause",
    "definition",
    "fingerprint",
    "kind",
    "type",
    "event_type",
    "source",
    "direction",
    "machine_class",
    "object",
    "field",
];

/// Columns whose text is JSON or free and may hold words of people or numbers of theirs.
const OPEN_TEXT: [&str; 18] = [
    "payload",
    "fields",
    "detail",
    "facts",
    "contributions",
    "reason",
    "reasons",
    "message",
    "advice",
    "latest",
    "value",
    "quote",
    "speaker",
    "body",
    "evidence",
    "next_step",
    "loss_reason",
    "suggestion",
];

/// What is hidden from one caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct Masks {
    email: bool,
    phone: bool,
    transcript: bool,
    /// Key of the tokens.
    secret: [u8; 32],
}

impl Masks {
    pub(super) fn new(masks: &[Mask], secret: [u8; 32]) -> Self {
        Self {
            email: masks.contains(&Mask::Email),
            phone: masks.contains(&Mask::Phone),
            transcript: masks.contains(&Mask::Transcript),
            secret,
        }
    }

    /// Whether anything is hidden.
    pub(crate) const fn any(&self) -> bool {
        self.email || self.phone || self.transcript
    }

    /// Whether mail addresses are hidden.
    pub(crate) const fn email(&self) -> bool {
        self.email
    }

    /// Whether values of a column may be other than what is stored.
    pub(super) fn touches(&self, field: &Field) -> bool {
        if !self.any() || !is_text(field.data_type()) || HARMLESS.contains(&field.name().as_str()) {
            return false;
        }
        self.email || OPEN_TEXT.contains(&field.name().as_str()) || self.hides(field.name())
    }

    /// Whether the field of this name is hidden whole.
    fn hides(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        (self.phone && PHONES.iter().any(|part| name.contains(part)))
            || (self.transcript && (WORDS.contains(&name.as_str()) || name.contains("transcript")))
    }

    /// A value of a column as it may be shown. `named` is the field that the value belongs to where a row says so.
    pub(super) fn column_text<'a>(&self, column: &str, named: Option<&str>, text: &'a str) -> Cow<'a, str> {
        if self.hides(column) || named.is_some_and(|named| self.hides(named)) {
            return Cow::Borrowed(HIDDEN);
        }
        self.text(text)
    }

    /// A text that is JSON or free as it may be shown.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let structured = text.trim_start().starts_with(['{', '[']) && self.may_hide(text);
        if structured && let Ok(mut value) = serde_json::from_str::<Value>(text) {
            return if self.value(&mut value) {
                Cow::Owned(value.to_string())
            } else {
                Cow::Borrowed(text)
            };
        }
        if self.email {
            self.addresses(text)
        } else {
            Cow::Borrowed(text)
        }
    }

    /// Whether a text could hold what is hidden: spares reading the others as JSON.
    fn may_hide(&self, text: &str) -> bool {
        // JSON may write any character as `\u....`.
        if text.contains("\\u") || (self.email && text.contains('@')) {
            return true;
        }
        let lower = text.to_ascii_lowercase();
        (self.phone && PHONES.iter().any(|part| lower.contains(part)))
            || (self.transcript && WORDS.iter().any(|word| lower.contains(word)))
    }

    /// Masks what is in a record; whether anything was changed.
    pub(crate) fn value(&self, value: &mut Value) -> bool {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
            Value::String(text) => match self.text(text) {
                Cow::Borrowed(_) => false,
                Cow::Owned(masked) => {
                    *text = masked;
                    true
                }
            },
            Value::Array(items) => items
                .iter_mut()
                .fold(false, |changed, item| self.value(item) | changed),
            Value::Object(members) => {
                let mut changed = false;
                for (name, member) in members.iter_mut() {
                    if self.hides(name) && !member.is_null() {
                        *member = Value::from(HIDDEN);
                        changed = true;
                    } else {
                        changed |= self.value(member);
                    }
                }
                let addressed = |name: &String| self.email && name.contains('@');
                if members.keys().any(addressed) {
                    let held = std::mem::take(members);
                    members.extend(
                        held.into_iter()
                            .map(|(name, value)| (self.addresses(&name).into_owned(), value)),
                    );
                    changed = true;
                }
                changed
            }
        }
    }

    /// Words of people as they may be shown.
    pub(crate) fn words(&self, text: &mut String) {
        if self.transcript {
            HIDDEN.clone_into(text);
        } else {
            self.in_place(text);
        }
    }

    /// Free text as it may be shown.
    pub(crate) fn in_place(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.text(text) {
            *text = masked;
        }
    }

    /// The text with each mail address as its token.
    fn addresses<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !text.contains('@') {
            return Cow::Borrowed(text);
        }
        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('@') {
            let local = rest[..at]
                .rfind(|c: char| !(c.is_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c)))
                .map_or(0, |place| {
                    place + rest[place..].chars().next().map_or(1, char::len_utf8)
                });
            let after = &rest[at + 1..];
            let host = after
                .find(|c: char| !(c.is_alphanumeric() || c == '.' || c == '-'))
                .unwrap_or(after.len());
            if local == at || host == 0 {
                shown.push_str(&rest[..=at]);
            } else {
                shown.push_str(&rest[..local]);
                shown.push_str(&self.token(&rest[local..at + 1 + host]));
            }
            rest = &after[if local == at { 0 } else { host }..];
        }
        shown.push_str(rest);
        Cow::Owned(shown)
    }

    fn token(&self, address: &str) -> String {
        use std::fmt::Write as _;
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else {
            return HIDDEN.to_owned();
        };
        mac.update(address.to_lowercase().as_bytes());
        let digest = mac.finalize().into_bytes();
        digest[..8].iter().fold("masked-".to_owned(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Whether a column is text of any kind.
pub(super) const fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Where the columns of a schema stand that a caller may see changed.
pub(super) fn masked_columns(masks: &Masks, schema: &Schema) -> Vec<usize> {
    let fields = schema.fields().iter().enumerate();
    fields
        .filter(|(_, field)| masks.touches(field))
        .map(|(place, _)| place)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all() -> Masks {
        Masks::new(&[Mask::Email, Mask::Phone, Mask::Transcript], [7; 32])
    }

    #[test]
    fn addresses_become_one_token_wherever_they_stand() {
        let masks = all();
        let token = masks.token("jo.doe+x@acme.io");
        for (text, shown) in [
            ("jo.doe+x@acme.io", token.clone()),
            ("Jo.Doe+x@ACME.io", token.clone()),
            ("from <jo.doe+x@acme.io>, é", format!("from <{token}>, é")),
            ("no address", "no address".to_owned()),
            ("a @ b", "a @ b".to_owned()),
            ("@acme.io", "@acme.io".to_owned()),
        ] {
            assert_eq!(masks.text(text), shown, "{text}");
        }
        assert!(!masks.text("é@ü.de x@").contains("é@"));
        let twice = masks.text("a@b.c@d.e").into_owned();
        assert!(!twice.contains("a@b"), "{twice}");
        assert_ne!(
            Masks::new(&[Mask::Email], [8; 32]).token("jo@acme.io"),
            masks.token("jo@acme.io")
        );
    }

    #[test]
    fn records_lose_what_is_hidden_and_nothing_else() {
        let masks = all();
        let mut record = json!({
            "name": "Jo", "mobile_phone": 123, "amount": 7, "inner": {"segments": [{"text": "secret"}], "n": 1},
            "people": ["jo@acme.io"], "by": {"jo@acme.io": 1}, "phone": null,
        });
        assert!(masks.value(&mut record));
        let text = record.to_string();
        assert!(
            !text.contains("123") && !text.contains("secret") && !text.contains('@'),
            "{text}"
        );
        assert_eq!(
            (&record["amount"], &record["name"], &record["inner"]["n"]),
            (&json!(7), &json!("Jo"), &json!(1))
        );
        assert!(!Masks::new(&[Mask::Phone], [0; 32]).value(&mut json!({"text": "jo@acme.io"})));
    }

    #[test]
    fn a_field_named_in_its_row_is_hidden() {
        let masks = all();
        assert_eq!(masks.column_text("latest", Some("mobile"), "v1=555"), HIDDEN);
        assert_eq!(masks.column_text("latest", Some("city"), "v1=Bonn"), "v1=Bonn");
    }
}
