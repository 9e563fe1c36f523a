//! What can go wrong in layer 1.

use revgauge_contract::error::{Classified, ErrorKind, Failure};

/// Errors of this room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The SQL says something that cannot be kept incrementally.
    #[error("pipeline '{pipeline}' is refused: {what} {reason}")]
    Refused {
        /// Which pipeline.
        pipeline: String,
        /// The part of the SQL, by name.
        what: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// The file is not one `INSERT INTO ... SELECT` under its directives.
    #[error("cannot read pipeline '{pipeline}': {message}")]
    Malformed {
        /// Which pipeline.
        pipeline: String,
        /// What is wrong.
        message: String,
    },
    /// DataFusion could not plan or run it.
    #[error("cannot {doing} pipeline '{pipeline}': {source}")]
    Query {
        /// Which pipeline.
        pipeline: String,
        /// `plan`, `apply a batch to`, `read the state of`, ...
        doing: &'static str,
        /// What DataFusion said.
        #[source]
        source: Box<datafusion::error::DataFusionError>,
    },
    /// No such pipeline.
    #[error("there is no pipeline '{0}': see `revgauge pipelines list`")]
    Unknown(String),
    /// An earlier failure left the state half changed.
    #[error(
        "the state of pipeline '{pipeline}' broke earlier ({message}): restart to restore it from its checkpoint"
    )]
    Broken {
        /// Which pipeline.
        pipeline: String,
        /// The failure that broke it.
        message: String,
    },
    /// The object store failed.
    #[error("cannot {doing} '{path}': {source}")]
    Store {
        /// `read`, `write`, `list`, `delete`.
        doing: &'static str,
        /// Object path.
        path: String,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
    /// A checkpoint object is not what was written.
    #[error("checkpoint object '{path}' is damaged: {message}")]
    Corrupt {
        /// Object path.
        path: String,
        /// How it shows.
        message: String,
    },
    /// The spill folder failed.
    #[error("cannot {doing} spilled state in '{path}': {source}: check the disk or set pipelines.spill_dir")]
    Spill {
        /// `write`, `read`, `create`.
        doing: &'static str,
        /// File path.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The live state and the cut could not be brought to one position in time.
    #[error("cannot verify: {0}: try again when fewer events arrive or raise pipelines.verify_wait_ms")]
    NotSettled(String),
    /// Another room failed.
    #[error(transparent)]
    Elsewhere(#[from] Failure),
    /// A task of ours was cancelled or panicked.
    #[error("a task of layer 1 ended early: {0}")]
    Task(String),
}

impl PipelineError {
    pub(crate) fn query(
        pipeline: &str,
        doing: &'static str,
        source: datafusion::error::DataFusionError,
    ) -> Self {
        Self::Query {
            pipeline: pipeline.to_owned(),
            doing,
            source: Box::new(source),
        }
    }
}

impl Classified for PipelineError {
    fn kind(&self) -> ErrorKind {
        use datafusion::error::DataFusionError;
        match self {
            Self::Refused { .. } | Self::Malformed { .. } => ErrorKind::User,
            Self::Unknown(_) => ErrorKind::NotFound,
            Self::NotSettled(_) => ErrorKind::Limit,
            Self::Store { .. } | Self::Spill { .. } => ErrorKind::External,
            Self::Corrupt { .. } => ErrorKind::Data,
            Self::Broken { .. } | Self::Task(_) => ErrorKind::Internal,
            Self::Elsewhere(failure) => failure.kind,
            Self::Query { source, .. } => match source.find_root() {
                DataFusionError::ResourcesExhausted(_) => ErrorKind::Limit,
                DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => ErrorKind::External,
                _ => ErrorKind::Internal,
            },
        }
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        Self::from_error(&error)
    }
}
