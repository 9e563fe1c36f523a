//! The doors as a client finds them, over three tenants: `acme` asks, the rows of `umbrella` carry a canary,
//! in `wayne` those of one rep.

mod access;
mod canary;
mod corpus;
mod doors;
mod feed;
mod flight;
mod formats;
mod limits;
mod models;
mod openapi;
mod read_only;
mod rest;
mod table;
mod through;
mod wall;
mod web;
mod wire;
mod world;
