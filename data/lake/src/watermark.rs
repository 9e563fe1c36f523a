//! Freshness of each source: counted per batch, added up per commit, kept with the Delta log.
//!
//! Each commit carries what its rows add; a snapshot beside each Delta checkpoint carries the sum. So an open reads one
//! small object and at most the commits since the last checkpoint. When either is missing, columns of the files are
//! read instead.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use revgauge_contract::{
    Timestamp,
    cut::Watermark,
    schema::{text_column, time_column},
};
use serde::{Deserialize, Serialize};

/// Watermarks by tenant and source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks(BTreeMap<String, BTreeMap<String, Watermark>>);

/// A stored watermark: event time and receipt in microseconds, number of events.
#[derive(Serialize, Deserialize)]
struct Stored(i64, i64, u64);

/// Stored form of [`Marks`].
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct StoredMarks(BTreeMap<String, BTreeMap<String, Stored>>);

impl Marks {
    /// Columns a batch must have to be counted.
    pub(crate) const COLUMNS: [&'static str; 4] = ["tenant_id", "event_time", "ingested_at", "source"];

    /// Counts a batch; nothing for batches without the columns. Cost: a comparison per row, a look-up per run of rows
    /// with one source.
    pub(crate) fn of(batch: &RecordBatch) -> Self {
        let mut marks = Self::default();
        let [tenant, event_time, ingested_at, source] = Self::COLUMNS;
        let (Some(tenants), Some(sources), Some(times), Some(received)) = (
            text_column(batch, tenant),
            text_column(batch, source),
            time_column(batch, event_time),
            time_column(batch, ingested_at),
        ) else {
            return marks;
        };
        let mut start = 0;
        while start < tenants.len() {
            let (tenant, source) = (tenants.value(start), sources.value(start));
            let mut end = start + 1;
            while end < tenants.len() && tenants.value(end) == tenant && sources.value(end) == source {
                end += 1;
            }
            let latest =
                |values: &[i64]| Timestamp(values[start..end].iter().copied().max().unwrap_or(i64::MIN));
            marks.add(
                tenant,
                source,
                Watermark {
                    event_time: latest(times.values()),
                    ingested_at: latest(received.values()),
                    events: (end - start) as u64,
                },
            );
            start = end;
        }
        marks
    }

    fn add(&mut self, tenant: &str, source: &str, more: Watermark) {
        if !self.0.contains_key(tenant) {
            self.0.insert(tenant.to_owned(), BTreeMap::new());
        }
        let Some(sources) = self.0.get_mut(tenant) else {
            return;
        };
        match sources.get_mut(source) {
            Some(mark) => {
                mark.event_time = mark.event_time.max(more.event_time);
                mark.ingested_at = mark.ingested_at.max(more.ingested_at);
                mark.events += more.events;
            }
            None => {
                sources.insert(source.to_owned(), more);
            }
        }
    }

    /// Adds other watermarks to these.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (tenant, sources) in &other.0 {
            self.merge_tenant(tenant, sources);
        }
    }

    fn merge_tenant(&mut self, tenant: &str, sources: &BTreeMap<String, Watermark>) {
        for (source, mark) in sources {
            self.add(tenant, source, *mark);
        }
    }

    /// Adds one tenant's part of other watermarks to these.
    pub(crate) fn merge_only(&mut self, tenant: &str, other: &Self) {
        if let Some(sources) = other.0.get(tenant) {
            self.merge_tenant(tenant, sources);
        }
    }

    /// The sources of one tenant.
    pub(crate) fn into_tenant(mut self, tenant: &str) -> BTreeMap<String, Watermark> {
        self.0.remove(tenant).unwrap_or_default()
    }

    /// Whether nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The form kept in the store.
    pub(crate) fn to_stored(&self) -> StoredMarks {
        let sources = |sources: &BTreeMap<String, Watermark>| {
            let stored = |mark: &Watermark| Stored(mark.event_time.0, mark.ingested_at.0, mark.events);
            sources
                .iter()
                .map(|(source, mark)| (source.clone(), stored(mark)))
                .collect()
        };
        StoredMarks(
            self.0
                .iter()
                .map(|(tenant, by)| (tenant.clone(), sources(by)))
                .collect(),
        )
    }
}

impl From<StoredMarks> for Marks {
    fn from(stored: StoredMarks) -> Self {
        let mark = |Stored(event_time, ingested_at, events)| Watermark {
            event_time: Timestamp(event_time),
            ingested_at: Timestamp(ingested_at),
            events,
        };
        let sources = |sources: BTreeMap<String, Stored>| {
            sources
                .into_iter()
                .map(|(source, stored)| (source, mark(stored)))
                .collect()
        };
        Self(
            stored
                .0
                .into_iter()
                .map(|(tenant, by)| (tenant, sources(by)))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::rows::{EventRow, batch};

    #[test]
    fn batches_add_up_and_survive_storage() {
        let row = |tenant: &str, source: &str, at| EventRow::new(tenant, at).of_source(source);
        let first = Marks::of(&batch(&[
            row("a", "x", 5),
            row("a", "x", 9),
            row("b", "x", 1),
            row("a", "y", 2),
        ]));
        let second = Marks::of(&batch(&[row("a", "x", 7)]));
        let mut both = first.clone();
        both.merge(&second);
        let text = serde_json::to_string(&both.to_stored()).unwrap();
        let again = Marks::from(serde_json::from_str::<StoredMarks>(&text).unwrap());
        assert_eq!(again, both);
        let sources = again.into_tenant("a");
        assert_eq!((sources["x"].events, sources["x"].event_time.0), (3, 9));
        assert_eq!(sources["y"].events, 1);
    }
}
