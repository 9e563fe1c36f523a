//! The organisation is deterministic, believable and acceptable.

use std::{collections::HashSet, sync::Arc};

use revgauge_contract::{
    Timestamp,
    event::{EventDraft, MachineClass, Reception, Trust},
    time::DAY_US,
};

use super::{GeneratorConfig, Organisation};

fn all(config: GeneratorConfig) -> Vec<EventDraft> {
    let mut organisation = Organisation::new(config).expect("valid");
    std::iter::from_fn(|| organisation.next_day()).flatten().collect()
}

fn small() -> GeneratorConfig {
    GeneratorConfig {
        accounts: 40,
        days: 120,
        ..GeneratorConfig::default()
    }
}

#[test]
fn the_same_seed_gives_the_same_events() {
    assert_eq!(all(small()), all(small()));
    assert_ne!(all(small()), all(GeneratorConfig { seed: 2, ..small() }));
}

#[test]
fn every_event_is_accepted_and_has_its_own_id() {
    let config = small();
    let received_at = config.start.plus_micros(200 * DAY_US);
    let reception = Reception {
        trust: Trust::History,
        ..Reception::live(Arc::from("t"), received_at, "simulator")
    };
    let mut ids = HashSet::new();
    for draft in all(config) {
        let event = draft.accept(&reception).expect("accepted");
        assert!(ids.insert(event.event_id.clone()), "{} twice", event.event_id);
    }
}

#[test]
fn sizing_by_events_comes_near() {
    let config = GeneratorConfig {
        days: 90,
        ..GeneratorConfig::default()
    }
    .sized_for(30_000);
    let events = all(config).len();
    assert!((20_000..45_000).contains(&events), "{events}");
}

#[test]
fn outcomes_depend_on_the_latents_and_machines_are_tagged() {
    let config = GeneratorConfig {
        accounts: 400,
        days: 300,
        ..GeneratorConfig::default()
    };
    let organisation = Organisation::new(config.clone()).expect("valid");
    let fit: std::collections::HashMap<_, _> = organisation
        .truth(0)
        .map(|truth| (truth.account_id, truth.fit))
        .collect();
    let events = all(config);
    let mean_fit = |won: bool| {
        let fits: Vec<f64> = events
            .iter()
            .filter(|e| {
                e.payload.get("is_won").and_then(serde_json::Value::as_bool) == Some(won)
                    && e.deal_id.is_some()
            })
            .map(|e| fit[e.account_id.as_ref().expect("account")])
            .collect();
        assert!(fits.len() > 30, "{} closed", fits.len());
        fits.iter().sum::<f64>() / fits.len() as f64
    };
    assert!(
        mean_fit(true) > mean_fit(false) + 0.03,
        "{} {}",
        mean_fit(true),
        mean_fit(false)
    );
    assert!(
        events
            .iter()
            .any(|e| e.machine_class == Some(MachineClass::Proxy))
    );
    assert!(
        events
            .iter()
            .any(|e| e.event_type.as_deref() == Some("meeting.no_show"))
    );
}

#[test]
fn impossible_sizes_are_refused_by_name() {
    let error = Organisation::new(GeneratorConfig { reps: 0, ..small() }).expect_err("refused");
    assert_eq!(error.to_string(), "cannot simulate with reps: give 1 to 100000");
    let early = GeneratorConfig {
        start: Timestamp(0),
        ..small()
    };
    assert_eq!(Organisation::new(early).expect_err("refused").key, "start");
}

#[test]
fn conversations_are_recorded_with_what_is_in_them() {
    let events = all(GeneratorConfig {
        accounts: 300,
        ..small()
    });
    let talks: Vec<_> = events
        .iter()
        .filter(|draft| draft.event_type.as_deref() == Some("transcript.recorded"))
        .collect();
    assert!(talks.len() > 20, "{} transcripts", talks.len());
    let labels: HashSet<&str> = talks
        .iter()
        .filter_map(|talk| talk.payload["labels"].as_array())
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .collect();
    for signal in [
        "vague_next_step",
        "competitor_named",
        "price_objection",
        "decision_maker",
    ] {
        assert!(labels.contains(signal), "{signal} in {labels:?}");
    }
    assert!(
        talks
            .iter()
            .all(|talk| talk.deal_id.is_some() && talk.payload["segments"].is_array())
    );
}
