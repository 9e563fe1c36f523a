//! Q-1 (`Invariant::TenantWall`): no canary of the other tenant leaves by any door.

use axum::http::{Method, StatusCode};
use revgauge_contract::invariant::Invariant;

use super::world::{CANARY, Reply, World};

fn clean(what: &str, reply: &Reply) {
    let headers = format!("{:?}", reply.headers);
    let leaked = reply.text().contains(CANARY) || headers.contains(CANARY);
    assert!(
        Invariant::TenantWall.check(!leaked, what),
        "{what} leaked: {}",
        reply.text()
    );
}

#[tokio::test]
async fn sql_cannot_reach_another_tenant() {
    let world = World::new().await;
    for sql in [
        "select * from events",
        "select * from events where tenant_id = 'umbrella'",
        "select * from events where tenant_id <> 'acme' or true",
        "select * from revgauge.public.events",
        "select * from score_changes",
        "select * from crm_state",
        "select * from scores",
        "select * from scores where entity_kind = 'contact' and entity_id = 'c1'",
        "select * from contacts",
        "select * from accounts",
        "select * from deals",
        "select * from alerts",
        "select * from people",
        "select * from duplicate_companies",
        "select * from scores_as_of('2026-01-01')",
        "select * from pipeline_as_of('2026-01-01')",
        "select a.payload, b.payload from events a join events b on a.tenant_id <> b.tenant_id",
        "select a.payload, b.payload from events a cross join events b",
        "select payload from events union all select detail from score_changes union all select fields from deals",
        "select (select max(payload) from events), (select min(payload) from events)",
        "select * from events where payload in (select payload from events where tenant_id = 'umbrella')",
        "select * from events e where exists (select 1 from events x where x.payload > e.payload)",
        "with recursive r as (select payload from events union select payload from events) select * from r",
        "select first_value(payload) over (order by tenant_id desc) from events",
        "select array_agg(payload), max(payload), min(payload), string_agg(payload, ',') from events",
        "select approx_distinct(payload), approx_percentile_cont(value, 0.5) from events",
        "select cast(payload as int) from events",
        "select cast(event_id as int) from events where cast(event_id as int) = 1",
        "select * from events where 1 / (case when event_id like '%CANARY%' then 0 else 1 end) = 1",
        "select * from scores where 1 / (case when name like '%CANARY%' then 0 else 1 end) = 1",
        "select payload->>'subject', json_get(payload, 'n') from events",
        "select * from information_schema.tables",
        "select * from information_schema.columns",
        "select * from information_schema.views",
        "select * from information_schema.schemata",
        "select * from information_schema.df_settings",
        "show tables",
        "describe events",
        "select * from table_columns",
        "explain select * from events where event_id > 'a'",
        "explain verbose select * from events, scores",
        "explain analyze select * from events where payload like '%x%'",
        "explain analyze verbose select count(*) from events",
        "explain format tree select * from scores",
        "select * from nonsense",
        "select nonsense from events",
        "select * from events('umbrella')",
        "select * from scores_as_of('umbrella')",
        "select * from scores_as_of('2026-01-01', 'umbrella')",
        "select * from events order by tenant_id desc limit 3",
        "select tenant_id, count(*) from events group by rollup (tenant_id)",
    ] {
        let reply = world.sql("revops", sql).await;
        assert_ne!(
            reply.status,
            StatusCode::INTERNAL_SERVER_ERROR,
            "{sql}: {}",
            reply.text()
        );
        if reply.text().contains(CANARY) {
            // The text of the query itself may come back in an error.
            assert!(sql.contains(CANARY), "{sql} leaked: {}", reply.text());
            assert!(
                !reply.text().contains("CANARY-"),
                "{sql} leaked: {}",
                reply.text()
            );
        }
    }
}

#[tokio::test]
async fn counts_are_of_the_caller_only() {
    let world = World::new().await;
    for (key, sql, wanted) in [
        ("revops", "select count(*) n from events", 6),
        ("foreign", "select count(*) n from events", 6),
        ("revops", "select count(distinct tenant_id) n from events", 1),
        ("revops", "select count(*) n from scores", 30),
        (
            "revops",
            "select count(*) n from scores where entity_id = 'c1'",
            4,
        ),
        ("revops", "select count(*) n from events a, events b", 36),
    ] {
        let rows = world.sql(key, sql).await.json();
        assert_eq!(rows["rows"][0]["n"], wanted, "{sql}");
    }
    // The same doors do show it to the other tenant, so the canary is really there.
    assert!(
        world
            .sql("foreign", "select * from events")
            .await
            .text()
            .contains("CANARY-")
    );
}

#[tokio::test]
async fn rest_and_feed_cannot_reach_another_tenant() {
    let world = World::new().await;
    for tenant in super::world::TENANTS {
        world.feed.append(tenant, "c1");
    }
    let mut paths = vec![
        "/v1/scores".to_owned(),
        "/v1/scores?as_of=2026-01-01T00:00:00Z".to_owned(),
        "/v1/alerts".to_owned(),
        "/v1/accounts/duplicates".to_owned(),
        "/v1/score-feed".to_owned(),
        "/v1/data-health".to_owned(),
        "/v1/dead-letters".to_owned(),
        "/v1/keys".to_owned(),
        "/v1/pipelines".to_owned(),
        "/v1/openapi.json".to_owned(),
        "/v1/deals/d1/stakeholders".to_owned(),
        "/metrics".to_owned(),
        "/v1/nothing".to_owned(),
        "/v1/contacts/CANARY-p1@acme.io".to_owned(),
    ];
    for (kind, id) in [("contacts", "c1"), ("accounts", "a1"), ("deals", "d1")] {
        paths.push(format!("/v1/{kind}"));
        for rest in [
            "",
            "/scores",
            "/scores/history",
            "/explain",
            "/changes?from=2026-01-01",
            "/timeline",
        ] {
            paths.push(format!("/v1/{kind}/{id}{rest}"));
        }
    }
    for path in paths {
        let reply = world.get("admin", &path).await;
        assert!(reply.status.as_u16() < 500, "{path}: {}", reply.text());
        if !path.contains(CANARY) {
            clean(&path, &reply);
        }
        assert!(!reply.text().contains("umbrella"), "{path}: {}", reply.text());
    }
    let stolen = world.get("foreign", "/v1/keys").await.json()["items"][0]["key_id"].clone();
    let path = format!("/v1/keys/{}", stolen.as_str().expect("id"));
    let reply = world.call("admin", Method::DELETE, &path, &[], "").await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND, "another tenant's key");
}
