//! Statements that ask nothing of the data: settings, transactions, cursors, COPY.
//!
//! Everything is read-only, so a transaction changes nothing; it has the states clients expect of one.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{self, CloseCursor, FetchDirection, Reset, Set};
use futures::{StreamExt as _, stream};
use pgwire::{
    api::{
        Type,
        portal::Format,
        results::{CopyResponse, DataRowEncoder, FieldInfo, QueryResponse, Response, Tag},
    },
    error::PgWireResult,
    messages::{copy::CopyData, response::TransactionStatus},
};

use super::{
    answer::{self, Cursor},
    connection::{Connection, duration_ms},
    copy::{self, CopyFormat},
    functions::SERVER_VERSION,
    sqlstate,
    statements::NamedStatement,
};

/// Settings that clients read or set, with what holds here. Others are refused by name (42704).
pub(super) const KNOWN: &[(&str, &str)] = &[
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_table_access_method", "heap"),
    ("default_transaction_deferrable", "off"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("enable_bitmapscan", "on"),
    ("enable_seqscan", "on"),
    ("extra_float_digits", "1"),
    ("geqo", "on"),
    ("idle_in_transaction_session_timeout", "0"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "off"),
    ("jit", "off"),
    ("lock_timeout", "0"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("row_security", "on"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "160006"),
    ("session_authorization", "revgauge"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("synchronize_seqscans", "on"),
    ("timezone", "UTC"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
    ("xmloption", "content"),
];

/// Whether a statement is one of this file's.
pub(super) fn is_command(statement: &ast::Statement) -> bool {
    use ast::Statement as S;
    matches!(
        statement,
        S::Set(_)
            | S::ShowVariable { .. }
            | S::Reset(_)
            | S::Discard { .. }
            | S::Deallocate { .. }
            | S::Prepare { .. }
            | S::Execute { .. }
            | S::StartTransaction { .. }
            | S::Commit { .. }
            | S::Rollback { .. }
            | S::Savepoint { .. }
            | S::ReleaseSavepoint { .. }
            | S::LISTEN { .. }
            | S::UNLISTEN { .. }
            | S::Declare { .. }
            | S::Fetch { .. }
            | S::Close { .. }
            | S::Copy { .. }
    )
}

/// Whether a statement may run while the transaction has failed.
pub(super) fn ends_transaction(statement: &ast::Statement) -> bool {
    matches!(
        statement,
        ast::Statement::Commit { .. } | ast::Statement::Rollback { .. }
    )
}

/// Columns a command answers with; none for most.
pub(super) async fn fields(
    connection: &Connection,
    statement: &ast::Statement,
    format: &Format,
) -> PgWireResult<Vec<FieldInfo>> {
    match statement {
        ast::Statement::ShowVariable { variable } => Ok(vec![text_field(&variable_name(variable), format)]),
        ast::Statement::Fetch { name, .. } => {
            let cursors = connection.cursors.lock().await;
            let cursor = cursors.get(&name.value).ok_or_else(|| no_cursor(&name.value))?;
            answer::fields_of(&cursor.answer.schema, &cursor.query, format)
        }
        ast::Statement::Execute { .. } => {
            let named = executed(connection, statement)?;
            if is_command(&named) {
                return Ok(Vec::new());
            }
            let plan = connection.plan(named.clone()).await?;
            answer::fields_of(plan.schema().as_arrow(), &named, format)
        }
        _ => Ok(Vec::new()),
    }
}

fn text_field(name: &str, format: &Format) -> FieldInfo {
    FieldInfo::new(name.to_owned(), None, None, Type::TEXT, format.format_for(0))
}

fn no_cursor(name: &str) -> pgwire::error::PgWireError {
    sqlstate::error(sqlstate::BAD_CURSOR, format!("cursor \"{name}\" does not exist"))
}

/// Runs a command.
pub(super) async fn run(
    connection: &Arc<Connection>,
    statement: &ast::Statement,
    status: TransactionStatus,
    format: &Format,
) -> PgWireResult<Response> {
    let done = |tag: &str| Ok(Response::Execution(Tag::new(tag)));
    match statement {
        ast::Statement::Set(set) => {
            set_variable(connection, set)?;
            done("SET")
        }
        ast::Statement::ShowVariable { variable } => show(connection, &variable_name(variable), format),
        ast::Statement::Reset(reset) => {
            let mut variables = connection.variables.lock();
            match &reset.reset {
                Reset::ALL => variables.clear(),
                Reset::ConfigurationParameter(name) => {
                    variables.remove(&name.to_string().to_lowercase());
                }
            }
            done("RESET")
        }
        ast::Statement::Discard { .. } => {
            connection.variables.lock().clear();
            connection.cursors.lock().await.clear();
            connection.statements.lock().clear();
            done("DISCARD ALL")
        }
        ast::Statement::Prepare {
            name,
            data_types,
            statement,
        } => {
            prepare(connection, &name.value, data_types, statement)?;
            done("PREPARE")
        }
        ast::Statement::Execute { .. } => {
            let named = executed(connection, statement)?;
            if is_command(&named) {
                return Box::pin(run(connection, &named, status, format)).await;
            }
            let answer = connection.open(named.clone(), None).await?;
            answer::respond(connection, answer, &named, format).map(Response::Query)
        }
        ast::Statement::Deallocate { name, .. } => {
            let mut statements = connection.statements.lock();
            // A driver may also end what it prepared by the protocol, which the protocol's own store holds.
            if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all") {
                statements.clear();
                return done("DEALLOCATE ALL");
            }
            statements.remove(&name.value);
            done("DEALLOCATE")
        }
        ast::Statement::StartTransaction { begin, .. } => {
            let tag = if *begin { "BEGIN" } else { "START TRANSACTION" };
            Ok(Response::TransactionStart(Tag::new(tag)))
        }
        ast::Statement::Commit { .. } => {
            connection.cursors.lock().await.clear();
            let failed = matches!(status, TransactionStatus::Error);
            let tag = if failed { "ROLLBACK" } else { "COMMIT" };
            Ok(Response::TransactionEnd(Tag::new(tag)))
        }
        ast::Statement::Rollback {
            savepoint: Some(_), ..
        } => done("ROLLBACK"),
        ast::Statement::Rollback { .. } => {
            connection.cursors.lock().await.clear();
            Ok(Response::TransactionEnd(Tag::new("ROLLBACK")))
        }
        ast::Statement::Savepoint { .. } => done("SAVEPOINT"),
        ast::Statement::ReleaseSavepoint { .. } => done("RELEASE"),
        ast::Statement::LISTEN { .. } => done("LISTEN"),
        ast::Statement::UNLISTEN { .. } => done("UNLISTEN"),
        ast::Statement::Declare { stmts } => declare(connection, stmts).await,
        ast::Statement::Fetch { name, direction, .. } => {
            fetch(connection, &name.value, fetch_count(direction)?, format).await
        }
        ast::Statement::Close { cursor } => {
            let mut cursors = connection.cursors.lock().await;
            match cursor {
                CloseCursor::All => cursors.clear(),
                CloseCursor::Specific { name } => {
                    cursors
                        .remove(&name.value)
                        .ok_or_else(|| no_cursor(&name.value))?;
                }
            }
            done("CLOSE CURSOR")
        }
        ast::Statement::Copy { .. } => copy_out(connection, statement).await,
        other => Err(sqlstate::error(
            sqlstate::NOT_SUPPORTED,
            format!("cannot run {other}"),
        )),
    }
}

/// Keeps a statement under a name.
fn prepare(
    connection: &Connection,
    name: &str,
    kinds: &[ast::DataType],
    statement: &ast::Statement,
) -> PgWireResult<()> {
    let mut statements = connection.statements.lock();
    if statements.contains_key(name) {
        return Err(sqlstate::error(
            "42P05",
            format!("prepared statement \"{name}\" already exists"),
        ));
    }
    if statements.len() >= connection.settings.statements_per_connection {
        return Err(sqlstate::error(
            sqlstate::LIMIT,
            format!(
                "{} statements are prepared, which is the limit: DEALLOCATE one",
                statements.len()
            ),
        ));
    }
    let named = NamedStatement {
        statement: statement.clone(),
        kinds: kinds.to_vec(),
    };
    statements.insert(name.to_owned(), named);
    Ok(())
}

/// The statement that `EXECUTE name (values)` means.
fn executed(connection: &Connection, statement: &ast::Statement) -> PgWireResult<ast::Statement> {
    let ast::Statement::Execute {
        name: Some(name),
        parameters,
        ..
    } = statement
    else {
        return Err(sqlstate::error(sqlstate::SYNTAX, "EXECUTE name (values)"));
    };
    let name = name
        .0
        .last()
        .and_then(ast::ObjectNamePart::as_ident)
        .map_or_else(String::new, |ident| ident.value.clone());
    let statements = connection.statements.lock();
    let named = statements
        .get(&name)
        .ok_or_else(|| sqlstate::error("26000", format!("prepared statement \"{name}\" does not exist")))?;
    named.with(parameters)
}

fn set_variable(connection: &Connection, set: &Set) -> PgWireResult<()> {
    let (name, value) = match set {
        Set::SingleAssignment { variable, values, .. } => {
            let values: Vec<String> = values.iter().map(|value| plain(&value.to_string())).collect();
            (variable.to_string().to_lowercase(), values.join(", "))
        }
        Set::SetTimeZone { value, .. } => ("timezone".to_owned(), plain(&value.to_string())),
        Set::SetNames { charset_name, .. } => ("client_encoding".to_owned(), charset_name.value.clone()),
        _ => return Ok(()),
    };
    assign(connection, &name, &value)
}

/// What a setting is on this connection; `None` when it is unknown.
pub(super) fn value_of(connection: &Connection, name: &str) -> Option<String> {
    let set = connection.variables.lock().get(name).cloned();
    let known = KNOWN.iter().find(|(known, _)| *known == name);
    set.or_else(|| known.map(|(_, value)| (*value).to_owned()))
}

/// Sets a setting for this connection; the value `default` lets go of it.
///
/// # Errors
/// On names that are none, and values that cannot be.
pub(super) fn assign(connection: &Connection, name: &str, value: &str) -> PgWireResult<()> {
    if !name.contains('.') && !KNOWN.iter().any(|(known, _)| *known == name) {
        return Err(unknown_setting(name));
    }
    if name == "statement_timeout" && !value.eq_ignore_ascii_case("default") && duration_ms(value).is_none() {
        return Err(sqlstate::error(
            sqlstate::BAD_VALUE,
            format!("invalid value for parameter \"statement_timeout\": \"{value}\""),
        ));
    }
    if name == "client_encoding"
        && !matches!(value.to_lowercase().replace('-', "").as_str(), "utf8" | "unicode")
    {
        return Err(sqlstate::error(
            sqlstate::BAD_VALUE,
            format!("cannot use client_encoding \"{value}\": only UTF8 is spoken here"),
        ));
    }
    let mut variables = connection.variables.lock();
    if value.eq_ignore_ascii_case("default") {
        variables.remove(name);
    } else {
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(())
}

fn plain(text: &str) -> String {
    text.trim_matches(|mark| mark == '\'' || mark == '"').to_owned()
}

pub(super) fn unknown_setting(name: &str) -> pgwire::error::PgWireError {
    sqlstate::error(
        "42704",
        format!("unrecognized configuration parameter \"{name}\""),
    )
}

fn variable_name(parts: &[ast::Ident]) -> String {
    let words: Vec<String> = parts.iter().map(|part| part.value.to_lowercase()).collect();
    match words.join(" ").as_str() {
        "transaction isolation level" => "transaction_isolation".to_owned(),
        "time zone" => "timezone".to_owned(),
        _ => words.join("."),
    }
}

fn show(connection: &Connection, name: &str, format: &Format) -> PgWireResult<Response> {
    let value = value_of(connection, name).ok_or_else(|| unknown_setting(name))?;
    let fields = Arc::new(vec![text_field(name, format)]);
    let mut encoder = DataRowEncoder::new(Arc::clone(&fields));
    encoder.encode_field(&value)?;
    let row = encoder.take_row();
    let mut response = QueryResponse::new(fields, stream::iter([Ok(row)]));
    response.set_command_tag("SHOW");
    Ok(Response::Query(response))
}

async fn declare(connection: &Arc<Connection>, declared: &[ast::Declare]) -> PgWireResult<Response> {
    let [cursor] = declared else {
        return Err(sqlstate::error(sqlstate::SYNTAX, "declare one cursor at a time"));
    };
    let (Some(name), Some(query)) = (cursor.names.first(), &cursor.for_query) else {
        return Err(sqlstate::error(sqlstate::SYNTAX, "DECLARE name CURSOR FOR query"));
    };
    let mut cursors = connection.cursors.lock().await;
    if cursors.contains_key(&name.value) {
        return Err(sqlstate::error(
            "42P03",
            format!("cursor \"{}\" already exists", name.value),
        ));
    }
    if cursors.len() >= connection.settings.cursors_per_connection {
        return Err(sqlstate::error(
            sqlstate::LIMIT,
            format!(
                "{} cursors are open, which is the limit: close one",
                cursors.len()
            ),
        ));
    }
    let query = ast::Statement::Query(query.clone());
    let answer = connection.open(query.clone(), None).await?;
    let open = Cursor {
        query,
        answer,
        rest: None,
    };
    cursors.insert(name.value.clone(), open);
    Ok(Response::Execution(Tag::new("DECLARE CURSOR")))
}

fn fetch_count(direction: &FetchDirection) -> PgWireResult<usize> {
    let number = |limit: &ast::ValueWithSpan| {
        limit.to_string().parse::<usize>().map_err(|_| {
            sqlstate::error(
                sqlstate::BAD_VALUE,
                format!("cannot fetch {limit} rows: cursors only go forward"),
            )
        })
    };
    match direction {
        FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => number(limit),
        FetchDirection::Next | FetchDirection::Forward { limit: None } => Ok(1),
        FetchDirection::All | FetchDirection::ForwardAll => Ok(usize::MAX),
        other => Err(sqlstate::error(
            "55000",
            format!("cannot fetch {other}: cursors only go forward"),
        )),
    }
}

async fn fetch(
    connection: &Arc<Connection>,
    name: &str,
    count: usize,
    format: &Format,
) -> PgWireResult<Response> {
    let mut cursors = connection.cursors.lock().await;
    let cursor = cursors.get_mut(name).ok_or_else(|| no_cursor(name))?;
    let fields = Arc::new(answer::fields_of(&cursor.answer.schema, &cursor.query, format)?);
    let rows = connection.unless_cancelled(cursor.take(count, &fields)).await??;
    let mut response = QueryResponse::new(fields, stream::iter(rows.into_iter().map(Ok)));
    response.set_command_tag("FETCH");
    Ok(Response::Query(response))
}

async fn copy_out(connection: &Arc<Connection>, statement: &ast::Statement) -> PgWireResult<Response> {
    let (query, format) = copy::plan(statement)?;
    let binary = format == CopyFormat::Binary;
    let wire = if binary {
        Format::UnifiedBinary
    } else {
        Format::UnifiedText
    };
    let answer = connection.open(query.clone(), None).await?;
    let fields = Arc::new(answer::fields_of(&answer.schema, &query, &wire)?);
    let names: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
    let mut prologue = format.prologue(&names);
    let epilogue = stream::iter(format.epilogue().map(Ok));
    let columns = fields.len();
    let rows = answer::rows(Arc::clone(connection), answer, fields);
    let lines = rows
        .map(move |row| row.map(|row| format.row(&row)))
        .chain(epilogue);
    if !binary {
        let begun = stream::iter(prologue.map(Ok)).chain(lines);
        let response = CopyResponse::new(0, columns, Box::pin(begun));
        return Ok(Response::CopyOut(response));
    }
    // The header of the binary form shares its message with what comes first: readers expect it there.
    let lines = lines.map(move |line| {
        let line = line?;
        Ok(match prologue.take() {
            None => line,
            Some(header) => CopyData::new([header.data, line.data].concat().into()),
        })
    });
    Ok(Response::CopyOut(CopyResponse::new(1, columns, Box::pin(lines))))
}
