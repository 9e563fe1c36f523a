//! People and programs known by an identity provider: bearer tokens (JWT) at the doors, OpenID Connect for the sign-in.
//!
//! A token is good when a key of its issuer signed it with an asymmetric algorithm, it is for us, and it is within its
//! time. Tenant, role and whom it stands for come from its claims or the issuer's settings, never from the request. Keys
//! are fetched when a token names one that is not known, at most once in `refresh_seconds` an issuer.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use parking_lot::RwLock;
use revgauge_contract::{
    Clock, ErrorKind, Timestamp,
    access::{Caller, Rights, Role},
    error::Failure,
    time::SECOND_US,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key_store::{check_rights, check_tenant};

/// What key ids of callers known by a token begin with; no drawn key has it.
pub(crate) const KEY_PREFIX: &str = "oidc:";

/// How far clocks may be apart, seconds.
const LEEWAY_SECONDS: i64 = 60;

/// Longest token that is looked at, bytes.
const MAX_TOKEN_BYTES: usize = 8_192;

/// Algorithms that need no shared secret.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Identity providers; none by default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OidcSettings {
    /// Who may vouch for callers.
    pub issuers: Vec<IssuerSettings>,
    /// Shortest time between two looks for an issuer's keys, seconds.
    pub refresh_seconds: u32,
}

impl Default for OidcSettings {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            refresh_seconds: 60,
        }
    }
}

/// One identity provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IssuerSettings {
    /// Shown on the sign-in page.
    pub name: String,
    /// Its `iss`, such as `https://login.example.com`; its keys are found by discovery from here.
    pub issuer: String,
    /// The `aud` that bearer tokens must carry.
    pub audience: String,
    /// Our client there; with `redirect_url` it opens the sign-in page to its people.
    pub client_id: String,
    /// File with the client's secret; without it the client is a public one (PKCE is used either way).
    pub client_secret_file: Option<PathBuf>,
    /// Where it sends people back to: `https://<this server>/ui/oidc/callback`.
    pub redirect_url: String,
    /// Tenant of everyone it vouches for.
    pub tenant: String,
    /// Claim that names the tenant instead.
    pub tenant_claim: String,
    /// Claim that names the role; several are allowed, the strongest counts.
    pub role_claim: String,
    /// Role of who has no such claim; without it they are refused.
    pub default_role: Option<Role>,
    /// Claim with the CRM user that a rep or manager stands for.
    pub user_claim: String,
    /// Claim with a manager's team.
    pub team_claim: String,
    /// Claim with a manager's territory.
    pub territory_claim: String,
}

/// Fetches what identity providers say. Given by the composition root.
#[async_trait]
pub trait IdentityHttp: Send + Sync {
    /// The JSON document at an address.
    ///
    /// # Errors
    /// `External` when it cannot be had.
    async fn get(&self, url: &str) -> Result<Value, Failure>;

    /// The JSON answer to a form, sent with Basic credentials when there are any.
    ///
    /// # Errors
    /// `External` when there is none.
    async fn post_form(
        &self,
        url: &str,
        form: &[(&str, &str)],
        basic: Option<(&str, &str)>,
    ) -> Result<Value, Failure>;
}

struct Known {
    keys: JwkSet,
    discovery: Value,
    fetched_at: Timestamp,
}

/// Knows callers by tokens.
pub struct Oidc {
    pub(crate) settings: OidcSettings,
    pub(crate) http: Arc<dyn IdentityHttp>,
    clock: Arc<dyn Clock>,
    known: RwLock<BTreeMap<String, Arc<Known>>>,
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oidc")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Oidc {
    /// Nothing is fetched until a token comes.
    #[must_use]
    pub fn new(settings: OidcSettings, http: Arc<dyn IdentityHttp>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            settings,
            http,
            clock,
            known: RwLock::default(),
        })
    }

    /// Whether a credential has the form of a token; API keys do not.
    pub(crate) fn is_token(credential: &str) -> bool {
        credential.starts_with("ey") && credential.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// The caller behind a bearer token; `None` for anything that is not good, whatever the reason (the log says it).
    pub(crate) async fn authenticate(&self, token: &str) -> Option<Caller> {
        let audience = |issuer: &IssuerSettings| issuer.audience.clone();
        match self.claims(token, audience).await {
            Ok((issuer, claims)) => self.caller(issuer, &claims),
            Err(reason) => {
                tracing::debug!(reason, "a bearer token was refused");
                None
            }
        }
    }

    /// The claims of a good token for an audience, and who made it.
    pub(crate) async fn claims(
        &self,
        token: &str,
        audience: impl Fn(&IssuerSettings) -> String,
    ) -> Result<(&IssuerSettings, Value), &'static str> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err("it is too long");
        }
        let header = decode_header(token).map_err(|_| "its header cannot be read")?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err("its algorithm is not allowed");
        }
        let said = unverified(token).ok_or("its claims cannot be read")?;
        let named = said.get("iss").and_then(Value::as_str).unwrap_or_default();
        let issuer = self
            .settings
            .issuers
            .iter()
            .find(|issuer| !issuer.issuer.is_empty() && issuer.issuer == named)
            .ok_or("its issuer is not known")?;
        let audience = audience(issuer);
        if audience.is_empty() {
            return Err("the issuer's settings take no such token");
        }
        let key = self.key(issuer, header.kid.as_deref()).await?;
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[&issuer.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Time is the injected clock's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = decode::<Value>(token, &key, &validation)
            .map_err(|_| "its signature, issuer or audience is not right")?
            .claims;
        let now = self.clock.now().micros() / SECOND_US;
        let time = |name: &str| claims.get(name).and_then(Value::as_f64).map(|at| at as i64);
        if time("exp").is_none_or(|at| at.saturating_add(LEEWAY_SECONDS) < now) {
            return Err("it has expired");
        }
        if ["nbf", "iat"]
            .iter()
            .any(|name| time(name).is_some_and(|at| at.saturating_sub(LEEWAY_SECONDS) > now))
        {
            return Err("its time has not come");
        }
        Ok((issuer, claims))
    }

    /// Who the claims say it is; `None` when they do not say enough.
    pub(crate) fn caller(&self, issuer: &IssuerSettings, claims: &Value) -> Option<Caller> {
        let text = |name: &str| {
            let claim = claims.get(name).filter(|_| !name.is_empty())?;
            claim.as_str().map(str::to_owned).filter(|text| !text.is_empty())
        };
        let tenant = text(&issuer.tenant_claim).or_else(|| {
            let fixed = issuer.tenant_claim.is_empty() && !issuer.tenant.is_empty();
            fixed.then(|| issuer.tenant.clone())
        })?;
        let role = roles_in(claims, &issuer.role_claim).or(issuer.default_role)?;
        let rights = Rights {
            user_id: text(&issuer.user_claim),
            team: text(&issuer.team_claim),
            territory: text(&issuer.territory_claim),
            ..Rights::default()
        };
        let subject: String = text("sub")?.chars().take(128).collect();
        if !check_tenant(&tenant) || check_rights(role, &rights).is_err() {
            return None;
        }
        let host = issuer.issuer.split("://").last().unwrap_or_default();
        Some(Caller::new(&tenant, &format!("{KEY_PREFIX}{host}:{subject}"), role).with_rights(rights))
    }

    async fn key(&self, issuer: &IssuerSettings, kid: Option<&str>) -> Result<DecodingKey, &'static str> {
        let find = |known: &Known| {
            let key = match kid {
                Some(kid) => known.keys.find(kid),
                None => known.keys.keys.first().filter(|_| known.keys.keys.len() == 1),
            };
            key.and_then(|key| DecodingKey::from_jwk(key).ok())
        };
        let known = self.known.read().get(&issuer.issuer).map(Arc::clone);
        if let Some(key) = known.as_deref().and_then(find) {
            return Ok(key);
        }
        if known.is_some_and(|known| self.is_recent(&known)) {
            return Err("its key is not among the issuer's");
        }
        let fresh = self.fetch(issuer).await.map_err(|failure| {
            tracing::warn!(
                issuer = issuer.issuer,
                error = failure.message,
                "the keys of an issuer cannot be had"
            );
            "the issuer's keys cannot be had"
        })?;
        find(&fresh).ok_or("its key is not among the issuer's")
    }

    fn is_recent(&self, known: &Known) -> bool {
        let age_us = self
            .clock
            .now()
            .micros()
            .saturating_sub(known.fetched_at.micros());
        age_us < i64::from(self.settings.refresh_seconds) * SECOND_US
    }

    /// What the provider says of itself: addresses of its doors.
    pub(crate) async fn discovery(&self, issuer: &IssuerSettings) -> Result<Value, Failure> {
        let known = self.known.read().get(&issuer.issuer).map(Arc::clone);
        match known {
            Some(known) => Ok(known.discovery.clone()),
            None => Ok(self.fetch(issuer).await?.discovery.clone()),
        }
    }

    async fn fetch(&self, issuer: &IssuerSettings) -> Result<Arc<Known>, Failure> {
        let bad = |what: &str| {
            Failure::new(
                ErrorKind::External,
                format!("the identity provider '{}' gives {what}", issuer.issuer),
            )
        };
        let base = issuer.issuer.trim_end_matches('/');
        let discovery = self
            .http
            .get(&format!("{base}/.well-known/openid-configuration"))
            .await?;
        if discovery.get("issuer").and_then(Value::as_str) != Some(&issuer.issuer) {
            return Err(bad("another issuer in its discovery document"));
        }
        let keys_at = discovery.get("jwks_uri").and_then(Value::as_str);
        let keys = self
            .http
            .get(keys_at.ok_or_else(|| bad("no 'jwks_uri'"))?)
            .await?;
        let known = Arc::new(Known {
            keys: read_keys(&keys).ok_or_else(|| bad("no keys that can be read"))?,
            discovery,
            fetched_at: self.clock.now(),
        });
        self.known
            .write()
            .insert(issuer.issuer.clone(), Arc::clone(&known));
        Ok(known)
    }
}

/// Keys of kinds that are known; the others are left out.
fn read_keys(document: &Value) -> Option<JwkSet> {
    let keys = document.get("keys")?.as_array()?;
    let keys = keys
        .iter()
        .filter_map(|key| serde_json::from_value(key.clone()).ok());
    Some(JwkSet { keys: keys.collect() })
}

/// The claims as they stand in the token, only to find its issuer.
fn unverified(token: &str) -> Option<Value> {
    let claims = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// The strongest role among those that a claim names, as text or as a list.
fn roles_in(claims: &Value, claim: &str) -> Option<Role> {
    let value = claims.get(claim).filter(|_| !claim.is_empty())?;
    let names: Vec<&str> = match value {
        Value::String(text) => text.split([' ', ',']).collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    [Role::Admin, Role::Revops, Role::Manager, Role::Rep, Role::Service]
        .into_iter()
        .find(|role| names.contains(&role.as_str()))
}

#[cfg(test)]
pub(crate) mod tests;
