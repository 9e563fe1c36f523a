//! What people and programs see: tables, numbers, progress.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// A table for people from JSON records; columns in the order given.
pub(crate) fn table(columns: &[&str], rows: &[Value]) -> String {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if !table.is_tty() {
        table.set_width(140);
    }
    table.set_header(columns);
    for row in rows {
        table.add_row(
            columns
                .iter()
                .map(|column| cell(row.get(*column).unwrap_or(&Value::Null))),
        );
    }
    table.to_string()
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
}
