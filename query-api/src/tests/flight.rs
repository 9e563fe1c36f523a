//! The Flight SQL door, spoken to by the client of the Arrow project.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{AsArray as _, Int64Array, RecordBatch, StringArray},
    datatypes::Int64Type,
};
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetTables, CommandGetXdbcTypeInfo, SqlInfo, client::FlightSqlServiceClient,
};
use futures::TryStreamExt as _;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinHandle};
use tonic::transport::{Channel, Endpoint};

use super::{
    through::serve_flight,
    world::{CANARY, World},
};
use crate::settings::{ApiSettings, FlightSettings, SqlSettings};

struct Open {
    world: World,
    address: String,
    serving: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn open() -> Open {
    open_with(ApiSettings::default()).await
}

async fn open_with(settings: ApiSettings) -> Open {
    let world = World::with(settings).await;
    let (address, serving) = serve_flight(&world.api).await;
    Open {
        world,
        address: format!("http://{address}"),
        serving,
    }
}

impl Open {
    async fn client(&self, key: &str) -> FlightSqlServiceClient<Channel> {
        let channel = Endpoint::new(self.address.clone())
            .expect("an address")
            .connect()
            .await
            .expect("connects");
        let mut client = FlightSqlServiceClient::new(channel);
        client.set_token(
            self.world
                .keys
                .get(key)
                .cloned()
                .unwrap_or_else(|| key.to_owned()),
        );
        client
    }
}

type Client = FlightSqlServiceClient<Channel>;

async fn fetched(client: &mut Client, info: arrow_flight::FlightInfo) -> Vec<RecordBatch> {
    let ticket = info.endpoint[0].ticket.clone().expect("a ticket");
    client
        .do_get(ticket)
        .await
        .expect("begins")
        .try_collect()
        .await
        .expect("rows")
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

#[tokio::test]
async fn statements_plain_and_prepared_give_rows() {
    let door = open().await;
    let mut client = door.client("revops").await;
    let info = client
        .execute("SELECT 6 * 7 AS n".to_owned(), None)
        .await
        .expect("planned");
    let batches = fetched(&mut client, info).await;
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), 42);
    let sql = "SELECT deal_id FROM deals WHERE amount >= $1 AND stage <> $2 ORDER BY 1";
    let mut prepared = client.prepare(sql.to_owned(), None).await.expect("prepared");
    assert_eq!(
        prepared.dataset_schema().expect("known").field(0).name(),
        "deal_id"
    );
    assert_eq!(prepared.parameter_schema().expect("known").fields().len(), 2);
    let bound = RecordBatch::try_from_iter([
        (
            "$1",
            Arc::new(Int64Array::from(vec![4_000])) as arrow::array::ArrayRef,
        ),
        (
            "$2",
            Arc::new(StringArray::from(vec!["won"])) as arrow::array::ArrayRef,
        ),
    ]);
    prepared.set_parameters(bound.expect("one row")).expect("fits");
    let info = prepared.execute().await.expect("runs");
    let batches = fetched(&mut client, info).await;
    let ids: Vec<&str> = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten())
        .collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    prepared.close().await.expect("closed");
}

#[tokio::test]
async fn what_there_is_can_be_listed() {
    let door = open().await;
    let mut client = door.client("revops").await;
    let info = client.get_catalogs().await.expect("catalogs");
    assert_eq!(rows(&fetched(&mut client, info).await), 1);
    let info = client
        .get_db_schemas(CommandGetDbSchemas::default())
        .await
        .expect("schemas");
    assert_eq!(rows(&fetched(&mut client, info).await), 1);
    let all = CommandGetTables {
        include_schema: true,
        ..CommandGetTables::default()
    };
    let info = client.get_tables(all).await.expect("tables");
    let tables = fetched(&mut client, info).await;
    assert!(rows(&tables) >= 8 && !format!("{tables:?}").contains(CANARY));
    let some = CommandGetTables {
        table_name_filter_pattern: Some("deal%".to_owned()),
        ..CommandGetTables::default()
    };
    let info = client.get_tables(some).await.expect("tables");
    assert_eq!(rows(&fetched(&mut client, info).await), 1);
    let info = client.get_table_types().await.expect("types");
    assert_eq!(rows(&fetched(&mut client, info).await), 1);
    let info = client
        .get_sql_info(vec![SqlInfo::FlightSqlServerName])
        .await
        .expect("info");
    assert_eq!(rows(&fetched(&mut client, info).await), 1);
    let info = client
        .get_xdbc_type_info(CommandGetXdbcTypeInfo::default())
        .await
        .expect("types");
    assert!(rows(&fetched(&mut client, info).await) >= 6);
    let keys = arrow_flight::sql::CommandGetPrimaryKeys {
        table: "deals".to_owned(),
        ..Default::default()
    };
    let info = client.get_primary_keys(keys).await.expect("keys");
    assert_eq!(rows(&fetched(&mut client, info).await), 1);
}

#[tokio::test]
async fn credentials_and_writes_are_refused_alike() {
    let door = open().await;
    for key in [
        "garbage",
        "rg_live_AAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "service",
    ] {
        let refused = door
            .client(key)
            .await
            .execute("SELECT 1".to_owned(), None)
            .await
            .expect_err(key)
            .to_string();
        let says = if key == "service" {
            "service key"
        } else {
            "valid API key"
        };
        assert!(refused.contains(says), "{refused}");
    }
    let mut client = door.client("revops").await;
    for (sql, says) in [
        ("DROP TABLE deals", "only reads"),
        ("SELECT * FROM nope", "nope"),
        ("SELEC 1", "SELEC"),
    ] {
        let refused = client
            .prepare(sql.to_owned(), None)
            .await
            .expect_err(sql)
            .to_string();
        assert!(refused.contains(says), "{refused}");
        let refused = client
            .execute(sql.to_owned(), None)
            .await
            .expect_err(sql)
            .to_string();
        assert!(refused.contains(says), "{refused}");
    }
    let updated = client
        .execute_update("DELETE FROM deals".to_owned(), None)
        .await
        .expect_err("a write")
        .to_string();
    assert!(updated.contains("only reads"), "{updated}");
    // The handshake gives the key back as bearer; a user name is the key's id or `revgauge`.
    let key = door.world.keys["revops"].clone();
    let mut basic = door.client("garbage").await;
    basic.clear_token();
    basic.handshake("revgauge", &key).await.expect("let in");
    basic
        .execute("SELECT 1".to_owned(), None)
        .await
        .expect("with the bearer");
    let mut other = door.client("garbage").await;
    other.clear_token();
    assert!(other.handshake("somebody", &key).await.is_err());
}

#[tokio::test]
async fn a_statement_belongs_to_the_key_that_prepared_it() {
    let door = open().await;
    let mut maker = door.client("revops").await;
    let mut prepared = maker
        .prepare("SELECT * FROM events".to_owned(), None)
        .await
        .expect("prepared");
    let info = prepared.execute().await.expect("runs");
    let ticket = info.endpoint[0].ticket.clone().expect("a ticket");
    let own = fetched(&mut maker, info).await;
    assert!(rows(&own) == 6 && !format!("{own:?}").contains(CANARY));
    for stranger in ["admin", "foreign"] {
        let refused = door
            .client(stranger)
            .await
            .do_get(ticket.clone())
            .await
            .expect_err("not its own");
        assert!(refused.to_string().contains("no prepared statement"), "{refused}");
    }
}

#[tokio::test]
async fn malformed_bytes_end_their_own_connection_only() {
    let door = open().await;
    let mut neighbour = door.client("revops").await;
    let address = door.address.trim_start_matches("http://");
    let frames: [&[u8]; 5] = [
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        // A handshake of TLS that is none.
        b"\x16\x03\x01\xff\xff\x01\x00",
        // HTTP/2, then a frame far above every limit, and one for a stream that was never opened.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x04\x08\x00\x00\x00\x00\x09\x00\x00\x00\x00",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for frame in frames {
        let mut broken = TcpStream::connect(address).await.expect("connects");
        broken.write_all(frame).await.expect("sent");
        let _ = broken.write_all(frame).await;
        let info = neighbour
            .execute("SELECT 1".to_owned(), None)
            .await
            .expect("the neighbour is served");
        assert_eq!(rows(&fetched(&mut neighbour, info).await), 1);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_query_and_holds_up_nobody() {
    let door = open_with(ApiSettings {
        sql: SqlSettings {
            timeout_ms: 4_000,
            concurrent_queries_per_tenant: 1,
            queue_ms: 500,
            ..SqlSettings::default()
        },
        flight: FlightSettings {
            max_rows: 100_000_000,
            ..FlightSettings::default()
        },
        ..ApiSettings::default()
    })
    .await;
    let mut client = door.client("revops").await;
    // More than fits between the two ends.
    let many =
        "SELECT value, value || ' of a row that is long enough' AS text FROM generate_series(1, 20000000)";
    let info = client.execute(many.to_owned(), None).await.expect("planned");
    let ticket = info.endpoint[0].ticket.clone().expect("a ticket");
    // Connected and planned before, so that nothing but the question itself falls into the time of the unread query.
    let mut other = door.client("admin").await;
    let info = other.execute("SELECT 1".to_owned(), None).await.expect("planned");
    let neighbours = info.endpoint[0].ticket.clone().expect("a ticket");
    let unread = client.do_get(ticket).await.expect("begins");
    // The only place of the tenant is taken, until the time of the query is over though nobody reads it.
    let mut refused = 0;
    let answer = loop {
        match other.do_get(neighbours.clone()).await {
            Ok(answer) => break answer,
            Err(error) => {
                assert!(error.to_string().contains("running already"), "{error}");
                refused += 1;
                assert!(refused < 100, "the place is never free again");
            }
        }
    };
    let answer: Vec<RecordBatch> = answer.try_collect().await.expect("rows");
    assert_eq!(rows(&answer), 1);
    assert!(refused > 0, "the unread query ran while the other was answered");
    let read: Result<Vec<RecordBatch>, _> =
        tokio::time::timeout(Duration::from_secs(20), unread.try_collect())
            .await
            .expect("the stream ends");
    let refused = read.expect_err("cut off in the middle").to_string();
    assert!(refused.contains("time") || refused.contains("limit"), "{refused}");
}
