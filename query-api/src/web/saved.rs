//! People's own reports: a query under a title, its rows, when it goes where, and how its deliveries went.

use axum::{
    Extension,
    body::Bytes,
    extract::Path,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};

use super::{
    figure::{instant, rows_and_sql},
    form::Pairs,
    layout::{Oops, Page, page},
    reports::chart,
    table::{band, plain_table},
    visit::Visit,
};
use crate::{
    problem::Problem,
    reports::{Delivery, DeliveryState, SavedReport, Target},
    rest::{check_own, keep_report, one_shown_to, shown_to},
};

/// Rows on a page; CSV has all.
const SHOWN: usize = 500;
/// Deliveries on a page.
const DELIVERIES: usize = 30;

/// `GET /ui/saved?q=`
pub(super) async fn list(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let reports = shown_to(&visit.api, &visit.session.caller);
    let sql = visit.pairs.get("q").unwrap_or_default();
    let body = html! {
        @if reports.is_empty() { p.empty { "Nobody has saved a report yet. A report is a query that you want to see again, or to be sent." } }
        @else {
            figure.sheet { div.scroll tabindex="0" role="region" aria-label="Saved reports" { table {
                thead { tr { th scope="col" { "Report" } th scope="col" { "By" } th scope="col" { "Goes to" } th scope="col" { "Next" } th scope="col" { "Last" } } }
                tbody { @for report in &reports { (row(&visit, report)) } }
            } } }
        }
        section.card {
            h2 { "Save a report" }
            form.stack method="post" action="/ui/saved" {
                input type="hidden" name="csrf" value=(visit.session.csrf);
                label { "Title " input name="title" required maxlength="120" autocomplete="off"; }
                label { "Query: one SELECT " textarea name="sql" rows="5" required maxlength="20000" spellcheck="false" { (sql) } }
                p.meta { "Try it in the " a href="/ui/sql" { "SQL workbench" } " first; a standard report is " code { "SELECT * FROM report_…" } "." }
                button.main type="submit" { "Save" }
            }
        }
    };
    Ok(page(
        &visit,
        &Page {
            title: "Saved reports",
            body,
        },
    ))
}

fn row(visit: &Visit, report: &SavedReport) -> Markup {
    let last = visit
        .api
        .saved
        .deliveries(visit.tenant(), &report.report_id)
        .into_iter()
        .next();
    html! {
        tr {
            td data-label="Report" { a.row href=(visit.link(&format!("/ui/saved/{}", report.report_id), &[])) { (report.title) } }
            td data-label="By" { (report.created_by) }
            td data-label="Goes to" { @if let Some(schedule) = &report.schedule { (schedule.target.wording()) } @else { "nowhere" } }
            td data-label="Next" { @if let Some(at) = visit.api.saved.next_due(report) { (instant(at)) } @else { "—" } }
            td data-label="Last" { @if let Some(last) = last { (state(&last)) " " (instant(last.due_at)) } @else { "—" } }
        }
    }
}

fn state(delivery: &Delivery) -> Markup {
    match delivery.state {
        DeliveryState::Delivered => html! { span."band good" { "delivered" } },
        DeliveryState::Failed => html! { span."band bad" { "failed" } },
        DeliveryState::Waiting if delivery.attempts > 0 => html! { span."band poor" { "tried again soon" } },
        DeliveryState::Waiting | DeliveryState::Begun => band("under way"),
    }
}

/// `POST /ui/saved`
pub(super) async fn save(Extension(visit): Extension<Visit>, body: Bytes) -> Result<Response, Oops> {
    let form = checked(&visit, &body)?;
    let (title, sql) = (
        form.get("title").unwrap_or_default(),
        form.get("sql").unwrap_or_default(),
    );
    let caller = &visit.session.caller;
    let report = keep_report(&visit.api, caller, title, sql, None).await?;
    Ok(to_report(&report.report_id))
}

/// `GET /ui/saved/{id}`
pub(super) async fn one(
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Result<Response, Oops> {
    let report = one_shown_to(&visit.api, &visit.session.caller, &id)?;
    show(&visit, &report, None).await
}

async fn show(visit: &Visit, report: &SavedReport, secret: Option<&str>) -> Result<Response, Oops> {
    let outcome = visit.ask_rows(report.sql.clone(), SHOWN).await;
    let deliveries = visit.api.saved.deliveries(visit.tenant(), &report.report_id);
    let body = html! {
        p { a href=(visit.link("/ui/saved", &[])) { "← All saved reports" } }
        @if let Some(secret) = secret {
            section.card role="status" { h2 { "The key that signs this webhook, shown this once" } pre tabindex="0" { (secret) } }
        }
        @match &outcome {
            Ok(sheet) => {
                (chart(&report.title, sheet))
                (plain_table(&report.title, sheet, SHOWN))
                @if sheet.truncated { p.empty { "Only the first " (SHOWN) " rows are shown; CSV has all." } }
                (rows_and_sql(&sheet.sql))
            }
            Err(problem) => { div.error role="alert" { p { (problem.detail) } @if let Some(hint) = &problem.hint { p { (hint) } } } }
        }
        (schedule_section(visit, report))
        (deliveries_section(&deliveries))
        section {
            h2 { "Remove" }
            form.inline method="post" action=(format!("/ui/saved/{}/remove", report.report_id)) {
                input type="hidden" name="csrf" value=(visit.session.csrf);
                button type="submit" { "Remove this report and its deliveries" }
            }
            p.meta { "Saved by " (report.created_by) " on " (instant(report.created_at)) ". Files that were delivered stay." }
        }
    };
    Ok(page(
        visit,
        &Page {
            title: &report.title,
            body,
        },
    ))
}

fn schedule_section(visit: &Visit, report: &SavedReport) -> Markup {
    let action = |rest: &str| format!("/ui/saved/{}/{rest}", report.report_id);
    let csrf = html! { input type="hidden" name="csrf" value=(visit.session.csrf); };
    let schedule = report.schedule.as_ref();
    let kind = schedule.map_or("mail", |schedule| match schedule.target {
        Target::File => "file",
        Target::Webhook { .. } => "webhook",
        Target::Mail { .. } => "mail",
    });
    let place = schedule.map_or_else(String::new, |schedule| match &schedule.target {
        Target::File => String::new(),
        Target::Webhook { url, .. } => url.clone(),
        Target::Mail { to } => to.join(", "),
    });
    html! {
        section.card {
            h2 { "Schedule" }
            @match (schedule, visit.api.saved.next_due(report)) {
                (Some(schedule), Some(next)) => p { "Goes by " (schedule.target.wording()) ", next at " (instant(next)) " UTC." },
                (Some(_), None) => p { "Its pattern never comes again." },
                (None, _) => p.empty { "Goes nowhere by itself." },
            }
            form.filters method="post" action=(action("schedule")) {
                (csrf)
                label { "When (cron) " input name="cron" required maxlength="64" value=(schedule.map_or("0 7 * * 1", |schedule| &schedule.cron)) aria-describedby="cron-help"; }
                label { "Time zone " input name="timezone" required maxlength="64" value=(schedule.map_or("UTC", |schedule| &schedule.timezone)); }
                label { "By " select name="kind" { @for name in ["mail", "webhook", "file"] { option value=(name) selected[name == kind] { (name) } } } }
                label { "Mail addresses, or the webhook's address " input name="place" maxlength="2000" value=(place); }
                button.main type="submit" { "Set" }
            }
            p.meta #cron-help { code { "0 7 * * 1" } " is Mondays at 7:00, " code { "30 8 1 * *" } " the first of each month at 8:30." }
            @if schedule.is_some() {
                form.inline method="post" action=(action("schedule")) { (csrf) button type="submit" name="off" value="1" { "Send it no more" } }
                " "
                form.inline method="post" action=(action("send")) { (csrf) button type="submit" { "Send it now" } }
            }
        }
    }
}

fn deliveries_section(deliveries: &[Delivery]) -> Markup {
    html! {
        @if !deliveries.is_empty() {
            figure.sheet { div.scroll tabindex="0" role="region" aria-label="Deliveries" { table {
                caption { "Deliveries, newest first" }
                thead { tr { th scope="col" { "Due" } th scope="col" { "State" } th.n scope="col" { "Attempts" } th.n scope="col" { "Rows" } th scope="col" { "What happened" } } }
                tbody { @for delivery in deliveries.iter().take(DELIVERIES) { tr {
                    td data-label="Due" { (instant(delivery.due_at)) }
                    td data-label="State" { (state(delivery)) }
                    td.n data-label="Attempts" { (delivery.attempts) }
                    td.n data-label="Rows" { @if let Some(rows) = delivery.rows { (rows) } @else { "—" } }
                    td data-label="What happened" { (delivery.message) @if delivery.ended_at.is_none() && delivery.attempts > 0 { " · again at " (instant(delivery.next_try_at)) } }
                } } }
            } } }
        }
    }
}

/// `POST /ui/saved/{id}/schedule`
pub(super) async fn schedule(
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Oops> {
    let form = checked(&visit, &body)?;
    check_own(&visit.api, &visit.session.caller, &id)?;
    let saved = &visit.api.saved;
    if form.get("off").is_some() {
        saved.schedule(visit.tenant(), &id, None).await?;
        return Ok(to_report(&id));
    }
    let text = |name: &str| form.get(name).unwrap_or_default();
    let target = match text("kind") {
        "file" => Target::File,
        "webhook" => Target::Webhook {
            url: text("place").to_owned(),
            secret: String::new(),
        },
        "mail" => Target::Mail {
            to: text("place")
                .split([',', ';', ' '])
                .map(str::trim)
                .filter(|address| !address.is_empty())
                .map(str::to_owned)
                .collect(),
        },
        _ => return Err(Problem::bad("bad_form", "a report goes by mail, webhook or file").into()),
    };
    let wanted = Some((text("cron"), text("timezone"), target));
    let report = saved.schedule(visit.tenant(), &id, wanted).await?;
    match report.schedule.as_ref().map(|schedule| &schedule.target) {
        Some(Target::Webhook { secret, .. }) => show(&visit, &report, Some(secret)).await,
        _ => Ok(to_report(&id)),
    }
}

/// `POST /ui/saved/{id}/send`
pub(super) async fn send(
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Oops> {
    checked(&visit, &body)?;
    check_own(&visit.api, &visit.session.caller, &id)?;
    visit.api.saved.send_now(visit.tenant(), &id).await?;
    Ok(to_report(&id))
}

/// `POST /ui/saved/{id}/remove`
pub(super) async fn remove(
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Oops> {
    checked(&visit, &body)?;
    check_own(&visit.api, &visit.session.caller, &id)?;
    visit.api.saved.remove(visit.tenant(), &id).await?;
    Ok(Redirect::to("/ui/saved").into_response())
}

fn checked(visit: &Visit, body: &[u8]) -> Result<Pairs, Problem> {
    let form = Pairs::of_body(body)?;
    visit.check_form(&form)?;
    Ok(form)
}

fn to_report(id: &str) -> Response {
    Redirect::to(&format!("/ui/saved/{}", super::form::encode(id))).into_response()
}
