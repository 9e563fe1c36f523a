//! The score feed: a journal of score changes with cursors (N-21).

mod rows;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use object_store::ObjectStore;
use revgauge_contract::{
    Clock, ErrorKind, Position,
    error::Failure,
    feed::{FeedPage, FeedReader, FeedSink},
    invariant::Invariant,
    position::Cursor,
    schema::text_column,
    score::{ScoreChange, score_changes},
};

use crate::{FeedSettings, Journal, JournalError, JournalName, JournalSettings};
use rows::{change_at, changes_batch};

/// The journal named `feed`, as sink of the scorer and source of the feed's readers.
///
/// A cursor `(position, row)` stands after row `row` of object `position`; replaying from a cursor gives the same
/// entries for as long as they are kept.
pub struct FeedJournal {
    journal: Arc<Journal>,
    settings: FeedSettings,
}

impl fmt::Debug for FeedJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedJournal")
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

impl FeedJournal {
    /// Opens the feed's journal for writing.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        journal: JournalSettings,
        settings: FeedSettings,
        clock: Arc<dyn Clock>,
        nonce_seed: u64,
    ) -> Result<Self, JournalError> {
        let journal = Journal::open(
            store,
            JournalName::Feed,
            score_changes(),
            journal,
            clock,
            nonce_seed,
        )
        .await?;
        Ok(Self { journal, settings })
    }

    /// The journal beneath, for a pump, trims and shutdown.
    #[must_use]
    pub const fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The event position up to which the entries speak: the scorer resumes above it.
    #[must_use]
    pub fn last_covers(&self) -> Position {
        self.journal.last_covers()
    }

    fn begins_later(&self) -> Failure {
        let begin = Cursor {
            position: self.journal.first(),
            row: 0,
        };
        Failure::new(
            ErrorKind::NotFound,
            format!(
                "the cursor is older than what the feed keeps: it begins at '{begin}'; older entries are in the table score_changes"
            ),
        )
    }
}

#[async_trait]
impl FeedSink for FeedJournal {
    async fn append(&self, changes: Vec<ScoreChange>, covers: Position) -> Result<Position, Failure> {
        Ok(self.journal.append(changes_batch(&changes), covers).await?)
    }
}

#[async_trait]
impl FeedReader for FeedJournal {
    async fn read(&self, tenant_id: &str, after: Cursor, limit: usize) -> Result<FeedPage, Failure> {
        if after < self.journal.trimmed() {
            return Err(self.begins_later());
        }
        let last = self.journal.last();
        let limit = limit.min(self.settings.page_entries);
        let mut page = FeedPage {
            entries: Vec::new(),
            next: after,
        };
        // A whole object may be skipped: the cursor stands at or past its end.
        let mut position = after.position.max(Position(1));
        for _ in 0..self.settings.page_objects.max(1) {
            if position > last || page.entries.len() >= limit {
                break;
            }
            let delivered = match self.journal.read(position).await {
                Ok(delivered) => delivered,
                // The object the cursor stands at the end of may be trimmed; nothing is missed by that.
                Err(JournalError::Trimmed { .. }) if after == self.journal.trimmed() => {
                    position = position.next();
                    continue;
                }
                Err(JournalError::Trimmed { .. }) => return Err(self.begins_later()),
                Err(error) => return Err(error.into()),
            };
            let skip = if position == after.position { after.row } else { 0 };
            page.next = take_rows(&delivered, tenant_id, skip, limit, &mut page.entries)?;
            position = position.next();
        }
        Invariant::TenantWall.check(
            page.entries.iter().all(|(_, entry)| entry.tenant_id == tenant_id),
            "a feed page holds one tenant",
        );
        Ok(page)
    }

    async fn grown_past(&self, position: Position) {
        // The sender lives as long as the journal, which lives as long as this.
        let _ = self.journal.watch().wait_for(|last| *last > position).await;
    }
}

/// Takes the tenant's rows of an object after `skip` until the page is full; gives the cursor after what was looked at.
fn take_rows(
    delivered: &revgauge_contract::cut::Delivered,
    tenant_id: &str,
    skip: u64,
    limit: usize,
    entries: &mut Vec<(Cursor, ScoreChange)>,
) -> Result<Cursor, Failure> {
    let position = delivered.position;
    let batch = &delivered.batch;
    let tenants = text_column(batch, "tenant_id")
        .ok_or_else(|| Failure::new(ErrorKind::Data, "feed rows have no column 'tenant_id'"))?;
    let rows = batch.num_rows() as u64;
    for row in skip..rows {
        if tenants.value(row as usize) == tenant_id {
            let cursor = Cursor {
                position,
                row: row + 1,
            };
            entries.push((cursor, change_at(batch, row as usize)?));
            if entries.len() >= limit {
                return Ok(cursor);
            }
        }
    }
    Ok(Cursor {
        position,
        row: rows.max(skip),
    })
}

#[cfg(test)]
mod tests;
