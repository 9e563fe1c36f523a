//! How the rows of each table lie in its files, and their schema in Delta's words.

use std::sync::LazyLock;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use deltalake::kernel::{DataType as DeltaType, PrimitiveType, StructField};
use revgauge_contract::{cut::LakeTable, schema, score};

use crate::error::LakeError;

/// What the lake knows of a table beyond its rows.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The table.
    pub table: LakeTable,
    /// Its Arrow schema.
    pub schema: SchemaRef,
    /// Columns its files are sorted by. Events lie by contact: one contact's rows share pages, which makes look-ups and
    /// grouping cheap and files small. Score changes lie in feed order, as cursors read them.
    pub sort: &'static [&'static str],
    /// Columns whose bounds each commit carries for pruning.
    pub bounded: &'static [&'static str],
    /// Columns whose values hardly repeat: no dictionary.
    pub distinct: &'static [&'static str],
    /// The column that retention goes by.
    pub time: &'static str,
    /// Whether rows have a source and thus watermarks.
    pub has_sources: bool,
}

static EVENTS: LazyLock<Layout> = LazyLock::new(|| Layout {
    table: LakeTable::Events,
    schema: schema::events(),
    sort: &["tenant_id", "contact_id", "email", "event_time"],
    bounded: &["tenant_id", "event_time", "ingested_at", "known_at"],
    distinct: &["event_id", "event_time", "payload"],
    time: "event_time",
    has_sources: true,
});

static SCORE_CHANGES: LazyLock<Layout> = LazyLock::new(|| Layout {
    table: LakeTable::ScoreChanges,
    schema: score::score_changes(),
    sort: &["tenant_id", "position", "row"],
    bounded: &["tenant_id", "position", "as_of"],
    distinct: &["row", "fingerprint", "detail"],
    time: "as_of",
    has_sources: false,
});

/// The layout of a table.
pub(crate) fn layout(table: LakeTable) -> &'static Layout {
    match table {
        LakeTable::Events => &EVENTS,
        LakeTable::ScoreChanges => &SCORE_CHANGES,
    }
}

impl Layout {
    /// The columns as Delta fields.
    pub(crate) fn delta_fields(&self) -> Result<Vec<StructField>, LakeError> {
        let fields = self.schema.fields().iter();
        fields
            .map(|field| {
                let primitive = delta_type(field.data_type()).ok_or_else(|| LakeError::Foreign {
                    table: self.table.name(),
                    reason: format!("column '{}' has no delta type", field.name()),
                })?;
                Ok(StructField::new(
                    field.name(),
                    DeltaType::Primitive(primitive),
                    field.is_nullable(),
                ))
            })
            .collect()
    }
}

fn delta_type(data_type: &DataType) -> Option<PrimitiveType> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(PrimitiveType::String),
        DataType::Int64 => Some(PrimitiveType::Long),
        DataType::Float64 => Some(PrimitiveType::Double),
        // UTC by contract, zoneless by type: an engine that reads `timestamp` would show it in its session's zone.
        DataType::Timestamp(TimeUnit::Microsecond, None) => Some(PrimitiveType::TimestampNtz),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_column_exists() {
        for table in [LakeTable::Events, LakeTable::ScoreChanges] {
            let layout = layout(table);
            for column in layout.sort.iter().chain(layout.bounded).chain(layout.distinct) {
                assert!(layout.schema.index_of(column).is_ok(), "{column}");
            }
            assert!(layout.bounded.contains(&layout.time));
            assert_eq!(
                layout.delta_fields().expect("types").len(),
                layout.schema.fields().len()
            );
        }
    }
}
