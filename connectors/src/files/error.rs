//! What may go wrong before or beside the rows themselves.

use revgauge_contract::{Classified, ErrorKind, error::Failure};

/// A mapping that cannot be used; nothing was imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mapping {name}, line {line}: {message}{}", hint(.suggestion.as_deref()))]
pub struct MappingError {
    /// Name of the mapping (its file).
    pub name: String,
    /// Line of the fault, from 1.
    pub line: usize,
    /// The key at fault, where there is one.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

/// Who asks for a column.
fn asked_by(line: usize) -> String {
    if line == 0 {
        "of our own schema; other files need a mapping".to_owned()
    } else {
        format!("mapping line {line}")
    }
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |word| format!("; did you mean '{word}'?"))
}

impl Classified for MappingError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

/// Why an import stopped. Faults of single rows do not stop it; they are refused and reported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The mapping is broken.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// No input matched what was asked for.
    #[error("found no file at '{asked}'; give a file, a folder or a pattern such as 'export/*.csv'")]
    NothingFound {
        /// The path or pattern as given.
        asked: String,
    },
    /// Inputs were found, but the mapping names none of them.
    #[error(
        "mapping '{mapping}' matches none of the files: {files}; choose another mapping or rename the files"
    )]
    NothingMatches {
        /// Name of the mapping.
        mapping: String,
        /// The first few file names.
        files: String,
    },
    /// A file could not be read.
    #[error("cannot read '{file}': {source}")]
    Read {
        /// The file.
        file: String,
        /// What the disk or decoder met.
        source: std::io::Error,
    },
    /// The object store failed.
    #[error("cannot read '{file}' from the object store: {source}")]
    Store {
        /// The object.
        file: String,
        /// What the store answered.
        source: object_store::Error,
    },
    /// A file is not what its name says.
    #[error("'{file}' is no readable {format} file: {message}")]
    Format {
        /// The file.
        file: String,
        /// The format expected.
        format: &'static str,
        /// What the decoder met.
        message: String,
    },
    /// A column the mapping needs is not in the file.
    #[error(
        "column '{column}' ({}) is not in '{file}', which has: {present}{}",
        asked_by(*.line),
        hint(.suggestion.as_deref())
    )]
    MissingColumn {
        /// The file.
        file: String,
        /// The column asked for.
        column: String,
        /// Line of the table in the mapping; 0 for our own schema, which has no mapping file.
        line: usize,
        /// The first few columns present.
        present: String,
        /// The nearest column present.
        suggestion: Option<String>,
    },
    /// A lookup names a file that is not part of the import.
    #[error("lookup file '{pattern}' is not part of this import; add the file or remove the lookup")]
    MissingLookup {
        /// The file pattern.
        pattern: String,
    },
    /// A limit of the settings was reached.
    #[error("{what} passes the limit of {limit}; raise the setting '{setting}'")]
    Limit {
        /// What is too large.
        what: String,
        /// The limit.
        limit: u64,
        /// The setting to raise.
        setting: &'static str,
    },
    /// The receiver of the events failed.
    #[error("cannot hand the events on: {0}")]
    Sink(Failure),
    /// The receiver went away.
    #[error("the import was stopped")]
    Stopped,
}

impl Classified for ImportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::Read { .. } | Self::Store { .. } => ErrorKind::External,
            Self::Format { .. } => ErrorKind::Data,
            Self::NothingFound { .. } => ErrorKind::NotFound,
            Self::Limit { .. } => ErrorKind::Limit,
            Self::Sink(failure) => failure.kind(),
            Self::Stopped => ErrorKind::Internal,
            Self::Mapping(_)
            | Self::NothingMatches { .. }
            | Self::MissingColumn { .. }
            | Self::MissingLookup { .. } => ErrorKind::User,
        }
    }
}
