//! Tables: columns with titles, on a phone one card a row, every cell text.

use maud::{Markup, html};
use serde_json::Value;

use super::{
    ask::{Sheet, text},
    figure::{Form, cell as number_cell, day, rows_and_sql},
    form::encode,
    visit::Visit,
};

/// How a cell is shown.
#[derive(Clone, Copy)]
pub(super) enum Show {
    Text,
    Number(Form),
    Day,
    /// A link to this path followed by another column's text.
    Link(&'static str, &'static str),
    /// A coloured word.
    Band,
    /// A bar of 0 to this, with the number.
    Bar(f64, Form),
}

/// A column of a query as shown.
#[derive(Clone, Copy)]
pub(super) struct Col {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) show: Show,
}

pub(super) const fn col(name: &'static str, title: &'static str, show: Show) -> Col {
    Col { name, title, show }
}

/// The rows of a query.
pub(super) fn table(visit: &Visit, caption: &str, sheet: &Sheet, columns: &[Col]) -> Markup {
    html! {
        figure.sheet {
            div.scroll tabindex="0" role="region" aria-label=(caption) {
                table {
                    caption { (caption) }
                    thead { tr { @for column in columns { th scope="col" class=[number_class(column.show)] { (column.title) } } } }
                    tbody {
                        @for at in 0..sheet.rows.len() {
                            tr { @for column in columns { (cell(visit, sheet, at, column)) } }
                        }
                    }
                }
            }
            @if sheet.rows.is_empty() { p.empty { "Nothing here." } }
            @if sheet.truncated { p.empty { "Only the first " (sheet.rows.len()) " rows are shown." } }
            (rows_and_sql(&sheet.sql))
        }
    }
}

const fn number_class(show: Show) -> Option<&'static str> {
    if matches!(show, Show::Number(_)) {
        Some("n")
    } else {
        None
    }
}

fn cell(visit: &Visit, sheet: &Sheet, at: usize, column: &Col) -> Markup {
    let Some(row) = sheet.rows.get(at) else {
        return html! {};
    };
    let words = || match row.get(column.name) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    };
    html! {
        td class=[number_class(column.show)] data-label=(column.title) {
            @match column.show {
                Show::Text => (words()),
                Show::Number(form) => (number_cell(sheet, at, column.name, form)),
                Show::Day => (day(&words())),
                Show::Link(path, id) => @if text(row, id).is_empty() { (words()) } @else {
                    a.row href=(visit.link(&format!("{path}{}", encode(text(row, id))), &[])) {
                        @if words().trim().is_empty() { (text(row, id)) } @else { (words()) }
                    }
                },
                Show::Band => (band(&words())),
                Show::Bar(most, form) => (bar(sheet, at, column.name, most, form)),
            }
        }
    }
}

/// A tier or band as a coloured word.
pub(super) fn band(word: &str) -> Markup {
    let class = match word {
        "tier_1" | "hot" | "healthy" | "won" | "low" | "closed" => "band good",
        "tier_2" | "warm" | "watch" | "commit" | "medium" => "band fair",
        "critical" | "lost" | "high" => "band bad",
        "at_risk" => "band poor",
        _ => "band",
    };
    html! { @if !word.is_empty() { span class=(class) { (word.replace('_', " ")) } } }
}

/// A bar with its number beside it.
pub(super) fn bar(sheet: &Sheet, at: usize, column: &str, most: f64, form: Form) -> Markup {
    let part = sheet
        .number(at, column)
        .map_or(0.0, |value| (value / most).clamp(0.0, 1.0) * 100.0);
    html! {
        span.bar {
            svg viewBox="0 0 100 8" width="100" height="8" preserveAspectRatio="none" aria-hidden="true" {
                rect.track width="100" height="8" rx="2" {}
                rect.fill width=(format!("{part:.1}")) height="8" rx="2" {}
            }
            (number_cell(sheet, at, column, form))
        }
    }
}

/// Every column as it is, for the workbench and reports.
pub(super) fn plain_table(caption: &str, sheet: &Sheet, most: usize) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table.plain {
                caption { (caption) }
                thead { tr { @for (name, is_number) in &sheet.columns { th scope="col" class=[is_number.then_some("n")] { (name) } } } }
                tbody {
                    @for row in sheet.rows.iter().take(most) {
                        tr {
                            @for (name, is_number) in &sheet.columns {
                                td class=[is_number.then_some("n")] data-label=(name) { (plain_cell(row.get(name))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn plain_cell(value: Option<&Value>) -> Markup {
    /// Longer texts are cut on the page; CSV has them whole.
    const MOST: usize = 300;
    let text = match value {
        None | Some(Value::Null) => return html! { span.null { "NULL" } },
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let cut: String = text.chars().take(MOST).collect();
    html! { (cut) @if cut.len() < text.len() { "…" } }
}
