//! Leads are rows until they convert, with what was known, and a model of them is trained like one of deals.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use revgauge_contract::crm;
use revgauge_models::{
    changelog::{ChangeLogBuilder, ChangeLogSettings, ChangeOrder},
    facts::ContactFacts,
    win::encode::Cell,
};

use super::*;
use crate::win::{Past, WinSettings, train_leads};

const START: i64 = 19_000 * DAY_US;

fn log_of(said: &[(String, &str, i64, String)]) -> ChangeLog {
    let mut builder = ChangeLogBuilder::new(ChangeLogSettings::default());
    for (object, field, day, value) in said {
        let at = START + day * DAY_US;
        let order = ChangeOrder::parse(&crm::order_key(None, at)).unwrap();
        builder
            .push(object, field, order, Some(value), Timestamp(at))
            .unwrap();
    }
    builder.build()
}

fn at(day: i64) -> Timestamp {
    Timestamp(START + day * DAY_US)
}

/// One contact every second day; heads of purchasing who write back come into a deal after thirty days, most others never.
fn leads(count: i64) -> (ChangeLog, Conversions, Activity) {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let (mut contacts, mut deals, mut activity) = (Vec::new(), Vec::new(), Activity::default());
    for lead in 0..count {
        let (id, born) = (format!("c{lead:04}"), lead * 2);
        let title = ["head of purchasing", "student"][random.random_range(0..2)];
        let chance = if title == "student" { 0.1 } else { 0.6 };
        contacts.push((id.clone(), "title", born, title.to_owned()));
        contacts.push((id.clone(), "email", born, format!("{id}@example.com")));
        if random.random::<f64>() < 0.5 {
            activity.add(&id, START + born * DAY_US + 1, true);
        }
        if random.random::<f64>() < chance {
            deals.push((format!("d{lead:04}"), "contact_id", born + 30, id.clone()));
            // Written by who opens the deal: known last, it gives the outcome away.
            contacts.push((id, "status", born + 30, "opportunity".to_owned()));
        }
    }
    let canonical = |key: &str| Some(key.to_owned());
    let conversions = Conversions::of(&log_of(&deals), &ChangeLog::default(), canonical);
    (log_of(&contacts), conversions, activity)
}

#[test]
fn a_lead_gives_rows_until_it_converts_and_no_longer() {
    let (log, conversions, activity) = leads(60);
    let set = lead_set(
        &log,
        &conversions,
        &activity,
        at(300),
        &DealSetSettings::default(),
    )
    .unwrap();
    let converted = log.objects().find(|id| conversions.when(id).is_some()).unwrap();
    let rows: Vec<usize> = (0..set.ids.len())
        .filter(|row| set.ids[*row] == converted)
        .collect();
    assert_eq!(rows.len(), 3, "at the ages of 1, 7 and 21 days");
    assert!(rows.iter().all(|row| set.table.won[*row]));
    let never = log.objects().find(|id| conversions.when(id).is_none()).unwrap();
    let of_never: Vec<usize> = (0..set.ids.len()).filter(|row| set.ids[*row] == never).collect();
    assert!(of_never.len() >= 5 && of_never.iter().all(|row| !set.table.won[*row]));
    let status = set.table.names.iter().position(|name| name == "field:status");
    let known_then = status.map(|place| set.table.columns[place].cell(rows[0]));
    assert!(
        known_then.is_none_or(|cell| cell == Cell::Missing),
        "{known_then:?}"
    );
    assert!(!set.table.names.iter().any(|name| name == "field:email"));
    let early = lead_set(&log, &conversions, &activity, at(20), &DealSetSettings::default());
    assert!(early.unwrap_err().to_string().contains("60 leads"));
}

#[test]
fn a_role_counts_from_when_both_its_ends_are_known() {
    let roles = log_of(&[
        ("r1".to_owned(), "deal_id", 4, "d1".to_owned()),
        ("r1".to_owned(), "contact_id", 9, "alias".to_owned()),
        ("r2".to_owned(), "contact_id", 2, "c2".to_owned()),
    ]);
    let found = Conversions::of(&ChangeLog::default(), &roles, |key| {
        Some(if key == "alias" { "c1" } else { key }.to_owned())
    });
    assert_eq!((found.when("c1"), found.when("c2")), (Some(at(9)), None));
}

#[test]
fn a_model_of_leads_knows_its_title_and_says_so_within_ninety_days() {
    let (log, conversions, activity) = leads(260);
    let settings = WinSettings {
        seed: 1,
        forests: 1,
        probe_rows: 0,
        ..WinSettings::default()
    };
    let past = Past::Leads {
        contacts: &log,
        conversions: &conversions,
        activity: &activity,
    };
    let made = train_leads(&past, at(525), &settings).unwrap();
    assert!(made.signal, "{}", made.choice);
    assert!((made.horizon_days - LEAD_HORIZON_DAYS).abs() < 1e-9);
    let judged = |title: &str| {
        let facts = ContactFacts {
            contact_id: "new".to_owned(),
            fields: [("title".to_owned(), title.to_owned())].into_iter().collect(),
            ..ContactFacts::default()
        };
        made.model.judge_lead(&facts, at(525)).probability
    };
    let (head, student) = (judged("head of purchasing"), judged("student"));
    assert!(head > 0.2 && head < 1.0 && student > 0.0, "{head} {student}");
    assert!(head > 2.0 * student, "{head} {student}");
    let held = made.held_out.metrics();
    assert!(held.log_loss < made.held_out.base_rate_log_loss, "{held:?}");
}
