//! The shape in which columns leave: unique names, no type that a reader cannot print.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array as _, ArrayRef, AsArray as _, RecordBatch, RecordBatchOptions, StringViewBuilder},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    common::Result,
};
use datafusion_functions_json::{JSON_UNION_DATA_TYPE, JsonUnionEncoder, JsonUnionValue};

/// How a query's columns become an answer's.
#[derive(Debug, Clone)]
pub(super) struct OutputShape {
    pub(super) schema: SchemaRef,
}

impl OutputShape {
    /// Names that occur twice get a number; values of `json_get` become text.
    pub(super) fn of(query: &Schema) -> Self {
        let mut taken = HashSet::new();
        let fields = query.fields().iter().map(|field| {
            let mut name = field.name().clone();
            let mut number = 2;
            while !taken.insert(name.clone()) {
                name = format!("{}_{number}", field.name());
                number += 1;
            }
            let kind = if *field.data_type() == *JSON_UNION_DATA_TYPE {
                DataType::Utf8View
            } else {
                field.data_type().clone()
            };
            Field::new(name, kind, true).with_metadata(field.metadata().clone())
        });
        Self {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        }
    }

    pub(super) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = batch.columns().iter().map(json_text).collect();
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &rows,
        )?)
    }
}

fn json_text(column: &ArrayRef) -> ArrayRef {
    if *column.data_type() != *JSON_UNION_DATA_TYPE {
        return Arc::clone(column);
    }
    let Some(values) = JsonUnionEncoder::from_union(column.as_union().clone()) else {
        return Arc::clone(column);
    };
    let mut text = StringViewBuilder::with_capacity(values.len());
    for row in 0..values.len() {
        match values.get_value(row) {
            JsonUnionValue::JsonNull => text.append_null(),
            JsonUnionValue::Bool(value) => text.append_value(value.to_string()),
            JsonUnionValue::Int(value) => text.append_value(value.to_string()),
            JsonUnionValue::Float(value) => text.append_value(value.to_string()),
            JsonUnionValue::Str(value) | JsonUnionValue::Array(value) | JsonUnionValue::Object(value) => {
                text.append_value(value);
            }
        }
    }
    Arc::new(text.finish())
}

/// The type as SQL people call it.
pub(crate) fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Timestamp(_, _) => "timestamp".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}
