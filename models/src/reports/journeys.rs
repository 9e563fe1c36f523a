//! What touched the account of each closed deal before it closed?
//!
//! Read from `account_signals`, which keeps the first and the last event of each type by account: a type used before and
//! after the close counts as used last at the close. Touches by machines are left out.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashMap;
use revgauge_contract::{Timestamp, error::Failure, event::MachineClass};

use super::attribution::{Journey, Touch};
use crate::{
    changelog::ChangeLog,
    directory::Outcome,
    facts::ActivityRow,
    forecast::{BookDeal, Scope as BookScope, read_book},
    gather::{Gatherer, Which},
};

/// Accounts read at once.
const CHUNK: usize = 4_096;

/// The journeys of the deals that closed in `period` (all when absent), as known at `at`.
pub(super) async fn load(
    gatherer: &Gatherer<'_>,
    log: &ChangeLog,
    period: Option<(Timestamp, Timestamp)>,
    at: Timestamp,
) -> Result<Vec<Journey>, Failure> {
    let stages = gatherer.directory.read().stages();
    let mut of_account: BTreeMap<Arc<str>, Vec<BookDeal>> = BTreeMap::new();
    for deal in read_book(log, &stages, at, &BookScope::default()) {
        let within = |ended| period.is_none_or(|(start, end)| start <= ended && ended < end);
        if !deal.ended.is_some_and(within) {
            continue;
        }
        let account = gatherer.directory.read().account_of_deal(&deal.deal_id);
        if let Some(account) = account {
            of_account.entry(account).or_default().push(deal);
        }
    }
    let accounts: Vec<Arc<str>> = of_account.keys().cloned().collect();
    let mut journeys = Vec::new();
    for chunk in accounts.chunks(CHUNK) {
        for account in gatherer.accounts(Which::These(chunk)).await? {
            for deal in of_account.remove(&*account.account_id).into_iter().flatten() {
                if let Some(closed) = deal.ended {
                    journeys.push(Journey {
                        won: deal.outcome == Outcome::Won,
                        currency: deal.currency,
                        amount: deal.amount,
                        closed,
                        touches: touches(&account.signals, closed),
                    });
                }
            }
        }
    }
    Ok(journeys)
}

/// Each type of human touch that first came by the close.
fn touches(signals: &[ActivityRow], closed: Timestamp) -> Vec<Touch> {
    let mut held: HashMap<&str, (Timestamp, Timestamp)> = HashMap::new();
    for row in signals {
        if row.machine_class == MachineClass::None && row.first_time <= closed {
            let last = row.last_time.min(closed);
            let touch = held.entry(&*row.event_type).or_insert((row.first_time, last));
            *touch = (touch.0.min(row.first_time), touch.1.max(last));
        }
    }
    held.into_iter()
        .map(|(kind, (first, last))| Touch {
            kind: kind.to_owned(),
            first,
            last,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use revgauge_contract::time::DAY_US;

    use super::*;

    #[test]
    fn a_touch_counts_up_to_the_close_and_not_by_machines() {
        let day = |number: i64| Timestamp(1_767_225_600_000_000 + number * DAY_US);
        let row = |kind: &str, class, first, last| ActivityRow {
            event_type: kind.into(),
            direction: None,
            machine_class: class,
            era: 14,
            n: 2,
            sums: Vec::new(),
            value_sum: 0.0,
            value_max: None,
            first_time: day(first),
            last_time: day(last),
        };
        let rows = [
            row("visit", MachineClass::None, 1, 30),
            row("mail", MachineClass::None, 12, 20),
            row("open", MachineClass::Bot, 1, 2),
        ];
        let expected = Touch {
            kind: "visit".to_owned(),
            first: day(1),
            last: day(10),
        };
        assert_eq!(touches(&rows, day(10)), [expected]);
    }
}
