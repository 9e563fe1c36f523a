//! The doors as a client finds them, over two tenants: `acme` asks, `umbrella`'s rows carry a canary.

mod feed;
mod formats;
mod limits;
mod openapi;
mod read_only;
mod rest;
mod wall;
mod web;
mod world;
