//! Tail to table: one Parquet file and one Delta commit that carries rows and position together (L-1).
//!
//! ```text
//! tail ----part----> encode ----> put file ----> commit {add file, txn position} ----> drop part from tail
//!                                    |                |
//!                        crash: an orphan file,   crash or lost answer: the log
//!                        delivered again          says the position, nothing is
//!                                                 delivered again
//! ```

use std::{sync::Arc, time::Duration};

use revgauge_contract::{Position, invariant::Invariant};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    error::LakeError,
    log::{Advance, Commit, FileFacts, NewFile, Reason},
    paths::part_stem,
    table::{Head, Pending, Table},
    tail::Part,
};

impl Table {
    /// Commits whenever the tail is due, until `closing` turns true. Failures are retried with growing pauses.
    pub(crate) async fn run_committer(self: Arc<Self>, mut closing: watch::Receiver<bool>) {
        let mut pause_ms = self.settings.retry_initial_ms;
        loop {
            tokio::select! {
                _ = closing.wait_for(|closed| *closed) => return,
                () = self.until_due() => {}
            }
            match self.commit_part().await {
                Ok(_) => pause_ms = self.settings.retry_initial_ms,
                Err(error) => {
                    tracing::warn!(table = self.name(), %error, retry_in_ms = pause_ms, "commit to the lake failed");
                    tokio::select! {
                        _ = closing.wait_for(|closed| *closed) => return,
                        () = sleep(Duration::from_millis(pause_ms)) => {}
                    }
                    pause_ms = (pause_ms * 2).min(self.settings.retry_max_ms);
                }
            }
        }
    }

    /// Waits until the tail should be committed.
    async fn until_due(&self) {
        loop {
            let pushed = self.pushed.notified();
            match self.due_at() {
                Some(at) => tokio::select! {
                    () = sleep_until(at) => return,
                    () = pushed => {}
                },
                None => pushed.await,
            }
        }
    }

    /// When the tail should be committed; `None` while it is empty.
    fn due_at(&self) -> Option<Instant> {
        let shared = self.shared.lock();
        let since = shared.tail.since()?;
        let full = shared.tail.rows() >= self.settings.commit_rows
            || shared.tail.bytes() >= self.settings.commit_bytes;
        let wait_ms = match (full, shared.tail.rows()) {
            (true, _) => 0,
            (false, 0) => self.settings.idle_commit_interval_ms,
            (false, _) => self.settings.commit_interval_ms,
        };
        Some(since + Duration::from_millis(wait_ms))
    }

    /// Commits until the files hold everything delivered before the call.
    pub(crate) async fn flush(&self) -> Result<Position, LakeError> {
        let target = *self.delivered.borrow();
        while self.position() < target {
            self.commit_part().await?;
        }
        Ok(self.position())
    }

    /// Commits the oldest part of the tail. `false` when the tail is empty or another writer was first.
    pub(crate) async fn commit_part(&self) -> Result<bool, LakeError> {
        let mut head = self.head.lock().await;
        let (part, after) = {
            let shared = self.shared.lock();
            let part = match &shared.pending {
                Some(pending) => shared.tail.part_through(pending.last),
                None => shared
                    .tail
                    .part(self.settings.commit_rows, self.settings.commit_bytes),
            };
            (part, shared.position)
        };
        let Some(part) = part else { return Ok(false) };
        let follows = Invariant::PositionInLakeOnce.check(
            part.first == after.next(),
            format_args!("part starts at {} while the lake is at {after}", part.first),
        );
        if !follows {
            return Err(LakeError::Gap {
                table: self.name(),
                after,
                got: part.first,
            });
        }
        let advance = Advance {
            after,
            last: part.last,
            covers: part.covers,
        };
        let commit = Commit {
            reason: Reason::Append,
            adds: self.write_part(&part).await?.into_iter().collect(),
            removes: Vec::new(),
            advance: Some(advance),
            marks: part.marks,
        };
        self.commit(&mut head, &commit).await
    }

    /// Writes the rows of a part as one file, unless an earlier try has; none when it has no row.
    async fn write_part(&self, part: &Part) -> Result<Option<NewFile>, LakeError> {
        if part.batches.is_empty() {
            return Ok(None);
        }
        if let Some(pending) = &self.shared.lock().pending {
            return Ok(Some(pending.file.clone()));
        }
        let encoded = self.encode(part.batches.clone()).await?;
        let stem = part_stem(part.first, part.last, &encoded.bytes);
        let facts = FileFacts {
            size: encoded.bytes.len() as u64,
            rows: encoded.rows,
            times: encoded.times,
            path: self.put(&stem, encoded.bytes).await?,
        };
        let file = NewFile {
            facts,
            stats: encoded.stats,
        };
        self.shared.lock().pending = Some(Pending {
            last: part.last,
            file: file.clone(),
        });
        Ok(Some(file))
    }

    /// Writes a commit and takes it into the state. `false` when it no longer applies, because another writer moved the
    /// position or removed a file, or because an earlier try of ours took place without an answer.
    pub(crate) async fn commit(&self, head: &mut Head, commit: &Commit) -> Result<bool, LakeError> {
        for _ in 0..self.settings.commit_attempts {
            if !self.still_applies(commit) {
                return Ok(false);
            }
            let now = self.clock.now();
            if self.log.write(head.version + 1, commit, now).await? {
                head.version += 1;
                self.apply(commit, now);
                return Ok(true);
            }
            self.refresh(head).await?;
        }
        Err(LakeError::Contended {
            table: self.name(),
            attempts: self.settings.commit_attempts,
        })
    }

    /// Takes over what the log says now.
    pub(crate) async fn refresh(&self, head: &mut Head) -> Result<(), LakeError> {
        let loaded = self.log.load().await?;
        head.version = loaded.version;
        head.checkpoint = loaded.checkpoint;
        self.take_over(loaded).await
    }

    fn still_applies(&self, commit: &Commit) -> bool {
        let shared = self.shared.lock();
        let at_position = commit
            .advance
            .is_none_or(|advance| advance.after == shared.position);
        let live = |wanted: &FileFacts| shared.files.iter().any(|file| file.path == wanted.path);
        at_position && commit.removes.iter().all(live)
    }
}
