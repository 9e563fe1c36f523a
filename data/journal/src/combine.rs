//! Joining what queued into one compact batch.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StringViewArray},
    compute::concat_batches,
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
};

/// Text bytes not referred to that a batch may drag along before it is copied.
const SLACK_BYTES: usize = 64 << 10;

/// One batch of all, in order, with at most one text buffer a column: the encoder writes each buffer on its own.
pub(crate) fn combine(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
    match batches {
        [one] => Ok(compact(one)),
        many => Ok(compact(&concat_batches(schema, many)?)),
    }
}

/// Copies the text columns that drag along much more than they refer to (slices of a larger batch) or lie in pieces.
fn compact(batch: &RecordBatch) -> RecordBatch {
    let columns = batch.columns().iter().map(compact_column).collect();
    RecordBatch::try_new(batch.schema(), columns).expect("columns keep their type and length")
}

fn compact_column(column: &ArrayRef) -> ArrayRef {
    let Some(texts) = text(column) else {
        return Arc::clone(column);
    };
    let held: usize = texts.data_buffers().iter().map(|buffer| buffer.len()).sum();
    let in_pieces = texts.data_buffers().len() > 1;
    if in_pieces || held > 2 * texts.total_buffer_bytes_used() + SLACK_BYTES {
        Arc::new(texts.gc())
    } else {
        Arc::clone(column)
    }
}

fn text(column: &ArrayRef) -> Option<&StringViewArray> {
    matches!(column.data_type(), DataType::Utf8View).then(|| column.as_string_view())
}

/// Bytes a batch stands for: what it refers to, not what it drags along.
pub(crate) fn bytes_of(batch: &RecordBatch) -> usize {
    let column_bytes = |column: &ArrayRef| {
        let nulls = column.nulls().map_or(0, |_| column.len() / 8);
        match (text(column), column.data_type().primitive_width()) {
            (Some(texts), _) => texts.len() * 16 + texts.total_buffer_bytes_used() + nulls,
            (None, Some(width)) => column.len() * width + nulls,
            (None, None) => column.get_array_memory_size(),
        }
    };
    batch.columns().iter().map(column_bytes).sum()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn texts(from: usize, to: usize) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("t", DataType::Utf8View, false)]));
        let column: StringViewArray = (from..to)
            .map(|row| Some(format!("a text that does not fit inline, number {row:05}")))
            .collect();
        RecordBatch::try_new(schema, vec![Arc::new(column)]).expect("batch")
    }

    #[test]
    fn combined_batches_keep_order_and_lie_in_one_piece() {
        let parts = [texts(0, 3), texts(3, 4), texts(4, 9)];
        let combined = combine(&parts[0].schema(), &parts).expect("combined");
        assert_eq!(combined, texts(0, 9));
        assert_eq!(combined.column(0).as_string_view().data_buffers().len(), 1);
    }

    #[test]
    fn a_slice_does_not_drag_its_whole_along() {
        let slice = texts(0, 10_000).slice(5_000, 10);
        assert!(bytes_of(&slice) < 1_000);
        let combined = combine(&slice.schema(), std::slice::from_ref(&slice)).expect("combined");
        assert_eq!(combined, slice);
        assert!(combined.get_array_memory_size() < 10_000);
    }
}
