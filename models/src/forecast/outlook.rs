//! What does each method say of a period, from the deals as known at an instant?

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use revgauge_contract::{
    Timestamp,
    forecast::{DealOverlay, ForecastRow, ForecastRowKind},
    period::earlier,
};

use super::{
    BookDeal, Chance, DrawKey, NewDeals, Simulation, StageRates,
    close_dates::{CloseDate, close_dates},
    created::{Created, OwnerNew, created_deals},
    hazards::Hazards,
    history::History,
    revenue_series::seasonal,
    simulate,
    walk::{Span, Walks},
};
use crate::{
    directory::{Outcome, StageCatalogue},
    forecast::distribution::quantile,
};

/// The methods, in the order in which [`Outlook::values`] gives them.
pub const METHODS: [&str; 6] = [
    "category_roll_up",
    "stage_weighted",
    "time_aware",
    "hazard",
    "seasonal",
    "naive",
];
/// Place of the hazard method, whose addends are the rows.
pub(super) const HAZARD: usize = 3;

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
    pub values: [f64; METHODS.len()],
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

    /// Mean distance of the simulated revenue from its median.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        let median = self.quantile(0.5);
        let distances = self.draws.iter().map(|draw| (draw - median).abs());
        distances.sum::<f64>() / self.draws.len().max(1) as f64
    }
}

/// What the hazard expects of one owner, and what of it is drawn.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct OwnerExpected {
    /// Won so far within the period.
    pub(super) closed: f64,
    /// Expected of open deals.
    pub(super) open: f64,
    /// Expected of deals not yet created.
    pub(super) not_yet_created: f64,
    /// The open deals.
    pub(super) chances: Vec<Chance>,
    /// The deals not yet created.
    pub(super) new: Option<NewDeals>,
}

impl OwnerExpected {
    /// All revenue of the period.
    pub(super) fn all(&self) -> f64 {
        self.closed + self.open + self.not_yet_created
    }
}

/// Owners that count; all when absent.
pub(super) type Owners<'a> = Option<&'a BTreeSet<String>>;

/// The deals of some owners.
pub(super) fn owned<'a>(
    deals: &'a [BookDeal],
    owners: Owners<'a>,
) -> impl Iterator<Item = &'a BookDeal> + Clone {
    deals
        .iter()
        .filter(move |deal| owners.is_none_or(|owners| owners.contains(&deal.owner_id)))
}

/// Amount won in `[start, end)` among deals.
pub(super) fn won_in<'a>(deals: impl Iterator<Item = &'a BookDeal>, start: Timestamp, end: Timestamp) -> f64 {
    deals
        .filter(|deal| deal.outcome == Outcome::Won)
        .filter(|deal| deal.ended.is_some_and(|ended| start <= ended && ended < end))
        .map(|deal| deal.amount)
        .sum()
}

/// How the deals of one currency move and end, learnt from all that are known at an instant, and what that says of each
/// for a period, whoever is asked about.
#[derive(Debug)]
pub struct Learnt {
    deals: Arc<Vec<BookDeal>>,
    /// When the first deal of each owner was created.
    first_created: BTreeMap<String, Timestamp>,
    at: Timestamp,
    start: Timestamp,
    end: Timestamp,
    rates: StageRates,
    /// Probability of being won within the period, deal by deal; 0 where it has ended.
    probabilities: Vec<f64>,
    created: Created,
    ended: u32,
    /// When each open deal is won, if it is; only of the present.
    close_dates: Vec<Option<CloseDate>>,
}

impl Learnt {
    /// Learns from deals as known at `at`, for the period `[start, end)`. Cost: a few passes over their stage changes, and
    /// a walk over the days to the end of the period for each profile of deals.
    #[must_use]
    pub fn learn(
        deals: &Arc<Vec<BookDeal>>,
        catalogue: &StageCatalogue,
        at: Timestamp,
        period: (Timestamp, Timestamp),
    ) -> Self {
        Self::of(
            deals,
            catalogue,
            &Hazards::learn(deals, catalogue, at),
            at,
            period,
        )
    }

    /// As [`Learnt::learn`], with the expected close date of each open deal. Cost: beside that a walk of 540 days for each
    /// profile of deals.
    #[must_use]
    pub fn learn_with_dates(
        deals: &Arc<Vec<BookDeal>>,
        catalogue: &StageCatalogue,
        at: Timestamp,
        period: (Timestamp, Timestamp),
    ) -> Self {
        let hazards = Hazards::learn(deals, catalogue, at);
        Self {
            close_dates: close_dates(deals, &hazards, at),
            ..Self::of(deals, catalogue, &hazards, at, period)
        }
    }

    fn of(
        deals: &Arc<Vec<BookDeal>>,
        catalogue: &StageCatalogue,
        hazards: &Hazards,
        at: Timestamp,
        (start, end): (Timestamp, Timestamp),
    ) -> Self {
        let span = Span::new(at, start, end);
        let mut walks = Walks::new(hazards, span);
        let mut first_created: BTreeMap<String, Timestamp> = BTreeMap::new();
        for deal in deals.iter() {
            match first_created.get_mut(&deal.owner_id) {
                Some(first) => *first = deal.created.min(*first),
                None => {
                    first_created.insert(deal.owner_id.clone(), deal.created);
                }
            }
        }
        let probabilities = deals
            .iter()
            .map(|deal| {
                if deal.outcome != Outcome::Open {
                    return 0.0;
                }
                let entered = deal.path.last().map_or(deal.created, |(entered, _)| *entered);
                let profile = hazards.profile(&deal.owner_id, deal.amount, &deal.path);
                walks.open(profile, hazards.stage(&deal.stage), at.days_since(entered))
            })
            .collect();
        Self {
            first_created,
            at,
            start,
            end,
            rates: StageRates::learn(deals, catalogue, at),
            probabilities,
            created: created_deals(deals, hazards, &mut walks, at, span),
            ended: hazards.ended(),
            close_dates: Vec::new(),
            deals: Arc::clone(deals),
        }
    }

    /// The deals it speaks of.
    #[must_use]
    pub fn deals(&self) -> &[BookDeal] {
        &self.deals
    }

    /// Without what no outlook of the past reads: deals lost, the paths of all, and close dates. It says the same of revenue.
    #[must_use]
    pub fn kept_small(self) -> Self {
        let kept = self.deals.iter().zip(&self.probabilities);
        let (deals, probabilities) = kept
            .filter(|(deal, _)| deal.outcome != Outcome::Lost)
            .map(|(deal, probability)| {
                let deal = BookDeal {
                    path: Vec::new(),
                    ..deal.clone()
                };
                (deal, *probability)
            })
            .unzip::<_, _, Vec<BookDeal>, Vec<f64>>();
        Self {
            deals: Arc::new(deals),
            probabilities,
            close_dates: Vec::new(),
            ..self
        }
    }

    /// The forecast for some owners, with some open deals seen otherwise (what-if).
    ///
    /// ```text
    /// category_roll_up = closed + commit
    /// stage_weighted   = closed + sum over open deals to close in the period of amount * P(ever won | stage)
    /// time_aware       = closed + sum over open deals of amount * conversion(stage) + created later
    /// hazard           = closed + sum over open deals of amount * P(won in the period) + amounts created and won
    /// seasonal         = closed + the series of monthly revenue, as far as it lies ahead
    /// naive            = revenue of the last whole period of the same length
    /// ```
    /// `conversion` and `created later` are those of past periods after the same elapsed share ([`History`]). The hazard
    /// method's values of owners sum to that of all of them.
    #[must_use]
    pub fn outlook(
        &self,
        owners: Option<&BTreeSet<String>>,
        history: &History,
        simulation: Simulation,
        overlays: &Overlays<'_>,
    ) -> Outlook {
        let (start, end) = (self.start, self.end);
        let mut rows = Vec::new();
        let mut closed = 0.0;
        let mut open = Vec::new();
        let mut chances = Vec::new();
        let mut categories = [0.0; 4];
        let (mut weighted, mut converted) = (0.0, 0.0);
        let asked = |deal: &BookDeal| owners.is_none_or(|owners| owners.contains(&deal.owner_id));
        for (place, (deal, probability)) in self
            .deals
            .iter()
            .zip(&self.probabilities)
            .enumerate()
            .filter(|(_, (deal, _))| asked(deal))
        {
            match (deal.outcome, deal.ended) {
                (Outcome::Won, Some(ended)) if start <= ended && ended < end => {
                    closed += deal.amount;
                    rows.push(row(ForecastRowKind::Closed, deal, deal.amount, 1.0));
                }
                (Outcome::Open, _) => {
                    let seen = Seen::of(deal, *probability, overlays.get(deal.deal_id.as_str()).copied());
                    if seen.close_date.is_some_and(|close| start <= close && close < end) {
                        categories[place_of(&seen.category)] += seen.amount;
                        weighted += seen.amount
                            * self
                                .rates
                                .curve(&deal.stage)
                                .map_or(0.0, crate::win::curve::WinCurve::ever);
                    }
                    converted += seen.amount * history.conversion(&deal.stage);
                    chances.push(seen.chance(deal));
                    let date = self.close_dates.get(place).copied().flatten();
                    open.push(ForecastRow {
                        category: seen.category.into_owned(),
                        expected_close_p10: date.map(|date| date[0]),
                        expected_close: date.map(|date| date[1]),
                        expected_close_p90: date.map(|date| date[2]),
                        ..row(ForecastRowKind::Open, deal, seen.amount, seen.probability)
                    });
                }
                _ => {}
            }
        }
        open.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
        rows.append(&mut open);
        let creators = || {
            let asked = |owner: &&OwnerNew| owners.is_none_or(|owners| owners.contains(&owner.owner_id));
            self.created.owners.iter().filter(asked)
        };
        rows.extend(creators().filter(|owner| owner.won > 0.0).map(created_row));
        let expected = rows.iter().map(|row| row.contribution).sum();
        // Before any past period is known, the stage speaks without its time.
        let time_aware = if history.is_empty() {
            weighted
        } else {
            converted + history.created_later()
        };
        let new: Vec<NewDeals> = creators().map(|owner| self.created.of(owner)).collect();
        Outlook {
            closed,
            categories,
            values: [
                closed + categories[0],
                closed + weighted,
                closed + time_aware,
                expected,
                closed
                    + seasonal(
                        owned(&self.deals, owners),
                        self.first_created(owners),
                        self.at,
                        (start, end),
                    ),
                self.naive(owners),
            ],
            draws: simulate(closed, &chances, &new, simulation),
            rows,
            ended: self.ended,
        }
    }

    /// What the hazard expects of each owner's deals and deals not yet created; it sums to the hazard method's value.
    pub(super) fn expected_by_owner(
        &self,
        owners: Owners<'_>,
        overlays: &Overlays<'_>,
    ) -> BTreeMap<&str, OwnerExpected> {
        let mut by_owner: BTreeMap<&str, OwnerExpected> = BTreeMap::new();
        let asked = |owner: &str| owners.is_none_or(|owners| owners.contains(owner));
        let deals = self.deals.iter().zip(&self.probabilities);
        for (deal, probability) in deals.filter(|(deal, _)| asked(&deal.owner_id)) {
            let held = by_owner.entry(&deal.owner_id).or_default();
            match (deal.outcome, deal.ended) {
                (Outcome::Won, Some(ended)) if self.start <= ended && ended < self.end => {
                    held.closed += deal.amount;
                }
                (Outcome::Open, _) => {
                    let seen = Seen::of(deal, *probability, overlays.get(deal.deal_id.as_str()).copied());
                    held.open += seen.amount * seen.probability;
                    held.chances.push(seen.chance(deal));
                }
                _ => {}
            }
        }
        for owner in self.created.owners.iter().filter(|owner| asked(&owner.owner_id)) {
            let held = by_owner.entry(&owner.owner_id).or_default();
            held.not_yet_created += owner.revenue;
            held.new = Some(self.created.of(owner));
        }
        by_owner
    }

    fn first_created(&self, owners: Owners<'_>) -> Option<Timestamp> {
        let firsts = self.first_created.iter();
        firsts
            .filter(|(owner, _)| owners.is_none_or(|owners| owners.contains(*owner)))
            .map(|(_, first)| *first)
            .min()
    }

    /// Revenue of the last whole period that is over: one before this, or more when this is far ahead.
    fn naive(&self, owners: Owners<'_>) -> f64 {
        let length = self.end.0 - self.start.0;
        let back = (self.end.0 - self.at.0 + length - 1)
            .div_euclid(length.max(1))
            .max(1);
        let (start, end) = earlier(self.start, self.end, back);
        won_in(owned(&self.deals, owners), start, end)
    }
}

/// Deals to see otherwise, by id.
pub(super) type Overlays<'a> = BTreeMap<&'a str, &'a DealOverlay>;

/// Categories that a deal can be seen in, as the book spells them.
pub(super) const CATEGORIES: [&str; 4] = ["commit", "best case", "pipeline", "omitted"];

/// A category as the book spells it.
pub(super) fn spelled(category: &str) -> String {
    category.trim().to_lowercase().replace(['_', '-'], " ")
}

/// An open deal as it is, or as a what-if question sees it. The book itself stays: it teaches the rates.
struct Seen<'a> {
    amount: f64,
    probability: f64,
    category: Cow<'a, str>,
    close_date: Option<Timestamp>,
}

impl<'a> Seen<'a> {
    fn of(deal: &'a BookDeal, probability: f64, overlay: Option<&DealOverlay>) -> Self {
        let category = overlay.and_then(|overlay| overlay.category.as_deref());
        Self {
            amount: overlay.and_then(|overlay| overlay.amount).unwrap_or(deal.amount),
            probability: overlay
                .and_then(|overlay| overlay.probability)
                .unwrap_or(probability),
            category: category.map_or(Cow::Borrowed(deal.category.as_str()), |category| {
                Cow::Owned(spelled(category))
            }),
            close_date: overlay.and_then(|overlay| overlay.close_date).or(deal.close_date),
        }
    }

    /// It in the simulation.
    fn chance(&self, deal: &BookDeal) -> Chance {
        Chance {
            key: DrawKey::of_deal(&deal.deal_id),
            amount: self.amount,
            probability: self.probability,
        }
    }
}

/// Place of an open deal's category: commit, best case, pipeline, omitted.
fn place_of(category: &str) -> usize {
    match category {
        "commit" => 0,
        "best case" | "bestcase" => 1,
        "omitted" => 3,
        _ => 2,
    }
}

fn created_row(owner: &OwnerNew) -> ForecastRow {
    ForecastRow {
        kind: ForecastRowKind::NotYetCreated,
        deal_id: String::new(),
        owner_id: owner.owner_id.clone(),
        stage: String::new(),
        category: String::new(),
        amount: owner.revenue / owner.won,
        probability: owner.won,
        contribution: owner.revenue,
        expected_close: None,
        expected_close_p10: None,
        expected_close_p90: None,
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
        expected_close: None,
        expected_close_p10: None,
        expected_close_p90: None,
    }
}
