//! Which kinds of touch earned what was won? Six models of attribution over the same journeys (EC-11, EC-30).
//!
//! A journey is one closed deal and the kinds of touch its account had before the close, in the order in which each kind
//! first came. Every model hands out exactly what the won journeys with at least one touch were worth, per currency.
//!
//! | model | a won journey's worth goes to |
//! | --- | --- |
//! | first, last | the kind that came first, the kind that was used last |
//! | linear | each kind alike |
//! | position | 40 % first, 40 % last, 20 % alike to those between; halves of two |
//! | time decay | each kind by `2^(-age / 7 days)`, age from its last use to the close |
//! | Markov | all won worth, by removal effect `1 - p(won without the kind) / p(won)` of a first-order chain over all closed journeys (Anderl et al. 2016, "Mapping the customer journey") |
//! | Shapley | all won worth, by the kind's Shapley value in the game `v(S) = won(S) / (closed(S) + 5)` over journeys whose kinds all lie in `S` (after Dalessandro et al. 2012); a kind that goes with losing gets a negative share |

use std::collections::BTreeMap;

use revgauge_contract::{
    Timestamp,
    reports::{AttributedCredit, AttributionModel},
    time::DAY_US,
};

/// Half-life of a touch in the time-decay model, days: the default of the common web analytics tools.
pub(super) const TOUCH_HALF_LIFE_DAYS: f64 = 7.0;
/// Lost journeys assumed for each set of kinds, so that a rate of few journeys counts for little.
const ASSUMED_LOST: f64 = 5.0;
/// Kinds told apart; the rarest beyond it become one kind. Bounds Shapley at `2^n n` steps and Markov at `n^4`.
pub(super) const MOST_KINDS: usize = 14;
/// Name of the kinds beyond [`MOST_KINDS`].
pub(super) const OTHER_KINDS: &str = "other";

/// A kind of touch of one journey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// Event type.
    pub kind: String,
    /// When it first came.
    pub first: Timestamp,
    /// When it was last used before the close.
    pub last: Timestamp,
}

/// A closed deal and what touched its account before.
#[derive(Debug, Clone, PartialEq)]
pub struct Journey {
    /// Won, else lost.
    pub won: bool,
    /// Currency, empty where unknown.
    pub currency: String,
    /// What it was worth; counts only where won.
    pub amount: f64,
    /// When it closed.
    pub closed: Timestamp,
    /// Each kind once, in any order.
    pub touches: Vec<Touch>,
}

/// Credit by currency, then most credited kind. Journeys without a touch are left out. Pure; cost: a pass over the
/// journeys, for Shapley and Markov also the bounds of [`MOST_KINDS`].
#[must_use]
pub fn attribute(journeys: &[Journey], model: AttributionModel) -> Vec<AttributedCredit> {
    let journeys = numbered(journeys);
    let mut held: BTreeMap<(&str, usize), (f64, f64, usize)> = BTreeMap::new();
    let common = match model {
        AttributionModel::Markov => Some(markov_shares(&journeys)),
        AttributionModel::Shapley => Some(shapley_shares(&journeys)),
        _ => None,
    };
    for journey in journeys.paths.iter().filter(|path| path.won) {
        for step in &journey.steps {
            held.entry((journey.currency, step.kind)).or_default().2 += 1;
        }
        let shares = common.clone().unwrap_or_else(|| own_shares(journey, model));
        for (kind, share) in shares {
            let credit = held.entry((journey.currency, kind)).or_default();
            credit.0 += share;
            credit.1 += share * journey.amount;
        }
    }
    let mut credits: Vec<AttributedCredit> = held
        .into_iter()
        .map(|((currency, kind), (deals, amount, touched))| AttributedCredit {
            kind: journeys.kinds[kind].clone(),
            currency: currency.to_owned(),
            touched_deals: touched,
            deals,
            amount,
        })
        .collect();
    credits.sort_by(|a, b| {
        (a.currency.cmp(&b.currency))
            .then_with(|| b.amount.total_cmp(&a.amount))
            .then_with(|| a.kind.cmp(&b.kind))
    });
    credits
}

/// One step of a path.
struct Step {
    kind: usize,
    last: Timestamp,
}

/// A journey with its kinds by number, in order of first use.
struct Path<'a> {
    won: bool,
    currency: &'a str,
    amount: f64,
    closed: Timestamp,
    steps: Vec<Step>,
}

struct Paths<'a> {
    kinds: Vec<String>,
    paths: Vec<Path<'a>>,
}

/// Gives the commonest kinds a number each and joins the others.
fn numbered(journeys: &[Journey]) -> Paths<'_> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for touch in journeys.iter().flat_map(|journey| &journey.touches) {
        *counts.entry(&touch.kind).or_default() += 1;
    }
    let mut common: Vec<(&str, usize)> = counts.into_iter().collect();
    common.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let kept = if common.len() > MOST_KINDS {
        MOST_KINDS - 1
    } else {
        common.len()
    };
    let mut kinds: Vec<String> = common[..kept]
        .iter()
        .map(|(kind, _)| (*kind).to_owned())
        .collect();
    let numbers: BTreeMap<&str, usize> = common[..kept]
        .iter()
        .enumerate()
        .map(|(number, (kind, _))| (*kind, number))
        .collect();
    if kept < common.len() {
        kinds.push(OTHER_KINDS.to_owned());
    }
    let paths = journeys
        .iter()
        .filter(|journey| !journey.touches.is_empty())
        .map(|journey| {
            let mut touches: Vec<&Touch> = journey.touches.iter().collect();
            touches.sort_by(|a, b| (a.first, &a.kind).cmp(&(b.first, &b.kind)));
            let mut steps: Vec<Step> = Vec::new();
            for touch in touches {
                let kind = numbers.get(&*touch.kind).copied().unwrap_or(kept);
                match steps.iter_mut().find(|step| step.kind == kind) {
                    Some(step) => step.last = step.last.max(touch.last),
                    None => steps.push(Step {
                        kind,
                        last: touch.last,
                    }),
                }
            }
            Path {
                won: journey.won,
                currency: &journey.currency,
                amount: journey.amount,
                closed: journey.closed,
                steps,
            }
        })
        .collect();
    Paths { kinds, paths }
}

/// Shares of one journey, which sum to 1.
fn own_shares(path: &Path<'_>, model: AttributionModel) -> Vec<(usize, f64)> {
    let count = path.steps.len();
    let by = |weight: &dyn Fn(usize, &Step) -> f64| -> Vec<(usize, f64)> {
        let weights: Vec<f64> = path
            .steps
            .iter()
            .enumerate()
            .map(|(at, step)| weight(at, step))
            .collect();
        let sum: f64 = weights.iter().sum();
        path.steps
            .iter()
            .zip(weights)
            .map(|(step, weight)| (step.kind, weight / sum))
            .collect()
    };
    match model {
        AttributionModel::First => by(&|at, _| f64::from(u8::from(at == 0))),
        AttributionModel::Last => {
            let mut latest = 0;
            for (at, step) in path.steps.iter().enumerate() {
                if step.last >= path.steps[latest].last {
                    latest = at;
                }
            }
            by(&|at, _| f64::from(u8::from(at == latest)))
        }
        AttributionModel::Position => by(&|at, _| match count {
            1 | 2 => 1.0,
            _ if at == 0 || at == count - 1 => 0.4,
            _ => 0.2 / (count - 2) as f64,
        }),
        AttributionModel::TimeDecay => {
            // Ages count from the touch nearest to the close, so that a long silence does not underflow.
            let newest = path
                .steps
                .iter()
                .map(|step| step.last.micros())
                .max()
                .unwrap_or(path.closed.micros());
            by(&|_, step| {
                let age_days = (newest - step.last.micros()) as f64 / DAY_US as f64;
                (-age_days / TOUCH_HALF_LIFE_DAYS).exp2()
            })
        }
        AttributionModel::Linear | AttributionModel::Markov | AttributionModel::Shapley => by(&|_, _| 1.0),
    }
}

/// Shares of all won worth by effect; alike where no kind has any.
fn normalised(effects: Vec<f64>) -> Vec<(usize, f64)> {
    let sum: f64 = effects.iter().sum();
    let count = effects.len() as f64;
    let share = |effect: f64| if sum > 1e-12 { effect / sum } else { 1.0 / count };
    effects
        .into_iter()
        .enumerate()
        .map(|(kind, effect)| (kind, share(effect)))
        .collect()
}

/// Removal effects of a first-order chain start -> kinds -> won or lost.
fn markov_shares(journeys: &Paths<'_>) -> Vec<(usize, f64)> {
    let kinds = journeys.kinds.len();
    let (start, won) = (kinds, kinds + 1);
    // moves[from][to]: how often; a move to lost is only in the sum.
    let mut moves = vec![vec![0.0; kinds + 2]; kinds + 1];
    let mut sums = vec![0.0; kinds + 1];
    for path in &journeys.paths {
        let mut from = start;
        for step in &path.steps {
            moves[from][step.kind] += 1.0;
            sums[from] += 1.0;
            from = step.kind;
        }
        sums[from] += 1.0;
        if path.won {
            moves[from][won] += 1.0;
        }
    }
    for (row, sum) in moves.iter_mut().zip(&sums) {
        for cell in row.iter_mut() {
            *cell /= f64::max(*sum, 1.0);
        }
    }
    let whole = chance_of_winning(&moves, None);
    let effects = (0..kinds)
        .map(|kind| {
            let without = chance_of_winning(&moves, Some(kind));
            if whole > 0.0 {
                (1.0 - without / whole).max(0.0)
            } else {
                0.0
            }
        })
        .collect();
    normalised(effects)
}

/// Chance to end won from the start, where whoever reaches `removed` is lost: solves `p = T p + w`.
fn chance_of_winning(moves: &[Vec<f64>], removed: Option<usize>) -> f64 {
    let size = moves.len();
    let (start, won) = (size - 1, size);
    let mut rows: Vec<Vec<f64>> = moves
        .iter()
        .enumerate()
        .map(|(from, row)| {
            let mut equation: Vec<f64> = (0..size)
                .map(|to| {
                    let moved = if to == start { 0.0 } else { row[to] };
                    f64::from(u8::from(from == to)) - moved
                })
                .collect();
            equation.push(row[won]);
            if Some(from) == removed {
                equation = vec![0.0; size + 1];
                equation[from] = 1.0;
            }
            equation
        })
        .collect();
    // Every journey ends, so the matrix is a non-singular M-matrix: elimination needs no pivoting.
    for pivot in 0..size {
        let scale = rows[pivot][pivot];
        if scale.abs() < 1e-12 {
            continue;
        }
        let eliminating = rows[pivot].clone();
        for (place, row) in rows.iter_mut().enumerate() {
            let factor = row[pivot] / scale;
            if place == pivot || factor == 0.0 {
                continue;
            }
            for (cell, by) in row.iter_mut().zip(&eliminating) {
                *cell -= factor * by;
            }
        }
    }
    let scale = rows[start][start];
    if scale.abs() < 1e-12 {
        0.0
    } else {
        rows[start][size] / scale
    }
}

/// Exact Shapley values over all sets of kinds.
fn shapley_shares(journeys: &Paths<'_>) -> Vec<(usize, f64)> {
    let kinds = journeys.kinds.len();
    let mut won = vec![0.0; 1 << kinds];
    let mut closed = vec![0.0; 1 << kinds];
    for path in &journeys.paths {
        let set = path.steps.iter().fold(0_usize, |set, step| set | 1 << step.kind);
        closed[set] += 1.0;
        won[set] += f64::from(u8::from(path.won));
    }
    // From journeys of exactly a set to journeys within it.
    for kind in 0..kinds {
        for set in (0..1_usize << kinds).filter(|set| set >> kind & 1 == 1) {
            won[set] += won[set ^ 1 << kind];
            closed[set] += closed[set ^ 1 << kind];
        }
    }
    let worth = |set: usize| won[set] / (closed[set] + ASSUMED_LOST);
    // |S|! (n - |S| - 1)! / n!, by the size of S.
    let mut weight = vec![0.0; kinds];
    for size in 0..kinds {
        weight[size] = match size {
            0 => 1.0 / kinds as f64,
            _ => weight[size - 1] * size as f64 / (kinds - size) as f64,
        };
    }
    let effects = (0..kinds)
        .map(|kind| {
            (0..1_usize << kinds)
                .filter(|set| set >> kind & 1 == 0)
                .map(|set| weight[set.count_ones() as usize] * (worth(set | 1 << kind) - worth(set)))
                .sum()
        })
        .collect();
    normalised(effects)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODELS: [AttributionModel; 7] = AttributionModel::ALL;

    fn day(number: i64) -> Timestamp {
        Timestamp(1_767_225_600_000_000 + number * DAY_US)
    }

    fn journey(won: bool, amount: f64, kinds: &[(&str, i64, i64)]) -> Journey {
        let touch = |(kind, first, last): &(&str, i64, i64)| Touch {
            kind: (*kind).to_owned(),
            first: day(*first),
            last: day(*last),
        };
        Journey {
            won,
            currency: "EUR".to_owned(),
            amount,
            closed: day(100),
            touches: kinds.iter().map(touch).collect(),
        }
    }

    fn of(credits: &[AttributedCredit], kind: &str) -> f64 {
        credits
            .iter()
            .find(|credit| credit.kind == kind)
            .map_or(0.0, |credit| credit.amount)
    }

    #[test]
    fn each_rule_gives_a_won_deal_to_whom_it_names() {
        let deal = [journey(
            true,
            1000.0,
            &[("visit", 1, 99), ("mail", 5, 80), ("meeting", 50, 92)],
        )];
        let by = |model| attribute(&deal, model);
        assert!((of(&by(AttributionModel::First), "visit") - 1000.0).abs() < 1e-9);
        assert!(
            (of(&by(AttributionModel::Last), "visit") - 1000.0).abs() < 1e-9,
            "used last"
        );
        assert!((of(&by(AttributionModel::Linear), "mail") - 1000.0 / 3.0).abs() < 1e-9);
        assert!((of(&by(AttributionModel::Position), "meeting") - 400.0).abs() < 1e-9);
        assert!((of(&by(AttributionModel::Position), "mail") - 200.0).abs() < 1e-9);
        // Ages 0, 7 and 19 days against the newest touch.
        let weights = [1.0, 0.5, (-19.0_f64 / 7.0).exp2()];
        let expected = 1000.0 * weights[1] / weights.iter().sum::<f64>();
        assert!((of(&by(AttributionModel::TimeDecay), "meeting") - expected).abs() < 1e-9);
    }

    #[test]
    fn markov_gives_the_removal_effects_of_the_chain() {
        // start -> a -> won; start -> a -> b -> won; start -> b -> lost: worked by hand.
        // p(a|start) = 2/3, p(b|start) = 1/3; from a: won 1/2, b 1/2; from b: won 1/2, lost 1/2.
        // p = 2/3 (1/2 + 1/2 1/2) + 1/3 1/2 = 2/3. Without a: 1/6, effect 3/4. Without b: 1/3, effect 1/2.
        let journeys = [
            journey(true, 10.0, &[("a", 1, 1)]),
            journey(true, 10.0, &[("a", 1, 1), ("b", 2, 2)]),
            journey(false, 10.0, &[("b", 1, 1)]),
        ];
        let credits = attribute(&journeys, AttributionModel::Markov);
        assert!(
            (of(&credits, "a") - 20.0 * 0.75 / 1.25).abs() < 1e-9,
            "{credits:?}"
        );
        assert!(
            (of(&credits, "b") - 20.0 * 0.5 / 1.25).abs() < 1e-9,
            "{credits:?}"
        );
    }

    #[test]
    fn shapley_pays_the_kind_that_makes_the_difference() {
        let mut journeys = Vec::new();
        for _ in 0..40 {
            journeys.push(journey(true, 10.0, &[("meeting", 1, 1), ("mail", 2, 2)]));
            journeys.push(journey(true, 10.0, &[("meeting", 1, 1)]));
            journeys.push(journey(false, 10.0, &[("mail", 2, 2)]));
        }
        // v(meeting) = 40/45, v(mail) = 0/45, v(both) = 80/125: mail alone never won and adds nothing to a meeting.
        let (meeting, both) = (40.0 / 45.0, 80.0 / 125.0);
        let (of_meeting, of_mail) = (f64::midpoint(meeting, both), (both - meeting) / 2.0);
        let credits = attribute(&journeys, AttributionModel::Shapley);
        let expected = 800.0 * of_meeting / (of_meeting + of_mail);
        assert!((of(&credits, "meeting") - expected).abs() < 1e-9, "{credits:?}");
        assert!(of(&credits, "mail") < 0.0, "{credits:?}");
        let linear = attribute(&journeys, AttributionModel::Linear);
        assert!((of(&linear, "mail") - 200.0).abs() < 1e-9);
    }

    fn journeys() -> impl Strategy<Value = Vec<Journey>> {
        let touch = (0_usize..18, 0_i64..90, 0_i64..10).prop_map(|(kind, first, more)| Touch {
            kind: format!("kind-{kind}"),
            first: day(first),
            last: day(first + more),
        });
        let touches = prop::collection::btree_map(0_usize..18, touch, 0..6).prop_map(|by_kind| {
            by_kind
                .into_iter()
                .map(|(n, touch)| Touch {
                    kind: format!("kind-{n}"),
                    ..touch
                })
                .collect()
        });
        let journey = (
            any::<bool>(),
            prop::sample::select(&["EUR", "USD"][..]),
            0.0..1e7_f64,
            touches,
        )
            .prop_map(|(won, currency, amount, touches)| Journey {
                won,
                currency: currency.to_owned(),
                amount,
                closed: day(100),
                touches,
            });
        prop::collection::vec(journey, 0..30)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_model_hands_out_what_was_won_and_no_more(journeys in journeys()) {
            for model in MODELS {
                let credits = attribute(&journeys, model);
                for currency in ["EUR", "USD"] {
                    let won: f64 = journeys
                        .iter()
                        .filter(|journey| journey.won && journey.currency == currency && !journey.touches.is_empty())
                        .map(|journey| journey.amount)
                        .sum();
                    let given: f64 =
                        credits.iter().filter(|credit| credit.currency == currency).map(|credit| credit.amount).sum();
                    prop_assert!((won - given).abs() <= 1e-9 * won.max(1.0), "{model:?}: {won} {given}");
                }
                prop_assert!(credits.iter().all(|credit| credit.amount.is_finite() && credit.deals.is_finite()));
            }
        }

        #[test]
        fn the_order_of_journeys_does_not_matter(journeys in journeys()) {
            let mut turned = journeys.clone();
            turned.reverse();
            for model in MODELS {
                for (a, b) in attribute(&journeys, model).iter().zip(attribute(&turned, model)) {
                    prop_assert_eq!((&a.kind, &a.currency), (&b.kind, &b.currency));
                    prop_assert!((a.amount - b.amount).abs() <= 1e-6 * a.amount.abs().max(1.0));
                }
            }
        }
    }
}
