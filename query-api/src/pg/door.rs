//! The listening socket: TLS, the number of connections, and one task a connection.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use pgwire::{
    api::{
        ErrorHandler, PgWireServerHandlers,
        auth::StartupHandler,
        cancel::CancelHandler,
        query::{ExtendedQueryHandler, SimpleQueryHandler},
    },
    messages::startup::SecretKey,
    tokio::process_socket,
};
use rand::{RngCore as _, TryRngCore as _, rngs::OsRng};
use revgauge_contract::access::Caller;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

use super::{
    cancel::{CancelDoor, Cancels},
    catalog::{PgBase, TenantCatalog},
    connection::Connection,
    login::{Login, Step},
    queries::{Parser, Queries},
};
use crate::{api::Api, settings::PostgresSettings, sql::sees_audit};

/// How often a connection is looked at whose client may have stopped reading.
const WATCH: Duration = Duration::from_secs(1);

/// What keeps the door from opening.
#[derive(Debug, thiserror::Error)]
pub enum PgDoorError {
    /// The catalogue of PostgreSQL could not be set up.
    #[error("cannot set up the catalogue of PostgreSQL: {0}")]
    Catalog(String),
    /// The operating system gave no randomness.
    #[error("cannot draw a secret: {0}")]
    Random(String),
}

/// What all connections share.
pub(super) struct Shared {
    api: Arc<Api>,
    settings: PostgresSettings,
    base: Arc<PgBase>,
    cancels: Arc<Cancels>,
    /// Makes the answers to users that are none the same each time.
    pub(super) secret: [u8; 32],
    catalogs: Mutex<HashMap<CatalogKey, Arc<TenantCatalog>>>,
}

/// A tenant, and whether the caller is shown the audit log.
type CatalogKey = (Arc<str>, bool);

impl Shared {
    /// The catalogue of a caller, the same for all connections of its tenant that are shown the same tables.
    pub(super) fn catalog_of(
        &self,
        caller: &Caller,
    ) -> Result<Arc<TenantCatalog>, datafusion::common::DataFusionError> {
        let mut catalogs = self.catalogs.lock();
        let key = (Arc::clone(&caller.tenant_id), sees_audit(caller));
        if let Some(known) = catalogs.get(&key) {
            return Ok(Arc::clone(known));
        }
        let fresh = Arc::new(TenantCatalog::new(&self.base)?);
        catalogs.insert(key, Arc::clone(&fresh));
        Ok(fresh)
    }
}

/// The PostgreSQL door.
#[derive(Clone)]
pub struct PgDoor {
    shared: Arc<Shared>,
    tls: Option<Arc<ServerConfig>>,
    places: Arc<Semaphore>,
}

impl fmt::Debug for PgDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgDoor")
            .field("settings", &self.shared.settings)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl PgDoor {
    /// Makes the door; without `tls` clients that want it are told there is none.
    ///
    /// # Errors
    /// When the catalogue cannot be set up or the system gives no randomness.
    pub fn new(api: Arc<Api>, tls: Option<Arc<ServerConfig>>) -> Result<Self, PgDoorError> {
        let base = PgBase::new(&api.base_session).map_err(|error| PgDoorError::Catalog(error.to_string()))?;
        let mut secret = [0_u8; 32];
        OsRng
            .try_fill_bytes(&mut secret)
            .map_err(|error| PgDoorError::Random(error.to_string()))?;
        let settings = api.settings.postgres.clone();
        let places = Arc::new(Semaphore::new(settings.connections));
        let shared = Arc::new(Shared {
            api,
            settings,
            base: Arc::new(base),
            cancels: Arc::new(Cancels::default()),
            secret,
            catalogs: Mutex::default(),
        });
        Ok(Self { shared, tls, places })
    }

    /// Serves until `stop` is done. Open connections end with it.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let mut connections = tokio::task::JoinSet::new();
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, _)) => {
                    let door = self.clone();
                    connections.spawn(async move { door.connection(socket).await });
                }
                Err(error) => tracing::warn!(%error, "a connection could not be accepted"),
            }
        }
        connections.shutdown().await;
    }

    async fn connection(self, socket: TcpStream) {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let mut random = OsRng.unwrap_err();
        let secret = SecretKey::I32(i32::from_ne_bytes(random.next_u32().to_ne_bytes()));
        let nonce = format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
        let (pid, cancelled) = self.shared.cancels.register(secret.clone());
        let connection = Arc::new(Connection::new(
            Arc::clone(&self.shared.api),
            self.shared.settings.clone(),
            Arc::clone(&self.shared.base),
            cancelled,
        ));
        let handlers = Handlers {
            login: Arc::new(Login {
                shared: Arc::clone(&self.shared),
                connection: Arc::clone(&connection),
                pid,
                secret,
                nonce,
                full: place.is_none(),
                step: Mutex::new(Step::default()),
            }),
            queries: Arc::new(Queries {
                connection: Arc::clone(&connection),
                parser: Arc::new(Parser {
                    connection: Arc::clone(&connection),
                }),
            }),
            cancel: Arc::new(CancelDoor(Arc::clone(&self.shared.cancels))),
        };
        let tls = self.tls.map(TlsAcceptor::from);
        let serving = process_socket(socket, tls, handlers);
        tokio::select! {
            ended = Box::pin(serving) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke off");
                }
            }
            () = unread(&connection) => tracing::info!(pid, "a client that stopped reading was dropped"),
        }
        self.shared.cancels.forget(pid);
    }
}

/// Done when the client has left rows unread for longer than the setting.
async fn unread(connection: &Connection) {
    let mut watch = tokio::time::interval(WATCH);
    loop {
        watch.tick().await;
        if connection.stalled() {
            return;
        }
    }
}

struct Handlers {
    login: Arc<Login>,
    queries: Arc<Queries>,
    cancel: Arc<CancelDoor>,
}

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.queries)
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::clone(&self.queries)
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::clone(&self.login)
    }

    fn error_handler(&self) -> Arc<impl ErrorHandler> {
        Arc::new(Logged)
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::clone(&self.cancel)
    }
}

struct Logged;

impl ErrorHandler for Logged {
    fn on_error<C>(&self, _: &C, error: &mut pgwire::error::PgWireError) {
        tracing::debug!(%error, "a statement failed");
    }
}
