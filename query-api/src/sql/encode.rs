//! Answers as bytes: JSON, NDJSON, CSV, Arrow stream.

use std::{io, sync::Arc};

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, header},
    response::Response,
};
use datafusion::arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    compute::cast,
    csv,
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    ipc::writer::StreamWriter,
    json::{
        WriterBuilder,
        writer::{JsonArray, LineDelimited},
    },
};
use serde_json::json;

use super::{error::SqlError, output::type_name, run::QueryAnswer};
use crate::problem::Problem;

/// Set to `true` when `limit_rows` cut the answer off and that was known before the answer began.
const TRUNCATED: HeaderName = HeaderName::from_static("revgauge-truncated");
/// Instants leave as RFC 3339 in UTC, as they do everywhere else.
const INSTANT: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object with `columns` and `rows`.
    Json,
    /// One JSON object a row.
    Ndjson,
    /// Comma-separated values with a header line.
    Csv,
    /// Arrow IPC stream.
    Arrow,
}

impl Format {
    /// By the name used in requests.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "ndjson" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            "arrow" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// By an `Accept` header; `None` when it names nothing we have.
    #[must_use]
    pub fn accepted(accept: &str) -> Option<Self> {
        accept
            .split(',')
            .find_map(|part| match part.split(';').next().unwrap_or("").trim() {
                "application/json" | "*/*" | "application/*" | "" => Some(Self::Json),
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Self::Ndjson),
                "text/csv" | "text/*" => Some(Self::Csv),
                "application/vnd.apache.arrow.stream" => Some(Self::Arrow),
                _ => None,
            })
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// Writes an answer as a response. Up to `hold_back_bytes` are gathered first, so that what fails early fails with its
/// own status. A failure after that ends JSON and NDJSON with an `error` member and breaks CSV and Arrow off, so that no
/// reader takes a part for the whole.
pub(super) async fn respond(
    mut answer: QueryAnswer,
    format: Format,
    hold_back_bytes: usize,
) -> Result<Response, Problem> {
    let mut encoder = Encoder::new(format, &answer)?;
    let mut held = encoder.begin(&answer);
    let mut ended = false;
    while held.len() <= hold_back_bytes {
        let Some(batch) = answer.next().await else {
            ended = true;
            break;
        };
        encoder.rows(&batch?, &mut held)?;
    }
    let mut response = if ended {
        encoder.end(answer.truncated, &mut held)?;
        Response::new(Body::from(held))
    } else {
        let freshness = answer.freshness.clone();
        let mut response = Response::new(Body::from_stream(stream(answer, encoder, held)));
        freshness.stamp(response.headers_mut());
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(format.content_type()),
        );
        return Ok(response);
    };
    answer.freshness.stamp(response.headers_mut());
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(format.content_type()),
    );
    if answer.truncated {
        headers.insert(TRUNCATED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn stream(
    answer: QueryAnswer,
    encoder: Encoder,
    held: Vec<u8>,
) -> impl futures::Stream<Item = Result<Bytes, io::Error>> {
    futures::stream::unfold(Some((answer, encoder, held)), |state| async move {
        let (mut answer, mut encoder, mut ready) = state?;
        if !ready.is_empty() {
            let bytes = Bytes::from(std::mem::take(&mut ready));
            return Some((Ok(bytes), Some((answer, encoder, ready))));
        }
        let mut bytes = Vec::new();
        let step = match answer.next().await {
            Some(Ok(batch)) => encoder.rows(&batch, &mut bytes).map(|()| true),
            Some(Err(error)) => Err(error),
            None => encoder.end(answer.truncated, &mut bytes).map(|()| false),
        };
        match step {
            Ok(true) => Some((Ok(Bytes::from(bytes)), Some((answer, encoder, ready)))),
            Ok(false) => Some((Ok(Bytes::from(bytes)), None)),
            Err(error) => {
                let last = encoder.broken(error);
                Some((last, None))
            }
        }
    })
}

/// Arrow keeps one writer for the whole answer; the others need only a count.
struct Encoder {
    format: Format,
    schema: SchemaRef,
    rows: usize,
    arrow: Option<StreamWriter<Vec<u8>>>,
}

impl Encoder {
    fn new(format: Format, answer: &QueryAnswer) -> Result<Self, SqlError> {
        let plain = plain_schema(&answer.schema);
        let arrow = match format {
            Format::Arrow => Some(StreamWriter::try_new(Vec::new(), &plain).map_err(|e| unprintable(&e))?),
            Format::Json | Format::Ndjson | Format::Csv => None,
        };
        Ok(Self {
            format,
            schema: plain,
            rows: 0,
            arrow,
        })
    }

    fn begin(&mut self, answer: &QueryAnswer) -> Vec<u8> {
        match self.format {
            Format::Json => {
                let columns: Vec<_> = answer
                    .schema
                    .fields()
                    .iter()
                    .map(|field| json!({"name": field.name(), "type": type_name(field.data_type())}))
                    .collect();
                let as_of = json!(answer.freshness.as_of);
                let marks = json!(answer.freshness.watermarks);
                let columns = json!(columns);
                format!(r#"{{"as_of":{as_of},"watermarks":{marks},"columns":{columns},"rows":["#).into_bytes()
            }
            Format::Csv => {
                let empty = RecordBatch::new_empty(Arc::clone(&self.schema));
                let mut bytes = Vec::new();
                let mut writer = csv::WriterBuilder::new().with_header(true).build(&mut bytes);
                // Writing the header of no rows into memory cannot fail for a printable schema; a bad one fails later.
                let _ = writer.write(&empty);
                drop(writer);
                bytes
            }
            Format::Ndjson | Format::Arrow => Vec::new(),
        }
    }

    fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), SqlError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.write(batch, out).map_err(|error| unprintable(&error))?;
        self.rows += batch.num_rows();
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        match self.format {
            Format::Json => {
                let mut bytes = Vec::new();
                let mut writer = json_writer().build::<_, JsonArray>(&mut bytes);
                writer.write(batch)?;
                writer.finish()?;
                if self.rows > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(&bytes[1..bytes.len() - 1]);
            }
            Format::Ndjson => {
                let mut writer = json_writer().build::<_, LineDelimited>(&mut *out);
                writer.write(batch)?;
                writer.finish()?;
            }
            Format::Csv => {
                let builder = csv::WriterBuilder::new()
                    .with_header(false)
                    .with_timestamp_format(INSTANT.to_owned());
                builder
                    .build(&mut *out)
                    .write(&plain_batch(batch, &self.schema)?)?;
            }
            Format::Arrow => {
                if let Some(writer) = &mut self.arrow {
                    writer.write(&plain_batch(batch, &self.schema)?)?;
                    out.append(writer.get_mut());
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, truncated: bool, out: &mut Vec<u8>) -> Result<(), SqlError> {
        if self.format == Format::Json {
            out.extend(format!(r#"],"row_count":{},"truncated":{truncated}}}"#, self.rows).into_bytes());
        }
        if let Some(writer) = &mut self.arrow {
            writer.finish().map_err(|error| unprintable(&error))?;
            out.append(writer.get_mut());
        }
        Ok(())
    }

    fn broken(&self, error: SqlError) -> Result<Bytes, io::Error> {
        let text = error.to_string();
        let problem = json!(Problem::from(error));
        match self.format {
            Format::Json => Ok(Bytes::from(format!(
                r#"],"row_count":{},"truncated":true,"error":{problem}}}"#,
                self.rows
            ))),
            Format::Ndjson => Ok(Bytes::from(format!("{{\"error\":{problem}}}\n"))),
            Format::Csv | Format::Arrow => Err(io::Error::other(text)),
        }
    }
}

fn json_writer() -> WriterBuilder {
    WriterBuilder::new()
        .with_explicit_nulls(true)
        .with_timestamp_format(INSTANT.to_owned())
}

/// Readers older than string views exist in every language; CSV and Arrow leave with plain texts.
pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8View => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        DataType::BinaryView => Arc::new(field.as_ref().clone().with_data_type(DataType::Binary)),
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Vec<_>>()))
}

/// The batch with the columns of [`plain_schema`].
pub(crate) fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns: Result<Vec<ArrayRef>, _> = columns
        .map(|(array, field)| cast(array, field.data_type()))
        .collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns?, &rows)
}

fn unprintable(error: &ArrowError) -> SqlError {
    SqlError::user("invalid_query", format!("cannot print a column: {error}"))
        .hint("cast lists and structures to text, or ask for format 'arrow'")
}
