//! What one connection holds: its caller, its settings, its cursors, its cancel sign. Nothing of it is shared.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use datafusion::{common::ParamValues, sql::sqlparser::ast};
use parking_lot::Mutex;
use pgwire::error::{PgWireError, PgWireResult};
use revgauge_contract::access::Caller;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    answer::Cursor,
    catalog::{PgBase, TenantCatalog},
    sqlstate,
    statements::{self, NamedStatement},
};
use crate::{
    api::Api,
    settings::PostgresSettings,
    sql::{Addition, QueryAnswer, describe_statement, open_statement},
};

/// One connection.
pub(super) struct Connection {
    pub(super) api: Arc<Api>,
    pub(super) settings: PostgresSettings,
    pub(super) base: Arc<PgBase>,
    pub(super) cursors: tokio::sync::Mutex<HashMap<String, Cursor>>,
    pub(super) variables: Mutex<HashMap<String, String>>,
    /// Statements of `PREPARE`.
    pub(super) statements: Mutex<HashMap<String, NamedStatement>>,
    login: OnceLock<Login>,
    cancelled: watch::Receiver<u64>,
    /// Since when rows given to the socket wait to be read, microseconds; 0 when none do.
    waiting_since_us: AtomicI64,
}

struct Login {
    caller: Caller,
    catalog: Arc<TenantCatalog>,
}

impl Connection {
    pub(super) fn new(
        api: Arc<Api>,
        settings: PostgresSettings,
        base: Arc<PgBase>,
        cancelled: watch::Receiver<u64>,
    ) -> Self {
        Self {
            api,
            settings,
            base,
            cursors: tokio::sync::Mutex::default(),
            variables: Mutex::default(),
            statements: Mutex::default(),
            login: OnceLock::new(),
            cancelled,
            waiting_since_us: AtomicI64::new(0),
        }
    }

    /// Binds the connection to its caller, once and for ever.
    pub(super) fn bind(&self, caller: Caller, catalog: Arc<TenantCatalog>) {
        let _ = self.login.set(Login { caller, catalog });
    }

    fn login(&self) -> PgWireResult<&Login> {
        let login = self.login.get();
        let login = login.ok_or_else(|| sqlstate::fatal("08P01", "no statement before the login is done"))?;
        if self.api.keys.still_good(&login.caller) {
            Ok(login)
        } else {
            Err(sqlstate::fatal(
                "57P01",
                "the key of this connection is revoked or has expired",
            ))
        }
    }

    /// Refuses when the key of the login may no longer get in; each statement asks, those that read no data too.
    pub(super) fn check(&self) -> PgWireResult<()> {
        self.login().map(drop)
    }

    /// The login, with a request of its key counted. A connection asks one thing after another, so one that asks too often
    /// is slowed down; refused only when that would take longer than the setting.
    async fn counted(&self) -> PgWireResult<&Login> {
        let login = self.login()?;
        let until = Instant::now() + Duration::from_millis(self.settings.rate_wait_ms);
        while let Err(wait) = self.api.rates.check(&login.caller) {
            let next = Instant::now() + wait;
            if next > until {
                return Err(sqlstate::error(
                    sqlstate::TOO_MANY_REQUESTS,
                    format!(
                        "this key makes more requests than it may: try again in {} s",
                        wait.as_secs() + 1
                    ),
                ));
            }
            let _ = timeout_at(next, std::future::pending::<()>()).await;
        }
        Ok(login)
    }

    /// Runs a statement; a cancel request ends the wait for it.
    pub(super) async fn open(
        &self,
        mut statement: ast::Statement,
        params: Option<ParamValues>,
    ) -> PgWireResult<QueryAnswer> {
        let login = self.counted().await?;
        statements::settle(self, &mut statement, params.as_ref(), true)?;
        let addition = Arc::clone(&login.catalog) as Arc<dyn Addition>;
        let opening = open_statement(
            &self.api,
            &login.caller,
            statement,
            params,
            self.timeout_ms(),
            addition,
        );
        self.unless_cancelled(Box::pin(opening))
            .await?
            .map_err(sqlstate::of_sql)
    }

    /// The plan of a statement, not run.
    pub(super) async fn plan(
        &self,
        mut statement: ast::Statement,
    ) -> PgWireResult<datafusion::logical_expr::LogicalPlan> {
        let login = self.counted().await?;
        statements::settle(self, &mut statement, None, false)?;
        let addition = Arc::clone(&login.catalog) as Arc<dyn Addition>;
        let planning = describe_statement(&self.api, &login.caller, statement, addition);
        self.unless_cancelled(Box::pin(planning))
            .await?
            .map_err(sqlstate::of_sql)
    }

    /// Waits for some work, or for a cancel request that comes meanwhile.
    pub(super) async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> PgWireResult<T> {
        let mut cancelled = self.cancelled.clone();
        cancelled.mark_unchanged();
        tokio::select! {
            done = work => Ok(done),
            Ok(()) = cancelled.changed() => Err(PgWireError::QueryCanceled),
        }
    }

    fn timeout_ms(&self) -> u64 {
        let limits = &self.api.settings.sql;
        let asked = self.variables.lock().get("statement_timeout").cloned();
        match asked.as_deref().and_then(duration_ms) {
            None | Some(0) => limits.timeout_ms,
            Some(asked) => asked.min(limits.max_timeout_ms),
        }
    }

    /// Rows are on their way to the client from now on.
    pub(super) fn handed_over(&self) {
        let now = self.api.clock.now().micros();
        self.waiting_since_us.store(now, Ordering::Relaxed);
    }

    /// The client has taken all rows it was given.
    pub(super) fn taken(&self) {
        self.waiting_since_us.store(0, Ordering::Relaxed);
    }

    /// Whether the client has left rows unread for longer than the setting.
    pub(super) fn stalled(&self) -> bool {
        let since = self.waiting_since_us.load(Ordering::Relaxed);
        let limit_us =
            i64::try_from(self.settings.stalled_client_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
        since != 0 && self.api.clock.now().micros().saturating_sub(since) > limit_us
    }
}

/// A duration as PostgreSQL writes it: `1500`, `2s`, `5min`, `100ms`. Milliseconds when no unit is given.
pub(super) fn duration_ms(text: &str) -> Option<u64> {
    let text = text.trim().trim_matches('\'').trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let factor = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::duration_ms;

    #[test]
    fn durations_as_postgres_writes_them() {
        for (text, expected) in [
            ("1500", Some(1_500)),
            ("'2s'", Some(2_000)),
            ("5 min", Some(300_000)),
            ("0", Some(0)),
            ("soon", None),
            ("3 years", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(duration_ms(text), expected, "{text}");
        }
    }
}
