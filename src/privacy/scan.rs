//! Looks for texts in everything that is stored: raw bytes of each object, and the rows of those that are compressed.

use anyhow::{Context as _, Result};
use arrow::array::{Array as _, AsArray as _};
use bytes::Bytes;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use revgauge_journal::{JournalName, erasure::rows_of};

/// What a scan looked at and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Objects looked at.
    pub(crate) objects: usize,
    /// Bytes of them as stored.
    pub(crate) bytes: u64,
    /// Objects that hold one of the texts.
    pub(crate) found: Vec<String>,
}

/// Looks for lower-case texts, in any case, in every object of the store.
///
/// # Errors
/// What the store met, or an object that should be readable and is not.
pub(crate) async fn scan<'a>(
    store: &dyn ObjectStore,
    needles: impl IntoIterator<Item = &'a String>,
) -> Result<Scan> {
    let needles: Vec<&str> = needles.into_iter().map(String::as_str).collect();
    let mut result = Scan::default();
    let listed: Vec<_> = store
        .list(None)
        .try_collect()
        .await
        .context("cannot list the store")?;
    for object in listed {
        let path = object.location;
        let bytes = async { store.get(&path).await?.bytes().await };
        let bytes = bytes.await.with_context(|| format!("cannot read '{path}'"))?;
        result.objects += 1;
        result.bytes += bytes.len() as u64;
        if holds(&path, &bytes, &needles)? {
            result.found.push(path.to_string());
        }
    }
    Ok(result)
}

fn holds(path: &Path, bytes: &Bytes, needles: &[&str]) -> Result<bool> {
    let lower = |text: &[u8]| String::from_utf8_lossy(text).to_ascii_lowercase();
    let in_text = |text: &str| needles.iter().any(|needle| text.contains(needle));
    if in_text(&lower(bytes)) || in_text(&lower(path.as_ref().as_bytes())) {
        return Ok(true);
    }
    let batches = if path.as_ref().ends_with(".parquet") {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .with_context(|| format!("cannot read the rows of '{path}'"))?;
        reader.collect::<Result<Vec<_>, _>>()?
    } else {
        let journal = [JournalName::Events, JournalName::Feed]
            .into_iter()
            .find(|name| path.as_ref().starts_with(&format!("{}/", name.folder())));
        match journal {
            Some(name) if path.as_ref().ends_with(".arrow") => {
                vec![rows_of(name, path.as_ref(), bytes)?]
            }
            _ => Vec::new(),
        }
    };
    for batch in &batches {
        for column in batch.columns() {
            // Delta checkpoints nest their columns; printed, every text of theirs shows.
            let texts = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8View);
            let seen = match texts {
                Ok(texts) => texts
                    .as_string_view()
                    .iter()
                    .flatten()
                    .any(|text| in_text(&text.to_ascii_lowercase())),
                Err(_) => (0..column.len()).any(|row| {
                    let shown = arrow::util::display::array_value_to_string(column, row);
                    in_text(&shown.unwrap_or_default().to_ascii_lowercase())
                }),
            };
            if seen {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
