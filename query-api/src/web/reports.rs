//! Standard reports: named queries and every report view of the catalogue, a page each with chart, table and CSV.

use axum::{Extension, extract::Path, http::StatusCode, response::Response};
use maud::{Markup, html};

use super::{
    ask::{Sheet, number, text},
    chart::{Bar, bars},
    figure::{Form, rows_and_sql},
    form::encode,
    layout::{Oops, Page, page},
    table::plain_table,
    visit::{Visit, short},
};
use crate::problem::Problem;

/// A named query.
struct Report {
    name: &'static str,
    group: &'static str,
    title: &'static str,
    sql: &'static str,
}

/// Rows on a page; CSV has all.
const SHOWN: usize = 500;
/// Views with this prefix are reports.
const PREFIX: &str = "report_";

const REPORTS: &[Report] = &[
    Report {
        name: "pipeline-by-stage",
        group: "Sales",
        title: "Open pipeline by stage",
        sql: "SELECT stage, count(*) AS deals, sum(amount) AS amount, avg(amount) AS mean_amount FROM deals WHERE status = 'open' GROUP BY stage ORDER BY amount DESC",
    },
    Report {
        name: "pipeline-by-rep",
        group: "Sales",
        title: "Open pipeline by rep",
        sql: "SELECT owner_id, count(*) AS deals, sum(amount) AS amount FROM deals WHERE status = 'open' GROUP BY owner_id ORDER BY amount DESC",
    },
    Report {
        name: "pipeline-by-close-month",
        group: "Sales",
        title: "Open pipeline by month of close",
        sql: "SELECT date_trunc('month', close_date) AS month, count(*) AS deals, sum(amount) AS amount FROM deals WHERE status = 'open' GROUP BY 1 ORDER BY 1",
    },
    Report {
        name: "won-by-month",
        group: "Sales",
        title: "Won by month",
        sql: "SELECT date_trunc('month', coalesce(closed_at, close_date)) AS month, count(*) AS deals, sum(amount) AS amount FROM deals WHERE status = 'won' GROUP BY 1 ORDER BY 1",
    },
    Report {
        name: "win-rate-by-month",
        group: "Sales",
        title: "Win rate by month of close",
        sql: "SELECT date_trunc('month', coalesce(closed_at, close_date)) AS month, count(CASE WHEN status = 'won' THEN 1 END) AS won, count(*) AS closed, CAST(count(CASE WHEN status = 'won' THEN 1 END) AS DOUBLE) / count(*) AS win_rate FROM deals WHERE status IN ('won', 'lost') GROUP BY 1 ORDER BY 1",
    },
    Report {
        name: "cycle-by-rep",
        group: "Sales",
        title: "Days from creation to win by rep",
        sql: "SELECT owner_id, count(*) AS won, median(date_part('epoch', closed_at - created_at) / 86400) AS median_days FROM deals WHERE status = 'won' AND closed_at IS NOT NULL GROUP BY owner_id ORDER BY median_days",
    },
    Report {
        name: "slipped-deals",
        group: "Sales",
        title: "Open deals whose close date was pushed out",
        sql: "SELECT deal_id, name, owner_id, stage, slips, amount, close_date FROM deals WHERE status = 'open' AND slips > 0 ORDER BY slips DESC, amount DESC",
    },
    Report {
        name: "loss-reasons",
        group: "Sales",
        title: "Why deals were lost",
        sql: "SELECT coalesce(json_get_str(fields, 'loss_reason'), 'not given') AS reason, count(*) AS deals, sum(amount) AS amount FROM deals WHERE status = 'lost' GROUP BY 1 ORDER BY deals DESC, reason",
    },
    Report {
        name: "risks-by-rule",
        group: "Sales",
        title: "Risks on deals by rule",
        sql: "SELECT rule, severity, count(*) AS deals FROM alerts WHERE entity_kind = 'deal' GROUP BY rule, severity ORDER BY deals DESC, rule",
    },
    Report {
        name: "activity-by-week",
        group: "Activity",
        title: "Activity by week",
        sql: "SELECT date_trunc('week', day) AS week, sum(CASE WHEN type = 'email.sent' THEN n ELSE 0 END) AS mails, sum(CASE WHEN type LIKE 'call.%' THEN n ELSE 0 END) AS calls, sum(CASE WHEN type = 'meeting.attended' THEN n ELSE 0 END) AS meetings FROM rep_activity GROUP BY 1 ORDER BY 1",
    },
    Report {
        name: "meetings-by-rep",
        group: "Activity",
        title: "Meetings held and missed by rep",
        sql: "SELECT user_id, sum(CASE WHEN type = 'meeting.attended' THEN n ELSE 0 END) AS attended, sum(CASE WHEN type = 'meeting.no_show' THEN n ELSE 0 END) AS no_shows FROM rep_activity WHERE type LIKE 'meeting.%' GROUP BY user_id ORDER BY attended DESC, user_id",
    },
    Report {
        name: "mail-rates",
        group: "Marketing",
        title: "Mail: sent, opened by people, clicked, answered",
        sql: "SELECT date_trunc('month', day) AS month, sum(CASE WHEN type = 'email.sent' THEN n ELSE 0 END) AS sent, sum(CASE WHEN type = 'email.opened' THEN n - machine_n ELSE 0 END) AS opened_by_people, sum(CASE WHEN type = 'email.clicked' THEN n - machine_n ELSE 0 END) AS clicked, sum(CASE WHEN type = 'email.replied' THEN n ELSE 0 END) AS replied FROM event_counts GROUP BY 1 ORDER BY 1",
    },
    Report {
        name: "contacts-by-tier",
        group: "Marketing",
        title: "Contacts by tier",
        sql: "SELECT coalesce(tier, 'none') AS tier, count(*) AS contacts, avg(value) AS mean_priority FROM scores WHERE entity_kind = 'contact' AND score = 'priority' GROUP BY 1 ORDER BY 1",
    },
    Report {
        name: "intent-leaders",
        group: "Marketing",
        title: "Accounts with the highest intent",
        sql: "SELECT entity_id, name, owner_id, value AS intent, reasons FROM scores WHERE entity_kind = 'account' AND score = 'intent' AND value IS NOT NULL ORDER BY value DESC, entity_id LIMIT 100",
    },
    Report {
        name: "tier-moves",
        group: "Marketing",
        title: "Contacts that changed tier, newest first",
        sql: "SELECT as_of, entity_id, old_tier, new_tier, old_value, new_value, reason FROM score_changes WHERE entity_kind = 'contact' AND score = 'priority' AND old_tier IS DISTINCT FROM new_tier ORDER BY as_of DESC LIMIT 200",
    },
    Report {
        name: "events-by-type",
        group: "Adoption",
        title: "Events by type",
        sql: "SELECT type, sum(n) AS events, sum(machine_n) AS by_machines, sum(late_n) AS late FROM event_counts GROUP BY type ORDER BY events DESC, type",
    },
    Report {
        name: "suggestion-answers",
        group: "Adoption",
        title: "Answers to suggestions",
        sql: "SELECT type, count(*) AS answers, count(DISTINCT contact_id) AS contacts FROM events WHERE type IN ('action.accepted', 'action.rejected') GROUP BY type ORDER BY type",
    },
];

async fn views(visit: &Visit) -> Result<std::sync::Arc<Sheet>, Problem> {
    visit
        .ask("SELECT table_name, max(table_description) AS description FROM table_columns WHERE starts_with(table_name, 'report_') GROUP BY table_name ORDER BY table_name")
        .await
}

/// `GET /ui/reports`
pub(super) async fn reports(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let views = views(&visit).await?;
    let mut groups: Vec<&str> = Vec::new();
    for report in REPORTS {
        if !groups.contains(&report.group) {
            groups.push(report.group);
        }
    }
    let body = html! {
        div.grid {
            @for group in groups {
                section.card {
                    h2 { (group) }
                    ul { @for report in REPORTS.iter().filter(|report| report.group == group) { li { a.row href=(visit.link(&format!("/ui/reports/{}", report.name), &[])) { (report.title) } } } }
                }
            }
            @if !views.rows.is_empty() {
                section.card {
                    h2 { "Report views" }
                    ul { @for row in &views.rows { li { a.row href=(visit.link(&format!("/ui/reports/{}", encode(text(row, "table_name"))), &[])) { (title_of(text(row, "table_name"))) } " " span.meta { (text(row, "description")) } } } }
                }
            }
            section.card {
                h2 { "Your own" }
                p { "Write a query in the " a href="/ui/sql" { "SQL workbench" } ", save it under a title, and have it sent by mail, webhook or file." }
                p { a.row href="/ui/saved" { "Saved and scheduled reports" } }
                p { a href="/ui/tv" { "Wall screen" } }
            }
        }
    };
    Ok(page(
        &visit,
        &Page {
            title: "Reports",
            live: false,
            body,
        },
    ))
}

fn title_of(view: &str) -> String {
    view.trim_start_matches(PREFIX).replace('_', " ")
}

/// `GET /ui/reports/{name}`
pub(super) async fn report(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
) -> Result<Response, Oops> {
    let (title, sql) = match REPORTS.iter().find(|report| report.name == name) {
        Some(report) => (report.title.to_owned(), report.sql.to_owned()),
        None => {
            let views = views(&visit).await?;
            let known = views.rows.iter().any(|row| text(row, "table_name") == name);
            if !known {
                return Err(Problem::new(
                    StatusCode::NOT_FOUND,
                    "not_found",
                    format!("there is no report '{}'", short(&name)),
                )
                .hint("the page Reports lists them")
                .into());
            }
            (
                title_of(&name),
                format!("SELECT * FROM \"{}\"", name.replace('"', "\"\"")),
            )
        }
    };
    let sheet = visit.ask_rows(sql, SHOWN).await?;
    let body = html! {
        p { a href=(visit.link("/ui/reports", &[])) { "← All reports" } }
        @if visit.as_of.is_some() { p.stale { "Reports answer for now; the picked instant does not change them." } }
        (chart(&title, &sheet))
        (plain_table(&title, &sheet, SHOWN))
        @if sheet.truncated { p.empty { "Only the first " (SHOWN) " rows are shown; CSV has all." } }
        (rows_and_sql(&sheet.sql))
    };
    Ok(page(
        &visit,
        &Page {
            title: &title,
            live: false,
            body,
        },
    ))
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
    let shown: Vec<Bar> = sheet
        .rows
        .iter()
        .map(|row| Bar {
            label: text(row, label).trim_end_matches("T00:00:00Z").to_owned(),
            value: number(row, value).unwrap_or(0.0),
            class: "cat commit",
        })
        .collect();
    let form = if value.contains("rate") {
        Form::Share
    } else if value.contains("mean") || value.contains("median") {
        Form::Points
    } else {
        Form::Money
    };
    html! { section { h2 { (value.replace('_', " ")) } (bars(title, &shown, form)) } }
}
