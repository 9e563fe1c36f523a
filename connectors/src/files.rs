//! Files in: CSV, TSV, NDJSON, Parquet and Arrow through field mappings.
//!
//! A mapping (`mapping`, the text) becomes a [`Plan`] (`compile`); inputs are found and opened (`input`), read row by
//! row (`read`, `rows`), joined with other files of the same import (`lookup`), turned into drafts (`convert`, values in
//! `value`) and handed on in bounded batches (`import`). Files that already hold our events take the columnar lane
//! (`native`, `columnar`).

mod columnar;
mod compile;
mod condition;
pub(crate) mod convert;
mod error;
mod import;
mod input;
mod lookup;
mod mapping;
mod native;
mod pattern;
mod plan;
mod read;
mod rows;
mod shipped;
mod sink;
mod value;
mod work;

#[cfg(test)]
mod tests;

pub use error::{ImportError, MappingError};
pub use import::{DryRun, ImportReport, ImportSettings, Problem, Progress, dry_run, reception, run};
pub use input::{Input, discover, discover_in_store};
pub use native::draft_from_json;
pub use plan::Plan;
pub use shipped::{SHIPPED, shipped};
pub use sink::{EventSink, IntakeSink, ndjson_of};
