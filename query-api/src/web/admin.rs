//! Administration: keys and users of the tenant, and the definitions that score.

use axum::{
    Extension,
    body::Bytes,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use revgauge_contract::{
    access::{Rights, Role},
    time::DAY_US,
};

use super::{
    definitions,
    figure::{Form, instant},
    form::Pairs,
    layout::{Oops, Page, page},
    table::{Col, Show, col, table},
    visit::Visit,
};
use crate::{access::UserRole, problem::Problem};

const DEFINITIONS: &[Col] = &[
    col("entity_kind", "Of", Show::Text),
    col("score", "Score", Show::Text),
    col("definition", "Definition", Show::Text),
    col("entities", "Entities", Show::Number(Form::Count)),
];

pub(super) fn only_admin(visit: &Visit) -> Result<(), Problem> {
    if visit.is_admin() {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        "this page is for administrators of the tenant",
    )
    .hint("ask one for an account with the role admin"))
}

/// `GET /ui/admin`
pub(super) async fn admin(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    only_admin(&visit)?;
    show(&visit, None).await
}

async fn show(visit: &Visit, secret: Option<&str>) -> Result<Response, Oops> {
    let keys = visit.api.keys.list(visit.tenant());
    let users = visit.api.users.list(visit.tenant());
    let scored_with = visit
        .ask("SELECT entity_kind, score, definition, count(DISTINCT entity_id) AS entities FROM score_changes WHERE entity_kind <> 'tenant' GROUP BY entity_kind, score, definition ORDER BY entity_kind, score, definition")
        .await?;
    let body = html! {
        @if let Some(secret) = secret {
            section.card role="status" { h2 { "The new key, shown this once" } pre tabindex="0" { (secret) } }
        }
        nav.actions aria-label="More of administration" { a href=(visit.link("/ui/admin/audit", &[])) { "Audit log" } }
        section {
            h2 { "People" }
            div.scroll tabindex="0" role="region" aria-label="People" { table {
                thead { tr { th scope="col" { "Name" } th scope="col" { "Role" } th scope="col" { "Since" } th scope="col" { "" } } }
                tbody { @for user in &users { tr {
                    td data-label="Name" { (user.login) }
                    td data-label="Role" { (user.role.as_str()) }
                    td data-label="Since" { (instant(user.created_at)) }
                    td { @if let Some(at) = user.ended_at { "ended " (instant(at)) } @else { (end_form(visit, "/ui/admin/users/end", "login", &user.login, "End")) } }
                } } }
            } }
            (user_form(visit))
        }
        section {
            h2 { "API keys" }
            div.scroll tabindex="0" role="region" aria-label="API keys" { table {
                thead { tr { th scope="col" { "Name" } th scope="col" { "Id" } th scope="col" { "Role" } th scope="col" { "Made" } th scope="col" { "Ends" } th scope="col" { "" } } }
                tbody { @for key in &keys { tr {
                    td data-label="Name" { (key.name) }
                    td data-label="Id" { code { (key.key_id) } }
                    td data-label="Role" { (key.role.as_str()) }
                    td data-label="Made" { (instant(key.created_at)) }
                    td data-label="Ends" { @if let Some(at) = key.expires_at { (instant(at)) } @else { "never" } }
                    td { @if let Some(at) = key.revoked_at { "revoked " (instant(at)) } @else { (end_form(visit, "/ui/admin/keys/revoke", "key_id", &key.key_id, "Revoke")) } }
                } } }
            } }
            (key_form(visit))
        }
        (definitions::listed(visit))
        (table(visit, "Definitions that scored, with their versions", &scored_with, DEFINITIONS))
    };
    Ok(page(visit, &Page { title: "Admin", body }))
}

fn end_form(visit: &Visit, action: &str, name: &str, value: &str, word: &str) -> Markup {
    html! {
        form.inline method="post" action=(action) {
            input type="hidden" name="csrf" value=(visit.session.csrf);
            input type="hidden" name=(name) value=(value);
            button type="submit" aria-label=(format!("{word} {value}")) { (word) }
        }
    }
}

fn user_form(visit: &Visit) -> Markup {
    html! {
        form.filters method="post" action="/ui/admin/users" {
            input type="hidden" name="csrf" value=(visit.session.csrf);
            label { "Name or mail address " input name="login" required maxlength="96" autocomplete="off"; }
            label { "Password " input name="password" type="password" required minlength="10" maxlength="256" autocomplete="new-password"; }
            label { "Role " select name="role" { option { "revops" } option { "rep" } option { "manager" } option { "admin" } } }
            label { "CRM user (rep, manager) " input name="user_id" maxlength="256" autocomplete="off"; }
            label { "Team " input name="team" maxlength="256" autocomplete="off"; }
            button type="submit" { "Make user" }
        }
    }
}

fn key_form(visit: &Visit) -> Markup {
    html! {
        form.filters method="post" action="/ui/admin/keys" {
            input type="hidden" name="csrf" value=(visit.session.csrf);
            label { "Name " input name="name" required maxlength="96"; }
            label { "Role " select name="role" { option { "service" } option { "revops" } option { "admin" } } }
            label { "Days until it ends " input name="days" type="number" min="1" max="3650"; }
            button type="submit" { "Make key" }
        }
    }
}

/// `POST /ui/admin/keys`
pub(super) async fn make_key(Extension(visit): Extension<Visit>, body: Bytes) -> Result<Response, Oops> {
    let form = checked(&visit, &body)?;
    let role = match form.get("role") {
        Some("admin") => Role::Admin,
        Some("revops") => Role::Revops,
        Some("service") => Role::Service,
        _ => return Err(Problem::bad("bad_form", "a key's role is admin, revops or service").into()),
    };
    let days: Option<i64> = form
        .get("days")
        .map(|days| days.parse::<u16>().map(i64::from))
        .transpose()
        .map_err(|_| Problem::bad("bad_form", "days is a whole number from 1 to 3650"))?;
    let name = form.get("name").unwrap_or_default();
    let made = visit
        .api
        .keys
        .create(visit.tenant(), role, name, days.map(|days| days * DAY_US))
        .await?;
    show(&visit, Some(&made.secret)).await
}

/// `POST /ui/admin/keys/revoke`
pub(super) async fn revoke_key(Extension(visit): Extension<Visit>, body: Bytes) -> Result<Response, Oops> {
    let form = checked(&visit, &body)?;
    let key_id = form.get("key_id").unwrap_or_default();
    if *visit.session.caller.key_id == *key_id {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "own_key",
            "the key you signed in with cannot revoke itself",
        )
        .into());
    }
    visit.api.keys.revoke(visit.tenant(), key_id).await?;
    Ok(Redirect::to("/ui/admin").into_response())
}

/// `POST /ui/admin/users`
pub(super) async fn make_user(Extension(visit): Extension<Visit>, body: Bytes) -> Result<Response, Oops> {
    let form = checked(&visit, &body)?;
    let role = match form.get("role") {
        Some("admin") => UserRole::Admin,
        Some("manager") => UserRole::Manager,
        Some("rep") => UserRole::Rep,
        Some("revops") => UserRole::Revops,
        _ => return Err(Problem::bad("bad_form", "a user's role is admin, manager, rep or revops").into()),
    };
    let (login, password) = (
        form.get("login").unwrap_or_default(),
        form.get("password").unwrap_or_default(),
    );
    let filled = |name| {
        form.get(name)
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let rights = Rights {
        user_id: filled("user_id"),
        team: filled("team"),
        ..Rights::default()
    };
    visit
        .api
        .users
        .create_with(visit.tenant(), role, rights, login, password)
        .await?;
    Ok(Redirect::to("/ui/admin").into_response())
}

/// `POST /ui/admin/users/end`
pub(super) async fn end_user(Extension(visit): Extension<Visit>, body: Bytes) -> Result<Response, Oops> {
    let form = checked(&visit, &body)?;
    let login = form.get("login").unwrap_or_default();
    if visit.session.login.as_deref() == Some(login) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "own_user",
            "you cannot end yourself: another administrator can",
        )
        .into());
    }
    visit.api.users.end(visit.tenant(), login).await?;
    Ok(Redirect::to("/ui/admin").into_response())
}

pub(super) fn checked(visit: &Visit, body: &[u8]) -> Result<Pairs, Problem> {
    only_admin(visit)?;
    let form = Pairs::of_body(body)?;
    visit.check_form(&form)?;
    Ok(form)
}
