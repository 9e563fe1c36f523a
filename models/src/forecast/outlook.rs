//! What does each method say of a period, from the deals as known at an instant?

use revgauge_contract::{
    Timestamp,
    forecast::{ForecastRow, ForecastRowKind},
};

use super::{BookDeal, Chance, NewDeals, Simulation, StageRates, simulate};
use crate::{
    directory::{Outcome, StageCatalogue},
    forecast::distribution::quantile,
};

/// The methods, in the order in which [`Outlook::values`] gives them.
pub const METHODS: [&str; 4] = ["category_roll_up", "stage_weighted", "hazard", "naive"];
/// Days looked back for the rate of creation.
const CREATION_DAYS: f64 = 180.0;
/// Parts into which the rest of the period is cut for the integral over creation times.
const PARTS: usize = 26;

/// What all methods say of one period in one currency.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// Won so far within the period.
    pub closed: f64,
    /// Open in the period by category: commit, best case, pipeline, omitted.
    pub categories: [f64; 4],
    /// Addends of the hazard method's mean.
    pub rows: Vec<ForecastRow>,
    /// Value by method.
    pub values: [f64; 4],
    /// Simulated revenue, rising.
    pub draws: Vec<f64>,
    /// Ended deals learnt from.
    pub ended: u32,
}

impl Outlook {
    /// Simulated revenue at a probability.
    #[must_use]
    pub fn quantile(&self, probability: f64) -> f64 {
        quantile(&self.draws, probability)
    }
}

/// Amount won in `[start, end)` among deals.
pub(super) fn won_in(deals: &[BookDeal], start: Timestamp, end: Timestamp) -> f64 {
    deals
        .iter()
        .filter(|deal| deal.outcome == Outcome::Won)
        .filter(|deal| deal.ended.is_some_and(|ended| start <= ended && ended < end))
        .map(|deal| deal.amount)
        .sum()
}

/// The forecast of `[start, end)` from deals of one currency as known at `at`. `adjust` may change amount and
/// probability of an open deal (what-if).
///
/// ```text
/// expected = closed + sum(amount * won_by(end - at)) + mean amount * rate * integral of new_won_by(end - t) dt
/// ```
#[must_use]
pub fn outlook(
    deals: &[BookDeal],
    catalogue: &StageCatalogue,
    at: Timestamp,
    (start, end): (Timestamp, Timestamp),
    simulation: Simulation,
    adjust: impl Fn(&str, f64, f64) -> (f64, f64),
) -> Outlook {
    let rates = StageRates::learn(deals, catalogue, at);
    let mut rows = Vec::new();
    let mut closed = 0.0;
    let mut open = Vec::new();
    let mut chances = Vec::new();
    let mut categories = [0.0; 4];
    let mut weighted = 0.0;
    let left_days = end.days_since(at).max(0.0);
    // Of a period yet to begin, what is won before its start does not count.
    let wait_days = start.days_since(at).max(0.0);
    let within =
        |curve: &crate::win::curve::WinCurve| (curve.won_by(left_days) - curve.won_by(wait_days)).max(0.0);
    for deal in deals {
        match (deal.outcome, deal.ended) {
            (Outcome::Won, Some(ended)) if start <= ended && ended < end => {
                closed += deal.amount;
                rows.push(row(ForecastRowKind::Closed, deal, deal.amount, 1.0));
            }
            (Outcome::Open, _) => {
                let curve = rates.curve(&deal.stage);
                let (amount, probability) = adjust(&deal.deal_id, deal.amount, curve.map_or(0.0, within));
                if deal.close_date.is_some_and(|close| start <= close && close < end) {
                    let category = match deal.category.as_str() {
                        "commit" => 0,
                        "best case" | "bestcase" => 1,
                        "omitted" => 3,
                        _ => 2,
                    };
                    categories[category] += amount;
                    weighted += amount * curve.map_or(0.0, crate::win::curve::WinCurve::ever);
                }
                chances.push(Chance { amount, probability });
                open.push(row(ForecastRowKind::Open, deal, amount, probability));
            }
            _ => {}
        }
    }
    open.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
    rows.append(&mut open);
    let new = new_deals(deals, &rates, at, wait_days, left_days);
    if new.expected > 0.0 && !new.amounts.is_empty() {
        let amount = new.amounts.iter().sum::<f64>() / new.amounts.len() as f64;
        rows.push(ForecastRow {
            kind: ForecastRowKind::NotYetCreated,
            deal_id: String::new(),
            owner_id: String::new(),
            stage: String::new(),
            category: String::new(),
            amount,
            probability: new.expected,
            contribution: amount * new.expected,
        });
    }
    let expected = rows.iter().map(|row| row.contribution).sum();
    let length = end.0 - start.0;
    // The last whole period that is over: one before this, or more when this is far ahead.
    let back = (end.0 - at.0 + length - 1).div_euclid(length.max(1)).max(1);
    let naive = won_in(
        deals,
        start.plus_micros(-back * length),
        end.plus_micros(-back * length),
    );
    Outlook {
        closed,
        categories,
        values: [closed + categories[0], closed + weighted, expected, naive],
        draws: simulate(closed, &chances, &new, simulation),
        rows,
        ended: rates.ended(),
    }
}

fn row(kind: ForecastRowKind, deal: &BookDeal, amount: f64, probability: f64) -> ForecastRow {
    ForecastRow {
        kind,
        deal_id: deal.deal_id.clone(),
        owner_id: deal.owner_id.clone(),
        stage: deal.stage.clone(),
        category: deal.category.clone(),
        amount,
        probability,
        contribution: amount * probability,
    }
}

/// Deals that will be created after `at` and won within the period, at the rate of the last half year (or of the time
/// since the first deal, when that is shorter, and at least 30 days).
fn new_deals(
    deals: &[BookDeal],
    rates: &StageRates,
    at: Timestamp,
    wait_days: f64,
    left_days: f64,
) -> NewDeals {
    let Some(first) = deals.iter().map(|deal| deal.created).min() else {
        return NewDeals::default();
    };
    let days = at.days_since(first).clamp(30.0, CREATION_DAYS);
    let amounts: Vec<f64> = deals
        .iter()
        .filter(|deal| (0.0..=days).contains(&at.days_since(deal.created)))
        .map(|deal| deal.amount)
        .collect();
    let part = left_days / PARTS as f64;
    let won: f64 = (0..PARTS)
        .map(|place| (place as f64 + 0.5) * part)
        .map(|born| rates.new_won_by(left_days - born) - rates.new_won_by(wait_days - born))
        .sum();
    NewDeals {
        expected: (amounts.len() as f64 / days * won * part).max(0.0),
        amounts,
    }
}
