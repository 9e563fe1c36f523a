//! Fit 0-1: weighted points over the fields that are known, completeness beside it.

use revgauge_contract::{Timestamp, score::Score};
use serde_json::json;

use crate::{
    assembly::{Detail, Maker, ScoreFacts, part},
    definitions::{
        Versioned,
        fit::{Criterion, Fit, Rule},
    },
    facts::{AccountFacts, Fields},
    words,
};

/// A criterion whose field is known.
struct Judged<'a> {
    criterion: &'a Criterion,
    /// -1 to 1.
    points: f64,
    /// What the field says.
    shown: String,
}

/// The account's fit; unscored when no field of any criterion is known.
pub(super) fn score(
    definition: &Versioned<Fit>,
    facts: &AccountFacts,
    fingerprint: &str,
    at: Timestamp,
    detail: Detail,
) -> Score {
    let maker = Maker {
        name: "fit",
        definition: definition.id(),
        fingerprint,
    };
    let judged: Vec<Judged<'_>> = definition
        .criteria
        .iter()
        .filter_map(|criterion| judge(criterion, &facts.fields))
        .collect();
    let gaining = |judged: &&Judged<'_>| judged.criterion.can_gain();
    let weight: f64 = judged
        .iter()
        .filter(gaining)
        .map(|judged| judged.criterion.weight)
        .sum();
    let excluded = judged.iter().any(|judged| judged.points < 0.0);
    if weight == 0.0 && !excluded {
        return maker.unscored("no field that fit is judged by is known", ScoreFacts::new());
    }
    let signed = |judged: &Judged<'_>| judged.criterion.weight * judged.points;
    let gains: f64 = judged.iter().map(signed).filter(|points| *points > 0.0).sum();
    let losses: f64 = -judged
        .iter()
        .map(signed)
        .filter(|points| *points < 0.0)
        .sum::<f64>();
    // Losses take at most what is there, so that the parts still sum to a fit of 0.
    let taken = if losses > gains { gains / losses } else { 1.0 };
    let certainty = certainty(definition, &facts.fields, at);
    let scale = if weight > 0.0 { certainty / weight } else { 0.0 };
    let stale = (1.0 - certainty) * definition.certainty.prior;
    let value = (gains - losses * taken) * scale + stale;
    if !detail.is_full() {
        return maker.scored(value, Vec::new(), ScoreFacts::new(), detail);
    }
    let mut parts: Vec<_> = judged
        .iter()
        .map(|judged| {
            let points = signed(judged) * scale * if judged.points < 0.0 { taken } else { 1.0 };
            part(&*judged.criterion.name, points, judged.shown.clone())
        })
        .collect();
    if certainty < 1.0 {
        let reason = format!("what is known is old: {:.0} % certain", 100.0 * certainty);
        parts.push(part("staleness", stale, reason));
    }
    let all: f64 = definition
        .criteria
        .iter()
        .filter(|c| c.can_gain())
        .map(|c| c.weight)
        .sum();
    let known = [
        ("completeness".to_owned(), json!(weight / all)),
        ("certainty".to_owned(), json!(certainty)),
        ("unknown".to_owned(), json!(unknown(definition, &judged))),
    ];
    maker.scored(value, parts, known.into(), detail)
}

fn unknown<'a>(definition: &'a Fit, judged: &[Judged<'_>]) -> Vec<&'a str> {
    let known = |name: &str| judged.iter().any(|judged| judged.criterion.name == name);
    let names = definition
        .criteria
        .iter()
        .filter(|criterion| criterion.can_gain())
        .map(|c| c.name.as_str());
    names.filter(|name| !known(name)).collect()
}

/// `None` when none of the criterion's fields is known (or is a number where one is needed).
fn judge<'a>(criterion: &'a Criterion, fields: &Fields) -> Option<Judged<'a>> {
    let shown = criterion.fields.iter().find_map(|name| known(fields, name))?;
    let text = words::normal(&shown);
    let number = words::number(&shown);
    if number.is_none() && criterion.rules.iter().all(|rule| rule.any_of.is_empty()) {
        return None;
    }
    let rule = criterion.rules.iter().find(|rule| matches(rule, &text, number));
    let points = rule.map_or(criterion.otherwise, |rule| rule.points);
    let numeric = criterion.rules.iter().all(|rule| rule.any_of.is_empty());
    let shown = match number.filter(|_| numeric) {
        Some(number) => format!(
            "{} {}",
            criterion.name.replace('_', " "),
            words::magnitude(number)
        ),
        None => shown,
    };
    Some(Judged {
        criterion,
        points,
        shown,
    })
}

/// The text of a field; of a prefix such as `tech:` the names of all fields that begin so and are not denied.
fn known(fields: &Fields, name: &str) -> Option<String> {
    if !name.ends_with(':') {
        return fields
            .get(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty());
    }
    let denied = |value: &str| matches!(value, "false" | "no" | "0" | "");
    let names: Vec<&str> = fields
        .range(name.to_owned()..)
        .take_while(|(field, _)| field.starts_with(name))
        .filter(|(_, value)| !denied(value))
        .map(|(field, _)| &field[name.len()..])
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn matches(rule: &Rule, text: &str, number: Option<f64>) -> bool {
    if !rule.any_of.is_empty() {
        return rule.any_of.iter().any(|phrase| words::contains(text, phrase));
    }
    number.is_some_and(|number| {
        rule.min.is_none_or(|min| number >= min) && rule.max.is_none_or(|max| number < max)
    })
}

/// How sure the fields still are: 1 when nothing says how old they are.
fn certainty(definition: &Fit, fields: &Fields, at: Timestamp) -> f64 {
    let since = fields
        .get(&definition.certainty.field)
        .and_then(|text| text.parse::<Timestamp>().ok());
    since.map_or(1.0, |since| {
        (-at.days_since(since).max(0.0) / definition.certainty.half_life_days).exp2()
    })
}
