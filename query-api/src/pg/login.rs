//! Who logs in: a key id with SCRAM-SHA-256, or `revgauge` with the key itself over TLS or loopback.
//!
//! Whatever is wrong with the credentials, the answer is the same and comes after the same work.

use std::{collections::HashMap, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use futures::{Sink, SinkExt as _};
use parking_lot::Mutex;
use pgwire::{
    api::{
        ClientInfo, METADATA_USER, PgWireConnectionState,
        auth::{
            DefaultServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
            save_startup_parameters_to_metadata,
        },
    },
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage, PgWireFrontendMessage,
        startup::{Authentication, SecretKey},
    },
};
use revgauge_contract::access::{Caller, Scope};

use super::{
    connection::{Connection, duration_ms},
    door::Shared,
    functions::SERVER_VERSION,
    scram::{self, Exchange},
    sqlstate,
};
use crate::access::AuditAction;

/// User name that says: the password is the whole key.
const KEY_AS_PASSWORD: &str = "revgauge";

/// The login of one connection.
pub(super) struct Login {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: Arc<Connection>,
    pub(super) pid: i32,
    pub(super) secret: SecretKey,
    /// Drawn for this connection by the operating system's randomness.
    pub(super) nonce: String,
    /// Whether the setting `connections` is reached.
    pub(super) full: bool,
    pub(super) step: Mutex<Step>,
}

/// Where the login stands.
#[derive(Debug, Default)]
pub(super) enum Step {
    #[default]
    Greeting,
    Key,
    ClientFirst,
    ClientFinal(Box<Exchange>, Option<Caller>),
}

impl Login {
    fn refusal(&self, user: &str) -> PgWireError {
        sqlstate::fatal(
            sqlstate::BAD_PASSWORD,
            format!("password authentication failed for user \"{user}\""),
        )
    }

    /// Binds the connection and gives what the client is told.
    fn admit(
        &self,
        caller: Caller,
        startup: &HashMap<String, String>,
    ) -> PgWireResult<DefaultServerParameterProvider> {
        if !caller.role.is_person() || !caller.has_scope(Scope::Sql) {
            let audit = &self.connection.api.audit;
            audit.note(&caller, AuditAction::Denied, "postgres", "login", "");
            return Err(sqlstate::fatal(
                "42501",
                "a service key, or one without the scope sql, may not read with SQL: use a person's key",
            ));
        }
        let catalog = self
            .shared
            .catalog_of(&caller)
            .map_err(|error| sqlstate::fatal("XX000", error.to_string()))?;
        self.connection.bind(caller, catalog);
        let mut variables = self.connection.variables.lock();
        for (name, value) in startup {
            match name.as_str() {
                "options" => variables.extend(options(value)),
                "statement_timeout" if duration_ms(value).is_none() => {}
                "user" | "database" | "replication" => {}
                _ => {
                    variables.insert(name.to_ascii_lowercase(), value.clone());
                }
            }
        }
        let mut told = DefaultServerParameterProvider::default();
        told.server_version = SERVER_VERSION.to_owned();
        told.is_superuser = false;
        told.default_transaction_read_only = true;
        told.time_zone = "UTC".to_owned();
        told.date_style = "ISO, MDY".to_owned();
        Ok(told)
    }
}

/// Settings of `options=-c name=value -c name=value`.
fn options(text: &str) -> Vec<(String, String)> {
    text.split("-c")
        .filter_map(|part| part.trim().trim_start_matches('-').split_once('='))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

#[async_trait]
impl StartupHandler for Login {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let keys = &self.connection.api.keys;
        let caller = match message {
            PgWireFrontendMessage::Startup(ref startup) => {
                protocol_negotiation(client, startup).await?;
                save_startup_parameters_to_metadata(client, startup);
                if self.full {
                    return Err(sqlstate::fatal(
                        sqlstate::TOO_MANY_CONNECTIONS,
                        "too many connections: the setting 'api.postgres.connections' is reached",
                    ));
                }
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                let asks_key = client
                    .metadata()
                    .get(METADATA_USER)
                    .is_some_and(|user| user == KEY_AS_PASSWORD);
                let safe = client.is_secure() || client.socket_addr().ip().is_loopback();
                let (step, ask) = if asks_key && safe {
                    (Step::Key, Authentication::CleartextPassword)
                } else {
                    let mechanisms = vec![scram::MECHANISM.to_owned()];
                    (Step::ClientFirst, Authentication::SASL(mechanisms))
                };
                *self.step.lock() = step;
                client.send(PgWireBackendMessage::Authentication(ask)).await?;
                return Ok(());
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                let user = client.metadata().get(METADATA_USER).cloned().unwrap_or_default();
                let step = std::mem::take(&mut *self.step.lock());
                match step {
                    Step::Greeting => return Err(sqlstate::fatal("08P01", "no password was asked for")),
                    Step::Key => {
                        let key = message.into_password()?.password;
                        keys.authenticate_fresh(&key)
                            .await
                            .ok_or_else(|| self.refusal(&user))?
                    }
                    Step::ClientFirst => {
                        let first = message.into_sasl_initial_response()?;
                        let text = first.data.unwrap_or_default();
                        let known = keys.scram_fresh(&user).await;
                        let real = known.is_some();
                        let (caller, verifier) = match known {
                            Some((caller, verifier)) => (Some(caller), verifier),
                            None => {
                                let rounds = keys.scram_iterations();
                                (None, scram::nobody(&user, &self.shared.secret, rounds))
                            }
                        };
                        let begun = std::str::from_utf8(&text)
                            .ok()
                            .filter(|_| first.auth_method == scram::MECHANISM)
                            .and_then(|text| Exchange::begin(text, verifier, real, &self.nonce));
                        let (exchange, answer) = begun.ok_or_else(|| self.refusal(&user))?;
                        *self.step.lock() = Step::ClientFinal(Box::new(exchange), caller);
                        let answer = Authentication::SASLContinue(answer.into());
                        client.send(PgWireBackendMessage::Authentication(answer)).await?;
                        return Ok(());
                    }
                    Step::ClientFinal(exchange, caller) => {
                        let last = message.into_sasl_response()?.data;
                        let verdict = std::str::from_utf8(&last)
                            .ok()
                            .and_then(|text| exchange.finish(text));
                        let (verdict, caller) = verdict.zip(caller).ok_or_else(|| self.refusal(&user))?;
                        let verdict = Authentication::SASLFinal(verdict.into());
                        client.send(PgWireBackendMessage::Authentication(verdict)).await?;
                        caller
                    }
                }
            }
            _ => return Err(sqlstate::fatal("08P01", "log in first")),
        };
        let told = self.admit(caller, client.metadata())?;
        client.set_pid_and_secret_key(self.pid, self.secret.clone());
        finish_authentication(client, &told).await
    }
}
