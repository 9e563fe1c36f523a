//! Doors out: REST, SQL over HTTP, score feed, access.
