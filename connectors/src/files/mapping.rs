//! The text of a mapping: what may stand in it, and exact errors when it does not.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Spanned;

use super::error::MappingError;

/// A whole mapping file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MappingFile {
    pub(crate) description: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) timezone: Option<Spanned<String>>,
    pub(crate) time_format: Option<Spanned<OneOrMany>>,
    #[serde(default)]
    pub(crate) missing_columns: MissingColumns,
    #[serde(default)]
    pub(crate) table: Vec<Spanned<TableSpec>>,
}

/// What a column means that the mapping names and the file lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MissingColumns {
    /// The import does not begin: probably a typing error.
    #[default]
    Error,
    /// The field stays empty: exports differ in their columns.
    Ignore,
}

/// One kind of event made from the rows of some files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableSpec {
    pub(crate) file: OneOrMany,
    pub(crate) format: Option<Format>,
    pub(crate) delimiter: Option<Spanned<String>>,
    pub(crate) header: Option<Vec<String>>,
    pub(crate) emit: Spanned<Emit>,
    #[serde(default, rename = "where")]
    pub(crate) conditions: Vec<Spanned<ConditionSpec>>,
    pub(crate) each: Option<Spanned<EachSpec>>,
    #[serde(default)]
    pub(crate) event: EnvelopeSpec,
    #[serde(default)]
    pub(crate) payload: BTreeMap<String, Spanned<FieldSpec>>,
    pub(crate) payload_from: Option<Spanned<LongFormSpec>>,
    pub(crate) rest: Option<RestSpec>,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Csv,
    Tsv,
    Ndjson,
    Parquet,
    Arrow,
}

impl Format {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::Ndjson => "NDJSON",
            Self::Parquet => "Parquet",
            Self::Arrow => "Arrow",
        }
    }
}

/// The envelope fields a mapping may fill.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EnvelopeSpec {
    pub(crate) event_id: Option<Spanned<FieldSpec>>,
    pub(crate) event_time: Option<Spanned<FieldSpec>>,
    pub(crate) known_at: Option<Spanned<FieldSpec>>,
    pub(crate) version: Option<Spanned<FieldSpec>>,
    pub(crate) source: Option<Spanned<FieldSpec>>,
    pub(crate) account_id: Option<Spanned<FieldSpec>>,
    pub(crate) contact_id: Option<Spanned<FieldSpec>>,
    pub(crate) deal_id: Option<Spanned<FieldSpec>>,
    pub(crate) user_id: Option<Spanned<FieldSpec>>,
    pub(crate) email: Option<Spanned<FieldSpec>>,
    pub(crate) domain: Option<Spanned<FieldSpec>>,
    pub(crate) direction: Option<Spanned<FieldSpec>>,
    pub(crate) machine_class: Option<Spanned<FieldSpec>>,
    pub(crate) value: Option<Spanned<FieldSpec>>,
}

/// Where a field comes from and what is made of it. As text: the column.
#[derive(Debug, Default)]
pub(crate) struct FieldSpec(pub(crate) FieldBody);

/// The long form of a field.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FieldBody {
    pub(crate) lookup: Option<LookupSpec>,
    pub(crate) from: OneOrMany,
    pub(crate) template: Option<String>,
    pub(crate) value: Option<Scalar>,
    #[serde(rename = "type")]
    pub(crate) value_type: Option<ValueType>,
    pub(crate) time_format: Option<OneOrMany>,
    pub(crate) timezone: Option<String>,
    pub(crate) unit: Option<Unit>,
    pub(crate) scale: Option<f64>,
    pub(crate) decimal_comma: bool,
    pub(crate) separator: Option<String>,
    pub(crate) map: Option<BTreeMap<String, Scalar>>,
    pub(crate) map_only: bool,
    pub(crate) lower: bool,
    pub(crate) default: Option<Scalar>,
    pub(crate) required: bool,
    pub(crate) optional: bool,
    pub(crate) null_when_empty: bool,
    pub(crate) on_error: OnError,
    pub(crate) when: Vec<ConditionSpec>,
}

/// Type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ValueType {
    /// As it stands.
    #[default]
    Text,
    /// Finite number; thousands separators and a currency sign are taken off.
    Number,
    /// Whole number.
    Integer,
    /// true/false, yes/no, 1/0.
    Boolean,
    /// An instant.
    Time,
    /// A day, `2026-01-31`.
    Date,
    /// Seconds, from a number in `unit`, `1:30:00` or `PT15M`.
    Duration,
    /// A mail address.
    Email,
    /// A list, cut at `separator` (`;`).
    List,
    /// JSON text.
    Json,
}

/// Unit of a duration given as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
    Days,
}

impl Unit {
    /// Seconds in one.
    pub(crate) const fn seconds(self) -> f64 {
        match self {
            Self::Milliseconds => 0.001,
            Self::Seconds => 1.0,
            Self::Minutes => 60.0,
            Self::Hours => 3_600.0,
            Self::Days => 86_400.0,
        }
    }
}

/// What a value means that is not of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnError {
    /// The row is refused with the reason.
    #[default]
    Refuse,
    /// The field stays empty.
    Skip,
}

/// A join to another file of the same import.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LookupSpec {
    pub(crate) file: OneOrMany,
    pub(crate) key: String,
    pub(crate) column: OneOrMany,
    pub(crate) take: String,
    /// Keys match without regard to case (addresses).
    #[serde(default)]
    pub(crate) ignore_case: bool,
    #[serde(default)]
    pub(crate) map: BTreeMap<String, String>,
}

/// One event per match in another file, or per part of a list column.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EachSpec {
    pub(crate) file: Option<OneOrMany>,
    pub(crate) key: Option<String>,
    pub(crate) column: OneOrMany,
    #[serde(default)]
    pub(crate) take: OneOrMany,
    pub(crate) split: Option<String>,
    #[serde(rename = "as")]
    pub(crate) alias: String,
    #[serde(default)]
    pub(crate) required: bool,
}

/// One row is one property change: name and value are columns.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LongFormSpec {
    pub(crate) name: String,
    pub(crate) value: String,
    #[serde(default)]
    pub(crate) rename: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) skip: Vec<String>,
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, FieldSpec>,
}

/// Keeps the columns that no field names.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestSpec {
    #[serde(default)]
    pub(crate) only_prefix: Option<String>,
    #[serde(default)]
    pub(crate) strip_prefix: Option<String>,
    #[serde(default)]
    pub(crate) except: Vec<String>,
}

/// A simple condition on one column. Texts compare without regard to (ASCII) case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConditionSpec {
    pub(crate) column: String,
    pub(crate) equals: Option<Scalar>,
    pub(crate) not_equals: Option<Scalar>,
    pub(crate) one_of: Option<Vec<Scalar>>,
    pub(crate) not_one_of: Option<Vec<Scalar>>,
    pub(crate) starts_with: Option<OneOrMany>,
    pub(crate) empty: Option<bool>,
    pub(crate) past: Option<bool>,
}

/// What is emitted. As text: the type itself.
#[derive(Debug)]
pub(crate) struct Emit(pub(crate) FieldBody);

/// One text or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OneOrMany(pub(crate) Vec<String>);

/// A constant as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar(pub(crate) String);

/// Takes either a text or the long form; visitors keep the position of an error, an untagged enum would lose it.
struct TextOr<T, F>(F, &'static str, PhantomData<T>);

impl<'de, T: Deserialize<'de>, F: FnOnce(&str) -> T> Visitor<'de> for TextOr<T, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok((self.0)(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

impl<'de> Deserialize<'de> for FieldSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let column = |text: &str| FieldBody {
            from: OneOrMany(vec![text.to_owned()]),
            ..FieldBody::default()
        };
        let expected = "a column name or a table such as { from = \"column\", type = \"number\" }";
        deserializer
            .deserialize_any(TextOr(column, expected, PhantomData))
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for Emit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let constant = |text: &str| FieldBody {
            value: Some(Scalar(text.to_owned())),
            ..FieldBody::default()
        };
        let expected =
            "an event type or a table such as { from = \"column\", map = { OPEN = \"email.opened\" } }";
        deserializer
            .deserialize_any(TextOr(constant, expected, PhantomData))
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Constant;
        impl Visitor<'_> for Constant {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true or false")
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }
        deserializer.deserialize_any(Constant)
    }
}

/// Reads the text; the first fault is an error with its line, key and, for unknown names, what was probably meant.
pub(crate) fn parse(text: &str, name: &str) -> Result<MappingFile, MappingError> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().trim().to_owned();
        let mut quoted = message.split('`').skip(1).step_by(2);
        let unknown = message.starts_with("unknown");
        let key = quoted.next().map(str::to_owned);
        let suggestion = key
            .as_deref()
            .filter(|_| unknown)
            .and_then(|key| nearest(key, quoted));
        MappingError {
            name: name.to_owned(),
            line: line_of(text, at),
            key,
            message: message.replace('`', "'").replace('\n', ", "),
            suggestion,
        }
    })
}

/// Line of a byte offset, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

/// The candidate most like the word, when it is like it at all.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(&word.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}
