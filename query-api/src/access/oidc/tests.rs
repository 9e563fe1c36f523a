//! Tokens of a provider whose answers are given here, signed with a real key.

use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{EncodingKey, Header, encode};
use parking_lot::Mutex;
use revgauge_contract::time::ManualClock;
use serde_json::json;

use super::*;

pub(crate) const ISSUER: &str = "https://login.example.com";
/// A P-256 key that is used nowhere else, PKCS #8.
const PRIVATE: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg+UD7mXzukQZNYwIzUsvM10rpnDm3Uy5a1xEqk/92mmqhRANCAATU5M1+\
                       9UIOcGYoO77g/BGwcgkp0ZWGj+QyCpz+cEEYNPsL1tZfnAJ9pbk9t9EZUmn+KJRm2tVs1wcDnVgDnOsw";
const NOW_SECONDS: i64 = 1_770_000_000;

/// Signs claims as the provider.
pub(crate) fn token(kid: &str, claims: &Value) -> String {
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(kid.to_owned());
    let der = STANDARD.decode(PRIVATE).expect("base64");
    encode(&header, claims, &EncodingKey::from_ec_der(&der)).expect("signs")
}

/// A provider that answers as the specification says, and remembers the forms it was sent.
#[derive(Default)]
pub(crate) struct Provider {
    pub(crate) fetched: Mutex<Vec<String>>,
    pub(crate) forms: Mutex<Vec<BTreeMap<String, String>>>,
    /// Answer to the next form.
    pub(crate) tokens: Mutex<Value>,
}

#[async_trait]
impl IdentityHttp for Provider {
    async fn get(&self, url: &str) -> Result<Value, Failure> {
        self.fetched.lock().push(url.to_owned());
        match url.strip_prefix(ISSUER) {
            Some("/.well-known/openid-configuration") => Ok(json!({
                "issuer": ISSUER,
                "authorization_endpoint": format!("{ISSUER}/authorize"),
                "token_endpoint": format!("{ISSUER}/token"),
                "jwks_uri": format!("{ISSUER}/keys"),
            })),
            Some("/keys") => Ok(json!({"keys": [
                {"kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256",
                 "x": "1OTNfvVCDnBmKDu-4PwRsHIJKdGVho_kMgqc_nBBGDQ", "y": "-wvW1l-cAn2luT230RlSaf4olGba1WzXBwOdWAOc6zA"},
                {"kty": "future", "kid": "k9"},
            ]})),
            _ => Err(Failure::new(ErrorKind::External, "nothing there")),
        }
    }

    async fn post_form(
        &self,
        url: &str,
        form: &[(&str, &str)],
        _: Option<(&str, &str)>,
    ) -> Result<Value, Failure> {
        assert_eq!(url, format!("{ISSUER}/token"));
        let form = form
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.forms.lock().push(form.collect());
        Ok(self.tokens.lock().clone())
    }
}

pub(crate) fn settings() -> OidcSettings {
    OidcSettings {
        issuers: vec![IssuerSettings {
            name: "Acme".to_owned(),
            issuer: ISSUER.to_owned(),
            audience: "revgauge".to_owned(),
            client_id: "web".to_owned(),
            redirect_url: "https://rg.example.com/ui/oidc/callback".to_owned(),
            tenant: "acme".to_owned(),
            role_claim: "roles".to_owned(),
            user_claim: "crm_user".to_owned(),
            ..IssuerSettings::default()
        }],
        ..OidcSettings::default()
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "revgauge", "sub": "u-1", "exp": NOW_SECONDS + 300, "iat": NOW_SECONDS, "roles": ["rep", "x"],
        "crm_user": "rep-1",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn oidc(provider: &Arc<Provider>) -> (Arc<Oidc>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp(NOW_SECONDS * SECOND_US)));
    let http = Arc::clone(provider) as Arc<dyn IdentityHttp>;
    (Oidc::new(settings(), http, Arc::clone(&clock) as _), clock)
}

#[tokio::test]
async fn a_good_token_is_a_caller_with_the_rights_its_claims_give() {
    let provider = Arc::new(Provider::default());
    let (oidc, _) = oidc(&provider);
    let caller = oidc.authenticate(&token("k1", &claims())).await.expect("let in");
    assert_eq!((&*caller.tenant_id, caller.role), ("acme", Role::Rep));
    assert_eq!(caller.rights.user_id.as_deref(), Some("rep-1"));
    assert_eq!(&*caller.key_id, "oidc:login.example.com:u-1");
    oidc.authenticate(&token("k1", &claims()))
        .await
        .expect("let in again");
    assert_eq!(provider.fetched.lock().len(), 2, "keys are fetched once");
    assert!(Oidc::is_token(&token("k1", &claims())) && !Oidc::is_token("rg_abc_def"));
}

#[tokio::test]
async fn anything_else_is_nobody() {
    let provider = Arc::new(Provider::default());
    let (oidc, clock) = oidc(&provider);
    let good = token("k1", &claims());
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let none = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        head.split('.').nth(1).expect("claims")
    );
    let shared = {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("k1".to_owned());
        encode(
            &header,
            &claims(),
            &EncodingKey::from_secret(b"1OTNfvVCDnBmKDu-4PwRsHIJKdGVho_kMgqc_nBBGDQ"),
        )
        .expect("signs")
    };
    let mut bad = vec![
        none,
        shared,
        format!("{head}.{}", signature.chars().rev().collect::<String>()),
        format!("{head}."),
        "ey.ey.ey".to_owned(),
        token("k2", &claims()),
        token("k1", &with("iss", json!("https://evil.example.com"))),
        token("k1", &with("aud", json!("other"))),
        token("k1", &with("exp", json!(NOW_SECONDS - 120))),
        token("k1", &with("exp", Value::Null)),
        token("k1", &with("nbf", json!(NOW_SECONDS + 120))),
        token("k1", &with("roles", json!(["owner"]))),
        token("k1", &with("crm_user", Value::Null)),
        token("k1", &with("sub", json!(""))),
        "e".repeat(9_000),
    ];
    bad.push(format!("ey{good}"));
    for token in bad {
        assert_eq!(oidc.authenticate(&token).await, None, "{token}");
    }
    // Unknown keys make nobody ask the provider again and again.
    let asked = provider.fetched.lock().len();
    for _ in 0..20 {
        oidc.authenticate(&token("k2", &claims())).await;
    }
    assert_eq!(provider.fetched.lock().len(), asked);
    clock.advance(61 * SECOND_US);
    oidc.authenticate(&token("k2", &claims())).await;
    assert_eq!(provider.fetched.lock().len(), asked + 2);
    // What was good ends with its time.
    clock.advance(600 * SECOND_US);
    assert_eq!(oidc.authenticate(&good).await, None);
}
