//! One step of the part below or above the aggregation, run on a record batch.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions},
    compute::{cast, filter_record_batch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    common::DataFusionError,
    error::Result,
    physical_expr::PhysicalExpr,
    physical_plan::{ExecutionPlan, filter::FilterExec, projection::ProjectionExec},
};
use revgauge_contract::schema::timestamp_type;

/// A filter or a projection, as DataFusion planned it.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    Filter {
        predicate: Arc<dyn PhysicalExpr>,
        keep: Option<Vec<usize>>,
    },
    Project {
        exprs: Vec<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
    },
}

impl Stage {
    pub(super) fn filter(filter: &FilterExec) -> Self {
        Self::Filter {
            predicate: Arc::clone(filter.predicate()),
            keep: filter.projection().as_ref().map(|keep| keep.to_vec()),
        }
    }

    pub(super) fn project(projection: &ProjectionExec) -> Self {
        Self::Project {
            exprs: projection
                .expr()
                .iter()
                .map(|projected| Arc::clone(&projected.expr))
                .collect(),
            schema: projection.schema(),
        }
    }

    pub(super) const fn schema(&self) -> Option<&SchemaRef> {
        match self {
            Self::Project { schema, .. } => Some(schema),
            Self::Filter { .. } => None,
        }
    }

    pub(super) fn exprs(&self) -> Option<&[Arc<dyn PhysicalExpr>]> {
        match self {
            Self::Project { exprs, .. } => Some(exprs),
            Self::Filter { .. } => None,
        }
    }

    /// Runs the step.
    pub(crate) fn run(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        match self {
            Self::Filter { predicate, keep } => {
                let mask = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
                let mask = mask
                    .as_boolean_opt()
                    .ok_or_else(|| DataFusionError::Internal("a filter gave no booleans".to_owned()))?;
                let projected = match keep {
                    Some(keep) => batch.project(keep)?,
                    None => batch.clone(),
                };
                Ok(filter_record_batch(&projected, mask)?)
            }
            Self::Project { exprs, schema } => {
                let columns = evaluate(exprs, batch)?;
                let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                Ok(RecordBatch::try_new_with_options(
                    Arc::clone(schema),
                    columns,
                    &options,
                )?)
            }
        }
    }
}

/// Values of expressions over a batch.
pub(crate) fn evaluate(exprs: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    exprs
        .iter()
        .map(|expr| expr.evaluate(batch)?.into_array(batch.num_rows()))
        .collect()
}

/// The schema with text as views and times in microseconds: what readers of statistics decode.
pub(crate) fn normal_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            let data_type = match field.data_type() {
                DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
                DataType::Timestamp(_, None) => timestamp_type(),
                other => other.clone(),
            };
            Field::new(field.name(), data_type, field.is_nullable())
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// Casts a batch into `schema`, column by column, where it differs.
pub(crate) fn normalised(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    cast_to(batch.columns().to_vec(), batch.num_rows(), schema)
}

/// A batch of a schema from columns whose types may differ from it.
pub(crate) fn cast_to(columns: Vec<ArrayRef>, rows: usize, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = columns
        .into_iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(column)
            } else {
                cast(&column, field.data_type())
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}
