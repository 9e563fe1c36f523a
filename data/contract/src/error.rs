//! What kind of failure an error is, so that one place can map it to an exit code, an HTTP status or a retry.

/// Whose failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller asked for something impossible or malformed; repeating it will not help.
    User,
    /// The thing asked for does not exist (or not for this principal).
    NotFound,
    /// A limit was reached (queue, memory, time, rows, rate); later it may pass.
    Limit,
    /// Something outside failed: disk, network, object store.
    External,
    /// Stored data is not what was written.
    Data,
    /// A defect of ours.
    Internal,
}

/// Answers every room's error enum gives.
pub trait Classified: std::error::Error + Send + Sync + 'static {
    /// Whose failure it is.
    fn kind(&self) -> ErrorKind;

    /// Whether the same call may succeed later without a change by the caller.
    fn retryable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Limit | ErrorKind::External)
    }
}

/// A room's error as it crosses a wall: the text for people, the kind for programs.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Whose failure it is.
    pub kind: ErrorKind,
    /// What was attempted on what, lower case, with a hint where the user can act.
    pub message: String,
}

impl Failure {
    /// A failure of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// Erases a room's error at the wall.
    pub fn from_error(error: &impl Classified) -> Self {
        Self {
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}

impl Classified for Failure {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}
