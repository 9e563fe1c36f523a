//! A commit and its text in the Delta log.

use std::collections::HashMap;

use bytes::Bytes;
use deltalake::{
    kernel::{
        Action, Add, Remove, Transaction,
        transaction::{CommitData, TransactionError},
    },
    protocol::{DeltaOperation, SaveMode},
};
use revgauge_contract::{Position, Timestamp};

use super::{FileFacts, Log, marks::MARKS_KEY};
use crate::watermark::Marks;

/// A file to add, with its Delta statistics.
#[derive(Debug, Clone)]
pub(crate) struct NewFile {
    /// The file.
    pub facts: FileFacts,
    /// Delta statistics as JSON text.
    pub stats: String,
}

/// How the position moves with a commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Advance {
    /// Last position in the table before it.
    pub after: Position,
    /// Last position in the table with it.
    pub last: Position,
    /// What the last position covers.
    pub covers: Position,
}

/// Why files are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// New rows, or a position alone.
    Append,
    /// The same rows in fewer files.
    Compaction,
    /// Rows past the retention go.
    Retention,
    /// Rows of an erased person go.
    Erasure,
}

/// One commit to be.
#[derive(Debug)]
pub(crate) struct Commit {
    /// Why.
    pub reason: Reason,
    /// Files that come.
    pub adds: Vec<NewFile>,
    /// Files that go.
    pub removes: Vec<FileFacts>,
    /// How the position moves, if it does.
    pub advance: Option<Advance>,
    /// Watermarks of the new rows.
    pub marks: Marks,
}

impl Log {
    /// The commit as the text of a log entry.
    pub(super) fn commit_bytes(&self, commit: &Commit, now: Timestamp) -> Result<Bytes, TransactionError> {
        let now_ms = now.micros().div_euclid(1_000);
        let data_change = commit.reason != Reason::Compaction;
        let adds = commit.adds.iter().map(|file| {
            Action::Add(Add {
                path: file.facts.path.clone(),
                size: i64::try_from(file.facts.size).unwrap_or(i64::MAX),
                modification_time: now_ms,
                data_change,
                stats: Some(file.stats.clone()),
                ..Add::default()
            })
        });
        let removes = commit.removes.iter().map(|file| {
            Action::Remove(Remove {
                path: file.path.clone(),
                data_change,
                deletion_timestamp: Some(now_ms),
                extended_file_metadata: Some(true),
                partition_values: Some(HashMap::new()),
                size: Some(i64::try_from(file.size).unwrap_or(i64::MAX)),
                ..Remove::default()
            })
        });
        let actions = removes.chain(adds).collect();
        let transactions = commit.advance.iter().flat_map(|advance| {
            let number = |position: Position| i64::try_from(position.0).unwrap_or(i64::MAX);
            [
                (self.position_app(), advance.last),
                (self.covers_app(), advance.covers),
            ]
            .map(|(app, at)| Transaction::new_with_last_update(app, number(at), Some(now_ms)))
        });
        let mut info = HashMap::new();
        if !commit.marks.is_empty()
            && let Ok(marks) = serde_json::to_value(commit.marks.to_stored())
        {
            info.insert(MARKS_KEY.to_owned(), marks);
        }
        CommitData::new(
            actions,
            self.operation(commit.reason),
            info,
            transactions.collect(),
        )
        .get_bytes()
    }

    fn operation(&self, reason: Reason) -> DeltaOperation {
        match reason {
            Reason::Append => DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: None,
                predicate: None,
            },
            Reason::Compaction => DeltaOperation::Optimize {
                predicate: None,
                target_size: 0,
            },
            Reason::Retention => DeltaOperation::Delete {
                predicate: Some(format!("{} < retention", self.layout.time)),
            },
            Reason::Erasure => DeltaOperation::Delete { predicate: None },
        }
    }
}
