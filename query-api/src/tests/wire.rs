//! The PostgreSQL wire, frame by frame: what drivers send, what nobody should send, and what is refused.

use std::{io::ErrorKind, time::Duration};

use revgauge_contract::{access::Role, time::SECOND_US};
use revgauge_testkit::wire::{Ask, Reply, Wire};
use tokio::{task::JoinHandle, time::timeout};

use super::{
    through::serve_postgres,
    world::{TENANTS, World},
};
use crate::settings::ApiSettings;

/// An open door over a world, and where it is.
pub(super) struct Open {
    pub(super) world: World,
    pub(super) address: String,
    serving: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(super) async fn open(world: World) -> Open {
    let (address, serving) = serve_postgres(&world.api).await;
    Open {
        world,
        address: address.to_string(),
        serving,
    }
}

impl Open {
    pub(super) async fn wire(&self) -> Wire {
        let key = &self.world.keys["admin"];
        let user = key.split('_').nth(2).expect("rg_live_<id>_<secret>");
        let opened = Wire::open(&self.address, None, user, key)
            .await
            .expect("connects");
        opened.expect("lets in")
    }
}

fn texts(reply: &Reply) -> Vec<Vec<String>> {
    assert_eq!(reply.refusal, None);
    reply.texts()
}

#[tokio::test]
async fn text_and_binary_values_are_what_was_asked_for() {
    let door = open(World::new().await).await;
    let mut wire = door.wire().await;
    assert_eq!(wire.parameters["server_version"], "16.6");
    let sql = "select 7::bigint, 1.5::double precision, true, 'x', null::text";
    let simple = wire.query(sql).await.expect("answered");
    assert_eq!(texts(&simple), [["7", "1.5", "t", "x", "NULL"]]);
    let kinds: Vec<u32> = simple.columns.iter().map(|(_, kind, _)| *kind).collect();
    assert_eq!(kinds, [20, 701, 16, 25, 25]);
    let binary = Ask {
        sql,
        binary_rows: true,
        ..Ask::default()
    };
    let reply = wire.ask(&binary).await.expect("answered");
    let expected = [
        Some(7_i64.to_be_bytes().to_vec()),
        Some(1.5_f64.to_be_bytes().to_vec()),
        Some(vec![1]),
        Some(b"x".to_vec()),
        None,
    ];
    assert_eq!(reply.rows, [expected.to_vec()]);
    let two = wire
        .query("select 1 as a; select 2 as b")
        .await
        .expect("answered");
    assert_eq!(two.tags.len(), 2);
}

#[tokio::test]
async fn arrays_as_parameters_find_what_they_name() {
    let door = open(World::new().await).await;
    let mut wire = door.wire().await;
    let sql = "select deal_id from deals where deal_id = any($1) order by 1";
    let text: &[u8] = br#"{"d1",d3,"none, at all"}"#;
    // Header: one dimension, no NULL, text; its length and lower bound; each element with its length.
    let mut binary = Vec::new();
    for part in [1_i32, 0, 25, 2, 1] {
        binary.extend_from_slice(&part.to_be_bytes());
    }
    for element in ["d1", "d3"] {
        binary.extend_from_slice(&2_i32.to_be_bytes());
        binary.extend_from_slice(element.as_bytes());
    }
    for (value, binary_values, types) in [
        (text, false, &[][..]),
        (text, false, &[1009][..]),
        (&binary, true, &[1009][..]),
    ] {
        let ask = Ask {
            sql,
            types,
            values: &[Some(value)],
            binary_values,
            ..Ask::default()
        };
        let reply = wire.ask(&ask).await.expect("answered");
        assert_eq!(
            texts(&reply),
            [["d1"], ["d3"]],
            "binary {binary_values}, types {types:?}"
        );
    }
    let reply = wire
        .query("select count(*) from deals where deal_id = any('{d1,d2}') and amount <> all(array[1000])");
    assert_eq!(texts(&reply.await.expect("answered")), [["1"]]);
}

#[tokio::test]
async fn cursors_give_rows_in_turn_and_prepared_statements_take_values() {
    let door = open(World::new().await).await;
    let mut wire = door.wire().await;
    for (sql, rows) in [
        ("begin", vec![]),
        (
            "declare c cursor for select deal_id from deals order by 1",
            vec![],
        ),
        ("fetch 2 from c", vec!["d1", "d2"]),
        ("fetch forward 9 from c", vec!["d3", "d4", "d5"]),
        ("close c", vec![]),
        ("commit", vec![]),
        ("prepare p (int, text) as select $1 + 1 || $2", vec![]),
        ("execute p (41, '!')", vec!["42!"]),
        ("deallocate p", vec![]),
        (
            "select set_config('application_name', 'mine', false)",
            vec!["mine"],
        ),
        ("select current_setting('application_name')", vec!["mine"]),
        ("show application_name", vec!["mine"]),
    ] {
        let reply = wire.query(sql).await.expect("answered");
        let got: Vec<String> = texts(&reply).into_iter().flatten().collect();
        assert_eq!(got, rows, "{sql}");
    }
    assert_eq!(
        wire.query("execute p (1, '')").await.expect("answered").code(),
        "26000"
    );
    // A cursor is described as a portal before it is fetched, as some drivers do.
    wire.query("begin; declare d cursor for select 1 as one")
        .await
        .expect("answered");
    wire.send(b'D', b"Pd\0").await.expect("sent");
    wire.send(b'S', &[]).await.expect("sent");
    let described = wire.reply().await.expect("answered");
    assert_eq!(described.columns[0].0, "one");
    wire.query("rollback").await.expect("answered");
    let some = Ask {
        sql: "select deal_id from deals order by 1",
        max_rows: 2,
        ..Ask::default()
    };
    let reply = wire.ask(&some).await.expect("answered");
    assert_eq!((reply.rows.len(), reply.suspended), (2, true));
}

#[tokio::test]
async fn copy_gives_rows_and_writes_nothing() {
    let door = open(World::new().await).await;
    let mut wire = door.wire().await;
    let reply = wire
        .query("copy (select 1 as a, 'b,c' as b) to stdout (format csv, header)")
        .await;
    assert_eq!(
        String::from_utf8_lossy(&reply.expect("answered").copied),
        "a,b\n1,\"b,c\"\n"
    );
    for (sql, code) in [
        ("insert into deals select * from deals", "25006"),
        ("create table x as select 1", "25006"),
        ("drop table deals", "25006"),
        ("copy deals from stdin", "25006"),
        ("copy (select 1) to '/tmp/revgauge-must-not-exist'", "42501"),
        ("select * from nope", "42P01"),
        ("select nope from deals", "42703"),
        ("select nope(1)", "42883"),
        ("selec 1", "42601"),
        ("select 1 / 0", "22012"),
        ("select 'x'::bigint", "22P02"),
        ("select to_char(now(), 'YYYYSP')", "22000"),
        ("set no_such_setting = 1", "42704"),
    ] {
        let reply = wire.query(sql).await.expect("answered");
        assert_eq!(reply.code(), code, "{sql}: {:?}", reply.refusal);
    }
    assert!(!std::fs::exists("/tmp/revgauge-must-not-exist").expect("looked"));
    let reply = wire
        .query("select to_char(timestamp '2026-02-05', 'YYYY-MM'), to_char(1234.5, 'FM9,999.00')")
        .await;
    assert_eq!(texts(&reply.expect("answered")), [["2026-02", "1,234.50"]]);
    // As Superset writes the ends of a chart's time range.
    for (sql, told) in [
        (
            "select TO_TIMESTAMP('2026-02-05 08:15:30.250000', 'YYYY-MM-DD HH24:MI:SS.US') = timestamp '2026-02-05 08:15:30.25'",
            "t",
        ),
        (
            "select to_timestamp('2026-02-05', 'YYYY-MM-DD') = timestamp '2026-02-05'",
            "t",
        ),
        (
            "select to_date('05.02.2026', 'DD.MM.YYYY') = date '2026-02-05'",
            "t",
        ),
        (
            "select to_timestamp('2026-02-05', '%Y-%m-%d') = timestamp '2026-02-06'",
            "f",
        ),
    ] {
        let reply = wire.query(sql).await.expect("answered");
        assert_eq!(texts(&reply), [[told]], "{sql}");
    }
}

/// A computation far longer than the test.
const ENDLESS: &str = "select count(*) from events a, events b, events c, events d, events e, events f, events g, events h, \
                       events i, events j, events k, events l, events m where a.event_id || b.event_id <> c.event_id";

#[tokio::test]
async fn a_running_query_can_be_cancelled_and_ends_at_its_time() {
    let door = open(World::new().await).await;
    let mut wire = door.wire().await;
    let backend = wire.backend;
    let address = door.address.clone();
    let cancelling = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Wire::cancel(&address, backend).await
    });
    let reply = timeout(Duration::from_secs(20), wire.query(ENDLESS))
        .await
        .expect("in time");
    assert_eq!(reply.expect("answered").code(), "57014");
    cancelling.await.expect("ran").expect("sent");
    wire.query("set statement_timeout = '150ms'")
        .await
        .expect("answered");
    let reply = timeout(Duration::from_secs(20), wire.query(ENDLESS))
        .await
        .expect("in time");
    assert_eq!(reply.expect("answered").code(), "57014");
    let mut other = door.wire().await;
    let reply = other.query("show statement_timeout").await.expect("answered");
    assert_eq!(texts(&reply), [["0"]], "settings are a connection's own");
}

#[tokio::test]
async fn malformed_bytes_end_their_own_connection_only() {
    let door = open(World::new().await).await;
    let mut neighbour = door.wire().await;
    let frames: [&[u8]; 5] = [
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"Q\x7f\xff\xff\xff",
        b"Q\x00\x00\x00\x02",
        b"P\x00\x00\x00\x08\x00\x00\x00\x00",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for frame in frames {
        let mut broken = door.wire().await;
        broken.raw(frame).await.expect("sent");
        // Either it ends, or it answers with an error and waits for the rest; a second of the same ends it.
        let _ = broken.raw(frame).await;
        let _ = timeout(Duration::from_millis(300), broken.reply()).await;
        let mut unborn = Wire::connect(&door.address, None).await.expect("connects");
        let _ = unborn.raw(frame).await;
        let reply = neighbour
            .query("select 1")
            .await
            .expect("the neighbour is served");
        assert_eq!(texts(&reply), [["1"]]);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let door = open(World::new().await).await;
    let mut wire = door.wire().await;
    let many = "select value, value || ' of a row that is long enough to fill what lies between the two ends of a \
                connection soon' from generate_series(1, 900000)";
    let mut query = many.as_bytes().to_vec();
    query.push(0);
    wire.send(b'Q', &query).await.expect("sent");
    // The clock of the door is the test's: a minute passes while nothing is read.
    let limit_us = i64::try_from(door.world.api.settings.postgres.stalled_client_ms).expect("short") * 1_000;
    for _ in 0..25 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        door.world.clock.advance(limit_us / 4 + SECOND_US);
    }
    let ended = timeout(Duration::from_secs(20), wire.reply())
        .await
        .expect("in time");
    let kind = ended.expect_err("cut off in the middle").kind();
    assert!(
        matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
        "{kind}"
    );
    assert_eq!(
        texts(&door.wire().await.query("select 1").await.expect("answered")),
        [["1"]]
    );
}

#[tokio::test]
async fn whatever_is_wrong_with_credentials_the_answer_is_the_same() {
    let door = open(World::new().await).await;
    let store = &door.world.api.keys;
    let expired = store
        .create(TENANTS[0], Role::Admin, "expired", Some(0))
        .await
        .expect("made");
    let revoked = store
        .create(TENANTS[0], Role::Admin, "revoked", None)
        .await
        .expect("made");
    store
        .revoke(TENANTS[0], &revoked.info.key_id)
        .await
        .expect("revoked");
    let (good, good_id) = (
        &door.world.keys["admin"],
        door.world.keys["admin"].split('_').nth(2).expect("id"),
    );
    for (case, user, key) in [
        ("expired", expired.info.key_id.as_str(), expired.secret.as_str()),
        ("revoked", &revoked.info.key_id, &revoked.secret),
        ("another's key", &revoked.info.key_id, good),
        ("a wrong secret", good_id, &expired.secret),
        ("garbage", "nobody", "x"),
    ] {
        let refused = Wire::open(&door.address, None, user, key)
            .await
            .expect("answered");
        let refusal = refused.expect_err(case);
        let expected = format!("password authentication failed for user \"{user}\"");
        assert_eq!(
            (refusal.code.as_str(), refusal.message),
            ("28P01", expected),
            "{case}"
        );
    }
    let service = &door.world.keys["service"];
    let id = service.split('_').nth(2).expect("id");
    let refused = Wire::open(&door.address, None, id, service)
        .await
        .expect("answered");
    assert_eq!(refused.expect_err("may not read").code, "42501");
}

/// Vectors of the catalogue are counted from 0: what psqlODBC asks for the key of a table.
#[tokio::test]
async fn the_key_of_a_table_is_found_by_its_place_in_the_index() {
    let door = open(World::new().await).await;
    let mut wire = door.wire().await;
    let sql = "select ta.attname, ia.attnum, ic.relname, n.nspname, tc.relname from pg_catalog.pg_attribute ta, \
               pg_catalog.pg_attribute ia, pg_catalog.pg_class tc, pg_catalog.pg_index i, pg_catalog.pg_namespace n, \
               pg_catalog.pg_class ic where tc.relname = 'deals' AND n.nspname = 'public' AND tc.oid = i.indrelid \
               AND n.oid = tc.relnamespace AND i.indisprimary = 't' AND ia.attrelid = i.indexrelid \
               AND ta.attrelid = i.indrelid AND ta.attnum = i.indkey[ia.attnum-1] AND (NOT ta.attisdropped) \
               AND (NOT ia.attisdropped) AND ic.oid = i.indexrelid order by ia.attnum";
    let reply = wire.query(sql).await.expect("answered");
    assert_eq!(texts(&reply), [["deal_id", "1", "deals_pkey", "public", "deals"]]);
}

/// What `\d+ deals` and `\dv+` show beside names.
#[tokio::test]
async fn tables_and_columns_are_described() {
    let door = open(World::new().await).await;
    let mut wire = door.wire().await;
    let of_columns = "select a.attname, pg_catalog.col_description(a.attrelid, a.attnum) from pg_catalog.pg_attribute a \
                      join pg_catalog.pg_class c on c.oid = a.attrelid where c.relname = 'deals' and a.attname = 'stage'";
    let reply = wire.query(of_columns).await.expect("answered");
    assert_eq!(texts(&reply), [["stage", "stage"]]);
    let of_tables = "select c.relname, pg_catalog.obj_description(c.oid, 'pg_class') from pg_catalog.pg_class c \
                     where c.relname = 'alerts'";
    let reply = wire.query(of_tables).await.expect("answered");
    assert_eq!(texts(&reply), [["alerts", "one row per alert that holds now"]]);
}

#[tokio::test]
async fn the_wall_stands_at_this_door_too() {
    let settings = ApiSettings::default();
    let door = open(World::with(settings).await).await;
    let mut wire = door.wire().await;
    for sql in [
        "select * from events",
        "select * from deals",
        "select * from scores",
        "select * from pg_catalog.pg_description",
        "select * from pg_catalog.pg_class",
        "explain analyze select * from events",
        "select (select count(*) from events e where e.deal_id = d.deal_id) from deals d",
    ] {
        let reply = wire.query(sql).await.expect("answered");
        assert_eq!(reply.refusal, None, "{sql}");
        let told = format!("{:?}", reply.texts());
        assert!(!told.contains(super::world::CANARY), "{sql}");
    }
    let counted = wire.query("select (select count(*) from events e where e.deal_id = d.deal_id) from deals d order by 1 desc limit 1");
    assert_eq!(
        texts(&counted.await.expect("answered")),
        [["6"]],
        "a correlated subquery counts"
    );
}
