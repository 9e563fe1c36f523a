//! Contacts and accounts: lists by score, and a page each with contributions, score history and timeline.

use axum::{Extension, extract::Path, response::Response};
use maud::{Markup, html};
use revgauge_contract::{
    ErrorKind, Timestamp,
    error::Failure,
    score::{EntityKind, EntityScores, Score},
};
use serde_json::Value;

use super::{
    ask::{Sheet, number, text},
    chart::{Line, over_time},
    figure::{Form, instant, rows_and_sql, written},
    form::quoted,
    layout::{Oops, Page, first_steps, page},
    leads::{answer_form, owner_name},
    statement::Statement,
    table::{Col, Show, band, col, table},
    visit::{Visit, short},
    who::{Who, choice},
};
use crate::problem::Problem;

const CONTACT_COLUMNS: &[Col] = &[
    col("name", "Contact", Show::Link("/ui/contacts/", "entity_id")),
    col(
        "account_name",
        "Account",
        Show::Link("/ui/accounts/", "account_id"),
    ),
    col("value", "Priority", Show::Bar(1.0, Form::Share)),
    col("tier", "Tier", Show::Band),
    col("reasons", "Why", Show::Text),
];

const ACCOUNT_COLUMNS: &[Col] = &[
    col("name", "Account", Show::Link("/ui/accounts/", "entity_id")),
    col("value", "Intent", Show::Bar(1.0, Form::Share)),
    col("owner_name", "Rep", Show::Link("/ui/team?owner_id=", "owner_id")),
    col("reasons", "Why", Show::Text),
];

/// `GET /ui/contacts`
pub(super) async fn contacts(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    list(
        &visit,
        EntityKind::Contact,
        "Contacts",
        "priority",
        CONTACT_COLUMNS,
    )
    .await
}

/// `GET /ui/accounts`
pub(super) async fn accounts(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    list(&visit, EntityKind::Account, "Accounts", "intent", ACCOUNT_COLUMNS).await
}

async fn list(
    visit: &Visit,
    kind: EntityKind,
    title: &str,
    score: &str,
    columns: &[Col],
) -> Result<Response, Oops> {
    let owners = visit.owners().await?;
    let mut filter = Who::of(visit, &owners).and("owner_id");
    if let Some(words) = visit.pairs.get("q") {
        let words = quoted(&words.to_lowercase());
        filter += &format!(
            " AND (strpos(lower(coalesce(name, '')), {words}) > 0 OR strpos(lower(entity_id), {words}) > 0)"
        );
    }
    let rows = visit.api.settings.web.page_rows;
    let sql = format!(
        "SELECT entity_id, name, account_id, owner_id, value, tier, reasons FROM {} \
         WHERE entity_kind = '{}' AND score = '{score}'{filter} ORDER BY value DESC NULLS LAST, entity_id LIMIT {rows}",
        visit.scores(),
        kind.as_str(),
    );
    let found = visit.ask_rows(sql, rows).await?;
    let found = super::deals::told(visit, &found).await?;
    let body = html! {
        form.filters method="get" action=(visit.path) data-filter="1" role="search" {
            @if let Some(at) = visit.pairs.get("as_of") { input type="hidden" name="as_of" value=(at); }
            label { "Search " input type="search" name="q" value=(visit.pairs.get("q").unwrap_or_default()) maxlength="100"; }
            (choice(visit, &owners))
            button type="submit" { "Filter" }
        }
        @if found.rows.is_empty() && visit.pairs.all().is_empty() { (first_steps(visit)) }
        (table(visit, &format!("{title}, highest {score} first"), &found, columns))
    };
    Ok(page(visit, &Page { title, body }))
}

/// `GET /ui/contacts/{id}`
pub(super) async fn contact(
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Result<Response, Oops> {
    entity(&visit, EntityKind::Contact, &id).await
}

/// `GET /ui/accounts/{id}`
pub(super) async fn account(
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Result<Response, Oops> {
    entity(&visit, EntityKind::Account, &id).await
}

async fn entity(visit: &Visit, kind: EntityKind, id: &str) -> Result<Response, Oops> {
    let found = scores_of(visit, kind, id).await?;
    let object = object_of(visit, kind, &found.entity_id).await?;
    let keys = keys_of(visit, kind, &found.entity_id).await?;
    let history = score_history(visit, kind, &keys).await?;
    let events = timeline(visit, kind, &keys).await?;
    let members = if kind == EntityKind::Account {
        Some(members_of(visit, &found.entity_id).await?)
    } else {
        None
    };
    let title = object
        .get("name")
        .and_then(Value::as_str)
        .filter(|name| !name.trim().is_empty())
        .unwrap_or(&found.entity_id)
        .to_owned();
    let record = record(visit, &object).await?;
    let body = html! {
        (record)
        @if kind == EntityKind::Contact && visit.as_of.is_none() {
            @if let Some(action) = found.scores.iter().find(|score| score.name == "next_action") { (suggestion(visit, &found.entity_id, action)) }
        }
        section.grid { @for score in &found.scores { (score_card(score, &found, visit)) } }
        (history_chart(&history))
        @if let Some((contacts, deals)) = &members {
            (table(visit, "Contacts here", contacts, CONTACT_COLUMNS))
            (table(visit, "Deals here", deals, super::deals::COLUMNS))
        }
        (timeline_list(&events))
    };
    Ok(page(visit, &Page { title: &title, body }))
}

pub(super) async fn scores_of(visit: &Visit, kind: EntityKind, id: &str) -> Result<EntityScores, Problem> {
    let scores = visit.service();
    let found = scores
        .explain(visit.tenant(), kind, id, visit.at(), visit.knowledge())
        .await;
    match found {
        Ok(found) => Ok(found),
        Err(Failure {
            kind: ErrorKind::NotFound,
            ..
        }) => Err(Problem::new(
            axum::http::StatusCode::NOT_FOUND,
            "not_found",
            format!("nothing is known of {} '{}'", kind.as_str(), short(id)),
        )
        .hint("it may have been unknown at the picked instant, or be erased")),
        Err(failure) => Err(failure.into()),
    }
}

pub(super) async fn object_of(visit: &Visit, kind: EntityKind, id: &str) -> Result<Value, Problem> {
    let ids = [id.to_owned()];
    let scores = visit.service();
    let found = scores
        .objects(visit.tenant(), kind, Some(&ids), visit.knowledge())
        .await?;
    Ok(found.into_iter().next().unwrap_or(Value::Null))
}

pub(super) async fn keys_of(visit: &Visit, kind: EntityKind, id: &str) -> Result<Vec<String>, Problem> {
    let keys = visit
        .service()
        .keys(visit.tenant(), kind, id, visit.knowledge())
        .await;
    let mut keys = match keys {
        Ok(keys) => keys,
        Err(Failure {
            kind: ErrorKind::NotFound,
            ..
        }) => Vec::new(),
        Err(failure) => return Err(failure.into()),
    };
    if !keys.iter().any(|key| key == id) {
        keys.push(id.to_owned());
    }
    Ok(keys)
}

fn list_of(keys: &[String]) -> String {
    keys.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(", ")
}

/// The newest entries of the score feed for the keys, up to the picked instant.
pub(super) async fn score_history(
    visit: &Visit,
    kind: EntityKind,
    keys: &[String],
) -> Result<std::sync::Arc<Sheet>, Problem> {
    visit
        .ask(format!(
            "SELECT as_of, score, old_value, new_value, old_tier, new_tier, reason, cause FROM score_changes \
             WHERE entity_kind = '{}' AND entity_id IN ({}){} ORDER BY as_of DESC LIMIT 500",
            kind.as_str(),
            list_of(keys),
            until(visit, "as_of")
        ))
        .await
}

fn until(visit: &Visit, column: &str) -> String {
    visit.as_of.map_or_else(String::new, |at| {
        format!(" AND {column} <= TIMESTAMP {}", quoted(&at.to_string()))
    })
}

/// The newest events of an entity.
pub(super) async fn timeline(
    visit: &Visit,
    kind: EntityKind,
    keys: &[String],
) -> Result<std::sync::Arc<Sheet>, Problem> {
    let list = list_of(keys);
    let whose = match kind {
        EntityKind::Contact => format!("(contact_id IN ({list}) OR email IN ({list}))"),
        EntityKind::Account => format!("(account_id IN ({list}) OR domain IN ({list}))"),
        EntityKind::Deal | EntityKind::Tenant => format!("deal_id IN ({list})"),
    };
    visit
        .ask(format!(
            "SELECT event_time, type, direction, machine_class, source, contact_id, email, user_id, payload FROM events \
             WHERE {whose}{} ORDER BY event_time DESC, event_id LIMIT 60",
            until(visit, "known_at")
        ))
        .await
}

async fn members_of(visit: &Visit, account: &str) -> Result<(Sheet, Sheet), Problem> {
    let account = quoted(account);
    let contacts = visit
        .ask(format!(
            "SELECT entity_id, name, account_id, owner_id, value, tier, reasons FROM {} WHERE entity_kind = 'contact' \
             AND score = 'priority' AND account_id = {account} ORDER BY value DESC NULLS LAST, entity_id LIMIT 50",
            visit.scores()
        ))
        .await?;
    let deals = super::deals::list(visit, &format!("d.account_id = {account}"), 50).await?;
    Ok((super::deals::told(visit, &contacts).await?, deals))
}

/// The fields of a CRM record that people read; owner and account by their names.
///
/// # Errors
/// What stopped the look-ups.
pub(super) async fn record(visit: &Visit, object: &Value) -> Result<Markup, Problem> {
    let owners = visit.owners().await?;
    let account_id = text(object, "account_id");
    let account = match account_id {
        "" => Value::Null,
        id => object_of(visit, EntityKind::Account, id).await?,
    };
    let account = Some(text(&account, "name")).filter(|name| !name.is_empty());
    Ok(fields_of(
        visit,
        object,
        owner_name(&owners, text(object, "owner_id")),
        account.unwrap_or(account_id),
    ))
}

fn fields_of(visit: &Visit, object: &Value, owner: &str, account: &str) -> Markup {
    const SHOWN: &[&str] = &[
        "title",
        "email",
        "seniority",
        "domain",
        "industry",
        "employees",
        "annual_revenue",
        "country",
        "timezone",
        "owner_id",
        "account_id",
        "stage",
        "outcome",
        "amount",
        "currency",
        "close_date",
        "forecast_category",
        "next_step",
        "created_at",
        "loss_reason",
    ];
    html! {
        dl.record {
            @for name in SHOWN {
                @if let Some(value) = object.get(*name).filter(|value| !value.is_null() && value.as_str() != Some("")) {
                    div {
                        dt { (name.trim_end_matches("_id").replace('_', " ")) }
                        dd { @match value {
                            Value::String(text) if *name == "account_id" => { a href=(visit.link(&format!("/ui/accounts/{}", super::form::encode(text)), &[])) { (account) } },
                            Value::String(text) if *name == "owner_id" => { a href=(visit.link("/ui/team", &[("owner_id", text)])) { (owner) } },
                            Value::String(text) => (super::figure::day(text)),
                            Value::Number(number) => (written(number.as_f64(), Form::Count)),
                            other => (other.to_string()),
                        } }
                    }
                }
            }
        }
    }
}

fn suggestion(visit: &Visit, contact: &str, action: &Score) -> Markup {
    let fact = |name: &str| {
        action
            .facts
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let what = action.tier.clone().unwrap_or_default();
    html! {
        section.card.advice {
            h2 { "Next: " (what.replace('_', " ")) }
            p { (fact("advice")) @if !fact("channel").is_empty() { " · by " (fact("channel")) } @if !fact("best_local").is_empty() { " · best " (fact("best_local")) } }
            (answer_form(visit, contact, &what))
        }
    }
}

/// A score with the parts that sum to it.
pub(super) fn score_card(score: &Score, of: &EntityScores, visit: &Visit) -> Markup {
    let most = score
        .contributions
        .iter()
        .map(|part| part.points.abs())
        .fold(1e-9, f64::max);
    let form = if score.value.is_some_and(|value| value > 1.5)
        || matches!(score.name.as_str(), "engagement" | "health")
    {
        Form::Points
    } else {
        Form::Share
    };
    let sql = Statement::new(format!(
        "SELECT score, value, tier, contributions, definition FROM {} WHERE entity_kind = '{}' AND entity_id = {} AND score = {}",
        visit.scores(),
        of.entity_kind.as_str(),
        quoted(&of.entity_id),
        quoted(&score.name)
    ));
    let mut parts: Vec<_> = score.contributions.iter().collect();
    parts.sort_by(|a, b| b.points.abs().total_cmp(&a.points.abs()));
    html! {
        article.card {
            h2 { (score.name.replace('_', " ")) " " @if let Some(tier) = &score.tier { (band(tier)) } }
            p.big { a.figure href=(sql.workbench()) data-sheet=(sql.mark()) title="Rows and SQL" {
                data value=(score.value.map_or(String::new(), |value| value.to_string())) data-cell=(format!("{} 0 value", sql.mark())) { (written(score.value, form)) } } }
            @if let Some(why) = &score.unscored_because { p.empty { "Not scored: " (why) } }
            @if !parts.is_empty() {
                ul.parts { @for part in parts.iter().take(12) {
                    li {
                        span.points { @if part.points >= 0.0 { "+" } (if form == Form::Share { format!("{:.2}", part.points) } else { format!("{:.1}", part.points) }) }
                        (bar_only(part.points / most))
                        span { (part.reason) @if let Some(advice) = &part.advice { br; em { (advice) } } }
                    }
                } }
            }
            p.meta { (score.definition) }
        }
    }
}

fn bar_only(part: f64) -> Markup {
    html! {
        svg.part viewBox="0 0 60 8" width="60" height="8" aria-hidden="true" {
            rect class=(if part < 0.0 { "minus" } else { "plus" }) width=(format!("{:.1}", part.abs().clamp(0.0, 1.0) * 60.0)) height="8" rx="2" {}
        }
    }
}

/// Scores over time, from the feed.
pub(super) fn history_chart(history: &Sheet) -> Markup {
    const CLASSES: [&str; 6] = ["line a", "line b", "line c", "line d", "line e", "line f"];
    let mut lines: Vec<Line> = Vec::new();
    for row in history.rows.iter().rev() {
        let (Ok(at), Some(value)) = (text(row, "as_of").parse::<Timestamp>(), number(row, "new_value"))
        else {
            continue;
        };
        let name = text(row, "score");
        // All scores share one axis: those from 0 to 1 are drawn as per cent.
        let value = if matches!(
            name,
            "engagement" | "health" | "account_health" | "account_engagement"
        ) {
            value
        } else {
            value * 100.0
        };
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
    html! {
        section.card {
            h2 { "Scores over time" }
            (over_time("Scores over time, 0 to 100", "points of 100", &[], &lines, &[], Form::Count))
            details {
                summary { "Why they changed" }
                ul.changes { @for row in history.rows.iter().take(40) {
                    li {
                        (when(text(row, "as_of"))) " · " strong { (text(row, "score").replace('_', " ")) } " "
                        (written(number(row, "old_value"), Form::Points)) " → " (written(number(row, "new_value"), Form::Points))
                        " · " (text(row, "reason")) " (" (text(row, "cause")) ")"
                    }
                } }
            }
            (rows_and_sql(&history.sql))
        }
    }
}

fn when(text: &str) -> Markup {
    text.parse::<Timestamp>()
        .map_or_else(|_| html! { (text) }, instant)
}

/// Events, newest first.
pub(super) fn timeline_list(events: &Sheet) -> Markup {
    html! {
        section.card {
            h2 { "Timeline" }
            @if events.rows.is_empty() { p.empty { "No event yet." } }
            ol.timeline { @for row in &events.rows {
                li class=(format!("kind-{}", text(row, "type").split('.').next().filter(|kind| kind.bytes().all(|b| b.is_ascii_alphanumeric())).unwrap_or("other"))) {
                    (when(text(row, "event_time"))) " "
                    strong { (text(row, "type").replace('.', " ")) }
                    @if !text(row, "direction").is_empty() { " " (text(row, "direction")) }
                    @if !matches!(text(row, "machine_class"), "" | "none") { " " span.band { "by a machine" } }
                    @for name in ["subject", "url", "title", "stage", "amount"] {
                        @if let Some(value) = payload_text(row, name) { " · " (short(&value)) }
                    }
                    span.meta { " " (text(row, "contact_id")) " " (text(row, "user_id")) " via " (text(row, "source")) }
                }
            } }
            (rows_and_sql(&events.sql))
        }
    }
}

fn payload_text(row: &Value, name: &str) -> Option<String> {
    let payload: Value = serde_json::from_str(text(row, "payload")).ok()?;
    match payload.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
