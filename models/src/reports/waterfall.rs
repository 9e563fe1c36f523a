//! What moved the pipeline between two instants, deal by deal, balanced to the cent (F-3, N-16).
//!
//! Let `v(s)` be the amount of a deal in state `s` when it counts (open, there, in scope), else 0. A step from state `a`
//! to state `b` is split into parts that sum to `v(b) - v(a)`:
//!
//! * into the pipeline: the amount it had before under the reason it now counts, then the change of the amount;
//! * out of the pipeline: the change of the amount, then what it is worth now under the reason it no longer counts;
//! * staying: out of one group and into another where that changed, then the change of the amount.
//!
//! Net takes the one step from the earlier to the later state; gross takes a step at every instant at which something
//! became known, so a close date that moved out and back is seen. Both telescope to the same change.

use revgauge_contract::{
    Timestamp,
    reports::{Bucket, WaterfallPart},
};

use super::scope::{Place, Scope, Snapshot};
use crate::{
    changelog::{ChangeLog, ObjectLog},
    directory::{Outcome, StageCatalogue},
};

/// The parts, by group, currency, bucket, then deal. Pure; cost: one pass over the changes known by `to`.
#[must_use]
pub fn waterfall(
    log: &ChangeLog,
    stages: &StageCatalogue,
    scope: &Scope,
    from: Timestamp,
    to: Timestamp,
    gross: bool,
) -> Vec<WaterfallPart> {
    let mut parts = Vec::new();
    for deal in log.logs() {
        add_deal(&deal, stages, scope, (from, to), gross, &mut parts);
    }
    parts.sort_by(|a, b| {
        let key = |part: &WaterfallPart| (part.bucket, part.at);
        (&a.group, &a.currency)
            .cmp(&(&b.group, &b.currency))
            .then_with(|| key(a).cmp(&key(b)))
            .then_with(|| a.deal_id.cmp(&b.deal_id))
    });
    parts
}

fn add_deal(
    deal: &ObjectLog<'_>,
    stages: &StageCatalogue,
    scope: &Scope,
    (from, to): (Timestamp, Timestamp),
    gross: bool,
    parts: &mut Vec<WaterfallPart>,
) {
    let first = Snapshot::of(&deal.state_at(from), scope, stages);
    let last = Snapshot::of(&deal.state_at(to), scope, stages);
    if first.counts() {
        let cents = first.cents;
        parts.push(part(deal, (&first, &first), &first, from, Bucket::Start, cents));
    }
    if gross {
        let mut before = first;
        for (at, state) in deal.states_between(from, to) {
            let after = Snapshot::of(&state, scope, stages);
            step(deal, &before, &after, at, parts);
            before = after;
        }
    } else {
        step(deal, &first, &last, to, parts);
    }
    if last.counts() {
        let cents = last.cents;
        parts.push(part(deal, (&last, &last), &last, to, Bucket::End, cents));
    }
}

/// Splits one step; a part that is worth nothing is kept where the deal came or went, for the count.
fn step(
    deal: &ObjectLog<'_>,
    before: &Snapshot<'_>,
    after: &Snapshot<'_>,
    at: Timestamp,
    parts: &mut Vec<WaterfallPart>,
) {
    let mut add = |home: &Snapshot<'_>, bucket, cents| {
        parts.push(part(deal, (before, after), home, at, bucket, cents));
    };
    let same_money = before.currency == after.currency;
    // What the amount was before, in the money of now: of another currency it says nothing.
    let held = if before.known && same_money {
        before.cents
    } else {
        after.cents
    };
    match (before.counts(), after.counts()) {
        (false, false) => {}
        (false, true) => {
            let bucket = entry(before);
            let value = if bucket == Bucket::Created {
                after.cents
            } else {
                held
            };
            add(after, bucket, value);
            amount(&mut add, after, after.cents - value);
        }
        (true, false) => {
            // The value it leaves with is in the money it was counted in.
            let leaving = if same_money { after.cents } else { before.cents };
            amount(&mut add, before, leaving - before.cents);
            add(before, exit(after), -leaving);
        }
        (true, true) => {
            let moved = before.group != after.group || !same_money;
            if moved {
                add(before, Bucket::MovedOut, -before.cents);
                add(after, Bucket::MovedIn, held);
            }
            amount(&mut add, after, after.cents - held);
        }
    }
}

fn amount(add: &mut impl FnMut(&Snapshot<'_>, Bucket, i64), home: &Snapshot<'_>, change: i64) {
    match change {
        0 => {}
        1.. => add(home, Bucket::AmountUp, change),
        _ => add(home, Bucket::AmountDown, change),
    }
}

/// Why a deal that did not count before does now: the first of the reasons that held it out.
fn entry(before: &Snapshot<'_>) -> Bucket {
    if !before.known {
        Bucket::Created
    } else if !before.exists {
        Bucket::Restored
    } else if before.outcome != Outcome::Open {
        Bucket::Reopened
    } else if before.transferred {
        Bucket::TransferredIn
    } else if before.place == Place::After {
        Bucket::PulledIn
    } else {
        Bucket::SlippedIn
    }
}

/// Why a deal that counted before does not now.
fn exit(after: &Snapshot<'_>) -> Bucket {
    if after.merged {
        Bucket::Merged
    } else if !after.exists {
        Bucket::Deleted
    } else if after.outcome == Outcome::Won {
        Bucket::Won
    } else if after.outcome == Outcome::Lost {
        Bucket::Lost
    } else if after.transferred {
        Bucket::TransferredOut
    } else if after.place == Place::After {
        Bucket::SlippedOut
    } else {
        Bucket::PulledOut
    }
}

fn part(
    deal: &ObjectLog<'_>,
    (before, after): (&Snapshot<'_>, &Snapshot<'_>),
    home: &Snapshot<'_>,
    at: Timestamp,
    bucket: Bucket,
    amount_cents: i64,
) -> WaterfallPart {
    WaterfallPart {
        deal_id: deal.id().to_owned(),
        bucket,
        amount_cents,
        currency: home.currency.to_owned(),
        group: home.group.to_owned(),
        at,
        owner_id: after.owner_id.to_owned(),
        stage_from: before.stage.to_owned(),
        stage_to: after.stage.to_owned(),
    }
}
