//! Revgauge: scoring and forecasting engine for revenue teams.
fn main() {}
