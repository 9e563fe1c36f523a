//! SQL reads and does nothing else, and every refusal says what to do.

use serde_json::json;

use super::world::World;

#[tokio::test]
async fn everything_that_could_write_is_refused() {
    let world = World::new().await;
    for sql in [
        "create table x as select 1",
        "create external table x stored as parquet location '/etc'",
        "create view v as select 1",
        "create schema s",
        "create function f() returns int return 1",
        "drop table events",
        "insert into events select * from events",
        "update events set payload = ''",
        "delete from events",
        "truncate table events",
        "copy events to '/tmp/x.parquet'",
        "copy (select 1) to 'x.csv'",
        "set datafusion.execution.batch_size = 1",
        "reset datafusion.execution.batch_size",
        "prepare p as select 1",
        "begin",
        "explain insert into events select * from events",
        "explain copy events to 'x'",
    ] {
        let reply = world.sql("revops", sql).await;
        let problem = reply.json();
        assert_eq!(
            (reply.status.as_u16(), problem["code"].as_str()),
            (403, Some("read_only")),
            "{sql}: {problem}"
        );
        assert!(
            problem["hint"]
                .as_str()
                .is_some_and(|hint| hint.contains("SELECT")),
            "{sql}"
        );
    }
    assert!(!std::fs::exists("/tmp/x.parquet").expect("looks"));
}

#[tokio::test]
async fn files_and_urls_are_no_tables() {
    let world = World::new().await;
    for sql in [
        "select * from '/etc/passwd'",
        "select * from 'file:///etc/passwd'",
        "select * from \"https://example.com/x.parquet\"",
        "select * from read_csv('/etc/passwd')",
        "select * from read_parquet('x')",
    ] {
        let reply = world.sql("revops", sql).await;
        let code = reply.json()["code"].as_str().unwrap_or_default().to_owned();
        assert!(
            ["unknown_table", "unknown_function", "sql_syntax", "invalid_query"].contains(&code.as_str()),
            "{sql}: {}",
            reply.text()
        );
    }
}

#[tokio::test]
async fn mistakes_are_named() {
    let world = World::new().await;
    for (sql, code, hint) in [
        ("selekt 1", "sql_syntax", "dialect"),
        ("", "sql_syntax", "SELECT"),
        ("select 1; select 2", "invalid_query", ""),
        ("select contact_idd from events", "unknown_column", "contact_id"),
        ("select * from evnts", "unknown_table", "SHOW TABLES"),
        ("select nosuch(1)", "unknown_function", "routines"),
        ("select * from nosuch(1)", "unknown_function", "scores_as_of"),
        ("select cast('x' as int)", "execution_failed", ""),
        ("select * from scores_as_of('yesterday')", "invalid_query", ""),
        ("select * from scores_as_of('2199-01-01')", "invalid_query", ""),
        ("select * from scores_as_of()", "invalid_query", ""),
    ] {
        let reply = world.sql("revops", sql).await;
        let problem = reply.json();
        assert_eq!(problem["code"], code, "{sql}: {problem}");
        assert!(reply.status.is_client_error(), "{sql}");
        assert_eq!(reply.headers["content-type"], "application/problem+json");
        let given = problem["hint"].as_str().unwrap_or_default();
        assert!(given.contains(hint), "{sql}: {problem}");
    }
}

#[tokio::test]
async fn the_tables_are_listed_and_documented() {
    let world = World::new().await;
    let listed = world.sql("revops", "show tables").await.text();
    for name in [
        "events",
        "score_changes",
        "scores",
        "contacts",
        "accounts",
        "deals",
        "alerts",
        "people",
        "duplicate_companies",
    ] {
        assert!(listed.contains(&format!("\"{name}\"")), "{name} in {listed}");
    }
    let sql = "select description from table_columns where table_name = 'scores' and column_name = 'tier'";
    let answer = world.sql("revops", sql).await.json();
    assert_eq!(
        answer["rows"][0]["description"],
        "tier or band, where the score has one"
    );
}

#[tokio::test]
async fn parameters_are_values_and_never_sql() {
    let world = World::new().await;
    let body = json!({
        "sql": "select count(*) n from events where contact_id = $1 and event_time < now() and $2 > 1",
        "params": ["c1", 2]
    });
    let answer = world.sql_json("revops", body).await;
    assert_eq!(answer.json()["rows"][0]["n"], 6, "{}", answer.text());
    let body =
        json!({"sql": "select count(*) n from events where contact_id = $1", "params": ["x' or '1'='1"]});
    assert_eq!(world.sql_json("revops", body).await.json()["rows"][0]["n"], 0);
    let body = json!({"sql": "select $1", "params": [[1]]});
    assert_eq!(
        world.sql_json("revops", body).await.json()["code"],
        "bad_parameter"
    );
    let body = json!({"sql": "select $1"});
    assert_eq!(world.sql_json("revops", body).await.status.as_u16(), 400);
}

#[tokio::test]
async fn now_is_no_instant_still_to_come() {
    let world = World::new().await;
    for from in [
        "scores_as_of(now())",
        "pipeline_as_of(now())",
        "forecast_as_of(now())",
        "forecast_rows_as_of(now())",
        "forecast_by_node(now())",
        "forecast_accuracy(now())",
        "waterfall(now() - interval '7 days', now())",
        "attribution('linear', now() - interval '90 days', now(), now())",
    ] {
        let reply = world.sql("revops", &format!("select * from {from}")).await;
        assert_eq!(reply.status.as_u16(), 200, "{from}: {}", reply.text());
    }
    let ahead = world
        .sql(
            "revops",
            "select * from scores_as_of(now() + interval '1 minute')",
        )
        .await
        .text();
    assert!(ahead.contains("still to come"), "{ahead}");
}
