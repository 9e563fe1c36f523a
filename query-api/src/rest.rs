//! REST under `/v1`, the score feed, health and metrics.
//!
//! [`doors`] is the one list of what there is: the router, the OpenAPI document, the check of query parameters and
//! the role rules are all read from it.

mod alerts;
mod arguments;
mod audit;
mod briefing;
mod dead_letters;
mod deal;
mod doors;
mod duplicates;
mod entity;
mod feed;
mod forecast;
mod guard;
mod keys;
mod lists;
mod metrics;
mod models;
mod openapi;
mod operations;
mod privacy;
mod queries;
mod records;
mod reports;
mod routes;
mod saved;
mod texts;
mod users;

pub use openapi::openapi_document;
pub use operations::{DataHealth, PipelineInfo, Readiness, ReplayReport, StatusSource};

pub(crate) use arguments::body_bytes;
pub(crate) use feed::Streams;
pub(crate) use forecast::forecasts;
pub(crate) use records::objects as json_objects;
pub(crate) use routes::router;
pub(crate) use saved::{check_own, keep as keep_report, one_shown_to, shown_to};
pub(crate) use texts::report as compliance_report;
