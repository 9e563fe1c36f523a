//! What is an amount worth in another currency, by the rate of its day?

use std::{collections::BTreeMap, sync::Arc};

use revgauge_contract::{ErrorKind, Timestamp, error::Failure};

use super::BookDeal;
use crate::{
    deal::instant,
    directory::{Outcome, first, number},
    facts::Fields,
};

/// Dated exchange rates: units of the second currency for one of the first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rates {
    pairs: BTreeMap<(String, String), Vec<(Timestamp, f64)>>,
}

fn code(text: &str) -> String {
    text.trim().to_uppercase()
}

impl Rates {
    /// From `exchange_rate` objects: `from`, `to`, `rate` above 0, and `date` from which it holds. Others are left out. Of
    /// two rates of one pair and day the one of the greater id holds.
    #[must_use]
    pub fn read(objects: &[(Arc<str>, Fields)]) -> Self {
        let mut rates = Self::default();
        for (_, fields) in objects {
            let (Some(from), Some(to)) = (first(fields, &["from"]), first(fields, &["to"])) else {
                continue;
            };
            let rate = first(fields, &["rate"])
                .and_then(number)
                .filter(|rate| *rate > 0.0 && rate.is_finite());
            let date = first(fields, &["date", "start", "valid_from"]).and_then(instant);
            if let (Some(rate), Some(date)) = (rate, date) {
                rates
                    .pairs
                    .entry((code(from), code(to)))
                    .or_default()
                    .push((date, rate));
            }
        }
        for dated in rates.pairs.values_mut() {
            dated.sort_by_key(|(date, _)| *date);
        }
        rates
    }

    /// The rate that held at an instant: the newest not after it, of the pair or of its reverse. None is made by way of a
    /// third currency.
    #[must_use]
    pub fn rate(&self, from: &str, to: &str, at: Timestamp) -> Option<f64> {
        let (from, to) = (code(from), code(to));
        if from == to {
            return Some(1.0);
        }
        let newest = |from: &str, to: &str| {
            let dated = self.pairs.get(&(from.to_owned(), to.to_owned()))?;
            let count = dated.partition_point(|(date, _)| *date <= at);
            dated.get(count.checked_sub(1)?).copied()
        };
        match (newest(&from, &to), newest(&to, &from)) {
            (Some(own), Some(reverse)) if reverse.0 > own.0 => Some(1.0 / reverse.1),
            (Some(own), _) => Some(own.1),
            (None, Some(reverse)) => Some(1.0 / reverse.1),
            (None, None) => None,
        }
    }

    /// Deals with their amounts in one currency: a won or lost deal by the rate of the day on which it ended, an open one
    /// by that of `at`.
    ///
    /// # Errors
    /// `Data` for the first deal that has no currency, or for whose currency no rate held then; it names both.
    pub fn convert(&self, deals: Vec<BookDeal>, to: &str, at: Timestamp) -> Result<Vec<BookDeal>, Failure> {
        deals
            .into_iter()
            .map(|mut deal| {
                let day = match deal.outcome {
                    Outcome::Open => at,
                    Outcome::Won | Outcome::Lost => deal.ended.unwrap_or(at).min(at),
                };
                // What was lost brings no revenue: where its day has no rate, today's does.
                let or_today =
                    || (deal.outcome == Outcome::Lost).then(|| self.rate(&deal.currency, to, at))?;
                let rate = self
                    .rate(&deal.currency, to, day)
                    .or_else(or_today)
                    .filter(|_| !deal.currency.is_empty())
                    .ok_or_else(|| missing(&deal, to, day))?;
                deal.amount *= rate;
                deal.currency = code(to);
                Ok(deal)
            })
            .collect()
    }
}

fn missing(deal: &BookDeal, to: &str, day: Timestamp) -> Failure {
    let text = if deal.currency.is_empty() {
        format!(
            "cannot tell deal {} in {to}: it has no currency; give it one",
            deal.deal_id
        )
    } else {
        format!(
            "cannot tell deal {} in {to}: no rate from {} holds on {}; send exchange_rate.upserted with from, to, rate and date",
            deal.deal_id,
            deal.currency,
            day.to_datetime().format("%Y-%m-%d")
        )
    };
    Failure::new(ErrorKind::User, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(dated: &[(&str, &str, &str, &str)]) -> Rates {
        let objects: Vec<(Arc<str>, Fields)> = dated
            .iter()
            .enumerate()
            .map(|(id, (from, to, rate, date))| {
                let fields = [("from", from), ("to", to), ("rate", rate), ("date", date)];
                let fields = fields.map(|(name, value)| (name.to_owned(), (*value).to_owned()));
                (Arc::from(id.to_string()), Fields::from(fields))
            })
            .collect();
        Rates::read(&objects)
    }

    fn day(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn the_rate_of_the_day_holds_in_both_directions() {
        let rates = rates(&[
            ("eur", "USD", "1.10", "2026-01-01"),
            ("EUR", "USD", "1.20", "2026-02-01"),
            ("USD", "EUR", "0.8", "2026-03-01"),
            ("EUR", "GBP", "-3", "2026-01-01"),
        ]);
        let rate = |from: &str, to: &str, at: &str| rates.rate(from, to, day(at));
        assert_eq!(rate("EUR", "USD", "2026-01-31"), Some(1.10));
        assert_eq!(rate("EUR", "usd", "2026-02-01"), Some(1.20));
        assert_eq!(rate("EUR", "USD", "2026-03-05"), Some(1.25));
        assert_eq!(rate("USD", "USD", "2020-01-01"), Some(1.0));
        assert_eq!(rate("EUR", "USD", "2025-12-31"), None);
        assert_eq!(rate("EUR", "GBP", "2026-03-05"), None);
    }
}
