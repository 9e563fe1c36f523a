//! How do deals of this tenant move and end? Daily hazards of advancing and of being lost, by stage, time in it, owner,
//! size, pace so far and calendar.
//!
//! A discrete-time competing-risk model (Tutz and Schmid 2016, ch. 8) with proportional factors, fitted in one pass over
//! the deals and a few rounds of proportional fitting:
//!
//! ```text
//! hazard(kind, deal, day) = rate(kind, stage) * age(kind, stage, days in it) * owner(kind) * size(kind) * pace(kind)
//!                           * calendar(day)
//! ```
//! The pace is how long the stages before took, against the usual: a deal that came fast goes on fast, because what drives
//! it stays (frailty).
//! An advance goes to another stage or to won, by the shares seen from that stage. Open deals count with their time so
//! far, so censoring biases nothing. Every factor is shrunk towards 1 by what its levels scatter beyond chance
//! ([`shrunk`]), every rate towards that of all stages, and that towards a prior, so there is no cliff (N-24).

use std::collections::BTreeMap;

use hashbrown::HashMap;
use revgauge_contract::Timestamp;

use super::{
    BookDeal,
    calendar::{Calendar, day_of, shrunk},
};
use crate::directory::{Outcome, StageCatalogue};

/// Deal-days that the rates over all stages weigh within the rates of one stage.
const POOL_DAYS: f64 = 60.0;
/// Deal-days that the assumption of nothing known weighs within the rates over all stages.
const PRIOR_DAYS: f64 = 90.0;
/// Days a deal lasts when nothing is known.
const PRIOR_CYCLE_DAYS: f64 = 90.0;
/// Win rate when nothing is known and the stage catalogue says nothing.
const PRIOR_WIN_RATE: f64 = 0.2;
/// First day in a stage of each age band.
pub(super) const AGES: [f64; 6] = [0.0, 7.0, 14.0, 30.0, 60.0, 120.0];
/// Bands of size, by quantiles of the amount.
const SIZES: usize = 5;
/// Bands of pace: stages before took below half the usual time, below it, below twice it, longer. The first is that of
/// deals in their first stage, of which nothing is known.
const PACES: usize = 5;
/// Days looked back.
const MEMORY_DAYS: i64 = 1_100;
/// Rounds of proportional fitting.
const ROUNDS: usize = 8;

/// Where an advance leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// To another stage, by its place.
    Stage(usize),
    /// To won.
    Won,
}

/// One kind of leaving a stage.
#[derive(Debug, Clone, Default, PartialEq)]
struct Leaving {
    /// Per day, by stage and age band.
    rates: Vec<[f64; AGES.len()]>,
    owners: Vec<f64>,
    sizes: Vec<f64>,
    paces: Vec<f64>,
}

/// Factors of a deal beyond its stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Profile {
    /// On the hazard of advancing.
    pub advance: f64,
    /// On the hazard of being lost.
    pub lost: f64,
}

/// What was learnt.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hazards {
    stages: BTreeMap<String, usize>,
    owners: BTreeMap<String, usize>,
    size_edges: Vec<f64>,
    usual_days: f64,
    advance: Leaving,
    lost: Leaving,
    onward: Vec<Vec<(Target, f64)>>,
    entries: Vec<f64>,
    calendar: Calendar,
    ended: u32,
}

/// Places of stage, age band, owner, size and pace.
type Place = [u32; 5];
/// Deal-days of equal factors: exposure, advances, losses.
type Cell = (Place, [f64; 3]);

impl Hazards {
    /// Learns from the deals as known at `at`. Cost: a few passes over their stage changes.
    #[must_use]
    pub(super) fn learn(deals: &[BookDeal], catalogue: &StageCatalogue, at: Timestamp) -> Self {
        let mut stages: BTreeMap<String, usize> = BTreeMap::from([(String::new(), 0)]);
        let mut owners: BTreeMap<String, usize> = BTreeMap::new();
        for deal in deals {
            for (_, stage) in &deal.path {
                stages.insert(stage.clone(), 0);
            }
            owners.insert(deal.owner_id.clone(), 0);
        }
        for (place, held) in stages.values_mut().enumerate() {
            *held = place;
        }
        for (place, held) in owners.values_mut().enumerate() {
            *held = place;
        }
        let mut hazards = Self {
            size_edges: size_edges(deals),
            usual_days: usual_days(deals),
            advance: Leaving::default(),
            lost: Leaving::default(),
            onward: Vec::new(),
            entries: vec![0.0; stages.len()],
            calendar: move_calendar(deals, at),
            ended: deals.iter().filter(|deal| deal.outcome != Outcome::Open).count() as u32,
            stages,
            owners,
        };
        let (cells, moves) = hazards.cells(deals, at);
        hazards.fit(&cells, &moves, catalogue);
        hazards
    }

    /// Deals that ended, of those learnt from.
    #[must_use]
    pub(super) const fn ended(&self) -> u32 {
        self.ended
    }

    /// Number of stages.
    #[must_use]
    pub(super) fn stages(&self) -> usize {
        self.stages.len()
    }

    /// Place of a stage; of a stage never seen, that of all stages together.
    #[must_use]
    pub(super) fn stage(&self, name: &str) -> usize {
        self.stages
            .get(name)
            .or_else(|| self.stages.get(""))
            .copied()
            .unwrap_or(0)
    }

    /// Share of deals that begin in each stage.
    #[must_use]
    pub(super) fn entries(&self) -> &[f64] {
        &self.entries
    }

    /// The factor of a day on every hazard.
    #[must_use]
    pub(super) fn calendar(&self, day: i64) -> f64 {
        self.calendar.factor(day)
    }

    /// The factors of an owner, an amount and the path so far; 1 for an owner never seen.
    #[must_use]
    pub(super) fn profile(&self, owner_id: &str, amount: f64, path: &[(Timestamp, String)]) -> Profile {
        let size = self.size(amount);
        let pace = self.pace(path, path.len().saturating_sub(1));
        let of = |leaving: &Leaving| {
            let owner = self
                .owners
                .get(owner_id)
                .and_then(|place| leaving.owners.get(*place));
            let factor = |factors: &[f64], place: usize| factors.get(place).copied().unwrap_or(1.0);
            owner.copied().unwrap_or(1.0) * factor(&leaving.sizes, size) * factor(&leaving.paces, pace)
        };
        Profile {
            advance: of(&self.advance),
            lost: of(&self.lost),
        }
    }

    /// Hazards per day of advancing and of being lost in a stage after so many days in it, before profile and calendar.
    #[must_use]
    pub(super) fn rates(&self, stage: usize, days: f64) -> (f64, f64) {
        let age = age_band(days);
        let of = |leaving: &Leaving| leaving.rates.get(stage).map_or(0.0, |rates| rates[age]);
        (of(&self.advance), of(&self.lost))
    }

    /// Where advances from a stage lead, with their shares.
    #[must_use]
    pub(super) fn onward(&self, stage: usize) -> &[(Target, f64)] {
        self.onward.get(stage).map_or(&[], Vec::as_slice)
    }

    /// Band of an amount.
    fn size(&self, amount: f64) -> usize {
        self.size_edges.partition_point(|edge| *edge <= amount)
    }

    /// Band of the pace of a path's stages before the one at a place.
    fn pace(&self, path: &[(Timestamp, String)], place: usize) -> usize {
        match (path.first(), path.get(place)) {
            (Some(first), Some(now)) if place > 0 => {
                let ratio = now.0.days_since(first.0) / place as f64 / self.usual_days;
                1 + [0.5, 1.0, 2.0].iter().filter(|edge| ratio >= **edge).count()
            }
            _ => 0,
        }
    }

    /// Exposure and counts by cell, and the advances from each stage by target.
    fn cells(&mut self, deals: &[BookDeal], at: Timestamp) -> (Vec<Cell>, Vec<BTreeMap<Target, f64>>) {
        let first = day_of(at) - MEMORY_DAYS;
        let busy = Cumulated::new(&self.calendar, first, MEMORY_DAYS as usize + 2);
        let mut cells: HashMap<Place, [f64; 3]> = HashMap::new();
        let mut moves = vec![BTreeMap::new(); self.stages.len()];
        for deal in deals {
            let end = deal.ended.unwrap_or(at).min(at);
            let owner = self.owners.get(&deal.owner_id).copied().unwrap_or(0);
            let size = self.size(deal.amount);
            if let Some((_, entry)) = deal.path.first() {
                let place = self.stage(entry);
                self.entries[place] += 1.0;
            }
            for (place, (entered, stage)) in deal.path.iter().enumerate() {
                let stage = self.stage(stage);
                let pace = self.pace(&deal.path, place);
                let cell = |age: usize| [stage, age, owner, size, pace].map(|place| place as u32);
                let next = deal.path.get(place + 1);
                let left = next.map_or(end, |(left, _)| *left).max(*entered);
                let days = left.days_since(*entered);
                for (age, from) in AGES.iter().enumerate() {
                    let to = AGES.get(age + 1).copied().unwrap_or(f64::INFINITY).min(days);
                    if to <= *from && !(age == 0 && days == 0.0) {
                        break;
                    }
                    let exposure = busy.between(*entered, *from, to);
                    cells.entry(cell(age)).or_default()[0] += exposure;
                }
                if day_of(left) < first {
                    continue;
                }
                let target = match (next, deal.outcome) {
                    (Some((_, onward)), _) => Some(Target::Stage(self.stage(onward))),
                    (None, Outcome::Won) => Some(Target::Won),
                    (None, Outcome::Lost) => None,
                    (None, Outcome::Open) => continue,
                };
                let counts = cells.entry(cell(age_band(days))).or_default();
                match target {
                    Some(target) => {
                        counts[1] += 1.0;
                        *moves[stage].entry(target).or_default() += 1.0;
                    }
                    None => counts[2] += 1.0,
                }
            }
        }
        let begun: f64 = self.entries.iter().sum();
        if begun > 0.0 {
            self.entries.iter_mut().for_each(|entry| *entry /= begun);
        } else {
            self.entries[0] = 1.0;
        }
        // In order, so that sums are the same bits each time.
        let mut cells: Vec<Cell> = cells.into_iter().collect();
        cells.sort_unstable_by_key(|(place, _)| *place);
        (cells, moves)
    }

    fn fit(&mut self, cells: &[Cell], moves: &[BTreeMap<Target, f64>], catalogue: &StageCatalogue) {
        let names: Vec<&String> = self.stages.keys().collect();
        let exposure: f64 = cells.iter().map(|(_, held)| held[0]).sum::<f64>() + PRIOR_DAYS;
        let wins: f64 = moves.iter().filter_map(|to| to.get(&Target::Won)).sum();
        let advances: f64 = moves.iter().flat_map(BTreeMap::values).sum();
        let losses: f64 = cells.iter().map(|(_, held)| held[2]).sum();
        let prior = |share: f64| PRIOR_DAYS * share / PRIOR_CYCLE_DAYS;
        let pooled_won = (wins + prior(PRIOR_WIN_RATE)) / exposure;
        let pooled_lost = (losses + prior(1.0 - PRIOR_WIN_RATE)) / exposure;
        let pooled_onward = (advances - wins) / exposure;
        let ending = pooled_won + pooled_lost;
        let mut priors = Vec::new();
        let mut onward = Vec::new();
        for (place, name) in names.iter().enumerate() {
            // Where the catalogue maps a probability to the stage, it splits the usual rate of ending; else the pool does.
            let mapped = catalogue.stage(name).and_then(|stage| stage.probability);
            let won = mapped.map_or(pooled_won, |p| p.clamp(0.0, 1.0) * ending);
            let next = next_stage(name, &names, catalogue);
            let on = if next.is_some() { pooled_onward } else { 0.0 };
            priors.push((won + on, ending - won));
            let mut targets = moves[place].clone();
            *targets.entry(Target::Won).or_default() += POOL_DAYS * won;
            if let Some(next) = next {
                *targets.entry(Target::Stage(next)).or_default() += POOL_DAYS * on;
            }
            let total: f64 = targets.values().sum();
            onward.push(
                targets
                    .into_iter()
                    .map(|(target, count)| (target, if total > 0.0 { count / total } else { 0.0 }))
                    .collect(),
            );
        }
        let sizes = (self.owners.len(), self.size_edges.len() + 1);
        let advance: Vec<f64> = priors.iter().map(|prior| prior.0).collect();
        let lost: Vec<f64> = priors.iter().map(|prior| prior.1).collect();
        self.advance = fit_leaving(cells, 1, &advance, sizes);
        self.lost = fit_leaving(cells, 2, &lost, sizes);
        self.onward = onward;
    }
}

/// The stage that the catalogue puts after one, where it is known to the deals.
fn next_stage(name: &str, names: &[&String], catalogue: &StageCatalogue) -> Option<usize> {
    let order = catalogue.stage(name)?.order?;
    let later = names.iter().enumerate().filter_map(|(place, other)| {
        let stage = catalogue.stage(other)?;
        let after = stage.order.filter(|after| *after > order)?;
        (stage.outcome == Outcome::Open).then_some((place, after))
    });
    later.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(place, _)| place)
}

/// Proportional fitting of one kind of leaving: each factor in turn given the others.
fn fit_leaving(cells: &[Cell], kind: usize, priors: &[f64], (owners, sizes): (usize, usize)) -> Leaving {
    let mut fitted = Leaving {
        rates: priors.iter().map(|prior| [*prior; AGES.len()]).collect(),
        owners: vec![1.0; owners],
        sizes: vec![1.0; sizes],
        paces: vec![1.0; PACES],
    };
    let mut stages = priors.to_vec();
    let mut ages = vec![[1.0; AGES.len()]; priors.len()];
    for _ in 0..ROUNDS {
        let beyond = |fitted: &Leaving, place: &Place| {
            fitted.owners[place[2] as usize]
                * fitted.sizes[place[3] as usize]
                * fitted.paces[place[4] as usize]
        };
        let mut held = vec![(0.0, 0.0); priors.len()];
        for (place, counts) in cells {
            let exposure = counts[0] * ages[place[0] as usize][place[1] as usize] * beyond(&fitted, place);
            add(&mut held, place[0], counts[kind], exposure);
        }
        for (stage, (count, exposure)) in held.iter().enumerate() {
            stages[stage] = (count + POOL_DAYS * priors[stage]) / (exposure + POOL_DAYS);
        }
        let mut by_age = vec![[(0.0, 0.0); AGES.len()]; priors.len()];
        for (place, counts) in cells {
            let expected = counts[0] * stages[place[0] as usize] * beyond(&fitted, place);
            add(&mut by_age[place[0] as usize], place[1], counts[kind], expected);
        }
        for (stage, levels) in by_age.iter().enumerate() {
            for (age, factor) in shrunk(levels).into_iter().enumerate() {
                ages[stage][age] = factor;
            }
        }
        for (stage, rates) in fitted.rates.iter_mut().enumerate() {
            *rates = std::array::from_fn(|age| stages[stage] * ages[stage][age]);
        }
        for (group, length) in [(2, owners), (3, sizes), (4, PACES)] {
            let mut levels = vec![(0.0, 0.0); length];
            let factors = |fitted: &Leaving, at: usize| match at {
                2 => fitted.owners.clone(),
                3 => fitted.sizes.clone(),
                _ => fitted.paces.clone(),
            };
            let own = factors(&fitted, group);
            for (place, counts) in cells {
                let rate = fitted.rates[place[0] as usize][place[1] as usize];
                let others = beyond(&fitted, place) / own[place[group] as usize];
                add(&mut levels, place[group], counts[kind], counts[0] * rate * others);
            }
            if group == 4 {
                // Deals in their first stage have no pace: their factor is that of the stage.
                levels[0] = (0.0, 0.0);
            }
            let factors = shrunk(&levels);
            match group {
                2 => fitted.owners = factors,
                3 => fitted.sizes = factors,
                _ => fitted.paces = factors,
            }
        }
    }
    fitted
}

fn add(levels: &mut [(f64, f64)], place: u32, count: f64, expected: f64) {
    let level = &mut levels[place as usize];
    *level = (level.0 + count, level.1 + expected);
}

/// Mean days of a stage that was left for another, at least 1.
fn usual_days(deals: &[BookDeal]) -> f64 {
    let (mut days, mut stays) = (0.0, 0.0);
    for deal in deals {
        if let (Some(first), Some(last)) = (deal.path.first(), deal.path.last()) {
            days += last.0.days_since(first.0).max(0.0);
            stays += (deal.path.len() - 1) as f64;
        }
    }
    if stays > 0.0 {
        (days / stays).max(1.0)
    } else {
        30.0
    }
}

fn age_band(days: f64) -> usize {
    AGES.partition_point(|from| *from <= days.max(0.0))
        .saturating_sub(1)
}

/// Edges between the bands of size: quantiles of the amounts, each once.
fn size_edges(deals: &[BookDeal]) -> Vec<f64> {
    let mut amounts: Vec<f64> = deals.iter().map(|deal| deal.amount).collect();
    amounts.sort_by(f64::total_cmp);
    if amounts.len() < 10 * SIZES {
        return Vec::new();
    }
    let mut edges: Vec<f64> = (1..SIZES)
        .map(|band| amounts[band * amounts.len() / SIZES])
        .collect();
    edges.dedup();
    edges
}

/// How busy months and weekdays are for moves of open deals.
fn move_calendar(deals: &[BookDeal], at: Timestamp) -> Calendar {
    let last = day_of(at);
    let first = last - MEMORY_DAYS;
    let length = (MEMORY_DAYS + 2) as usize;
    let place = |at: Timestamp| (day_of(at).clamp(first, last + 1) - first) as usize;
    let mut steps = vec![0.0; length];
    let mut counts = vec![0.0; length];
    for deal in deals {
        let begun = deal.path.first().map_or(deal.created, |(entered, _)| *entered);
        let end = deal.ended.unwrap_or(at).min(at);
        if begun > end || day_of(end) < first {
            continue;
        }
        // The day on which it ends counts whole, the day on which it begins too.
        steps[place(begun)] += 1.0;
        steps[(place(end) + 1).min(length - 1)] -= 1.0;
        for (moved, _) in deal.path.iter().skip(1) {
            if day_of(*moved) >= first && *moved <= at {
                counts[place(*moved)] += 1.0;
            }
        }
        if deal.ended.is_some_and(|ended| ended <= at) {
            counts[place(end)] += 1.0;
        }
    }
    let mut open = 0.0;
    let days: Vec<(i64, f64, f64)> = (0..length - 1)
        .map(|index| {
            open += steps[index];
            (first + index as i64, open, counts[index])
        })
        .collect();
    Calendar::learn(&days)
}

/// Sums of a calendar's factors, for spans in constant time.
struct Cumulated {
    first: i64,
    sums: Vec<f64>,
}

impl Cumulated {
    fn new(calendar: &Calendar, first: i64, days: usize) -> Self {
        let mut sums = Vec::with_capacity(days + 1);
        let mut sum = 0.0;
        sums.push(sum);
        for day in 0..days {
            sum += calendar.factor(first + day as i64);
            sums.push(sum);
        }
        Self { first, sums }
    }

    fn until(&self, days: f64) -> f64 {
        let last = (self.sums.len() - 1) as f64;
        let days = days.clamp(0.0, last);
        let whole = (days.floor() as usize).min(self.sums.len() - 2);
        self.sums[whole] + (self.sums[whole + 1] - self.sums[whole]) * (days - whole as f64)
    }

    /// Sum over `[start + from, start + to)` days, as far as it is remembered.
    fn between(&self, start: Timestamp, from: f64, to: f64) -> f64 {
        let origin = start.micros() as f64 / revgauge_contract::time::DAY_US as f64 - self.first as f64;
        (self.until(origin + to) - self.until(origin + from)).max(0.0)
    }
}
