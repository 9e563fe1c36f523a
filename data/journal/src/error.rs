//! What can go wrong in the journal.

use std::sync::Arc;

use revgauge_contract::{Classified, ErrorKind, Position, error::Failure};

/// Why the journal, or something beside it, could not do what was asked. Cheap to clone: one failure answers many
/// callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// The store failed.
    #[error("cannot {attempt} '{object}': {source}")]
    Store {
        /// What was attempted.
        attempt: &'static str,
        /// Object or folder.
        object: String,
        /// What the store said.
        source: Arc<object_store::Error>,
    },
    /// An object is not what was written.
    #[error(
        "object '{object}' is damaged: {reason}; restore it from a copy, or move it away if it was never acknowledged"
    )]
    Corrupt {
        /// Object.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An object was written by a version of the product that is newer than this one.
    #[error(
        "object '{object}' has {what} {found}, this program reads up to {known}; use the program that wrote it"
    )]
    TooNew {
        /// Object.
        object: String,
        /// Which version number.
        what: &'static str,
        /// The number found.
        found: u32,
        /// The highest number known.
        known: u32,
    },
    /// Positions are missing between the objects that are there (J-2).
    #[error(
        "journal '{journal}' lacks positions {from} to {to}; restore these objects from a copy before starting"
    )]
    Gap {
        /// Journal.
        journal: &'static str,
        /// First missing.
        from: Position,
        /// Last missing.
        to: Position,
    },
    /// Another writer has taken over (J-3).
    #[error(
        "journal '{journal}' was taken over at position {at} by a writer of epoch {theirs} (ours is {ours}); \
         only one process may write it, stop this one"
    )]
    Fenced {
        /// Journal.
        journal: &'static str,
        /// The position lost.
        at: Position,
        /// Our epoch.
        ours: u64,
        /// The other writer's.
        theirs: u64,
    },
    /// Another writer kept taking the positions that this one wanted to claim.
    #[error(
        "cannot claim journal '{journal}' after {attempts} tries: another process is writing it, stop that one first"
    )]
    Busy {
        /// Journal.
        journal: &'static str,
        /// Tries made.
        attempts: u32,
    },
    /// The queue is full.
    #[error(
        "the queue of journal '{journal}' is full ({rows} rows, {bytes} bytes waiting); send again later"
    )]
    QueueFull {
        /// Journal.
        journal: &'static str,
        /// Rows waiting.
        rows: usize,
        /// Bytes waiting.
        bytes: usize,
    },
    /// The journal is shutting down.
    #[error("journal '{journal}' is shutting down and takes nothing more")]
    Closed {
        /// Journal.
        journal: &'static str,
    },
    /// A batch does not have the journal's schema.
    #[error("cannot append to journal '{journal}': the batch has another schema ({difference})")]
    Schema {
        /// Journal.
        journal: &'static str,
        /// Where the schemas part.
        difference: String,
    },
    /// Batches could not be joined or encoded.
    #[error("cannot {attempt}: {reason}")]
    Encode {
        /// What was attempted.
        attempt: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// A position that was trimmed, or lies below what a reader needs.
    #[error("position {position} of journal '{journal}' is gone: it begins at {first}")]
    Trimmed {
        /// Journal.
        journal: &'static str,
        /// The position asked for.
        position: Position,
        /// The first one kept.
        first: Position,
    },
    /// A reader resumes below the first position kept.
    #[error(
        "'{reader}' resumes after position {resume}, but journal '{journal}' begins at {first}: what lies between was \
         trimmed; restore the newer state of '{reader}', or rebuild it from the lake"
    )]
    ResumeTrimmed {
        /// Journal.
        journal: &'static str,
        /// The reader.
        reader: String,
        /// Where it resumes.
        resume: Position,
        /// The first position kept.
        first: Position,
    },
    /// A position that was not written yet.
    #[error("position {position} of journal '{journal}' is not written yet: it ends at {last}")]
    NotYet {
        /// Journal.
        journal: &'static str,
        /// The position asked for.
        position: Position,
        /// The last one written.
        last: Position,
    },
    /// A dead letter that is not there.
    #[error("there is no dead letter '{0}'")]
    NoLetter(String),
    /// A task of ours ended early.
    #[error("the task that {0} ended early")]
    Task(&'static str),
}

impl JournalError {
    pub(crate) fn store(
        attempt: &'static str,
        object: &(impl ToString + ?Sized),
        source: object_store::Error,
    ) -> Self {
        Self::Store {
            attempt,
            object: object.to_string(),
            source: Arc::new(source),
        }
    }

    pub(crate) fn corrupt(object: &(impl ToString + ?Sized), reason: impl Into<String>) -> Self {
        Self::Corrupt {
            object: object.to_string(),
            reason: reason.into(),
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Store { source, .. } if matches!(**source, object_store::Error::NotFound { .. }))
    }
}

impl Classified for JournalError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Store { .. } => ErrorKind::External,
            Self::Corrupt { .. } | Self::TooNew { .. } | Self::Gap { .. } | Self::ResumeTrimmed { .. } => {
                ErrorKind::Data
            }
            Self::Fenced { .. } | Self::Schema { .. } | Self::Encode { .. } | Self::Task(_) => {
                ErrorKind::Internal
            }
            Self::Busy { .. } => ErrorKind::User,
            Self::QueueFull { .. } | Self::Closed { .. } => ErrorKind::Limit,
            Self::Trimmed { .. } | Self::NotYet { .. } | Self::NoLetter(_) => ErrorKind::NotFound,
        }
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        Self::from_error(&error)
    }
}
