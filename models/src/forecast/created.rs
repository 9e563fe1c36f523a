//! How many deals will still be created, by whom, and what of them will be won within the period?

use std::{collections::BTreeMap, sync::Arc};

use revgauge_contract::Timestamp;

use super::{
    BookDeal, DrawKey, NewDeals,
    calendar::{Calendar, day_of, shrunk},
    hazards::Hazards,
    walk::{Span, Walks},
};

/// Days looked back for the rate of creation.
const RATE_DAYS: f64 = 365.0;
/// Days looked back for the calendar of creation.
const CALENDAR_DAYS: i64 = 1_100;
/// Bands of size: quantiles of the amounts of created deals.
const BANDS: usize = 5;

/// What one owner will create and win.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OwnerNew {
    /// The owner.
    pub(super) owner_id: String,
    /// Expected number created and won within the period.
    pub(super) won: f64,
    /// Expected revenue of them.
    pub(super) revenue: f64,
    /// The expected number by band of size.
    by_band: Vec<f64>,
}

/// All deals that will be created and won within the period.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Created {
    /// By owner, sorted.
    pub(super) owners: Vec<OwnerNew>,
    /// Amounts to draw from, by band of size.
    bands: Vec<Arc<Vec<f64>>>,
}

impl Created {
    /// Those of one owner, for the draws.
    pub(super) fn of(&self, owner: &OwnerNew) -> NewDeals {
        let bands = owner.by_band.iter().zip(&self.bands);
        NewDeals {
            key: DrawKey::of_new_deals(&owner.owner_id),
            bands: bands.map(|(won, amounts)| (*won, Arc::clone(amounts))).collect(),
        }
    }
}

/// Deals not yet created, by owner.
///
/// ```text
/// won(owner)  = sum over days t of rate(owner) * calendar(t) * sum over bands b of share(b) * W(owner, b, t)
/// rate(owner) = deals created in the last year (or since the first one, at least 30 days) per calendar day, shrunk
/// ```
/// `W` is the probability that a deal created on day `t` is won within the period. Cost: a walk a profile.
#[must_use]
pub(super) fn created_deals(
    deals: &[BookDeal],
    hazards: &Hazards,
    walks: &mut Walks<'_>,
    at: Timestamp,
    span: Span,
) -> Created {
    let Some(first) = deals.iter().map(|deal| deal.created).min() else {
        return Created::default();
    };
    let days = at.days_since(first).clamp(30.0, RATE_DAYS);
    let recent: Vec<&BookDeal> = deals
        .iter()
        .filter(|deal| (0.0..=days).contains(&at.days_since(deal.created)))
        .collect();
    if recent.is_empty() {
        return Created::default();
    }
    let calendar = creation_calendar(deals, at, first);
    let exposure: f64 = (1..=days as i64)
        .map(|back| calendar.factor(span.today - back))
        .sum();
    let mut by_owner: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for deal in &recent {
        by_owner.entry(&deal.owner_id).or_default().0 += 1.0;
    }
    let even = recent.len() as f64 / by_owner.len() as f64;
    let counts: Vec<(f64, f64)> = by_owner.values().map(|held| (held.0, even)).collect();
    let factors = shrunk(&counts);
    let scale = recent.len() as f64 / factors.iter().map(|factor| factor * even).sum::<f64>().max(1e-9);
    let bands = bands(&recent);
    let mut owners = Vec::new();
    for (owner, factor) in by_owner.keys().zip(factors) {
        let mut by_band = Vec::with_capacity(bands.len());
        let rate = factor * even * scale / exposure.max(1.0);
        let (mut won, mut revenue) = (0.0, 0.0);
        for amounts in &bands {
            let share = amounts.len() as f64 / recent.len() as f64;
            let mean = amounts.iter().sum::<f64>() / amounts.len().max(1) as f64;
            let curve = walks.created(hazards.profile(owner, mean, &[]));
            let part: f64 = curve
                .iter()
                .enumerate()
                .map(|(day, won)| calendar.factor(span.today + day as i64) * span.share(day) * won)
                .sum::<f64>()
                * rate
                * share;
            won += part;
            revenue += part * mean;
            by_band.push(part);
        }
        owners.push(OwnerNew {
            owner_id: (*owner).to_owned(),
            won,
            revenue,
            by_band,
        });
    }
    Created { owners, bands }
}

/// Amounts of created deals in bands of about equal number, rising; none is empty.
fn bands(recent: &[&BookDeal]) -> Vec<Arc<Vec<f64>>> {
    let mut amounts: Vec<f64> = recent.iter().map(|deal| deal.amount).collect();
    amounts.sort_by(f64::total_cmp);
    let size = amounts.len().div_ceil(BANDS).max(10);
    amounts.chunks(size).map(|band| Arc::new(band.to_vec())).collect()
}

/// How busy months and weekdays are for the creation of deals.
fn creation_calendar(deals: &[BookDeal], at: Timestamp, first: Timestamp) -> Calendar {
    let today = day_of(at);
    let begin = day_of(first).max(today - CALENDAR_DAYS);
    let mut counts = vec![0.0; (today - begin).max(0) as usize];
    for deal in deals {
        let day = day_of(deal.created) - begin;
        if let Some(count) = usize::try_from(day).ok().and_then(|day| counts.get_mut(day)) {
            *count += 1.0;
        }
    }
    let days: Vec<(i64, f64, f64)> = counts
        .iter()
        .enumerate()
        .map(|(day, count)| (begin + day as i64, 1.0, *count))
        .collect();
    Calendar::learn(&days)
}
