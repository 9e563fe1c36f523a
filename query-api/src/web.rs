//! The dashboards: pages made on the server from SQL, with charts as SVG, for people who signed in.
//!
//! Every number is a cell of a query, and leads to that query in the workbench ([`figure`]). Nothing is fetched from
//! outside: stylesheet and script are in the binary, and the content security policy allows nothing else.

mod accuracy;
mod admin;
mod ask;
mod asset;
mod audit;
mod chart;
mod coaching;
mod data;
mod deal;
mod deals;
mod definitions;
mod figure;
mod forecast;
mod form;
mod gate;
mod layout;
mod leads;
mod live;
mod moves;
mod oidc;
mod outlook;
mod people;
mod reports;
mod routes;
mod saved;
mod session;
mod settings;
mod sign_in;
mod statement;
mod table;
mod team;
mod visit;
mod what_if;
mod who;
mod workbench;

pub use settings::WebSettings;

pub(crate) use routes::router;
pub(crate) use session::WebState;
pub(crate) use sign_in::sign_in_path;

/// An address part, for tests of the pages.
#[cfg(test)]
pub(crate) fn encoded(text: &str) -> String {
    form::encode(text)
}
