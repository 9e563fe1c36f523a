//! The dashboards of the real executable: every number is the cell of the query it names, hostile texts stay texts in
//! every field of every page, an empty tenant is shown what to do, and a real browser walks through it all.

use std::{collections::BTreeMap, io::Write as _, path::Path, process::Command, time::Duration};

use revgauge_contract::{Clock as _, time::SystemClock};
use serde_json::{Value, json};

use crate::{
    browsing::{Browsing, cell, hidden, numbers, sign_in_link, written_in},
    process::{Process, fill},
};

/// Pages that show the whole of a tenant.
const PAGES: &[&str] = &[
    "/ui/forecast",
    "/ui/forecast?quota=500000",
    "/ui/forecast/model",
    "/ui/forecast/model?quota=500000",
    "/ui/forecast/moves",
    "/ui/forecast/moves?bucket=start",
    "/ui/forecast/fan",
    "/ui/forecast/math",
    "/ui/forecast/what-if",
    "/ui/accuracy",
    "/ui/accuracy/methods",
    "/ui/accuracy/reliability",
    "/ui/deals",
    "/ui/deals?view=list",
    "/ui/leads",
    "/ui/accounts",
    "/ui/contacts",
    "/ui/team",
    "/ui/coaching",
    "/ui/coaching/skills",
    "/ui/coaching/priorities",
    "/ui/tv",
    "/ui/reports",
    "/ui/reports/pipeline_by_stage",
    "/ui/reports/win_rate_by_owner",
    "/ui/reports/won_by_month",
    "/ui/reports/largest_open_deals",
    "/ui/saved",
    "/ui/sql",
    "/ui/sql?q=SELECT+entity_id,+name,+value+FROM+scores+ORDER+BY+1,2,3+LIMIT+20",
    "/ui/data",
    "/ui/admin",
    "/ui/admin/audit",
    "/ui/admin/definitions/engagement",
    "/ui/admin/definitions/deal_health",
];

/// Of the past a few are enough: each computes its scores anew from the events.
const PAST: &[&str] = &[
    "/ui/forecast",
    "/ui/forecast/model",
    "/ui/forecast/moves",
    "/ui/team",
    "/ui/coaching",
    "/ui/coaching/skills",
    "/ui/coaching/priorities",
    "/ui/reports/pipeline_by_stage",
    "/ui/reports/largest_open_deals",
];

/// The first of each kind that a list leads to.
async fn leaves(browsing: &Browsing) -> Vec<String> {
    let mut found = Vec::new();
    for list in ["/ui/deals", "/ui/contacts", "/ui/accounts"] {
        let (_, html) = browsing.page(list).await;
        let rest = html.split(&format!("href=\"{list}/")).nth(1);
        let rest = rest.unwrap_or_else(|| panic!("{list} leads nowhere"));
        found.push(format!(
            "{list}/{}",
            rest.split(['"', '?']).next().expect("an id")
        ));
    }
    found
}

/// Waits until what was sent is scored: the score feed does not grow any more.
async fn settled(process: &Process) {
    let mut before = -1;
    for _ in 0..60 {
        let now = process.number("SELECT count(*) AS n FROM score_changes").await;
        if now == before && now > 0 {
            return;
        }
        before = now;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_is_the_cell_of_its_query_and_a_browser_finds_nothing_wrong() {
    let folder = tempfile::tempdir().expect("folder");
    // An unoptimised build on a busy machine is no reason to fail.
    let process = Process::start(folder.path(), &[("REVGAUGE__API__SQL__TIMEOUT_MS", "240000")]);
    fill(&process, 24, 75).await;
    settled(&process).await;
    let browsing = Browsing::of(&process).await;
    let mut pages: Vec<String> = PAGES.iter().map(|path| (*path).to_owned()).collect();
    pages.extend(leaves(&browsing).await);
    let then_pages: Vec<String> = PAST.iter().map(|path| (*path).to_owned()).collect();
    // Long enough ago that nothing of that instant is still on its way.
    let then = SystemClock.now().plus_micros(-20 * 86_400_000_000);
    let (mut checked, mut known) = (0, BTreeMap::new());
    for past in [false, true] {
        for path in if past { &then_pages } else { &pages } {
            let joint = if path.contains('?') { '&' } else { '?' };
            let path = if past {
                format!("{path}{joint}as_of={then}")
            } else {
                path.clone()
            };
            let (status, html) = browsing.page(&path).await;
            assert_eq!(status, 200, "{path}: {html}");
            for number in numbers(&path, &html) {
                let wanted = cell(&process, &mut known, &number).await;
                // What decays goes on between page and query; as of the past nothing does.
                let tolerance = if past { 1e-9 } else { 1e-3 };
                let same = match (number.shown, wanted) {
                    (None, None) => true,
                    (Some(shown), Some(wanted)) => {
                        (shown - wanted).abs() <= tolerance * wanted.abs().max(1.0)
                    }
                    _ => false,
                };
                assert!(same, "{path}: {number:?}, the query says {wanted:?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 300, "only {checked} numbers");
    println!("{checked} numbers equal the cells of {} queries", known.len());
    walk(&process).await;
    process.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_hears_of_events_that_move_no_score() {
    let folder = tempfile::tempdir().expect("folder");
    let process = Process::start(folder.path(), &[]);
    let sent = async |id: &str| {
        let event =
            json!({"event_id": id, "type": "email.sent", "contact_id": "kim", "email": "kim@example.com"});
        let body = serde_json::to_vec(&event).expect("JSON");
        let answer = process.post("/v1/events", "application/x-ndjson", body).await;
        assert_eq!(answer.expect("answered").0, 200);
    };
    sent("first").await;
    settled(&process).await;
    let before = process.number("SELECT count(*) AS n FROM score_changes").await;
    let browsing = Browsing::of(&process).await;
    let mut stream = browsing.listen().await;
    sent("second").await;
    let word = async {
        let mut heard = String::new();
        while let Some(chunk) = stream.chunk().await.expect("the stream goes on") {
            heard.push_str(&String::from_utf8_lossy(&chunk));
            if heard.contains("event: changed") && heard.contains("\n\n") {
                break;
            }
        }
        heard
    };
    let heard = tokio::time::timeout(Duration::from_secs(30), word)
        .await
        .expect("told");
    assert!(heard.contains("data: []"), "{heard}");
    let after = process.number("SELECT count(*) AS n FROM score_changes").await;
    assert_eq!(before, after, "no score moved");
    process.stop();
}

/// Words that are seen although the test passes: the test runner keeps only what goes through the print macros.
fn aloud(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// The browser walk, or a word why not.
async fn walk(process: &Process) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let has_node = Command::new("node").arg("--version").output().is_ok();
    if !has_node || !folder.join("node_modules").is_dir() {
        aloud("SKIPPED: the browser walk needs node, Chromium and `npm install` in tests/browser");
        return;
    }
    let link = sign_in_link(process).await;
    let key = process.key.clone();
    let walked = tokio::task::spawn_blocking(move || {
        Command::new("node")
            .env("REVGAUGE_KEY", key)
            .arg(folder.join("walk.mjs"))
            .args([link.as_str(), "--quick"])
            .output()
    });
    let walked = tokio::time::timeout(Duration::from_secs(300), walked)
        .await
        .expect("ends in time");
    let output = walked.expect("ran").expect("node starts");
    let said = String::from_utf8_lossy(&output.stdout);
    if said.contains("SKIPPED") {
        aloud(said.trim());
    }
    println!("{said}");
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'; DROP TABLE deals; --",
    "\u{202e}gnihton\u{202c}",
    "=HYPERLINK(\"http://evil.example\")",
    "😀👩‍👩‍👧‍👦",
    "${7*7}{{7*7}}%00\u{1}",
];

/// Records and events with a hostile text in every field that takes one.
fn hostile_events() -> Vec<Value> {
    let long = "x".repeat(10_000);
    let texts: Vec<&str> = HOSTILE.iter().copied().chain([long.as_str()]).collect();
    let now = SystemClock.now();
    let mut events = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        let at = now.plus_micros(-((n as i64 + 1) * 3_600_000_000));
        let crm = |object: &str, keys: Value, fields: Value| {
            let mut event = json!({
                "event_id": format!("{object}-{n}"), "type": format!("{object}.upserted"), "event_time": at, "payload": fields,
            });
            event
                .as_object_mut()
                .expect("an object")
                .extend(keys.as_object().expect("keys").clone());
            event
        };
        events.push(crm(
            "user",
            json!({"user_id": format!("u{n}")}),
            json!({"name": text, "role": text, "manager_id": text}),
        ));
        events.push(crm("account", json!({"account_id": format!("a{n}")}), json!({"name": text, "industry": text, "domain": format!("d{n}.example"), "country": text, "owner_id": format!("u{n}")})));
        events.push(crm("contact", json!({"contact_id": format!("c{n}"), "account_id": format!("a{n}")}), json!({"name": text, "title": text, "email": format!("p{n}@d{n}.example"), "timezone": text, "owner_id": format!("u{n}")})));
        events.push(crm("deal", json!({"deal_id": format!("d{n}"), "account_id": format!("a{n}")}), json!({
            "name": text, "stage": text, "amount": 1_000 * (n + 1), "currency": "USD", "close_date": now.plus_micros(86_400_000_000 * 3),
            "forecast_category": text, "next_step": text, "owner_id": format!("u{n}"), "loss_reason": text,
        })));
        events.push(json!({
            "event_id": format!("mail-{n}"), "type": "email.replied", "event_time": at, "contact_id": format!("c{n}"),
            "account_id": format!("a{n}"), "deal_id": format!("d{n}"), "user_id": format!("u{n}"),
            "payload": {"subject": text, "title": text, "url": text, "text": text},
        }));
    }
    events
}

/// What an administrator does with a definition: try another text, publish it, go back.
async fn a_definition_is_tried_and_published(process: &Process, browsing: &Browsing) {
    const PAGE: &str = "/ui/admin/definitions/engagement";
    let in_force = "SELECT count(*) AS n FROM definition_history WHERE name = 'engagement' AND own AND in_force_until IS NULL";
    let (_, html) = browsing.page(PAGE).await;
    let (csrf, text) = (hidden(&html, "csrf"), written_in(&html));
    let other = text.replacen("saturation = ", "saturation = 2", 1);
    assert_ne!(text, other, "the text names its saturation");
    let answered = async |path: &str, fields: &[(&str, &str)]| {
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend_from_slice(fields);
        browsing.send(&format!("{PAGE}/{path}"), &all).await
    };
    let (status, html) = answered("try", &[("text", "saturation = 'much'")]).await;
    assert_eq!(status, 400, "{html}");
    let (status, html) = answered("try", &[("text", &other)]).await;
    assert_eq!(status, 200, "{html}");
    assert!(
        html.contains("engagement of contacts") && html.contains("saturation"),
        "{html}"
    );
    assert_eq!(process.number(in_force).await, 0, "what is tried is not in force");
    let instead_of = hidden(&html, "instead_of");
    let (status, html) = answered("publish", &[("text", &other), ("instead_of", "engagement@0+0")]).await;
    assert_eq!(status, 409, "{html}");
    let (status, html) = answered("publish", &[("text", &other), ("instead_of", &instead_of)]).await;
    assert_eq!(status, 303, "{html}");
    assert_eq!(process.number(in_force).await, 1);
    let (_, html) = browsing.page(PAGE).await;
    assert!(html.contains("published here") && written_in(&html) == other);
    let (status, _) = answered("publish", &[("instead_of", &hidden(&html, "instead_of"))]).await;
    assert_eq!(status, 303);
    assert_eq!(process.number(in_force).await, 0);
}

fn check_texts(path: &str, html: &str) {
    for raw in ["<script>alert", "<img", "onerror=alert(1)>"] {
        assert!(!html.contains(raw), "{path} lets {raw} through");
    }
    assert!(html.contains("<main"), "{path} is no page");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_tenant_is_told_what_to_do_and_hostile_texts_stay_texts() {
    let folder = tempfile::tempdir().expect("folder");
    let process = Process::start(folder.path(), &[("REVGAUGE__API__WEB__STALE_HOURS", "0")]);
    let browsing = Browsing::of(&process).await;
    for path in PAGES {
        let (status, html) = browsing.page(path).await;
        assert_eq!(status, 200, "{path} of an empty tenant: {html}");
    }
    for path in [
        "/ui/forecast",
        "/ui/deals",
        "/ui/leads",
        "/ui/contacts",
        "/ui/accounts",
        "/ui/data",
    ] {
        let (_, html) = browsing.page(path).await;
        assert!(
            html.contains("Nothing has arrived yet") && html.contains("revgauge import"),
            "{path}"
        );
    }
    for (path, code) in [
        ("/ui/forecast?quarter=yesterday", 400),
        ("/ui/forecast?quota=lots", 400),
        ("/ui/forecast/moves?since=2999-01-01", 400),
        ("/ui/forecast/what-if?deal=nope&fate=7", 400),
        ("/ui/leads?as_of=2999-01-01", 400),
        ("/ui/deals?as_of=soon", 400),
        ("/ui/admin/audit?action=guess", 400),
        ("/ui/reports/pipeline_by_stag", 404),
        ("/ui/saved/nope", 404),
        ("/ui/deals/nope", 404),
        ("/ui/nowhere", 404),
    ] {
        let (status, html) = browsing.page(path).await;
        assert_eq!(status, code, "{path}: {html}");
        assert!(html.contains("href=\"/ui/"), "{path} has no way back");
    }
    let mut body = Vec::new();
    for event in hostile_events() {
        body.extend(event.to_string().into_bytes());
        body.push(b'\n');
    }
    let (status, answer) = process
        .post("/v1/events?history=true", "application/x-ndjson", body)
        .await
        .expect("answered");
    assert!(status == 200 || status == 207, "{answer}");
    assert!(answer["accepted"].as_u64() > Some(30), "{answer}");
    process
        .eventually(
            "SELECT count(*) AS n FROM deals WHERE status = 'open'",
            HOSTILE.len() as i64 + 1,
        )
        .await;
    let mut pages: Vec<String> = PAGES.iter().map(|path| (*path).to_owned()).collect();
    for n in 0..=HOSTILE.len() {
        pages.extend([
            format!("/ui/deals/d{n}"),
            format!("/ui/contacts/c{n}"),
            format!("/ui/accounts/a{n}"),
            format!("/ui/team?owner_id=u{n}"),
        ]);
    }
    for path in &pages {
        let (status, html) = browsing.page(path).await;
        assert_eq!(status, 200, "{path}: {html}");
        check_texts(path, &html);
        assert!(
            html.contains("is stale"),
            "{path} does not say that its source is stale"
        );
    }
    a_definition_is_tried_and_published(&process, &browsing).await;
    let (status, csv) = browsing.page("/ui/sql.csv?q=SELECT+name+FROM+deals").await;
    assert_eq!(status, 200);
    assert!(
        csv.contains("'=HYPERLINK") && !csv.lines().any(|line| line.starts_with(['=', '@', '+', '-'])),
        "{csv:.300}"
    );
    process.stop();
}
