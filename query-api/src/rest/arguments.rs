//! What a request says beside its path: query parameters, checked against the door's list, and bodies.

use std::{collections::BTreeMap, str::FromStr};

use axum::{
    body::Bytes,
    extract::{Query, rejection::BytesRejection},
    http::{StatusCode, Uri},
};
use revgauge_contract::{Timestamp, score::EntityKind, statistics::Knowledge};
use serde::de::DeserializeOwned;

use super::doors::Door;
use crate::{problem::Problem, settings::HttpSettings};

/// The query parameters of a request; all of them are in the door's list.
#[derive(Debug, Clone, Default)]
pub(super) struct Arguments(BTreeMap<String, String>);

impl Arguments {
    /// Reads and checks them.
    pub(super) fn read(door: &Door, uri: &Uri) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Problem::bad("bad_query", format!("cannot read the query string: {error}")))?;
        let mut known = BTreeMap::new();
        for (name, value) in pairs {
            if !door.query.iter().any(|parameter| parameter.name == name) {
                return Err(unknown_parameter(door, &name));
            }
            if known.insert(name.clone(), value).is_some() {
                return Err(Problem::bad(
                    "bad_parameter",
                    format!("parameter '{name}' is given twice"),
                ));
            }
        }
        // `name=` is the same as leaving it out: forms send it so.
        known.retain(|_, value| !value.is_empty());
        Ok(Self(known))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let bad = |error: T::Err| Problem::bad("bad_parameter", format!("parameter '{name}': {error}"));
        text.parse().map(Some).map_err(bad)
    }

    /// An instant.
    pub(super) fn instant(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        // A plus sign that was not encoded arrives as a space.
        let text = match text.rsplit_once(' ') {
            Some((front, zone)) if zone.len() == 5 && front.contains('T') => format!("{front}+{zone}"),
            _ => text.to_owned(),
        };
        text.parse()
            .map(Some)
            .map_err(|error| Problem::bad("bad_instant", format!("parameter '{name}': {error}")))
    }

    /// The instant decay is computed to and the knowledge asked for.
    pub(super) fn moment(&self, now: Timestamp) -> Result<Moment, Problem> {
        let as_of = self.instant("as_of")?;
        if let Some(as_of) = as_of.filter(|as_of| *as_of > now) {
            return Err(
                Problem::bad("as_of_ahead", format!("as_of {as_of} is still to come"))
                    .hint("what will be known cannot be known; 'at' may lie ahead and shows decay to it"),
            );
        }
        let at = self.instant("at")?.or(as_of).unwrap_or(now);
        Ok(Moment {
            at,
            knowledge: as_of.map_or(Knowledge::Now, Knowledge::At),
        })
    }

    /// The page size.
    pub(super) fn limit(&self, settings: &HttpSettings) -> Result<usize, Problem> {
        let limit = self.parsed::<usize>("limit")?.unwrap_or(settings.default_page);
        if limit == 0 || limit > settings.max_page {
            return Err(Problem::bad(
                "bad_parameter",
                format!("limit {limit} is not between 1 and {}", settings.max_page),
            ));
        }
        Ok(limit)
    }

    /// The entity kind, when given.
    pub(super) fn entity_kind(&self) -> Result<Option<EntityKind>, Problem> {
        match self.text("entity_kind") {
            None => Ok(None),
            Some("contact") => Ok(Some(EntityKind::Contact)),
            Some("account") => Ok(Some(EntityKind::Account)),
            Some("deal") => Ok(Some(EntityKind::Deal)),
            Some(other) => Err(Problem::bad("bad_parameter", format!("no entity_kind '{other}'"))
                .hint("entity_kind is contact, account or deal")),
        }
    }

    /// A parameter with few values.
    pub(super) fn one_of(&self, name: &str, values: &[&str]) -> Result<Option<&str>, Problem> {
        match self.text(name) {
            Some(text) if !values.contains(&text) => {
                Err(Problem::bad("bad_parameter", format!("no {name} '{text}'"))
                    .hint(format!("{name} is one of {}", values.join(", "))))
            }
            given => Ok(given),
        }
    }
}

/// For when an answer is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) at: Timestamp,
    pub(super) knowledge: Knowledge,
}

fn unknown_parameter(door: &Door, name: &str) -> Problem {
    let names: Vec<&str> = door.query.iter().map(|parameter| parameter.name).collect();
    let shown: String = name.chars().take(64).collect();
    let problem = Problem::bad(
        "unknown_parameter",
        format!("{} takes no parameter '{shown}'", door.path),
    );
    if names.is_empty() {
        return problem.hint("it takes none");
    }
    let all = names.join(", ");
    match crate::sql::nearest(name, &names) {
        Some(near) => problem.hint(format!("did you mean '{near}'? parameters: {all}")),
        None => problem.hint(format!("parameters: {all}")),
    }
}

/// The bytes of a body within the limit.
pub(crate) fn body_bytes(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| {
        let status = rejection.status();
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(
                status,
                "body_too_large",
                "the request body is longer than this door takes",
            )
            .hint("the setting http.max_body_bytes says how long it may be")
        } else {
            Problem::bad("bad_body", rejection.body_text())
        }
    })
}

/// A JSON body whose members are all known.
pub(super) fn json_body<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
    serde_json::from_slice(&body_bytes(body)?)
        .map_err(|error| Problem::bad("bad_body", format!("cannot read the request as JSON: {error}")))
}
