//! Where a row stands in the durable log.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Number of a journal object. Numbers of one journal rise without gaps from 1 (J-2); 0 means "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before the first object.
    pub const START: Self = Self(0);

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A reader's place in a log: after row `row` of object `position`. Text form `position.row`, for feed cursors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cursor {
    /// The object.
    pub position: Position,
    /// Rows of it already read.
    pub row: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.position, self.row)
    }
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no cursor: use the 'next' of an earlier answer, or leave it out to start at the beginning")]
pub struct CursorError(pub String);

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || CursorError(text.chars().take(64).collect());
        let (position, row) = text.split_once('.').ok_or_else(error)?;
        Ok(Self {
            position: Position(position.parse().map_err(|_| error())?),
            row: row.parse().map_err(|_| error())?,
        })
    }
}
