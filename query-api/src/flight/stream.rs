//! Rows as Flight data: made as the client takes them.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
    ipc::writer::IpcWriteOptions,
};
use arrow_flight::{
    FlightData, IpcMessage, SchemaAsIpc, encode::FlightDataEncoderBuilder, error::FlightError,
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use revgauge_contract::ErrorKind;
use tonic::{Code, Status};

use crate::sql::{QueryAnswer, SqlError, plain_batch, plain_schema};

/// A stream of Flight data.
pub(super) type Data = std::pin::Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// Schema bytes as Flight SQL wants them.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    let message: Result<IpcMessage, _> = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into();
    match message {
        Ok(IpcMessage(bytes)) => Ok(bytes),
        Err(error) => Err(Status::internal(format!("cannot encode a schema: {error}"))),
    }
}

/// The running query's rows. Nothing is computed that nobody takes: the query waits behind a short queue.
pub(super) fn rows(answer: QueryAnswer) -> Data {
    let schema = plain_schema(&answer.schema);
    let shape = Arc::clone(&schema);
    let batches = stream::unfold(Some(answer), move |state| {
        let shape = Arc::clone(&shape);
        async move {
            let mut answer = state?;
            let batch = match answer.next().await? {
                Ok(batch) => plain_batch(&batch, &shape).map_err(FlightError::from),
                Err(error) => Err(FlightError::Tonic(Box::new(status_of(error)))),
            };
            let rest = batch.is_ok().then_some(answer);
            Some((batch, rest))
        }
    });
    encoded(schema, batches)
}

/// One batch that is there already.
pub(super) fn one(batch: RecordBatch) -> Data {
    encoded(batch.schema(), stream::iter([Ok(batch)]))
}

fn encoded(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> Data {
    let data = FlightDataEncoderBuilder::new().with_schema(schema).build(batches);
    Box::pin(data.map(|data| data.map_err(Status::from)))
}

/// A failed query in the words of gRPC.
pub(super) fn status_of(error: SqlError) -> Status {
    let code = match error.code {
        "unknown_table" | "not_found" => Code::NotFound,
        "read_only" => Code::PermissionDenied,
        "time_limit" => Code::DeadlineExceeded,
        "memory_limit" | "row_limit" | "too_many_queries" | "source_busy" => Code::ResourceExhausted,
        "source_failed" => Code::Unavailable,
        _ if error.kind == ErrorKind::User => Code::InvalidArgument,
        _ => Code::Internal,
    };
    let hint = error.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    Status::new(code, format!("{}{hint}", error.message))
}
