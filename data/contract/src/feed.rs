//! The wall between the scorer, the score feed's log and its readers (N-21).

use async_trait::async_trait;

use crate::{Position, error::Failure, position::Cursor, score::ScoreChange};

/// Takes score changes into the feed's own durable log.
#[async_trait]
pub trait FeedSink: Send + Sync {
    /// Appends durably. `covers` is the event position up to which the changes speak; after a crash the scorer resumes
    /// above the last durable one, so nothing is missed and nothing doubled. The list may be empty (`covers` moves).
    ///
    /// # Errors
    /// `Limit` or `External`, as for events.
    async fn append(&self, changes: Vec<ScoreChange>, covers: Position) -> Result<Position, Failure>;
}

/// Entries after a cursor and the cursor after them.
#[derive(Debug, Clone)]
pub struct FeedPage {
    /// Entries in log order, each with its own cursor (the place *after* it).
    pub entries: Vec<(Cursor, ScoreChange)>,
    /// Where to go on.
    pub next: Cursor,
}

/// Reads the feed in order.
#[async_trait]
pub trait FeedReader: Send + Sync {
    /// At most `limit` entries of the tenant after the cursor. Replay from the same cursor gives the same entries.
    ///
    /// # Errors
    /// `NotFound` when the cursor is older than what is kept; the message says where the feed begins.
    async fn read(&self, tenant_id: &str, after: Cursor, limit: usize) -> Result<FeedPage, Failure>;

    /// Resolves when the feed has grown past the position (long-poll, SSE).
    async fn grown_past(&self, position: Position);
}
