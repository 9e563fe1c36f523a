//! Reports that are more than a query: what moved the pipeline, deal by deal.

mod scope;
mod service;
#[cfg(test)]
mod tests;
mod waterfall;

pub use scope::Scope;
pub use service::{ReportSettings, Reports};
pub use waterfall::waterfall;
