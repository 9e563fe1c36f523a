//! What would have been forecast in the periods before, at the same elapsed share, with what was known then?

use std::collections::BTreeMap;

use revgauge_contract::{Timestamp, error::Failure, period::earlier};

use super::{
    BookDeal, History, Learnt, Rates, Record, Scope, Simulation, Snapshot,
    outlook::{Owners, owned, won_in},
    read_book,
};
use crate::{changelog::ChangeLog, directory::StageCatalogue};

/// Deals by currency.
pub(super) type Books = BTreeMap<String, Vec<BookDeal>>;

/// One period before the one asked about, over by then, and all deals as known in it after the same elapsed share.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PastPeriod {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) then: Timestamp,
    pub(super) books: Books,
}

/// Deals by their currency.
fn by_currency(deals: Vec<BookDeal>) -> Books {
    let mut books = Books::new();
    for deal in deals {
        books.entry(deal.currency.clone()).or_default().push(deal);
    }
    books
}

/// Where deals are read: their log, and what of it counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) log: &'a ChangeLog,
    pub(super) stages: &'a StageCatalogue,
    pub(super) scope: &'a Scope,
    /// The currency to tell all amounts in, and the rates.
    pub(super) currency: Option<(&'a str, &'a Rates)>,
}

impl Reading<'_> {
    /// The deals that a question may learn from, as known at an instant.
    ///
    /// # Errors
    /// A rate is missing for the currency asked for.
    pub(super) fn books(self, at: Timestamp) -> Result<Books, Failure> {
        let deals = read_book(self.log, self.stages, at, self.scope);
        Ok(by_currency(match self.currency {
            Some((currency, rates)) => rates.convert(deals, currency, at)?,
            None => deals,
        }))
    }
}

/// Up to `most` periods of the same length before `[start, end)`, newest first, each after the share of it that has passed
/// at `at`. One that is not over then is left out; none is told of the time before the first deal.
///
/// # Errors
/// As [`Reading::books`].
pub(super) fn past_periods(
    reading: Reading<'_>,
    (start, end): (Timestamp, Timestamp),
    at: Timestamp,
    most: u32,
) -> Result<Vec<PastPeriod>, Failure> {
    let share = (at.0.saturating_sub(start.0)) as f64 / (end.0 - start.0).max(1) as f64;
    let mut past = Vec::new();
    for back in 1..=i64::from(most) {
        let (start, end) = earlier(start, end, back);
        if end > at {
            continue;
        }
        let then = start.plus_micros((share * (end.0 - start.0) as f64) as i64);
        let books = reading.books(then)?;
        if books.is_empty() {
            break;
        }
        past.push(PastPeriod {
            start,
            end,
            then,
            books,
        });
    }
    Ok(past)
}

/// What is asked of one currency.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) currency: &'a str,
    pub(super) owners: Owners<'a>,
}

impl Asked<'_> {
    /// What became of the deals of earlier periods, by the deals as known at an instant.
    pub(super) fn history(self, known: &[BookDeal], at: Timestamp, before: &[PastPeriod]) -> History {
        let snapshots: Vec<Snapshot<'_>> = before
            .iter()
            .filter_map(|past| {
                Some(Snapshot {
                    start: past.start,
                    end: past.end,
                    then: past.then,
                    deals: past.books.get(self.currency)?,
                })
            })
            .collect();
        History::read(&snapshots, known, self.owners, at)
    }

    /// What was said of each past period, newest first, beside what came as known in `now`.
    pub(super) fn records(
        self,
        now: &[BookDeal],
        past: &[PastPeriod],
        learnt: &[Option<Learnt<'_>>],
        simulation: Simulation,
    ) -> Vec<Record> {
        past.iter()
            .zip(learnt)
            .enumerate()
            .filter_map(|(place, (one, learnt))| {
                let history = self.history(one.books.get(self.currency)?, one.then, &past[place + 1..]);
                let then = learnt
                    .as_ref()?
                    .outlook(self.owners, &history, simulation, unchanged);
                let came = won_in(owned(now, self.owners), one.start, one.end);
                Some(Record::new(&then, came))
            })
            .collect()
    }
}

/// What was learnt in each past period of a currency; nothing where it had no deal then.
pub(super) fn learnt_then<'a>(
    past: &'a [PastPeriod],
    currency: &str,
    catalogue: &StageCatalogue,
) -> Vec<Option<Learnt<'a>>> {
    past.iter()
        .map(|one| {
            let all = one.books.get(currency)?;
            Some(Learnt::learn(all, catalogue, one.then, (one.start, one.end)))
        })
        .collect()
}

/// No what-if.
pub(super) const fn unchanged(_: &str, amount: f64, probability: f64) -> (f64, f64) {
    (amount, probability)
}
