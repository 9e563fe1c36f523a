//! The calls of Flight SQL.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::array::RecordBatch;
use arrow_flight::{
    FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, Ticket,
    decode::FlightRecordBatchStream,
    error::FlightError,
    sql::{
        ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
        ActionCreatePreparedStatementResult, Any, CommandGetCatalogs, CommandGetCrossReference,
        CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys,
        CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
        CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest,
        CommandStatementQuery, CommandStatementUpdate, DoPutPreparedStatementResult, SqlInfo,
        server::{FlightSqlService, PeekableFlightDataStream},
    },
};
use bytes::Bytes;
use datafusion::common::{ParamValues, ScalarValue};
use futures::{Stream, TryStreamExt as _, stream};
use revgauge_contract::access::Caller;
use tonic::{
    Request, Response, Status, Streaming,
    metadata::{MetadataMap, MetadataValue},
};

use super::{
    catalog, login,
    prepared::{self, Statements},
    stream::{self as rows, Data, schema_bytes, status_of},
};
use crate::{
    api::Api,
    settings::FlightSettings,
    sql::{ShownTable, describe_sql, open_whole, plain_schema, shown_tables},
};

/// The service behind the door.
pub(super) struct Service {
    pub(super) api: Arc<Api>,
    pub(super) settings: FlightSettings,
    pub(super) statements: Statements,
    /// Makes handles that do not repeat.
    pub(super) handles: AtomicU64,
}

type Answer<T> = Result<Response<T>, Status>;

impl Service {
    async fn caller(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        login::caller(&self.api, metadata).await.map(|(caller, _)| caller)
    }

    async fn shown(&self, metadata: &MetadataMap) -> Result<Arc<[ShownTable]>, Status> {
        let caller = self.caller(metadata).await?;
        shown_tables(&self.api, &caller).await.map_err(status_of)
    }

    async fn run(&self, caller: &Caller, sql: String, values: Vec<ScalarValue>) -> Answer<Data> {
        let params = (!values.is_empty()).then(|| ParamValues::from(values));
        let answer = open_whole(&self.api, caller, sql, params)
            .await
            .map_err(status_of)?;
        Ok(Response::new(rows::rows(answer)))
    }

    fn handle(&self) -> Bytes {
        let number = self.handles.fetch_add(1, Ordering::Relaxed);
        Bytes::from(format!("{}-{number}", self.api.request_id()))
    }

    /// Where an answer is fetched: here, with the command itself as ticket.
    async fn info(
        &self,
        request: Request<FlightDescriptor>,
        schema: Option<&arrow::datatypes::Schema>,
    ) -> Answer<FlightInfo> {
        self.caller(request.metadata()).await?;
        let descriptor = request.into_inner();
        let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(descriptor.cmd.clone()));
        let mut info = FlightInfo::new()
            .with_endpoint(endpoint)
            .with_descriptor(descriptor);
        if let Some(schema) = schema {
            info.schema = schema_bytes(schema)?;
        }
        Ok(Response::new(info))
    }
}

fn only_reads() -> Status {
    Status::permission_denied("this door only reads: use SELECT, WITH, EXPLAIN, DESCRIBE or SHOW TABLES")
}

fn batch(made: Result<RecordBatch, Status>) -> Answer<Data> {
    Ok(Response::new(rows::one(made?)))
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Answer<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>> {
        let (_, key) = login::caller(&self.api, request.metadata()).await?;
        let bearer = MetadataValue::try_from(format!("Bearer {key}"))
            .map_err(|_| Status::unauthenticated("the key is not plain text"))?;
        let answer = HandshakeResponse {
            protocol_version: 0,
            payload: Bytes::from(key),
        };
        let stream: Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(stream::iter([Ok(answer)]));
        let mut response = Response::new(stream);
        response.metadata_mut().insert("authorization", bearer);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        let caller = self.caller(request.metadata()).await?;
        let (schema, _) = describe_sql(&self.api, &caller, query.query)
            .await
            .map_err(status_of)?;
        self.info(request, Some(&plain_schema(&schema))).await
    }

    async fn do_get_fallback(&self, request: Request<Ticket>, message: Any) -> Answer<Data> {
        let query: Option<CommandStatementQuery> = message
            .unpack()
            .map_err(|error| Status::invalid_argument(format!("cannot read the ticket: {error}")))?;
        let query = query.ok_or_else(|| Status::invalid_argument("this ticket is none of this server"))?;
        let caller = self.caller(request.metadata()).await?;
        self.run(&caller, query.query, Vec::new()).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<arrow_flight::Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let caller = self.caller(request.metadata()).await?;
        let described = describe_sql(&self.api, &caller, query.query.clone()).await;
        let (schema, plan) = described.map_err(status_of)?;
        let parameters = prepared::parameters_of(&plan)?;
        let schema = plain_schema(&schema);
        let handle = self.handle();
        let now_us = self.api.clock.now().micros();
        self.statements.keep(
            handle.clone(),
            &caller.key_id,
            query.query,
            Arc::clone(&schema),
            now_us,
            &self.settings,
        )?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle,
            dataset_schema: schema_bytes(&schema)?,
            parameter_schema: schema_bytes(&parameters)?,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<arrow_flight::Action>,
    ) -> Result<(), Status> {
        let caller = self.caller(request.metadata()).await?;
        self.statements
            .close(&query.prepared_statement_handle, &caller.key_id);
        Ok(())
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let caller = self.caller(request.metadata()).await?;
        let data = request
            .into_inner()
            .map_err(|status| FlightError::Tonic(Box::new(status)));
        let batches: Vec<RecordBatch> = FlightRecordBatchStream::new_from_flight_data(data)
            .try_collect()
            .await?;
        let values = prepared::values_of(&batches)?;
        self.statements
            .bind(&query.prepared_statement_handle, &caller.key_id, values)?;
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle: Some(query.prepared_statement_handle),
        })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        let caller = self.caller(request.metadata()).await?;
        let now_us = self.api.clock.now().micros();
        let statement = self
            .statements
            .get(&query.prepared_statement_handle, &caller.key_id, now_us)?;
        self.info(request, Some(&statement.schema)).await
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Answer<Data> {
        let caller = self.caller(request.metadata()).await?;
        let now_us = self.api.clock.now().micros();
        let statement = self
            .statements
            .get(&query.prepared_statement_handle, &caller.key_id, now_us)?;
        self.run(&caller, statement.sql, statement.values).await
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        let schema = query.into_builder().schema();
        self.info(request, Some(&schema)).await
    }

    async fn do_get_catalogs(&self, query: CommandGetCatalogs, request: Request<Ticket>) -> Answer<Data> {
        self.caller(request.metadata()).await?;
        batch(catalog::catalogs(query))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        let schema = query.into_builder().schema();
        self.info(request, Some(&schema)).await
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, request: Request<Ticket>) -> Answer<Data> {
        self.caller(request.metadata()).await?;
        batch(catalog::schemas(query))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        let schema = query.into_builder().schema();
        self.info(request, Some(&schema)).await
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Answer<Data> {
        let shown = self.shown(request.metadata()).await?;
        batch(catalog::tables(query, &shown))
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        let schema = query.into_builder().schema();
        self.info(request, Some(&schema)).await
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<Ticket>,
    ) -> Answer<Data> {
        self.caller(request.metadata()).await?;
        batch(catalog::table_types(query))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        let schema = catalog::server(query)?.schema();
        self.info(request, Some(&schema)).await
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, request: Request<Ticket>) -> Answer<Data> {
        self.caller(request.metadata()).await?;
        batch(catalog::server(query))
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        let schema = catalog::types(query)?.schema();
        self.info(request, Some(&schema)).await
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<Ticket>,
    ) -> Answer<Data> {
        self.caller(request.metadata()).await?;
        batch(catalog::types(query))
    }

    async fn get_flight_info_primary_keys(
        &self,
        _: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        self.info(request, None).await
    }

    async fn do_get_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<Ticket>,
    ) -> Answer<Data> {
        let shown = self.shown(request.metadata()).await?;
        batch(catalog::primary_keys(&query, &shown))
    }

    async fn get_flight_info_exported_keys(
        &self,
        _: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        self.info(request, None).await
    }

    async fn do_get_exported_keys(
        &self,
        _: CommandGetExportedKeys,
        request: Request<Ticket>,
    ) -> Answer<Data> {
        self.caller(request.metadata()).await?;
        batch(Ok(catalog::no_foreign_keys()))
    }

    async fn get_flight_info_imported_keys(
        &self,
        _: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        self.info(request, None).await
    }

    async fn do_get_imported_keys(
        &self,
        _: CommandGetImportedKeys,
        request: Request<Ticket>,
    ) -> Answer<Data> {
        self.caller(request.metadata()).await?;
        batch(Ok(catalog::no_foreign_keys()))
    }

    async fn get_flight_info_cross_reference(
        &self,
        _: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        self.info(request, None).await
    }

    async fn do_get_cross_reference(
        &self,
        _: CommandGetCrossReference,
        request: Request<Ticket>,
    ) -> Answer<Data> {
        self.caller(request.metadata()).await?;
        batch(Ok(catalog::no_foreign_keys()))
    }

    async fn do_put_statement_update(
        &self,
        _: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        self.caller(request.metadata()).await?;
        Err(only_reads())
    }

    async fn do_put_prepared_statement_update(
        &self,
        _: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        self.caller(request.metadata()).await?;
        Err(only_reads())
    }

    async fn do_put_statement_ingest(
        &self,
        _: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        self.caller(request.metadata()).await?;
        Err(only_reads())
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
