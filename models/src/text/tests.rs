//! Text signals against sentences that a person labelled, and the laws that hold for any text.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use proptest::prelude::*;
use revgauge_contract::{Timestamp, event::Direction, time::DAY_US};
use serde_json::json;

use super::*;
use crate::{Definitions, definitions::TextSignals};

static SHIPPED: LazyLock<Definitions> = LazyLock::new(Definitions::shipped);

fn row(event_id: &str, days: i64, payload: &serde_json::Value) -> DealText {
    DealText {
        event_id: event_id.to_owned(),
        event_type: "transcript.recorded".to_owned(),
        at: Timestamp(1_770_000_000_000_000 + days * DAY_US),
        user_id: Some("rep1".to_owned()),
        direction: None,
        payload: payload.to_string(),
    }
}

fn said(text: &str) -> serde_json::Value {
    json!({"consent": true, "text": text})
}

fn signals(rules: &TextSignals, row: &DealText, amounts: &[f64]) -> Vec<Hit> {
    let document = Document::read(row, &rules.speakers).expect("has text");
    analyse(rules, &document, amounts).hits
}

/// Lowest precision and recall of each signal on `sentences.tsv`; the figures measured are in the room's README.
const FLOORS: &[(&str, f64, f64)] = &[
    ("vague_next_step", 0.95, 0.80),
    ("price_objection", 0.95, 0.90),
    ("competitor_named", 0.90, 0.90),
    ("decision_maker", 0.90, 0.90),
    ("decision_maker_absent", 0.95, 0.85),
    ("unapproved_claim", 0.95, 0.80),
    ("disparagement", 0.95, 0.95),
];

#[test]
fn labelled_sentences_are_told_apart() {
    let rules = &SHIPPED.text_signals;
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut told = Vec::new();
    let lines: Vec<&str> = include_str!("sentences.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert!(lines.len() >= 100, "{} labelled sentences", lines.len());
    for line in lines {
        let parts: Vec<&str> = line.split('\t').collect();
        let [role, labels, sentence] = parts[..] else {
            panic!("not three columns: {line}")
        };
        let payload = json!({"consent": true, "segments": [{"role": role, "text": sentence}]});
        let hits = signals(rules, &row("e", 0, &payload), &[]);
        let found: BTreeSet<&str> = hits.iter().map(|hit| hit.signal.as_str()).collect();
        let wanted: BTreeSet<&str> = labels.split(',').collect();
        for (signal, _, _) in FLOORS {
            let count = counts.entry(signal).or_default();
            let place = match (found.contains(signal), wanted.contains(signal)) {
                (true, true) => 0,
                (true, false) => 1,
                (false, true) => 2,
                (false, false) => continue,
            };
            count[place] += 1;
            if place > 0 {
                told.push(format!("{} {signal}: {sentence}", ["", "wrong", "missed"][place]));
            }
        }
    }
    for (signal, precision_floor, recall_floor) in FLOORS {
        let [right, wrong, missed] = counts[signal].map(|count| count as f64);
        let (precision, recall) = (right / (right + wrong), right / (right + missed));
        println!("{signal}: precision {precision:.3}, recall {recall:.3} ({right} right)");
        assert!(
            precision >= *precision_floor && recall >= *recall_floor,
            "{signal}: precision {precision:.3}, recall {recall:.3}\n{}",
            told.join("\n")
        );
    }
}

#[test]
fn an_objection_is_answered_by_our_side_in_the_next_sentences() {
    let rules = &SHIPPED.text_signals;
    let answer = |text: &str| {
        let hits = signals(rules, &row("e", 0, &said(text)), &[]);
        hits.iter()
            .find(|hit| hit.signal == "price_objection")
            .and_then(|hit| hit.answered)
    };
    let objection = "Rep: This call is recorded.\nBuyer: That is too expensive.\n";
    assert_eq!(answer(objection), Some(false));
    assert_eq!(
        answer(&format!("{objection}Rep: It pays for itself in a year.")),
        Some(true)
    );
    assert_eq!(
        answer(&format!("{objection}Buyer: And the savings are small.")),
        Some(false)
    );
}

#[test]
fn a_figure_is_held_against_the_deal() {
    let rules = &SHIPPED.text_signals;
    let stated = |text: &str| {
        let payload = json!({"consent": true, "segments": [{"role": "rep", "text": text}]});
        let hits = signals(rules, &row("e", 0, &payload), &[48_000.0, 60_000.0]);
        hits.into_iter()
            .find(|hit| hit.signal == "pricing_mismatch")
            .and_then(|hit| hit.value)
    };
    assert_eq!(stated("The total is $48,000."), None);
    assert_eq!(stated("In total 60k dollars a year."), None);
    assert_eq!(stated("The total is $39.5k."), Some("$39.5k".to_owned()));
    assert_eq!(stated("The price is € 1.2m."), Some("€ 1.2m".to_owned()));
    assert_eq!(stated("The price is $40 per seat."), None);
    assert_eq!(stated("The total is 39 pages."), None);
}

#[test]
fn without_consent_or_in_another_language_nothing_is_read() {
    let rules = &SHIPPED.text_signals;
    let withheld = |event_type: &str, payload: serde_json::Value| {
        let row = DealText {
            event_type: event_type.to_owned(),
            ..row("e", 0, &payload)
        };
        let document = Document::read(&row, &rules.speakers).expect("has text");
        let analysis = analyse(rules, &document, &[]);
        assert!(analysis.withheld.is_none() || analysis.hits.is_empty());
        analysis.withheld
    };
    let text = "Let's touch base.";
    assert_eq!(
        withheld("transcript.recorded", json!({"text": text})),
        Some(Withheld::Consent)
    );
    assert_eq!(withheld("email.sent", json!({"text": text})), None);
    assert_eq!(
        withheld("email.sent", json!({"text": text, "consent": false})),
        Some(Withheld::Consent)
    );
    assert_eq!(
        withheld("email.sent", json!({"text": text, "language": "de"})),
        Some(Withheld::Language)
    );
    assert_eq!(
        withheld("email.sent", json!({"text": text, "language": "en-GB"})),
        None
    );
}

#[test]
fn a_recorded_call_discloses_it_and_mails_need_not() {
    let rules = &SHIPPED.text_signals;
    let misses = |row: &DealText| {
        signals(rules, row, &[])
            .iter()
            .any(|hit| hit.signal == "missing_disclosure")
    };
    assert!(misses(&row("e", 0, &said("Rep: Hello there."))));
    assert!(!misses(&row(
        "e",
        0,
        &said("Rep: Hello, this call is being recorded.")
    )));
    let mail = DealText {
        event_type: "email.sent".to_owned(),
        direction: Some(Direction::Outbound),
        ..row("e", 0, &said("Hello there."))
    };
    assert!(!misses(&mail));
}

#[test]
fn findings_move_with_the_last_conversation_and_end_with_retention() {
    let rules = &SHIPPED.text_signals;
    let rows = [
        row("e1", 0, &said("Buyer: Forecastly is cheaper. Let's touch base.")),
        row("e2", 10, &said("Rep: We meet on Monday with our CFO.")),
    ];
    let findings = TextFindings::of(rules, &rows, &[]);
    let at = |days: i64| Timestamp(1_770_000_000_000_000 + days * DAY_US);
    let quantity = |rule: &str, days: i64| findings.measure(rule, at(days)).map(|found| found.0);
    assert_eq!(quantity("vague_next_step", -1), None);
    assert_eq!(quantity("vague_next_step", 5), Some(1.0));
    assert_eq!(quantity("vague_next_step", 11), Some(0.0));
    assert_eq!(quantity("competitor_named", 11), Some(1.0));
    assert_eq!(quantity("price_objection", 11), Some(1.0));
    assert_eq!(quantity("decision_maker_absent", 5), Some(1.0));
    assert_eq!(quantity("decision_maker_absent", 11), Some(0.0));
    assert_eq!(
        quantity("competitor_named", 91),
        Some(0.0),
        "the first text is past its retention"
    );
    assert_eq!(quantity("competitor_named", 101), None);
    assert_eq!(findings.expiries(at(11)).len(), 2);
}

#[test]
fn a_tenant_replaces_the_file_and_faults_are_told() {
    let shipped = Definitions::shipped_text("text_signals").expect("shipped");
    let own = shipped.replace("\"Dealwise\"", "\"Zebra Sales\"");
    let set = Definitions::shipped().with("text_signals", &own).expect("valid");
    let hits = signals(
        &set.text_signals,
        &row("e", 0, &said("Rep: We saw Zebra Sales.")),
        &[],
    );
    assert!(hits.iter().any(|hit| hit.value.as_deref() == Some("Zebra Sales")));
    let wrong = shipped.replace("[signals.vague_next_step]", "[signals.vague_step]");
    let error = Definitions::shipped()
        .with("text_signals", &wrong)
        .expect_err("unknown signal");
    assert!(error.to_string().contains("vague_step"), "{error}");
}

/// Sets that read only the first bytes of a text.
static CUT: LazyLock<[Definitions; 3]> = LazyLock::new(|| {
    [17, 60, 1_000_000].map(|limit| {
        let text = Definitions::shipped_text("text_signals").expect("shipped");
        let own = text.replace("max_text_bytes = 1000000", &format!("max_text_bytes = {limit}"));
        SHIPPED.with("text_signals", &own).expect("valid")
    })
});

fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        Just("Let’s touch base. ".to_owned()),
        Just("Buyer: too expensive!\n".to_owned()),
        Just("the total is €".to_owned()),
        Just(" Forecastly ".to_owned()),
        Just("Rep:".to_owned()),
        "[0-9.,]{1,6}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn spans_are_valid_for_any_text(text in texts(), limit in 0usize..3) {
        let rules = &CUT[limit].text_signals;
        if let Some(document) = Document::read(&row("e", 0, &said(&text)), &rules.speakers) {
            for turn in &document.turns {
                prop_assert!(document.text.get(turn.range.clone()).is_some());
            }
            for hit in analyse(rules, &document, &[1.0]).hits {
                prop_assert!(document.text.get(hit.span.clone()).is_some_and(|span| !span.is_empty()));
                prop_assert!(document.text.get(hit.sentence.clone()).is_some());
                prop_assert!(hit.sentence.start <= hit.span.start && hit.span.end <= hit.sentence.end);
            }
        }
    }

    #[test]
    fn the_order_of_texts_is_nothing(texts in prop::collection::vec((texts(), 0i64..20), 0..5), turn in 0usize..5) {
        let rules = &SHIPPED.text_signals;
        let rows: Vec<DealText> = (0..).zip(&texts)
            .map(|(n, (text, days))| row(&format!("e{n}"), *days, &said(text)))
            .collect();
        let mut turned = rows.clone();
        if !turned.is_empty() {
            turned.rotate_left(turn % rows.len());
        }
        turned.extend(rows.first().cloned());
        prop_assert_eq!(TextFindings::of(rules, &rows, &[]), TextFindings::of(rules, &turned, &[]));
    }
}
