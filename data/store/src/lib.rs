//! The object store under journal and lake: local disk with synced creates, or S3.
#![doc = include_str!("../README.md")]

mod error;
mod local;
mod open;
mod probe;
mod settings;
mod staging;

pub use error::StoreError;
pub use local::SyncedLocal;
pub use open::{OpenStore, open};
pub use probe::probe;
pub use settings::StoreSettings;
