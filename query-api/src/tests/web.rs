//! The dashboards over HTTP: nobody gets in without a session, every page is locked down and well formed, numbers equal
//! the SQL they name, hostile names are text, and no other tenant's row is on any page.

use axum::http::{Method, StatusCode, header};

use super::world::{CANARY, Reply, World};
use crate::access::UserRole;

const PASSWORD: &str = "correct horse battery";
const PAGES: &[&str] = &[
    "/ui/forecast",
    "/ui/forecast?quarter=2026-Q1&owner_id=rep-1",
    "/ui/deals",
    "/ui/deals?view=list&q=name",
    "/ui/deals/d1",
    "/ui/leads",
    "/ui/leads?tier=A&q=name",
    "/ui/contacts",
    "/ui/contacts/c1",
    "/ui/accounts",
    "/ui/accounts/a1",
    "/ui/reports",
    "/ui/reports/pipeline_by_stage",
    "/ui/reports/leaderboard",
    "/ui/coaching",
    "/ui/coaching/skills",
    "/ui/coaching/priorities",
    "/ui/saved",
    "/ui/sql",
    "/ui/sql?q=select+entity_id,value+from+scores+limit+3",
    "/ui/admin",
];

struct Browser {
    world: World,
    cookie: String,
}

impl Browser {
    async fn signed_in() -> Self {
        let world = World::new().await;
        let users = &world.api.users;
        users
            .create("acme", UserRole::Admin, "mo@acme.io", PASSWORD)
            .await
            .expect("made");
        let body = format!("login=Mo%40acme.io&password={}", PASSWORD.replace(' ', "+"));
        let reply = world
            .call("", Method::POST, "/ui/sign-in", &[("host", "localhost")], &body)
            .await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.text());
        let cookie = reply.headers[header::SET_COOKIE]
            .to_str()
            .expect("text")
            .to_owned();
        assert!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
            "{cookie}"
        );
        let cookie = cookie.split(';').next().expect("a part").to_owned();
        Self { world, cookie }
    }

    async fn get(&self, path: &str) -> Reply {
        self.world
            .call("", Method::GET, path, &[("cookie", &self.cookie)], "")
            .await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut all = vec![("cookie", self.cookie.as_str()), ("host", "localhost")];
        all.extend(headers);
        self.world.call("", Method::POST, path, &all, body).await
    }

    async fn csrf(&self) -> String {
        let text = self.get("/ui/leads").await.text();
        let rest = text.split("name=\"csrf\" value=\"").nth(1).expect("a form");
        rest.split('"').next().expect("a value").to_owned()
    }
}

/// Every element that opens also closes, in order.
fn check_well_formed(path: &str, html: &str) {
    const VOID: [&str; 6] = ["meta", "link", "input", "br", "hr", "img"];
    let mut open: Vec<String> = Vec::new();
    for piece in html.split('<').skip(1) {
        let (tag, _) = piece
            .split_once('>')
            .unwrap_or_else(|| panic!("{path}: '<{piece}' does not close"));
        if tag.starts_with('!') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop();
            assert_eq!(last.as_deref(), Some(name), "{path}: </{name}> closes {last:?}");
            continue;
        }
        let name = tag.split([' ', '\n']).next().unwrap_or_default();
        if !VOID.contains(&name) {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "{path}: {open:?} stay open");
}

fn check_locked_down(path: &str, reply: &Reply) {
    let policy = reply.headers[header::CONTENT_SECURITY_POLICY]
        .to_str()
        .expect("text");
    assert!(
        policy.contains("script-src 'self'") && !policy.contains("unsafe"),
        "{path}: {policy}"
    );
    let html = reply.text();
    for forbidden in [
        "<style",
        " style=\"",
        "onclick=",
        "javascript:",
        "http://",
        "https://",
    ] {
        assert!(
            !html.replace("http://HOST", "").contains(forbidden),
            "{path} holds {forbidden}"
        );
    }
}

#[tokio::test]
async fn every_page_answers_well_formed_locked_down_and_of_its_own_tenant() {
    let browser = Browser::signed_in().await;
    for path in PAGES {
        let reply = browser.get(path).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text());
        check_well_formed(path, &reply.text());
        check_locked_down(path, &reply);
        assert!(!reply.text().contains(CANARY), "{path} shows another tenant");
        assert!(
            reply.headers.contains_key("revgauge-as-of"),
            "{path} does not say how fresh it is"
        );
    }
}

#[tokio::test]
async fn without_a_session_every_page_leads_to_sign_in() {
    let world = World::new().await;
    for path in PAGES
        .iter()
        .chain(&["/ui/", "/ui/live", "/ui/sql.csv?q=select+1", "/ui/nowhere"])
    {
        let reply = world.call("", Method::GET, path, &[], "").await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{path}");
        let to = reply.headers[header::LOCATION].to_str().expect("text");
        assert!(to.starts_with("/ui/sign-in?next=%2Fui%2F"), "{path}: {to}");
    }
    let reply = world.call("", Method::GET, "/ui/sign-in", &[], "").await;
    assert_eq!(reply.status, StatusCode::OK);
    check_well_formed("sign-in", &reply.text());
    check_locked_down("sign-in", &reply);
    let body = "login=mo%40acme.io&password=wrong";
    let reply = world.call("", Method::POST, "/ui/sign-in", &[], body).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert!(!reply.headers.contains_key(header::SET_COOKIE));
    let service = format!("key={}", world.keys["service"]);
    let reply = world.call("", Method::POST, "/ui/sign-in", &[], &service).await;
    assert_eq!(
        reply.status,
        StatusCode::UNAUTHORIZED,
        "a program's key opens no dashboard"
    );
}

#[tokio::test]
async fn a_key_and_a_link_open_a_session_the_link_once() {
    let world = World::new().await;
    let body = format!("key={}&next=%2F%2Fevil.example", world.keys["revops"]);
    let reply = world.call("", Method::POST, "/ui/sign-in", &[], &body).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    assert_eq!(reply.headers[header::LOCATION], "/ui/", "leads nowhere else");
    let secure = reply.headers[header::SET_COOKIE]
        .to_str()
        .expect("text")
        .contains("; Secure");
    assert!(secure, "not this machine, so never over plain HTTP");
    let link = world
        .call("admin", Method::POST, "/v1/sign-in-links", &[], "")
        .await;
    assert_eq!(link.status, StatusCode::OK, "{}", link.text());
    let path = link.json()["path"].as_str().expect("a path").to_owned();
    let reply = world.call("", Method::GET, &path, &[], "").await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    let reply = world.call("", Method::GET, &path, &[], "").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_number_of_a_tile_is_the_number_of_its_query() {
    let browser = Browser::signed_in().await;
    let mut checked = 0;
    for path in ["/ui/forecast", "/ui/deals", "/ui/deals/d1", "/ui/contacts/c1"] {
        let html = browser.get(path).await.text();
        for piece in html.split("<a class=\"figure\" href=\"/ui/sql?q=").skip(1) {
            let query = piece.split('"').next().expect("an address");
            let place = piece
                .split("data-cell=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next());
            let column = place.and_then(|place| place.split(' ').nth(2)).expect("a column");
            let shown = piece
                .split("<data value=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .expect("a value");
            let csv = browser.get(&format!("/ui/sql.csv?q={query}")).await;
            assert_eq!(csv.status, StatusCode::OK, "{query}");
            let csv = csv.text();
            let mut lines = csv.lines();
            let place = lines
                .next()
                .expect("names")
                .split(',')
                .position(|name| name == column)
                .expect("the column");
            let cell = lines
                .next()
                .expect("a row")
                .split(',')
                .nth(place)
                .expect("a cell")
                .to_owned();
            let number = |text: &str| text.parse::<f64>().ok();
            assert_eq!(number(shown), number(&cell), "{path} {column}: {query}");
            checked += 1;
        }
    }
    assert!(checked >= 12, "{checked} numbers");
}

#[tokio::test]
async fn forms_of_other_sites_and_sessions_are_refused() {
    let browser = Browser::signed_in().await;
    let csrf = browser.csrf().await;
    let good = format!("csrf={csrf}&contact_id=c1&action=call&answer=accepted");
    let foreign: [&[(&str, &str)]; 2] = [
        &[("origin", "https://evil.example")],
        &[("sec-fetch-site", "cross-site")],
    ];
    for headers in foreign {
        let reply = browser.post("/ui/leads/answer", headers, &good).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
    }
    let reply = browser
        .post("/ui/leads/answer", &[], &good.replace(&csrf, "0"))
        .await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert!(browser.world.intake.0.lock().is_empty(), "nothing was taken");
    let reply = browser
        .post("/ui/leads/answer", &[("origin", "http://localhost")], &good)
        .await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.text());
    let kept = browser.world.intake.0.lock();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (&*kept[0].event_type, kept[0].contact_id.as_deref()),
        ("action.accepted", Some("c1"))
    );
    assert_eq!(&*kept[0].tenant_id, "acme");
}

#[tokio::test]
async fn whatever_stands_in_an_address_is_text_and_has_a_way_back() {
    let browser = Browser::signed_in().await;
    let long = "x".repeat(10_000);
    for hostile in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "'; DROP TABLE deals; --",
        "\u{202e}evil",
        "😀",
        &long,
    ] {
        let value = crate::web::encoded(hostile);
        for path in [
            "/ui/leads?q=",
            "/ui/deals?q=",
            "/ui/contacts?owner_id=",
            "/ui/forecast?quarter=",
            "/ui/leads?as_of=",
            "/ui/deals/",
            "/ui/contacts/",
            "/ui/reports/",
            "/ui/sql?q=",
        ] {
            let reply = browser.get(&format!("{path}{value}")).await;
            assert!(
                reply.status.as_u16() < 500,
                "{path}{hostile:.40}: {}",
                reply.text()
            );
            let html = reply.text();
            check_well_formed(path, &html);
            assert!(
                !html.contains("<script>alert") && !html.contains("<img"),
                "{path}: {html}"
            );
            assert!(html.contains("href=\"/ui/"), "{path} has no way back");
        }
    }
}

#[tokio::test]
async fn a_user_that_ended_is_out_at_the_next_request() {
    let browser = Browser::signed_in().await;
    browser
        .world
        .api
        .users
        .end("acme", "mo@acme.io")
        .await
        .expect("ended");
    let reply = browser.get("/ui/leads").await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn pages_of_now_fetch_themselves_again_and_answers_of_ones_own_do_not() {
    let browser = Browser::signed_in().await;
    for (path, live) in [
        ("/ui/forecast", true),
        ("/ui/deals/d1", true),
        ("/ui/coaching", true),
        ("/ui/coaching?as_of=2026-01-01T00:00", false),
        ("/ui/coaching/skills", false),
        ("/ui/forecast/math", false),
        ("/ui/sql?q=select+1", false),
        ("/ui/reports/pipeline_by_stage", false),
        ("/ui/saved", false),
    ] {
        let reply = browser.get(path).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text());
        assert_eq!(reply.text().contains("<body data-live=\"1\""), live, "{path}");
    }
}
