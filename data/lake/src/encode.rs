//! Rows to a sorted Parquet file, with the bounds that its commit carries. Work of a thread, not of the runtime.

use std::sync::Arc;

use arrow::{
    array::{Array, RecordBatch},
    compute::{SortColumn, SortOptions, concat, interleave_record_batch, lexsort_to_indices},
    error::ArrowError,
};
use bytes::Bytes;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::{ParquetMetaData, SortingColumn},
        properties::{EnabledStatistics, WriterProperties},
        statistics::Statistics,
    },
    schema::types::ColumnPath,
};
use revgauge_contract::Timestamp;
use serde_json::{Map, Value, json};

use crate::{error::LakeError, layout::Layout, settings::LakeSettings};

/// A Parquet file in memory.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// The file.
    pub bytes: Bytes,
    /// Its rows.
    pub rows: u64,
    /// Delta statistics as JSON text.
    pub stats: String,
    /// First and last value of the layout's time column.
    pub times: Option<(Timestamp, Timestamp)>,
}

/// Sorts the rows of all batches by the layout and writes them as one file.
///
/// Only the key columns are copied whole; rows are gathered a row group at a time.
///
/// # Errors
/// When the batches do not have the layout's schema, or there is no row.
pub(crate) fn encode(
    batches: &[RecordBatch],
    layout: &'static Layout,
    settings: &LakeSettings,
) -> Result<Encoded, LakeError> {
    let parquet = |source| LakeError::Parquet {
        what: "write",
        table: layout.table.name(),
        source,
    };
    let batch = |source| LakeError::Batch {
        table: layout.table.name(),
        source,
    };
    let order = sorted(batches, layout).map_err(batch)?;
    let inputs: Vec<&RecordBatch> = batches.iter().collect();
    let mut buffer = Vec::new();
    let properties = properties(layout, settings).map_err(parquet)?;
    let schema = Arc::clone(&layout.schema);
    let mut writer = ArrowWriter::try_new(&mut buffer, schema, Some(properties)).map_err(parquet)?;
    for rows in order.chunks(settings.row_group_rows) {
        let chunk = interleave_record_batch(&inputs, rows).map_err(batch)?;
        writer.write(&chunk).map_err(parquet)?;
    }
    let metadata = writer.close().map_err(parquet)?;
    let bounds = Bounds::of(&metadata, layout);
    Ok(Encoded {
        bytes: Bytes::from(buffer),
        rows: order.len() as u64,
        times: bounds.times(layout.time),
        stats: bounds.to_delta(order.len()),
    })
}

/// (batch, row) of every row in the layout's order.
fn sorted(batches: &[RecordBatch], layout: &Layout) -> Result<Vec<(usize, usize)>, ArrowError> {
    let mut keys = Vec::with_capacity(layout.sort.len());
    for name in layout.sort {
        let index = layout.schema.index_of(name)?;
        let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(index).as_ref()).collect();
        keys.push(SortColumn {
            values: concat(&parts)?,
            options: Some(SortOptions::new(false, true)),
        });
    }
    let places: Vec<(usize, usize)> = batches
        .iter()
        .enumerate()
        .flat_map(|(index, batch)| (0..batch.num_rows()).map(move |row| (index, row)))
        .collect();
    let order = lexsort_to_indices(&keys, None)?;
    Ok(order.values().iter().map(|&row| places[row as usize]).collect())
}

fn properties(layout: &Layout, settings: &LakeSettings) -> Result<WriterProperties, ParquetError> {
    let mut builder = WriterProperties::builder()
        .set_created_by("revgauge".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(settings.zstd_level)?))
        .set_max_row_group_row_count(Some(settings.row_group_rows))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(
            layout
                .sort
                .iter()
                .filter_map(|name| layout.schema.index_of(name).ok())
                .map(|index| SortingColumn {
                    column_idx: i32::try_from(index).unwrap_or(i32::MAX),
                    descending: false,
                    nulls_first: true,
                })
                .collect(),
        ))
        .set_column_encoding(ColumnPath::from(layout.time), Encoding::DELTA_BINARY_PACKED);
    for name in layout.distinct.iter().chain([&layout.time]) {
        builder = builder.set_column_dictionary_enabled(ColumnPath::from(*name), false);
    }
    // Nobody prunes by JSON text, and its bounds would be the largest part of the footer.
    for name in ["payload", "detail"] {
        builder = builder.set_column_statistics_enabled(ColumnPath::from(name), EnabledStatistics::None);
    }
    Ok(builder.build())
}

/// Bounds of one column over a file.
#[derive(Debug)]
struct Bound {
    name: String,
    range: Option<Range>,
    nulls: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Range {
    Number(i64, i64),
    Time(i64, i64),
    Text(String, String),
}

/// Bounds of the layout's bounded columns.
#[derive(Debug)]
struct Bounds(Vec<Bound>);

impl Bounds {
    /// Gathers the row groups' statistics. Text bounds may be truncated by the writer; they stay bounds.
    fn of(metadata: &ParquetMetaData, layout: &Layout) -> Self {
        let columns = layout.bounded.iter().filter_map(|name| {
            let index = layout.schema.index_of(name).ok()?;
            let is_time = matches!(
                layout.schema.field(index).data_type(),
                arrow::datatypes::DataType::Timestamp(..)
            );
            let groups = metadata.row_groups().iter();
            let statistics: Vec<_> = groups
                .filter_map(|group| group.column(index).statistics())
                .collect();
            let ranges: Option<Vec<Range>> = statistics.iter().map(|s| range(s, is_time)).collect();
            Some(Bound {
                name: (*name).to_owned(),
                range: ranges.and_then(|ranges| ranges.into_iter().reduce(Range::union)),
                nulls: statistics.iter().filter_map(|s| s.null_count_opt()).sum(),
            })
        });
        Self(columns.collect())
    }

    fn times(&self, column: &str) -> Option<(Timestamp, Timestamp)> {
        let bound = self.0.iter().find(|bound| bound.name == column)?;
        match bound.range {
            Some(Range::Time(low, high)) => Some((Timestamp(low), Timestamp(high))),
            _ => None,
        }
    }

    fn to_delta(&self, rows: usize) -> String {
        let (mut low, mut high, mut nulls) = (Map::new(), Map::new(), Map::new());
        for bound in &self.0 {
            nulls.insert(bound.name.clone(), json!(bound.nulls));
            if let Some((least, most)) = bound.range.as_ref().map(Range::to_delta) {
                low.insert(bound.name.clone(), least);
                high.insert(bound.name.clone(), most);
            }
        }
        json!({ "numRecords": rows, "minValues": low, "maxValues": high, "nullCount": nulls }).to_string()
    }
}

impl Range {
    fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Number(a, b), Self::Number(c, d)) => Self::Number(a.min(c), b.max(d)),
            (Self::Time(a, b), Self::Time(c, d)) => Self::Time(a.min(c), b.max(d)),
            (Self::Text(a, b), Self::Text(c, d)) => Self::Text(a.min(c), b.max(d)),
            (range, _) => range,
        }
    }

    fn to_delta(&self) -> (Value, Value) {
        match self {
            Self::Number(low, high) => (json!(low), json!(high)),
            Self::Text(low, high) => (json!(low), json!(high)),
            // Readers take milliseconds (Spark writes no more), so the bounds are widened to them.
            Self::Time(low, high) => (
                json!(milliseconds(low.div_euclid(1_000))),
                json!(milliseconds(-(-high).div_euclid(1_000))),
            ),
        }
    }
}

fn milliseconds(at: i64) -> String {
    let at = Timestamp(at.saturating_mul(1_000)).to_datetime();
    at.format("%Y-%m-%dT%H:%M:%S%.3f").to_string()
}

fn range(statistics: &Statistics, is_time: bool) -> Option<Range> {
    match statistics {
        Statistics::Int64(values) => {
            let (low, high) = (*values.min_opt()?, *values.max_opt()?);
            Some(if is_time {
                Range::Time(low, high)
            } else {
                Range::Number(low, high)
            })
        }
        Statistics::ByteArray(_) => {
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes?.to_vec()).ok();
            Some(Range::Text(
                text(statistics.min_bytes_opt())?,
                text(statistics.max_bytes_opt())?,
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use revgauge_contract::{cut::LakeTable, schema::text_column};

    use super::*;
    use crate::{
        files::decode,
        layout::layout,
        tests::rows::{EventRow, batch},
    };

    #[test]
    fn files_are_sorted_and_bounded() {
        let settings = LakeSettings {
            row_group_rows: 2,
            ..LakeSettings::default()
        };
        let row = |tenant: &str, at| EventRow::new(tenant, at);
        let batches = [
            batch(&[row("b", 1_500), row("a", 7_000_001), row("a", 3_000)]),
            batch(&[row("c", 2_000), row("a", 5_000)]),
        ];
        let file = encode(&batches, layout(LakeTable::Events), &settings).unwrap();
        assert_eq!(file.rows, 5);
        assert_eq!(file.times, Some((Timestamp(1_500), Timestamp(7_000_001))));
        let stats: Value = serde_json::from_str(&file.stats).unwrap();
        assert_eq!(stats["numRecords"], 5);
        assert_eq!(stats["minValues"]["tenant_id"], "a");
        assert_eq!(stats["maxValues"]["tenant_id"], "c");
        assert_eq!(stats["minValues"]["event_time"], "1970-01-01T00:00:00.001");
        assert_eq!(stats["maxValues"]["event_time"], "1970-01-01T00:00:07.001");
        let tenants: Vec<String> = decode(file.bytes, layout(LakeTable::Events), None)
            .unwrap()
            .iter()
            .flat_map(|batch| {
                let column = text_column(batch, "tenant_id").unwrap();
                column
                    .iter()
                    .map(|tenant| tenant.unwrap().to_owned())
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(tenants, ["a", "a", "a", "b", "c"]);
    }
}
