//! Rows of an answer in PostgreSQL's shape: names, types, text or binary, taken as the client reads them.

use std::sync::Arc;

use arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use datafusion::{
    arrow::{array::RecordBatch, datatypes::Schema},
    sql::sqlparser::ast,
};
use futures::{Stream, StreamExt as _, stream};
use pgwire::{
    api::{
        portal::Format,
        results::{FieldInfo, QueryResponse},
    },
    error::PgWireResult,
    messages::data::DataRow,
};

use super::{connection::Connection, sqlstate};
use crate::sql::QueryAnswer;

/// Columns as PostgreSQL would name and type them.
pub(super) fn fields_of(
    schema: &Schema,
    statement: &ast::Statement,
    format: &Format,
) -> PgWireResult<Vec<FieldInfo>> {
    let fields = arrow_schema_to_pg_fields(schema, format, None)?;
    let names = names_of(statement);
    if names.len() != fields.len() {
        return Ok(fields);
    }
    let renamed = fields.into_iter().zip(names).map(|(field, name)| match name {
        None => field,
        Some(name) => FieldInfo::new(name, None, None, field.datatype().clone(), field.format()),
    });
    Ok(renamed.collect())
}

/// Names PostgreSQL gives to columns without an alias: `count` for `count(*)`, `?column?` for an expression.
fn names_of(statement: &ast::Statement) -> Vec<Option<String>> {
    let ast::Statement::Query(query) = statement else {
        return Vec::new();
    };
    let ast::SetExpr::Select(select) = &*query.body else {
        return Vec::new();
    };
    let names = select.projection.iter().map(|item| match item {
        ast::SelectItem::UnnamedExpr(expression) => Some(name_of(expression)),
        ast::SelectItem::ExprWithAlias { .. } => Some(None),
        _ => None,
    });
    names.collect::<Option<Vec<_>>>().unwrap_or_default()
}

fn name_of(expression: &ast::Expr) -> Option<String> {
    match expression {
        ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) => None,
        ast::Expr::Function(function) => {
            let last = function.name.0.last()?.as_ident()?;
            Some(last.value.to_lowercase())
        }
        ast::Expr::Nested(inner) => name_of(inner),
        ast::Expr::Cast { expr, data_type, .. } => match &**expr {
            ast::Expr::Identifier(name) => Some(name.value.clone()),
            ast::Expr::Value(_) => Some(data_type.to_string().to_lowercase()),
            inner => name_of(inner),
        },
        ast::Expr::Case { .. } => Some("case".to_owned()),
        ast::Expr::Exists { .. } => Some("exists".to_owned()),
        ast::Expr::Subquery(_) => None,
        _ => Some("?column?".to_owned()),
    }
}

/// Rows of a running query; a cancel request ends it.
pub(super) fn rows(
    connection: Arc<Connection>,
    answer: QueryAnswer,
    fields: Arc<Vec<FieldInfo>>,
) -> impl Stream<Item = PgWireResult<DataRow>> + Send + 'static {
    let batches = stream::unfold(Some((connection, answer)), |state| async move {
        let (connection, mut answer) = state?;
        connection.taken();
        let next = connection.unless_cancelled(answer.next()).await;
        match next {
            Err(cancelled) => Some((Err(cancelled), None)),
            Ok(None) => None,
            Ok(Some(Err(error))) => Some((Err(sqlstate::of_sql(error)), None)),
            Ok(Some(Ok(batch))) => {
                connection.handed_over();
                Some((Ok(batch), Some((connection, answer))))
            }
        }
    });
    batches.flat_map(move |batch| match batch {
        Err(error) => stream::iter(vec![Err(error)]),
        Ok(batch) => stream::iter(encode_recordbatch(Arc::clone(&fields), batch).collect::<Vec<_>>()),
    })
}

/// The response to a query.
pub(super) fn respond(
    connection: &Arc<Connection>,
    answer: QueryAnswer,
    statement: &ast::Statement,
    format: &Format,
) -> PgWireResult<QueryResponse> {
    let fields = Arc::new(fields_of(&answer.schema, statement, format)?);
    let rows = rows(Arc::clone(connection), answer, Arc::clone(&fields));
    let mut response = QueryResponse::new(fields, Box::pin(rows));
    if !matches!(statement, ast::Statement::Query(_)) {
        response.set_command_tag(if matches!(statement, ast::Statement::Explain { .. }) {
            "EXPLAIN"
        } else {
            "SHOW"
        });
    }
    Ok(response)
}

/// An open cursor: rows are computed as they are fetched.
pub(super) struct Cursor {
    /// The query behind it, for the names of its columns.
    pub(super) query: ast::Statement,
    pub(super) answer: QueryAnswer,
    /// What the last fetch left of a batch.
    pub(super) rest: Option<RecordBatch>,
}

impl Cursor {
    /// The next rows, at most `count`, in the formats asked for.
    pub(super) async fn take(
        &mut self,
        count: usize,
        fields: &Arc<Vec<FieldInfo>>,
    ) -> PgWireResult<Vec<DataRow>> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let batch = match self.rest.take() {
                Some(batch) => batch,
                None => match self.answer.next().await {
                    None => break,
                    Some(batch) => batch.map_err(sqlstate::of_sql)?,
                },
            };
            let now = batch.num_rows().min(count - taken.len());
            if now < batch.num_rows() {
                self.rest = Some(batch.slice(now, batch.num_rows() - now));
            }
            for row in encode_recordbatch(Arc::clone(fields), batch.slice(0, now)) {
                taken.push(row?);
            }
        }
        Ok(taken)
    }
}
