//! One deal: health and what to do, stakeholders, score history with why it changed, similar won deals, timeline.

use axum::{Extension, extract::Path, response::Response};
use maud::{Markup, html};
use revgauge_contract::{
    ErrorKind, Timestamp,
    error::Failure,
    score::{ChangeExplanation, EntityKind, EntityScores},
    time::DAY_US,
};
use serde_json::Value;

use super::{
    ask::{Sheet, number, text},
    figure::{Form, rows_and_sql, written},
    form::{encode, quoted},
    layout::{Oops, Page, page},
    people::{
        history_chart, keys_of, object_of, record, score_card, score_history, scores_of, timeline,
        timeline_list,
    },
    table::{band, table},
    visit::Visit,
};
use crate::{problem::Problem, sql::text_of};

/// Most people of a deal on its page.
const PEOPLE: usize = 40;

/// `GET /ui/deals/{id}?since=`
pub(super) async fn deal(
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Result<Response, Oops> {
    let found = match scores_of(&visit, EntityKind::Deal, &id).await {
        Ok(found) => found,
        // A closed deal has a record and no score.
        Err(problem) if problem.status == 404 => EntityScores {
            entity_kind: EntityKind::Deal,
            entity_id: id.clone(),
            as_of: visit.at(),
            scores: Vec::new(),
        },
        Err(problem) => return Err(problem.into()),
    };
    let object = object_of(&visit, EntityKind::Deal, &found.entity_id).await?;
    if object.is_null() && found.scores.is_empty() {
        scores_of(&visit, EntityKind::Deal, &id).await?;
    }
    let keys = keys_of(&visit, EntityKind::Deal, &found.entity_id).await?;
    let history = score_history(&visit, EntityKind::Deal, &keys).await?;
    let events = timeline(&visit, EntityKind::Deal, &keys).await?;
    let alerts = visit
        .ask(format!(
            "SELECT rule, severity, message, advice, since FROM alerts WHERE entity_kind = 'deal' AND entity_id = {} \
             ORDER BY CASE severity WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END, rule",
            quoted(&found.entity_id)
        ))
        .await?;
    let people = stakeholders(&visit, &object).await?;
    let similar = similar_won(&visit, &object, &found.entity_id).await?;
    let since = since_of(&visit)?;
    let changes = changes_since(&visit, &found, since).await?;
    let title =
        text_of(&object, &["name", "dealname", "deal_name"]).unwrap_or_else(|| found.entity_id.clone());
    let record = record(&visit, &object).await?;
    let body = html! {
        (record)
        @if visit.as_of.is_none() { (risks(&alerts)) }
        section.grid { @for score in &found.scores { (score_card(score, &found, &visit)) } }
        div.pair { (why(&visit, &changes, since)) (history_chart(&history)) }
        (map(&visit, &people))
        (table(&visit, "Similar deals that were won", &similar, super::deals::COLUMNS))
        div.pair.aside { (timeline_list(&events)) (stages(&object)) }
    };
    Ok(page(&visit, &Page { title: &title, body }))
}

fn risks(alerts: &Sheet) -> Markup {
    html! {
        section.card {
            h2 { "Risks" }
            @if alerts.rows.is_empty() { p.empty { "No rule finds a risk." } }
            ul.risks { @for row in &alerts.rows {
                li { (band(text(row, "severity"))) " " strong { (text(row, "message")) } p { (text(row, "advice")) } }
            } }
            (rows_and_sql(&alerts.sql))
        }
    }
}

fn since_of(visit: &Visit) -> Result<Timestamp, Problem> {
    let Some(text) = visit.pairs.get("since") else {
        return Ok(visit.at().plus_micros(-7 * DAY_US));
    };
    let since: Timestamp = text
        .parse()
        .map_err(|error| Problem::bad("bad_instant", format!("cannot read 'since': {error}")))?;
    if since > visit.at() {
        return Err(Problem::bad(
            "bad_instant",
            "'since' lies after the instant of the page",
        ));
    }
    Ok(since)
}

async fn changes_since(
    visit: &Visit,
    found: &EntityScores,
    since: Timestamp,
) -> Result<Vec<ChangeExplanation>, Problem> {
    if found.scores.is_empty() {
        return Ok(Vec::new());
    }
    let scores = visit.service();
    let kind = EntityKind::Deal;
    match scores
        .explain_change(visit.tenant(), kind, &found.entity_id, since, visit.at())
        .await
    {
        Ok(changes) => Ok(changes),
        Err(Failure {
            kind: ErrorKind::NotFound,
            ..
        }) => Ok(Vec::new()),
        Err(failure) => Err(failure.into()),
    }
}

fn why(visit: &Visit, changes: &[ChangeExplanation], since: Timestamp) -> Markup {
    html! {
        section.card {
            h2 { "What changed since " (super::figure::instant(since)) }
            form.filters method="get" action=(visit.path) data-filter="1" {
                @if let Some(at) = visit.pairs.get("as_of") { input type="hidden" name="as_of" value=(at); }
                label { "Since (UTC) " input type="datetime-local" name="since" value=(since.to_datetime().format("%Y-%m-%dT%H:%M")); }
                button type="submit" { "Explain" }
            }
            @if changes.is_empty() { p.empty { "There was no score to compare with." } }
            @for change in changes {
                h3 { (change.name.replace('_', " ")) ": " (written(change.old_value, Form::Points)) " → " (written(change.new_value, Form::Points)) }
                ul.parts { @for part in change.parts.iter().filter(|part| part.points.abs() > 0.005) {
                    li { span.points { (format!("{:+.1}", part.points)) } span { (part.reason) " " span.meta { (part.factor) } } }
                } }
            }
        }
    }
}

struct Person {
    id: String,
    name: String,
    title: String,
    roles: String,
    authority: Option<f64>,
    engagement: Option<f64>,
    last_answer: String,
    two_way: bool,
}

async fn stakeholders(visit: &Visit, deal: &Value) -> Result<Vec<Person>, Problem> {
    let entries: Vec<&Value> = deal
        .get("contacts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .take(PEOPLE)
        .collect();
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<String> = entries
        .iter()
        .map(|entry| quoted(text(entry, "contact_id")))
        .collect();
    let scores = visit
        .ask(format!(
            "SELECT entity_id, name, score, value FROM {} WHERE entity_kind = 'contact' AND entity_id IN ({})",
            visit.scores(),
            ids.join(", ")
        ))
        .await?;
    let owned: Vec<String> = entries
        .iter()
        .map(|entry| text(entry, "contact_id").to_owned())
        .collect();
    let objects = visit
        .service()
        .objects(
            visit.tenant(),
            EntityKind::Contact,
            Some(&owned),
            visit.knowledge(),
        )
        .await?;
    let mut people: Vec<Person> = Vec::new();
    for entry in entries {
        let id = text(entry, "contact_id");
        if let Some(known) = people.iter_mut().find(|person| person.id == id) {
            known.roles = format!("{}, {}", known.roles, text(entry, "role"));
            continue;
        }
        let score = |name: &str| {
            let mut rows = scores.rows.iter();
            number(
                rows.find(|row| text(row, "entity_id") == id && text(row, "score") == name)?,
                "value",
            )
        };
        let object = objects
            .iter()
            .find(|object| text(object, "contact_id") == id)
            .unwrap_or(&Value::Null);
        people.push(Person {
            id: id.to_owned(),
            name: text_of(object, &["name"]).unwrap_or_else(|| id.to_owned()),
            title: text_of(object, &["title", "job_title", "jobtitle"]).unwrap_or_default(),
            roles: text(entry, "role").to_owned(),
            authority: score("authority").or_else(|| number(entry, "authority")),
            engagement: score("engagement"),
            last_answer: text(entry, "last_answer").to_owned(),
            two_way: entry.get("two_way").and_then(Value::as_bool).unwrap_or(false),
        });
    }
    people.sort_by(|a, b| b.authority.unwrap_or(0.0).total_cmp(&a.authority.unwrap_or(0.0)));
    Ok(people)
}

/// Authority against engagement: who matters and is silent stands at the top left.
fn map(visit: &Visit, people: &[Person]) -> Markup {
    let x = |person: &Person| 50.0 + person.engagement.unwrap_or(0.0).clamp(0.0, 100.0) * 5.6;
    let y = |person: &Person| 190.0 - person.authority.unwrap_or(0.0).clamp(0.0, 1.0) * 170.0;
    html! {
        section.card {
            h2 { "Stakeholders" }
            @if people.is_empty() { p.empty { "Nobody is named on this deal." } } @else {
                svg.chart viewBox="0 0 640 220" role="img" aria-label="Stakeholders by authority and engagement" {
                    line.grid x1="50" x2="610" y1="190" y2="190" {}
                    line.grid x1="50" x2="50" y1="20" y2="190" {}
                    text.tick x="610" y="210" text-anchor="end" { "engagement →" }
                    text.tick x="50" y="14" { "authority ↑" }
                    @for person in people {
                        circle class=(if person.two_way { "dot alive" } else { "dot silent" }) cx=(format!("{:.1}", x(person))) cy=(format!("{:.1}", y(person))) r="7" { title { (person.name) } }
                        text.label x=(format!("{:.1}", x(person) + if x(person) > 480.0 { -11.0 } else { 11.0 })) y=(format!("{:.1}", y(person) + 4.0)) text-anchor=(if x(person) > 480.0 { "end" } else { "start" }) { (person.name.chars().take(22).collect::<String>()) }
                    }
                }
                div.scroll tabindex="0" role="region" aria-label="Stakeholders" { table {
                    thead { tr { th scope="col" { "Person" } th scope="col" { "Title" } th scope="col" { "Role" } th.n scope="col" { "Authority" } th.n scope="col" { "Engagement" } th scope="col" { "Last answer" } } }
                    tbody { @for person in people { tr {
                        td data-label="Person" { a.row href=(visit.link(&format!("/ui/contacts/{}", encode(&person.id)), &[])) { (person.name) } }
                        td data-label="Title" { (person.title) }
                        td data-label="Role" { (person.roles) }
                        td.n data-label="Authority" { (written(person.authority, Form::Share)) }
                        td.n data-label="Engagement" { (written(person.engagement, Form::Points)) }
                        td data-label="Last answer" { @if person.last_answer.is_empty() { "never" } @else { (super::figure::day(&person.last_answer)) } }
                    } } }
                } }
            }
        }
    }
}

async fn similar_won(visit: &Visit, deal: &Value, id: &str) -> Result<Sheet, Problem> {
    let amount = number(deal, "amount").unwrap_or(0.0);
    let filter = format!(
        "d.status = 'won' AND d.deal_id <> {} AND d.amount BETWEEN {} AND {}",
        quoted(id),
        amount * 0.5,
        amount * 2.0
    );
    super::deals::list(visit, &filter, 8).await
}

fn stages(deal: &Value) -> Markup {
    let entries: Vec<&Value> = deal
        .get("stages")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    html! {
        @if !entries.is_empty() {
            section.card { h2 { "Stages" } ol.stages { @for entry in entries { li { strong { (text(entry, "stage")) } " from " (super::figure::day(text(entry, "from"))) @if !text(entry, "to").is_empty() { " to " (super::figure::day(text(entry, "to"))) } } } } }
        }
    }
}
