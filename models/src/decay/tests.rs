//! Decay laws: closed form against bisection, eras added, the first of several crossings.

use proptest::prelude::*;

use super::*;

fn sum_at(terms: &[Term], days: f64) -> f64 {
    terms.iter().map(|term| term.after(days)).sum()
}

#[test]
fn one_half_life_is_the_closed_form() {
    let terms = [
        Term {
            value: 6.0,
            half_life_days: 14.0,
        },
        Term {
            value: 2.0,
            half_life_days: 14.0,
        },
    ];
    assert_eq!(crossing_days(&terms, 1.0), Some(42.0));
    assert_eq!(crossing_days(&terms, 9.0), None, "below already");
    assert_eq!(crossing_days(&terms, 0.0), None, "never");
}

#[test]
fn the_worked_half_lives_hold() {
    // ALGORITHMS.md 4.1: h = 30 d gives 0.707 after 15 days and 0.5 after 30.
    let term = Term {
        value: 1.0,
        half_life_days: 30.0,
    };
    assert!((term.after(15.0) - 0.707).abs() < 5e-4);
    assert!((term.after(30.0) - 0.5).abs() < 1e-15);
}

#[test]
fn eras_meet_without_a_step() {
    let at = era_start(14);
    let before = at.plus_micros(-SECOND_US);
    let row = |era: i64, event: Timestamp| ActivityRow {
        event_type: "email.replied".into(),
        direction: None,
        machine_class: revgauge_contract::event::MachineClass::None,
        era,
        n: 1,
        sums: vec![(3, (event.days_since(era_start(era)) / 3.0).exp2())],
        value_sum: 0.0,
        value_max: None,
        first_time: event,
        last_time: event,
    };
    let later = at.plus_micros(3 * DAY_US);
    let old = decayed(&row(13, before), 3, later);
    let new = decayed(&row(14, at), 3, later);
    assert!(
        (old - 0.5).abs() < 1e-5 && (new - 0.5).abs() < 1e-12,
        "{old} {new}"
    );
}

#[test]
fn the_first_of_several_crossings_is_found() {
    // Falls below 0.5 at 2, is above again from 3 to 5.
    let at = |days: f64| {
        if days < 2.0 || (3.0..5.0).contains(&days) {
            1.0
        } else {
            0.0
        }
    };
    let bounds = |a: f64, b: f64| {
        let inner = [a, b, 2.0, 2.5, 3.0, 4.0, 5.0]
            .into_iter()
            .filter(|d| (a..=b).contains(d));
        let values: Vec<f64> = inner.map(at).collect();
        (
            values.iter().copied().fold(1.0, f64::min),
            values.iter().copied().fold(0.0, f64::max),
        )
    };
    let found = first_below(0.0, 100.0, 0.5, &bounds).expect("crosses");
    assert!((found - 2.0).abs() < 1e-9, "{found}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_crossing_is_the_boundary(
        values in proptest::collection::vec(0.0..50.0_f64, 1..6),
        share in 0.01..0.99_f64,
    ) {
        let terms: Vec<Term> = values.iter().zip([3.0, 14.0, 30.0, 60.0, 14.0, 3.0])
            .map(|(value, half_life_days)| Term { value: *value, half_life_days }).collect();
        let sum = sum_at(&terms, 0.0);
        prop_assume!(sum > 1e-6);
        let theta = sum * share;
        let days = crossing_days(&terms, theta).expect("all decays");
        let eps = 1e-8; // about a millisecond
        prop_assert!(sum_at(&terms, days + eps) < theta);
        prop_assert!(sum_at(&terms, (days - eps).max(0.0)) >= theta * (1.0 - 1e-12));
    }
}
