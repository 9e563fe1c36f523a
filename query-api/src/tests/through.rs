//! The doors that take SQL over one world, each entered as any caller, with one way to ask.

use std::{net::SocketAddr, sync::Arc};

use arrow::{array::RecordBatch, util::display::array_value_to_string};
use arrow_flight::sql::client::FlightSqlServiceClient;
use axum::http::{Method, StatusCode};
use futures::TryStreamExt as _;
use revgauge_testkit::wire::Wire;
use rustls::{ServerConfig, crypto::ring, server::ResolvesServerCertUsingSni};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::transport::{Channel, Endpoint};

use super::world::World;
use crate::{api::Api, flight::FlightDoor, pg::PgDoor};

/// A door that takes SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Rest,
    Postgres,
    Flight,
    Assistant,
}

impl Door {
    pub(super) const ALL: [Self; 4] = [Self::Rest, Self::Postgres, Self::Flight, Self::Assistant];
}

/// Every door open over one world.
pub(super) struct Doors {
    pub(super) world: World,
    postgres: SocketAddr,
    flight: SocketAddr,
    serving: [JoinHandle<()>; 2],
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.serving.iter().for_each(JoinHandle::abort);
    }
}

/// Serves PostgreSQL clients on a free port.
pub(super) async fn serve_postgres(api: &Arc<Api>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let door = PgDoor::new(Arc::clone(api), None).expect("opens");
    (
        address,
        tokio::spawn(door.serve(listener, std::future::pending())),
    )
}

/// Serves Flight SQL clients on a free port. There is no certificate: plain text from this machine is taken.
pub(super) async fn serve_flight(api: &Arc<Api>) -> (SocketAddr, JoinHandle<()>) {
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let door = FlightDoor::new(Arc::clone(api), Arc::new(tls));
    let serving = tokio::spawn(async move {
        door.serve(listener, std::future::pending())
            .await
            .expect("serves");
    });
    (address, serving)
}

impl Doors {
    pub(super) async fn open(world: World) -> Self {
        let (postgres, pg) = serve_postgres(&world.api).await;
        let (flight, arrow) = serve_flight(&world.api).await;
        Self {
            world,
            postgres,
            flight,
            serving: [pg, arrow],
        }
    }

    /// Enters a door with a key of the world, by name or as it is.
    ///
    /// # Errors
    /// What the door says to who may not enter; some say it only when asked.
    pub(super) async fn enter(&self, door: Door, key: &str) -> Result<Asker<'_>, String> {
        let secret = self
            .world
            .keys
            .get(key)
            .cloned()
            .unwrap_or_else(|| key.to_owned());
        let way = match door {
            Door::Rest => Way::Rest,
            Door::Assistant => Way::Assistant,
            Door::Postgres => {
                let user = secret.split('_').nth(2).unwrap_or("nobody").to_owned();
                let opened = Wire::open(&self.postgres.to_string(), None, &user, &secret).await;
                let wire = opened.map_err(|error| error.to_string())?;
                Way::Postgres(Box::new(
                    wire.map_err(|refusal| format!("{} {}", refusal.code, refusal.message))?,
                ))
            }
            Door::Flight => {
                let channel = Endpoint::new(format!("http://{}", self.flight)).expect("an address");
                let channel = channel.connect().await.map_err(|error| error.to_string())?;
                let mut client = FlightSqlServiceClient::new(channel);
                client.set_token(secret.clone());
                Way::Flight(Box::new(client))
            }
        };
        Ok(Asker {
            world: &self.world,
            secret,
            way,
        })
    }

    /// Asks one statement at a door.
    ///
    /// # Errors
    /// As [`Self::enter`] and [`Asker::ask`].
    pub(super) async fn ask(&self, door: Door, key: &str, sql: &str) -> Result<Vec<String>, String> {
        self.enter(door, key).await?.ask(sql).await
    }
}

/// Someone inside a door.
pub(super) struct Asker<'a> {
    world: &'a World,
    secret: String,
    way: Way,
}

enum Way {
    Rest,
    Postgres(Box<Wire>),
    Flight(Box<FlightSqlServiceClient<Channel>>),
    Assistant,
}

impl Asker<'_> {
    /// Every value of an answer as text, row by row.
    ///
    /// # Errors
    /// What the door says instead of an answer.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Vec<String>, String> {
        match &mut self.way {
            Way::Rest => {
                let bearer = format!("Bearer {}", self.secret);
                let headers = [("content-type", "text/plain"), ("authorization", bearer.as_str())];
                let reply = self.world.call("", Method::POST, "/v1/sql", &headers, sql).await;
                if reply.status != StatusCode::OK {
                    return Err(format!("{} {:?}", reply.text(), reply.headers));
                }
                Ok(values_of(&reply.json()["rows"]))
            }
            Way::Postgres(wire) => {
                let reply = wire.query(sql).await.map_err(|error| error.to_string())?;
                match reply.refusal {
                    Some(refusal) => Err(format!("{} {}", refusal.code, refusal.message)),
                    None => {
                        let copied = String::from_utf8_lossy(&reply.copied).into_owned();
                        let values = reply.texts().into_iter().flatten();
                        Ok(values
                            .chain(Some(copied).filter(|text| !text.is_empty()))
                            .collect())
                    }
                }
            }
            Way::Flight(client) => fetched(client, sql).await,
            Way::Assistant => {
                let arguments = json!({"sql": sql});
                let answer = self.tool("query_sql", &arguments).await?;
                Ok(values_of(&answer["rows"]))
            }
        }
    }

    /// The structured answer of a tool for assistants.
    ///
    /// # Errors
    /// Its words when it fails.
    pub(super) async fn tool(&self, name: &str, arguments: &Value) -> Result<Value, String> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                          "params": {"name": name, "arguments": arguments}});
        let bearer = format!("Bearer {}", self.secret);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2025-06-18"),
            ("host", "revgauge.example"),
        ];
        let reply = self
            .world
            .call("", Method::POST, "/mcp", &headers, &body.to_string())
            .await;
        let answer: Value = serde_json::from_slice(&reply.bytes).unwrap_or(Value::Null);
        let result = &answer["result"];
        if reply.status != StatusCode::OK || result["isError"] == true || !result.is_object() {
            return Err(reply.text());
        }
        Ok(result["structuredContent"].clone())
    }
}

fn values_of(rows: &Value) -> Vec<String> {
    let rows = rows.as_array().into_iter().flatten();
    let values = rows.flat_map(|row| row.as_object().into_iter().flat_map(|row| row.values()));
    values
        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        .collect()
}

async fn fetched(client: &mut FlightSqlServiceClient<Channel>, sql: &str) -> Result<Vec<String>, String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let info = client.execute(sql.to_owned(), None).await;
    let info = info.map_err(|error| words(&error))?;
    let ticket = info
        .endpoint
        .first()
        .and_then(|endpoint| endpoint.ticket.clone())
        .ok_or("no ticket")?;
    let stream = client.do_get(ticket).await.map_err(|error| words(&error))?;
    let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(|error| words(&error))?;
    let mut values = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            for column in batch.columns() {
                values.push(array_value_to_string(column, row).map_err(|error| words(&error))?);
            }
        }
    }
    Ok(values)
}
