//! What people and programs see: tables, numbers, progress.

use std::{
    io::{ErrorKind, Write},
    time::Duration,
};

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// Rows of a table for people; programs take another format.
const MAX_TABLE_ROWS: usize = 1_000;
/// Width of tables where there is no terminal.
const PIPE_WIDTH: u16 = 140;
/// Narrowest column that can still be read; records with too many columns for it are printed one under another.
const MIN_COLUMN_WIDTH: usize = 10;

/// Prints a line on standard output; a reader that has gone away (`| head`) is no fault.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}
pub(crate) use say;

/// What `say!` does.
pub(crate) fn line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints bytes as they are.
///
/// # Errors
/// Standard output cannot be written, other than for want of a reader.
pub(crate) fn bytes(body: &[u8]) -> std::io::Result<()> {
    match std::io::stdout().write_all(body) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Whether writing failed because nobody reads any more: an end, not a failure.
pub(crate) fn unread(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let plain = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let of_json = || cause.downcast_ref::<serde_json::Error>()?.io_error_kind();
        plain.or_else(of_json) == Some(ErrorKind::BrokenPipe)
    })
}

/// An error and its causes in one line, without the causes that only say again what was said.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(cause.trim_end()) {
            text = format!("{}: {cause}", text.trim_end());
        }
    }
    text.trim_end().to_owned()
}

/// A table for people from JSON records; columns in the order given.
pub(crate) fn table(columns: &[&str], rows: &[Value]) -> String {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if !table.is_tty() {
        table.set_width(PIPE_WIDTH);
    }
    let shown = &rows[..rows.len().min(MAX_TABLE_ROWS)];
    let text = if columns.len() * MIN_COLUMN_WIDTH > usize::from(table.width().unwrap_or(PIPE_WIDTH)) {
        stacked(columns, shown)
    } else {
        table.set_header(columns);
        for row in shown {
            table.add_row(
                columns
                    .iter()
                    .map(|column| cell(row.get(*column).unwrap_or(&Value::Null))),
            );
        }
        table.to_string()
    };
    if shown.len() == rows.len() {
        return text;
    }
    let left = count((rows.len() - shown.len()) as u64);
    format!("{text}\n... and {left} more rows, which --json prints")
}

/// Records one under another, a line a column.
fn stacked(columns: &[&str], rows: &[Value]) -> String {
    if rows.is_empty() {
        return format!("(no rows; columns: {})", columns.join(", "));
    }
    let width = columns.iter().map(|column| column.len()).max().unwrap_or(0);
    let record = |(index, row): (usize, &Value)| {
        let lines = columns
            .iter()
            .map(|column| {
                let value = cell(row.get(*column).unwrap_or(&Value::Null));
                format!("{column:<width$}  {value}").trim_end().to_owned()
            })
            .collect::<Vec<_>>();
        format!("-- row {}\n{}", index + 1, lines.join("\n"))
    };
    rows.iter().enumerate().map(record).collect::<Vec<_>>().join("\n")
}

/// A table, or the words for there being nothing to show.
pub(crate) fn listing(columns: &[&str], rows: &[Value], none: &str) -> String {
    if rows.is_empty() {
        none.to_owned()
    } else {
        table(columns, rows)
    }
}

/// The names and values of an object in one line, for people.
pub(crate) fn pairs(object: Option<&Value>) -> String {
    let object = object.and_then(Value::as_object);
    let pairs: Vec<String> = object
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name} {}", cell(value)))
        .collect();
    if pairs.is_empty() {
        "none".to_owned()
    } else {
        pairs.join(", ")
    }
}

/// A table of any records: the columns of the first row.
pub(crate) fn records(rows: &[Value]) -> String {
    let columns: Vec<&str> = match rows.first() {
        Some(Value::Object(first)) => first.keys().map(String::as_str).collect(),
        _ => return "(no rows)".to_owned(),
    };
    table(&columns, rows)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Array(items) if items.is_empty() => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number
            .as_f64()
            .filter(|_| !number.is_i64() && !number.is_u64())
            .map_or_else(
                || number.to_string(),
                |float| {
                    let text = format!("{float:.4}");
                    text.trim_end_matches('0').trim_end_matches('.').to_owned()
                },
            ),
        other => other.to_string(),
    }
}

/// Thousands separated, for people.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A progress bar on standard error; hidden where there is no terminal.
pub(crate) fn progress(total: Option<u64>, what: &str) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = if total.is_some() {
        "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}"
    } else {
        "{spinner} {msg} {human_pos} {per_sec} {elapsed}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// A spinner on standard error for work whose length nobody knows; hidden where there is no terminal.
pub(crate) fn waiting(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_and_tables_are_for_people() {
        assert_eq!(
            (count(7), count(1_234_567)),
            ("7".to_owned(), "1,234,567".to_owned())
        );
        let text = records(&[json!({"id": "c1", "score": 61.30001, "n": 3, "none": null})]);
        assert!(text.contains("61.3 ") && text.contains(" 3 "), "{text}");
    }

    #[test]
    fn more_columns_than_fit_are_stacked_and_more_rows_than_people_read_are_counted() {
        let columns: Vec<String> = (0..40).map(|index| format!("column_{index}")).collect();
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let text = table(&columns, &[json!({"column_7": "seven"})]);
        assert!(text.lines().any(|line| line == "column_7   seven"), "{text}");
        let many = vec![json!({"n": 1}); MAX_TABLE_ROWS + 1_234];
        assert!(records(&many).ends_with("... and 1,234 more rows, which --json prints"));
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("no such file").context("cannot read x: no such file");
        assert_eq!(causes(&error), "cannot read x: no such file");
        let error = anyhow::anyhow!("refused").context("cannot reach y");
        assert_eq!(causes(&error), "cannot reach y: refused");
    }
}
