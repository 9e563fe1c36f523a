//! Statements as they come over the wire, simple and extended, and what answers them.

use std::{collections::HashMap, fmt::Debug, sync::Arc};

use arrow_pg::datatypes::{df, into_pg_type};
use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::{DataType, Field, SchemaRef},
    common::{
        DFSchema,
        tree_node::{TreeNode as _, TreeNodeRecursion},
    },
    logical_expr::{Expr, ExprSchemable as _, LogicalPlan},
    sql::sqlparser::ast,
};
use futures::{Sink, SinkExt as _};
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore, Type,
        portal::{Format, Portal},
        query::{ExtendedQueryHandler, SimpleQueryHandler},
        results::{FieldInfo, Response},
        stmt::QueryParser,
        store::PortalStore,
    },
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage,
        data::{FieldDescription, RowDescription},
        extendedquery::{Describe, Execute, TARGET_TYPE_BYTE_PORTAL},
        response::TransactionStatus,
        simplequery::Query,
    },
};

use super::{answer, commands, connection::Connection, sqlstate};

/// Handles one connection's statements.
pub(super) struct Queries {
    pub(super) connection: Arc<Connection>,
    pub(super) parser: Arc<Parser>,
}

/// Prepares one connection's statements.
pub(super) struct Parser {
    pub(super) connection: Arc<Connection>,
}

/// A prepared statement.
#[derive(Clone)]
pub(super) struct Prepared(Arc<Parsed>);

struct Parsed {
    statement: ast::Statement,
    kind: Kind,
}

enum Kind {
    Command(Vec<FieldInfo>),
    Query {
        schema: SchemaRef,
        /// What the engine inferred for `$1`, `$2`, ...
        inferred: Vec<Option<DataType>>,
        /// The types told to the client.
        wire: Vec<Type>,
    },
}

fn parse(connection: &Connection, sql: &str) -> PgWireResult<Vec<ast::Statement>> {
    connection.base.dialect.parse(sql).map_err(|error| {
        let text = error.to_string();
        let text = text
            .strip_prefix("sql parser error: ")
            .unwrap_or(&text)
            .to_owned();
        sqlstate::error(sqlstate::SYNTAX, text)
    })
}

fn check_transaction(status: TransactionStatus, statement: &ast::Statement) -> PgWireResult<()> {
    if matches!(status, TransactionStatus::Error) && !commands::ends_transaction(statement) {
        return Err(sqlstate::error(
            sqlstate::FAILED_TRANSACTION,
            "current transaction is aborted, commands ignored until end of transaction block",
        ));
    }
    Ok(())
}

impl Queries {
    async fn one(&self, statement: &ast::Statement, status: TransactionStatus) -> PgWireResult<Response> {
        self.connection.check()?;
        check_transaction(status, statement)?;
        let format = Format::UnifiedText;
        if commands::is_command(statement) {
            return commands::run(&self.connection, statement, status, &format).await;
        }
        let answer = self.connection.open(statement.clone(), None).await?;
        let response = answer::respond(&self.connection, answer, statement, &format)?;
        Ok(Response::Query(response))
    }
}

#[async_trait]
impl SimpleQueryHandler for Queries {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let done = self._on_query(client, query).await;
        self.connection.taken();
        done
    }

    async fn do_query<C>(&self, client: &mut C, sql: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statements = parse(&self.connection, sql)?;
        if statements.is_empty() {
            return Ok(vec![Response::EmptyQuery]);
        }
        let single = statements.len() == 1;
        let mut status = client.transaction_status();
        let mut responses = Vec::with_capacity(statements.len());
        for statement in statements {
            let response = match self.one(&statement, status).await {
                // Several queries in one message would hold a place each until the first is read.
                Ok(Response::Query(response)) if !single => held(response).await.map(Response::Query),
                other => other,
            };
            match response {
                Ok(response) => {
                    status = match &response {
                        Response::TransactionStart(_) => status.to_in_transaction_state(),
                        Response::TransactionEnd(_) => status.to_idle_state(),
                        _ => status,
                    };
                    responses.push(response);
                }
                Err(error) if responses.is_empty() => return Err(error),
                Err(error) => {
                    responses.push(Response::Error(Box::new(error.into())));
                    break;
                }
            }
        }
        Ok(responses)
    }
}

/// The same response with all rows in memory.
async fn held(
    mut response: pgwire::api::results::QueryResponse,
) -> PgWireResult<pgwire::api::results::QueryResponse> {
    use futures::{StreamExt as _, stream};
    let mut rows = Vec::new();
    while let Some(row) = response.data_rows().next().await {
        rows.push(Ok(row?));
    }
    response.data_rows = Box::pin(stream::iter(rows));
    Ok(response)
}

#[async_trait]
impl QueryParser for Parser {
    type Statement = Prepared;

    async fn parse_sql<C>(
        &self,
        client: &C,
        sql: &str,
        types: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut statements = parse(&self.connection, sql)?;
        let Some(statement) = statements.pop() else {
            return Ok(None);
        };
        if !statements.is_empty() {
            return Err(sqlstate::error(
                sqlstate::SYNTAX,
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        check_transaction(client.transaction_status(), &statement)?;
        let kind = if commands::is_command(&statement) {
            Kind::Command(commands::fields(&self.connection, &statement, &Format::UnifiedText).await?)
        } else {
            let plan = self.connection.plan(statement.clone()).await?;
            described(&plan, types)?
        };
        Ok(Some(Prepared(Arc::new(Parsed { statement, kind }))))
    }

    fn get_parameter_types(&self, statement: &Self::Statement) -> PgWireResult<Vec<Type>> {
        match &statement.0.kind {
            Kind::Command(_) => Ok(Vec::new()),
            Kind::Query { wire, .. } => Ok(wire.clone()),
        }
    }

    fn get_result_schema(
        &self,
        statement: &Self::Statement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        let format = format.unwrap_or(&Format::UnifiedText);
        match &statement.0.kind {
            Kind::Query { schema, .. } => answer::fields_of(schema, &statement.0.statement, format),
            Kind::Command(fields) => {
                let formatted = fields.iter().enumerate().map(|(index, field)| {
                    let name = field.name().to_owned();
                    FieldInfo::new(
                        name,
                        None,
                        None,
                        field.datatype().clone(),
                        format.format_for(index),
                    )
                });
                Ok(formatted.collect())
            }
        }
    }
}

/// Columns and parameters of a plan. The client's own types win over inferred ones.
fn described(plan: &LogicalPlan, given: &[Option<Type>]) -> PgWireResult<Kind> {
    let failed = |error: datafusion::common::DataFusionError| sqlstate::of_sql(error.into());
    let mut types = plan.get_parameter_types().map_err(failed)?;
    // A parameter under a cast has the type of the cast.
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                if let Expr::Cast(cast) = inner
                    && let Expr::Placeholder(placeholder) = &*cast.expr
                {
                    let kind = types.entry(placeholder.id.clone()).or_default();
                    kind.get_or_insert_with(|| cast.field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(failed)?;
    array_parameters(plan, &mut types).map_err(failed)?;
    let highest = types
        .keys()
        .filter_map(|name| name.trim_start_matches('$').parse::<usize>().ok());
    let count = highest.max().unwrap_or(0);
    let inferred: Vec<Option<DataType>> = (1..=count)
        .map(|number| types.get(&format!("${number}")).cloned().flatten())
        .collect();
    let wire =
        inferred.iter().enumerate().map(
            |(index, kind)| match (given.get(index).cloned().flatten(), kind) {
                (Some(given), _) if given != Type::UNKNOWN => Ok(given),
                (_, Some(kind)) => into_pg_type(kind),
                (_, None) => Ok(Type::TEXT),
            },
        );
    Ok(Kind::Query {
        schema: Arc::clone(plan.schema().inner()),
        wire: wire.collect::<PgWireResult<Vec<_>>>()?,
        inferred,
    })
}

/// `x = ANY($1)`: the parameter is an array of what `x` is.
fn array_parameters(
    plan: &LogicalPlan,
    types: &mut HashMap<String, Option<DataType>>,
) -> datafusion::common::Result<()> {
    plan.apply_with_subqueries(|node| {
        let mut columns = DFSchema::empty();
        for input in node.inputs() {
            columns.merge(input.schema());
        }
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                if let Expr::ScalarFunction(call) = inner
                    && call.name() == "array_has"
                    && let [Expr::Placeholder(array), element] = &call.args[..]
                {
                    let element = element.get_type(&columns).unwrap_or(DataType::Utf8);
                    let element = match element {
                        DataType::Null | DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
                        element => element,
                    };
                    let array_type = DataType::List(Arc::new(Field::new_list_field(element, true)));
                    types.insert(array.id.clone(), Some(array_type));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

#[async_trait]
impl ExtendedQueryHandler for Queries {
    type Statement = Prepared;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Self::QueryParser> {
        Arc::clone(&self.parser)
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let done = self._on_execute(client, message).await;
        self.connection.taken();
        done
    }

    /// A cursor of `DECLARE` can be described as a portal: that is how drivers learn its columns before they fetch.
    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let declared = match &message.name {
            Some(name) if message.target_type == TARGET_TYPE_BYTE_PORTAL => {
                let cursors = self.connection.cursors.lock().await;
                let cursor = cursors.get(name);
                cursor.map(|cursor| (Arc::clone(&cursor.answer.schema), cursor.query.clone()))
            }
            _ => None,
        };
        let Some((schema, query)) = declared else {
            return self._on_describe(client, message).await;
        };
        let fields = answer::fields_of(&schema, &query, &Format::UnifiedText)?;
        let fields = fields.iter().map(FieldDescription::from).collect();
        client
            .send(PgWireBackendMessage::RowDescription(RowDescription::new(fields)))
            .await?;
        Ok(())
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Self::Statement>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.connection.check()?;
        let parsed = &portal.statement.statement.0;
        let status = client.transaction_status();
        check_transaction(status, &parsed.statement)?;
        let format = &portal.result_column_format;
        let Kind::Query { inferred, wire, .. } = &parsed.kind else {
            return commands::run(&self.connection, &parsed.statement, status, format).await;
        };
        let inferred: Vec<Option<&DataType>> = inferred.iter().map(Option::as_ref).collect();
        let wire: Vec<Option<&Type>> = wire.iter().map(Some).collect();
        let params = if portal.parameter_len() == 0 {
            None
        } else {
            Some(df::deserialize_parameters_with_server_types(
                portal, &inferred, &wire,
            )?)
        };
        let answer = self.connection.open(parsed.statement.clone(), params).await?;
        let response = answer::respond(&self.connection, answer, &parsed.statement, format)?;
        Ok(Response::Query(response))
    }
}
