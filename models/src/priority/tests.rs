//! Tiers, hysteresis, the anchored map, and computed crossings.

use proptest::prelude::*;

use super::*;
use crate::{
    account::score_account,
    contact::{
        score_contact,
        tests::{NOW, days_ago, rows},
    },
    decay::ACCOUNT_HALF_LIVES,
    facts::{AccountFacts, ContactFacts},
};

fn definitions(policy: &str) -> Definitions {
    let text = Definitions::shipped_text("priority").expect("there");
    let text = text.replace("policy = \"anchored\"", &format!("policy = \"{policy}\""));
    Definitions::shipped().with("priority", &text).expect("valid")
}

fn account_facts(industry: &str, ages: &[f64]) -> AccountFacts {
    let times: Vec<Timestamp> = ages.iter().map(|age| days_ago(*age)).collect();
    let class = revgauge_contract::event::MachineClass::None;
    AccountFacts {
        fields: [("industry".to_owned(), industry.to_owned())].into(),
        signals: rows("form.submitted", class, &times, ACCOUNT_HALF_LIVES),
        ..AccountFacts::default()
    }
}

fn nobody(definitions: &Definitions, at: Timestamp) -> ContactScores {
    score_contact(
        definitions,
        &ContactFacts::default(),
        &[0.0; 168],
        at,
        Detail::Value,
    )
}

fn sum(score: &Score) -> f64 {
    score.contributions.iter().map(|part| part.points).sum()
}

#[test]
fn percentiles_are_sent_to_the_cut_offs() {
    let definition = &Definitions::shipped().priority;
    let mut values: Vec<f64> = (0..=1_000).map(|place| f64::from(place) / 2_500.0).collect();
    let cut_offs = cut(&mut values, &definition.shares);
    assert_eq!(cut_offs.population, 1_001);
    for (percentile, anchor) in cut_offs.percentiles.iter().zip(definition.cut_offs) {
        assert!((cut_offs.anchored(*percentile, &definition.cut_offs) - anchor).abs() < 1e-9);
    }
    assert_eq!(cut_offs.anchored(0.0, &definition.cut_offs), 0.0);
    assert_eq!(cut_offs.anchored(1.0, &definition.cut_offs), 1.0);
    let tiers = |label: &str| {
        let tier_of = |value: &&f64| {
            tier(
                definition,
                cut_offs.anchored(**value, &definition.cut_offs),
                Some(&cut_offs),
                None,
            ) == label
        };
        values.iter().filter(tier_of).count()
    };
    // Both statements of SO-28 to SO-31 at once: 20, 30, 30 and 20 % of the population.
    assert_eq!(
        [tiers("tier_1"), tiers("tier_2"), tiers("tier_3"), tiers("tier_4")],
        [201, 300, 300, 200]
    );
}

#[test]
fn a_population_of_equals_or_of_nobody_is_no_trouble() {
    let shares = [0.2, 0.5, 0.8];
    let anchors = [0.4, 0.6, 0.8];
    let same = cut(&mut [0.3; 50], &shares);
    assert!((same.anchored(0.3, &anchors) - 0.4).abs() < 1e-6);
    assert!(same.anchored(0.31, &anchors) > 0.8);
    let zero = cut(&mut [0.0; 50], &shares);
    assert_eq!(zero.anchored(0.0, &anchors), 0.0);
    let none = cut(&mut [f64::NAN], &shares);
    assert_eq!(none.population, 0);
    assert_eq!(cut(&mut [0.7], &shares).percentiles, [0.7; 3]);
}

#[test]
fn a_value_that_trembles_does_not_flicker() {
    let definition = &Definitions::shipped().priority;
    let mut current: Option<&str> = None;
    let mut changes = 0;
    for step in 0..200 {
        let value = 0.6 + 0.015 * f64::from(step % 3 - 1);
        let next = tier(definition, value, None, current);
        changes += i32::from(current.is_some_and(|current| current != next));
        current = Some(next);
    }
    assert_eq!(changes, 0);
    assert_eq!(tier(definition, 0.59, None, Some("tier_2")), "tier_2");
    assert_eq!(tier(definition, 0.579, None, Some("tier_2")), "tier_3");
    assert_eq!(tier(definition, 0.619, None, Some("tier_3")), "tier_3");
    assert_eq!(tier(definition, 0.62, None, Some("tier_3")), "tier_2");
    assert_eq!(
        tier(definition, 0.95, None, Some("tier_4")),
        "tier_1",
        "a jump goes all the way"
    );
    assert_eq!(tier(definition, 0.1, None, Some("tier_1")), "tier_4");
}

#[test]
fn the_mean_is_over_what_is_known() {
    let definitions = Definitions::shipped();
    let contact = nobody(&definitions, NOW);
    let fit_only = score_account(&definitions, &account_facts("software", &[]), NOW, Detail::Full);
    let score = score_priority(&definitions, &contact, Some(&fit_only), None, None);
    assert_eq!(score.value, Some(1.0));
    assert_eq!(score.facts["basis"], json!(["fit"]));
    assert_eq!(score.facts["policy"], "absolute", "no cut-offs yet");
    let unknown = score_priority(&definitions, &contact, None, None, None);
    assert_eq!(unknown.value, None);
    assert_eq!(
        unknown.unscored_because.as_deref(),
        Some("its account is not known")
    );
}

#[test]
fn the_geometric_mean_shares_by_weight() {
    let text = Definitions::shipped_text("priority")
        .expect("there")
        .replace("weighted_mean\"\n#", "geometric\"\n#");
    let definitions = Definitions::shipped().with("priority", &text).expect("valid");
    assert_eq!(definitions.priority.combination, Combination::Geometric);
    let account = score_account(
        &definitions,
        &account_facts("software", &[0.0]),
        NOW,
        Detail::Full,
    );
    let score = score_priority(
        &definitions,
        &nobody(&definitions, NOW),
        Some(&account),
        None,
        None,
    );
    let expected = account.intent.value.expect("scored").sqrt();
    assert!((score.value.expect("scored") - expected).abs() < 1e-12);
    assert!((sum(&score) - expected).abs() < 1e-9);
}

#[test]
fn decay_changes_the_tier_at_the_computed_instant() {
    let definitions = definitions("absolute");
    let facts = account_facts("software", &[0.5, 1.0, 2.0, 3.0]);
    let scores_at = |at| {
        (
            nobody(&definitions, at),
            Some(score_account(&definitions, &facts, at, Detail::Value)),
        )
    };
    let tier_at = |at, previous| {
        let (contact, account) = scores_at(at);
        score_priority(&definitions, &contact, account.as_ref(), None, Some(previous))
            .tier
            .expect("tier")
    };
    assert_eq!(tier_at(NOW, "tier_1"), "tier_1");
    let at = tier_crossing(&definitions, scores_at, None, "tier_1", NOW).expect("falls");
    assert_eq!(tier_at(at.plus_micros(-10), "tier_1"), "tier_1");
    assert_eq!(tier_at(at.plus_micros(10), "tier_1"), "tier_2");
    assert_eq!(
        tier_crossing(&definitions, scores_at, None, "tier_3", days_ago(-3_000.0)),
        None,
        "fit alone holds it"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// S-1 after the map, for any cut-offs.
    #[test]
    fn contributions_sum_to_the_mapped_priority(
        ages in proptest::collection::vec(0.0..100.0_f64, 0..6),
        industry in prop_oneof!["software", "government", "nothing"],
        mut percentiles in proptest::array::uniform3(0.0..1.0_f64),
        policy in prop_oneof!["absolute", "quantile", "anchored"],
    ) {
        percentiles.sort_by(f64::total_cmp);
        let cut_offs = CutOffs { percentiles, population: 500 };
        let definitions = definitions(&policy);
        let account = score_account(&definitions, &account_facts(&industry, &ages), NOW, Detail::Full);
        let score = score_priority(&definitions, &nobody(&definitions, NOW), Some(&account), Some(&cut_offs), None);
        let value = score.value.expect("fit is known");
        prop_assert!((0.0..=1.0).contains(&value));
        prop_assert!((sum(&score) - value).abs() < 1e-9);
    }

    /// The map is monotone whatever the percentiles.
    #[test]
    fn the_map_is_monotone(mut percentiles in proptest::array::uniform3(0.0..=1.0_f64), a in 0.0..=1.0_f64, b in 0.0..=1.0_f64) {
        percentiles.sort_by(f64::total_cmp);
        let cut_offs = CutOffs { percentiles, population: 1 };
        let map = |raw| cut_offs.anchored(raw, &[0.4, 0.6, 0.8]);
        prop_assert!(map(a.min(b)) <= map(a.max(b)));
    }
}
