//! What can go wrong with a query, said so that the asker can act, and without a word of another tenant's data.

use datafusion::common::{DataFusionError, SchemaError};
use revgauge_contract::{Classified, ErrorKind, error::Failure};

/// An error of a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    /// Stable, for programs: `sql_syntax`, `unknown_table`, `unknown_column`, `unknown_function`, `read_only`,
    /// `bad_parameter`, `invalid_query`, `execution_failed`, `memory_limit`, `time_limit`, `row_limit`,
    /// `too_many_queries`, `source_failed`, `internal`.
    pub code: &'static str,
    /// Whose failure it is.
    pub kind: ErrorKind,
    /// For people.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Classified for SqlError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl SqlError {
    pub(super) fn new(code: &'static str, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            code,
            kind,
            message: message.into(),
            hint: None,
        }
    }

    pub(super) fn user(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, ErrorKind::User, message)
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn read_only(what: &str) -> Self {
        Self::user("read_only", format!("cannot run {what}: this door only reads"))
            .hint("use SELECT, WITH, EXPLAIN, DESCRIBE or SHOW TABLES")
    }

    pub(crate) fn time_limit(timeout_ms: u64) -> Self {
        Self::new(
            "time_limit",
            ErrorKind::Limit,
            format!("query stopped after {timeout_ms} ms"),
        )
        .hint("narrow it (event_time, entity_kind, entity_id), aggregate, or ask for more with timeout_ms")
    }

    pub(super) fn row_limit(limit: usize) -> Self {
        Self::new(
            "row_limit",
            ErrorKind::Limit,
            format!("the answer has more than {limit} rows"),
        )
        .hint("add LIMIT, aggregate, or set limit_rows to get the first rows only")
    }

    pub(super) fn too_many(limit: usize) -> Self {
        Self::new(
            "too_many_queries",
            ErrorKind::Limit,
            format!("{limit} queries are running already"),
        )
        .hint("wait for one of them to end and try again")
    }

    pub(super) fn failure(failure: Failure) -> Self {
        let code = match failure.kind {
            ErrorKind::User => "invalid_query",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Limit => "source_busy",
            ErrorKind::External => "source_failed",
            ErrorKind::Data | ErrorKind::Internal => return Self::internal(&failure.message),
        };
        Self::new(code, failure.kind, failure.message)
    }

    /// A defect of ours: the text goes to the log, not to the asker.
    pub(crate) fn internal(text: &str) -> Self {
        tracing::error!(error = text, "query failed inside");
        Self::new(
            "internal",
            ErrorKind::Internal,
            "the query engine failed on this query",
        )
        .hint("the log of the server says why; a simpler form of the query may work")
    }
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::SQL(parser, _) => {
                let text = parser.to_string();
                let text = text.strip_prefix("sql parser error: ").unwrap_or(&text).to_owned();
                Self::user("sql_syntax", text).hint("the dialect is DataFusion's, close to PostgreSQL's")
            }
            DataFusionError::SchemaError(schema, _) => schema_error(schema),
            DataFusionError::Plan(text) => plan_error(text),
            DataFusionError::NotImplemented(text) => Self::user("invalid_query", one_line(text)),
            DataFusionError::Configuration(text) => Self::user("invalid_query", one_line(text)),
            DataFusionError::ResourcesExhausted(_) => Self::new(
                "memory_limit",
                ErrorKind::Limit,
                "the query needs more memory than one query may have",
            )
            .hint("aggregate or filter earlier, select fewer columns, avoid ORDER BY over everything and cross joins"),
            DataFusionError::Execution(text) => Self::user("execution_failed", one_line(text)),
            DataFusionError::ArrowError(arrow, _) => Self::user("execution_failed", one_line(&arrow.to_string())),
            DataFusionError::External(inner) => match inner.downcast_ref::<Failure>() {
                Some(failure) => Self::failure(failure.clone()),
                None => Self::internal(&inner.to_string()),
            },
            other => Self::internal(&other.to_string()),
        }
    }
}

fn schema_error(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<&str> = valid_fields.iter().map(|column| column.name.as_str()).collect();
            let problem = SqlError::user("unknown_column", format!("no column '{}' here", field.name));
            match nearest(&field.name, &names) {
                Some(near) => problem.hint(format!("did you mean '{near}'? columns: {}", listed(&names))),
                None => problem.hint(format!("columns: {}", listed(&names))),
            }
        }
        other => SqlError::user("invalid_query", one_line(&other.to_string())),
    }
}

fn plan_error(text: &str) -> SqlError {
    let text = one_line(text);
    if text.starts_with("table function") {
        return SqlError::user("unknown_function", text)
            .hint("table functions: scores_as_of(instant), pipeline_as_of(instant), generate_series(a, b)");
    }
    if text.starts_with("table '") && text.contains("not found") {
        let text = text.replace("revgauge.public.", "");
        return SqlError::user("unknown_table", text).hint("SHOW TABLES lists the tables");
    }
    if text.starts_with("Invalid function") {
        return SqlError::user("unknown_function", text)
            .hint("SELECT routine_name FROM information_schema.routines lists the functions");
    }
    for (prefix, what) in [
        ("DDL not supported: ", ""),
        ("DML not supported: ", ""),
        ("Statement not supported: ", ""),
    ] {
        if let Some(verb) = text.strip_prefix(prefix) {
            return SqlError::read_only(&format!("{what}{verb}"));
        }
    }
    SqlError::user("invalid_query", text)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(40).copied().collect::<Vec<_>>().join(", ");
    if names.len() > 40 {
        format!("{shown}, ...")
    } else {
        shown
    }
}

/// The candidate most like a text, when it is alike at all.
pub(crate) fn nearest<'a>(text: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let text = text.to_lowercase();
    candidates
        .iter()
        .map(|candidate| (strsim::jaro_winkler(&text, &candidate.to_lowercase()), *candidate))
        .filter(|(likeness, _)| *likeness > 0.78)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
