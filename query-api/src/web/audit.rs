//! The audit log as a page: who read personal data, changed something or was refused, newest first.

use axum::{Extension, response::Response};
use maud::html;
use revgauge_contract::{Timestamp, time::DAY_US};

use super::{
    admin::only_admin,
    figure::instant,
    layout::{Oops, Page, page},
    table::band,
    visit::{Visit, short},
};
use crate::{access::AuditAction, problem::Problem};

/// Records on a page; `GET /v1/audit-log` has all.
const SHOWN: usize = 200;
/// Days a page looks back.
const DAYS: i64 = 30;

const ACTIONS: [(&str, AuditAction); 4] = [
    ("read", AuditAction::Read),
    ("change", AuditAction::Change),
    ("denied", AuditAction::Denied),
    ("gap", AuditAction::Gap),
];

/// `GET /ui/admin/audit?actor=&action=`: of the days up to the picked instant.
pub(super) async fn audit(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    only_admin(&visit)?;
    let action = match visit.pairs.get("action") {
        None => None,
        Some(name) => {
            let known = ACTIONS.iter().find(|(known, _)| *known == name);
            Some(known.map(|(_, action)| *action).ok_or_else(|| {
                Problem::bad("bad_action", format!("'{}' is no action of the log", short(name)))
                    .hint("it is read, change, denied or gap")
            })?)
        }
    };
    let actor = visit.pairs.get("actor");
    let to = visit.at();
    let (from, end) = (to.plus_micros(-DAYS * DAY_US), Timestamp(to.micros() + 1));
    let mut records = visit
        .api
        .audit
        .read(visit.tenant(), from, end, usize::MAX)
        .await?;
    records.retain(|record| {
        action.is_none_or(|action| record.action == action) && actor.is_none_or(|actor| record.actor == actor)
    });
    let total = records.len();
    let body = html! {
        p { a href=(visit.link("/ui/admin", &[])) { "← Admin" } }
        form.filters method="get" action="/ui/admin/audit" data-filter="1" {
            @if let Some(at) = visit.pairs.get("as_of") { input type="hidden" name="as_of" value=(at); }
            label { "Action " select name="action" { option value="" { "all" } @for (name, known) in ACTIONS { option value=(name) selected[action == Some(known)] { (name) } } } }
            label { "Who " input type="search" name="actor" maxlength="120" value=(actor.unwrap_or_default()) placeholder="user:mo@example.com"; }
            button type="submit" { "Filter" }
        }
        figure.sheet { div.scroll tabindex="0" role="region" aria-label="Audit log" { table {
            caption { (total) " records of " (DAYS) " days, newest first" @if total > SHOWN { "; the first " (SHOWN) " are shown, " code { "GET /v1/audit-log" } " has all" } }
            thead { tr { th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "Role" } th scope="col" { "What" } th scope="col" { "Through" } th scope="col" { "Object" } th scope="col" { "Outcome" } th.n scope="col" { "Times" } } }
            tbody { @for record in records.iter().take(SHOWN) { tr {
                td data-label="When" { (instant(record.at)) }
                td data-label="Who" { (record.actor) }
                td data-label="Role" { (record.role) }
                td data-label="What" { @match record.action { AuditAction::Denied | AuditAction::Gap => span."band bad" { (name_of(record.action)) }, other => (band(name_of(other))) } }
                td data-label="Through" { (record.door) }
                td data-label="Object" { (short(&record.object)) }
                td data-label="Outcome" { (short(&record.detail)) }
                td.n data-label="Times" { (record.times) }
            } } }
        } } @if records.is_empty() { p.empty { "Nothing was noted." } } }
    };
    Ok(page(
        &visit,
        &Page {
            title: "Audit log",
            body,
        },
    ))
}

fn name_of(action: AuditAction) -> &'static str {
    ACTIONS
        .iter()
        .find(|(_, known)| *known == action)
        .map_or("", |(name, _)| name)
}
