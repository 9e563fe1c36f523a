//! Getting in: by name and password, by an API key, or by a link that works once.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use revgauge_contract::access::{Caller, Scope};

use super::{
    form::Pairs,
    gate::{cookie, same_origin, set_cookie},
    layout::{Oops, bare},
    visit::{Visit, short},
};
use crate::{api::Api, problem::Problem};

/// The path of a link that signs its first visitor in as the caller.
pub(crate) fn sign_in_path(api: &Api, caller: &Caller) -> String {
    let name = format!("guest of {}", caller.key_id);
    let token = api.web.invite(caller.clone(), name, api.clock.now());
    format!("/ui/sign-in?token={token}")
}

/// `GET /ui/sign-in`: the form, or a link being used.
pub(super) async fn form(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Oops> {
    let pairs = Pairs::of_uri(&uri)?;
    let now = api.clock.now();
    if let Some(token) = pairs.get("token") {
        let Some(link) = api.web.redeem(token, now) else {
            let note = "This sign-in link was used already or is too old. Sign in below, or ask for another.";
            return Ok(bare(
                "Sign in",
                StatusCode::UNAUTHORIZED,
                &sign_in_form(&api, &pairs, Some(note)),
            ));
        };
        let session = api.web.open(link.caller, link.name, None, now);
        return Ok(entered(&api, &headers, &session, "/ui/"));
    }
    Ok(bare("Sign in", StatusCode::OK, &sign_in_form(&api, &pairs, None)))
}

fn sign_in_form(api: &Api, pairs: &Pairs, note: Option<&str>) -> Markup {
    html! {
        div.card.sign-in {
            h1 { "Sign in to Revgauge" }
            @if let Some(note) = note { p.error role="alert" { (note) } }
            (super::oidc::links(api, pairs.get("next").unwrap_or_default()))
            form method="post" action="/ui/sign-in" {
                input type="hidden" name="next" value=(pairs.get("next").unwrap_or_default());
                label { "Name or mail address"
                    input name="login" autocomplete="username" maxlength="96" value=(pairs.get("login").unwrap_or_default()) autofocus;
                }
                label { "Password" input name="password" type="password" autocomplete="current-password" maxlength="256"; }
                details {
                    summary { "or with an API key" }
                    label { "API key" input name="key" type="password" autocomplete="off" maxlength="200"; }
                }
                button.main type="submit" { "Sign in" }
            }
            p.hint { "No account yet? An administrator makes one: " code { "revgauge users create --role revops --login you@example.com" } }
        }
    }
}

/// `POST /ui/sign-in`
pub(super) async fn enter(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Oops> {
    same_origin(&headers)?;
    let pairs = Pairs::of_body(&body)?;
    let (login, password, key) = (
        pairs.get("login").unwrap_or_default().trim().to_lowercase(),
        pairs.get("password").unwrap_or_default(),
        pairs.get("key").unwrap_or_default().trim(),
    );
    if api.web.attempts.check_key(&short(&login)).is_err() {
        let note = "Too many attempts with this name: wait a minute.";
        return Ok(bare(
            "Sign in",
            StatusCode::TOO_MANY_REQUESTS,
            &sign_in_form(&api, &pairs, Some(note)),
        ));
    }
    let now = api.clock.now();
    let found = if key.is_empty() {
        let user = api.users.check(&login, password).await?;
        user.map(|user| (user.caller(), user.login.clone(), Some(user.login)))
    } else {
        let caller = api.keys.authenticate_fresh(key).await;
        let reader = caller.filter(|caller| {
            caller.role.is_person() && caller.has_scope(Scope::Read) && caller.has_scope(Scope::Sql)
        });
        reader.map(|caller| (caller.clone(), format!("key {}", caller.key_id), None))
    };
    let Some((caller, name, login)) = found else {
        let note =
            "Name and password do not match, or the key is not one of a person (any role but service).";
        return Ok(bare(
            "Sign in",
            StatusCode::UNAUTHORIZED,
            &sign_in_form(&api, &pairs, Some(note)),
        ));
    };
    let session = api.web.open(caller, name, login, now);
    let next = pairs.get("next").filter(|next| own_path(next)).unwrap_or("/ui/");
    Ok(entered(&api, &headers, &session, next))
}

/// Only pages of ours: `//host` and `/\host` lead elsewhere.
pub(super) fn own_path(path: &str) -> bool {
    path.starts_with("/ui/") && !path.contains(['\\', '\r', '\n'])
}

pub(super) fn entered(api: &Api, headers: &HeaderMap, token: &str, next: &str) -> Response {
    let seconds = u64::from(api.settings.web.session_hours) * 3_600;
    let cookie = set_cookie(headers, token, seconds);
    ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response()
}

/// `POST /ui/sign-out`
pub(super) async fn leave(
    visit: axum::Extension<Visit>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Oops> {
    visit.check_form(&Pairs::of_body(&body)?)?;
    let token = cookie(&headers).ok_or_else(|| Problem::bad("no_session", "nobody is signed in"))?;
    visit.api.web.close(&token);
    let removed = set_cookie(&headers, "", 0);
    Ok(([(header::SET_COOKIE, removed)], Redirect::to("/ui/sign-in")).into_response())
}
