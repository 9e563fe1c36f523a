//! How a number is written, and the way from it to its rows and SQL.

use maud::{Markup, html};
use revgauge_contract::Timestamp;

use super::{ask::Sheet, statement::Statement};

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Whole, with separators.
    Count,
    /// Money without cents, large ones shortened.
    Money,
    /// A score with one decimal.
    Points,
    /// 0 to 1 as per cent.
    Share,
}

/// Writes a number; `—` for NULL.
pub(super) fn written(value: Option<f64>, form: Form) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return "—".to_owned();
    };
    match form {
        Form::Count => separated(value),
        Form::Money => money(value),
        Form::Points => format!("{value:.1}"),
        Form::Share => format!("{:.0} %", value * 100.0),
    }
}

fn separated(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value.round() < 0.0 {
        format!("-{out}")
    } else {
        out
    }
}

fn money(value: f64) -> String {
    match value.abs() {
        large if large >= 1e9 => format!("{:.2} B", value / 1e9),
        large if large >= 1e7 => format!("{:.1} M", value / 1e6),
        large if large >= 1e6 => format!("{:.2} M", value / 1e6),
        _ => separated(value),
    }
}

/// An instant for people, to the minute.
pub(super) fn instant(at: Timestamp) -> Markup {
    let utc = at.to_datetime();
    html! { time datetime=(at) { (utc.format("%-d %b %Y %H:%M")) } }
}

/// An instant of today for people, to the second.
pub(super) fn seconds(at: Timestamp) -> Markup {
    html! { time datetime=(at) { (at.to_datetime().format("%H:%M:%S")) } }
}

/// An RFC 3339 text for people; other texts stay.
pub(super) fn day(text: &str) -> Markup {
    match text.parse::<Timestamp>() {
        Ok(at) => html! { time datetime=(text) { (at.to_datetime().format("%-d %b %Y")) } },
        Err(_) => html! { (text) },
    }
}

/// A number of a query: row and column say which; its query stands in a link on the same page.
pub(super) fn cell(sheet: &Sheet, row: usize, column: &str, form: Form) -> Markup {
    let value = sheet.number(row, column);
    html! {
        data value=(value.map_or(String::new(), |value| value.to_string())) data-cell=(format!("{} {row} {column}", sheet.sql.mark())) {
            (written(value, form))
        }
    }
}

/// The small link under a table or chart.
pub(super) fn rows_and_sql(sql: &Statement) -> Markup {
    html! {
        p.source {
            a.sql data-sheet=(sql.mark()) href=(sql.workbench()) { "Rows and SQL" }
            " · "
            a href=(sql.csv()) { "CSV" }
        }
    }
}

/// A tile with one number of a query; the number leads to the query.
pub(super) fn tile(title: &str, sheet: &Sheet, column: &str, form: Form, note: &str) -> Markup {
    tile_of(title, sheet, 0, column, form, note)
}

/// A tile with one number of some row of a query.
pub(super) fn tile_of(
    title: &str,
    sheet: &Sheet,
    row: usize,
    column: &str,
    form: Form,
    note: &str,
) -> Markup {
    html! {
        div.tile {
            h2 { (title) }
            (figure(sheet, row, column, form))
            @if !note.is_empty() { p { (note) } }
        }
    }
}

/// A large number that leads to its query.
pub(super) fn figure(sheet: &Sheet, row: usize, column: &str, form: Form) -> Markup {
    html! {
        a.figure href=(sheet.sql.workbench()) data-sheet=(sheet.sql.mark()) title="Rows and SQL" { (cell(sheet, row, column, form)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (value, form, wanted) in [
            (0.0, Form::Count, "0"),
            (1_234_567.0, Form::Count, "1,234,567"),
            (-1_234.0, Form::Count, "-1,234"),
            (999.6, Form::Money, "1,000"),
            (2_345_678.0, Form::Money, "2.35 M"),
            (12_345_678.0, Form::Money, "12.3 M"),
            (3_210_000_000.0, Form::Money, "3.21 B"),
            (61.25, Form::Points, "61.2"),
            (0.305, Form::Share, "30 %"),
            (f64::NAN, Form::Money, "—"),
        ] {
            assert_eq!(written(Some(value), form), wanted);
        }
        assert_eq!(written(None, Form::Count), "—");
    }
}
