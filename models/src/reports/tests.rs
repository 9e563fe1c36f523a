//! Every waterfall balances to the cent, net and gross, whatever happened and however it is cut.

use std::collections::BTreeMap;

use proptest::prelude::*;
use revgauge_contract::{
    Timestamp,
    crm::{self, order_key},
    reports::{Bucket, WaterfallGroup, WaterfallPart},
    time::DAY_US,
};

use super::{Scope, waterfall};
use crate::{
    changelog::{ChangeLog, ChangeLogBuilder, ChangeOrder},
    directory::StageCatalogue,
};

fn day(number: i64) -> Timestamp {
    Timestamp(1_767_225_600_000_000 + number * DAY_US)
}

/// Changes as deal, field, value and day of knowledge.
fn log_of<'a>(changes: impl IntoIterator<Item = (&'a str, &'a str, String, i64)>) -> ChangeLog {
    let mut builder = ChangeLogBuilder::default();
    for (deal, field, value, known) in changes {
        let at = day(known);
        let order = ChangeOrder::parse(&order_key(None, at.micros())).expect("a key");
        builder.push(deal, field, order, Some(&value), at).expect("fits");
    }
    builder.build()
}

fn cut(log: &ChangeLog, scope: &Scope, from: i64, to: i64, gross: bool) -> Vec<WaterfallPart> {
    waterfall(log, &StageCatalogue::default(), scope, day(from), day(to), gross)
}

/// For each group and currency: sum of all parts but the end, and the end.
fn sides(parts: &[WaterfallPart]) -> BTreeMap<(String, String), (i64, i64)> {
    let mut sides: BTreeMap<_, (i64, i64)> = BTreeMap::new();
    for part in parts {
        let side = sides
            .entry((part.group.clone(), part.currency.clone()))
            .or_default();
        if part.bucket == Bucket::End {
            side.1 += part.amount_cents;
        } else {
            side.0 += part.amount_cents;
        }
    }
    sides
}

fn changes() -> impl Strategy<Value = Vec<(&'static str, &'static str, String, i64)>> {
    let field = prop_oneof![
        (-5000i64..90_000).prop_map(|n| ("amount", format!("{}.{:02}", n / 100, (n % 100).abs()))),
        prop::sample::select(&["Discovery", "Proposal", "Won", "Lost"][..])
            .prop_map(|s| ("stage", s.to_owned())),
        (-10i64..40).prop_map(|n| ("close_date", day(n).to_string())),
        prop::sample::select(&["r1", "r2", ""][..]).prop_map(|s| ("owner_id", s.to_owned())),
        prop::sample::select(&["sales", "renewals"][..]).prop_map(|s| ("pipeline", s.to_owned())),
        prop::sample::select(&["USD", "EUR"][..]).prop_map(|s| ("currency", s.to_owned())),
        prop::sample::select(&["true", "false"][..]).prop_map(|s| (crm::DELETED, s.to_owned())),
        prop::sample::select(&["d2", ""][..]).prop_map(|s| (crm::MERGED_INTO, s.to_owned())),
    ];
    let deal = prop::sample::select(&["d1", "d2", "d3"][..]);
    prop::collection::vec((deal, field, 0i64..30), 0..60).prop_map(|rows| {
        rows.into_iter()
            .map(|(deal, (field, value), known)| (deal, field, value, known))
            .collect()
    })
}

fn scopes() -> impl Strategy<Value = Scope> {
    let groups = [
        WaterfallGroup::None,
        WaterfallGroup::Stage,
        WaterfallGroup::Owner,
        WaterfallGroup::Pipeline,
    ];
    (
        prop::option::of((0i64..15, 1i64..20)),
        any::<bool>(),
        any::<bool>(),
        prop::sample::select(groups.to_vec()),
    )
        .prop_map(|(period, owned, piped, group_by)| Scope {
            period: period.map(|(start, days)| (day(start), day(start + days))),
            owner_ids: owned.then(|| std::iter::once("r1".to_owned()).collect()),
            pipeline: piped.then(|| "sales".to_owned()),
            group_by,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn parts_sum_to_the_change(changes in changes(), scope in scopes(), from in -1i64..31, days in 0i64..31) {
        let log = log_of(changes);
        let (net, gross) = (cut(&log, &scope, from, from + days, false), cut(&log, &scope, from, from + days, true));
        for parts in [&net, &gross] {
            for (group, (moved, end)) in sides(parts) {
                prop_assert_eq!(moved, end, "group {:?} of {:?}", group, parts);
            }
        }
        let ends = |parts: &[WaterfallPart]| {
            parts.iter().filter(|p| matches!(p.bucket, Bucket::Start | Bucket::End)).cloned().collect::<Vec<_>>()
        };
        prop_assert_eq!(ends(&net), ends(&gross));
    }

    #[test]
    fn waterfalls_join(changes in changes(), scope in scopes(), from in 0i64..10, middle in 0i64..10, days in 0i64..10) {
        let log = log_of(changes);
        let (a, b, c) = (from, from + middle, from + middle + days);
        let worth = |parts: &[WaterfallPart], bucket| -> i64 {
            parts.iter().filter(|part| part.bucket == bucket).map(|part| part.amount_cents).sum()
        };
        let (first, second) = (cut(&log, &scope, a, b, true), cut(&log, &scope, b, c, true));
        prop_assert_eq!(worth(&first, Bucket::End), worth(&second, Bucket::Start));
    }
}

#[test]
fn each_move_has_its_bar() {
    let of = |deal: &'static str, rows: &[(&'static str, &str, i64)]| {
        rows.iter()
            .map(|(field, value, known)| (deal, *field, (*value).to_owned(), *known))
            .collect::<Vec<_>>()
    };
    let (within, after) = ("2026-01-20", "2026-04-20");
    let mut changes = of(
        "won",
        &[
            ("amount", "100", 0),
            ("close_date", within, 0),
            ("amount", "120.50", 5),
            ("stage", "Won", 6),
        ],
    );
    changes.extend(of(
        "lost",
        &[
            ("amount", "70", 0),
            ("close_date", within, 0),
            ("stage", "Lost", 6),
        ],
    ));
    changes.extend(of(
        "slips",
        &[
            ("amount", "50", 0),
            ("close_date", within, 0),
            ("close_date", after, 4),
        ],
    ));
    changes.extend(of(
        "back",
        &[
            ("amount", "30", 0),
            ("close_date", within, 0),
            ("close_date", after, 3),
            ("close_date", within, 7),
        ],
    ));
    changes.extend(of(
        "pulled",
        &[
            ("amount", "10", 0),
            ("close_date", after, 0),
            ("close_date", within, 4),
        ],
    ));
    changes.extend(of("new", &[("amount", "5", 4), ("close_date", within, 4)]));
    let log = log_of(changes);
    let scope = Scope {
        period: Some((day(0), day(90))),
        ..Scope::default()
    };
    let bars = |gross| {
        let mut bars: BTreeMap<&str, i64> = BTreeMap::new();
        for part in cut(&log, &scope, 1, 10, gross) {
            *bars.entry(part.bucket.as_str()).or_default() += part.amount_cents;
        }
        bars
    };
    let net = bars(false);
    let expected = BTreeMap::from([
        ("start", 25_000),
        ("created", 500),
        ("pulled_in", 1_000),
        ("amount_up", 2_050),
        ("won", -12_050),
        ("lost", -7_000),
        ("slipped_out", -5_000),
        ("end", 4_500),
    ]);
    assert_eq!(net, expected);
    let gross = bars(true);
    assert_eq!((gross["slipped_out"], gross["pulled_in"]), (-8_000, 4_000));
    assert_eq!(gross["end"], net["end"]);
}
