//! What is the probability that a lead comes into a deal within 90 days? A contact's fields and activity, judged like a deal's.

use revgauge_contract::{Timestamp, score::Score};
use serde_json::json;

use super::{
    encode::Cell,
    rows::{FIELD_PREFIX, NUMBERS, activity},
    served::{Served, WinAnswer, WinModel, chance, definition_of, told_of_answer},
};
use crate::{
    assembly::{Detail, Maker, ScoreFacts},
    facts::{ActivityRow, ContactFacts, Fields},
    fingerprint::contact_fingerprint,
};

/// Name of the score.
pub const CONVERSION_PROBABILITY: &str = "conversion_probability";
/// Days within which a lead must come into a deal to count as converted: the stated horizon.
pub const LEAD_HORIZON_DAYS: f64 = 90.0;
/// Ages of a lead, in days since it was first known, at which it gives a row of training.
pub const LEAD_LANDMARK_DAYS: [f64; 6] = [1.0, 7.0, 21.0, 45.0, 90.0, 180.0];

/// Fields that name a person or a time, of which nothing can be learnt for another person.
const NAMING: [&str; 18] = [
    "name",
    "full_name",
    "first_name",
    "firstname",
    "last_name",
    "lastname",
    "email",
    "phone",
    "mobile",
    "mobile_phone",
    "address",
    "linkedin_url",
    "id",
    "contact_id",
    "created_at",
    "create_date",
    "createdate",
    "created_date",
];

/// The columns of one lead at one instant.
#[derive(Debug, Clone)]
pub struct LeadRow<'a> {
    /// As of a deal, of which those of activity alone are known: the first is at [`super::rows::FIRST_ACTIVITY`].
    numbers: [f64; NUMBERS.len()],
    fields: &'a Fields,
}

impl<'a> LeadRow<'a> {
    /// Reads fields and activity as known at `at`. Cost: a pass over the activity.
    pub fn of(fields: &'a Fields, rows: &[ActivityRow], at: Timestamp) -> Self {
        let mut numbers = [f64::NAN; NUMBERS.len()];
        activity(rows, at, &mut numbers);
        Self { numbers, fields }
    }

    /// The value of a column by its name; a column that is not known here is missing.
    pub fn cell(&self, column: &str) -> Cell<'a> {
        if let Some(field) = column.strip_prefix(FIELD_PREFIX) {
            return self
                .fields
                .get(field)
                .map_or(Cell::Missing, |text| Cell::Text(text));
        }
        match NUMBERS.iter().position(|name| *name == column) {
            Some(place) if self.numbers[place].is_finite() => Cell::Number(self.numbers[place]),
            _ => Cell::Missing,
        }
    }
}

/// The fields of a contact that are columns, by field name.
pub fn lead_fields(fields: &Fields) -> impl Iterator<Item = (&str, &str)> {
    fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !NAMING.contains(name))
}

impl WinModel {
    /// Judges a lead from facts as known at `at`: the trained part, pulled to the share that converted while there is little
    /// behind it.
    pub fn judge_lead(&self, facts: &ContactFacts, at: Timestamp) -> WinAnswer {
        let row = LeadRow::of(&facts.fields, &facts.activity, at);
        self.judge_row(self.cold.judge(&[], at), |column| row.cell(column))
    }
}

/// The score `conversion_probability` of a contact: probability that it comes into a deal within [`LEAD_HORIZON_DAYS`].
///
/// Its parts are in points of probability and sum to it (S-1). A contact that is or was in a deal is no lead, and of one that no
/// CRM record speaks of nothing was learnt: both are left unscored, with the reason (S-4).
pub fn lead_score(
    served: &Served,
    facts: &ContactFacts,
    in_deals: usize,
    at: Timestamp,
    detail: Detail,
) -> Score {
    let definition = definition_of(served, "leads");
    let print = contact_fingerprint(facts);
    let maker = Maker {
        name: CONVERSION_PROBABILITY,
        definition: &definition,
        fingerprint: &print,
    };
    if in_deals > 0 {
        return maker.unscored(
            format!("the contact is in {in_deals} deals already"),
            ScoreFacts::new(),
        );
    }
    if facts.provisional {
        return maker.unscored("the CRM does not know the contact yet", ScoreFacts::new());
    }
    let answer = served.model.judge_lead(facts, at);
    if !detail.is_full() {
        return maker.scored(answer.probability, Vec::new(), ScoreFacts::new(), detail);
    }
    let mut told = told_of_answer(served, &answer);
    told.insert("horizon_days".to_owned(), json!(LEAD_HORIZON_DAYS));
    if let Some((version, shadow)) = &served.shadow {
        let judged = shadow.judge_lead(facts, at);
        told.insert(
            "shadow".to_owned(),
            json!({"model_version": version, "probability": judged.probability, "log_odds": judged.log_odds}),
        );
    }
    let row = LeadRow::of(&facts.fields, &facts.activity, at);
    chance(
        maker,
        &answer,
        told,
        ("lead", "a lead of which nothing is known"),
        |column| reason(&row, column),
    )
}

/// A column in words. Fields are named without their value: who may not see a field must not read it here.
fn reason(row: &LeadRow<'_>, column: &str) -> String {
    if let Some(field) = column.strip_prefix(FIELD_PREFIX) {
        return format!("the contact's {}", field.replace('_', " "));
    }
    let name = column.replace('_', " ");
    match row.cell(column) {
        Cell::Number(number) => format!("{name} is {}", (number * 100.0).round() / 100.0),
        Cell::Text(_) | Cell::Missing => format!("{name} is not known"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::win::NaiveBayes;

    fn served() -> Served {
        let mut cold = NaiveBayes::default();
        for lead in 0..50_i64 {
            cold.add(&[], lead % 5 == 0, Timestamp(lead * 86_400_000_000));
        }
        Served {
            version: 3,
            sha256: "0123456789abcdef".into(),
            model: Arc::new(WinModel {
                artifact: None,
                cold,
                hazard: None,
            }),
            shadow: None,
        }
    }

    #[test]
    fn a_lead_is_scored_and_who_is_in_a_deal_or_unknown_is_not() {
        let at = Timestamp(60 * 86_400_000_000);
        let lead = ContactFacts {
            contact_id: "c1".to_owned(),
            ..ContactFacts::default()
        };
        let score = lead_score(&served(), &lead, 0, at, Detail::Full);
        let value = score.value.expect("scored");
        assert!((value - 0.2).abs() < 0.05, "the share that converted: {value}");
        let sum: f64 = score.contributions.iter().map(|part| part.points).sum();
        assert!((sum - value).abs() < 1e-9);
        assert_eq!(score.facts["horizon_days"], json!(90.0));
        assert_eq!(score.definition, "leads@3+0123456789ab");
        let in_deal = lead_score(&served(), &lead, 2, at, Detail::Full);
        assert!(in_deal.unscored_because.expect("a reason").contains("2 deals"));
        let unknown = ContactFacts {
            provisional: true,
            ..lead
        };
        assert_eq!(lead_score(&served(), &unknown, 0, at, Detail::Full).value, None);
    }

    #[test]
    fn what_names_a_person_is_no_column() {
        let fields: Fields = [("email", "jo@acme.io"), ("title", "VP"), ("first_name", "Jo")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        let kept: Vec<&str> = lead_fields(&fields).map(|(name, _)| name).collect();
        assert_eq!(kept, ["title"]);
    }
}
