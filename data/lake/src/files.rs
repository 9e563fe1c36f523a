//! Parquet files of a table back to rows.

use std::sync::Arc;

use arrow::{array::RecordBatch, compute::cast, datatypes::Schema, error::ArrowError};
use bytes::Bytes;
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};

use crate::{error::LakeError, layout::Layout};

/// Rows per batch when a file is read back.
const BATCH_ROWS: usize = 65_536;

/// Reads a file into batches of the layout's types, all columns or some.
///
/// Files that other writers rewrote may hold text in another Arrow type; it is cast.
///
/// # Errors
/// When the bytes are no such file.
pub(crate) fn decode(
    bytes: Bytes,
    layout: &'static Layout,
    columns: Option<&[&str]>,
) -> Result<Vec<RecordBatch>, LakeError> {
    let table = layout.table.name();
    let parquet = |source| LakeError::Parquet {
        what: "read",
        table,
        source,
    };
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(parquet)?;
    if let Some(columns) = columns {
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        builder = builder.with_projection(mask);
    }
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(parquet)?;
    reader
        .map(|batch| conform(&batch?, layout))
        .collect::<Result<_, ArrowError>>()
        .map_err(|source| LakeError::Batch { table, source })
}

/// The batch in the layout's column order and types; columns that were not read are left out.
fn conform(batch: &RecordBatch, layout: &Layout) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for field in layout.schema.fields() {
        if let Some(column) = batch.column_by_name(field.name()) {
            columns.push(cast(column, field.data_type())?);
            fields.push(Arc::clone(field));
        }
    }
    RecordBatch::try_new(Schema::new(fields).into(), columns)
}
