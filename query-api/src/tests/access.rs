//! Who sees what at REST, pages and feed, each cell tried: principals x doors x records. What is expected is worked out
//! from the rules; what is seen comes through the doors. The doors that take SQL are tried in `table.rs`.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode, header};
use revgauge_contract::access::Role;

use super::world::{CANARY, Reply, World};
use crate::{
    access::{Mask, Rows},
    settings::ApiSettings,
};

/// Name of the key, its role, the CRM user it stands for.
pub(super) const PRINCIPALS: [(&str, Role, Option<&str>); 7] = [
    ("wayne-admin", Role::Admin, None),
    ("wayne-revops", Role::Revops, None),
    ("wayne-service", Role::Service, None),
    ("wayne-boss", Role::Manager, Some("boss")),
    ("wayne-lead", Role::Manager, Some("lead")),
    ("wayne-rep-1", Role::Rep, Some("rep-1")),
    ("wayne-rep-2", Role::Rep, Some("rep-2")),
];

/// Records of the world and their owners: odd numbers are `rep-1`'s.
pub(super) const RECORDS: [(&str, &str, &str, &str); 6] = [
    ("contact", "contacts", "c1", "rep-1"),
    ("contact", "contacts", "c2", "rep-2"),
    ("account", "accounts", "a1", "rep-1"),
    ("account", "accounts", "a2", "rep-2"),
    ("deal", "deals", "d1", "rep-1"),
    ("deal", "deals", "d2", "rep-2"),
];

/// Whether the rules that ship give a record of an owner to a caller: `boss` is above all, `lead` above `rep-1`.
pub(super) fn expected(settings: &ApiSettings, role: Role, user: Option<&str>, owner: &str) -> bool {
    let below: &[&str] = match user {
        Some("boss") => &["lead", "rep-1", "rep-2"],
        Some("lead") => &["rep-1"],
        _ => &[],
    };
    settings.access.roles.of(role).rows.iter().any(|rows| match rows {
        Rows::All => true,
        Rows::Own => user == Some(owner),
        Rows::Hierarchy => below.contains(&owner),
        Rows::Team | Rows::Territory | Rows::Unowned => false,
    })
}

/// A way to ask for one record; whether it was shown. `None` where the door shows none of its kind.
async fn shown(
    world: &World,
    (key, cookie): (&str, &str),
    door: &str,
    record: (&str, &str, &str, &str),
) -> Option<bool> {
    let (kind, plural, id, _) = record;
    let found = |reply: &Reply| match reply.status {
        StatusCode::OK => true,
        StatusCode::NOT_FOUND => false,
        other => panic!("{key} {door} {id}: {other} {}", reply.text()),
    };
    let quoted = format!("\"{id}\"");
    let listed = |reply: &Reply| {
        assert_eq!(
            reply.status,
            StatusCode::OK,
            "{key} {door} {id}: {}",
            reply.text()
        );
        reply.text().contains(&quoted)
    };
    Some(match door {
        "rest one" => found(&world.get(key, &format!("/v1/{plural}/{id}")).await),
        "rest scores" => found(&world.get(key, &format!("/v1/{plural}/{id}/scores")).await),
        "rest explain" => found(&world.get(key, &format!("/v1/{plural}/{id}/explain")).await),
        "rest history" => found(&world.get(key, &format!("/v1/{plural}/{id}/scores/history")).await),
        "rest timeline" => found(&world.get(key, &format!("/v1/{plural}/{id}/timeline")).await),
        "rest changes" => found(
            &world
                .get(key, &format!("/v1/{plural}/{id}/changes?from=2026-01-01"))
                .await,
        ),
        "rest list" => listed(&world.get(key, &format!("/v1/{plural}")).await),
        "rest queue" => {
            let reply = world.get(key, &format!("/v1/scores?entity_kind={kind}")).await;
            assert_eq!(reply.status, StatusCode::OK, "{key} {id}: {}", reply.text());
            reply.text().contains(&format!("\"entity_id\":{quoted}"))
        }
        "feed" => {
            if kind != "contact" {
                return None;
            }
            let reply = world.get(key, "/v1/score-feed").await;
            assert_eq!(reply.status, StatusCode::OK, "{key} {id}: {}", reply.text());
            reply.text().contains(&format!("\"entity_id\":{quoted}"))
        }
        "web page" => {
            let page = format!("/ui/{plural}/{id}");
            found(
                &world
                    .call("", Method::GET, &page, &[("cookie", cookie)], "")
                    .await,
            )
        }
        other => panic!("no door '{other}'"),
    })
}

/// Doors that every role may open, and those that programs may not.
const ALL_ROLES: [&str; 4] = ["rest scores", "rest history", "rest queue", "feed"];
const PEOPLE: [&str; 6] = [
    "rest one",
    "rest explain",
    "rest timeline",
    "rest changes",
    "rest list",
    "web page",
];

#[tokio::test]
async fn each_principal_sees_at_each_door_what_the_rules_give() {
    let world = World::new().await;
    world.feed.append("wayne", "c1");
    world.feed.append("wayne", "c2");
    let settings = ApiSettings::default();
    let mut wrong = Vec::new();
    let mut cells = 0;
    for (key, role, user) in PRINCIPALS {
        let people = if role == Role::Service {
            &[][..]
        } else {
            &PEOPLE[..]
        };
        let cookie = match role {
            Role::Service => String::new(),
            _ => world.signed_in(key).await,
        };
        for door in ALL_ROLES.iter().chain(people) {
            for record in RECORDS {
                let wanted = expected(&settings, role, user, record.3);
                let Some(seen) = shown(&world, (key, &cookie), door, record).await else {
                    continue;
                };
                cells += 1;
                if seen != wanted {
                    wrong.push(format!("{key} at '{door}': {} is {seen}", record.2));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "of {cells} cells");
    assert!(cells > 350, "{cells} cells");
}

/// The whole answers, not ids alone: nothing of the other rep's records is in any of them.
#[tokio::test]
async fn nothing_of_anothers_records_is_in_any_answer() {
    let world = World::new().await;
    world.feed.append("wayne", "c1");
    world.feed.append("wayne", "c2");
    let paths = [
        "/v1/contacts",
        "/v1/contacts/c2",
        "/v1/contacts?q=CANARY",
        "/v1/accounts",
        "/v1/accounts/duplicates",
        "/v1/deals",
        "/v1/deals/d1/stakeholders",
        "/v1/deals/d2/stakeholders",
        "/v1/scores",
        "/v1/scores?as_of=2026-01-01T00:00:00Z",
        "/v1/alerts",
        "/v1/briefing",
        "/v1/briefing?format=html",
        "/v1/text-signals",
        "/v1/compliance",
        "/v1/waterfall?from=2026-01-01",
        "/v1/forecast",
        "/v1/forecast/nodes",
        "/v1/score-feed",
        "/v1/dead-letters",
        "/v1/data-health",
        "/v1/pipelines",
        "/v1/reports/pipeline-by-stage",
        "/v1/contacts/CANARY-p1@acme.io",
    ];
    let leak = |what: &str, reply: &Reply| {
        let marked = format!("{CANARY}-");
        let text = reply.text();
        // Watermarks name sources of the tenant; an unknown id comes back in the error.
        let shown = text.replace("CANARY-http", "").replace("CANARY-p1@acme.io'", "");
        let headers = format!("{:?}", reply.headers).replace("CANARY-http", "");
        (shown.contains(&marked) || headers.contains(&marked)).then(|| format!("{what}: {text}"))
    };
    let cookie = world.signed_in("wayne-rep-2").await;
    let mut leaks = Vec::new();
    let mut controls = 0;
    for path in paths {
        leaks.extend(leak(path, &world.get("wayne-rep-2", path).await));
        controls += usize::from(leak(path, &world.get("wayne-admin", path).await).is_some());
    }
    for path in [
        "/ui/forecast",
        "/ui/deals",
        "/ui/deals?view=list",
        "/ui/deals/d1",
        "/ui/deals/d2",
        "/ui/leads",
        "/ui/contacts",
        "/ui/contacts/c1",
        "/ui/contacts/c2",
        "/ui/accounts",
        "/ui/accounts/a2",
        "/ui/team",
        "/ui/reports",
        "/ui/data",
        "/ui/admin",
        "/ui/sql?q=select+*+from+events",
        "/ui/sql.csv?q=select+*+from+contacts",
    ] {
        let reply = world
            .call("", Method::GET, path, &[("cookie", &cookie)], "")
            .await;
        leaks.extend(leak(path, &reply));
    }
    assert_eq!(leaks, Vec::<String>::new());
    assert!(
        controls > 8,
        "the administrator sees the marks at {controls} of the same doors"
    );
}

#[tokio::test]
async fn pages_of_one_person_are_not_handed_to_another() {
    let world = World::new().await;
    let (boss, rep) = (
        world.signed_in("wayne-boss").await,
        world.signed_in("wayne-rep-2").await,
    );
    let page = "/ui/contacts";
    let first = world.call("", Method::GET, page, &[("cookie", &boss)], "").await;
    assert!(first.text().contains("CANARY-Name 1"), "{}", first.text());
    let second = world.call("", Method::GET, page, &[("cookie", &rep)], "").await;
    assert!(!second.text().contains("CANARY-Name"), "{}", second.text());
    assert!(second.text().contains("Name 2"));
}

pub(super) fn masked() -> ApiSettings {
    let mut settings = ApiSettings::default();
    settings.access.roles.revops.masks = vec![Mask::Email, Mask::Phone, Mask::Transcript];
    settings
}

#[tokio::test]
async fn masked_fields_are_shown_nowhere_and_cannot_be_asked_for() {
    let world = World::with(masked()).await;
    let address = "CANARY-p1@acme.io";
    for path in [
        "/v1/contacts",
        "/v1/contacts/c1",
        "/v1/contacts?q=p1@acme",
        "/v1/deals/d1/stakeholders",
        "/v1/text-signals",
        "/v1/contacts/c1/timeline",
    ] {
        let text = world.get("wayne-revops", path).await.text();
        for hidden in ["@acme.io", "+49 30", "we guarantee it", "CANARY-hello"] {
            assert!(!text.contains(hidden), "{path} shows {hidden}: {text}");
        }
    }
    let by_address = world
        .get("wayne-revops", &format!("/v1/contacts/{address}"))
        .await;
    assert_eq!(by_address.status, StatusCode::NOT_FOUND, "{}", by_address.text());
    for (sql, rows) in [
        (
            format!("select contact_id from contacts where email = '{address}'"),
            0,
        ),
        (
            "select contact_id from contacts where email like '%@%'".to_owned(),
            0,
        ),
        (
            "select contact_id from contacts where fields like '%+49%'".to_owned(),
            0,
        ),
        (
            "select contact_id from contacts where email like 'masked-%'".to_owned(),
            5,
        ),
        (
            "select quote from text_signals where quote like '%guarantee%'".to_owned(),
            0,
        ),
        (
            "select event_id from events where payload like '%hello%'".to_owned(),
            0,
        ),
        (
            "select a.contact_id from contacts a join contacts b on a.email = b.email".to_owned(),
            5,
        ),
        (
            "select distinct type from events where type = 'email.replied'".to_owned(),
            1,
        ),
    ] {
        let reply = world.sql("wayne-revops", &sql).await;
        let found = reply.json()["rows"].as_array().map(Vec::len);
        assert_eq!(found, Some(rows), "{sql}: {}", reply.text());
        let whole = world.sql("wayne-admin", &sql).await.json()["rows"]
            .as_array()
            .map(Vec::len);
        assert!(
            whole != Some(0) || sql.contains("masked-"),
            "{sql} finds nothing even unmasked"
        );
    }
    let letters = world.get("wayne-revops", "/v1/dead-letters").await;
    assert!(!letters.text().contains("CANARY-{}"), "{}", letters.text());
}

#[tokio::test]
async fn scopes_narrow_a_key_and_bad_rights_make_none() {
    let world = World::new().await;
    let make = async |body: &str| world.call("admin", Method::POST, "/v1/keys", &[], body).await;
    for bad in [
        r#"{"role":"rep","name":"r"}"#,
        r#"{"role":"manager","name":"m"}"#,
        r#"{"role":"admin","name":"a","rights":{"scopes":[]}}"#,
        r#"{"role":"admin","name":"a","rights":{"colour":"red"}}"#,
        r#"{"role":"admin","name":"a","rights":{"requests_per_second":0}}"#,
    ] {
        assert_eq!(make(bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let made =
        make(r#"{"role":"admin","name":"feed","rights":{"scopes":["feed"],"requests_per_second":3}}"#).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let secret = made.json()["secret"].as_str().expect("secret").to_owned();
    let ask = async |path: &str| {
        let bearer = format!("Bearer {secret}");
        let headers = [(header::AUTHORIZATION.as_str(), bearer.as_str())];
        world.call("", Method::GET, path, &headers, "").await.status
    };
    let mut seen = BTreeMap::new();
    for path in ["/v1/score-feed", "/v1/contacts", "/v1/keys"] {
        seen.insert(path, ask(path).await);
    }
    assert_eq!(seen["/v1/score-feed"], StatusCode::OK);
    assert_eq!(seen["/v1/contacts"], StatusCode::FORBIDDEN);
    assert_eq!(seen["/v1/keys"], StatusCode::FORBIDDEN);
    let mut late = Vec::new();
    for _ in 0..5 {
        late.push(ask("/v1/score-feed").await);
    }
    assert!(late.contains(&StatusCode::TOO_MANY_REQUESTS), "{late:?}");
}

#[tokio::test]
async fn what_was_read_changed_and_refused_is_in_the_audit_log() {
    let world = World::new().await;
    world.get("revops", "/v1/contacts/c1").await;
    world.get("revops", "/v1/keys").await;
    world.get("revops", "/v1/pipelines").await;
    world
        .sql(
            "revops",
            "select count(*) from contacts c join events e on c.contact_id = e.contact_id",
        )
        .await;
    world.sql("revops", "select * from table_columns").await;
    let body = r#"{"role":"service","name":"x"}"#;
    world.call("admin", Method::POST, "/v1/keys", &[], body).await;
    let log = world.get("admin", "/v1/audit-log?limit=100").await.json();
    let found = |action: &str, object: &str| {
        let items = log["items"].as_array().expect("items").iter();
        items
            .filter(|item| item["action"] == action && item["object"] == object)
            .count()
    };
    assert_eq!(found("read", "/v1/contacts/c1"), 1, "{log}");
    assert_eq!(found("denied", "/v1/keys"), 1, "{log}");
    assert_eq!(found("change", "POST /v1/keys"), 1, "{log}");
    assert_eq!(found("read", "contacts, events"), 1, "{log}");
    assert_eq!(log["total"], 4, "what shows nobody is not noted: {log}");
    let rows = world
        .sql(
            "admin",
            "select actor, object from audit_log where action = 'denied'",
        )
        .await;
    assert_eq!(
        rows.json()["rows"].as_array().map(Vec::len),
        Some(1),
        "{}",
        rows.text()
    );
    for (key, path) in [("revops", "/v1/audit-log"), ("service", "/v1/audit-log")] {
        assert_eq!(world.get(key, path).await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(
        world.sql("revops", "select * from audit_log").await.json()["code"],
        "unknown_table"
    );
    assert_eq!(world.get("foreign", "/v1/audit-log").await.json()["total"], 0);
}

#[tokio::test]
async fn an_export_of_a_person_holds_what_is_stored_about_it() {
    let world = World::new().await;
    let all = world
        .get("wayne-admin", "/v1/privacy/export?subject=c1")
        .await
        .json();
    assert_eq!(all["record"][0]["contact_id"], "c1", "{all}");
    assert_eq!(all["events"].as_array().map(Vec::len), Some(5), "{all}");
    assert_eq!(all["score_history"].as_array().map(Vec::len), Some(4), "{all}");
    let nobody = world
        .get("wayne-admin", "/v1/privacy/export?subject=nobody")
        .await
        .json();
    assert_eq!(nobody["record"].as_array().map(Vec::len), Some(0), "{nobody}");
    for bad in [r#"{"subject":" "}"#, r#"{"subject":"c1","all":true}"#, "{}"] {
        let reply = world
            .call("admin", Method::POST, "/v1/privacy/erasures", &[], bad)
            .await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

/// Expired, revoked, foreign and garbage credentials, and tokens that are none: one answer.
#[tokio::test]
async fn bad_credentials_are_told_apart_by_nothing() {
    let world = World::new().await;
    let made = world
        .call(
            "admin",
            Method::POST,
            "/v1/keys",
            &[],
            r#"{"role":"admin","name":"gone"}"#,
        )
        .await
        .json();
    let path = format!("/v1/keys/{}", made["key"]["key_id"].as_str().expect("id"));
    world.call("admin", Method::DELETE, &path, &[], "").await;
    let revoked = made["secret"].as_str().expect("secret").to_owned();
    let mut seen = std::collections::BTreeSet::new();
    for key in [
        revoked.as_str(),
        "rg_nobody_nothing",
        "",
        "ey.ey.ey",
        "eyJhbGciOiJub25lIn0.e30.",
        "\u{e9}",
    ] {
        let bearer = format!("Bearer {key}");
        let reply = world
            .call("", Method::GET, "/v1/contacts", &[("authorization", &bearer)], "")
            .await;
        let mut body = reply.json();
        body.as_object_mut().expect("object").remove("request_id");
        seen.insert((reply.status.as_u16(), body.to_string()));
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[tokio::test]
async fn people_of_an_identity_provider_sign_in_once_in_the_browser_that_began() {
    let mut settings = ApiSettings::default();
    settings.oidc = crate::access::oidc_tests::settings();
    let world = World::with(settings).await;
    let form = world.call("", Method::GET, "/ui/sign-in", &[], "").await;
    assert!(form.text().contains("Sign in with Acme"), "{}", form.text());
    let begin = async || {
        let path = format!(
            "/ui/oidc/start?issuer={}&next=/ui/deals",
            crate::web::encoded(crate::access::oidc_tests::ISSUER)
        );
        let reply = world.call("", Method::GET, &path, &[], "").await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.text());
        let target = reply.headers["location"].to_str().expect("text").to_owned();
        let cookie = reply.headers["set-cookie"].to_str().expect("text");
        let cookie = cookie.split(';').next().expect("a part").to_owned();
        let part = |name: &str| {
            let (_, rest) = target.split_once(&format!("{name}=")).expect("there");
            rest.split('&').next().expect("a value").to_owned()
        };
        assert_eq!(part("code_challenge_method"), "S256");
        (part("state"), part("nonce"), cookie)
    };
    let finish = async |state: &str, nonce: &str, cookie: &str, audience: &str| {
        let now = super::world::NOW.micros() / 1_000_000;
        let claims = serde_json::json!({
            "iss": crate::access::oidc_tests::ISSUER, "aud": audience, "sub": "jo", "exp": now + 60, "nonce": nonce,
            "roles": ["rep"], "crm_user": "rep-2",
        });
        let token = crate::access::oidc_tests::token("k1", &claims);
        *world.provider.tokens.lock() = serde_json::json!({"id_token": token});
        let path = format!("/ui/oidc/callback?code=c0de&state={state}");
        let headers = [("cookie", cookie), ("host", "localhost")];
        world.call("", Method::GET, &path, &headers, "").await
    };
    let (state, nonce, cookie) = begin().await;
    let entered = finish(&state, &nonce, &cookie, "web").await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER, "{}", entered.text());
    assert_eq!(entered.headers["location"], "/ui/deals");
    let session = entered.headers["set-cookie"].to_str().expect("text");
    let session = session.split(';').next().expect("a part").to_owned();
    // `acme` is the issuer's tenant; the claims say it is `rep-2`.
    let page = world
        .call("", Method::GET, "/ui/contacts", &[("cookie", &session)], "")
        .await;
    assert!(
        page.text().contains("Name 2") && !page.text().contains("Name 1"),
        "{}",
        page.text()
    );
    let form = world.provider.forms.lock().last().cloned().expect("a form");
    assert_eq!(
        (form["code"].as_str(), form["grant_type"].as_str()),
        ("c0de", "authorization_code")
    );
    assert!(form["code_verifier"].len() >= 43);
    // Used up, begun elsewhere, of another sign-in, for another client, never begun.
    let (fresh, right, own) = begin().await;
    let (other, _, _) = begin().await;
    for (state, nonce, cookie, audience) in [
        (state.as_str(), nonce.as_str(), cookie.as_str(), "web"),
        (other.as_str(), right.as_str(), "revgauge_oidc=x", "web"),
        (fresh.as_str(), "wrong", own.as_str(), "web"),
        ("never", right.as_str(), own.as_str(), "web"),
    ] {
        let refused = finish(state, nonce, cookie, audience).await;
        assert_eq!(
            refused.status,
            StatusCode::UNAUTHORIZED,
            "{state}: {}",
            refused.text()
        );
    }
    let (state, nonce, cookie) = begin().await;
    assert_eq!(
        finish(&state, &nonce, &cookie, "revgauge").await.status,
        StatusCode::UNAUTHORIZED
    );
}
