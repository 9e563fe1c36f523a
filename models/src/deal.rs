//! Deals: their history folded into what is known, and their health with the rules that lower it.

mod facts;
mod health;
mod history;
mod measures;
mod medians;
#[cfg(test)]
mod tests;

pub use facts::{DealContact, DealFacts};
pub(crate) use health::fingerprint as deal_fingerprint;
pub use health::{deal_alerts, deal_crossing, score_deal};
pub use history::{Change, DealHistory, FieldValue, Spell};
pub(crate) use history::{instant, widened};
pub use medians::{StageMedian, StageMedians};
