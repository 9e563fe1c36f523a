//! Where the journal's objects lie on the store: every path is printed and parsed here.

use std::fmt;

use object_store::path::Path;
use revgauge_contract::{Position, position::Cursor, schema::EVENTS_VERSION};

/// Version of the feed's schema as stored with its objects.
const FEED_SCHEMA_VERSION: u32 = 1;
/// Digits of a position in a name, so that names sort like numbers.
const DIGITS: usize = 20;

/// The journals there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JournalName {
    /// Accepted events.
    Events,
    /// Score changes.
    Feed,
}

impl JournalName {
    /// The folder's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Feed => "feed",
        }
    }

    /// Version of the rows' schema, stored with every object.
    #[must_use]
    pub const fn schema_version(self) -> u32 {
        match self {
            Self::Events => EVENTS_VERSION,
            Self::Feed => FEED_SCHEMA_VERSION,
        }
    }

    /// The folder of the journal.
    #[must_use]
    pub fn folder(self) -> Path {
        Path::from(format!("journal/{self}"))
    }

    /// The object of a position: `journal/events/00000000000000000042.arrow`.
    #[must_use]
    pub fn object(self, position: Position) -> Path {
        Path::from(format!("journal/{self}/{:0DIGITS$}.arrow", position.0))
    }

    /// The mark that everything through a cursor was trimmed: `journal/events/trimmed/00000000000000000042-7.mark`.
    ///
    /// All it says stands in its name, so it cannot be torn. The row is the number of rows of that object, by which a
    /// feed cursor at its very end is known to have missed nothing.
    #[must_use]
    pub fn trim_mark(self, through: Cursor) -> Path {
        let Cursor { position, row } = through;
        Path::from(format!(
            "journal/{self}/trimmed/{:0DIGITS$}-{row}.mark",
            position.0
        ))
    }

    /// What a path of this journal's folder is; `None` for a stranger.
    #[must_use]
    pub fn parse(self, path: &Path) -> Option<JournalPath> {
        let rest = path
            .as_ref()
            .strip_prefix("journal/")?
            .strip_prefix(self.as_str())?
            .strip_prefix('/')?;
        match rest.strip_prefix("trimmed/") {
            Some(name) => {
                let (digits, row) = name.strip_suffix(".mark")?.split_once('-')?;
                Some(JournalPath::TrimMark(Cursor {
                    position: position(digits)?,
                    row: row.parse().ok()?,
                }))
            }
            None => position(rest.strip_suffix(".arrow")?).map(JournalPath::Object),
        }
    }
}

impl fmt::Display for JournalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What lies in a journal's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalPath {
    /// The object of a position.
    Object(Position),
    /// The mark of a trim through a cursor.
    TrimMark(Cursor),
}

fn position(digits: &str) -> Option<Position> {
    let plain = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok().map(Position)).flatten()
}

/// Paths of the dedup checkpoints below a folder of the caller's choice.
#[derive(Debug, Clone)]
pub struct DedupPaths {
    folder: Path,
}

impl DedupPaths {
    /// Paths below `folder`, such as `checkpoints/dedup`.
    #[must_use]
    pub const fn new(folder: Path) -> Self {
        Self { folder }
    }

    /// The folder.
    #[must_use]
    pub const fn folder(&self) -> &Path {
        &self.folder
    }

    /// The manifest of the state after a position.
    #[must_use]
    pub fn manifest(&self, at: Position) -> Path {
        self.folder.clone().join(format!("{:0DIGITS$}.manifest", at.0))
    }

    /// A run of ids first seen up to a position; `serial` tells runs of one position apart.
    #[must_use]
    pub fn run(&self, through: Position, serial: u64) -> Path {
        self.folder
            .clone()
            .join("runs")
            .join(format!("{:0DIGITS$}-{serial:x}.ids", through.0))
    }

    /// The position of a manifest path; `None` for anything else.
    #[must_use]
    pub fn parse_manifest(&self, path: &Path) -> Option<Position> {
        let rest = path
            .as_ref()
            .strip_prefix(self.folder.as_ref())?
            .strip_prefix('/')?;
        position(rest.strip_suffix(".manifest")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_print_and_parse() {
        for name in [JournalName::Events, JournalName::Feed] {
            for number in [1, 42, u64::MAX] {
                let at = Position(number);
                assert_eq!(name.parse(&name.object(at)), Some(JournalPath::Object(at)));
                let through = Cursor {
                    position: at,
                    row: number / 2,
                };
                assert_eq!(
                    name.parse(&name.trim_mark(through)),
                    Some(JournalPath::TrimMark(through))
                );
            }
        }
        assert_eq!(
            JournalName::Events.object(Position(42)).as_ref(),
            "journal/events/00000000000000000042.arrow"
        );
        let dedup = DedupPaths::new(Path::from("checkpoints/dedup"));
        assert_eq!(
            dedup.parse_manifest(&dedup.manifest(Position(7))),
            Some(Position(7))
        );
    }

    #[test]
    fn strangers_are_not_parsed() {
        for path in [
            "journal/events/42.arrow",
            "journal/events/+0000000000000000042.arrow",
            "journal/feed/00000000000000000042.arrow",
            "journal/events/00000000000000000042.mark",
            "journal/events/x/00000000000000000042.arrow",
        ] {
            assert_eq!(JournalName::Events.parse(&Path::from(path)), None, "{path}");
        }
        let dedup = DedupPaths::new(Path::from("checkpoints/dedup"));
        assert_eq!(dedup.parse_manifest(&dedup.run(Position(7), 1)), None);
    }
}
