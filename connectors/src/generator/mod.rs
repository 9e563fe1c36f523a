//! A believable revenue organisation, made from a seed.
//!
//! Accounts have a latent fit and an intent that surges and fades; contacts have roles and habits of the hour; reps
//! differ in skill; deals advance, slip, are won and lost *depending on* the latents. The same configuration gives the
//! same events in the same order, a day at a time, so any size streams in bounded memory.

mod account;
mod activity;
mod config;
mod deals;
mod emit;
mod foresight;
mod names;
mod organisation;
mod output;
mod practice;
mod talk;

pub use account::{AccountTruth, Contact};
pub use config::{ConfigError, GeneratorConfig};
pub use foresight::Foresight;
pub use organisation::Organisation;
pub use output::{OutputError, ParquetOutput, write_ndjson};

#[cfg(test)]
mod tests;
