//! The PostgreSQL wire: psql, drivers and BI tools ask the same sessions as every other door.
//!
//! A connection is bound to the caller of its login for as long as it lives. Settings, cursors and the cancel sign are the
//! connection's own; each statement opens a session on the query runtime with its own cut, memory and time.

mod answer;
mod array_literal;
mod cancel;
mod catalog;
mod commands;
mod connection;
mod copy;
mod dialect;
mod door;
mod functions;
mod login;
mod own_tables;
mod queries;
mod scram;
mod sqlstate;
mod statements;
mod to_char;

pub use door::{PgDoor, PgDoorError};
