//! Rewrites the rows of journal objects in place, while no journal is open on them (N-25).
//!
//! Position, epoch and times of an object stay, so readers go on where they were. An object's new bytes take the place
//! of the old ones in one step of the store, so a crash leaves either.

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use revgauge_contract::{schema, score::score_changes};

use crate::{
    Compression, JournalError, JournalName,
    format::{Body, Header, decode},
    paths::JournalPath,
};

/// What becomes of an object's rows: `None` leaves them as they are.
pub type Rewriter<'a> = &'a (dyn Fn(&RecordBatch) -> Result<Option<RecordBatch>, ArrowError> + Send + Sync);

/// Rewrites every object of a journal that `change` changes; gives how many those were. Objects of the feed must keep
/// their number of rows: cursors count them.
///
/// # Errors
/// What the store met, or an object that cannot be read.
pub async fn rewrite(
    store: &dyn ObjectStore,
    name: JournalName,
    compression: Compression,
    change: Rewriter<'_>,
) -> Result<usize, JournalError> {
    let failed = |attempt: &'static str, object: &str, source: object_store::Error| {
        JournalError::store(attempt, object, source)
    };
    let folder = name.folder();
    let listed: Vec<_> = store
        .list(Some(&folder))
        .try_collect()
        .await
        .map_err(|source| failed("list", folder.as_ref(), source))?;
    let mut rewritten = 0;
    for object in listed {
        let path = object.location;
        if !matches!(name.parse(&path), Some(JournalPath::Object(_))) {
            continue;
        }
        let bytes = async { store.get(&path).await?.bytes().await };
        let bytes = bytes
            .await
            .map_err(|source| failed("read", path.as_ref(), source))?;
        let (header, batch) = decode(path.as_ref(), &bytes, &schema_of(name), name.schema_version())?;
        if header.claim || batch.num_rows() == 0 {
            continue;
        }
        let changed = change(&batch).map_err(|error| {
            JournalError::corrupt(path.as_ref(), format!("its rows cannot be changed: {error}"))
        })?;
        let Some(changed) = changed else {
            continue;
        };
        let body = if changed.num_rows() == 0 {
            Body::empty()
        } else {
            Body::encode(&changed, compression)?
        };
        let header = Header {
            rows: changed.num_rows() as u64,
            ..header
        };
        let mut whole = header.encode(&body).to_vec();
        whole.extend_from_slice(body.bytes());
        store
            .put(&path, whole.into())
            .await
            .map_err(|source| failed("write", path.as_ref(), source))?;
        rewritten += 1;
    }
    Ok(rewritten)
}

/// Every row of a journal's object, for scans.
///
/// # Errors
/// When the bytes are no object of the journal.
pub fn rows_of(name: JournalName, object: &str, bytes: &bytes::Bytes) -> Result<RecordBatch, JournalError> {
    Ok(decode(object, bytes, &schema_of(name), name.schema_version())?.1)
}

fn schema_of(name: JournalName) -> SchemaRef {
    match name {
        JournalName::Events => schema::events(),
        JournalName::Feed => score_changes(),
    }
}
