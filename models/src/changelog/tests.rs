//! The log is a function of the set of changes, and answers for both times.

use proptest::prelude::*;
use revgauge_contract::crm::order_key;

use super::*;

type Row = (u8, u8, i64, i64, Option<u8>);

fn log_of(rows: &[Row]) -> ChangeLog {
    let mut builder = ChangeLogBuilder::new(ChangeLogSettings::default());
    for (object, field, event, known, value) in rows {
        let order = ChangeOrder::parse(&order_key(None, *event)).expect("a key");
        let value = value.map(|value| format!("v{value}"));
        builder
            .push(
                &format!("d{object}"),
                &format!("f{field}"),
                order,
                value.as_deref(),
                Timestamp(*known),
            )
            .expect("fits");
    }
    builder.build()
}

/// The definition: of what was known by `t` about the time up to `s`, the greatest order key, then value.
fn by_definition(rows: &[Row], object: u8, t: i64, s: i64) -> Vec<(String, String)> {
    let mut best: std::collections::BTreeMap<u8, (i64, Option<String>)> = std::collections::BTreeMap::new();
    for (_, field, event, _, value) in rows
        .iter()
        .filter(|row| row.0 == object && row.3 <= t && row.2 <= s)
    {
        let candidate = (*event, value.map(|value| format!("v{value}")));
        let held = best.entry(*field).or_insert_with(|| candidate.clone());
        if candidate > *held {
            *held = candidate;
        }
    }
    best.into_iter()
        .filter_map(|(field, (_, value))| Some((format!("f{field}"), value?)))
        .collect()
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0u8..3, 0u8..3, -20i64..20, -20i64..20, prop::option::of(0u8..3));
    prop::collection::vec(row, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arrival_order_is_nothing(shuffled in rows().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle()))) {
        prop_assert_eq!(log_of(&shuffled.0), log_of(&shuffled.1));
    }

    #[test]
    fn states_are_those_of_the_definition(rows in rows(), object in 0u8..3, t in -25i64..25, s in -25i64..25) {
        let log = log_of(&rows);
        let id = format!("d{object}");
        let read = |state: ObjectState<'_>| -> Vec<(String, String)> {
            state.values().map(|(field, value)| (field.to_owned(), value.to_owned())).collect()
        };
        prop_assert_eq!(read(log.state_at(&id, Timestamp(t))), by_definition(&rows, object, t, i64::MAX));
        prop_assert_eq!(read(log.about(&id, Timestamp(t), Timestamp(s))), by_definition(&rows, object, t, s));
    }

    #[test]
    fn walking_ends_at_the_state_and_passes_through_each(rows in rows(), t0 in -25i64..25, span in 0i64..30) {
        let log = log_of(&rows);
        let (from, to) = (Timestamp(t0), Timestamp(t0 + span));
        for object in log.logs() {
            let mut last = object.state_at(from);
            for (at, state) in object.states_between(from, to) {
                prop_assert!(at > from && at <= to);
                prop_assert!(state == object.state_at(at));
                last = state;
            }
            prop_assert!(last == object.state_at(to));
        }
        let within = log.between(from, to).count();
        let counted = log.logs().flat_map(|object| object.changes().collect::<Vec<_>>())
            .filter(|change| change.known_at > from && change.known_at <= to).count();
        prop_assert_eq!(within, counted);
    }
}

#[test]
fn too_many_changes_are_refused_by_name() {
    let mut builder = ChangeLogBuilder::new(ChangeLogSettings { max_changes: 1 });
    let order = ChangeOrder::parse(&order_key(None, 1)).expect("a key");
    builder
        .push("d", "f", order, None, Timestamp(1))
        .expect("the first fits");
    let refused = builder
        .push("d", "f", order, Some("x"), Timestamp(1))
        .expect_err("full");
    assert!(refused.message.contains("max_changes"), "{refused}");
}

#[test]
fn a_deleted_or_merged_object_is_not_there() {
    let mut builder = ChangeLogBuilder::default();
    let at = |event| ChangeOrder::parse(&order_key(None, event)).expect("a key");
    for (field, value, event) in [
        (crm::EXISTS, "true", 1),
        (crm::DELETED, "true", 2),
        (crm::DELETED, "false", 3),
    ] {
        builder
            .push("d", field, at(event), Some(value), Timestamp(event))
            .expect("fits");
    }
    let log = builder.build();
    let there: Vec<bool> = (0..4).map(|t| log.state_at("d", Timestamp(t)).exists()).collect();
    assert_eq!(there, [false, true, false, true]);
}

proptest! {
    #[test]
    fn the_fingerprint_is_that_of_what_was_known(
        rows in prop::collection::vec((0u8..3, 0u8..3, 0i64..50, 0i64..50, prop::option::of(0u8..4)), 0..40),
        t in 0i64..50, late in (0u8..3, 0u8..3, 0i64..50, 0i64..50, prop::option::of(4u8..6)),
    ) {
        let until = |rows: &[Row]| log_of(rows).fingerprint(Timestamp(t));
        let mut backwards = rows.clone();
        backwards.reverse();
        prop_assert_eq!(until(&rows), until(&backwards));
        let known: Vec<Row> = rows.iter().copied().filter(|row| row.3 <= t).collect();
        prop_assert_eq!(until(&rows), until(&known));
        // A change with a value that none had, also one that comes late, is another set where it was known by then.
        let mut more = rows.clone();
        more.push(late);
        let is_new = late.3 <= t && (late.4.is_some() || !rows.iter().any(|row| (row.0, row.1, row.2, row.4) == (late.0, late.1, late.2, late.4)));
        prop_assert!(!is_new || until(&rows) != until(&more));
    }
}
