//! The doors' shared state, and the router made of it.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::Router;
use datafusion::execution::session_state::SessionState;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use revgauge_contract::{
    Clock, ErrorKind,
    access::{Caller, Ownership},
    cut::CutReader,
    definition_trial::DefinitionDesk,
    error::Failure,
    feed::FeedReader,
    forecast::ForecastService,
    intake::EventIntake,
    models::ModelService,
    reports::ReportService,
    score::ScoreService,
};
use tokio::runtime::Handle;

use crate::{
    access::{
        AuditLog, KeyStore, Oidc, Rates, SeenFeed, SeenForecasts, SeenReports, SeenScores, Sight, Sights,
        UserInfo, UserStore,
    },
    freshness::Freshness,
    metrics::{Metrics, MetricsError},
    problem::Problem,
    reports::{Catalogue, ReportError, SavedReports},
    rest::{self, StatusSource, Streams},
    settings::ApiSettings,
    sql::{CatalogSource, KeptRecords, LaterQueries, Outlines, Slots, base_session},
    web::{self, WebState},
};

/// What the doors are made of.
pub struct ApiParts {
    /// Scores, objects, alerts.
    pub scores: Arc<dyn ScoreService>,
    /// Waterfalls.
    pub reports: Arc<dyn ReportService>,
    /// Who owns what, for row rules.
    pub ownership: Arc<dyn Ownership>,
    /// Trained models.
    pub models: Arc<dyn ModelService>,
    /// Forecasts.
    pub forecasts: Arc<dyn ForecastService>,
    /// Watermarks.
    pub cuts: Arc<dyn CutReader>,
    /// Tables for SQL.
    pub catalog: Arc<dyn CatalogSource>,
    /// The score feed.
    pub feed: Arc<dyn FeedReader>,
    /// API keys.
    pub keys: Arc<KeyStore>,
    /// People who sign in to the dashboards.
    pub users: Arc<UserStore>,
    /// People's own reports, their schedules and deliveries.
    pub saved: Arc<SavedReports>,
    /// Callers known by an identity provider.
    pub oidc: Arc<Oidc>,
    /// Who read, changed or was refused what.
    pub audit: Arc<AuditLog>,
    /// Takes answers to suggestions as events.
    pub intake: Arc<dyn EventIntake>,
    /// Operations: readiness, positions, dead letters, pipelines.
    pub status: Arc<dyn StatusSource>,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// Limits.
    pub settings: ApiSettings,
    /// Where queries and scans over all entities run, apart from the threads that serve.
    pub query_runtime: Handle,
    /// What `/metrics` prints.
    pub metrics: PrometheusHandle,
}

impl fmt::Debug for ApiParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiParts")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The shared state of all doors. Scores, reports and the feed are reached through a caller's rights and no other way.
pub struct Api {
    scores: Arc<dyn ScoreService>,
    report_service: Arc<dyn ReportService>,
    pub(crate) models: Arc<dyn ModelService>,
    forecasts: Arc<dyn ForecastService>,
    feed: Arc<dyn FeedReader>,
    sights: Arc<Sights>,
    pub(crate) reports: Arc<Catalogue>,
    pub(crate) cuts: Arc<dyn CutReader>,
    pub(crate) catalog: Arc<dyn CatalogSource>,
    pub(crate) keys: Arc<KeyStore>,
    pub(crate) users: Arc<UserStore>,
    pub(crate) saved: Arc<SavedReports>,
    pub(crate) oidc: Arc<Oidc>,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) intake: Arc<dyn EventIntake>,
    pub(crate) web: WebState,
    pub(crate) status: Arc<dyn StatusSource>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: ApiSettings,
    pub(crate) query_runtime: Handle,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) base_session: Arc<SessionState>,
    pub(crate) outlines: Outlines,
    pub(crate) kept_records: Arc<KeptRecords>,
    pub(crate) slots: Slots,
    pub(crate) streams: Arc<Streams>,
    pub(crate) metric_definitions: Arc<Metrics>,
    pub(crate) later: LaterQueries,
    pub(crate) rates: Rates,
    requests: AtomicU64,
    started_us: i64,
    desk: OnceLock<Arc<dyn DefinitionDesk>>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What keeps the doors from opening.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The query engine could not be set up.
    #[error("cannot set up the query engine: {0}")]
    Engine(String),
    /// A standard report is not valid.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The semantic layer is not valid.
    #[error(transparent)]
    SemanticLayer(#[from] MetricsError),
    /// Another metrics recorder is installed already.
    #[error("cannot record metrics: {0}")]
    Metrics(String),
}

impl revgauge_contract::Classified for ApiError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// Installs the recorder of this process's metrics and gives the handle that prints them. Call once.
///
/// # Errors
/// When a recorder is installed already.
pub fn metrics_handle() -> Result<PrometheusHandle, ApiError> {
    let seconds = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
    ];
    PrometheusBuilder::new()
        .set_buckets(&seconds)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| ApiError::Metrics(error.to_string()))
}

impl Api {
    /// Gives the doors the place where definitions are tried and published; without it they say that there is none.
    pub fn set_definition_desk(&self, desk: Arc<dyn DefinitionDesk>) {
        // Given once, when the program is wired.
        let _ = self.desk.set(desk);
    }

    /// Where definitions are tried and published.
    pub(crate) fn definition_desk(&self) -> Result<Arc<dyn DefinitionDesk>, Problem> {
        self.desk.get().map(Arc::clone).ok_or_else(|| {
            Problem::new(
                axum::http::StatusCode::NOT_FOUND,
                "not_here",
                "definitions cannot be tried on this server",
            )
        })
    }

    /// Puts the parts together.
    ///
    /// # Errors
    /// When the query engine cannot be set up.
    pub fn new(parts: ApiParts) -> Result<Arc<Self>, ApiError> {
        let base_session = base_session(&parts.settings.sql, parts.catalog.runtime())
            .map_err(|error| ApiError::Engine(error.to_string()))?;
        let slots = Slots::new(&parts.settings.sql);
        let http = &parts.settings.http;
        let rates = Rates::new(http.requests_per_second, http.burst);
        let sights = Sights::new(parts.settings.access.clone(), parts.ownership).map_err(ApiError::Engine)?;
        Ok(Arc::new(Self {
            sights,
            scores: parts.scores,
            report_service: parts.reports,
            models: parts.models,
            forecasts: parts.forecasts,
            reports: Arc::new(Catalogue::shipped()?),
            cuts: parts.cuts,
            catalog: parts.catalog,
            feed: parts.feed,
            keys: parts.keys,
            users: parts.users,
            saved: parts.saved,
            oidc: parts.oidc,
            audit: parts.audit,
            intake: parts.intake,
            web: WebState::new(&parts.settings.web),
            status: parts.status,
            desk: OnceLock::new(),
            started_us: parts.clock.now().micros(),
            clock: parts.clock,
            kept_records: Arc::new(KeptRecords::new(parts.settings.sql.kept_records)),
            settings: parts.settings,
            query_runtime: parts.query_runtime,
            metrics: parts.metrics,
            base_session: Arc::new(base_session),
            outlines: Outlines::default(),
            slots,
            streams: Streams::new(),
            metric_definitions: Arc::new(Metrics::shipped()?),
            later: LaterQueries::default(),
            rates,
            requests: AtomicU64::new(0),
        }))
    }

    /// The caller behind a key id or `user:login` of a tenant, with the rights it has now; `None` when it may not get in.
    pub(crate) fn caller_named(&self, tenant_id: &str, key_id: &str) -> Option<Caller> {
        match key_id.strip_prefix("user:") {
            Some(login) => {
                let users = self.users.list(tenant_id);
                let mut good = users.iter().filter(|user| user.ended_at.is_none());
                good.find(|user| user.login == login).map(UserInfo::caller)
            }
            None => self.keys.caller_named(tenant_id, key_id),
        }
    }

    /// What a caller sees of its tenant.
    pub(crate) fn sight(&self, caller: &Caller) -> Arc<Sight> {
        self.sights.of(caller)
    }

    /// Who the people of a tenant are, all of them.
    pub(crate) fn ownership(&self) -> Arc<dyn Ownership> {
        self.sights.ownership()
    }

    /// Scores and objects as a caller sees them.
    pub(crate) fn scores(&self, caller: &Caller) -> Arc<dyn ScoreService> {
        self.scores_of(&self.sight(caller))
    }

    /// Scores and objects as they are, for tables that stand behind the wall of a session and for nothing else.
    pub(crate) fn scores_behind_the_wall(&self) -> Arc<dyn ScoreService> {
        Arc::clone(&self.scores)
    }

    /// [`Self::scores`] for a sight already made.
    pub(crate) fn scores_of(&self, sight: &Arc<Sight>) -> Arc<dyn ScoreService> {
        let inner = Arc::clone(&self.scores);
        if sight.is_full() {
            return inner;
        }
        let sight = Arc::clone(sight);
        Arc::new(SeenScores { inner, sight })
    }

    /// Waterfalls as a caller sees them.
    pub(crate) fn report_service(&self, sight: &Arc<Sight>) -> Arc<dyn ReportService> {
        let inner = Arc::clone(&self.report_service);
        if sight.is_full() {
            return inner;
        }
        let sight = Arc::clone(sight);
        Arc::new(SeenReports { inner, sight })
    }

    /// Forecasts as a caller sees them.
    pub(crate) fn forecasts(&self, sight: &Arc<Sight>) -> Arc<dyn ForecastService> {
        let inner = Arc::clone(&self.forecasts);
        if sight.is_full() {
            return inner;
        }
        let sight = Arc::clone(sight);
        Arc::new(SeenForecasts { inner, sight })
    }

    /// The score feed as a caller sees it.
    pub(crate) fn feed(&self, caller: &Caller) -> Arc<dyn FeedReader> {
        Arc::new(SeenFeed {
            inner: Arc::clone(&self.feed),
            sight: self.sight(caller),
        })
    }

    /// Writes what waits to be noted in the audit log; for the end of a process.
    pub async fn flush_audit(&self) {
        self.audit.flush().await;
    }

    /// How fresh an answer given now is.
    pub(crate) fn freshness(&self, tenant_id: &str) -> Freshness {
        Freshness::of(tenant_id, self.clock.now(), self.cuts.watermarks(tenant_id))
    }

    /// An id no other request of this process has.
    pub(crate) fn request_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{number:x}", self.started_us)
    }

    /// Runs work that reads all entities of a tenant on the query runtime, so that it holds no serving thread. The work
    /// ends when the asker goes away.
    ///
    /// # Errors
    /// The work's own failure, or `time_limit` after the query timeout.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Problem> {
        let limit = Duration::from_millis(self.settings.sql.timeout_ms);
        let mut task = AbortOnDrop(self.query_runtime.spawn(work));
        match tokio::time::timeout(limit, &mut task.0).await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(error)) => Err(Failure::new(ErrorKind::Internal, error.to_string()).into()),
            Err(_) => Err(crate::sql::SqlError::time_limit(self.settings.sql.timeout_ms).into()),
        }
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Every door of this room. It claims no path of the ingest doors, so the two routers merge.
///
/// Unknown paths and methods are answered here too: merge it with routers that have no fallback of their own.
pub fn router(api: Arc<Api>) -> Router {
    web::router(Arc::clone(&api)).merge(rest::router(api))
}
