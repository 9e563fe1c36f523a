//! The stages of a tenant's pipelines: what its stage objects say, else what the names say.

use std::collections::BTreeMap;

use crate::facts::Fields;

/// Where a deal ended, or that it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Still open.
    Open,
    /// Closed won.
    Won,
    /// Closed lost.
    Lost,
}

impl Outcome {
    /// The text shown in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }
}

/// One stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Name as deals carry it.
    pub name: String,
    /// Place in its pipeline, where known.
    pub order: Option<f64>,
    /// Win probability the CRM maps to it, 0-1, where known.
    pub probability: Option<f64>,
    /// Forecast category, where known.
    pub category: Option<String>,
    /// Whether a deal in it is open, won or lost.
    pub outcome: Outcome,
}

/// The stages of a tenant by every name (id, name, label) that a deal may carry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StageCatalogue {
    by_name: BTreeMap<String, Stage>,
}

/// The first of several spellings of a field that has a value.
pub(crate) fn first<'a>(fields: &'a Fields, names: &[&str]) -> Option<&'a str> {
    names
        .iter()
        .find_map(|name| fields.get(*name))
        .map(String::as_str)
        .filter(|value| !value.trim().is_empty())
}

/// A flag as CRMs write it.
pub(crate) fn flag(fields: &Fields, names: &[&str]) -> Option<bool> {
    match first(fields, names)?.trim().to_lowercase().as_str() {
        "true" | "1" | "yes" | "t" | "y" => Some(true),
        "false" | "0" | "no" | "f" | "n" => Some(false),
        _ => None,
    }
}

/// A number as CRMs write it, thousands separators and currency signs left out.
pub(crate) fn number(text: &str) -> Option<f64> {
    let plain: String = text
        .chars()
        .filter(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E'))
        .collect();
    plain.parse().ok().filter(|value: &f64| value.is_finite())
}

impl StageCatalogue {
    /// The catalogue of stage objects: object id and fields of each.
    pub(crate) fn from_objects(objects: impl Iterator<Item = (String, Fields)>) -> Self {
        let mut by_name = BTreeMap::new();
        let mut all: Vec<_> = objects.collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        for (id, fields) in all {
            let name = first(&fields, &["name", "label", "stage"])
                .unwrap_or(&id)
                .to_owned();
            let probability = first(&fields, &["probability", "default_probability"])
                .and_then(number)
                .map(|p| if p > 1.0 { p / 100.0 } else { p });
            let stage = Stage {
                order: first(&fields, &["order", "display_order", "sort_order"]).and_then(number),
                category: first(&fields, &["category", "forecast_category"]).map(str::to_owned),
                outcome: outcome_of_stage(&fields, probability).unwrap_or_else(|| outcome_of_name(&name)),
                probability,
                name,
            };
            let names = [
                Some(id.as_str()),
                first(&fields, &["stage_id"]),
                Some(&stage.name),
            ];
            for key in names.into_iter().flatten() {
                by_name.entry(key.to_lowercase()).or_insert_with(|| stage.clone());
            }
        }
        Self { by_name }
    }

    /// The stage of that name, when the tenant's CRM describes it.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.by_name.get(&name.trim().to_lowercase())
    }

    /// Whether a deal with these fields is open, won or lost.
    ///
    /// In this order: the deal's own flags, its status, its stage in the catalogue, its stage's name.
    #[must_use]
    pub fn outcome(&self, deal: &Fields) -> Outcome {
        let won = flag(deal, &["is_won", "won"]);
        let closed = flag(deal, &["is_closed", "closed"]);
        match (won, closed) {
            (Some(true), _) => return Outcome::Won,
            (Some(false), Some(true)) => return Outcome::Lost,
            (_, Some(false)) => return Outcome::Open,
            (None | Some(false), _) => {}
        }
        if let Some(status) = first(deal, &["status", "deal_status", "outcome"]) {
            match status.trim().to_lowercase().as_str() {
                "won" => return Outcome::Won,
                "lost" => return Outcome::Lost,
                "open" => return Outcome::Open,
                _ => {}
            }
        }
        let Some(name) = first(deal, STAGE_FIELDS) else {
            return Outcome::Open;
        };
        self.stage(name)
            .map_or_else(|| outcome_of_name(name), |stage| stage.outcome)
    }
}

/// Field names under which deals carry their stage.
pub(crate) const STAGE_FIELDS: &[&str] = &["stage", "stage_name", "deal_stage", "dealstage"];

fn outcome_of_stage(fields: &Fields, probability: Option<f64>) -> Option<Outcome> {
    let won = flag(fields, &["is_won", "won"]);
    let closed = flag(fields, &["is_closed", "closed"]);
    match (won, closed) {
        (Some(true), _) => Some(Outcome::Won),
        (Some(false), Some(true)) => Some(Outcome::Lost),
        (_, Some(false)) => Some(Outcome::Open),
        (None, Some(true)) => probability.map(|p| if p >= 0.5 { Outcome::Won } else { Outcome::Lost }),
        (None | Some(false), None) => None,
    }
}

/// What a stage's name alone says, for CRMs that export no stage objects.
fn outcome_of_name(name: &str) -> Outcome {
    let name: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect();
    let words: Vec<&str> = name.split_whitespace().collect();
    let has = |list: &[&str]| words.iter().any(|word| list.contains(word));
    if has(&[
        "lost",
        "closedlost",
        "declined",
        "cancelled",
        "canceled",
        "disqualified",
        "abandoned",
    ]) {
        Outcome::Lost
    } else if has(&["won", "closedwon"]) {
        Outcome::Won
    } else {
        Outcome::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn outcomes_are_read_from_whatever_the_crm_gives() {
        let none = StageCatalogue::default();
        let cases: [(&[(&str, &str)], Outcome); 8] = [
            (&[("stage", "Closed Won")], Outcome::Won),
            (&[("dealstage", "closedlost")], Outcome::Lost),
            (
                &[("stage", "Won over by demo"), ("is_closed", "false")],
                Outcome::Open,
            ),
            (&[("stage", "Engaging")], Outcome::Open),
            (
                &[("stage", "x"), ("is_closed", "true"), ("is_won", "false")],
                Outcome::Lost,
            ),
            (&[("is_won", "TRUE")], Outcome::Won),
            (&[("status", "lost"), ("stage", "Negotiation")], Outcome::Lost),
            (&[], Outcome::Open),
        ];
        for (deal, expect) in cases {
            assert_eq!(none.outcome(&fields(deal)), expect, "{deal:?}");
        }
    }

    #[test]
    fn stage_objects_win_over_names() {
        let objects = vec![(
            "17".to_owned(),
            fields(&[("name", "Signed"), ("is_closed", "true"), ("probability", "100")]),
        )];
        let catalogue = StageCatalogue::from_objects(objects.into_iter());
        assert_eq!(catalogue.outcome(&fields(&[("stage", "17")])), Outcome::Won);
        assert_eq!(catalogue.outcome(&fields(&[("stage", "signed")])), Outcome::Won);
    }
}
