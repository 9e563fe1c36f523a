//! Score changes as rows, and rows as score changes.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringViewArray,
        TimestampMicrosecondArray,
    },
    datatypes::Float64Type,
};
use revgauge_contract::{
    ErrorKind, Timestamp,
    error::Failure,
    schema::{text_column, time_column},
    score::{Cause, EntityKind, ScoreChange, score_changes},
};

/// Rows in the feed's schema. `position` and `row` are zero until the object is written.
pub(super) fn changes_batch(changes: &[ScoreChange]) -> RecordBatch {
    let text = |of: fn(&ScoreChange) -> &str| -> ArrayRef {
        Arc::new(
            changes
                .iter()
                .map(|change| Some(of(change)))
                .collect::<StringViewArray>(),
        )
    };
    let optional = |of: fn(&ScoreChange) -> Option<&str>| -> ArrayRef {
        Arc::new(changes.iter().map(of).collect::<StringViewArray>())
    };
    let number = |of: fn(&ScoreChange) -> Option<f64>| -> ArrayRef {
        Arc::new(changes.iter().map(of).collect::<Float64Array>())
    };
    let unknown = || -> ArrayRef { Arc::new(Int64Array::from_value(0, changes.len())) };
    let as_of = changes.iter().map(|change| change.as_of.micros());
    let columns = vec![
        text(|change| &change.tenant_id),
        unknown(),
        unknown(),
        text(|change| change.entity_kind.as_str()),
        text(|change| &change.entity_id),
        text(|change| &change.score),
        number(|change| change.old_value),
        number(|change| change.new_value),
        optional(|change| change.old_tier.as_deref()),
        optional(|change| change.new_tier.as_deref()),
        text(|change| &change.reason),
        text(|change| change.cause.as_str()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(as_of)),
        text(|change| &change.definition),
        text(|change| &change.fingerprint),
        text(|change| &change.detail),
    ];
    RecordBatch::try_new(score_changes(), columns).expect("columns are built in schema order")
}

/// The score change of a row.
pub(super) fn change_at(batch: &RecordBatch, row: usize) -> Result<ScoreChange, Failure> {
    let text = |name: &str| required(batch, name, row);
    let optional = |name: &str| optional(batch, name, row);
    let number = |name: &str| {
        let column = batch.column_by_name(name)?.as_primitive_opt::<Float64Type>()?;
        (!column.is_null(row)).then(|| column.value(row))
    };
    let kind = text("entity_kind")?;
    let cause = text("cause")?;
    let as_of = time_column(batch, "as_of").ok_or_else(|| missing("as_of"))?;
    Ok(ScoreChange {
        tenant_id: text("tenant_id")?,
        entity_kind: entity_kind(&kind).ok_or_else(|| unknown("entity_kind", &kind))?,
        entity_id: text("entity_id")?,
        score: text("score")?,
        old_value: number("old_value"),
        new_value: number("new_value"),
        old_tier: optional("old_tier"),
        new_tier: optional("new_tier"),
        reason: text("reason")?,
        cause: cause_of(&cause).ok_or_else(|| unknown("cause", &cause))?,
        as_of: Timestamp(as_of.value(row)),
        definition: text("definition")?,
        fingerprint: text("fingerprint")?,
        detail: text("detail")?,
    })
}

fn optional(batch: &RecordBatch, name: &str, row: usize) -> Option<String> {
    let column = text_column(batch, name)?;
    (!column.is_null(row)).then(|| column.value(row).to_owned())
}

fn required(batch: &RecordBatch, name: &str, row: usize) -> Result<String, Failure> {
    optional(batch, name, row).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Failure {
    Failure::new(
        ErrorKind::Data,
        format!("a feed row has no value in column '{name}'"),
    )
}

fn unknown(name: &str, value: &str) -> Failure {
    Failure::new(
        ErrorKind::Data,
        format!("a feed row has the unknown {name} '{value}'"),
    )
}

fn entity_kind(text: &str) -> Option<EntityKind> {
    [
        EntityKind::Contact,
        EntityKind::Account,
        EntityKind::Deal,
        EntityKind::Tenant,
    ]
    .into_iter()
    .find(|kind| kind.as_str() == text)
}

fn cause_of(text: &str) -> Option<Cause> {
    [Cause::Event, Cause::Decay, Cause::Definition, Cause::Recut]
        .into_iter()
        .find(|cause| cause.as_str() == text)
}
