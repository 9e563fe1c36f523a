//! Numbers of the doors. Components are in `ApiParts`, never here.

use serde::{Deserialize, Serialize};

pub use crate::access::{AccessSettings, AuditSettings, KeySettings, OidcSettings, UserSettings};
pub use crate::reports::{DeliverySettings, SmtpSettings, SmtpTls};
pub use crate::web::WebSettings;

/// Settings of all doors out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiSettings {
    /// Requests in general.
    pub http: HttpSettings,
    /// Which rows and fields each role sees.
    pub access: AccessSettings,
    /// Identity providers that vouch for callers.
    pub oidc: OidcSettings,
    /// Who read, changed or was refused what.
    pub audit: AuditSettings,
    /// SQL.
    pub sql: SqlSettings,
    /// The score feed.
    pub feed: FeedSettings,
    /// The PostgreSQL wire.
    pub postgres: PostgresSettings,
    /// Arrow Flight SQL.
    pub flight: FlightSettings,
    /// The door for assistants.
    pub assistant: AssistantSettings,
    /// Queries whose answer is fetched later.
    pub later: LaterSettings,
    /// People who sign in.
    pub users: UserSettings,
    /// Dashboards.
    pub web: WebSettings,
    /// Saved reports, and their delivery by file, webhook and mail.
    pub deliveries: DeliverySettings,
}

/// The PostgreSQL door. Memory, rows and time of a query are those of [`SqlSettings`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostgresSettings {
    /// Whether the door is open.
    pub enabled: bool,
    /// Address; port 0 takes a free one.
    pub listen: String,
    /// PEM file of the certificate chain; without it and `tls_key` the door makes a certificate of its own at start,
    /// which clients must not verify (`sslmode=require`).
    pub tls_certificate: Option<std::path::PathBuf>,
    /// PEM file of the certificate's private key.
    pub tls_key: Option<std::path::PathBuf>,
    /// Connections open at the same time.
    pub connections: usize,
    /// How long a client may leave rows unread before its connection is dropped, milliseconds.
    pub stalled_client_ms: u64,
    /// Cursors one connection may hold open.
    pub cursors_per_connection: usize,
    /// Statements one connection may keep by `PREPARE`.
    pub statements_per_connection: usize,
    /// How long a statement waits when its key makes more requests than it may, milliseconds; then it is refused.
    pub rate_wait_ms: u64,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: "127.0.0.1:5433".to_owned(),
            tls_certificate: None,
            tls_key: None,
            connections: 200,
            stalled_client_ms: 60_000,
            cursors_per_connection: 16,
            statements_per_connection: 256,
            rate_wait_ms: 1_000,
        }
    }
}

/// The door for assistants. Memory of a query is that of [`SqlSettings`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AssistantSettings {
    /// Most rows of one answer.
    pub max_rows: usize,
    /// Time of one query, milliseconds.
    pub timeout_ms: u64,
    /// Longest answer, bytes of JSON; a longer one is refused with advice.
    pub max_answer_bytes: usize,
}

impl Default for AssistantSettings {
    fn default() -> Self {
        Self {
            max_rows: 500,
            timeout_ms: 20_000,
            max_answer_bytes: 256 << 10,
        }
    }
}

/// Queries whose answer is fetched later. Memory and rows of a query are those of [`SqlSettings`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaterSettings {
    /// Queries and results one key may hold.
    pub queries_per_key: usize,
    /// Longest result, bytes as it is sent.
    pub result_bytes: usize,
    /// All results together, bytes.
    pub total_bytes: usize,
    /// Longest time of a query, milliseconds.
    pub timeout_ms: u64,
    /// How long a result is kept, milliseconds.
    pub keep_ms: u64,
}

impl Default for LaterSettings {
    fn default() -> Self {
        Self {
            queries_per_key: 16,
            result_bytes: 32 << 20,
            total_bytes: 256 << 20,
            timeout_ms: 1_800_000,
            keep_ms: 900_000,
        }
    }
}

/// The Arrow Flight SQL door. Memory and time of a query are those of [`SqlSettings`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlightSettings {
    /// Whether the door is open.
    pub enabled: bool,
    /// Address; port 0 takes a free one. TLS everywhere, plain text from this machine only.
    pub listen: String,
    /// PEM file of the certificate chain; without it and `tls_key` the door makes a certificate of its own at start.
    pub tls_certificate: Option<std::path::PathBuf>,
    /// PEM file of the certificate's private key.
    pub tls_key: Option<std::path::PathBuf>,
    /// Connections open at the same time; more wait.
    pub connections: usize,
    /// How long a connection may take to begin, milliseconds.
    pub handshake_ms: u64,
    /// A connection whose client answers nothing for about twice this long is dropped, milliseconds.
    pub stalled_client_ms: u64,
    /// Most rows of one answer. They are made as the client takes them, so many cost no more memory than few.
    pub max_rows: usize,
    /// Statements one key may keep prepared.
    pub statements_per_key: usize,
    /// How long a prepared statement may lie idle before it is forgotten, milliseconds.
    pub statement_idle_ms: u64,
}

impl Default for FlightSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: "127.0.0.1:5434".to_owned(),
            tls_certificate: None,
            tls_key: None,
            connections: 100,
            handshake_ms: 10_000,
            stalled_client_ms: 30_000,
            max_rows: 100_000_000,
            statements_per_key: 256,
            statement_idle_ms: 3_600_000,
        }
    }
}

/// Limits of every request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// Requests a key may make a second, on average.
    pub requests_per_second: u32,
    /// Requests a key may make at once before the average holds.
    pub burst: u32,
    /// Longest request body, bytes. (Ingest has its own.)
    pub max_body_bytes: usize,
    /// Longest time until an answer begins, milliseconds; long-polls add their wait.
    pub timeout_ms: u64,
    /// Most entries of one page.
    pub max_page: usize,
    /// Entries of a page when the request does not say.
    pub default_page: usize,
    /// Whether `/metrics` wants a key as everything else does.
    pub metrics_need_key: bool,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            requests_per_second: 500,
            burst: 1_000,
            max_body_bytes: 1 << 20,
            timeout_ms: 30_000,
            max_page: 1_000,
            default_page: 100,
            metrics_need_key: true,
        }
    }
}

/// Limits of one query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SqlSettings {
    /// Memory of one query, bytes.
    pub memory_bytes: usize,
    /// Disk one query may spill to when its memory is used up, bytes; 0 refuses instead.
    pub spill_bytes: u64,
    /// Time of one query when the request does not say, milliseconds.
    pub timeout_ms: u64,
    /// Longest time a request may ask for, milliseconds.
    pub max_timeout_ms: u64,
    /// Most rows of one answer.
    pub max_rows: usize,
    /// Queries that run at the same time, all tenants together; times `memory_bytes` this is the memory of SQL.
    pub concurrent_queries: usize,
    /// Queries of one tenant that run at the same time.
    pub concurrent_queries_per_tenant: usize,
    /// How long a query waits for its place when that many run, milliseconds.
    pub queue_ms: u64,
    /// Queries of one tenant that may wait at the same time; one more is refused at once.
    pub queued_queries_per_tenant: usize,
    /// Batches computed ahead of a slow reader.
    pub queue_batches: usize,
    /// Rows of an answer held back before it begins, so that an early failure still gets its own status; bytes.
    pub hold_back_bytes: usize,
    /// Partitions of one query, about the threads it uses.
    pub partitions: usize,
    /// Rows of `contacts`, `accounts` and `deals` kept between queries, of each of them and each tenant, about 300 bytes a
    /// row; a larger table is computed at each query. 0 keeps none.
    pub kept_records: usize,
}

impl Default for SqlSettings {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            spill_bytes: 0,
            timeout_ms: 30_000,
            max_timeout_ms: 300_000,
            max_rows: 1_000_000,
            concurrent_queries: 8,
            concurrent_queries_per_tenant: 4,
            queue_ms: 2_000,
            queued_queries_per_tenant: 256,
            queue_batches: 4,
            hold_back_bytes: 1 << 20,
            partitions: 2,
            kept_records: 1_000_000,
        }
    }
}

/// Limits of the score feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedSettings {
    /// Longest wait of a long-poll, seconds.
    pub max_wait_seconds: u64,
    /// Entries read from the log at a time for a stream.
    pub page: usize,
    /// Streams one key may hold open.
    pub streams_per_key: usize,
    /// Comment lines that keep an idle stream open, seconds apart.
    pub keep_alive_seconds: u64,
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self {
            max_wait_seconds: 60,
            page: 500,
            streams_per_key: 16,
            keep_alive_seconds: 15,
        }
    }
}
