//! The SQL workbench: what every number's link opens. Read-only, same tenant wall as every door.

use axum::{
    Extension,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use serde_json::Value;

use super::{
    ask::{Sheet, text},
    figure::rows_and_sql,
    layout::{Oops, Page, page},
    table::plain_table,
    visit::Visit,
};
use crate::{problem::Problem, reports::to_csv};

/// Rows shown on the page; CSV has all.
const SHOWN: usize = 200;

/// `GET /ui/sql?q=`
pub(super) async fn workbench(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let sql = visit.pairs.get("q").unwrap_or_default().to_owned();
    let outcome = if sql.trim().is_empty() {
        None
    } else {
        Some(visit.ask_rows(sql.clone(), SHOWN).await)
    };
    let columns = visit
        .ask("SELECT table_name, column_name, data_type, unit, description, table_description FROM table_columns ORDER BY table_name, column_name")
        .await?;
    let body = html! {
        form.workbench method="get" action="/ui/sql" data-filter="1" {
            label for="q" { "One SELECT, as of now; " code { "scores_as_of('2026-01-31')" } " and " code { "pipeline_as_of(...)" } " ask about the past" }
            textarea #q name="q" rows="6" spellcheck="false" maxlength="20000" { (sql) }
            button.main type="submit" { "Run" }
        }
        @match &outcome {
            None => (examples()),
            Some(Ok(sheet)) => {
                p { a href=(super::visit::address("/ui/saved", [("q", sql.as_str())])) { "Save as a report" } }
                p.meta { (sheet.rows.len()) @if sheet.truncated { " rows shown, there are more" } @else if sheet.rows.len() == 1 { " row" } @else { " rows" } " · as of " (super::figure::instant(sheet.freshness.as_of)) }
                (plain_table("Rows of the query", sheet, SHOWN))
                (rows_and_sql(&sheet.sql))
            },
            Some(Err(problem)) => (refused(problem)),
        }
        (catalogue(&columns))
    };
    let title = "SQL workbench";
    let mut response = page(&visit, &Page { title, body });
    if let Some(Err(problem)) = outcome {
        *response.status_mut() = axum::http::StatusCode::from_u16(problem.status).unwrap_or_default();
    }
    Ok(response)
}

fn refused(problem: &Problem) -> Markup {
    html! {
        div.error role="alert" {
            p { (problem.detail) }
            @if let Some(hint) = &problem.hint { p { (hint) } }
        }
    }
}

fn examples() -> Markup {
    const EXAMPLES: &[(&str, &str)] = &[
        (
            "Contacts to call first",
            "SELECT entity_id, name, value AS priority, tier, reasons FROM scores WHERE entity_kind = 'contact' AND score = 'priority' AND value IS NOT NULL ORDER BY value DESC, json_get_float(facts, 'engagement') DESC NULLS LAST, json_get_float(facts, 'authority') DESC NULLS LAST, entity_id LIMIT 20",
        ),
        (
            "Deals at risk, with advice",
            "SELECT entity_id AS deal, severity, message, advice FROM alerts WHERE entity_kind = 'deal' ORDER BY severity, deal",
        ),
        (
            "Events a day",
            "SELECT date_trunc('day', event_time) AS day, kind, count(*) AS events FROM events GROUP BY 1, 2 ORDER BY 1 DESC, 2 LIMIT 60",
        ),
        ("All tables and columns", "SELECT * FROM table_columns"),
    ];
    html! {
        section { h2 { "Try" } ul { @for (name, sql) in EXAMPLES { li { a href=(super::visit::address("/ui/sql", [("q", *sql)])) { (name) } } } } }
    }
}

fn catalogue(columns: &Sheet) -> Markup {
    let mut tables: Vec<(&str, Vec<&Value>)> = Vec::new();
    for row in &columns.rows {
        let name = text(row, "table_name");
        match tables.last_mut() {
            Some((last, rows)) if *last == name => rows.push(row),
            _ => tables.push((name, vec![row])),
        }
    }
    html! {
        section {
            h2 { "Tables" }
            @for (name, rows) in &tables {
                details {
                    summary { code { (name) } " " span.meta { (rows.first().map_or("", |row| text(row, "table_description"))) } }
                    dl { @for row in rows { @if !text(row, "column_name").is_empty() {
                        dt { code { (text(row, "column_name")) } " " span.meta { (text(row, "data_type")) " " (text(row, "unit")) } }
                        dd { (text(row, "description")) }
                    } } }
                }
            }
        }
    }
}

/// `GET /ui/sql.csv?q=`: for spreadsheets, so a text that would be read as a formula is led by an apostrophe.
pub(super) async fn csv(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let sql = visit.pairs.get("q").unwrap_or_default().to_owned();
    let most = visit.api.settings.sql.max_rows.min(100_000);
    let sheet = visit.ask_rows(sql, most).await?;
    if sheet.truncated {
        return Err(
            Problem::bad("row_limit", format!("the query has more than {most} rows"))
                .hint("narrow it down, or fetch it from /v1/sql with a key")
                .into(),
        );
    }
    let mut response = to_csv(&sheet.columns, &sheet.rows).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/csv; charset=utf-8"),
    );
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"revgauge.csv\""),
    );
    sheet.freshness.stamp(headers);
    Ok(response)
}
