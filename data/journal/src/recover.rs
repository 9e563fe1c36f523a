//! What a journal's folder holds at start, and claiming it for a new writer.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use revgauge_contract::{Clock, Position, Timestamp, invariant::Invariant, position::Cursor};

use crate::{
    JournalError, JournalName,
    format::{Body, HEADER_LEN, Header},
    paths::JournalPath,
};

/// Positions found in a journal's folder.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Inventory {
    pub(crate) objects: Vec<Position>,
    pub(crate) marks: Vec<Cursor>,
}

/// Where a journal begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Everything through here was trimmed.
    pub(crate) trimmed: Cursor,
    /// The last object.
    pub(crate) last: Position,
    /// Objects that a trim left behind.
    pub(crate) leftover: Vec<Position>,
}

/// Lists a journal's folder.
pub(crate) async fn inventory(
    store: &Arc<dyn ObjectStore>,
    journal: JournalName,
) -> Result<Inventory, JournalError> {
    let folder = journal.folder();
    let mut found = Inventory::default();
    let mut listed = store.list(Some(&folder));
    while let Some(meta) = listed.next().await {
        let meta = meta.map_err(|source| JournalError::store("list", &folder, source))?;
        match journal.parse(&meta.location) {
            Some(JournalPath::Object(position)) => found.objects.push(position),
            Some(JournalPath::TrimMark(through)) => found.marks.push(through),
            None => tracing::warn!(object = %meta.location, "journal folder holds a stranger, left alone"),
        }
    }
    Ok(found)
}

/// Decides where the journal begins and ends; refuses gaps (J-2).
///
/// Objects at or below the highest trim mark are left-overs. The newest object is never trimmed, so the mark always
/// lies below it.
pub(crate) fn assess(journal: JournalName, mut found: Inventory) -> Result<Extent, JournalError> {
    let mark = found.marks.into_iter().max().unwrap_or_default();
    let trimmed = mark.position;
    found.objects.sort_unstable();
    let (leftover, kept): (Vec<_>, Vec<_>) = found.objects.into_iter().partition(|at| *at <= trimmed);
    let gap = |from: Position, to: Position| JournalError::Gap {
        journal: journal.as_str(),
        from,
        to,
    };
    let mut last = trimmed;
    for position in kept {
        if position != last.next() {
            return Err(gap(last.next(), Position(position.0 - 1)));
        }
        last = position;
    }
    if last == trimmed && trimmed != Position::START {
        return Err(gap(trimmed.next(), trimmed.next()));
    }
    Ok(Extent {
        trimmed: mark,
        last,
        leftover,
    })
}

/// Deletes objects; those already gone are fine.
pub(crate) async fn delete(
    store: &Arc<dyn ObjectStore>,
    journal: JournalName,
    positions: Vec<Position>,
) -> Result<(), JournalError> {
    let paths = positions.into_iter().map(move |at| Ok(journal.object(at)));
    let deleted = store.delete_stream(stream::iter(paths).boxed());
    deleted
        .map(|result| match result {
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(source) => Err(JournalError::store("delete from", &journal.folder(), source)),
        })
        .try_collect()
        .await
}

/// Reads the header of an object.
pub(crate) async fn read_header(
    store: &Arc<dyn ObjectStore>,
    journal: JournalName,
    position: Position,
) -> Result<Header, JournalError> {
    let path = journal.object(position);
    let failed = |source| JournalError::store("read", &path, source);
    let meta = store.head(&path).await.map_err(failed)?;
    let end = meta.size.min(HEADER_LEN as u64);
    if end == 0 {
        return Err(JournalError::corrupt(&path, "it is empty"));
    }
    let bytes = store.get_range(&path, 0..end).await.map_err(failed)?;
    let header = Header::decode(path.as_ref(), &bytes)?;
    if header.position != position {
        let reason = format!("its header says position {}", header.position);
        return Err(JournalError::corrupt(&path, reason));
    }
    Ok(header)
}

/// Claims the journal for a new writer.
///
/// Writes an object without rows in a higher epoch than the last one's, so that the next write of any earlier writer
/// meets it and fences that writer (J-3). Returns the claim and the last position.
pub(crate) async fn claim(
    store: &Arc<dyn ObjectStore>,
    journal: JournalName,
    last: Option<Header>,
    clock: &dyn Clock,
    nonce: u64,
    attempts: u32,
) -> Result<Header, JournalError> {
    let mut last = last;
    let mut lost = 0;
    while lost < attempts {
        let mine = claim_after(journal, last.as_ref(), clock, nonce);
        let path = journal.object(mine.position);
        let payload = PutPayload::from(mine.encode(&Body::empty()));
        let options = PutOptions::from(PutMode::Create);
        match store.put_opts(&path, payload.clone(), options).await {
            Ok(_) => return Ok(mine),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {}
            // The write may have taken place; the next round finds out.
            Err(error) => tracing::warn!(journal = %journal, %error, "claim failed, repeated"),
        }
        match read_header(store, journal, mine.position).await {
            Ok(found) if found.epoch == mine.epoch && found.nonce == mine.nonce => return Ok(found),
            Ok(found) => last = Some(found),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        lost += 1;
    }
    Err(JournalError::Busy {
        journal: journal.as_str(),
        attempts,
    })
}

fn claim_after(journal: JournalName, last: Option<&Header>, clock: &dyn Clock, nonce: u64) -> Header {
    let position = last.map_or(Position::START, |last| last.position).next();
    let covers = match journal {
        JournalName::Events => position,
        JournalName::Feed => last.map_or(Position::START, |last| last.covers),
    };
    let earliest = last.map_or(Timestamp(i64::MIN), |last| last.written_at);
    let epoch = last.map_or(0, |last| last.epoch) + 1;
    Invariant::OneWriter.check(
        last.is_none_or(|last| epoch > last.epoch),
        "a claim raises the epoch",
    );
    Header {
        claim: true,
        schema_version: journal.schema_version(),
        position,
        epoch,
        nonce,
        written_at: clock.now().max(earliest),
        covers,
        rows: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(objects: &[u64], marks: &[u64]) -> Inventory {
        Inventory {
            objects: objects.iter().copied().map(Position).collect(),
            marks: marks
                .iter()
                .map(|at| Cursor {
                    position: Position(*at),
                    row: 1,
                })
                .collect(),
        }
    }

    #[test]
    fn extents_are_read_off_the_folder() {
        let extent = |objects, marks| {
            let extent = assess(JournalName::Events, found(objects, marks)).expect("whole");
            (extent.trimmed.position.0, extent.last.0, extent.leftover.len())
        };
        assert_eq!(extent(&[], &[]), (0, 0, 0));
        assert_eq!(extent(&[3, 1, 2], &[]), (0, 3, 0));
        assert_eq!(extent(&[1, 3, 4, 5], &[2, 3]), (3, 5, 2));
    }

    #[test]
    fn a_gap_is_named() {
        for (objects, marks, from, to) in [
            (&[2_u64, 3][..], &[][..], 1, 1),
            (&[1, 2, 6], &[], 3, 5),
            (&[1, 2, 3], &[3], 4, 4),
            (&[9], &[3], 4, 8),
        ] {
            let error = assess(JournalName::Events, found(objects, marks)).expect_err("gap");
            let named = matches!(error, JournalError::Gap { from: f, to: t, .. } if (f.0, t.0) == (from, to));
            assert!(named, "{error}");
        }
    }
}
