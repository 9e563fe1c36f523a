//! What can go wrong when a store is opened.

use std::{io, path::PathBuf};

use revgauge_contract::{Classified, ErrorKind};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL is none we serve.
    #[error("cannot open store '{url}': {reason}; use a folder, file:///folder or s3://bucket/prefix")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A local folder cannot be prepared.
    #[error("cannot prepare store folder {}: {source}", path.display())]
    Folder {
        /// The folder or file at fault.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store does not answer, or not as an object store.
    #[error("cannot {attempt} in {store}: {source}")]
    Access {
        /// What was attempted.
        attempt: &'static str,
        /// The store by name.
        store: String,
        /// What it said.
        source: object_store::Error,
    },
    /// The store ignores conditional creates.
    #[error(
        "refusing {store}: it took a second create of the same object, so it ignores 'If-None-Match: *' and two \
         writers would overwrite each other; use a local folder or an S3 that honours it (AWS S3, MinIO, R2)"
    )]
    IgnoresCreate {
        /// The store by name.
        store: String,
    },
}

impl Classified for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Url { .. } | Self::IgnoresCreate { .. } => ErrorKind::User,
            Self::Folder { .. } | Self::Access { .. } => ErrorKind::External,
        }
    }
}
