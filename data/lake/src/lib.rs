//! Delta tables of events and score changes, with journal positions.
