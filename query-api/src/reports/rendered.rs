//! A report's rows as people and programs get them: CSV that no spreadsheet runs, JSON, a table in a mail.

use maud::{DOCTYPE, html};
use revgauge_contract::Timestamp;
use serde_json::{Value, json};

use super::saved::SavedReport;

/// Rows of a mail's table; the attachment has all.
const MAIL_ROWS: usize = 50;

/// The answer to a report's query.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    /// Name and whether it holds numbers.
    pub(crate) columns: Vec<(String, bool)>,
    pub(crate) rows: Vec<Value>,
    pub(crate) truncated: bool,
    pub(crate) as_of: Timestamp,
}

/// RFC 4180. A text that a spreadsheet would run as a formula is led by an apostrophe.
pub(crate) fn to_csv(columns: &[(String, bool)], rows: &[Value]) -> String {
    let mut out = String::new();
    let line = |cells: Vec<String>, out: &mut String| {
        out.push_str(&cells.join(","));
        out.push_str("\r\n");
    };
    line(columns.iter().map(|(name, _)| csv_text(name)).collect(), &mut out);
    for row in rows {
        let cells = columns.iter().map(|(name, _)| match row.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => csv_text(text),
            Some(other) => other.to_string(),
        });
        line(cells.collect(), &mut out);
    }
    out
}

fn csv_text(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

/// The body of a webhook.
pub(super) fn to_json(report: &SavedReport, due_at: Timestamp, answer: &Rows) -> Vec<u8> {
    let columns: Vec<&str> = answer.columns.iter().map(|(name, _)| name.as_str()).collect();
    let body = json!({
        "type": "report.due",
        "timestamp": due_at,
        "data": {
            "report_id": report.report_id, "title": report.title, "sql": report.sql, "as_of": answer.as_of,
            "columns": columns, "rows": answer.rows, "row_count": answer.rows.len(), "truncated": answer.truncated,
        },
    });
    body.to_string().into_bytes()
}

fn plain(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.chars().take(200).collect(),
        Some(other) => other.to_string(),
    }
}

/// The readable part of a mail, as text.
pub(super) fn to_text(report: &SavedReport, answer: &Rows, link: &str) -> String {
    let mut text = format!("{}\n\nas of {}\n", report.title, answer.as_of);
    for row in answer.rows.iter().take(MAIL_ROWS) {
        let cells = answer
            .columns
            .iter()
            .map(|(name, _)| format!("{name}: {}", plain(row.get(name))));
        text.push('\n');
        text.push_str(&cells.collect::<Vec<_>>().join(" | "));
    }
    text.push_str(&format!("\n\n{}", remark(answer)));
    if !link.is_empty() {
        text.push_str(&format!("\n{link}"));
    }
    text
}

fn remark(answer: &Rows) -> String {
    let count = answer.rows.len();
    let shown = if count > MAIL_ROWS {
        format!("{count} rows, the first {MAIL_ROWS} here, all attached.")
    } else {
        format!("{count} rows, attached as CSV.")
    };
    if answer.truncated {
        return format!("{shown} The report has more than are sent.");
    }
    shown
}

/// The readable part of a mail, as HTML. Mail programs know no stylesheet: the few styles stand at the elements.
pub(super) fn to_html(report: &SavedReport, answer: &Rows, link: &str) -> String {
    const CELL: &str = "padding:4px 10px;border-bottom:1px solid #d5dbe3;text-align:left";
    const NUMBER: &str = "padding:4px 10px;border-bottom:1px solid #d5dbe3;text-align:right";
    let style = |is_number: bool| if is_number { NUMBER } else { CELL };
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (report.title) } }
            body style="font:15px/1.5 system-ui,sans-serif;color:#16202e" {
                h1 style="font-size:20px" { (report.title) }
                p style="color:#4d5a6b" { "As of " (answer.as_of.to_datetime().format("%-d %b %Y %H:%M")) " UTC" }
                table style="border-collapse:collapse;font-size:14px" {
                    thead { tr { @for (name, is_number) in &answer.columns { th scope="col" style=(style(*is_number)) { (name.replace('_', " ")) } } } }
                    tbody { @for row in answer.rows.iter().take(MAIL_ROWS) {
                        tr { @for (name, is_number) in &answer.columns { td style=(style(*is_number)) { (plain(row.get(name))) } } }
                    } }
                }
                p { (remark(answer)) }
                @if !link.is_empty() { p { a href=(link) { "Open in Revgauge" } } }
            }
        }
    };
    markup.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_never_becomes_a_formula_or_a_second_cell() {
        for (text, wanted) in [
            ("plain", "plain"),
            ("=1+1", "'=1+1"),
            ("@cmd", "'@cmd"),
            ("a,b", "\"a,b\""),
            ("-\"x\"\n", "\"'-\"\"x\"\"\n\""),
        ] {
            assert_eq!(csv_text(text), wanted);
        }
        let columns = [("=n".to_owned(), true), ("t".to_owned(), false)];
        let rows = [json!({"=n": -5, "t": "+1"}), json!({"t": null})];
        assert_eq!(to_csv(&columns, &rows), "'=n,t\r\n-5,'+1\r\n,\r\n");
    }

    #[test]
    fn hostile_texts_are_text_in_a_mail() {
        let report = SavedReport {
            report_id: "r".to_owned(),
            tenant_id: "acme".to_owned(),
            title: "<script>alert(1)</script>".to_owned(),
            sql: "SELECT 1".to_owned(),
            created_by: "mo".to_owned(),
            created_at: Timestamp(0),
            schedule: None,
        };
        let answer = Rows {
            columns: vec![("name".to_owned(), false)],
            rows: vec![
                json!({"name": "<img src=x onerror=alert(1)>"}),
                json!({"name": "\u{202e}evil 😀"}),
            ],
            truncated: false,
            as_of: Timestamp(0),
        };
        let html = to_html(&report, &answer, "https://x/ui/saved/r");
        assert!(!html.contains("<script>") && !html.contains("<img"), "{html}");
        assert!(html.contains("😀"), "{html}");
    }
}
