//! What will be won in a period: closed deals, open deals through their win curves, and deals not yet created.
//!
//! Every function is pure: what was known at an instant goes in, the same bits come out. `book` reads the deals as known,
//! `rates` learns how deals move and end, `outlook` makes the forecast, `distribution` its range, `record` measures the
//! methods on past periods, `service` puts them together.

mod book;
mod competition;
mod distribution;
mod outlook;
mod rates;
mod record;
mod series;
mod service;
#[cfg(test)]
mod tests;

pub use book::{BookDeal, Scope, read_book};
pub use competition::{Reached, measure_series};
pub use distribution::{Chance, NewDeals, Simulation, simulate};
pub use outlook::{METHODS, Outlook, outlook};
pub use rates::StageRates;
pub use record::{Record, TrackRecord, track_record};
pub use series::{SERIES_METHODS, SeriesForecast, forecast_series};
pub use service::{ForecastSettings, Forecasts};
