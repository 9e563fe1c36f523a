//! Reports that are more than a query: what moved the pipeline, deal by deal, and which touches earned what was won.

mod attribution;
mod journeys;
mod scope;
mod service;
#[cfg(test)]
mod tests;
mod waterfall;

pub use attribution::{Journey, Touch, attribute};
pub use scope::Scope;
pub use service::{ReportSettings, Reports};
pub use waterfall::waterfall;
