//! Rows of `contacts`, `accounts` and `deals` kept between queries, each made again when its record changed.
//!
//! What is kept is the tenant's, before any row rule or mask: those are applied by the wall to what comes out. Nothing of
//! it depends on time, so a kept row is the row.

use std::{collections::HashMap, sync::Arc};

use datafusion::arrow::{
    array::{ArrayRef, AsArray as _, RecordBatch, StringViewArray},
    compute::interleave_record_batch,
    error::ArrowError,
};
use parking_lot::Mutex;
use revgauge_contract::{
    ErrorKind,
    error::Failure,
    score::{EntityKind, RecordChanges, ScoreService},
};

use super::object_table::{Column, rows_of};

/// Records read at once.
const STEP: usize = 2_000;
/// Rows of one batch.
const CHUNK: usize = 4_096;
/// Text buffers of a batch past which they are written anew, without what no row uses any more.
const MOST_BUFFERS: usize = 8;

/// The rows of one kind of one tenant.
#[derive(Debug, Default)]
struct Held {
    revision: u64,
    /// Ids still to be read: a query that was stopped leaves the rest to the next.
    pending: Vec<String>,
    chunk_of: HashMap<Box<str>, u32>,
    chunks: Vec<RecordBatch>,
}

type Place = Arc<tokio::sync::Mutex<Held>>;

/// Kept rows of all tenants.
#[derive(Debug)]
pub(crate) struct KeptRecords {
    most: usize,
    places: Mutex<HashMap<(Arc<str>, EntityKind), Place>>,
}

impl KeptRecords {
    /// At most so many rows of one kind of one tenant; where there are more, none are kept.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            places: Mutex::default(),
        }
    }

    /// All rows of a kind as of now; `None` when they are not kept and have to be computed.
    ///
    /// # Errors
    /// What reading records met.
    pub(super) async fn rows(
        &self,
        scores: &dyn ScoreService,
        tenant_id: &Arc<str>,
        kind: EntityKind,
        columns: &[Column],
    ) -> Result<Option<Vec<RecordBatch>>, Failure> {
        let place = {
            let mut places = self.places.lock();
            Arc::clone(places.entry((Arc::clone(tenant_id), kind)).or_default())
        };
        let mut held = place.lock().await;
        let Some(changes) = scores.changed_since(tenant_id, kind, held.revision).await? else {
            return Ok(None);
        };
        if changes.ids.len() + held.chunk_of.len() > 2 * self.most
            || (changes.whole && changes.ids.len() > self.most)
        {
            *held = Held::default();
            return Ok(None);
        }
        held.note(changes);
        while !held.pending.is_empty() {
            let from = held.pending.len().saturating_sub(STEP);
            let ids = held.pending[from..].to_vec();
            let records = scores.own_records(tenant_id, kind, Some(&ids)).await?;
            let rows = rows_of(tenant_id, columns, &records, false);
            held.take(&ids, &rows).map_err(|error| {
                Failure::new(
                    ErrorKind::Internal,
                    format!("cannot keep rows of {}s: {error}", kind.as_str()),
                )
            })?;
            held.pending.truncate(from);
        }
        Ok(Some(held.chunks.clone()))
    }
}

impl Held {
    fn note(&mut self, changes: RecordChanges) {
        if changes.whole {
            *self = Self::default();
        }
        self.revision = changes.revision;
        self.pending.extend(changes.ids);
        self.pending.sort_unstable();
        self.pending.dedup();
    }

    /// Puts the rows of some records in the place of those there are; a record without a row is gone.
    fn take(&mut self, ids: &[String], rows: &RecordBatch) -> Result<(), ArrowError> {
        let Some(new_ids) = ids_of(rows) else {
            return Err(ArrowError::SchemaError("the second column is no id".to_owned()));
        };
        let mut new: HashMap<&str, usize> = HashMap::with_capacity(rows.num_rows());
        new.extend((0..rows.num_rows()).map(|row| (new_ids.value(row), row)));
        let mut touched: Vec<u32> = ids
            .iter()
            .filter_map(|id| self.chunk_of.get(id.as_str()).copied())
            .collect();
        touched.sort_unstable();
        touched.dedup();
        let asked: std::collections::HashSet<&str> = ids.iter().map(String::as_str).collect();
        let mut placed = std::collections::HashSet::new();
        for chunk in touched {
            let held = &self.chunks[chunk as usize];
            let Some(held_ids) = ids_of(held) else { continue };
            let mut indices = Vec::with_capacity(held.num_rows());
            for row in 0..held.num_rows() {
                let id = held_ids.value(row);
                match new.get(id) {
                    Some(row) => {
                        indices.push((1, *row));
                        placed.insert(*row);
                    }
                    None if asked.contains(id) => {
                        self.chunk_of.remove(id);
                    }
                    None => indices.push((0, row)),
                }
            }
            self.chunks[chunk as usize] = tidy(interleave_record_batch(&[held, rows], &indices)?)?;
        }
        // What is left is new: behind the last batch while that has room.
        let rest: Vec<(usize, usize)> = (0..rows.num_rows())
            .filter(|row| !placed.contains(row))
            .map(|row| (1, row))
            .collect();
        if rest.is_empty() {
            return Ok(());
        }
        let last = self.chunks.len().checked_sub(1);
        let room = last.filter(|last| self.chunks[*last].num_rows() + rest.len() <= CHUNK);
        let chunk = match room {
            Some(chunk) => {
                let held = &self.chunks[chunk];
                let indices: Vec<_> = (0..held.num_rows())
                    .map(|row| (0, row))
                    .chain(rest.iter().copied())
                    .collect();
                self.chunks[chunk] = tidy(interleave_record_batch(&[held, rows], &indices)?)?;
                chunk
            }
            None => {
                self.chunks
                    .push(tidy(interleave_record_batch(&[rows, rows], &rest)?)?);
                self.chunks.len() - 1
            }
        };
        for (_, row) in rest {
            self.chunk_of.insert(new_ids.value(row).into(), chunk as u32);
        }
        Ok(())
    }
}

/// The ids of rows: the column behind the tenant.
fn ids_of(rows: &RecordBatch) -> Option<&StringViewArray> {
    rows.columns().get(1)?.as_string_view_opt()
}

/// Texts without what no row uses any more, once they come from many buffers.
fn tidy(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let crowded = |column: &ArrayRef| {
        let texts = column.as_string_view_opt();
        texts.is_some_and(|texts| texts.data_buffers().len() > MOST_BUFFERS)
    };
    if !batch.columns().iter().any(crowded) {
        return Ok(batch);
    }
    let columns = batch
        .columns()
        .iter()
        .map(|column| match column.as_string_view_opt() {
            Some(texts) if crowded(column) => Arc::new(texts.gc()) as ArrayRef,
            _ => Arc::clone(column),
        });
    RecordBatch::try_new(batch.schema(), columns.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sql::object_table::DEALS;

    fn rows(stages: &[(usize, &str)]) -> RecordBatch {
        let records: Vec<Value> = stages
            .iter()
            .map(|(id, stage)| json!({"deal_id": format!("d{id}"), "stage": stage, "name": format!("a name past twelve bytes {id}")}))
            .collect();
        rows_of("t", DEALS, &records, false)
    }

    fn told(held: &Held) -> Vec<(String, String)> {
        let mut told = Vec::new();
        for chunk in &held.chunks {
            let ids = ids_of(chunk).expect("ids");
            let stages = chunk
                .column_by_name("stage")
                .expect("stages")
                .as_string_view()
                .clone();
            told.extend(
                (0..chunk.num_rows()).map(|row| (ids.value(row).to_owned(), stages.value(row).to_owned())),
            );
        }
        told.sort();
        told
    }

    #[test]
    fn changed_rows_take_the_place_of_the_old_ones_and_gone_ones_go() {
        let name = |id: usize| format!("d{id}");
        let mut held = Held::default();
        let first: Vec<(usize, &str)> = (0..10_000).map(|id| (id, "one")).collect();
        for part in first.chunks(STEP) {
            let ids: Vec<String> = part.iter().map(|(id, _)| name(*id)).collect();
            held.take(&ids, &rows(part)).expect("taken");
        }
        assert_eq!((told(&held).len(), held.chunks.len()), (10_000, 3));
        for round in 0..40 {
            let ids: Vec<String> = [7, 5_000 + round, 9_999, 20_000 + round].map(name).into();
            // 9,999 is gone from the first round on.
            held.take(
                &ids,
                &rows(&[(7, "two"), (5_000 + round, "two"), (20_000 + round, "new")]),
            )
            .expect("taken");
        }
        let told = told(&held);
        assert_eq!(told.len(), 10_000 - 1 + 40);
        let stage = |id: usize| {
            told.iter()
                .find(|(held, _)| *held == name(id))
                .map(|(_, stage)| stage.as_str())
        };
        assert_eq!(
            [stage(7), stage(5_039), stage(5_040)],
            [Some("two"), Some("two"), Some("one")]
        );
        assert_eq!([stage(9_999), stage(20_039)], [None, Some("new")]);
        assert!(held.chunks.iter().all(|chunk| {
            let texts = chunk
                .column_by_name("name")
                .expect("names")
                .as_string_view()
                .clone();
            texts.data_buffers().len() <= MOST_BUFFERS + 4
        }));
    }
}
