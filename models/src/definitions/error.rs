//! Why a definition was refused: file, line, key, and what to do.

use std::fmt;

use revgauge_contract::{Classified, ErrorKind};

/// One thing wrong in a definition file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1, where known.
    pub line: Option<usize>,
    /// Key path such as `events."email.opened".weight`; empty for the whole file.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// A definition that was not taken; the set in force is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The file or folder could not be read.
    #[error("cannot read definitions from '{path}': {reason}")]
    Unreadable {
        /// File or folder.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// No definition is called so.
    #[error("cannot take '{file}': there is no definition '{name}', {hint}")]
    UnknownName {
        /// The file.
        file: String,
        /// Its stem.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// The text states something that cannot be meant. All problems found are told.
    #[error("cannot take definition '{file}': {}", joined(.problems))]
    Invalid {
        /// The file.
        file: String,
        /// At least one.
        problems: Vec<Problem>,
    },
}

fn joined(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

impl Classified for DefinitionError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreadable { .. } => ErrorKind::External,
            Self::UnknownName { .. } | Self::Invalid { .. } => ErrorKind::User,
        }
    }
}
