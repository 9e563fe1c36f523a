//! Point-in-time training sets, fits, calibration, leakage probes, backtests and model cards.
#![doc = include_str!("../README.md")]

pub mod deals;
pub mod fit;
mod landmarks;
pub mod leads;
pub mod metrics;
pub mod probes;
pub mod speed;
pub mod suite;
pub mod table;
pub mod win;
