//! Rows of any format under one roof: cells as text, by column.

use std::{borrow::Cow, collections::HashMap};

use arrow::array::{Array, StringArray};
use csv::ByteRecord;
use serde_json::{Map, Value};

use super::{error::ImportError, mapping::nearest};

/// The columns of a file.
pub(crate) enum Header<'a> {
    /// Named once for all rows.
    Named(&'a [String]),
    /// Each row names its own (NDJSON).
    Free,
}

/// One row.
pub(crate) enum Raw<'a> {
    /// A CSV record.
    Csv(&'a ByteRecord),
    /// A JSON object.
    Json(&'a Map<String, Value>),
    /// A row of columns turned to text.
    Columns(&'a [StringArray], usize),
}

/// Where a column of the mapping is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Nowhere in this file.
    Missing,
    /// At a place of the header.
    At(usize),
    /// By name in each row.
    Named(String),
    /// The line number.
    Line,
    /// The file name.
    File,
}

/// Whether to go on reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Continue,
    Stop,
}

/// What is done with the rows.
pub(crate) trait RowVisitor {
    /// Called once a file, before its rows.
    fn header(&mut self, header: &Header<'_>) -> Result<(), ImportError>;
    /// A readable row.
    fn row(&mut self, line: u64, raw: &Raw<'_>) -> Result<Flow, ImportError>;
    /// A row that cannot be read at all.
    fn bad(
        &mut self,
        line: u64,
        column: Option<String>,
        message: String,
        body: &[u8],
    ) -> Result<Flow, ImportError>;
}

impl Raw<'_> {
    /// The trimmed text of a cell; `None` when it is absent, null or empty.
    pub(crate) fn cell(&self, slot: &Slot, line: u64, file: &str) -> Option<Cow<'_, str>> {
        let text = match (self, slot) {
            (_, Slot::Missing) => return None,
            (_, Slot::Line) => return Some(Cow::Owned(line.to_string())),
            (_, Slot::File) => return Some(Cow::Owned(file.to_owned())),
            (Raw::Csv(record), Slot::At(at)) => Cow::Borrowed(std::str::from_utf8(record.get(*at)?).ok()?),
            (Raw::Columns(columns, row), Slot::At(at)) => {
                let column = columns.get(*at)?;
                if column.is_null(*row) {
                    return None;
                }
                Cow::Borrowed(column.value(*row))
            }
            (Raw::Json(object), Slot::Named(name)) => json_text(json_field(object, name)?)?,
            _ => return None,
        };
        let text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        };
        (!text.is_empty()).then_some(text)
    }

    /// The row as JSON for the dead letters.
    pub(crate) fn body(&self, header: &[String]) -> String {
        let mut object = Map::new();
        match self {
            Raw::Json(map) => return Value::Object((*map).clone()).to_string(),
            Raw::Csv(_) | Raw::Columns(..) => {
                for (at, name) in header.iter().enumerate() {
                    if let Some(text) = self.cell(&Slot::At(at), 0, "") {
                        object.insert(name.clone(), Value::String(text.into_owned()));
                    }
                }
            }
        }
        Value::Object(object).to_string()
    }
}

fn json_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Cow::Borrowed(text)),
        other => Some(Cow::Owned(other.to_string())),
    }
}

/// A field by its name, by a path (`properties.amount`), or by a name written otherwise (`Close Date`).
fn json_field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(name) {
        return Some(value);
    }
    if let Some((head, tail)) = name.split_once('.')
        && let Some(Value::Object(inner)) = object.get(head)
    {
        return json_field(inner, tail);
    }
    let plain = plain_name(name);
    object
        .iter()
        .find(|(key, _)| plain_name(key) == plain)
        .map(|(_, value)| value)
}

/// Letters and digits in lower case: `AccountId`, `account_id` and `Account ID` are one column.
pub(crate) fn plain_name(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Finds the mapping's columns in a header.
pub(crate) fn bind(
    header: &Header<'_>,
    columns: &[String],
    needed: &[Vec<usize>],
    file: &str,
    line: usize,
) -> Result<Vec<Slot>, ImportError> {
    let Header::Named(names) = header else {
        return Ok(columns
            .iter()
            .map(|name| own_slot(name).unwrap_or_else(|| Slot::Named(name.clone())))
            .collect());
    };
    let mut exact = HashMap::new();
    let mut plain = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        exact.entry(name.as_str()).or_insert(at);
        plain.entry(plain_name(name)).or_insert(at);
    }
    let slots: Vec<Slot> = columns
        .iter()
        .map(|name| {
            own_slot(name).unwrap_or_else(|| {
                exact
                    .get(name.as_str())
                    .or_else(|| plain.get(&plain_name(name)))
                    .map_or(Slot::Missing, |at| Slot::At(*at))
            })
        })
        .collect();
    for group in needed {
        // Columns of `each` are filled later and carry a dot.
        let given = |at: &usize| slots[*at] != Slot::Missing || columns[*at].contains('.');
        if !group.iter().any(given) {
            let column = columns[group[0]].clone();
            return Err(ImportError::MissingColumn {
                file: file.to_owned(),
                suggestion: nearest(&column, names.iter().map(String::as_str)),
                column,
                line,
                present: names.iter().take(12).cloned().collect::<Vec<_>>().join(", "),
            });
        }
    }
    Ok(slots)
}

fn own_slot(name: &str) -> Option<Slot> {
    match name {
        "_line" => Some(Slot::Line),
        "_file" => Some(Slot::File),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_however_they_are_written() {
        let names = ["Account ID".to_owned(), "StageName".to_owned()];
        let columns = [
            "account_id".to_owned(),
            "stage_name".to_owned(),
            "_line".to_owned(),
            "amount".to_owned(),
        ];
        let slots = bind(&Header::Named(&names), &columns, &[], "f", 1).expect("bound");
        assert_eq!(slots, [Slot::At(0), Slot::At(1), Slot::Line, Slot::Missing]);
        let error = bind(
            &Header::Named(&names),
            &["stage_nme".to_owned()],
            &[vec![0]],
            "f.csv",
            3,
        )
        .expect_err("missing");
        assert_eq!(
            error.to_string(),
            "column 'stage_nme' (mapping line 3) is not in 'f.csv', which has: Account ID, StageName; did you mean 'StageName'?"
        );
    }

    #[test]
    fn json_fields_are_found_by_path() {
        let object: Map<String, Value> =
            serde_json::from_str(r#"{"id":7,"properties":{"Close Date":"x"}}"#).expect("json");
        let raw = Raw::Json(&object);
        let cell = |name: &str| {
            raw.cell(&Slot::Named(name.to_owned()), 1, "f")
                .map(Cow::into_owned)
        };
        assert_eq!(cell("id").as_deref(), Some("7"));
        assert_eq!(cell("properties.close_date").as_deref(), Some("x"));
        assert_eq!(cell("properties.none"), None);
    }
}
