//! Prepared statements: text and bound values under a handle, for the key that made them, up to a number and an age.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array as _, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use bytes::Bytes;
use datafusion::{common::ScalarValue, logical_expr::LogicalPlan};
use parking_lot::Mutex;
use tonic::Status;

use crate::settings::FlightSettings;

/// A prepared statement.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) sql: String,
    pub(super) schema: SchemaRef,
    /// Values of `$1`, `$2`, ..., once bound.
    pub(super) values: Vec<ScalarValue>,
    key_id: Arc<str>,
    used_us: i64,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Statements {
    open: Mutex<HashMap<Bytes, Prepared>>,
}

impl Statements {
    /// Keeps a statement under a handle.
    ///
    /// # Errors
    /// When the key holds as many as it may.
    pub(super) fn keep(
        &self,
        handle: Bytes,
        key_id: &Arc<str>,
        sql: String,
        schema: SchemaRef,
        now_us: i64,
        settings: &FlightSettings,
    ) -> Result<(), Status> {
        let mut open = self.open.lock();
        let idle_us = i64::try_from(settings.statement_idle_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
        open.retain(|_, statement| now_us.saturating_sub(statement.used_us) < idle_us);
        let own = open
            .values()
            .filter(|statement| statement.key_id == *key_id)
            .count();
        if own >= settings.statements_per_key {
            return Err(Status::resource_exhausted(format!(
                "{own} statements are prepared, which is the limit of a key: close one"
            )));
        }
        let statement = Prepared {
            sql,
            schema,
            values: Vec::new(),
            key_id: Arc::clone(key_id),
            used_us: now_us,
        };
        open.insert(handle, statement);
        Ok(())
    }

    /// A statement of the key.
    ///
    /// # Errors
    /// When it has none by that handle.
    pub(super) fn get(&self, handle: &Bytes, key_id: &Arc<str>, now_us: i64) -> Result<Prepared, Status> {
        let mut open = self.open.lock();
        let statement = open
            .get_mut(handle)
            .filter(|statement| statement.key_id == *key_id);
        let statement = statement.ok_or_else(unknown)?;
        statement.used_us = now_us;
        Ok(statement.clone())
    }

    /// Binds values.
    ///
    /// # Errors
    /// When the key has no statement by that handle.
    pub(super) fn bind(
        &self,
        handle: &Bytes,
        key_id: &Arc<str>,
        values: Vec<ScalarValue>,
    ) -> Result<(), Status> {
        let mut open = self.open.lock();
        let statement = open
            .get_mut(handle)
            .filter(|statement| statement.key_id == *key_id);
        statement.ok_or_else(unknown)?.values = values;
        Ok(())
    }

    /// Forgets a statement of the key.
    pub(super) fn close(&self, handle: &Bytes, key_id: &Arc<str>) {
        let mut open = self.open.lock();
        if open
            .get(handle)
            .is_some_and(|statement| statement.key_id == *key_id)
        {
            open.remove(handle);
        }
    }
}

fn unknown() -> Status {
    Status::not_found("no prepared statement by this handle: it was closed, or idle for too long")
}

/// The one row of values in the batches of a bind.
///
/// # Errors
/// When there is not exactly one row.
pub(super) fn values_of(batches: &[RecordBatch]) -> Result<Vec<ScalarValue>, Status> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let batch = batches.iter().find(|batch| batch.num_rows() > 0);
    let (1, Some(batch)) = (rows, batch) else {
        return Err(Status::invalid_argument(format!(
            "a query takes one row of parameters, {rows} are bound"
        )));
    };
    let values = batch.columns().iter().map(|column| {
        if column.is_null(0) && *column.data_type() == DataType::Null {
            return Ok(ScalarValue::Null);
        }
        ScalarValue::try_from_array(column, 0)
    });
    values
        .collect::<Result<_, _>>()
        .map_err(|error| Status::invalid_argument(format!("cannot read a parameter: {error}")))
}

/// What a plan's parameters are; texts where the plan does not say.
pub(super) fn parameters_of(plan: &LogicalPlan) -> Result<Schema, Status> {
    let types = plan
        .get_parameter_types()
        .map_err(|error| Status::invalid_argument(error.strip_backtrace()))?;
    let mut numbered: Vec<(usize, DataType)> = types
        .into_iter()
        .filter_map(|(name, kind)| {
            let number = name.trim_start_matches('$').parse().ok()?;
            Some((number, kind.unwrap_or(DataType::Utf8)))
        })
        .collect();
    numbered.sort_by_key(|(number, _)| *number);
    let fields = numbered.into_iter().map(|(number, kind)| {
        let kind = if kind == DataType::Utf8View {
            DataType::Utf8
        } else {
            kind
        };
        Field::new(format!("${number}"), kind, true)
    });
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}
