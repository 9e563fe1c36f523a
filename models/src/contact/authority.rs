//! Buying authority 0-1: a base from title or stated role, moved towards 1 by what the person did.

use revgauge_contract::{
    Timestamp,
    event::{Direction, MachineClass},
    score::Score,
};
use serde_json::json;

use crate::{
    assembly::{Detail, Maker, ScoreFacts, part},
    decay::decayed,
    definitions::{
        Versioned,
        authority::{Authority, Level},
    },
    facts::{ContactFacts, Fields},
    words::{self, normal},
};

/// Where the base comes from.
struct Base<'a> {
    value: f64,
    factor: String,
    reason: String,
    level: Option<&'a str>,
    function: Option<&'a str>,
}

/// Decayed counts of deeds and what they add up to.
struct Deeds {
    meetings: f64,
    calls: f64,
    reply_share: f64,
    seen: bool,
}

/// The authority score of a contact; unscored without title, role or deeds.
pub(super) fn score(
    definition: &Versioned<Authority>,
    facts: &ContactFacts,
    fingerprint: &str,
    at: Timestamp,
    detail: Detail,
) -> Score {
    let maker = Maker {
        name: "authority",
        definition: definition.id(),
        fingerprint,
    };
    let deeds = deeds(definition, facts, at);
    let base = match stated(definition, &facts.fields) {
        Some(base) => base,
        None if deeds.seen || first_known(&facts.fields, &definition.fields.title).is_some() => {
            unknown(definition, &facts.fields)
        }
        None => return maker.unscored("no title, role or meeting is known", ScoreFacts::new()),
    };
    let evidence = &definition.evidence;
    let weights = [
        ("evidence:meetings", evidence.meeting * deeds.meetings),
        ("evidence:calls", evidence.call * deeds.calls),
        ("evidence:replies", evidence.reply_share * deeds.reply_share),
    ];
    let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
    let moved = (1.0 - base.value) * evidence.most * -(-sum).exp_m1();
    let value = base.value + moved;
    if !detail.is_full() {
        return maker.scored(value, Vec::new(), ScoreFacts::new(), detail);
    }
    let reasons = [
        format!("{:.1} recent meetings attended", deeds.meetings),
        format!("{:.1} recent calls", deeds.calls),
        format!("answers {:.0} % of mails", 100.0 * deeds.reply_share),
    ];
    let mut parts = vec![part(base.factor, base.value, base.reason)];
    for ((factor, weight), reason) in weights.into_iter().zip(reasons) {
        if weight > 0.0 {
            parts.push(part(factor, moved * weight / sum, reason));
        }
    }
    let mut known = ScoreFacts::new();
    if let Some(level) = base.level {
        known.insert("level".into(), json!(level));
    }
    if let Some(function) = base.function {
        known.insert("function".into(), json!(function));
    }
    maker.scored(value, parts, known, detail)
}

fn first_known<'a>(fields: &'a Fields, names: &[String]) -> Option<&'a str> {
    names
        .iter()
        .filter_map(|name| fields.get(name))
        .map(|value| value.trim())
        .find(|value| !value.is_empty())
}

/// The base from role, seniority, department and title; `None` when none of them says anything.
fn stated<'a>(definition: &'a Authority, fields: &Fields) -> Option<Base<'a>> {
    let role = first_known(fields, &definition.fields.role).and_then(|text| role(definition, text));
    let titled = titled(definition, fields);
    match (role, titled) {
        (Some(role), Some(titled)) if titled.value >= role.value => Some(titled),
        (Some(role), titled) => Some(Base {
            level: titled.as_ref().and_then(|titled| titled.level),
            function: titled.as_ref().and_then(|titled| titled.function),
            ..role
        }),
        (None, titled) => titled,
    }
}

fn role<'a>(definition: &'a Authority, text: &str) -> Option<Base<'a>> {
    let text = normal(text);
    let (name, role) = definition.roles.iter().find(|(name, role)| {
        text == name.replace('_', " ")
            || role
                .words
                .iter()
                .any(|word| words::contains(&text, &normal(word)))
    })?;
    Some(Base {
        value: role.base,
        factor: format!("role:{name}"),
        reason: format!("stated role: {}", name.replace('_', " ")),
        level: None,
        function: None,
    })
}

fn titled<'a>(definition: &'a Authority, fields: &Fields) -> Option<Base<'a>> {
    let title = first_known(fields, &definition.fields.title);
    let text = |names: &[String]| first_known(fields, names).map(normal);
    let (seniority, department) = (
        text(&definition.fields.seniority),
        text(&definition.fields.department),
    );
    let title_words = title.map(normal);
    let (level, details) = [&seniority, &title_words]
        .into_iter()
        .flatten()
        .find_map(|text| level(definition, text))?;
    let function = [&department, &title_words]
        .into_iter()
        .flatten()
        .find_map(|text| function(definition, text));
    let value = function
        .and_then(|function| details.by_function.get(function).copied())
        .unwrap_or(details.base);
    let shown = title
        .or_else(|| first_known(fields, &definition.fields.seniority))
        .unwrap_or_default();
    Some(Base {
        value,
        factor: function.map_or_else(
            || format!("title:{level}"),
            |function| format!("title:{level}/{function}"),
        ),
        reason: shown.to_owned(),
        level: Some(level),
        function,
    })
}

/// The level that a normal text names: the highest, unless one that overrides is there.
fn level<'a>(definition: &'a Authority, text: &str) -> Option<(&'a str, &'a Level)> {
    let meant = definition
        .level_words
        .meanings(text)
        .filter_map(|place| definition.levels.iter().nth(place));
    meant
        .max_by_key(|(_, level)| (level.overrides, level.rank))
        .map(|(name, level)| (name.as_str(), level))
}

fn function<'a>(definition: &'a Authority, text: &str) -> Option<&'a str> {
    let place = definition.function_words.meanings(text).next()?;
    definition.functions.keys().nth(place).map(String::as_str)
}

/// The base of somebody whose title says nothing but who did something.
fn unknown<'a>(definition: &Authority, fields: &Fields) -> Base<'a> {
    let reason = match first_known(fields, &definition.fields.title) {
        Some(title) => format!("the title '{title}' names no level"),
        None => "no title is known".to_owned(),
    };
    Base {
        value: definition.unknown_title,
        factor: "title:unknown".to_owned(),
        reason,
        level: None,
        function: None,
    }
}

fn deeds(definition: &Authority, facts: &ContactFacts, at: Timestamp) -> Deeds {
    let evidence = &definition.evidence;
    let (mut meetings, mut calls, mut replies, mut sent) = (0.0, 0.0, 0.0, 0.0);
    for row in facts
        .activity
        .iter()
        .filter(|row| row.machine_class == MachineClass::None)
    {
        let count = match &*row.event_type {
            "meeting.attended" => &mut meetings,
            "call.completed" => &mut calls,
            "email.replied" if row.direction != Some(Direction::Outbound) => &mut replies,
            "email.sent" => &mut sent,
            _ => continue,
        };
        *count += decayed(row, evidence.half_life_days, at);
    }
    let reply_share = f64::min(replies / (f64::max(sent, replies) + evidence.reply_prior), 1.0);
    Deeds {
        meetings,
        calls,
        reply_share,
        seen: meetings + calls + replies > 0.0,
    }
}
