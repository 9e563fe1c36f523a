//! Signing in by an identity provider: OpenID Connect, authorization code with PKCE, state and nonce.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Redirect, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use maud::{Markup, html};
use parking_lot::Mutex;
use revgauge_contract::{Timestamp, access::Caller, error::Failure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    form::{Pairs, encode},
    layout::Oops,
    sign_in::entered,
};
use crate::{access::IssuerSettings, api::Api, problem::Problem};

/// How long a person may take at the provider.
const PATIENCE_US: i64 = 600_000_000;

/// People on their way at a time; past it the oldest must begin anew.
const MAX_ON_THE_WAY: usize = 10_000;

/// Cookie that ties a sign-in to the browser that began it.
const COOKIE: &str = "revgauge_oidc";

/// Sign-ins that have begun, by their state.
#[derive(Debug, Default)]
pub(super) struct OnTheWay(Mutex<HashMap<String, Begun>>);

#[derive(Debug, Clone)]
struct Begun {
    issuer: String,
    nonce: String,
    verifier: String,
    browser: String,
    next: String,
    ends_at: Timestamp,
}

impl OnTheWay {
    fn keep(&self, state: String, begun: Begun, now: Timestamp) {
        let mut kept = self.0.lock();
        if kept.len() >= MAX_ON_THE_WAY {
            kept.retain(|_, begun| now < begun.ends_at);
        }
        if kept.len() >= MAX_ON_THE_WAY
            && let Some(oldest) = kept
                .iter()
                .min_by_key(|(_, begun)| begun.ends_at)
                .map(|(state, _)| state.clone())
        {
            kept.remove(&oldest);
        }
        kept.insert(state, begun);
    }

    fn take(&self, state: &str, now: Timestamp) -> Option<Begun> {
        let begun = self.0.lock().remove(state)?;
        (now < begun.ends_at).then_some(begun)
    }
}

/// Links to the providers that people may sign in by.
pub(super) fn links(api: &Api, next: &str) -> Markup {
    html! {
        @for issuer in api.oidc.settings.issuers.iter().filter(|issuer| takes_people(issuer)) {
            p { a.main href=(format!("/ui/oidc/start?issuer={}&next={}", encode(&issuer.issuer), encode(next))) {
                "Sign in with " (if issuer.name.is_empty() { &issuer.issuer } else { &issuer.name })
            } }
        }
    }
}

fn takes_people(issuer: &IssuerSettings) -> bool {
    !issuer.client_id.is_empty() && !issuer.redirect_url.is_empty()
}

fn refused(text: &str) -> Oops {
    Oops(
        Problem::new(StatusCode::UNAUTHORIZED, "sign_in_refused", text)
            .hint("begin again at the sign-in page, or ask your administrator"),
    )
}

/// `GET /ui/oidc/start`
pub(super) async fn start(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Oops> {
    let pairs = Pairs::of_uri(&uri)?;
    let wanted = pairs.get("issuer").unwrap_or_default();
    let issuer = issuer_of(&api, wanted)?;
    let discovery = api.oidc.discovery(issuer).await?;
    let door = endpoint(&discovery, "authorization_endpoint")?;
    let now = api.clock.now();
    let begun = Begun {
        issuer: issuer.issuer.clone(),
        nonce: api.web.token(),
        verifier: api.web.token(),
        browser: api.web.token(),
        next: pairs.get("next").unwrap_or("/ui/").to_owned(),
        ends_at: now.plus_micros(PATIENCE_US),
    };
    let state = api.web.token();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(begun.verifier.as_bytes()));
    let query: Vec<String> = [
        ("response_type", "code"),
        ("client_id", &issuer.client_id),
        ("redirect_uri", &issuer.redirect_url),
        ("scope", "openid profile email"),
        ("state", &state),
        ("nonce", &begun.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]
    .iter()
    .map(|(name, value)| format!("{name}={}", encode(value)))
    .collect();
    let mark = if door.contains('?') { '&' } else { '?' };
    let target = format!("{door}{mark}{}", query.join("&"));
    let secure = if issuer.redirect_url.starts_with("https://") {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!(
        "{COOKIE}={}; Path=/ui/oidc; HttpOnly; SameSite=Lax; Max-Age=600{secure}",
        begun.browser
    );
    api.web.on_the_way.keep(state, begun, now);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&target)).into_response())
}

/// `GET /ui/oidc/callback`
pub(super) async fn callback(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Oops> {
    let pairs = Pairs::of_uri(&uri)?;
    let begun = pairs
        .get("state")
        .and_then(|state| api.web.on_the_way.take(state, api.clock.now()))
        .ok_or_else(|| refused("this sign-in was not begun here, or took too long"))?;
    let browser = super::gate::named_cookie(&headers, COOKIE).unwrap_or_default();
    if !bool::from(browser.as_bytes().ct_eq(begun.browser.as_bytes())) {
        return Err(refused("this sign-in was begun in another browser"));
    }
    let Some(code) = pairs.get("code") else {
        return Err(refused("the identity provider did not let you in"));
    };
    let caller = vouched(&api, &begun, code).await?;
    if !caller.role.is_person() {
        return Err(refused("programs do not sign in to the dashboards"));
    }
    let name = caller.key_id.rsplit(':').next().unwrap_or_default().to_owned();
    let session = api.web.open(caller, name, None, api.clock.now());
    let next = Some(begun.next.as_str()).filter(|next| super::sign_in::own_path(next));
    Ok(entered(&api, &headers, &session, next.unwrap_or("/ui/")))
}

/// Changes the code for an identity token and reads who it is.
async fn vouched(api: &Api, begun: &Begun, code: &str) -> Result<Caller, Oops> {
    let issuer = issuer_of(api, &begun.issuer)?;
    let discovery = api.oidc.discovery(issuer).await?;
    let secret = match &issuer.client_secret_file {
        Some(file) => {
            let secret = tokio::fs::read_to_string(file).await.map_err(|error| {
                Failure::new(
                    revgauge_contract::ErrorKind::External,
                    format!("cannot read the client secret {}: {error}", file.display()),
                )
            })?;
            Some(secret.trim().to_owned())
        }
        None => None,
    };
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", issuer.redirect_url.as_str()),
        ("client_id", issuer.client_id.as_str()),
        ("code_verifier", begun.verifier.as_str()),
    ];
    let basic = secret
        .as_deref()
        .map(|secret| (issuer.client_id.as_str(), secret));
    let door = endpoint(&discovery, "token_endpoint")?;
    let answer = api.oidc.http.post_form(door, &form, basic).await?;
    let token = answer.get("id_token").and_then(Value::as_str).unwrap_or_default();
    let (vouching, claims) = api
        .oidc
        .claims(token, |issuer| issuer.client_id.clone())
        .await
        .map_err(|reason| {
            tracing::warn!(reason, issuer = begun.issuer, "an identity token was refused");
            refused("the identity provider's answer is not valid")
        })?;
    let nonce = claims.get("nonce").and_then(Value::as_str).unwrap_or_default();
    let same = bool::from(nonce.as_bytes().ct_eq(begun.nonce.as_bytes()));
    if !same || vouching.issuer != begun.issuer {
        return Err(refused("the identity provider's answer is to another sign-in"));
    }
    api.oidc
        .caller(vouching, &claims)
        .ok_or_else(|| refused("your account has no role here"))
}

fn issuer_of<'a>(api: &'a Api, name: &str) -> Result<&'a IssuerSettings, Oops> {
    let mut issuers = api.oidc.settings.issuers.iter();
    issuers
        .find(|issuer| issuer.issuer == name && takes_people(issuer))
        .ok_or_else(|| refused("this identity provider is not known here"))
}

fn endpoint<'a>(discovery: &'a Value, name: &str) -> Result<&'a str, Problem> {
    discovery.get(name).and_then(Value::as_str).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_GATEWAY,
            "bad_provider",
            format!("the identity provider names no '{name}'"),
        )
    })
}
