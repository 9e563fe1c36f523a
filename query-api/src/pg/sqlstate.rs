//! Which SQLSTATE (PostgreSQL, appendix A) says what went wrong.

use pgwire::error::{ErrorInfo, PgWireError};

use crate::sql::SqlError;

pub(super) const SYNTAX: &str = "42601";
pub(super) const NOT_SUPPORTED: &str = "0A000";
pub(super) const CANCELLED: &str = "57014";
pub(super) const FAILED_TRANSACTION: &str = "25P02";
pub(super) const BAD_CURSOR: &str = "34000";
pub(super) const BAD_VALUE: &str = "22023";
pub(super) const BAD_PASSWORD: &str = "28P01";
pub(super) const TOO_MANY_CONNECTIONS: &str = "53300";
pub(super) const LIMIT: &str = "54000";
pub(super) const TOO_MANY_REQUESTS: &str = "53400";

/// An error that ends the statement.
pub(super) fn error(code: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new(
        "ERROR".to_owned(),
        code.to_owned(),
        message.into(),
    )))
}

/// An error that ends the connection.
pub(super) fn fatal(code: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new(
        "FATAL".to_owned(),
        code.to_owned(),
        message.into(),
    )))
}

/// A failed query as PostgreSQL would say it, with our hint.
pub(super) fn of_sql(problem: SqlError) -> PgWireError {
    let mut info = ErrorInfo::new("ERROR".to_owned(), code_of(&problem).to_owned(), problem.message);
    info.hint = problem.hint;
    PgWireError::UserError(Box::new(info))
}

fn code_of(problem: &SqlError) -> &'static str {
    let says = |words: &[&str]| {
        let text = problem.message.to_ascii_lowercase();
        words.iter().any(|word| text.contains(word))
    };
    match problem.code {
        "sql_syntax" => SYNTAX,
        "unknown_table" => "42P01",
        "unknown_column" => "42703",
        "unknown_function" => "42883",
        "read_only" => "25006",
        "bad_parameter" => "22P02",
        "memory_limit" => "53200",
        "time_limit" => CANCELLED,
        "row_limit" => LIMIT,
        "too_many_queries" | "source_busy" => TOO_MANY_CONNECTIONS,
        "source_failed" => "58030",
        "execution_failed" if says(&["divide by zero"]) => "22012",
        "execution_failed" if says(&["cannot cast", "cannot parse", "parsing", "parse error"]) => "22P02",
        "execution_failed" if says(&["overflow"]) => "22003",
        "execution_failed" => "22000",
        "invalid_query" if says(&["not implemented", "unsupported", "not supported", "not yet"]) => {
            NOT_SUPPORTED
        }
        "invalid_query" if says(&["ambiguous"]) => "42702",
        "invalid_query" if says(&["group by"]) => "42803",
        "invalid_query" if says(&["coerce", "cast"]) => "42804",
        "invalid_query" => "42000",
        _ => "XX000",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_state() {
        for (code, message, state) in [
            ("sql_syntax", "expected an expression", "42601"),
            ("unknown_table", "table 'x' not found", "42P01"),
            ("read_only", "cannot run DROP", "25006"),
            ("execution_failed", "Divide by zero error", "22012"),
            (
                "execution_failed",
                "Cannot cast string 'x' to value of Int64 type",
                "22P02",
            ),
            ("invalid_query", "This feature is not implemented: x", "0A000"),
            ("internal", "", "XX000"),
        ] {
            let problem = SqlError {
                code,
                kind: revgauge_contract::ErrorKind::User,
                message: message.to_owned(),
                hint: None,
            };
            assert_eq!(code_of(&problem), state, "{code} {message}");
        }
    }
}
