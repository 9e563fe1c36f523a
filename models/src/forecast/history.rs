//! What became of past periods after the same elapsed share, as known at a later instant?

use std::collections::{BTreeMap, BTreeSet, HashMap};

use revgauge_contract::Timestamp;

use super::{
    BookDeal,
    outlook::{owned, won_in},
};
use crate::directory::Outcome;

/// A past period: its ends, the instant in it of the same elapsed share, and the deals of one currency as known then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot<'a> {
    /// Start, included.
    pub start: Timestamp,
    /// End, excluded.
    pub end: Timestamp,
    /// The instant of the same elapsed share.
    pub then: Timestamp,
    /// Deals as known then.
    pub deals: &'a [BookDeal],
}

/// What past periods did after that instant, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// By stage: amount open then, and what of it was won by the period's end.
    stages: BTreeMap<String, (f64, f64)>,
    /// Revenue of each period from deals created after that instant.
    later: Vec<f64>,
    /// All revenue of each period after that instant.
    rest: Vec<f64>,
}

impl History {
    /// What became of the snapshots' deals, by the deals as known at a later instant. Snapshots newest first; one whose
    /// period was not over by `known_at` does not count; nor do deals of other owners, where some are given.
    #[must_use]
    pub fn read(
        snapshots: &[Snapshot<'_>],
        known: &[BookDeal],
        owners: Option<&BTreeSet<String>>,
        known_at: Timestamp,
    ) -> Self {
        let now: HashMap<&str, &BookDeal> = owned(known, owners)
            .map(|deal| (deal.deal_id.as_str(), deal))
            .collect();
        let mut history = Self::default();
        for snapshot in snapshots.iter().rev().filter(|snapshot| snapshot.end <= known_at) {
            let won = |deal: &BookDeal| {
                now.get(deal.deal_id.as_str())
                    .filter(|now| now.outcome == Outcome::Won)
                    .filter(|now| {
                        now.ended
                            .is_some_and(|ended| snapshot.then <= ended && ended < snapshot.end)
                    })
                    .map_or(0.0, |now| now.amount)
            };
            let mut from_open = 0.0;
            for deal in owned(snapshot.deals, owners).filter(|deal| deal.outcome == Outcome::Open) {
                let came = won(deal);
                let stage = history.stages.entry(deal.stage.clone()).or_default();
                *stage = (stage.0 + deal.amount, stage.1 + came);
                from_open += came;
            }
            let rest = won_in(
                owned(known, owners),
                snapshot.then.max(snapshot.start),
                snapshot.end,
            );
            history.rest.push(rest);
            history.later.push((rest - from_open).max(0.0));
        }
        history
    }

    /// Whether nothing is over yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Revenue of each period after the instant, oldest first.
    #[must_use]
    pub fn rest(&self) -> &[f64] {
        &self.rest
    }

    /// Mean revenue of a period from deals created after the instant.
    #[must_use]
    pub fn created_later(&self) -> f64 {
        self.later.iter().sum::<f64>() / self.later.len().max(1) as f64
    }

    /// Share of an amount open in a stage at that instant that is won by the period's end. Shrunk towards that of all
    /// stages with the weight of one period's mean stage.
    #[must_use]
    pub fn conversion(&self, stage: &str) -> f64 {
        let (open, won) = self
            .stages
            .values()
            .fold((0.0, 0.0), |sum, held| (sum.0 + held.0, sum.1 + held.1));
        if open <= 0.0 {
            return 0.0;
        }
        let weight = open / (self.stages.len() * self.rest.len()).max(1) as f64;
        let held = self.stages.get(stage).copied().unwrap_or_default();
        // Reopened and grown deals may bring more than stood open: a share is at most 1.
        ((held.1 + weight * won / open) / (held.0 + weight)).clamp(0.0, 1.0)
    }
}
