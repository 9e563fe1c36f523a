//! The vocabulary every room shares and the traits that cross a wall between rooms.
//!
//! Reading order follows an event: what it is ([`event`], [`event_type`], [`domain`]), how it is a row
//! ([`schema`], [`crm`]), where it stands ([`position`]), what is computed from it ([`statistics`],
//! [`score`]), and what is promised about all of it ([`invariant`]).
#![doc = include_str!("../README.md")]

pub mod access;
pub mod crm;
pub mod cut;
pub mod definition_record;
pub mod definition_trial;
pub mod domain;
pub mod error;
pub mod event;
pub mod event_type;
pub mod feed;
pub mod forecast;
pub mod intake;
pub mod invariant;
pub mod judge;
pub mod models;
pub mod period;
pub mod position;
pub mod reports;
pub mod schema;
pub mod score;
pub mod statistics;
pub mod text;
pub mod time;

pub use error::{Classified, ErrorKind};
pub use event::{Event, Refusal};
pub use position::Position;
pub use time::{Clock, Timestamp};
