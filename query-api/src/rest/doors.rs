//! The list of doors.

use axum::http::Method;
use revgauge_contract::access::{Role, Scope};

/// Who may open a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Nobody needs a key.
    Open,
    /// Every key: feeds and scores, which programs read.
    Any,
    /// People and reports: every role but `service`.
    Readers,
    /// What is about the tenant as a whole: revops and administrators.
    Analysts,
    /// Administrators.
    Admin,
}

impl Access {
    pub(super) const fn allows(self, role: Role) -> bool {
        match self {
            Self::Open | Self::Any => true,
            Self::Readers => role.is_person(),
            Self::Analysts => matches!(role, Role::Admin | Role::Revops),
            Self::Admin => matches!(role, Role::Admin),
        }
    }

    pub(super) const fn wording(self) -> &'static str {
        match self {
            Self::Open => "no key",
            Self::Any => "any key",
            Self::Readers => "a key of a person: role rep, manager, revops or admin",
            Self::Analysts => "a key of role revops or admin",
            Self::Admin => "a key of role admin",
        }
    }
}

/// A query parameter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// `string`, `integer` or `date-time`.
    pub(super) form: &'static str,
    pub(super) description: &'static str,
}

/// One method of one path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Door {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) summary: &'static str,
    pub(super) query: &'static [Parameter],
    /// Schema of the request body, by name.
    pub(super) takes: Option<&'static str>,
    /// Content type and schema name of the answer.
    pub(super) gives: (&'static str, &'static str),
}

impl Door {
    /// Whether its answers are about single people: reading them is noted in the audit log.
    pub(super) fn shows_people(&self) -> bool {
        const OTHERS: [&str; 11] = [
            "/metrics",
            "/health",
            "/v1/openapi.json",
            "/v1/pipelines",
            "/v1/data-health",
            "/v1/reports",
            "/v1/keys",
            "/v1/accounts/duplicates",
            "/v1/waterfall",
            "/v1/privacy/erasures",
            "/v1/forecast",
        ];
        self.access != Access::Open && !OTHERS.iter().any(|path| self.path.starts_with(path))
    }

    /// The scope a key needs here; none where there is nothing of the tenant to see.
    pub(super) fn scope(&self) -> Option<Scope> {
        match (self.access, self.path) {
            (Access::Open, _) | (_, "/metrics" | "/v1/openapi.json") => None,
            (Access::Admin, _) => Some(Scope::Admin),
            (_, "/v1/sql") => Some(Scope::Sql),
            (_, path) if path.starts_with("/v1/queries") => Some(Scope::Sql),
            (_, path) if path.starts_with("/v1/score-feed") => Some(Scope::Feed),
            _ => Some(Scope::Read),
        }
    }
}

const fn parameter(name: &'static str, form: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name,
        form,
        description,
    }
}

const AS_OF: Parameter = parameter(
    "as_of",
    "date-time",
    "answer with what was known at this instant; now when absent",
);
const AT: Parameter = parameter(
    "at",
    "date-time",
    "compute decay to this instant; as_of when absent; may lie ahead",
);
const LIMIT: Parameter = parameter("limit", "integer", "most entries of the answer");
const CURSOR: Parameter = parameter("cursor", "string", "'next' of the page before");
const OWNER: Parameter = parameter("owner_id", "string", "only those of this rep");
const ACCOUNT: Parameter = parameter("account_id", "string", "only those of this account");
const TIER: Parameter = parameter(
    "tier",
    "string",
    "only those in this tier (priority; for deals health)",
);
const TEXT: Parameter = parameter(
    "q",
    "string",
    "text within name, mail address, domain or id, any case",
);
const KIND: Parameter = parameter("entity_kind", "string", "contact, account or deal");
const AFTER: Parameter = parameter(
    "after",
    "string",
    "cursor of the last entry read; from the beginning when absent",
);

const LIST: &[Parameter] = &[LIMIT, CURSOR, OWNER, ACCOUNT, TIER, TEXT, AS_OF];
const INSTANTS: &[Parameter] = &[AS_OF, AT];
const HISTORY: &[Parameter] = &[
    parameter("score", "string", "only this score"),
    LIMIT,
    parameter("before", "date-time", "only entries before this instant"),
];
const CHANGES: &[Parameter] = &[
    parameter("from", "date-time", "earlier instant; required"),
    parameter("to", "date-time", "later instant; now when absent"),
];
const TIMELINE: &[Parameter] = &[
    parameter("before", "string", "instant, or 'next' of the page before"),
    LIMIT,
];

/// What a forecast is asked with.
const FORECAST: &[Parameter] = &[
    parameter(
        "period",
        "string",
        "such as 2026-Q4, 2026-11, 2026, current, next; the current quarter when absent",
    ),
    parameter(
        "period_start",
        "date-time",
        "start of the period, instead of its name",
    ),
    parameter("period_end", "date-time", "end of the period, excluded"),
    parameter(
        "fiscal_year_starts",
        "integer",
        "month with which the fiscal year begins, 1 to 12",
    ),
    parameter(
        "quantiles",
        "string",
        "probabilities with commas between; 0.1,0.25,0.5,0.75,0.9 when absent",
    ),
    parameter(
        "owner_id",
        "string",
        "only deals of these owners, with commas between",
    ),
    parameter(
        "team_of",
        "string",
        "only deals of this person and everyone below",
    ),
    parameter("pipeline", "string", "only this sales pipeline"),
    parameter(
        "quota",
        "string",
        "quota of the period, instead of those stored; attainment, its probability, coverage and pacing are answered",
    ),
    parameter(
        "currency",
        "string",
        "tell all amounts in this currency, by the rate of each deal's day",
    ),
    LIMIT,
    AS_OF,
];

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

const fn get(
    path: &'static str,
    access: Access,
    summary: &'static str,
    query: &'static [Parameter],
    schema: &'static str,
) -> Door {
    Door {
        method: "GET",
        path,
        access,
        summary,
        query,
        takes: None,
        gives: (JSON, schema),
    }
}

macro_rules! entity_doors {
    ($plural:literal, $one:literal) => {
        [
            get(
                concat!("/v1/", $plural),
                Access::Readers,
                concat!("List ", $plural),
                LIST,
                "ObjectPage",
            ),
            get(
                concat!("/v1/", $plural, "/{id}"),
                Access::Readers,
                concat!("One ", $one, " with its scores; the id may be any key of it"),
                INSTANTS,
                "ObjectWithScores",
            ),
            get(
                concat!("/v1/", $plural, "/{id}/scores"),
                Access::Any,
                concat!("Scores of one ", $one, ", now or as of an instant"),
                INSTANTS,
                "Scores",
            ),
            get(
                concat!("/v1/", $plural, "/{id}/scores/history"),
                Access::Any,
                concat!("What the score feed said about one ", $one, ", newest first"),
                HISTORY,
                "ScoreHistory",
            ),
            get(
                concat!("/v1/", $plural, "/{id}/explain"),
                Access::Readers,
                concat!("Scores of one ", $one, " with parts down to single recent events"),
                INSTANTS,
                "Scores",
            ),
            get(
                concat!("/v1/", $plural, "/{id}/changes"),
                Access::Readers,
                concat!("Why each score of one ", $one, " changed between two instants"),
                CHANGES,
                "Changes",
            ),
            get(
                concat!("/v1/", $plural, "/{id}/timeline"),
                Access::Readers,
                concat!("Events of one ", $one, ", newest first"),
                TIMELINE,
                "Timeline",
            ),
        ]
    };
}

const CONTACTS: [Door; 7] = entity_doors!("contacts", "contact");
const ACCOUNTS: [Door; 7] = entity_doors!("accounts", "account");
const DEALS: [Door; 7] = entity_doors!("deals", "deal");

const OTHERS: &[Door] = &[
    get(
        "/v1/deals/{id}/stakeholders",
        Access::Readers,
        "Stakeholder map: the people of a deal with role, authority, engagement and last sign of life",
        &[AS_OF],
        "Stakeholders",
    ),
    get(
        "/v1/accounts/duplicates",
        Access::Readers,
        "Accounts that look like one company but are not merged, the surest first",
        &[
            parameter("shared", "string", "only those that share this: domain or name"),
            LIMIT,
            AS_OF,
        ],
        "Duplicates",
    ),
    get(
        "/v1/scores",
        Access::Any,
        "Priority queue: entities of a kind by one score",
        &[
            KIND,
            parameter("score", "string", "score to order by; priority, for deals health"),
            TIER,
            OWNER,
            ACCOUNT,
            parameter("order", "string", "desc or asc; asc for health"),
            LIMIT,
            AS_OF,
        ],
        "Queue",
    ),
    get(
        "/v1/alerts",
        Access::Readers,
        "Alerts that hold, most severe first",
        &[
            KIND,
            parameter("severity", "string", "high, medium or low"),
            parameter("rule", "string", "only this rule"),
            LIMIT,
            AS_OF,
        ],
        "Alerts",
    ),
    get(
        "/v1/briefing",
        Access::Readers,
        "Briefing: what changed since an instant, deals at risk and whom to call; JSON, Markdown or HTML by Accept",
        &[
            parameter("since", "date-time", "changes since then; one day ago by default"),
            parameter("format", "string", "json, markdown or html; overrides Accept"),
            OWNER,
            LIMIT,
            AS_OF,
        ],
        "Briefing",
    ),
    get(
        "/v1/text-signals",
        Access::Readers,
        "Signals found in transcripts, mails and notes within their retention, each with its place and what to do",
        &[
            parameter("signal", "string", "only this signal"),
            parameter("deal_id", "string", "only this deal"),
            parameter("user_id", "string", "only texts of this rep"),
            parameter("severity", "string", "high, medium or low"),
            LIMIT,
            AS_OF,
        ],
        "TextSignals",
    ),
    get(
        "/v1/compliance",
        Access::Readers,
        "Compliance report: unapproved claims, disparagement, wrong figures and missing disclosures per rep",
        &[
            parameter("user_id", "string", "only texts of this rep"),
            parameter("severity", "string", "high, medium or low"),
            LIMIT,
            AS_OF,
        ],
        "Compliance",
    ),
    Door {
        gives: (NDJSON, "FeedEntry"),
        ..get(
            "/v1/score-feed",
            Access::Any,
            "Score changes in log order, one JSON line each; 'next' in the header Revgauge-Next-Cursor",
            &[
                AFTER,
                LIMIT,
                parameter("wait_seconds", "integer", "wait for a new entry at most so long"),
            ],
            "FeedEntry",
        )
    },
    Door {
        gives: ("text/event-stream", "FeedEntry"),
        ..get(
            "/v1/score-feed/stream",
            Access::Any,
            "Score changes as server-sent events; resumes after Last-Event-ID",
            &[AFTER],
            "FeedEntry",
        )
    },
    get(
        "/v1/models",
        Access::Analysts,
        "Trained models, how they stand and how good they are",
        &[],
        "Models",
    ),
    get(
        "/v1/models/{target}/card",
        Access::Analysts,
        "The card of a version: data, choice, held-out figures, probes for leaks",
        &[parameter("version", "integer", "the serving version when absent")],
        "ModelCard",
    ),
    Door {
        method: "POST",
        takes: Some("TrainingQuestion"),
        ..get(
            "/v1/models/{target}/train",
            Access::Admin,
            "Train a new version on the tenant's own past, point in time",
            &[],
            "TrainedModel",
        )
    },
    Door {
        method: "POST",
        takes: Some("PromotionRequest"),
        ..get(
            "/v1/models/{target}/promote",
            Access::Admin,
            "Make a version the serving one; refused unless it is better",
            &[],
            "OneModel",
        )
    },
    Door {
        method: "POST",
        ..get(
            "/v1/models/{target}/rollback",
            Access::Admin,
            "Let the version that served before serve again",
            &[],
            "OneModel",
        )
    },
    Door {
        method: "POST",
        takes: Some("ShadowRequest"),
        ..get(
            "/v1/models/{target}/shadow",
            Access::Admin,
            "Judge with a version beside the serving one; null ends it",
            &[],
            "ShadowModel",
        )
    },
    get(
        "/v1/models/{target}/compare",
        Access::Analysts,
        "Two versions on the rows of history that neither had learnt from",
        &[
            parameter("from", "integer", "one version; required"),
            parameter("to", "integer", "the other; required"),
        ],
        "ModelComparison",
    ),
    get(
        "/v1/models/{target}/drift",
        Access::Analysts,
        "How far deals and outcomes have moved from the serving version's training",
        &[],
        "ModelDrift",
    ),
    Door {
        method: "POST",
        takes: Some("SqlRequest"),
        ..get(
            "/v1/sql",
            Access::Readers,
            "Read-only SQL; answers as JSON, NDJSON, CSV or Arrow stream",
            &[],
            "SqlAnswer",
        )
    },
    Door {
        method: "POST",
        takes: Some("SqlRequest"),
        ..get(
            "/v1/queries",
            Access::Readers,
            "Start a query whose answer is fetched later; says where to look",
            &[],
            "LaterQuery",
        )
    },
    get(
        "/v1/queries/{id}",
        Access::Readers,
        "Where a started query is, and where its result, once it is done",
        &[],
        "LaterQuery",
    ),
    get(
        "/v1/queries/{id}/result",
        Access::Readers,
        "The result of a started query, in the format it was asked for",
        &[],
        "SqlAnswer",
    ),
    Door {
        method: "DELETE",
        ..get(
            "/v1/queries/{id}",
            Access::Readers,
            "End a started query and forget its result",
            &[],
            "ForgottenQuery",
        )
    },
    get(
        "/v1/metrics",
        Access::Readers,
        "The semantic layer: metrics with grain, additivity, format and dimensions",
        &[],
        "Metrics",
    ),
    get(
        "/v1/metrics/{name}",
        Access::Readers,
        "Values of one metric; a semi-additive one is of an instant and refused over a period",
        &[
            parameter(
                "by",
                "string",
                "dimensions to break it down by, with commas between",
            ),
            parameter("every", "string", "one row a day, week, month, quarter or year"),
            parameter("from", "date-time", "start of the time that counts"),
            parameter("to", "date-time", "end of it, excluded"),
            LIMIT,
            AS_OF,
        ],
        "OneMetric",
    ),
    get(
        "/v1/reports",
        Access::Readers,
        "Standard reports: title, question, columns, SQL",
        &[],
        "Reports",
    ),
    get(
        "/v1/reports/{name}",
        Access::Readers,
        "One standard report with its rows",
        &[LIMIT],
        "OneReport",
    ),
    get(
        "/v1/forecast",
        Access::Readers,
        "Forecast of a period: closed, open and not yet created, by method, with quantiles, weights, accuracy and the math",
        FORECAST,
        "ForecastAnswer",
    ),
    get(
        "/v1/forecast/nodes",
        Access::Readers,
        "Forecast of each team and person with its own range; the means of the nodes right below a node sum to its own",
        FORECAST,
        "ForecastNodes",
    ),
    Door {
        method: "POST",
        takes: Some("ForecastQuestion"),
        ..get(
            "/v1/forecast",
            Access::Readers,
            "The forecast with some deals seen otherwise (what-if); nothing stored changes",
            &[LIMIT],
            "ForecastAnswer",
        )
    },
    get(
        "/v1/waterfall",
        Access::Readers,
        "What moved the open pipeline between two instants, from bars to deals, balanced to the cent",
        &[
            parameter("from", "date-time", "earlier instant; required"),
            parameter("to", "date-time", "later instant; now when absent"),
            parameter("mode", "string", "net (the default) or gross"),
            parameter("period_start", "date-time", "only close dates from here on"),
            parameter("period_end", "date-time", "only close dates before"),
            OWNER,
            parameter(
                "team_of",
                "string",
                "only those of this person and everyone below",
            ),
            parameter("pipeline", "string", "only those of this sales pipeline"),
            parameter(
                "group_by",
                "string",
                "none, stage, forecast_category, owner or pipeline",
            ),
            parameter("bucket", "string", "only parts of this bar"),
            LIMIT,
        ],
        "Waterfall",
    ),
    get(
        "/v1/data-health",
        Access::Analysts,
        "How far each reader of the log has come, and how far its sources",
        &[],
        "DataHealth",
    ),
    get(
        "/v1/pipelines",
        Access::Analysts,
        "Pipelines with their SQL and state",
        &[],
        "Pipelines",
    ),
    get(
        "/v1/pipelines/{name}",
        Access::Analysts,
        "One pipeline: SQL, plan, columns, state",
        &[],
        "OnePipeline",
    ),
    Door {
        method: "POST",
        ..get(
            "/v1/pipelines/verify",
            Access::Admin,
            "Compare every pipeline's live state with its batch query over the lake",
            &[],
            "PipelineReports",
        )
    },
    get(
        "/v1/dead-letters",
        Access::Analysts,
        "Refused events, newest first",
        &[LIMIT],
        "DeadLetters",
    ),
    Door {
        method: "POST",
        takes: Some("RefusedRows"),
        ..get(
            "/v1/dead-letters",
            Access::Admin,
            "Keep rows that an import refused before they became events",
            &[],
            "KeptRows",
        )
    },
    Door {
        method: "POST",
        ..get(
            "/v1/dead-letters/replay",
            Access::Admin,
            "Judge refused events again and take those that pass",
            &[],
            "ReplayReport",
        )
    },
    get("/v1/keys", Access::Admin, "Keys of the tenant", &[], "Keys"),
    Door {
        method: "POST",
        takes: Some("KeyRequest"),
        ..get(
            "/v1/keys",
            Access::Admin,
            "Make a key; the secret is shown this once",
            &[],
            "NewKey",
        )
    },
    Door {
        method: "DELETE",
        ..get(
            "/v1/keys/{key_id}",
            Access::Admin,
            "Revoke a key",
            &[],
            "RevokedKey",
        )
    },
    Door {
        method: "POST",
        ..get(
            "/v1/keys/{key_id}/rotate",
            Access::Admin,
            "Make a successor; the old key stops after the grace period",
            &[parameter(
                "grace_seconds",
                "integer",
                "how long both work; 86400 when absent",
            )],
            "NewKey",
        )
    },
    get(
        "/v1/users",
        Access::Admin,
        "People who sign in to the dashboards",
        &[],
        "Users",
    ),
    Door {
        method: "POST",
        takes: Some("UserRequest"),
        ..get(
            "/v1/users",
            Access::Admin,
            "Make a user with a password",
            &[],
            "User",
        )
    },
    Door {
        method: "DELETE",
        ..get(
            "/v1/users/{login}",
            Access::Admin,
            "End a user and its sessions",
            &[],
            "User",
        )
    },
    Door {
        method: "POST",
        ..get(
            "/v1/sign-in-links",
            Access::Admin,
            "Make a link that signs its first visitor in to the dashboards as this key",
            &[],
            "SignInLink",
        )
    },
    get(
        "/v1/saved-reports",
        Access::Readers,
        "Reports that people keep, with their schedules",
        &[],
        "SavedReports",
    ),
    Door {
        method: "POST",
        takes: Some("SaveRequest"),
        ..get(
            "/v1/saved-reports",
            Access::Readers,
            "Keep a query as a report, and schedule it",
            &[],
            "SavedReport",
        )
    },
    get(
        "/v1/saved-reports/{report_id}",
        Access::Readers,
        "One of them, with its deliveries",
        &[],
        "SavedReportPage",
    ),
    Door {
        method: "DELETE",
        ..get(
            "/v1/saved-reports/{report_id}",
            Access::Readers,
            "Forget a report and its deliveries",
            &[],
            "SavedReport",
        )
    },
    Door {
        method: "POST",
        takes: Some("ScheduleRequest"),
        ..get(
            "/v1/saved-reports/{report_id}/schedule",
            Access::Readers,
            "Set when a report goes where; without a body it goes nowhere",
            &[],
            "SavedReport",
        )
    },
    Door {
        method: "POST",
        ..get(
            "/v1/saved-reports/{report_id}/deliveries",
            Access::Readers,
            "Deliver a scheduled report now, beside its schedule",
            &[],
            "StartedDelivery",
        )
    },
    get(
        "/v1/audit-log",
        Access::Admin,
        "Who read personal data, changed something or was refused, newest first",
        &[
            parameter("from", "date-time", "only records from then on"),
            parameter("to", "date-time", "only records before"),
            parameter("action", "string", "read, change, denied or gap"),
            parameter("actor", "string", "only those of this key id or 'user:login'"),
            LIMIT,
        ],
        "AnyObject",
    ),
    get(
        "/v1/privacy/export",
        Access::Admin,
        "Everything that is stored about one contact",
        &[parameter(
            "subject",
            "string",
            "an id or mail address of the contact; required",
        )],
        "AnyObject",
    ),
    get(
        "/v1/privacy/erasures",
        Access::Admin,
        "Requests for erasure that wait, and reports of those that were carried out",
        &[],
        "AnyObject",
    ),
    Door {
        method: "POST",
        takes: Some("AnyObject"),
        ..get(
            "/v1/privacy/erasures",
            Access::Admin,
            "Ask for the erasure of a contact; it is carried out when the server next starts",
            &[],
            "AnyObject",
        )
    },
    get("/v1/openapi.json", Access::Any, "This document", &[], "AnyObject"),
    get(
        "/health/live",
        Access::Open,
        "Whether the process answers",
        &[],
        "Live",
    ),
    get(
        "/health/ready",
        Access::Open,
        "Whether it answers rightly: 200 or 503 with reasons",
        &[],
        "Ready",
    ),
    Door {
        gives: ("text/plain", "Text"),
        ..get(
            "/metrics",
            Access::Any,
            "Metrics in Prometheus text format",
            &[],
            "Text",
        )
    },
];

/// Every door.
pub(super) fn all() -> impl Iterator<Item = &'static Door> {
    CONTACTS.iter().chain(&ACCOUNTS).chain(&DEALS).chain(OTHERS)
}

/// The door a request knocks at.
pub(super) fn find(method: &Method, path: &str) -> Option<&'static Door> {
    // A HEAD request is a GET without the body.
    let method = if method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    all().find(|door| door.method == method && door.path == path)
}
