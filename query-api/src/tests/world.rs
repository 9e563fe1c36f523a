//! A small deployment in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use datafusion::{
    arrow::{
        array::{
            ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
        },
        datatypes::{DataType, Field, Schema},
    },
    catalog::TableProvider,
    datasource::MemTable,
    execution::runtime_env::RuntimeEnv,
};
use http_body_util::BodyExt as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use object_store::memory::InMemory;
use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use revgauge_contract::{
    ErrorKind, Position, Refusal, Timestamp,
    access::{Caller, Colleague, Owned, Ownership, Rights, Role},
    cut::{Cut, CutReader, LakeTable, Watermark},
    error::Failure,
    event::{Event, EventDraft, Reception},
    feed::{FeedPage, FeedReader},
    forecast::{
        Forecast, ForecastAccuracy, ForecastNode, ForecastQuestion, ForecastRow, ForecastRowKind,
        ForecastService, MethodForecast, Quantile, Standing,
    },
    intake::{DeadLetter, EventIntake},
    position::Cursor,
    reports::{AttributedCredit, AttributionModel, Bucket, ReportService, WaterfallPart, WaterfallQuestion},
    schema::batch_of,
    score::{
        Alert, Cause, ChangeExplanation, Contribution, DuplicateAccounts, EntityKind, EntityScores,
        RecordChanges, Score, ScoreChange, ScoreRows, ScoreService, score_changes, scores_table,
    },
    statistics::Knowledge,
    text::TextSignal,
    time::{DAY_US, ManualClock},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::Notify};
use tower::ServiceExt as _;

use crate::{
    access::{
        AuditLog, AuditSettings, KeySettings, KeyStore, Oidc, UserSettings, UserStore, oidc_tests::Provider,
    },
    api::{Api, ApiParts, router},
    reports::SavedReports,
    rest::{DataHealth, PipelineInfo, Readiness, ReplayReport, StatusSource},
    settings::ApiSettings,
    sql::{CatalogColumn, CatalogSource, CatalogTable},
};

/// In every text of the other tenant.
pub(super) const CANARY: &str = "CANARY";
pub(super) const NOW: Timestamp = Timestamp(1_770_000_000_000_000);
pub(super) const TENANTS: [&str; 3] = ["acme", "umbrella", "wayne"];

/// Texts of every tenant but `acme` are marked.
fn marked(tenant: &str, text: &str) -> String {
    if tenant == "acme" {
        text.to_owned()
    } else {
        format!("{CANARY}-{text}")
    }
}

/// As [`marked`], but in `wayne` the texts of `rep-2`'s records, those with even numbers, are plain.
fn marked_of(tenant: &str, number: usize, text: &str) -> String {
    if tenant == "wayne" && number.is_multiple_of(2) {
        text.to_owned()
    } else {
        marked(tenant, text)
    }
}

pub(super) struct World {
    pub(super) api: Arc<Api>,
    pub(super) router: Router,
    pub(super) feed: Arc<MemoryFeed>,
    pub(super) intake: Arc<Intake>,
    pub(super) keys: BTreeMap<&'static str, String>,
    pub(super) clock: Arc<ManualClock>,
    /// Letters the doors were told to keep.
    pub(super) kept: Arc<Mutex<Vec<DeadLetter>>>,
    /// The identity provider.
    pub(super) provider: Arc<Provider>,
}

pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
}

impl Reply {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }
}

/// Queries run here, apart from the runtime of the test.
fn query_runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .expect("runtime")
    })
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(ApiSettings::default()).await
    }

    pub(super) async fn with(settings: ApiSettings) -> Self {
        Self::made(settings, Vec::new()).await
    }

    /// With more tables than the usual ones, and without the reports: they read tables no world has.
    pub(super) async fn with_tables(tables: Vec<CatalogTable>) -> Self {
        Self::made(ApiSettings::default(), tables).await
    }

    async fn made(settings: ApiSettings, tables: Vec<CatalogTable>) -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        let store = Arc::new(InMemory::new());
        let random = Box::new(StdRng::seed_from_u64(7));
        let key_store = KeyStore::open_with_random(
            store,
            KeySettings::default(),
            Arc::<ManualClock>::clone(&clock),
            random,
        )
        .await
        .expect("opens");
        let mut keys = BTreeMap::new();
        for (name, tenant, role) in [
            ("admin", "acme", Role::Admin),
            ("revops", "acme", Role::Revops),
            ("service", "acme", Role::Service),
            ("foreign", "umbrella", Role::Admin),
            ("wayne-admin", "wayne", Role::Admin),
            ("wayne-revops", "wayne", Role::Revops),
            ("wayne-service", "wayne", Role::Service),
        ] {
            let key = key_store.create(tenant, role, name, None).await.expect("made");
            keys.insert(name, key.secret);
        }
        for (name, role, user) in [
            ("wayne-boss", Role::Manager, "boss"),
            ("wayne-lead", Role::Manager, "lead"),
            ("wayne-rep-1", Role::Rep, "rep-1"),
            ("wayne-rep-2", Role::Rep, "rep-2"),
        ] {
            let rights = Rights {
                user_id: Some(user.to_owned()),
                ..Rights::default()
            };
            let key = key_store.create_with("wayne", role, rights, name, None);
            keys.insert(name, key.await.expect("made").secret);
        }
        let light = UserSettings {
            argon2_memory_kib: 64,
            argon2_passes: 1,
            ..UserSettings::default()
        };
        let users = UserStore::open(
            Arc::new(InMemory::new()),
            light,
            Arc::<ManualClock>::clone(&clock),
        )
        .await
        .expect("opens");
        let saved = SavedReports::open(
            Arc::new(InMemory::new()),
            settings.deliveries.clone(),
            Arc::<ManualClock>::clone(&clock),
        )
        .await
        .expect("opens");
        let feed = Arc::new(MemoryFeed::default());
        let provider = Arc::new(Provider::default());
        let kept = Arc::new(Mutex::new(Vec::new()));
        let intake = Arc::new(Intake::default());
        let bare = !tables.is_empty();
        let mut api = Api::new(ApiParts {
            scores: Arc::new(Scores),
            reports: Arc::new(Moves),
            ownership: Arc::new(Staff),
            models: Arc::new(super::models::Kept),
            forecasts: Arc::new(Outlooks),
            cuts: Arc::new(Cuts),
            catalog: Arc::new(Catalog::new(tables)),
            feed: Arc::<MemoryFeed>::clone(&feed),
            keys: key_store,
            status: Arc::new(Status {
                kept: Arc::clone(&kept),
            }),
            users,
            saved,
            oidc: Oidc::new(
                settings.oidc.clone(),
                Arc::<Provider>::clone(&provider) as _,
                Arc::<ManualClock>::clone(&clock) as _,
            ),
            audit: AuditLog::open(
                Arc::new(InMemory::new()),
                AuditSettings::default(),
                Arc::<ManualClock>::clone(&clock),
            ),
            intake: Arc::<Intake>::clone(&intake),
            clock: Arc::<ManualClock>::clone(&clock),
            settings,
            query_runtime: query_runtime().handle().clone(),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
        })
        .expect("api");
        if let Some(api) = Arc::get_mut(&mut api).filter(|_| bare) {
            api.reports = Arc::default();
        }
        Self {
            router: router(Arc::clone(&api)),
            api,
            feed,
            intake,
            keys,
            clock,
            kept,
            provider,
        }
    }

    pub(super) async fn get(&self, key: &str, path: &str) -> Reply {
        self.call(key, Method::GET, path, &[], "").await
    }

    pub(super) async fn sql(&self, key: &str, sql: &str) -> Reply {
        self.call(
            key,
            Method::POST,
            "/v1/sql",
            &[("content-type", "text/plain")],
            sql,
        )
        .await
    }

    /// Signs a key in to the dashboards and gives its cookie.
    pub(super) async fn signed_in(&self, key: &str) -> String {
        let body = format!("key={}", self.keys[key]);
        let reply = self
            .call("", Method::POST, "/ui/sign-in", &[("host", "localhost")], &body)
            .await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{key}: {}", reply.text());
        let cookie = reply.headers["set-cookie"].to_str().expect("text");
        cookie.split(';').next().expect("a part").to_owned()
    }

    pub(super) async fn sql_json(&self, key: &str, body: Value) -> Reply {
        self.call(
            key,
            Method::POST,
            "/v1/sql",
            &[("content-type", "application/json")],
            &body.to_string(),
        )
        .await
    }

    pub(super) async fn call(
        &self,
        key: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(secret) = self.keys.get(key) {
            request = request.header("authorization", format!("Bearer {secret}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).expect("request");
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response
            .into_body()
            .collect()
            .await
            .expect("body")
            .to_bytes()
            .to_vec();
        Reply {
            status,
            headers,
            bytes,
        }
    }
}

/// Keeps what was appended.
#[derive(Default)]
pub(super) struct Intake(pub(super) Mutex<Vec<Event>>);

#[async_trait]
impl EventIntake for Intake {
    async fn append(&self, events: Vec<Event>) -> Result<Position, Failure> {
        let mut kept = self.0.lock();
        kept.extend(events);
        Ok(Position(kept.len() as u64))
    }

    async fn append_batch(&self, _: RecordBatch) -> Result<Position, Failure> {
        Err(Failure::new(ErrorKind::Internal, "no batch comes this way"))
    }
}

struct Scores;

/// Tier and value by contact number.
const TIERS: [(&str, f64); 5] = [("A", 91.0), ("B", 62.5), ("C", 12.0), ("A", 88.0), ("C", 3.5)];

fn id_of(kind: EntityKind, number: usize) -> String {
    format!("{}{number}", &kind.as_str()[..1])
}

fn objects_of(tenant: &str, kind: EntityKind) -> Vec<Value> {
    (1..=TIERS.len())
        .map(|n| {
            let id = id_of(kind, n);
            let mut object = json!({
                "name": marked_of(tenant, n, &format!("Name {n}")),
                "account_id": "a1",
                "owner_id": if n % 2 == 0 { "rep-2" } else { "rep-1" },
                "note": marked_of(tenant, n, "note"),
            });
            if tenant == "wayne" {
                object["phone"] = json!(marked_of(tenant, n, "+49 30 1"));
            }
            object[format!("{}_id", kind.as_str())] = json!(id);
            match kind {
                EntityKind::Contact => {
                    object["email"] = json!(marked_of(tenant, n, &format!("p{n}@acme.io")));
                    object["contact_keys"] = json!([id]);
                }
                EntityKind::Deal => {
                    object["amount"] = json!((n * 1_000).to_string());
                    object["stage"] = json!("proposal");
                    object["close_date"] = json!("2026-03-01");
                    object["contacts"] = json!([{
                        "contact_id": "c1",
                        "role": "champion",
                        "last_answer": "2026-01-30T00:00:00Z",
                        "last_contact": NOW,
                        "two_way": true,
                    }]);
                }
                EntityKind::Account | EntityKind::Tenant => object["domain"] = json!("acme.io"),
            }
            object
        })
        .collect()
}

fn scores_of(tenant: &str, kind: EntityKind, number: usize) -> Vec<Score> {
    let (tier, value) = TIERS[number - 1];
    let score = |name: &str, value: Option<f64>| Score {
        name: name.to_owned(),
        value,
        unscored_because: value.is_none().then(|| "no activity yet".to_owned()),
        tier: value.is_some().then(|| tier.to_owned()),
        contributions: vec![Contribution {
            factor: "email.replied".to_owned(),
            points: value.unwrap_or(0.0),
            reason: marked_of(tenant, number, "3 replies"),
            advice: None,
        }],
        definition: "default@1".to_owned(),
        fingerprint: "f0".to_owned(),
        facts: BTreeMap::from([("last_inbound".to_owned(), json!("2026-01-30T00:00:00Z"))]),
    };
    match kind {
        EntityKind::Deal => vec![score("health", Some(value))],
        EntityKind::Contact => vec![
            score("priority", Some(value)),
            score("engagement", Some(value / 2.0)),
            score("authority", Some(0.7)),
            score("fit", None),
        ],
        EntityKind::Account | EntityKind::Tenant => vec![score("priority", Some(value))],
    }
}

/// `boss` over `lead` and `rep-2`, `lead` over `rep-1`.
struct Staff;

#[async_trait]
impl Ownership for Staff {
    async fn colleagues(&self, _: &str) -> Result<Vec<Colleague>, Failure> {
        let colleague = |user_id: &str, manager_id: Option<&str>| Colleague {
            user_id: user_id.to_owned(),
            manager_id: manager_id.map(str::to_owned),
            name: Some(format!("The {user_id}")),
            ..Colleague::default()
        };
        Ok(vec![
            colleague("boss", None),
            colleague("lead", Some("boss")),
            colleague("rep-1", Some("lead")),
            colleague("rep-2", Some("boss")),
        ])
    }

    async fn owned(
        &self,
        tenant: &str,
        keep: &(dyn for<'a> Fn(&'a Owned) -> bool + Send + Sync),
    ) -> Result<Vec<Owned>, Failure> {
        let mut kept = Vec::new();
        for kind in [EntityKind::Contact, EntityKind::Account, EntityKind::Deal] {
            for (n, object) in (1..).zip(objects_of(tenant, kind)) {
                let mut keys = vec![Arc::from(id_of(kind, n))];
                keys.extend(object["email"].as_str().map(Arc::from));
                let owned = Owned {
                    entity_kind: kind,
                    keys,
                    owner_id: object["owner_id"].as_str().map(str::to_owned),
                    team: None,
                    territory: None,
                };
                if keep(&owned) {
                    kept.push(owned);
                }
            }
        }
        Ok(kept)
    }
}

/// One deal of 10.50 that is open with an even chance.
struct Outlooks;

#[async_trait]
impl ForecastService for Outlooks {
    async fn forecast(&self, tenant_id: &str, question: &ForecastQuestion) -> Result<Vec<Forecast>, Failure> {
        let row = ForecastRow {
            kind: ForecastRowKind::Open,
            deal_id: marked(tenant_id, "d1"),
            owner_id: marked(tenant_id, "rep-1"),
            stage: "proposal".to_owned(),
            category: "commit".to_owned(),
            amount: 10.5,
            probability: 0.5,
            contribution: 5.25,
            expected_close: None,
            expected_close_p10: None,
            expected_close_p90: None,
        };
        let left_out = |row: &ForecastRow| question.without_deals.contains(&row.deal_id);
        let method = |method: &str, value, weight| MethodForecast {
            method: method.to_owned(),
            value,
            weight,
            wape: Some(0.25),
            bias: None,
        };
        let quantile = |(probability, value)| Quantile { probability, value };
        Ok(vec![Forecast {
            currency: "USD".to_owned(),
            period: question.period.clone().unwrap_or_default(),
            as_of: question.as_of.unwrap_or(NOW),
            start: NOW,
            end: NOW.plus_micros(DAY_US),
            closed: 0.0,
            commit: 10.5,
            best_case: 0.0,
            pipeline: 0.0,
            omitted: 0.0,
            expected: 5.25,
            blend: 7.0,
            blend_wape: Some(0.2),
            blend_bias: Some(-0.05),
            quantiles: [(0.1, 0.0), (0.5, 5.25), (0.9, 10.5)].map(quantile).to_vec(),
            methods: vec![method("hazard", 5.25, 0.8), method("naive", 14.0, 0.2)],
            past_periods: 4,
            past_covered: 3,
            noise_floor: Some(0.2),
            ended_deals: 12,
            attainment: question.quota.map(|_| 0.0),
            attainment_probability: question.quota.map(|_| 0.5),
            standing: Standing::default(),
            rows: Some(row).into_iter().filter(|row| !left_out(row)).collect(),
        }])
    }

    async fn by_node(
        &self,
        tenant_id: &str,
        question: &ForecastQuestion,
    ) -> Result<Vec<ForecastNode>, Failure> {
        let hidden = question.without_deals.contains(&marked(tenant_id, "d1"));
        let quantile = |(probability, value)| Quantile { probability, value };
        let all = ForecastNode {
            currency: "USD".to_owned(),
            period: question.period.clone().unwrap_or_default(),
            as_of: question.as_of.unwrap_or(NOW),
            start: NOW,
            end: NOW.plus_micros(DAY_US),
            node: String::new(),
            node_kind: "all".to_owned(),
            parent: None,
            parent_kind: None,
            depth: 0,
            closed: 0.0,
            open: 5.25,
            not_yet_created: 0.0,
            expected: 5.25,
            value: 7.0,
            quantiles: [(0.1, 0.0), (0.5, 5.25), (0.9, 10.5)].map(quantile).to_vec(),
            quota: Some(20.0),
            attainment: Some(0.0),
            attainment_probability: Some(0.25),
            submitted: None,
        };
        let person = ForecastNode {
            node: marked(tenant_id, "rep-1"),
            node_kind: "person".to_owned(),
            parent: Some(String::new()),
            parent_kind: Some("all".to_owned()),
            depth: 1,
            ..all.clone()
        };
        Ok([all, person].into_iter().filter(|_| !hidden).collect())
    }

    async fn accuracy(
        &self,
        tenant_id: &str,
        question: &ForecastQuestion,
    ) -> Result<Vec<ForecastAccuracy>, Failure> {
        let hidden = question.without_deals.contains(&marked(tenant_id, "d1"));
        let row = ForecastAccuracy {
            currency: "USD".to_owned(),
            node: marked(tenant_id, "rep-1"),
            node_kind: "person".to_owned(),
            elapsed: 0.25,
            method: "blend".to_owned(),
            periods: 4,
            actual: 42.0,
            wape: 0.25,
            bias: -0.1,
            covered: Some(3),
            noise_floor: 0.2,
        };
        Ok(Some(row).into_iter().filter(|_| !hidden).collect())
    }
}

/// One deal of 10.50 that was created and one that is there.
struct Moves;

#[async_trait]
impl ReportService for Moves {
    async fn waterfall(
        &self,
        tenant_id: &str,
        question: &WaterfallQuestion,
    ) -> Result<Vec<WaterfallPart>, Failure> {
        let part = |bucket| WaterfallPart {
            deal_id: marked(tenant_id, "d1"),
            bucket,
            amount_cents: 1_050,
            currency: "USD".to_owned(),
            group: String::new(),
            at: question.to,
            owner_id: String::new(),
            stage_from: String::new(),
            stage_to: String::new(),
        };
        Ok(vec![part(Bucket::Created), part(Bucket::End)])
    }

    async fn attribution(
        &self,
        tenant_id: &str,
        _: AttributionModel,
        _: Option<(Timestamp, Timestamp)>,
        _: Option<Timestamp>,
    ) -> Result<Vec<AttributedCredit>, Failure> {
        Ok(vec![AttributedCredit {
            kind: marked(tenant_id, "email.replied"),
            currency: "USD".to_owned(),
            touched_deals: 1,
            deals: 1.0,
            amount: 10.5,
        }])
    }
}

#[async_trait]
impl ScoreService for Scores {
    async fn scores(
        &self,
        tenant_id: &str,
        entity_kind: EntityKind,
        entity_id: &str,
        at: Timestamp,
        _: Knowledge,
    ) -> Result<EntityScores, Failure> {
        let number = (1..=TIERS.len()).find(|n| {
            id_of(entity_kind, *n) == entity_id
                || marked_of(tenant_id, *n, &format!("p{n}@acme.io")) == entity_id
        });
        let number = number.ok_or_else(|| {
            Failure::new(
                ErrorKind::NotFound,
                format!("nothing is known of {} '{entity_id}'", entity_kind.as_str()),
            )
        })?;
        Ok(EntityScores {
            entity_kind,
            entity_id: id_of(entity_kind, number),
            as_of: at,
            scores: scores_of(tenant_id, entity_kind, number),
        })
    }

    async fn explain(
        &self,
        tenant_id: &str,
        kind: EntityKind,
        id: &str,
        at: Timestamp,
        knowledge: Knowledge,
    ) -> Result<EntityScores, Failure> {
        self.scores(tenant_id, kind, id, at, knowledge).await
    }

    async fn explain_change(
        &self,
        tenant_id: &str,
        kind: EntityKind,
        id: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<ChangeExplanation>, Failure> {
        if from > to {
            return Err(Failure::new(ErrorKind::User, format!("{from} is after {to}")));
        }
        let found = self.scores(tenant_id, kind, id, to, Knowledge::At(to)).await?;
        let explain = |score: Score| ChangeExplanation {
            name: score.name,
            from,
            to,
            old_value: Some(0.0),
            new_value: score.value,
            parts: score.contributions,
        };
        Ok(found.scores.into_iter().map(explain).collect())
    }

    /// Leaks on purpose: rows of every tenant, as a broken room behind the wall might.
    async fn table(
        &self,
        _: &str,
        kind: EntityKind,
        _: &ScoreRows,
        at: Timestamp,
        _: Knowledge,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let mut texts: [Vec<Option<String>>; 14] = Default::default();
        let mut values = Vec::new();
        for tenant in TENANTS {
            for (n, object) in (1..).zip(objects_of(tenant, kind)) {
                for score in scores_of(tenant, kind, n) {
                    let row = [
                        Some(tenant.to_owned()),
                        Some(kind.as_str().to_owned()),
                        Some(id_of(kind, n)),
                        object["name"].as_str().map(str::to_owned),
                        Some("a1".to_owned()),
                        object["owner_id"].as_str().map(str::to_owned),
                        Some(score.name),
                        score.tier,
                        score.unscored_because,
                        Some(score.contributions[0].reason.clone()),
                        Some(json!(score.contributions).to_string()),
                        Some(json!(score.facts).to_string()),
                        Some(score.definition),
                        Some(score.fingerprint),
                    ];
                    texts
                        .iter_mut()
                        .zip(row)
                        .for_each(|(column, text)| column.push(text));
                    values.push(score.value);
                }
            }
        }
        let rows = values.len();
        let mut columns: Vec<ArrayRef> = texts
            .into_iter()
            .map(|column| Arc::new(StringViewArray::from_iter(column)) as ArrayRef)
            .collect();
        columns.insert(7, Arc::new(Float64Array::from(values)));
        columns.push(Arc::new(TimestampMicrosecondArray::from(vec![at.micros(); rows])));
        Ok(vec![
            RecordBatch::try_new(scores_table(), columns).expect("in the order of the schema"),
        ])
    }

    async fn objects(
        &self,
        tenant_id: &str,
        kind: EntityKind,
        ids: Option<&[String]>,
        _: Knowledge,
    ) -> Result<Vec<Value>, Failure> {
        let wanted = |object: &Value| {
            let id = object[format!("{}_id", kind.as_str())]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            ids.is_none_or(|ids| ids.contains(&id))
        };
        Ok(objects_of(tenant_id, kind).into_iter().filter(wanted).collect())
    }

    async fn duplicates(&self, tenant_id: &str, _: Knowledge) -> Result<Vec<DuplicateAccounts>, Failure> {
        let group = |shared: &str, confidence| DuplicateAccounts {
            shared: shared.to_owned(),
            key: marked(tenant_id, "acme"),
            account_ids: vec!["a1".to_owned(), "a2".to_owned()],
            confidence,
            evidence: vec![marked(tenant_id, "2 accounts share it")],
        };
        Ok(vec![group("domain", 0.9), group("name", 0.7)])
    }

    /// Kept rows are served to every caller: nothing changes after the first time they are read.
    async fn changed_since(
        &self,
        tenant_id: &str,
        kind: EntityKind,
        revision: u64,
    ) -> Result<Option<RecordChanges>, Failure> {
        let ids = objects_of(tenant_id, kind).into_iter();
        let ids = ids.filter_map(|object| Some(object[format!("{}_id", kind.as_str())].as_str()?.to_owned()));
        Ok(Some(RecordChanges {
            revision: 1,
            ids: ids.filter(|_| revision == 0).collect(),
            whole: revision == 0,
        }))
    }

    async fn alerts(
        &self,
        tenant_id: &str,
        _: Option<&[String]>,
        _: Timestamp,
        _: Knowledge,
    ) -> Result<Vec<Alert>, Failure> {
        let alert = |severity: &str, rule: &str| Alert {
            entity_kind: EntityKind::Deal,
            entity_id: "d1".to_owned(),
            rule: rule.to_owned(),
            severity: severity.to_owned(),
            message: marked(tenant_id, "no meeting ahead"),
            advice: "book one".to_owned(),
            since: Some(NOW),
            as_of: NOW,
        };
        Ok(vec![alert("high", "no_next_meeting"), alert("low", "stalled")])
    }

    async fn text_signals(
        &self,
        tenant_id: &str,
        at: Timestamp,
        _: Knowledge,
    ) -> Result<Vec<TextSignal>, Failure> {
        let hit = |signal: Option<&str>| TextSignal {
            deal_id: "d1".to_owned(),
            event_id: "e1".to_owned(),
            event_type: "transcript.recorded".to_owned(),
            said_at: at,
            expires_at: at,
            user_id: Some("u1".to_owned()),
            signal: signal.map(str::to_owned),
            severity: signal.map(|_| "high".to_owned()),
            span_start: signal.map(|_| 3),
            span_end: signal.map(|_| 9),
            quote: signal.map(|_| marked(tenant_id, "we guarantee it")),
            value: None,
            speaker: None,
            role: Some("rep".to_owned()),
            answered: None,
            suggestion: Some("say what is approved".to_owned()),
            consent: "given".to_owned(),
            withheld: signal.is_none().then(|| "no consent".to_owned()),
        };
        let signals = [
            Some("unapproved_claim"),
            Some("unapproved_claim"),
            Some("pricing"),
            None,
        ];
        Ok(signals.into_iter().map(hit).collect())
    }

    async fn keys(
        &self,
        tenant_id: &str,
        kind: EntityKind,
        id: &str,
        k: Knowledge,
    ) -> Result<Vec<String>, Failure> {
        let found = self.scores(tenant_id, kind, id, NOW, k).await?;
        let number = found.entity_id[1..].to_owned();
        Ok(vec![found.entity_id, format!("p{number}@acme.io")])
    }
}

struct Cuts;

#[async_trait]
impl CutReader for Cuts {
    async fn cut(&self, _: LakeTable) -> Result<Cut, Failure> {
        Err(Failure::new(ErrorKind::Internal, "not asked for in these tests"))
    }

    fn watermarks(&self, tenant_id: &str) -> BTreeMap<String, Watermark> {
        let mark = Watermark {
            event_time: NOW,
            ingested_at: NOW,
            events: 6,
        };
        BTreeMap::from([(format!("{tenant_id}/{}", marked(tenant_id, "http")), mark)])
    }
}

struct Catalog {
    tables: Vec<CatalogTable>,
    runtime: Arc<RuntimeEnv>,
}

impl Catalog {
    fn new(more: Vec<CatalogTable>) -> Self {
        let memory = |batch: RecordBatch| -> Arc<dyn TableProvider> {
            Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("table"))
        };
        let table = |name: &str, batch| CatalogTable {
            name: name.to_owned(),
            description: format!("rows of {name}"),
            provider: memory(batch),
            columns: vec![CatalogColumn::new("tenant_id", "whose", "")],
        };
        Self {
            tables: [
                table("events", event_rows()),
                table("score_changes", change_rows()),
                table("crm_state", crm_rows()),
            ]
            .into_iter()
            .chain(more)
            .collect(),
            runtime: Arc::new(RuntimeEnv::default()),
        }
    }
}

/// Six events a tenant, the tenants' rows in turn; one event a day.
fn event_rows() -> RecordBatch {
    let mut events = Vec::new();
    for n in 0..6 {
        for tenant in TENANTS {
            let payload = json!({"subject": marked(tenant, "hello"), "n": n});
            // The last event of `wayne` is on a deal of `rep-2`.
            let (number, tag) = if tenant == "wayne" && n == 5 {
                (2, "two")
            } else {
                (1, "one")
            };
            let payload = if number == 2 {
                json!({"subject": "plain"})
            } else {
                payload
            };
            let draft = EventDraft {
                event_id: Some(marked_of(
                    tenant,
                    number,
                    &format!("e{n}-{tag}").replace("-one", ""),
                )),
                event_type: Some("email.replied".to_owned()),
                event_time: Some(NOW.plus_micros(-DAY_US * (n / 2 + 1))),
                contact_id: Some(id_of(EntityKind::Contact, number)),
                account_id: Some(id_of(EntityKind::Account, number)),
                deal_id: Some(id_of(EntityKind::Deal, number)),
                payload: payload.as_object().cloned().unwrap_or_default(),
                ..EventDraft::default()
            };
            let reception = Reception::live(Arc::from(tenant), NOW, "http");
            events.push(draft.accept(&reception).expect("accepted"));
        }
    }
    batch_of(&events)
}

fn change_rows() -> RecordBatch {
    let rows: Vec<(&str, i64)> = (1..=4).flat_map(|n| TENANTS.map(|tenant| (tenant, n))).collect();
    let text = |of: &dyn Fn(&str, i64) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(
            rows.iter().map(|(t, n)| of(t, *n)),
        ))
    };
    let number = |of: &dyn Fn(i64) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|(_, n)| of(*n))))
    };
    let whole = |of: &dyn Fn(i64) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, n)| of(*n))))
    };
    let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(
        rows.iter().map(|(_, n)| NOW.micros() - n * DAY_US),
    ));
    let columns = vec![
        text(&|t, _| t.to_owned()),
        whole(&|n| n),
        whole(&|_| 0),
        text(&|_, _| "contact".to_owned()),
        text(&|_, _| "c1".to_owned()),
        text(&|_, _| "engagement".to_owned()),
        number(&|n| n as f64),
        number(&|n| n as f64 + 1.0),
        text(&|_, _| "B".to_owned()),
        text(&|_, _| "A".to_owned()),
        text(&|t, _| marked(t, "a reply")),
        text(&|_, _| "event".to_owned()),
        at,
        text(&|_, _| "default@1".to_owned()),
        text(&|_, _| "f0".to_owned()),
        text(&|t, _| json!({"why": marked(t, "x")}).to_string()),
    ];
    RecordBatch::try_new(score_changes(), columns).expect("in the order of the schema")
}

fn crm_rows() -> RecordBatch {
    let field = |name: &str| Field::new(name, DataType::Utf8View, false);
    let names = ["tenant_id", "object", "object_id", "field", "latest"];
    let schema = Arc::new(Schema::new(names.map(field).to_vec()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter_values(TENANTS)),
        Arc::new(StringViewArray::from_iter_values(["role"; 3])),
        Arc::new(StringViewArray::from_iter_values(["d2/c2", "d2/c2", "d1/c1"])),
        Arc::new(StringViewArray::from_iter_values(["role"; 3])),
        Arc::new(StringViewArray::from_iter_values(TENANTS.map(|t| marked(t, "x")))),
    ];
    RecordBatch::try_new(schema, columns).expect("in the order of the schema")
}

#[async_trait]
impl CatalogSource for Catalog {
    async fn tables(&self, _: &str) -> Result<Vec<CatalogTable>, Failure> {
        Ok(self.tables.clone())
    }

    fn runtime(&self) -> Arc<RuntimeEnv> {
        Arc::clone(&self.runtime)
    }
}

/// A feed whose object `n` holds the entries appended in one go.
#[derive(Default)]
pub(super) struct MemoryFeed {
    objects: Mutex<Vec<Vec<ScoreChange>>>,
    pub(super) begins_at: Mutex<u64>,
    grown: Notify,
}

impl MemoryFeed {
    pub(super) fn append(&self, tenant: &str, entity: &str) {
        self.objects.lock().push(vec![ScoreChange {
            tenant_id: tenant.to_owned(),
            entity_kind: EntityKind::Contact,
            entity_id: entity.to_owned(),
            score: "engagement".to_owned(),
            old_value: None,
            new_value: Some(12.5),
            old_tier: None,
            new_tier: Some("B".to_owned()),
            reason: marked_of(tenant, entity[1..].parse().unwrap_or(1), "a reply"),
            cause: Cause::Event,
            as_of: NOW,
            definition: "default@1".to_owned(),
            fingerprint: "f0".to_owned(),
            detail: r#"{"parts":[]}"#.to_owned(),
        }]);
        self.grown.notify_waiters();
    }
}

#[async_trait]
impl FeedReader for MemoryFeed {
    /// Leaks on purpose, as [`Scores::table`] does.
    async fn read(&self, _: &str, after: Cursor, limit: usize) -> Result<FeedPage, Failure> {
        let begins_at = *self.begins_at.lock();
        if after.position.0 + 1 < begins_at {
            return Err(Failure::new(
                ErrorKind::NotFound,
                format!("the feed begins at {begins_at}.0"),
            ));
        }
        let objects = self.objects.lock();
        let mut entries = Vec::new();
        let mut next = after;
        for (number, object) in (1..).zip(objects.iter()) {
            for (row, change) in (1..).zip(object) {
                let cursor = Cursor {
                    position: Position(number),
                    row,
                };
                if cursor > after && entries.len() < limit {
                    next = cursor;
                    entries.push((cursor, change.clone()));
                }
            }
        }
        Ok(FeedPage { entries, next })
    }

    async fn grown_past(&self, position: Position) {
        loop {
            let grown = self.grown.notified();
            if self.objects.lock().len() as u64 > position.0 {
                return;
            }
            grown.await;
        }
    }
}

/// Keeps what it is told to keep.
struct Status {
    kept: Arc<Mutex<Vec<DeadLetter>>>,
}

#[async_trait]
impl StatusSource for Status {
    fn readiness(&self) -> Readiness {
        Readiness {
            ready: true,
            waiting_for: Vec::new(),
        }
    }

    fn last_change(&self, _: &str) -> u64 {
        0
    }

    async fn changed_after(&self, _: &str, _: u64) {
        std::future::pending().await
    }

    async fn data_health(&self, _: &str) -> Result<DataHealth, Failure> {
        Ok(DataHealth {
            journal_position: 9,
            ..DataHealth::default()
        })
    }

    async fn pipelines(&self) -> Result<Vec<PipelineInfo>, Failure> {
        Ok(vec![PipelineInfo {
            name: "contact_engagement".to_owned(),
            description: "decayed counts".to_owned(),
            sql: "SELECT 1".to_owned(),
            kind: "aggregation".to_owned(),
            state: BTreeMap::from([("groups".to_owned(), 3)]),
        }])
    }

    async fn explain_pipeline(&self, name: &str) -> Result<Value, Failure> {
        Ok(json!({"name": name, "sql": "SELECT 1"}))
    }

    async fn verify_pipelines(&self) -> Result<Value, Failure> {
        let differences = TENANTS.map(|tenant| marked(tenant, "row differs"));
        Ok(json!([{"pipeline": "contact_engagement", "differing": 1, "first_differences": differences}]))
    }

    /// Leaks on purpose.
    async fn dead_letters(&self, _: &str, _: usize) -> Result<Vec<DeadLetter>, Failure> {
        let letter = |tenant: &str| DeadLetter {
            tenant_id: tenant.to_owned(),
            refused_at: NOW,
            source: "http".to_owned(),
            refusal: Refusal::whole("missing_type", "no type"),
            body: marked(tenant, "{}"),
            body_is_base64: false,
        };
        Ok(TENANTS.map(letter).to_vec())
    }

    async fn keep_dead_letters(&self, letters: Vec<DeadLetter>) -> Result<(), Failure> {
        self.kept.lock().extend(letters);
        Ok(())
    }

    async fn replay_dead_letters(&self, _: &str) -> Result<ReplayReport, Failure> {
        Ok(ReplayReport::default())
    }

    async fn request_erasure(
        &self,
        caller: &Caller,
        subject: String,
        _: Vec<String>,
    ) -> Result<Value, Failure> {
        Ok(json!({"tenant_id": *caller.tenant_id, "subject": subject}))
    }

    async fn erasures(&self, _: &str) -> Result<Value, Failure> {
        Ok(json!({"waiting": [], "done": []}))
    }
}
