//! Every object path of the lake, in one place.
//!
//! ```text
//! lake/<table>/_delta_log/...                       the Delta log
//! lake/<table>/_watermarks/<delta version>.json     watermarks up to that version
//! lake/<table>/part-<first>-<last>-<hash>.parquet   rows of journal positions first to last
//! lake/<table>/merged-<hash>.parquet                rows of files that were rewritten
//! ```
//!
//! Names carry a hash of the content, so no name ever stands for other rows.

use object_store::path::Path;
use revgauge_contract::{Position, Timestamp, cut::LakeTable};
use uuid::Uuid;

/// Folder of a table.
pub(crate) fn table_root(table: LakeTable) -> Path {
    Path::from(format!("lake/{}", table.name()))
}

/// Stem of the file that holds the rows of some positions.
pub(crate) fn part_stem(first: Position, last: Position, content: &[u8]) -> String {
    format!("part-{:020}-{:020}-{}", first.0, last.0, content_hash(content))
}

/// Stem of the file that replaces others.
pub(crate) fn merged_stem(content: &[u8]) -> String {
    format!("merged-{}", content_hash(content))
}

/// Name of a data file; with an instant when the plain name is taken by a left-over.
pub(crate) fn data_file_name(stem: &str, at: Option<Timestamp>) -> String {
    match at {
        None => format!("{stem}.parquet"),
        Some(at) => format!("{stem}-{}.parquet", at.micros()),
    }
}

fn content_hash(content: &[u8]) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, content).simple().to_string()
}

/// Folder of the watermark snapshots, within a table.
pub(crate) const WATERMARKS: &str = "_watermarks";

/// Name of a watermark snapshot, within [`WATERMARKS`].
pub(crate) fn watermarks_name(version: u64) -> String {
    format!("{version:020}.json")
}

/// The Delta version of a watermark snapshot; `None` for any other name.
pub(crate) fn watermarks_version(name: &str) -> Option<u64> {
    name.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_print_and_parse() {
        assert_eq!(watermarks_version(&watermarks_name(42)), Some(42));
        assert_eq!(watermarks_version("_last"), None);
        assert_eq!(table_root(LakeTable::Events).as_ref(), "lake/events");
    }

    #[test]
    fn same_content_gives_the_same_name() {
        let name = |content: &[u8]| part_stem(Position(1), Position(2), content);
        assert_eq!(name(b"rows"), name(b"rows"));
        assert_ne!(name(b"rows"), name(b"other rows"));
    }
}
