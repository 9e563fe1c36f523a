//! Leads to call: the priority queue with reasons, channel and best time; suggestions accepted or rejected (SO-08).

use std::collections::HashMap;

use axum::{
    Extension,
    body::Bytes,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use revgauge_contract::event::{EventDraft, Reception};
use serde_json::{Map, Value};

use super::{
    ask::{Sheet, text},
    figure::{Form, cell, rows_and_sql},
    form::{Pairs, encode, quoted},
    layout::{Oops, Page, first_steps, page},
    table::{band, bar},
    visit::Visit,
    who::{Who, choice},
};
use crate::problem::Problem;

/// `GET /ui/leads?owner_id=&tier=&q=`
pub(super) async fn leads(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let owners = visit.owners().await?;
    let who = Who::of(&visit, &owners).and("owner_id");
    let queue = visit
        .ask_rows(queue_sql(&visit, &who), visit.api.settings.web.page_rows)
        .await?;
    let details = visit
        .ask(details_sql(&visit, &queue, "entity_id", "contact"))
        .await?;
    let accounts = visit
        .ask(details_sql(&visit, &queue, "account_id", "account"))
        .await?;
    let body = html! {
        (filters(&visit, &owners))
        @if queue.rows.is_empty() && visit.pairs.all().is_empty() { (first_steps(&visit)) }
        @else if queue.rows.is_empty() {
            p.empty { "No lead matches. " a href="/ui/leads" { "Show all" } }
        }
        ol.queue {
            @for people in by_company(&queue) { (company(&visit, &queue, &people, &details, &accounts, &owners)) }
        }
        (rows_and_sql(&queue.sql))
        div.stages-source { "Engagement and suggestions: " (rows_and_sql(&details.sql)) }
    };
    Ok(page(
        &visit,
        &Page {
            title: "Leads to call",
            body,
        },
    ))
}

/// Of the contacts of whose owners `who` says.
fn queue_sql(visit: &Visit, who: &str) -> String {
    let mut filter = who.to_owned();
    if let Some(tier) = visit.pairs.get("tier") {
        filter += &format!(" AND tier = {}", quoted(tier));
    }
    if let Some(words) = visit.pairs.get("q") {
        let words = quoted(&words.to_lowercase());
        filter += &format!(
            " AND (strpos(lower(coalesce(name, '')), {words}) > 0 OR strpos(lower(entity_id), {words}) > 0)"
        );
    }
    format!(
        "SELECT entity_id, name, account_id, owner_id, value AS priority, tier, reasons FROM {} \
         WHERE entity_kind = 'contact' AND score = 'priority' AND value IS NOT NULL{filter} \
         ORDER BY priority DESC, json_get_float(facts, 'engagement') DESC NULLS LAST, \
         json_get_float(facts, 'authority') DESC NULLS LAST, entity_id LIMIT {}",
        visit.scores(),
        visit.api.settings.web.page_rows
    )
}

/// Scores of the entities that a column of the queue names.
pub(super) fn details_sql(visit: &Visit, queue: &Sheet, column: &str, kind: &str) -> String {
    let ids: std::collections::BTreeSet<_> = queue.rows.iter().map(|row| text(row, column)).collect();
    let ids: Vec<String> = ids.into_iter().map(quoted).collect();
    let ids = if ids.is_empty() {
        "''".to_owned()
    } else {
        ids.join(", ")
    };
    format!(
        "SELECT entity_id, name, score, value, tier, reasons, json_get_str(facts, 'advice') AS advice, \
         json_get_str(facts, 'channel') AS channel, json_get_str(facts, 'best_local') AS best_time FROM {} \
         WHERE entity_kind = '{kind}' AND entity_id IN ({ids}) ORDER BY entity_id, score",
        visit.scores()
    )
}

fn of(details: &Sheet, id: &str, score: &str) -> Option<usize> {
    let mut rows = details.rows.iter();
    rows.position(|row| text(row, "entity_id") == id && text(row, "score") == score)
}

/// Rows of the queue by company, in the order in which each company first appears; who has none stands alone. Fit and
/// intent are the company's, so its people follow each other with the same priority: they are one call list, not many.
fn by_company(queue: &Sheet) -> Vec<Vec<usize>> {
    let mut companies: Vec<Vec<usize>> = Vec::new();
    let mut places = HashMap::new();
    for (at, row) in queue.rows.iter().enumerate() {
        let account_id = text(row, "account_id");
        let place = if account_id.is_empty() {
            companies.len()
        } else {
            *places.entry(account_id).or_insert(companies.len())
        };
        match companies.get_mut(place) {
            Some(people) => people.push(at),
            None => companies.push(vec![at]),
        }
    }
    companies
}

/// People of a company that are in sight; the less engaged are folded away.
const SHOWN: usize = 4;

/// A company of the queue: why to call it, once, then whom, the most engaged first.
fn company(
    visit: &Visit,
    queue: &Sheet,
    people: &[usize],
    details: &Sheet,
    accounts: &Sheet,
    owners: &Sheet,
) -> Markup {
    let first = people.first().copied().unwrap_or_default();
    let row = queue.rows.get(first).unwrap_or(&Value::Null);
    let account_id = text(row, "account_id");
    let account = accounts
        .rows
        .iter()
        .find(|row| text(row, "entity_id") == account_id);
    let account_name = account
        .map(|row| text(row, "name"))
        .filter(|name| !name.is_empty())
        .unwrap_or(account_id);
    let owner = text(row, "owner_id");
    html! {
        li.card {
            div.lead-head {
                h2 {
                    @if account_id.is_empty() { "No company known" }
                    @else { a href=(visit.link(&format!("/ui/accounts/{}", encode(account_id)), &[])) { (account_name) } }
                }
                (band(text(row, "tier")))
                (bar(queue, first, "priority", 1.0, Form::Share))
                @if !owner.is_empty() { span.meta { (owner_name(owners, owner)) } }
            }
            p.reason { (text(row, "reasons")) }
            @let (shown, folded) = people.split_at(people.len().min(SHOWN));
            ul.people { @for &at in shown { (person(visit, queue, (at, first), details, owners)) } }
            @if !folded.is_empty() {
                details {
                    summary { (folded.len()) " more at " (account_name) }
                    ul.people { @for &at in folded { (person(visit, queue, (at, first), details, owners)) } }
                }
            }
        }
    }
}

/// One person of a company's entry; what is as for the company's first is not said again.
fn person(
    visit: &Visit,
    queue: &Sheet,
    (at, first): (usize, usize),
    details: &Sheet,
    owners: &Sheet,
) -> Markup {
    let (row, head) = (
        queue.rows.get(at).unwrap_or(&Value::Null),
        queue.rows.get(first).unwrap_or(&Value::Null),
    );
    let id = text(row, "entity_id");
    let action = of(details, id, "next_action").and_then(|at| details.rows.get(at));
    let engagement = of(details, id, "engagement");
    let name = if text(row, "name").is_empty() {
        id
    } else {
        text(row, "name")
    };
    let differs = |column: &str| text(row, column) != text(head, column);
    let other_owner = Some(text(row, "owner_id")).filter(|owner| !owner.is_empty() && differs("owner_id"));
    html! {
        li {
            div.lead-head {
                h3 { a.row href=(visit.link(&format!("/ui/contacts/{}", encode(id)), &[])) { (name) } }
                span.meta {
                    "engagement " @match engagement { Some(at) => (cell(details, at, "value", Form::Points)), None => "not scored" }
                    @if let Some(owner) = other_owner { " · " (owner_name(owners, owner)) }
                }
                @if row.get("priority") != head.get("priority") { (band(text(row, "tier"))) (bar(queue, at, "priority", 1.0, Form::Share)) }
            }
            @if differs("reasons") { p.reason { (text(row, "reasons")) } }
            @if let Some(action) = action {
                @let what = text(action, "tier");
                div.advice {
                    p {
                        strong { (what.replace('_', " ")) }
                        @if !text(action, "channel").is_empty() { " by " (text(action, "channel")) }
                        @if !text(action, "best_time").is_empty() { ", best " (text(action, "best_time")) }
                        @if !text(action, "advice").is_empty() { ": " (text(action, "advice")) }
                    }
                    @if visit.as_of.is_none() { (answer_form(visit, id, what)) }
                }
            }
        }
    }
}

/// Two buttons; the answer is an event and moves the next suggestion.
pub(super) fn answer_form(visit: &Visit, contact: &str, action: &str) -> Markup {
    html! {
        form.inline method="post" action="/ui/leads/answer" {
            input type="hidden" name="csrf" value=(visit.session.csrf);
            input type="hidden" name="contact_id" value=(contact);
            input type="hidden" name="action" value=(action);
            input type="hidden" name="back" value=(visit.link(&visit.path, &[]));
            button type="submit" name="answer" value="accepted" { "Accept" }
            button type="submit" name="answer" value="rejected" { "Not useful" }
        }
    }
}

/// `POST /ui/leads/answer`: the answer becomes an event like any other.
pub(super) async fn answer(Extension(visit): Extension<Visit>, body: Bytes) -> Result<Response, Oops> {
    let form = Pairs::of_body(&body)?;
    visit.check_form(&form)?;
    let answer = match form.get("answer") {
        Some("accepted") => "action.accepted",
        Some("rejected") => "action.rejected",
        _ => return Err(Problem::bad("bad_form", "an answer is accepted or rejected").into()),
    };
    let contact = form
        .get("contact_id")
        .ok_or_else(|| Problem::bad("bad_form", "the answer names no contact"))?;
    let payload = Map::from_iter([
        (
            "action".to_owned(),
            Value::from(form.get("action").unwrap_or_default()),
        ),
        ("answered_by".to_owned(), Value::from(visit.session.name.as_str())),
    ]);
    let draft = EventDraft {
        event_type: Some(answer.to_owned()),
        event_time: Some(visit.now),
        contact_id: Some(contact.to_owned()),
        payload,
        ..EventDraft::default()
    };
    let reception = Reception::live(
        std::sync::Arc::clone(&visit.session.caller.tenant_id),
        visit.now,
        "dashboard",
    );
    let event = draft
        .accept(&reception)
        .map_err(|refusal| Problem::bad("refused", format!("cannot take the answer: {}", refusal.message)))?;
    visit.api.intake.append(vec![event]).await?;
    let back = form
        .get("back")
        .filter(|back| back.starts_with("/ui/"))
        .unwrap_or("/ui/leads");
    Ok(Redirect::to(back).into_response())
}

fn filters(visit: &Visit, owners: &Sheet) -> Markup {
    let chosen = |name: &str, value: &str| visit.pairs.get(name) == Some(value);
    html! {
        form.filters method="get" action="/ui/leads" data-filter="1" role="search" {
            @if let Some(at) = visit.pairs.get("as_of") { input type="hidden" name="as_of" value=(at); }
            label { "Search " input type="search" name="q" value=(visit.pairs.get("q").unwrap_or_default()) maxlength="100"; }
            label { "Tier "
                select name="tier" {
                    option value="" { "all" }
                    @for tier in ["tier_1", "tier_2", "tier_3", "tier_4"] { option value=(tier) selected[chosen("tier", tier)] { (tier.replace('_', " ")) } }
                }
            }
            (choice(visit, owners))
            button type="submit" { "Filter" }
        }
    }
}

/// The name in a person's row, else the id.
pub(super) fn name_of(owner: &Value) -> &str {
    Some(text(owner, "name"))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| text(owner, "user_id"))
}

/// Names by id, for tables of many reps' rows.
pub(super) fn owner_names(owners: &Sheet) -> HashMap<&str, &str> {
    let rows = owners.rows.iter();
    rows.map(|row| (text(row, "user_id"), name_of(row))).collect()
}

/// A rep's name, else the id.
pub(super) fn owner_name<'a>(owners: &'a Sheet, id: &'a str) -> &'a str {
    let found = owners.rows.iter().find(|row| text(row, "user_id") == id);
    found.map_or(id, name_of)
}

impl Visit {
    /// Users of the CRM with their names and managers.
    pub(super) async fn owners(&self) -> Result<std::sync::Arc<Sheet>, Problem> {
        self.ask("SELECT user_id, name, manager_id, role FROM people ORDER BY name, user_id")
            .await
    }
}
