//! Forecasts: sums, bounds, what was known, and intervals that hold where the truth is known.

use std::sync::Arc;

use proptest::prelude::*;
use revgauge_contract::{
    Timestamp,
    crm::order_key,
    error::Failure,
    forecast::{DealOverlay, Forecast, ForecastNode, ForecastQuestion, ForecastRowKind},
    time::DAY_US,
};

use super::{
    Chance, DrawKey, ForecastSettings, NewDeals, Rates, Record, Simulation,
    accuracy::accuracy_of,
    answer as answers, blend_record,
    by_node::by_node,
    distribution::quantile,
    present::Present,
    question::Made,
    remembered::{Lessons, PastKey, Remembered},
    simulate,
    tenant::Tenant,
    track_record,
};
use crate::{
    changelog::{ChangeLog, ChangeLogBuilder, ChangeOrder},
    directory::StageCatalogue,
    hierarchy::Hierarchy,
};

/// A memory of past periods that holds nothing, or so many deals.
pub(super) fn memory(deals: usize) -> Remembered<PastKey, Lessons> {
    Remembered::new(deals)
}

pub(super) fn ask(
    memory: &Remembered<PastKey, Lessons>,
    log: &ChangeLog,
    tenant: &Tenant,
    question: &ForecastQuestion,
    at: Timestamp,
    settings: &ForecastSettings,
) -> Result<Vec<Forecast>, Failure> {
    let made = Made::out("acme", tenant, question, at, settings)?;
    let present = Present::learn(log, &made.view, made.span(), at, settings, memory)?;
    answers::answer(&present, &made, tenant, question, settings)
}

fn ask_nodes(
    log: &ChangeLog,
    tenant: &Tenant,
    question: &ForecastQuestion,
    at: Timestamp,
) -> Result<Vec<ForecastNode>, Failure> {
    let made = Made::out("acme", tenant, question, at, &few())?;
    let present = Present::learn(log, &made.view, made.span(), at, &few(), &memory(0))?;
    by_node(&present, &made, tenant, question, &few())
}

fn answer(
    log: &ChangeLog,
    stages: &StageCatalogue,
    question: &ForecastQuestion,
    at: Timestamp,
    settings: &ForecastSettings,
) -> Result<Vec<Forecast>, Failure> {
    let tenant = Tenant {
        stages: Arc::new(stages.clone()),
        ..Tenant::default()
    };
    ask(&memory(0), log, &tenant, question, at, settings)
}

pub(super) fn day(number: i64) -> Timestamp {
    Timestamp(1_767_225_600_000_000 + number * DAY_US)
}

/// Deal, field, value and the day on which it happened and became known.
pub(super) type Change = (String, &'static str, String, i64);

pub(super) fn log_of(changes: &[Change]) -> ChangeLog {
    let mut builder = ChangeLogBuilder::default();
    for (deal, field, value, known) in changes {
        let at = day(*known);
        let order = ChangeOrder::parse(&order_key(None, at.micros())).expect("a key");
        builder.push(deal, field, order, Some(value), at).expect("fits");
    }
    builder.build()
}

/// A deal that begins on a day, stands in `Discovery`, moves to `Proposal` and ends as told.
fn life(number: i64, begins: i64, amount: i64, ends: Option<(i64, bool)>) -> Vec<Change> {
    let id = format!("deal-{number}");
    let mut changes = vec![
        (id.clone(), "stage", "Discovery".to_owned(), begins),
        (id.clone(), "amount", amount.to_string(), begins),
        (id.clone(), "created_at", day(begins).to_string(), begins),
        (id.clone(), "close_date", day(begins + 60).to_string(), begins),
        (id.clone(), "currency", "EUR".to_owned(), begins),
        (id.clone(), "stage", "Proposal".to_owned(), begins + 10),
    ];
    if let Some((end, won)) = ends {
        let stage = if won { "Closed Won" } else { "Closed Lost" };
        changes.push((id.clone(), "stage", stage.to_owned(), end));
        changes.push((id, "closed_at", day(end).to_string(), end));
    }
    changes
}

/// A deal every three days, 30 days long, every third one won.
pub(super) fn steady(days: i64) -> Vec<Change> {
    (0..days / 3)
        .flat_map(|n| {
            let end = n * 3 + 30;
            life(
                n,
                n * 3,
                1000 + n % 7 * 100,
                (end <= days).then_some((end, n % 3 == 0)),
            )
        })
        .collect()
}

pub(super) fn question(start: i64, end: i64) -> ForecastQuestion {
    ForecastQuestion {
        start: Some(day(start)),
        end: Some(day(end)),
        quota: Some(10_000.0),
        ..ForecastQuestion::default()
    }
}

pub(super) fn quick() -> ForecastSettings {
    ForecastSettings {
        draws: 2_000,
        past_draws: 500,
        ..ForecastSettings::default()
    }
}

#[test]
fn a_steady_business_is_forecast_within_a_fifth_and_its_rows_sum() {
    let changes = steady(720);
    let log = log_of(&changes);
    let stages = StageCatalogue::default();
    let asked = question(540, 630);
    let then = answer(&log, &stages, &asked, day(560), &quick()).expect("an answer");
    let later = answer(&log, &stages, &asked, day(630), &quick()).expect("an answer");
    let (then, actual) = (&then[0], later[0].closed);
    assert!(actual > 0.0);
    assert!(
        (then.expected - actual).abs() < 0.2 * actual,
        "{} against {actual}",
        then.expected
    );
    let sum: f64 = then.rows.iter().map(|row| row.contribution).sum();
    assert!((sum - then.expected).abs() < 1e-6);
    let low = then.quantiles[0].value;
    let high = then.quantiles[4].value;
    assert!(low <= actual && actual <= high, "{low} {actual} {high}");
    assert!((then.methods.iter().map(|m| m.weight).sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(then.past_periods >= 4);
    let weight = |name: &str| {
        then.methods
            .iter()
            .find(|m| m.method == name)
            .expect("there")
            .weight
    };
    assert!(weight("hazard") > weight("category_roll_up"));
}

#[test]
fn a_deal_closes_when_deals_like_it_do() {
    // Every deal is 30 days long: those open are won within the month, the older ones sooner.
    let log = log_of(&steady(720));
    let asked = question(690, 780);
    let told = answer(&log, &StageCatalogue::default(), &asked, day(720), &quick()).expect("an answer");
    let days = |deal: i64| {
        let row = told[0]
            .rows
            .iter()
            .find(|row| row.deal_id == format!("deal-{deal}"));
        let row = row.expect("an open deal");
        [row.expected_close_p10, row.expected_close, row.expected_close_p90]
            .map(|date| date.expect("a date").days_since(day(720)))
    };
    let (old, young) = (days(231), days(239));
    assert!(old[1] < young[1], "{old:?} {young:?}");
    assert!(young[1] > 10.0 && young[1] < 60.0, "{young:?}");
    assert!(old[0] < old[1] && old[1] < old[2], "{old:?}");
}

#[test]
fn what_became_known_later_changes_nothing() {
    let all = steady(720);
    let known: Vec<Change> = all.iter().filter(|change| change.3 <= 560).cloned().collect();
    let stages = StageCatalogue::default();
    let asked = question(540, 630);
    let with = answer(&log_of(&all), &stages, &asked, day(560), &quick());
    let without = answer(&log_of(&known), &stages, &asked, day(560), &quick());
    assert_eq!(with.expect("an answer"), without.expect("an answer"));
}

#[test]
fn one_currency_by_dated_rates_or_an_exact_error() {
    let mut changes = steady(360);
    changes
        .iter_mut()
        .filter(|change| change.1 == "currency" && change.0.ends_with('7'))
        .for_each(|change| {
            change.2 = "USD".to_owned();
        });
    let (log, stages) = (log_of(&changes), StageCatalogue::default());
    let rate = |date: &str| {
        let fields = [("from", "USD"), ("to", "EUR"), ("rate", "0.5"), ("date", date)];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Tenant {
            rates: Arc::new(Rates::read(&[(Arc::from("r"), fields.into())])),
            ..Tenant::default()
        }
    };
    let mut asked = question(270, 360);
    let apart = answer(&log, &stages, &asked, day(300), &quick()).expect("an answer");
    asked.currency = Some("EUR".to_owned());
    let told = |tenant: &Tenant| ask(&memory(0), &log, tenant, &asked, day(300), &quick());
    let whole = told(&rate("2020-01-01")).expect("an answer");
    assert_eq!((apart.len(), whole.len()), (2, 1));
    assert!((whole[0].closed - (apart[0].closed + 0.5 * apart[1].closed)).abs() < 1e-6);
    let said = told(&rate("2026-03-01"))
        .expect_err("no rate in January")
        .to_string();
    assert!(said.contains("no rate from USD holds on 2026-0"), "{said}");
}

#[test]
fn accuracy_is_told_by_horizon_node_and_method() {
    let (log, stages) = (log_of(&steady(720)), StageCatalogue::default());
    let tenant = Tenant {
        stages: Arc::new(stages),
        ..Tenant::default()
    };
    let told = accuracy_of(&log, &tenant, &question(540, 630), day(560), &quick()).expect("an answer");
    assert!(
        told.iter()
            .all(|row| row.wape.is_finite() && row.noise_floor >= 0.0 && row.periods >= 4)
    );
    let wape = |elapsed: f64| {
        let blend = told
            .iter()
            .find(|row| row.method == "blend" && row.node_kind == "all" && row.elapsed == elapsed);
        blend.expect("a row").wape
    };
    assert!(wape(0.98) < wape(0.25), "{told:?}");
}

#[test]
fn a_team_is_surer_than_its_people_together() {
    let mut changes = steady(720);
    for n in 0..240 {
        changes.push((format!("deal-{n}"), "owner_id", format!("rep-{}", n % 4), n * 3));
    }
    let people = (0..4).map(|n| (format!("rep-{n}"), Some("lead".to_owned())));
    let tenant = Tenant {
        hierarchy: Hierarchy::new(people),
        ..Tenant::default()
    };
    let nodes = ask_nodes(&log_of(&changes), &tenant, &question(690, 780), day(719)).expect("an answer");
    let width = |node: &ForecastNode| node.quantiles[4].value - node.quantiles[0].value;
    let names: Vec<&str> = nodes.iter().map(|node| node.node.as_str()).collect();
    assert_eq!(names, ["", "lead", "rep-0", "rep-1", "rep-2", "rep-3"]);
    let together: f64 = nodes[2..].iter().map(width).sum();
    assert!(
        width(&nodes[1]) < 0.8 * together && width(&nodes[1]) > 0.3 * together,
        "{nodes:?}"
    );
    let of_team = ForecastQuestion {
        team_of: Some("lead".to_owned()),
        ..question(690, 780)
    };
    let team = ask_nodes(&log_of(&changes), &tenant, &of_team, day(719)).expect("an answer");
    assert_eq!(
        (team[0].node.as_str(), team[0].node_kind.as_str(), team.len()),
        ("lead", "team", 5)
    );
    let circle = Tenant {
        hierarchy: Hierarchy::new([("a", "b"), ("b", "a")].map(|(a, b)| (a.to_owned(), Some(b.to_owned())))),
        ..Tenant::default()
    };
    let said = ask_nodes(&log_of(&changes), &circle, &question(690, 780), day(719)).expect_err("a circle");
    assert!(said.to_string().contains("a -> b -> a"), "{said}");
}

#[test]
fn what_if_moves_the_number_by_the_deal_alone() {
    let log = log_of(&steady(720));
    let stages = StageCatalogue::default();
    let mut asked = question(540, 630);
    let base = answer(&log, &stages, &asked, day(560), &quick()).expect("an answer");
    let deal = base[0]
        .rows
        .iter()
        .find(|r| r.kind == ForecastRowKind::Open)
        .expect("open")
        .clone();
    asked.what_if.push(DealOverlay {
        deal_id: deal.deal_id.clone(),
        probability: Some(1.0),
        ..DealOverlay::default()
    });
    let moved = answer(&log, &stages, &asked, day(560), &quick()).expect("an answer");
    let gain = moved[0].expected - base[0].expected;
    assert!((gain - (deal.amount - deal.contribution)).abs() < 1e-6);
    asked.what_if[0].deal_id = "deal-none".to_owned();
    assert!(answer(&log, &stages, &asked, day(560), &quick()).is_err());
}

#[test]
fn what_if_in_another_category_moves_the_roll_ups_and_nothing_else() {
    let log = log_of(&life(1, 0, 5000, None));
    let stages = StageCatalogue::default();
    let mut asked = question(0, 90);
    let base = answer(&log, &stages, &asked, day(20), &quick()).expect("an answer");
    let open = base[0].rows.iter().find(|row| row.kind == ForecastRowKind::Open);
    let deal = open.expect("an open deal").clone();
    asked.what_if.push(DealOverlay {
        deal_id: deal.deal_id.clone(),
        category: Some("commit".to_owned()),
        close_date: Some(day(50)),
        ..DealOverlay::default()
    });
    let moved = answer(&log, &stages, &asked, day(20), &quick()).expect("an answer");
    assert!((moved[0].commit - deal.amount).abs() < 1e-6, "{:?}", moved[0]);
    assert!((moved[0].expected - base[0].expected).abs() < 1e-9);
    asked.what_if[0].close_date = Some(day(200));
    let away = answer(&log, &stages, &asked, day(20), &quick()).expect("an answer");
    assert!(away[0].commit.abs() < 1e-9);
    asked.what_if[0].category = Some("wish".to_owned());
    assert!(answer(&log, &stages, &asked, day(20), &quick()).is_err());
}

#[test]
fn a_tenant_without_a_past_gets_a_prior_and_no_accuracy() {
    let log = log_of(&life(1, 0, 5000, None));
    let stages = StageCatalogue::default();
    let forecast = answer(&log, &stages, &question(0, 90), day(20), &quick()).expect("an answer");
    let only = &forecast[0];
    assert_eq!((only.ended_deals, only.past_periods), (0, 0));
    assert!(only.methods.iter().all(|m| m.wape.is_none() && m.weight < 0.9));
    let open = &only.rows[0];
    assert!(
        open.probability > 0.02 && open.probability < 0.3,
        "{}",
        open.probability
    );
    assert!(answer(&log, &stages, &question(90, 0), day(20), &quick()).is_err());
}

#[test]
fn the_common_shock_widens_and_does_not_move() {
    let deals: Vec<Chance> = (0..300)
        .map(|deal| Chance {
            key: DrawKey::of_deal(&format!("deal-{deal}")),
            amount: 10.0,
            probability: 0.2,
        })
        .collect();
    let new = [NewDeals {
        key: DrawKey::of_new_deals("rep-1"),
        bands: vec![(15.0, Arc::new(vec![10.0])), (5.0, Arc::new(vec![5.0, 15.0]))],
    }];
    let run = |shock| {
        simulate(
            50.0,
            &deals,
            &new,
            Simulation {
                draws: 4_000,
                seed: 7,
                shock,
            },
        )
    };
    let (calm, shaken) = (run(0.0), run(0.6));
    let mean = |draws: &[f64]| draws.iter().sum::<f64>() / draws.len() as f64;
    assert!((mean(&calm) - 850.0).abs() < 6.0, "{}", mean(&calm));
    assert!((mean(&shaken) - 850.0).abs() < 20.0, "{}", mean(&shaken));
    let width = |draws: &[f64]| quantile(draws, 0.9) - quantile(draws, 0.1);
    // Binomial and Poisson variance: 100 * (300 * 0.16 + 20), so the 80 % interval is 2 * 1.2816 * 82.5 wide.
    assert!((width(&calm) - 211.0).abs() < 25.0, "{}", width(&calm));
    assert!(width(&shaken) > 2.0 * width(&calm));
}

#[test]
fn the_better_method_weighs_more_and_narrow_intervals_are_widened() {
    let record = |actual: f64| Record {
        values: [2.0, 1.3, 1.1, 1.01, 1.2, 0.7].map(|share| actual * share),
        interval: [actual * 1.05, actual * 1.1, actual * 1.15],
        closed: 0.0,
        deviation: 0.0,
        ended: 100,
        submitted: None,
        actual,
    };
    let records = [record(100.0), record(120.0), record(90.0)];
    let track = track_record(&records, 100, false);
    assert!(track.weights()[3] > 0.9 && track.weights()[0] == 0.0);
    assert_eq!(blend_record(&records).covered, 0);
    assert!(track.widening > 1.5);
    assert!((track.methods[3].wape.expect("revenue came") - 0.01).abs() < 1e-9);
    assert!((track.methods[5].bias.expect("revenue came") + 0.3).abs() < 1e-9);
}

#[test]
fn a_quarter_forecast_from_a_handful_of_deals_tells_little_of_the_width_now() {
    let record = |actual: f64, ended: u32| Record {
        values: [100.0; 6],
        interval: [90.0, 100.0, 110.0],
        closed: 0.0,
        deviation: 6.0,
        ended,
        submitted: None,
        actual,
    };
    // Residuals as a right range has them, then a first quarter far outside it.
    let right = [92.2, 107.8, 95.0, 105.0, 110.5];
    let mut records: Vec<Record> = right.iter().map(|actual| record(*actual, 300)).collect();
    let without = track_record(&records, 300, false).widening;
    records.push(record(900.0, 2));
    let early = track_record(&records, 300, false).widening;
    records[5].ended = 300;
    let late = track_record(&records, 300, false).widening;
    assert!((without - 1.0).abs() < 0.1, "{without}");
    assert!(early < 1.03 * without && late > 1.1 * without, "{early} {late}");
    // One odd quarter among others is bounded, however odd.
    records[5].actual = 1e9;
    assert!((track_record(&records, 300, false).widening - late).abs() < 1e-12);
}

#[test]
fn the_blend_is_judged_by_the_weights_that_were_known_then() {
    let record = |value: f64, actual: f64| Record {
        values: [value; 6],
        interval: [value - 10.0, value, value + 10.0],
        closed: 0.0,
        deviation: 6.0,
        ended: 50,
        submitted: None,
        actual,
    };
    let judged = blend_record(&[record(100.0, 110.0), record(100.0, 95.0), record(100.0, 155.0)]);
    // All methods agree, so the blend says what they say.
    assert!((judged.wape.expect("revenue came") - 70.0 / 360.0).abs() < 1e-9);
    assert!((judged.bias.expect("revenue came") + 60.0 / 360.0).abs() < 1e-9);
    assert_eq!(judged.covered, 2);
    assert_eq!(blend_record(&[]).wape, None);
}

/// Begin, amount, days until the end and whether it is won, owner.
pub(super) type Life = (i64, i64, Option<(i64, bool)>, u8);

pub(super) fn lives() -> impl Strategy<Value = Vec<Life>> {
    let end = prop::option::of((-20i64..200, any::<bool>()));
    prop::collection::vec((0i64..400, -50i64..100_000, end, 0u8..3), 0..40)
}

pub(super) fn changes_of(lives: &[Life]) -> Vec<Change> {
    let mut changes = Vec::new();
    for (n, (begins, amount, ends, owner)) in lives.iter().enumerate() {
        let ends = ends.map(|(after, won)| (begins + after, won));
        changes.extend(life(n as i64, *begins, *amount, ends));
        changes.push((format!("deal-{n}"), "owner_id", format!("rep-{owner}"), *begins));
    }
    changes
}

pub(super) fn few() -> ForecastSettings {
    ForecastSettings {
        draws: 200,
        past_draws: 100,
        past_periods: 2,
        ..quick()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn nothing_leaves_its_bounds(
        lives in lives(), at in 0i64..500, start in 0i64..500, length in 1i64..200,
    ) {
        let asked = question(start, start + length);
        let log = log_of(&changes_of(&lives));
        let forecasts = answer(&log, &StageCatalogue::default(), &asked, day(at), &few());
        for forecast in forecasts.expect("an answer") {
            let sum: f64 = forecast.rows.iter().map(|row| row.contribution).sum();
            prop_assert!((sum - forecast.expected).abs() <= 1e-9 * sum.max(1.0));
            prop_assert!(forecast.quantiles.windows(2).all(|w| w[0].value <= w[1].value));
            prop_assert!(forecast.quantiles[0].value >= forecast.closed);
            prop_assert!(forecast.blend.is_finite() && forecast.blend >= 0.0);
            for method in &forecast.methods {
                prop_assert!(method.value.is_finite() && method.value >= 0.0, "{}", method.method);
            }
            for row in &forecast.rows {
                prop_assert!(row.amount >= 0.0 && row.probability >= 0.0 && row.contribution.is_finite());
                prop_assert!(row.kind == ForecastRowKind::NotYetCreated || row.probability <= 1.0);
                let dates = [row.expected_close_p10, row.expected_close, row.expected_close_p90];
                let told: Vec<Timestamp> = dates.into_iter().flatten().collect();
                prop_assert_eq!(told.len(), if row.kind == ForecastRowKind::Open { 3 } else { 0 });
                prop_assert!(told.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", told);
                prop_assert!(told.first().is_none_or(|first| *first > day(at)), "{:?}", told);
            }
        }
    }

    #[test]
    fn owners_sum_to_the_whole(lives in lives(), at in 0i64..500, start in 0i64..500, length in 1i64..200) {
        let log = log_of(&changes_of(&lives));
        let ask = |owners: Option<Vec<String>>| {
            let asked = ForecastQuestion { owner_ids: owners, ..question(start, start + length) };
            let forecasts = answer(&log, &StageCatalogue::default(), &asked, day(at), &few());
            // Of a deal whose currency is told later there is a forecast apart.
            forecasts.expect("an answer").iter().fold((0.0, 0.0, 0.0), |sum, one| {
                (sum.0 + one.closed, sum.1 + one.expected, sum.2 + one.commit)
            })
        };
        let whole = ask(None);
        let mut sum = (0.0, 0.0, 0.0);
        for owner in 0..3 {
            let part = ask(Some(vec![format!("rep-{owner}")]));
            sum = (sum.0 + part.0, sum.1 + part.1, sum.2 + part.2);
        }
        for (whole, sum) in [(whole.0, sum.0), (whole.1, sum.1), (whole.2, sum.2)] {
            prop_assert!((whole - sum).abs() <= 1e-6 * whole.max(1.0), "{whole} {sum}");
        }
    }

    #[test]
    fn nodes_add_up_to_what_the_forecast_says(
        lives in lives(), at in 0i64..500, start in 0i64..500, length in 1i64..200, managers in prop::array::uniform3(0u8..4),
    ) {
        let log = log_of(&changes_of(&lives));
        // `rep-0` may lead the others, or somebody without deals leads.
        let people = [(0, 3), (1, managers[1]), (2, managers[2])].map(|(rep, manager)| {
            let manager = match manager {
                0 if rep != 0 => Some("rep-0".to_owned()),
                3 => Some("head".to_owned()),
                _ => None,
            };
            (format!("rep-{rep}"), manager)
        });
        let tenant = Tenant { hierarchy: Hierarchy::new(people), ..Tenant::default() };
        let asked = question(start, start + length);
        let forecasts = ask(&memory(0), &log, &tenant, &asked, day(at), &few()).expect("an answer");
        let nodes = ask_nodes(&log, &tenant, &asked, day(at)).expect("an answer");
        for forecast in forecasts {
            let nodes: Vec<&ForecastNode> = nodes.iter().filter(|node| node.currency == forecast.currency).collect();
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs().max(1.0);
            // The top says what the forecast says, range and chance of the quota included.
            let top = nodes.first().expect("a top");
            prop_assert!(close(top.closed, forecast.closed) && close(top.expected, forecast.expected));
            prop_assert_eq!(top.quota, forecast.standing.quota);
            prop_assert!(close(top.attainment_probability.unwrap_or(-1.0), forecast.attainment_probability.unwrap_or(-1.0)));
            for (one, other) in top.quantiles.iter().zip(&forecast.quantiles) {
                prop_assert!(close(one.value, other.value), "{:?} {:?}", one, other);
            }
            let share = (forecast.blend - forecast.closed) / (forecast.expected - forecast.closed);
            prop_assert!(!(0.21..4.9).contains(&share) || close(top.value, forecast.blend), "{} {}", top.value, forecast.blend);
            for node in &nodes {
                prop_assert!(close(node.closed + node.open + node.not_yet_created, node.expected));
                prop_assert!(node.quantiles.windows(2).all(|w| w[0].value <= w[1].value) && node.quantiles[0].value >= node.closed);
                let below = nodes.iter().filter(|one| one.parent.as_ref() == Some(&node.node) && one.parent_kind.as_ref() == Some(&node.node_kind));
                let sum = below.fold((0, 0.0, 0.0, 0.0), |sum, one| (sum.0 + 1, sum.1 + one.closed, sum.2 + one.expected, sum.3 + one.value));
                prop_assert!(node.node_kind == "person" || sum.0 > 0);
                prop_assert!(sum.0 == 0 || close(sum.1, node.closed) && close(sum.2, node.expected) && close(sum.3, node.value), "{:?} {:?}", node, sum);
            }
        }
    }

    #[test]
    fn what_became_known_later_changes_no_forecast(
        lives in lives(), at in 0i64..500, start in 0i64..500, length in 1i64..200,
    ) {
        let all = changes_of(&lives);
        let known: Vec<Change> = all.iter().filter(|change| change.3 <= at).cloned().collect();
        let asked = question(start, start + length);
        let stages = StageCatalogue::default();
        let with = answer(&log_of(&all), &stages, &asked, day(at), &few());
        let without = answer(&log_of(&known), &stages, &asked, day(at), &few());
        prop_assert_eq!(with.expect("an answer"), without.expect("an answer"));
    }

    #[test]
    fn a_deal_more_probable_never_lowers_what_is_expected(
        lives in lives(), at in 0i64..400, length in 1i64..200, low in 0.0f64..1.0, more in 0.0f64..1.0,
    ) {
        let log = log_of(&changes_of(&lives));
        let ask = |probability: Option<f64>| {
            let mut asked = question(at - 10, at + length);
            if let Some(probability) = probability {
                asked.what_if.push(DealOverlay { deal_id: "deal-0".to_owned(), probability: Some(probability), ..DealOverlay::default() });
            }
            answer(&log, &StageCatalogue::default(), &asked, day(at), &few())
        };
        if let (Ok(low), Ok(high)) = (ask(Some(low)), ask(Some(low + (1.0 - low) * more))) {
            prop_assert!(high[0].expected >= low[0].expected - 1e-9);
            prop_assert!(high[0].blend >= low[0].blend - 1e-9);
        }
    }
}
