//! Doors out: REST, SQL over HTTP, score feed, access.
#![doc = include_str!("../README.md")]

pub mod access;
mod api;
mod assistant;
pub mod flight;
pub mod freshness;
pub mod metrics;
pub mod pg;
mod problem;
pub mod reports;
mod rest;
pub mod settings;
pub mod sql;
mod web;

pub use api::{Api, ApiError, ApiParts, metrics_handle, router};
pub use problem::Problem;
pub use rest::{DataHealth, PipelineInfo, Readiness, ReplayReport, StatusSource, openapi_document};
pub use settings::ApiSettings;

#[cfg(test)]
mod tests;
