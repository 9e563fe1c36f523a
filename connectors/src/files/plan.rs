//! A mapping made ready: every column, format, zone, type and lookup checked before the first row is read.

use std::sync::Arc;

use super::{compile::compile, convert::Table, error::MappingError, lookup::LookupSource};

/// A checked mapping, ready to run any number of times. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Plan {
    inner: Arc<Inner>,
}

/// What a plan holds.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) tables: Vec<Table>,
    pub(crate) lookups: Vec<LookupSource>,
    pub(crate) native: bool,
}

impl Plan {
    /// Checks the text of a mapping. `name` is what errors and reports call it (its file).
    ///
    /// # Errors
    /// [`MappingError`] with line, key and, where a name is unknown, what was probably meant.
    pub fn load(mapping: &str, name: &str) -> Result<Self, MappingError> {
        let inner = compile(mapping, name)?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The plan for files that hold our own events: Parquet and Arrow with the columns of the events schema (read by
    /// the column), NDJSON as for `POST /v1/events`, CSV with envelope names as header.
    #[must_use]
    pub fn events() -> Self {
        let inner = Inner {
            name: "events".to_owned(),
            description: Some("files of native events".to_owned()),
            tables: Vec::new(),
            lookups: Vec::new(),
            native: true,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Name of the mapping.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What the mapping says about itself.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.inner.description.as_deref()
    }

    pub(crate) fn tables(&self) -> &[Table] {
        &self.inner.tables
    }

    pub(crate) fn lookups(&self) -> &[LookupSource] {
        &self.inner.lookups
    }

    pub(crate) fn is_native(&self) -> bool {
        self.inner.native
    }
}
