//! Event in: HTTP doors, event names, files with field mappings, generator.
#![doc = include_str!("../README.md")]

pub mod conformance;
pub mod event_names;
pub mod files;
pub mod generator;
pub mod http;
