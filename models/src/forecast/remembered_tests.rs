//! What is remembered never changes an answer, and draws hang on nothing but their own deal.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use revgauge_contract::{
    Clock as _, Timestamp,
    forecast::{Forecast, ForecastQuestion, ForecastService as _},
    statistics::StatisticsSource,
    time::{DAY_US, ManualClock},
};
use serde_json::json;

use super::{
    Chance, DrawKey, ForecastSettings, Forecasts, NewDeals, Rates, Simulation,
    past::past_spans,
    remembered::Remembered,
    simulate,
    tenant::Tenant,
    tests::{Change, Life, ask, changes_of, day, few, lives, log_of, memory, question},
};
use crate::{
    definitions::Definitions,
    sample::{Layer1, TENANT, crm_event},
    service::{Scoring, ScoringSettings},
};

#[test]
fn the_one_used_longest_ago_is_forgotten_first() {
    let held: Remembered<u8, &str> = Remembered::new(10);
    held.put(1, &Arc::new("one"), 4, |_| false);
    held.put(2, &Arc::new("two"), 4, |_| false);
    assert_eq!(held.get(&1).as_deref(), Some(&"one"));
    held.put(3, &Arc::new("three"), 4, |_| false);
    assert!(held.get(&2).is_none() && held.get(&1).is_some());
    held.put(4, &Arc::new("too much"), 11, |_| false);
    assert!(held.get(&4).is_none());
    held.put(5, &Arc::new("five"), 1, |key| *key == 3);
    assert!(held.get(&3).is_none());
    assert_eq!(held.weight(), 5);
}

proptest! {
    #[test]
    fn past_instants_lie_in_their_periods_before_now_and_stay_for_the_day(
        start in 0i64..400, length in 1i64..200, elapsed in 0.0f64..1.2, later in 0i64..DAY_US,
    ) {
        let period = (day(start), day(start + length));
        let at = period.0.plus_micros((elapsed * (length * DAY_US) as f64) as i64);
        let spans = past_spans(period, at, 8);
        for span in &spans {
            prop_assert!(span.then <= at && span.end <= at);
            prop_assert!(at >= period.1 || span.then < span.end, "{span:?}");
            let share = span.then.days_since(span.start) / span.end.days_since(span.start);
            prop_assert!(at >= period.1 || (share - elapsed).abs() * length as f64 <= 4.0, "{share} {elapsed}");
        }
        let distinct: std::collections::BTreeSet<Vec<Timestamp>> = (0..4)
            .map(|part| past_spans(period, at.plus_micros(later * part / 4), 8).iter().map(|span| span.then).collect())
            .collect();
        // Each of the spans steps once a day: seldom do several of them within a part of one.
        prop_assert!(length < 28 || distinct.len() <= 4);
    }
}

/// Asks the same of a memory and of none.
fn same(
    held: &Remembered<super::remembered::PastKey, super::remembered::Lessons>,
    changes: &[Change],
    tenant: &Tenant,
    asked: &ForecastQuestion,
    at: Timestamp,
) -> Result<(), TestCaseError> {
    let log = log_of(changes);
    let with = ask(held, &log, tenant, asked, at, &few());
    let without = ask(&memory(0), &log, tenant, asked, at, &few());
    match (with, without) {
        (Ok(with), Ok(without)) => prop_assert_eq!(with, without),
        (with, without) => prop_assert_eq!(
            with.map_err(|e| e.to_string()),
            without.map_err(|e| e.to_string())
        ),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn what_is_remembered_changes_no_answer(
        lives in lives(), at in 200i64..500, late in 0i64..400, erased in 0usize..40, rate in 0.5f64..2.0,
    ) {
        let held = memory(1_000_000);
        let mut changes = changes_of(&lives);
        let tenant = Tenant::default();
        let asked = question(at - 20, at + 20);
        let of = |owners: &[&str], confined: bool| ForecastQuestion {
            owner_ids: Some(owners.iter().map(|owner| (*owner).to_owned()).collect()),
            confined,
            ..asked.clone()
        };
        let rates = |rate: f64| {
            let fields = [("from", "EUR"), ("to", "USD"), ("rate", &rate.to_string()), ("date", "2020-01-01")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
            Tenant { rates: Arc::new(Rates::read(&[(Arc::from("r"), fields.into())])), ..Tenant::default() }
        };
        let told = ForecastQuestion { currency: Some("USD".to_owned()), ..asked.clone() };
        let all = |changes: &[Change], at: Timestamp| {
            same(&held, changes, &tenant, &asked, at)?;
            same(&held, changes, &tenant, &of(&["rep-0"], false), at)?;
            // What a caller with a row rule may see is learnt from its own deals alone.
            same(&held, changes, &tenant, &of(&["rep-0"], true), at)?;
            same(&held, changes, &tenant, &of(&["rep-0", "rep-1"], true), at)?;
            same(&held, changes, &tenant, &ForecastQuestion { without_deals: vec!["deal-1".to_owned()], ..asked.clone() }, at)?;
            same(&held, changes, &rates(rate), &told, at)?;
            same(&held, changes, &rates(1.0), &told, at)
        };
        all(&changes, day(at))?;
        // Later the same day, and the next day.
        all(&changes, day(at).plus_micros(DAY_US / 3))?;
        all(&changes, day(at + 1))?;
        // An event of now, one that comes late as known long ago, and one erased from all instants.
        changes.push(("deal-0".to_owned(), "amount", "77".to_owned(), at));
        all(&changes, day(at))?;
        changes.push(("deal-0".to_owned(), "amount", "55".to_owned(), late));
        changes.push(("deal-0".to_owned(), "currency", "EUR".to_owned(), late));
        all(&changes, day(at))?;
        let gone = format!("deal-{erased}");
        changes.retain(|change| change.0 != gone);
        all(&changes, day(at))?;
    }

    #[test]
    fn a_deal_more_probable_lowers_no_quantile_and_teams_draw_the_sum_of_their_people(
        deals in prop::collection::vec((0.0f64..1000.0, 0.0f64..=1.0), 1..40),
        more in 0.0f64..=1.0, expected in 0.0f64..50.0, shock in 0.0f64..1.0,
    ) {
        let settings = Simulation { draws: 256, seed: 5, shock };
        let mut chances: Vec<Chance> = deals
            .iter()
            .enumerate()
            .map(|(n, (amount, probability))| Chance {
                key: DrawKey::of_deal(&n.to_string()),
                amount: *amount,
                probability: *probability,
            })
            .collect();
        let new = [NewDeals {
            key: DrawKey::of_new_deals("a"),
            bands: vec![(expected, Arc::new(vec![1.0, 2.0]))],
        }];
        let whole = simulate(3.0, &chances, &new, settings);
        prop_assert_eq!(whole.len(), 256);
        let sum = |draws: &[f64]| draws.iter().sum::<f64>();
        let half = chances.len() / 2;
        let parts = sum(&simulate(1.0, &chances[..half], &[], settings))
            + sum(&simulate(2.0, &chances[half..], &new, settings));
        prop_assert!((sum(&whole) - parts).abs() <= 1e-9 * parts, "{} {parts}", sum(&whole));
        chances[0].probability += (1.0 - chances[0].probability) * more;
        let raised = simulate(3.0, &chances, &new, settings);
        prop_assert!(whole.iter().zip(&raised).all(|(low, high)| *high >= low - 1e-9 * low));
    }
}

/// The service over statistics that events are pushed into, with a clock.
struct World {
    layer: Arc<Layer1>,
    clock: Arc<ManualClock>,
    forecasts: Forecasts,
}

impl World {
    fn new(layer: &Arc<Layer1>, at: Timestamp, settings: ForecastSettings) -> Self {
        let clock = Arc::new(ManualClock::at(at));
        let source: Arc<dyn StatisticsSource> = Arc::<Layer1>::clone(layer);
        let scoring = Scoring::new(
            source,
            Arc::new(Definitions::shipped()),
            Arc::<ManualClock>::clone(&clock),
            ScoringSettings::default(),
        );
        Self {
            layer: Arc::clone(layer),
            forecasts: Forecasts::new(Arc::new(scoring), Arc::<ManualClock>::clone(&clock), settings),
            clock,
        }
    }

    fn asked(&self, question: &ForecastQuestion) -> Vec<Forecast> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime
            .block_on(self.forecasts.forecast(TENANT, question))
            .expect("an answer")
    }
}

fn drafts(lives: &[Life]) -> Vec<revgauge_contract::event::EventDraft> {
    let mut by_event: BTreeMap<(i64, String), serde_json::Map<String, serde_json::Value>> = BTreeMap::new();
    for (deal, field, value, known) in changes_of(lives) {
        let fields = by_event.entry((known, deal)).or_default();
        fields.insert(field.to_owned(), json!(value));
    }
    by_event
        .into_iter()
        .map(|((known, deal), fields)| crm_event("deal.upserted", &deal, day(known), fields.into()))
        .collect()
}

#[test]
fn the_service_answers_the_same_with_and_without_its_memory() {
    let business: Vec<Life> = (0..60)
        .map(|n| {
            (
                n * 6,
                1000 + n * 10,
                (n < 50).then_some((40, n % 3 == 0)),
                (n % 3) as u8,
            )
        })
        .collect();
    let layer = Layer1::of(drafts(&business));
    let with = World::new(&layer, day(380), few());
    let none = ForecastSettings {
        same_deals_s: 0,
        remembered_deals: 0,
        remembered_changes: 0,
        remembered_nodes: 0,
        ..few()
    };
    let without = World::new(&layer, day(380), none);
    let of = |owners: Option<&str>, confined| ForecastQuestion {
        owner_ids: owners.map(|owner| vec![owner.to_owned()]),
        confined,
        ..question(360, 420)
    };
    let questions = [of(None, false), of(Some("rep-1"), false), of(Some("rep-1"), true)];
    let compare = |what: &str| {
        for question in &questions {
            let found = with.asked(question);
            // What is answered again tells the instant it was made for.
            without.clock.set(found[0].as_of);
            assert_eq!(found, without.asked(question), "{what}");
        }
    };
    compare("first");
    compare("again");
    let first = with.asked(&questions[0])[0].as_of;
    with.clock.advance(30_000_000);
    assert_eq!(
        with.asked(&questions[0])[0].as_of,
        first,
        "no deal changed within a minute"
    );
    compare("half a minute later");
    with.clock.advance(45_000_000);
    assert!(with.asked(&questions[0])[0].as_of > first, "a minute is over");
    compare("later");
    // The same instant asked for by name is answered exactly.
    let named = ForecastQuestion {
        as_of: Some(with.clock.now()),
        ..questions[0].clone()
    };
    assert_eq!(with.asked(&named)[0].as_of, with.clock.now());
    let closed = |world: &World| world.asked(&questions[0])[0].closed;
    let before = closed(&with);
    with.layer.push([crm_event(
        "deal.upserted",
        "deal-55",
        day(379),
        json!({"stage": "Closed Won", "closed_at": day(379).to_string()}),
    )]);
    assert!(closed(&with) > before, "a new event is seen at once");
    compare("after an event");
    with.layer.push([crm_event(
        "deal.upserted",
        "deal-3",
        day(100),
        json!({"amount": "50000"}),
    )]);
    compare("after a late event that changes the past as known now");
    let again = World::new(&layer, with.clock.now(), few());
    assert_eq!(
        again.asked(&questions[0]),
        with.asked(&questions[0]),
        "after a restart"
    );
}
