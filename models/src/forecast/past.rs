//! What would have been forecast in the periods before, at the same elapsed share, with what was known then?

use std::{collections::BTreeMap, sync::Arc};

use revgauge_contract::{Timestamp, error::Failure, period::earlier, time::DAY_US};

use super::{
    BookDeal, History, Learnt, Rates, Record, Scope, Simulation, Snapshot,
    outlook::{Overlays, Owners, owned, won_in},
    read_book,
    spoken::Spoken,
};
use crate::{changelog::ChangeLog, directory::StageCatalogue};

/// Deals by currency.
pub(super) type Books = BTreeMap<String, Arc<Vec<BookDeal>>>;

/// Shortest period whose past is looked at on whole days.
const WHOLE_DAYS: i64 = 28;

/// One period before the one asked about, over by then, and an instant in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PastSpan {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// After the same elapsed share.
    pub(super) then: Timestamp,
}

/// A period before, and what all deals taught, as known in it after the same elapsed share.
#[derive(Debug)]
pub(super) struct PastPeriod {
    pub(super) span: PastSpan,
    pub(super) learnt: BTreeMap<String, Learnt>,
}

/// Deals by their currency.
fn by_currency(deals: Vec<BookDeal>) -> Books {
    let mut books: BTreeMap<String, Vec<BookDeal>> = BTreeMap::new();
    for deal in deals {
        match books.get_mut(&deal.currency) {
            Some(book) => book.push(deal),
            None => {
                books.insert(deal.currency.clone(), vec![deal]);
            }
        }
    }
    books
        .into_iter()
        .map(|(currency, deals)| (currency, Arc::new(deals)))
        .collect()
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

/// Up to `most` periods of the same length before `[start, end)` that are over at `at`, newest first, each with the instant
/// in it after which the share of it has passed that has of this one.
///
/// In periods of four weeks or more that instant is moved to the nearest whole day, before the end where this period has
/// not ended: what was known then, and so what it teaches, stays the same for a day of questions.
pub(super) fn past_spans((start, end): (Timestamp, Timestamp), at: Timestamp, most: u32) -> Vec<PastSpan> {
    let share = (at.0.saturating_sub(start.0)) as f64 / (end.0 - start.0).max(1) as f64;
    (1..=i64::from(most))
        .filter_map(|back| {
            let (start, end) = earlier(start, end, back);
            let length = end.0 - start.0;
            let mut elapsed = (share * length as f64) as i64;
            if length >= WHOLE_DAYS * DAY_US {
                let days = (elapsed as f64 / DAY_US as f64).round() as i64;
                let last = (length - 1).div_euclid(DAY_US);
                elapsed = DAY_US * if elapsed < length { days.min(last) } else { days };
            }
            let then = start.plus_micros(elapsed).min(at);
            (end <= at).then_some(PastSpan { start, end, then })
        })
        .collect()
}

/// What each of the spans teaches, until the first of whose time no deal was known.
///
/// # Errors
/// As [`Reading::books`].
pub(super) fn past_periods(reading: Reading<'_>, spans: &[PastSpan]) -> Result<Vec<PastPeriod>, Failure> {
    let mut past = Vec::new();
    for span in spans {
        let books = reading.books(span.then)?;
        if books.is_empty() {
            break;
        }
        let learn =
            |deals| Learnt::learn(deals, reading.stages, span.then, (span.start, span.end)).kept_small();
        past.push(PastPeriod {
            span: *span,
            learnt: books
                .iter()
                .map(|(currency, deals)| (currency.clone(), learn(deals)))
                .collect(),
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
                    start: past.span.start,
                    end: past.span.end,
                    then: past.span.then,
                    deals: past.learnt.get(self.currency)?.deals(),
                })
            })
            .collect();
        History::read(&snapshots, known, self.owners, at)
    }

    /// What was said of each past period, newest first, with nothing come yet; nothing where the currency had no deal.
    pub(super) fn said(self, past: &[PastPeriod], simulation: Simulation) -> Vec<Option<Record>> {
        past.iter()
            .enumerate()
            .map(|(place, one)| {
                let learnt = one.learnt.get(self.currency)?;
                let history = self.history(learnt.deals(), one.span.then, &past[place + 1..]);
                let then = learnt.outlook(self.owners, &history, simulation, &Overlays::new());
                Some(Record::new(&then, 0.0))
            })
            .collect()
    }

    /// What was said of each past period, by the methods and by people, beside what came, as known in `now`.
    pub(super) fn records(
        self,
        now: &[BookDeal],
        past: &[PastPeriod],
        said: &[Option<Record>],
        spoken: Spoken<'_>,
    ) -> Vec<Record> {
        past.iter()
            .zip(said)
            .filter_map(|(one, said)| {
                let actual = won_in(owned(now, self.owners), one.span.start, one.span.end);
                let submitted = one
                    .learnt
                    .get(self.currency)
                    .and_then(|learnt| spoken.before(learnt, self, one.span));
                Some(Record {
                    actual,
                    submitted,
                    ..said.clone()?
                })
            })
            .collect()
    }
}
