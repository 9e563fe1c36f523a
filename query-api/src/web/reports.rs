//! Standard reports: the catalogue by subject, and a page each with chart, table and CSV, for now or any past instant.

use axum::{Extension, extract::Path, http::StatusCode, response::Response};
use maud::{Markup, html};
use revgauge_contract::{
    Timestamp,
    reports::{Chart, ColumnFormat, Report, ReportColumn},
};
use serde_json::Value;

use super::{
    ask::{Sheet, number, text},
    chart::{Bar, Line, bars, over_time},
    figure::{Form, cell, day, figure, rows_and_sql},
    form::{encode, quoted},
    layout::{Oops, Page, page},
    visit::{Visit, short},
};
use crate::{problem::Problem, sql::nearest};

/// Rows on a page; CSV has all.
const SHOWN: usize = 500;
const HOUR_US: i64 = 3_600_000_000;

/// `GET /ui/reports`
pub(super) async fn reports(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let mut all: Vec<&Report> = visit.api.reports.all().collect();
    all.sort_by_key(|report| (report.group.as_str(), report.title.as_str()));
    let body = html! {
        p.lead { (all.len()) " standard reports. Each is a view, " code { "report_…" } ", that any SQL tool reads." }
        nav.actions aria-label="More reports" {
            a.row href="/ui/saved" { "Saved and scheduled reports" }
            a.row href="/ui/sql" { "Write your own" }
            a.row href=(visit.link("/ui/tv", &[])) { "Wall screen" }
        }
        div.columns {
            @for group in all.chunk_by(|a, b| a.group == b.group) {
                section.card {
                    h2 { (sentence(&group[0].group)) }
                    ul.plain-list { @for report in group {
                        li { a.row href=(visit.link(&format!("/ui/reports/{}", encode(&report.name)), &[])) { (report.title) } br; span.meta { (report.question) } }
                    } }
                }
            }
        }
    };
    Ok(page(
        &visit,
        &Page {
            title: "Reports",
            body,
        },
    ))
}

/// A subject as a heading.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `GET /ui/reports/{name}`
pub(super) async fn report(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
) -> Result<Response, Oops> {
    let catalogue = &visit.api.reports;
    let Some(report) = catalogue.get(name.trim_start_matches("report_")) else {
        let problem = Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no report '{}'", short(&name)),
        );
        let near = nearest(&name, &catalogue.names());
        return Err(problem
            .hint(near.map_or_else(
                || "the page Reports lists them".to_owned(),
                |near| format!("did you mean '{near}'? the page Reports lists them"),
            ))
            .into());
    };
    let past = visit
        .as_of
        .and_then(|at| past_sql(&catalogue.sql(&report.name, at)?, at));
    let only_now = visit.as_of.is_some() && past.is_none();
    // The query itself and not its view: of a view's order nothing is left once another query reads it.
    let now = Timestamp(visit.now.micros().div_euclid(HOUR_US) * HOUR_US);
    let sql = past
        .or_else(|| catalogue.sql(&report.name, now))
        .unwrap_or_default();
    let sheet = visit.ask_rows(sql, SHOWN).await?;
    let body = html! {
        p { a href=(visit.link("/ui/reports", &[])) { "← All reports" } }
        p.lead { (report.question) @if !report.description.is_empty() { " " span.meta { (report.description) } } }
        @if only_now { p.stale { "This report rests on running statistics and answers for now; the picked instant does not change it." } }
        (drawn(report, &sheet))
        (rows(&visit, report, &sheet))
    };
    Ok(page(
        &visit,
        &Page {
            title: &report.title,
            body,
        },
    ))
}

/// A report's query as of an instant: the tables it reads are put before it as known then. `None` when it reads one that
/// has no past.
fn past_sql(sql: &str, at: Timestamp) -> Option<String> {
    let at = quoted(&at.to_string());
    let mut tables = Vec::new();
    let words: Vec<&str> = sql.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    for pair in words.windows(2) {
        if !pair[0].eq_ignore_ascii_case("from") && !pair[0].eq_ignore_ascii_case("join") {
            continue;
        }
        let then = match pair[1] {
            "deals" => format!("SELECT * FROM pipeline_as_of({at})"),
            "scores" => format!("SELECT * FROM scores_as_of({at})"),
            "events" | "deal_history" => {
                format!("SELECT * FROM {} WHERE known_at <= TIMESTAMP {at}", pair[1])
            }
            "score_changes" => format!("SELECT * FROM score_changes WHERE as_of <= TIMESTAMP {at}"),
            "contact_engagement" | "rep_activity" | "event_counts" | "accounts" | "account_signals"
            | "deal_contacts" | "contacts" | "contact_rhythm" | "alerts" | "crm_state" | "deal_activity" => {
                return None;
            }
            // A name the query gives itself, or a word of EXTRACT(... FROM ...).
            _ => continue,
        };
        let before = format!("{} AS ({then})", pair[1]);
        if !tables.contains(&before) {
            tables.push(before);
        }
    }
    if tables.is_empty() {
        return None;
    }
    let tables = tables.join(", ");
    Some(match sql.strip_prefix("WITH ") {
        Some(rest) => format!("WITH {tables}, {rest}"),
        None => format!("WITH {tables} {sql}"),
    })
}

const fn form_of(format: ColumnFormat) -> Option<Form> {
    match format {
        ColumnFormat::Integer => Some(Form::Count),
        ColumnFormat::Money => Some(Form::Money),
        ColumnFormat::Percent => Some(Form::Share),
        ColumnFormat::Decimal | ColumnFormat::Days => Some(Form::Points),
        ColumnFormat::Text | ColumnFormat::Date | ColumnFormat::Instant | ColumnFormat::Flag => None,
    }
}

/// The number a chart shows: money before shares before counts.
fn measure(report: &Report) -> Option<(&ReportColumn, Form)> {
    let rank = |format: ColumnFormat| match format {
        ColumnFormat::Money => 0,
        ColumnFormat::Percent => 1,
        _ => 2,
    };
    let numbers = report.columns.iter().skip(1).chain(report.columns.first());
    let numbers = numbers.filter_map(|column| Some((column, form_of(column.format)?)));
    numbers.min_by_key(|(column, _)| rank(column.format))
}

fn drawn(report: &Report, sheet: &Sheet) -> Markup {
    let (Some(axis), Some((value, form))) = (report.columns.first(), measure(report)) else {
        return html! {};
    };
    let words = value.name.replace('_', " ");
    let markup = match report.chart {
        Chart::Number if !sheet.rows.is_empty() => html! { p.big { (figure(sheet, 0, &value.name, form)) } },
        Chart::Line if sheet.rows.len() > 1 => {
            let lines = lines(report, sheet, axis, value);
            html! { (over_time(&report.title, &words, &[], &lines, &[], form)) }
        }
        Chart::Bar | Chart::Funnel if (1..=30).contains(&sheet.rows.len()) => {
            let bar = |(at, row): (usize, &Value)| Bar {
                label: label(report, row),
                row: at,
                column: value.name.clone(),
                class: "cat commit",
            };
            let shown: Vec<Bar> = sheet.rows.iter().enumerate().map(bar).collect();
            html! { (bars(&report.title, sheet, &shown, form)) }
        }
        _ => return html! {},
    };
    html! { section.card { h2 { (sentence(&words)) } (markup) } }
}

/// The dimensions of a row in words.
fn label(report: &Report, row: &Value) -> String {
    let dimensions = report
        .columns
        .iter()
        .filter(|column| form_of(column.format).is_none());
    let words = dimensions.filter_map(|column| {
        let word = text(row, &column.name);
        (!word.is_empty()).then(|| word.trim_end_matches("T00:00:00Z").to_owned())
    });
    words.collect::<Vec<_>>().join(" · ")
}

/// One line a value of the second dimension, such as a currency.
fn lines(report: &Report, sheet: &Sheet, axis: &ReportColumn, value: &ReportColumn) -> Vec<Line> {
    const CLASSES: [&str; 6] = ["line a", "line b", "line c", "line d", "line e", "line f"];
    let by = report
        .columns
        .iter()
        .skip(1)
        .find(|column| column.format == ColumnFormat::Text);
    let mut lines: Vec<Line> = Vec::new();
    for row in &sheet.rows {
        let (Ok(at), Some(value)) = (
            text(row, &axis.name).parse::<Timestamp>(),
            number(row, &value.name),
        ) else {
            continue;
        };
        let name = by.map_or("", |by| text(row, &by.name));
        let point = (at.micros() as f64 / 1e6, value);
        if let Some(line) = lines.iter_mut().find(|line| line.name == name) {
            line.points.push(point);
        } else if let Some(class) = CLASSES.get(lines.len()) {
            lines.push(Line {
                name: name.to_owned(),
                class,
                points: vec![point],
            });
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

fn rows(visit: &Visit, report: &Report, sheet: &Sheet) -> Markup {
    let class = |column: &ReportColumn| form_of(column.format).map(|_| "n");
    html! {
        figure.sheet {
            div.scroll tabindex="0" role="region" aria-label=(report.title) {
                table {
                    caption { (sentence(&report.grain)) }
                    thead { tr { @for column in &report.columns { th scope="col" class=[class(column)] { (sentence(&column.name.replace('_', " "))) } } } }
                    tbody { @for at in 0..sheet.rows.len().min(SHOWN) {
                        tr { @for column in &report.columns { td class=[class(column)] data-label=(sentence(&column.name.replace('_', " "))) { (value_of(visit, sheet, at, column)) } } }
                    } }
                }
            }
            @if sheet.rows.is_empty() { p.empty { "There is nothing to report." } }
            @if sheet.truncated { p.empty { "Only the first " (SHOWN) " rows are shown; CSV has all." } }
            (rows_and_sql(&sheet.sql))
        }
    }
}

fn value_of(visit: &Visit, sheet: &Sheet, at: usize, column: &ReportColumn) -> Markup {
    if let Some(form) = form_of(column.format) {
        return cell(sheet, at, &column.name, form);
    }
    let value = sheet.rows.get(at).and_then(|row| row.get(&column.name));
    let words = match value {
        None | Some(Value::Null) => return html! { "—" },
        Some(Value::String(words)) => words.clone(),
        Some(other) => other.to_string(),
    };
    let page = match column.name.as_str() {
        "deal_id" => "/ui/deals/",
        "account_id" => "/ui/accounts/",
        "contact_id" => "/ui/contacts/",
        _ => "",
    };
    html! {
        @if !page.is_empty() { a.row href=(visit.link(&format!("{page}{}", encode(&words)), &[])) { (words) } }
        @else if matches!(column.format, ColumnFormat::Date | ColumnFormat::Instant) { (day(&words)) }
        @else { (words) }
    }
}

/// Bars of the last number column by the first text or instant, when there are few enough rows to read.
pub(super) fn chart(title: &str, sheet: &Sheet) -> Markup {
    let label = sheet.columns.iter().find(|(_, is_number)| !is_number);
    let value = sheet.columns.iter().rfind(|(_, is_number)| *is_number);
    let (Some((label, _)), Some((value, _))) = (label, value) else {
        return html! {};
    };
    if !(2..=24).contains(&sheet.rows.len()) {
        return html! {};
    }
    let bar = |(at, row): (usize, &Value)| Bar {
        label: text(row, label).trim_end_matches("T00:00:00Z").to_owned(),
        row: at,
        column: value.clone(),
        class: "cat commit",
    };
    let shown: Vec<Bar> = sheet.rows.iter().enumerate().map(bar).collect();
    let form = if value.contains("rate") || value.contains("share") {
        Form::Share
    } else if value.contains("mean") || value.contains("median") {
        Form::Points
    } else {
        Form::Money
    };
    html! { section.card { h2 { (sentence(&value.replace('_', " "))) } (bars(title, sheet, &shown, form)) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_the_past_reads_tables_as_known_then_or_says_that_it_cannot() {
        let at = Timestamp(0);
        let of = |sql: &str| past_sql(sql, at);
        let deals = "deals AS (SELECT * FROM pipeline_as_of('1970-01-01T00:00:00Z'))";
        assert_eq!(
            of("SELECT a FROM deals JOIN deals AS d ON true"),
            Some(format!(
                "WITH {deals} SELECT a FROM deals JOIN deals AS d ON true"
            ))
        );
        assert_eq!(
            of("WITH x AS (SELECT 1 FROM deals) SELECT extract(epoch FROM closed_at) FROM x"),
            Some(format!(
                "WITH {deals}, x AS (SELECT 1 FROM deals) SELECT extract(epoch FROM closed_at) FROM x"
            ))
        );
        assert_eq!(of("SELECT 1 FROM deals JOIN rep_activity ON true"), None);
        assert_eq!(of("SELECT 1"), None);
        for report in crate::reports::Catalogue::shipped().expect("valid").all() {
            if let Some(sql) = past_sql(&report.sql, at) {
                assert!(sql.starts_with("WITH "), "{}", report.name);
            }
        }
    }
}
