//! Arrow Flight SQL: ADBC and other columnar clients ask the same sessions as every other door.
//!
//! A call carries its credentials; a prepared statement is kept for the key that made it, and nobody else can name it.

mod catalog;
mod door;
mod login;
mod prepared;
mod service;
mod stream;

pub use door::FlightDoor;
