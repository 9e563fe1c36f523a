//! The score feed: an ordered log read by cursor, as long-poll (NDJSON) or server-sent events.
//!
//! Each reader reads the log at its own pace; nothing is queued for it, so a slow one holds up nobody. One that
//! falls behind what is kept is told from where it can go on, and its stream ends.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::Stream;
use parking_lot::Mutex;
use revgauge_contract::{
    ErrorKind,
    access::Caller,
    error::Failure,
    feed::{FeedPage, FeedReader},
    invariant::Invariant,
    position::Cursor,
    score::ScoreChange,
};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::arguments::Arguments;
use crate::{api::Api, problem::Problem};

const NEXT: HeaderName = HeaderName::from_static("revgauge-next-cursor");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// An entry as it leaves: its cursor, then the change. The same entry always gives the same bytes.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    cursor: String,
    #[serde(flatten)]
    change: &'a ScoreChange,
}

fn line(cursor: Cursor, change: &ScoreChange) -> Result<String, Failure> {
    let entry = Entry {
        cursor: cursor.to_string(),
        change,
    };
    let mut entry = serde_json::to_value(&entry)
        .map_err(|error| Failure::new(ErrorKind::Internal, format!("cannot print a feed entry: {error}")))?;
    if let Some(members) = entry.as_object_mut() {
        members.remove("tenant_id");
        if let Some(detail) = members.get_mut("detail")
            && let Some(inner) = detail.as_str().and_then(|text| serde_json::from_str(text).ok())
        {
            *detail = inner;
        }
    }
    Ok(entry.to_string())
}

fn gone(failure: Failure) -> Problem {
    if failure.kind == ErrorKind::NotFound {
        return Problem::new(StatusCode::GONE, "cursor_expired", failure.message)
            .hint("read the scores once (/v1/scores or SQL), then go on from where the feed begins");
    }
    failure.into()
}

/// `GET /v1/score-feed`
pub(super) async fn long_poll(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
) -> Result<Response, Problem> {
    let limit = arguments.limit(&api.settings.http)?;
    let after = arguments.parsed::<Cursor>("after")?.unwrap_or_default();
    let wait = arguments.parsed::<u64>("wait_seconds")?.unwrap_or(0);
    let longest = api.settings.feed.max_wait_seconds;
    if wait > longest {
        return Err(Problem::bad(
            "bad_parameter",
            format!("wait_seconds {wait} is more than {longest}"),
        ));
    }
    let deadline = Instant::now() + Duration::from_secs(wait);
    let page = next_page(
        api.feed(&caller).as_ref(),
        &caller.tenant_id,
        after,
        limit,
        deadline,
    )
    .await
    .map_err(gone)?;
    let mut body = String::new();
    for (cursor, change) in own(&page, &caller) {
        body.push_str(&line(*cursor, change)?);
        body.push('\n');
    }
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    if let Ok(next) = HeaderValue::from_str(&page.next.to_string()) {
        headers.insert(NEXT, next);
    }
    api.freshness(&caller.tenant_id).stamp(headers);
    Ok(response)
}

/// Entries of the caller's tenant; the reader has filtered already, this is the wall.
fn own<'a>(page: &'a FeedPage, caller: &'a Caller) -> impl Iterator<Item = &'a (Cursor, ScoreChange)> {
    page.entries
        .iter()
        .filter(|(_, change)| change.tenant_id == *caller.tenant_id)
}

/// The first page after the cursor that has entries, or an empty one at the deadline.
async fn next_page(
    feed: &dyn FeedReader,
    tenant_id: &str,
    mut after: Cursor,
    limit: usize,
    deadline: Instant,
) -> Result<FeedPage, Failure> {
    loop {
        let page = feed.read(tenant_id, after, limit).await?;
        if !page.entries.is_empty() {
            return Ok(page);
        }
        if page.next > after {
            // Entries of others only: go on behind them at once.
            after = page.next;
            if Instant::now() < deadline {
                continue;
            }
            return Ok(page);
        }
        if timeout_at(deadline, feed.grown_past(after.position))
            .await
            .is_err()
        {
            return Ok(page);
        }
    }
}

/// `GET /v1/score-feed/stream`
pub(super) async fn stream(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // What the client saw last counts more than where it once began.
    let after = match headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()) {
        Some(text) if !text.is_empty() => text
            .parse::<Cursor>()
            .map_err(|error| Problem::bad("bad_parameter", format!("Last-Event-ID: {error}")))?,
        _ => arguments.parsed::<Cursor>("after")?.unwrap_or_default(),
    };
    let place = api
        .streams
        .take(&caller.key_id, api.settings.feed.streams_per_key)?;
    // A cursor that is too old is an ordinary answer, before the stream begins.
    api.feed(&caller)
        .read(&caller.tenant_id, after, 1)
        .await
        .map_err(gone)?;
    let freshness = api.freshness(&caller.tenant_id);
    let keep_alive = Duration::from_secs(api.settings.feed.keep_alive_seconds.max(1));
    let events = events(api, caller, after, place);
    let mut response = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(keep_alive))
        .into_response();
    freshness.stamp(response.headers_mut());
    Ok(response)
}

struct Reading {
    api: Arc<Api>,
    caller: Caller,
    after: Cursor,
    ready: std::collections::VecDeque<Event>,
    ended: bool,
    _place: Place,
}

fn events(
    api: Arc<Api>,
    caller: Caller,
    after: Cursor,
    place: Place,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let reading = Reading {
        api,
        caller,
        after,
        ready: std::collections::VecDeque::new(),
        ended: false,
        _place: place,
    };
    futures::stream::unfold(reading, |mut reading| async move {
        while reading.ready.is_empty() {
            if reading.ended {
                return None;
            }
            if let Err(failure) = reading.fill().await {
                reading.ended = true;
                reading.ready.push_back(last_words(failure));
            }
        }
        let event = reading.ready.pop_front()?;
        Some((Ok(event), reading))
    })
}

impl Reading {
    async fn fill(&mut self) -> Result<(), Failure> {
        let far = Instant::now() + Duration::from_secs(3_600);
        let page_len = self.api.settings.feed.page.max(1);
        let tenant_id = Arc::clone(&self.caller.tenant_id);
        let page = next_page(
            self.api.feed(&self.caller).as_ref(),
            &tenant_id,
            self.after,
            page_len,
            far,
        )
        .await?;
        for (cursor, change) in own(&page, &self.caller) {
            let event = Event::default().id(cursor.to_string()).event("score_change");
            self.ready.push_back(event.data(line(*cursor, change)?));
        }
        self.after = page.next;
        // All that ever waits for a reader is one page; the log goes on without it.
        let waiting = self.ready.len();
        Invariant::SlowReaderAlone.check(waiting <= page_len, format_args!("{waiting} entries wait"));
        // A key revoked meanwhile reads no further.
        if !self.api.keys.still_good(&self.caller) {
            self.ready.clear();
            self.ended = true;
        }
        Ok(())
    }
}

/// What a reader is told when its stream ends: what it missed, or that the server failed.
fn last_words(failure: Failure) -> Event {
    let missed = failure.kind == ErrorKind::NotFound;
    let problem = gone(failure);
    let name = if missed { "missed" } else { "error" };
    let data = serde_json::to_string(&problem).unwrap_or_default();
    Event::default().event(name).data(data)
}

/// Counts open streams by key.
#[derive(Debug)]
pub(crate) struct Streams {
    by_key: Mutex<HashMap<Arc<str>, usize>>,
}

/// An open stream's place; given back when dropped.
#[derive(Debug)]
struct Place {
    streams: Arc<Streams>,
    key_id: Arc<str>,
}

impl Streams {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            by_key: Mutex::default(),
        })
    }

    fn take(self: &Arc<Self>, key_id: &Arc<str>, most: usize) -> Result<Place, Problem> {
        let mut open = self.by_key.lock();
        let own = open.entry(Arc::clone(key_id)).or_default();
        if *own >= most {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_streams",
                format!("this key has {most} streams open already"),
            )
            .retry_after(5));
        }
        *own += 1;
        Ok(Place {
            streams: Arc::clone(self),
            key_id: Arc::clone(key_id),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.by_key.lock();
        if let Some(own) = open.get_mut(&self.key_id) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.key_id);
            }
        }
    }
}
