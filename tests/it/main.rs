//! The one heavy integration binary: the real executable, spoken to through its real doors.

mod arroyo;
mod browsing;
mod compat;
mod crash;
mod deliveries;
mod doors;
mod models;
mod otlp;
mod pages;
mod postgres;
mod process;
mod real_input;
mod reports;
mod retention;
mod shuffled;
