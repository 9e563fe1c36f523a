//! Queries whose answer is fetched later: run in the background, kept whole for a while, up to a number and a size.

use std::{collections::HashMap, fmt, sync::Arc};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    http::{HeaderMap, StatusCode},
};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use revgauge_contract::{Timestamp, access::Caller};
use serde::Serialize;

use super::{
    encode::{Format, respond},
    run::{SqlRequest, open_patient},
};
use crate::{api::Api, problem::Problem};

/// Where a query is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// Being computed.
    Running,
    /// Its result can be fetched.
    Done,
    /// It ended with a problem.
    Failed,
}

/// What is told of a query.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) state: Stage,
    pub(crate) began_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<Timestamp>,
    /// When it is forgotten, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result_bytes: Option<usize>,
    /// Where the result is, once it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<Problem>,
}

enum State {
    Running(tokio::task::AbortHandle),
    Done { headers: HeaderMap, bytes: Bytes },
    Failed(Problem),
}

struct Job {
    key_id: Arc<str>,
    began_at: Timestamp,
    ended_at: Option<Timestamp>,
    state: State,
}

/// All of them.
#[derive(Default)]
pub(crate) struct LaterQueries(Mutex<HashMap<String, Job>>);

impl fmt::Debug for LaterQueries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaterQueries").finish_non_exhaustive()
    }
}

impl LaterQueries {
    /// Starts a query in the background.
    ///
    /// # Errors
    /// At the limit of queries a key may hold.
    pub(crate) fn start(
        api: &Arc<Api>,
        caller: &Caller,
        request: SqlRequest,
        format: Format,
    ) -> Result<Told, Problem> {
        let settings = &api.settings.later;
        let now = api.clock.now();
        let mut jobs = api.later.0.lock();
        forget_old(&mut jobs, now, settings.keep_ms);
        let own = jobs.values().filter(|job| job.key_id == caller.key_id).count();
        if own >= settings.queries_per_key {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_queries",
                format!("this key holds {own} queries and results, which is its limit"),
            )
            .hint("DELETE those you have read"));
        }
        let id = api.request_id();
        let (inner, asker, name) = (Arc::clone(api), caller.clone(), id.clone());
        let task = tokio::spawn(async move {
            let ended = run(&inner, &asker, request, format).await;
            let state = match ended {
                Ok((headers, bytes)) => State::Done { headers, bytes },
                Err(problem) => State::Failed(problem),
            };
            inner.later.end(&inner, &name, state);
        });
        let job = Job {
            key_id: Arc::clone(&caller.key_id),
            began_at: now,
            ended_at: None,
            state: State::Running(task.abort_handle()),
        };
        let told = told(&id, &job, settings.keep_ms);
        jobs.insert(id, job);
        Ok(told)
    }

    fn end(&self, api: &Api, id: &str, state: State) {
        let settings = &api.settings.later;
        let mut jobs = self.0.lock();
        let held: usize = jobs.values().map(|job| size(&job.state)).sum();
        let state = if held + size(&state) > settings.total_bytes {
            let problem = Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "results_full",
                format!("the results kept are {held} bytes: there is no room for this one"),
            );
            State::Failed(
                problem
                    .hint("DELETE results that are read, or ask again later")
                    .retry_after(60),
            )
        } else {
            state
        };
        if let Some(job) = jobs.get_mut(id) {
            job.state = state;
            job.ended_at = Some(api.clock.now());
        }
    }

    /// Where a query of the key is.
    ///
    /// # Errors
    /// `not_found` for anything that is not the key's own.
    pub(crate) fn look(&self, api: &Api, caller: &Caller, id: &str) -> Result<Told, Problem> {
        let keep_ms = api.settings.later.keep_ms;
        let mut jobs = self.0.lock();
        forget_old(&mut jobs, api.clock.now(), keep_ms);
        own(&jobs, caller, id).map(|job| told(id, job, keep_ms))
    }

    /// The result of a query of the key.
    ///
    /// # Errors
    /// `not_found`, `not_done` while it runs, or the problem it ended with.
    pub(crate) fn result(&self, api: &Api, caller: &Caller, id: &str) -> Result<(HeaderMap, Body), Problem> {
        let mut jobs = self.0.lock();
        forget_old(&mut jobs, api.clock.now(), api.settings.later.keep_ms);
        match &own(&jobs, caller, id)?.state {
            State::Done { headers, bytes } => Ok((headers.clone(), Body::from(bytes.clone()))),
            State::Failed(problem) => Err(problem.clone()),
            State::Running(_) => {
                Err(
                    Problem::new(StatusCode::CONFLICT, "not_done", "the query is still running")
                        .retry_after(1),
                )
            }
        }
    }

    /// Ends a query of the key, if it runs, and forgets it.
    ///
    /// # Errors
    /// `not_found` for anything that is not the key's own.
    pub(crate) fn forget(&self, caller: &Caller, id: &str) -> Result<(), Problem> {
        let mut jobs = self.0.lock();
        own(&jobs, caller, id)?;
        if let Some(Job {
            state: State::Running(task),
            ..
        }) = jobs.remove(id)
        {
            task.abort();
        }
        Ok(())
    }
}

async fn run(
    api: &Arc<Api>,
    caller: &Caller,
    request: SqlRequest,
    format: Format,
) -> Result<(HeaderMap, Bytes), Problem> {
    let limit = api.settings.later.result_bytes;
    let answer = open_patient(api, caller, request).await?;
    // Held back up to the limit: whatever ends within it is whole.
    let (parts, body) = respond(answer, format, limit).await?.into_parts();
    let whole = body.size_hint().exact().is_some();
    if !whole {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "result_too_large",
            format!("the result is longer than {limit} bytes"),
        )
        .hint("aggregate, select fewer columns, or read it as it is computed with /v1/sql"));
    }
    let bytes = body
        .collect()
        .await
        .map_err(|error| Problem::from(super::SqlError::internal(&error.to_string())))?;
    Ok((parts.headers, bytes.to_bytes()))
}

fn own<'a>(jobs: &'a HashMap<String, Job>, caller: &Caller, id: &str) -> Result<&'a Job, Problem> {
    let job = jobs.get(id).filter(|job| job.key_id == caller.key_id);
    job.ok_or_else(|| {
        let shown: String = id.chars().take(64).collect();
        Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("this key has no query '{shown}'"),
        )
        .hint("results are forgotten after a while: ask again")
    })
}

fn told(id: &str, job: &Job, keep_ms: u64) -> Told {
    let (state, problem) = match &job.state {
        State::Running(_) => (Stage::Running, None),
        State::Done { .. } => (Stage::Done, None),
        State::Failed(problem) => (Stage::Failed, Some(problem.clone())),
    };
    Told {
        id: id.to_owned(),
        state,
        began_at: job.began_at,
        ended_at: job.ended_at,
        expires_at: job.ended_at.map(|at| at.plus_micros(micros(keep_ms))),
        result_bytes: (state == Stage::Done).then(|| size(&job.state)),
        result: (state == Stage::Done).then(|| format!("/v1/queries/{id}/result")),
        problem,
    }
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

fn size(state: &State) -> usize {
    match state {
        State::Done { bytes, .. } => bytes.len(),
        State::Running(_) | State::Failed(_) => 0,
    }
}

fn forget_old(jobs: &mut HashMap<String, Job>, now: Timestamp, keep_ms: u64) {
    jobs.retain(|_, job| {
        job.ended_at
            .is_none_or(|at| now < at.plus_micros(micros(keep_ms)))
    });
}
