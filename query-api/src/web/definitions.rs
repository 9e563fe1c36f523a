//! Definitions of the tenant: what scores now, another text tried against it and against the past, and published
//! (N-11, N-26).

use axum::{
    Extension,
    body::Bytes,
    extract::Path,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use revgauge_contract::definition_trial::{Backtest, DefinitionInForce, DefinitionTrial, ScoreTrial};

use super::{
    admin::checked,
    figure::{Form, written},
    form::encode,
    layout::{Oops, Page, page},
    table::band,
    visit::{Visit, short},
};
use crate::problem::Problem;

/// Keys that differ on a page.
const KEYS: usize = 60;

fn in_force(visit: &Visit, name: &str) -> Result<DefinitionInForce, Problem> {
    let all = visit.api.definition_desk()?.in_force(visit.tenant());
    all.into_iter().find(|one| one.name == name).ok_or_else(|| {
        Problem::new(
            axum::http::StatusCode::NOT_FOUND,
            "unknown_definition",
            format!("there is no definition '{}'", short(name)),
        )
    })
}

/// The definitions of the tenant as a part of the page of administration.
pub(super) fn listed(visit: &Visit) -> Markup {
    let Ok(desk) = visit.api.definition_desk() else {
        return html! {};
    };
    html! {
        section.card {
            h2 { "Definitions" }
            p.meta { "What scores. Another text is tried against what is in force and against what came in the past, then published for this tenant." }
            div.scroll tabindex="0" role="region" aria-label="Definitions" { table {
                thead { tr { th scope="col" { "Definition" } th scope="col" { "In force" } th scope="col" { "From" } } }
                tbody { @for one in desk.in_force(visit.tenant()) { tr {
                    td data-label="Definition" { a.row href=(visit.link(&format!("/ui/admin/definitions/{}", encode(&one.name)), &[])) { (one.name.replace('_', " ")) } }
                    td data-label="In force" { code { (one.id) } }
                    td data-label="From" { @if one.published { "published here" } @else { "configuration" } }
                } } }
            } }
        }
    }
}

/// `GET /ui/admin/definitions/{name}`
pub(super) async fn definition(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
) -> Result<Response, Oops> {
    super::admin::only_admin(&visit)?;
    let one = in_force(&visit, &name)?;
    let body = html! { (editor(&visit, &one, &one.text)) };
    Ok(shown(&visit, &one, &body))
}

/// `POST /ui/admin/definitions/{name}/try`: nothing is stored.
pub(super) async fn try_out(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Oops> {
    let form = checked(&visit, &body)?;
    let one = in_force(&visit, &name)?;
    let text = lines(form.get("text").unwrap_or_default());
    let desk = visit.api.definition_desk()?;
    let tenant_id = visit.tenant().to_owned();
    let asked = (one.name.clone(), text.clone());
    let trial = visit
        .api
        .aside(async move { desk.try_out(&tenant_id, &asked.0, &asked.1).await })
        .await?;
    let body = html! {
        (told(&visit, &trial))
        @if trial.id_before != trial.id_after { (publish_form(&visit, &one.name, &text, &trial)) }
        (editor(&visit, &one, &text))
    };
    Ok(shown(&visit, &one, &body))
}

/// `POST /ui/admin/definitions/{name}/publish`
pub(super) async fn publish(
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Oops> {
    let form = checked(&visit, &body)?;
    let one = in_force(&visit, &name)?;
    let desk = visit.api.definition_desk()?;
    let text = form.get("text").map(lines);
    // What the trial was told to replace is what is replaced: nobody undoes another's work unseen.
    if form.get("instead_of") != Some(one.id.as_str()) {
        return Err(Problem::new(
            axum::http::StatusCode::CONFLICT,
            "changed_meanwhile",
            format!(
                "'{}' is another than the one this text was tried against: {} is in force",
                one.name, one.id
            ),
        )
        .hint("try the text again, then publish it")
        .into());
    }
    desk.publish(visit.tenant(), &one.name, text.as_deref()).await?;
    Ok(Redirect::to(&format!("/ui/admin/definitions/{}", encode(&one.name))).into_response())
}

/// Browsers send line ends as CR LF.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

fn shown(visit: &Visit, one: &DefinitionInForce, body: &Markup) -> Response {
    let body = html! {
        p { a href=(visit.link("/ui/admin", &[])) { "← Admin" } }
        p.lead { "In force: " code { (one.id) } @if one.published { ", published here" } @else { ", from the configuration" } }
        (body)
    };
    page(
        visit,
        &Page {
            title: &format!("Definition {}", one.name.replace('_', " ")),
            body,
        },
    )
}

fn editor(visit: &Visit, one: &DefinitionInForce, text: &str) -> Markup {
    let action = format!("/ui/admin/definitions/{}/try", encode(&one.name));
    html! {
        form.stack.wide method="post" action=(action) {
            input type="hidden" name="csrf" value=(visit.session.csrf);
            label { "Text (TOML)" textarea name="text" rows="24" spellcheck="false" required { (text) } }
            button.main type="submit" { "Try it: what would change, and how did it do in the past" }
        }
        @if one.published {
            form.inline method="post" action=(format!("/ui/admin/definitions/{}/publish", encode(&one.name))) {
                input type="hidden" name="csrf" value=(visit.session.csrf);
                input type="hidden" name="instead_of" value=(one.id);
                button type="submit" { "Back to what is configured" }
            }
        }
    }
}

fn publish_form(visit: &Visit, name: &str, text: &str, trial: &DefinitionTrial) -> Markup {
    html! {
        form.card method="post" action=(format!("/ui/admin/definitions/{}/publish", encode(name))) {
            input type="hidden" name="csrf" value=(visit.session.csrf);
            input type="hidden" name="instead_of" value=(trial.id_before);
            textarea hidden name="text" { (text) }
            p { "From the moment it is published everything is scored with " code { (trial.id_after) } "; scores of the past keep what was in force then." }
            button.main type="submit" { "Publish for this tenant" }
        }
    }
}

fn told(visit: &Visit, trial: &DefinitionTrial) -> Markup {
    let moved: Vec<&ScoreTrial> = trial.scores.iter().filter(|score| score.changed > 0).collect();
    html! {
        section.card role="status" {
            h2 { "What differs" }
            @if trial.changed_keys.is_empty() { p.empty { "Nothing that scores: the texts say the same." } }
            @else { div.scroll tabindex="0" role="region" aria-label="What differs" { table {
                thead { tr { th scope="col" { "Key" } th scope="col" { "In force" } th scope="col" { "Tried" } } }
                tbody { @for key in trial.changed_keys.iter().take(KEYS) { tr {
                    td data-label="Key" { code { (key.key) } }
                    td data-label="In force" { (key.before.as_deref().map_or("—".to_owned(), short)) }
                    td data-label="Tried" { (key.after.as_deref().map_or("—".to_owned(), short)) }
                } } }
            } } }
        }
        section.card {
            h2 { "Scores now" }
            @if moved.is_empty() { p.empty { "No score would be another." } }
            @for score in moved { (moves(visit, score)) }
        }
        section.card {
            h2 { "Against what came" }
            p.meta { "Both were asked 30, 60 and 90 days ago with what was known then. The area under the curve is the chance that one where it came stood above one where it did not: 50 % tells nothing. Lift is how much more often it came among the highest tenth." }
            @let tested: Vec<(&ScoreTrial, &Backtest)> = trial.scores.iter().filter_map(|score| Some((score, score.backtest.as_ref()?))).collect();
            @if tested.is_empty() { p.empty { "There is no past to test on yet." } }
            @for (score, test) in tested { (past(score, test)) }
        }
    }
}

fn title(score: &ScoreTrial) -> String {
    format!(
        "{} of {}s",
        score.score.replace('_', " "),
        score.entity_kind.as_str()
    )
}

/// Scores up to 1 and up to 100 are told in their own measure.
fn value(value: Option<f64>) -> String {
    match value {
        Some(value) if value.abs() <= 1.0 => format!("{value:.3}"),
        other => written(other, Form::Points),
    }
}

fn moves(visit: &Visit, score: &ScoreTrial) -> Markup {
    let path = match score.entity_kind.as_str() {
        "contact" => "/ui/contacts/",
        "account" => "/ui/accounts/",
        _ => "/ui/deals/",
    };
    let tiers = score.tiers.iter().filter(|(_, before, after)| before != after);
    let tiers: Vec<String> = tiers
        .map(|(tier, before, after)| format!("{} {before} → {after}", tier.replace('_', " ")))
        .collect();
    html! {
        h3 { (title(score)) }
        p { (score.changed) " of " (score.entities) " would be another; mean " (value(score.mean_before)) " → " (value(score.mean_after))
            @if !tiers.is_empty() { "; " (tiers.join(", ")) } "." }
        details { summary { "The largest moves" }
            ul.plain-list { @for one in &score.moves { li {
                a href=(visit.link(&format!("{path}{}", encode(&one.entity_id)), &[])) { (short(&one.entity_id)) } " "
                (value(one.before.0)) " " (band(one.before.1.as_deref().unwrap_or_default())) " → " (value(one.after.0)) " " (band(one.after.1.as_deref().unwrap_or_default()))
            } } }
        }
    }
}

fn past(score: &ScoreTrial, test: &Backtest) -> Markup {
    let times = |lift: Option<f64>| lift.map_or("—".to_owned(), |lift| format!("{lift:.2} ×"));
    html! {
        h3 { (title(score)) ": " (test.outcome) }
        div.scroll tabindex="0" role="region" aria-label=(format!("Backtest of {}", title(score))) { table {
            thead { tr { th scope="col" { (test.came) " of " (test.rows) } th.n scope="col" { "In force" } th.n scope="col" { "Tried" } } }
            tbody {
                tr { th scope="row" { "Area under the curve" } td.n data-label="In force" { (written(test.auc.0, Form::Share)) } td.n data-label="Tried" { strong { (written(test.auc.1, Form::Share)) } } }
                tr { th scope="row" { "Lift of the top tenth" } td.n data-label="In force" { (times(test.lift.0)) } td.n data-label="Tried" { strong { (times(test.lift.1)) } } }
                @for (tier, before, after) in &test.tiers { tr {
                    th scope="row" { "Came in tier " (tier.replace('_', " ")) }
                    td.n data-label="In force" { (written(*before, Form::Share)) } td.n data-label="Tried" { strong { (written(*after, Form::Share)) } }
                } }
            }
        } }
    }
}
