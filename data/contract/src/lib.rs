//! The vocabulary every room shares and the traits that cross a wall between rooms.
//!
//! Reading order follows an event: what it is ([`event`], [`event_type`], [`domain`]), how it is a row
//! ([`schema`], [`crm`]), where it stands ([`position`]), what is computed from it ([`statistics`],
//! [`score`]), and what is promised about all of it ([`invariant`]).
#![doc = include_str!("../README.md")]

pub mod time;
pub mod error;
pub mod event_type;
pub mod domain;
pub mod event;
pub mod schema;
pub mod crm;
pub mod position;
pub mod intake;
pub mod cut;
pub mod statistics;
pub mod score;
pub mod invariant;

pub use error::{Classified, ErrorKind};
pub use event::{Event, Refusal};
pub use position::Position;
pub use time::{Clock, Timestamp};
