//! Standard reports: the catalogue, and the views of it in a session.
//!
//! A report is one file of `query-api/reports`: SQL with directives in its first comment lines. It becomes the view
//! `report_<name>`.

mod catalogue;
mod views;

pub use catalogue::{Catalogue, ReportError};
pub(crate) use views::ReportSchema;
