//! Durable log of events on an object store.
