//! The access table: principals x doors x objects. What each cell must be is worked out from the rules that ship; what it
//! is comes through the door. The doors that take SQL are asked the same questions; REST, pages and tools for assistants
//! beside them in `access.rs`.

use std::collections::BTreeSet;

use revgauge_contract::access::{Rights, Role, Scope};
use serde_json::json;

use super::{
    access::{PRINCIPALS, RECORDS, expected, masked},
    through::{Door, Doors},
    world::{CANARY, World},
};
use crate::settings::ApiSettings;

/// Ways to ask for records of all kinds at once. Each gives ids; one that is not among them was not shown.
const QUESTIONS: [(&str, &str); 7] = [
    (
        "records",
        "select contact_id from contacts union all select account_id from accounts union all select deal_id from deals",
    ),
    ("scores", "select entity_id from scores"),
    ("past scores", "select entity_id from scores_as_of('2026-01-01')"),
    (
        "events",
        "select contact_id from events union all select account_id from events union all select deal_id from events",
    ),
    (
        "a join",
        "select d.deal_id from deals d join events e on e.deal_id = d.deal_id union all \
         select c.contact_id from contacts c left join scores s on s.entity_id = c.contact_id union all \
         select a.account_id from accounts a where exists (select 1 from scores s where s.entity_id = a.account_id)",
    ),
    (
        "a group",
        "select unnest(array_agg(contact_id)) from contacts union all select min(account_id) from accounts \
         union all select max(account_id) from accounts union all select deal_id from deals group by deal_id",
    ),
    (
        "looked up",
        "select entity_id from scores where entity_id in ('c1', 'c2', 'a1', 'a2', 'd1', 'd2')",
    ),
];

/// Whether a question brings a record to who sees everything: `a2` is neither the first nor the last account.
fn reached(question: &str, id: &str) -> bool {
    question != "a group" || id != "a2"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_principal_sees_at_each_sql_door_what_the_rules_give() {
    let doors = Doors::open(World::new().await).await;
    let settings = ApiSettings::default();
    let (mut wrong, mut cells) = (Vec::new(), 0);
    for (key, role, user) in PRINCIPALS {
        for door in Door::ALL {
            let entered = doors.enter(door, key).await;
            let mut asker = match entered {
                Ok(asker) => asker,
                Err(refusal) => {
                    assert!(
                        role == Role::Service && refusal.contains("service key"),
                        "{refusal}"
                    );
                    continue;
                }
            };
            for (question, sql) in QUESTIONS {
                let answer = asker.ask(sql).await;
                cells += RECORDS.len();
                if role == Role::Service {
                    // No program reads with SQL, whichever door it finds.
                    let refusal = answer.expect_err("a program is refused");
                    assert!(!refusal.contains(CANARY), "{refusal}");
                    continue;
                }
                let shown: BTreeSet<String> = answer
                    .unwrap_or_else(|refusal| panic!("{key} at {door:?}, {question}: {refusal}"))
                    .into_iter()
                    .collect();
                for (_, _, id, owner) in RECORDS {
                    let wanted = expected(&settings, role, user, owner);
                    if reached(question, id) && shown.contains(id) != wanted {
                        wrong.push(format!("{key} at {door:?}, {question}: {id} is {shown:?}"));
                    }
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "of {cells} cells");
    assert!(cells > 900, "{cells} cells");
}

/// Numbers count what the caller sees, and no more: five of each kind, two of them `rep-2`'s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_of_what_the_caller_sees() {
    let doors = Doors::open(World::new().await).await;
    let sql = "select count(*) from contacts union all select count(*) from deals union all \
               select count(distinct entity_id) from scores where entity_kind = 'account' order by 1";
    for (key, each) in [
        ("wayne-admin", "5"),
        ("wayne-boss", "5"),
        ("wayne-rep-1", "3"),
        ("wayne-rep-2", "2"),
        ("wayne-lead", "3"),
    ] {
        for door in Door::ALL {
            let counted = doors.ask(door, key, sql).await.expect("counted");
            assert_eq!(counted, [each; 3], "{key} at {door:?}");
        }
        let metric = doors.enter(Door::Assistant, key).await.expect("entered");
        let told = metric.tool("query_metric", &json!({"name": "contacts"})).await;
        let told = told.expect("a number");
        assert_eq!(told["rows"][0]["value"].to_string(), each, "{key}: {told}");
    }
}

/// What an assistant asks without SQL: each record explained, the forecast of the own deals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_for_assistants_keep_the_rules() {
    let doors = Doors::open(World::new().await).await;
    let settings = ApiSettings::default();
    for (key, role, user) in PRINCIPALS {
        let asker = doors
            .enter(Door::Assistant, key)
            .await
            .expect("asked at the call");
        for (kind, _, id, owner) in RECORDS {
            for since in [None, Some("2026-01-01T00:00:00Z")] {
                let mut asked = json!({"entity_kind": kind, "entity_id": id});
                if let Some(since) = since {
                    asked["since"] = json!(since);
                }
                let answer = asker.tool("explain_score", &asked).await;
                let wanted = role != Role::Service && expected(&settings, role, user, owner);
                assert_eq!(answer.is_ok(), wanted, "{key}: {id} {answer:?}");
                if let Err(refusal) = answer {
                    assert!(!refusal.contains(CANARY), "{refusal}");
                }
            }
        }
        let forecast = asker.tool("forecast", &json!({"period": "2026-Q1"})).await;
        match role {
            Role::Service => assert!(forecast.is_err(), "{forecast:?}"),
            _ => {
                let forecast = forecast.expect("answered");
                // The only open deal is one that nobody with limited rows sees.
                let sees_all = user.is_none();
                let rows = forecast["forecasts"][0]["rows"].as_array().map(Vec::len);
                assert_eq!(rows, Some(usize::from(sees_all)), "{key}: {forecast}");
                let named = forecast.to_string().contains(&format!("{CANARY}-d1"));
                assert_eq!(named, sees_all, "{key}: {forecast}");
            }
        }
    }
    let asker = doors
        .enter(Door::Assistant, "wayne-admin")
        .await
        .expect("entered");
    for (arguments, says) in [
        (json!({"period": "2026-Q1", "colour": "red"}), "colour"),
        (json!({"limit_rows": -1}), "limit_rows"),
        (json!({"as_of": "2099-01-01T00:00:00Z"}), "as_of_ahead"),
    ] {
        let refusal = asker.tool("forecast", &arguments).await.expect_err("refused");
        assert!(refusal.contains(says), "{refusal}");
    }
    let none = asker
        .tool("forecast", &json!({"limit_rows": 0}))
        .await
        .expect("cut");
    assert_eq!(none["truncated"], true, "{none}");
}

/// A masked value is the mask at every door: shown, compared, cast.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masks_hold_at_every_sql_door() {
    let doors = Doors::open(World::with(masked()).await).await;
    let shown = "select email from contacts union all select fields from contacts union all \
                 select quote from text_signals union all select payload from events";
    let found = "select contact_id from contacts where email like '%@acme%' or fields like '%+49%' union all \
                 select deal_id from text_signals where quote like '%guarantee%' union all \
                 select event_id from events where payload like '%hello%'";
    let secret = ["@acme.io", "+49 30", "we guarantee it", "hello"];
    for door in Door::ALL {
        let values = doors
            .ask(door, "wayne-revops", shown)
            .await
            .expect("shown")
            .join("\n");
        for hidden in secret {
            assert!(!values.contains(hidden), "{door:?} shows {hidden}: {values}");
        }
        assert!(values.contains("masked-"), "{door:?}: {values}");
        let ids = doors.ask(door, "wayne-revops", found).await.expect("asked");
        assert_eq!(ids, Vec::<String>::new(), "{door:?}");
        // The same questions bring everything to who may see it.
        let values = doors
            .ask(door, "wayne-admin", shown)
            .await
            .expect("shown")
            .join("\n");
        assert!(
            secret.iter().all(|shown| values.contains(shown)),
            "{door:?}: {values}"
        );
        assert!(doors.ask(door, "wayne-admin", found).await.expect("asked").len() > 8);
    }
}

/// The audit log is a table of administrators; others are not told that there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_is_for_administrators_at_every_door() {
    let doors = Doors::open(World::new().await).await;
    let listed = "select table_name from information_schema.tables";
    for door in Door::ALL {
        for (key, sees) in [
            ("wayne-admin", true),
            ("wayne-revops", false),
            ("wayne-boss", false),
        ] {
            let asked = doors.ask(door, key, "select actor from audit_log").await;
            assert_eq!(asked.is_ok(), sees, "{key} at {door:?}: {asked:?}");
            let names = doors.ask(door, key, listed).await.expect("listed");
            assert_eq!(names.contains(&"audit_log".to_owned()), sees, "{key} at {door:?}");
        }
    }
    // The catalogue of PostgreSQL is the caller's own, whoever asked before.
    let classes = "select relname from pg_catalog.pg_class where relname = 'audit_log'";
    for (key, rows) in [("wayne-admin", 1), ("wayne-revops", 0), ("wayne-admin", 1)] {
        let names = doors.ask(Door::Postgres, key, classes).await.expect("listed");
        assert_eq!(names.len(), rows, "{key}: {names:?}");
    }
}

/// A key that ends ends everywhere: a connection that is open is asked for it with each statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_or_expired_key_is_out_of_every_door_at_once() {
    const HOUR_US: i64 = 3_600_000_000;
    let doors = Doors::open(World::new().await).await;
    let keys = &doors.world.api.keys;
    for door in Door::ALL {
        for way in ["revoked", "expired"] {
            let made = keys.create("acme", Role::Revops, "short", Some(HOUR_US)).await;
            let made = made.expect("made");
            let mut asker = doors.enter(door, &made.secret).await.expect("entered");
            asker.ask("select 1").await.expect("answered");
            if door == Door::Postgres {
                asker.ask("begin").await.expect("begun");
                asker
                    .ask("declare c cursor for select deal_id from deals")
                    .await
                    .expect("declared");
            }
            if way == "revoked" {
                keys.revoke("acme", &made.info.key_id).await.expect("revoked");
            } else {
                doors.world.clock.advance(2 * HOUR_US);
            }
            // An open cursor holds rows already: they are not given out either.
            let statement = if door == Door::Postgres {
                "fetch 1 from c"
            } else {
                "select 1"
            };
            let refusal = asker.ask(statement).await.expect_err("out");
            assert!(!refusal.contains("d1"), "{refusal}");
            let again = doors.ask(door, &made.secret, "select 1").await;
            assert!(again.is_err(), "{door:?}, {way}: {again:?}");
        }
    }
}

/// A key's limits are the same at every door: what it may do, and how often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_and_rates_hold_at_every_door() {
    let mut settings = ApiSettings::default();
    settings.postgres.rate_wait_ms = 0;
    let doors = Doors::open(World::with(settings).await).await;
    let make = async |rights: Rights| {
        let made = doors
            .world
            .api
            .keys
            .create_with("acme", Role::Revops, rights, "narrow", None);
        made.await.expect("made").secret
    };
    for door in Door::ALL {
        let feed = make(Rights {
            scopes: Some(vec![Scope::Feed]),
            ..Rights::default()
        });
        let refusal = doors.ask(door, &feed.await, "select 1").await;
        assert!(refusal.is_err(), "{door:?}: {refusal:?}");
        let slow = make(Rights {
            requests_per_second: Some(3),
            ..Rights::default()
        });
        let slow = slow.await;
        let mut refused = Vec::new();
        let mut answered = 0;
        let mut asker = doors.enter(door, &slow).await.expect("entered");
        for _ in 0..12 {
            match asker.ask("select 1").await {
                Ok(_) => answered += 1,
                Err(refusal) => refused.push(refusal),
            }
        }
        assert!(answered > 0, "{door:?}: {refused:?}");
        let said = refused
            .first()
            .unwrap_or_else(|| panic!("{door:?}: all {answered} were answered"));
        assert!(said.contains("more requests"), "{door:?}: {said}");
    }
}

/// Drivers know no "try again later": a connection that asks too often is slowed down.
#[tokio::test]
async fn a_connection_past_its_rate_waits_for_its_turn() {
    let doors = Doors::open(World::new().await).await;
    let rights = Rights {
        requests_per_second: Some(4),
        ..Rights::default()
    };
    let made = doors
        .world
        .api
        .keys
        .create_with("acme", Role::Revops, rights, "slow", None);
    let secret = made.await.expect("made").secret;
    let mut asker = doors.enter(Door::Postgres, &secret).await.expect("entered");
    let began = std::time::Instant::now();
    for _ in 0..8 {
        asker.ask("select 1").await.expect("answered in its turn");
    }
    assert!(
        began.elapsed() > std::time::Duration::from_millis(600),
        "{:?}",
        began.elapsed()
    );
}
