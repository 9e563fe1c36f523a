//! One request of a signed-in person: who, for which instant, with which filters.

use std::sync::{Arc, atomic::AtomicI64};

use revgauge_contract::{Timestamp, access::Role, score::ScoreService, statistics::Knowledge};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use super::{
    form::{Pairs, encode, quoted},
    session::Session,
};
use crate::{api::Api, problem::Problem};

/// Given to every page by the gate.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) api: Arc<Api>,
    pub(super) session: Session,
    pub(super) path: String,
    pub(super) pairs: Pairs,
    pub(super) now: Timestamp,
    /// The past instant that was picked; absent for now.
    pub(super) as_of: Option<Timestamp>,
    pub(super) began: Instant,
    /// The page is one of those that fetch themselves again; see `routes.rs`.
    pub(super) fetches_itself_again: bool,
    /// The page is fetched again because of a change told then: older answers should not stay on it.
    pub(super) since: Option<Timestamp>,
    /// Of when the oldest answer is that the page was given, microseconds; see `ask.rs`.
    pub(super) oldest: Arc<AtomicI64>,
}

impl Visit {
    pub(super) fn new(api: Arc<Api>, session: Session, path: String, pairs: Pairs) -> Result<Self, Problem> {
        let now = api.clock.now();
        let as_of = match pairs.get("as_of") {
            None => None,
            Some(text) => {
                let at: Timestamp = text.parse().map_err(|error| {
                    Problem::bad(
                        "bad_instant",
                        format!("cannot read the instant '{}': {error}", short(text)),
                    )
                    .hint("write it as 2026-01-31T09:30, in UTC")
                })?;
                if at > now {
                    return Err(Problem::bad("as_of_ahead", format!("{at} is still to come"))
                        .hint("pick an instant of the past, or leave it empty for now"));
                }
                Some(at)
            }
        };
        Ok(Self {
            api,
            session,
            path,
            pairs,
            now,
            as_of,
            began: Instant::now(),
            fetches_itself_again: false,
            since: None,
            oldest: Arc::new(AtomicI64::new(i64::MAX)),
        })
    }

    /// Whether changes make the page fetch itself again: what was at a past instant does not change.
    pub(super) const fn is_live(&self) -> bool {
        self.fetches_itself_again && self.as_of.is_none()
    }

    pub(super) fn tenant(&self) -> &str {
        &self.session.caller.tenant_id
    }

    /// Scores and objects as the visitor sees them.
    pub(super) fn service(&self) -> Arc<dyn ScoreService> {
        self.api.scores(&self.session.caller)
    }

    pub(super) fn is_admin(&self) -> bool {
        self.session.caller.role == Role::Admin
    }

    /// The instant the page is for.
    pub(super) fn at(&self) -> Timestamp {
        self.as_of.unwrap_or(self.now)
    }

    pub(super) fn knowledge(&self) -> Knowledge {
        self.as_of.map_or(Knowledge::Now, Knowledge::At)
    }

    /// The relation with all scores for the picked instant.
    pub(super) fn scores(&self) -> String {
        self.relation("scores", "scores_as_of")
    }

    /// The relation with all deals for the picked instant.
    pub(super) fn deals(&self) -> String {
        self.relation("deals", "pipeline_as_of")
    }

    fn relation(&self, now: &str, then: &str) -> String {
        self.as_of.map_or_else(
            || now.to_owned(),
            |at| format!("{then}({})", quoted(&at.to_string())),
        )
    }

    /// A link within the dashboards that keeps the picked instant.
    pub(super) fn link(&self, path: &str, pairs: &[(&str, &str)]) -> String {
        let as_of = self.pairs.get("as_of").map(|text| ("as_of", text));
        address(path, pairs.iter().copied().chain(as_of))
    }

    /// Refuses a form that another site may have sent.
    pub(super) fn check_form(&self, form: &Pairs) -> Result<(), Problem> {
        let given = form.get("csrf").unwrap_or_default();
        if bool::from(given.as_bytes().ct_eq(self.session.csrf.as_bytes())) {
            return Ok(());
        }
        Err(Problem::new(
            axum::http::StatusCode::FORBIDDEN,
            "stale_form",
            "this form is from another session",
        )
        .hint("go back, reload the page and send it again"))
    }
}

/// An address of path and pairs; empty values are left out.
pub(super) fn address<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<String> = pairs
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    if pairs.is_empty() {
        return path.to_owned();
    }
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}{}", pairs.join("&"))
}

pub(super) fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
