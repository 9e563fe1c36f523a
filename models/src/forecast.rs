//! What will be won in a period: closed deals, open deals through their win curves, and deals not yet created.
//!
//! Every function is pure: what was known at an instant goes in, the same bits come out. `book` reads the deals as known;
//! `rates`, `hazards`, `calendar` and `history` learn how deals move and end; `day_step` is what a day does to a deal, by which `walk`
//! and `created` turn that into probabilities, `close_dates` into dates, `revenue_series` does without deals; `outlook` makes the forecast, `distribution` its range, `record`
//! measures the methods on past periods, `weights` weighs them by it, `accuracy` tells that by team and person, `currency` and `targets` read rates, quotas and
//! submissions, of which `spoken` makes a method, `backtest` does so on many, `remembered` keeps what need not be learnt again. `question` makes out what is
//! asked of a `tenant`, `present` what the deals of now say of it, `answer` puts that together for whoever is asked about, `by_node` for each of the `nodes` of
//! the hierarchy, and `service` is who is asked.

mod accuracy;
mod answer;
mod backtest;
mod book;
mod by_node;
mod calendar;
mod close_dates;
mod competition;
mod created;
mod currency;
mod day_step;
mod distribution;
mod hazards;
mod history;
mod nodes;
mod outlook;
mod past;
mod present;
mod question;
mod rates;
mod record;
mod remembered;
#[cfg(test)]
mod remembered_tests;
mod revenue_series;
mod series;
mod service;
mod settings;
mod spoken;
mod targets;
mod tenant;
#[cfg(test)]
mod tests;
mod walk;
mod weights;

pub use accuracy::HORIZONS;
pub use backtest::{Backcast, backtest};
pub use book::{BookDeal, Scope, read_book};
pub use competition::{Reached, measure_series};
pub use currency::Rates;
pub use distribution::{Chance, DrawKey, NewDeals, Simulation, simulate};
pub use history::{History, Snapshot};
pub use outlook::{Learnt, METHODS, Outlook};
pub use rates::StageRates;
pub use record::{BlendRecord, Correction, MethodRecord, Record, TrackRecord, blend_record, track_record};
pub use series::{SERIES_METHODS, SeriesForecast, forecast_series};
pub use service::Forecasts;
pub use settings::ForecastSettings;
pub use targets::Targets;
