//! Simple conditions on the cells of a row.

use std::borrow::Cow;

use revgauge_contract::Timestamp;

use super::value::{Convert, read_boolean};

/// The cells of a row that a table asks for; empty ones are `None`.
pub(crate) type Cells<'a> = [Option<Cow<'a, str>>];

/// One test of one column.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) column: usize,
    pub(crate) test: Test,
}

/// What is tested. Texts compare without regard to ASCII case; an empty cell equals nothing.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    OneOf(Vec<String>),
    NotOneOf(Vec<String>),
    StartsWith(Vec<String>),
    Empty(bool),
    /// The instant in the cell lies before the receipt (or not).
    Past(bool, Convert),
}

impl Condition {
    /// Whether the row passes.
    pub(crate) fn holds(&self, cells: &Cells<'_>, received_at: Timestamp) -> bool {
        let cell = cells[self.column].as_deref();
        let among = |list: &[String]| {
            cell.is_some_and(|cell| {
                list.iter()
                    .any(|entry| entry.eq_ignore_ascii_case(cell) || means(entry, cell))
            })
        };
        match &self.test {
            Test::OneOf(list) => among(list),
            Test::NotOneOf(list) => !among(list),
            Test::StartsWith(list) => {
                cell.is_some_and(|cell| list.iter().any(|start| cell.starts_with(start)))
            }
            Test::Empty(empty) => cell.is_none() == *empty,
            Test::Past(past, convert) => cell
                .and_then(|cell| convert.time(cell).ok())
                .is_some_and(|at| (at <= received_at) == *past),
        }
    }
}

/// Whether a condition on `true` or `false` is met by another way of writing it (`1`, `yes`, `F`).
fn means(entry: &str, cell: &str) -> bool {
    match entry {
        "true" => read_boolean(cell) == Ok(true),
        "false" => read_boolean(cell) == Ok(false),
        _ => false,
    }
}
