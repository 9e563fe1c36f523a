//! Vocabulary of Revgauge: ids, events, schemas, clock, traits that cross a wall.
