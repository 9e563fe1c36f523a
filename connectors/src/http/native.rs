//! `POST /v1/events`: one event, an array of them or one a line, each judged alone.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Response, Uri},
};
use bytes::Bytes;
use revgauge_contract::{
    access::Role,
    event::{Reception, Refusal, Trust},
};
use serde_json::value::RawValue;

use super::{
    answer, body,
    door::Door,
    envelope::{Envelope, is_whole},
    error::DoorError,
    sheet::{LineCount, Sheet, malformed, not_utf8},
};

/// Name of this door as a source and in metrics.
const SOURCE: &str = "http";

/// Takes one request.
pub(crate) async fn receive(State(door): State<Arc<Door>>, request: Request) -> Response<Body> {
    let timer = door.timer(SOURCE);
    let (head, body) = request.into_parts();
    let answer = take(&door, &head.uri, &head.headers, body).await;
    let response = answer.unwrap_or_else(DoorError::into_problem);
    timer.stop(response.status());
    response
}

/// Answers every method but POST.
pub(crate) async fn only_post() -> Response<Body> {
    DoorError::OnlyPost.into_problem()
}

async fn take(door: &Door, uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Response<Body>, DoorError> {
    let pass = door.admit(headers)?;
    let bytes = body::read(headers, body, door.settings()).await?;
    door.count_bytes(SOURCE, bytes.len());
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(DoorError::Empty);
    }
    let mut reception = door.reception(&pass, SOURCE);
    if wants_history(uri) {
        if pass.caller.role != Role::Admin {
            return Err(DoorError::NoHistory);
        }
        reception.trust = Trust::History;
    }
    let sheet = Sheet::new(reception, wants_all(uri, headers));
    let limit = door.settings().max_events;
    let mut sheet = parse(door, sheet, bytes, limit).await?;
    let settled = door.settle(&pass, &mut sheet, None).await?;
    Ok(answer::native(&sheet, settled))
}

/// Parses here when the body is small, else on a blocking thread.
async fn parse(door: &Door, mut sheet: Sheet, bytes: Bytes, limit: usize) -> Result<Sheet, DoorError> {
    if bytes.len() <= door.settings().inline_bytes {
        judge_all(&mut sheet, &bytes, limit)?;
        return Ok(sheet);
    }
    tokio::task::spawn_blocking(move || judge_all(&mut sheet, &bytes, limit).map(|()| sheet))
        .await
        .map_err(|error| DoorError::Lost(error.to_string()))?
}

/// Whether the events are trusted history (`?history=true`): then `known_at` is theirs, else their event time.
fn wants_history(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default().as_bytes();
    url::form_urlencoded::parse(query).any(|(name, value)| name == "history" && value == "true")
}

/// Whether the answer lists accepted events too: not with `?verbose=false` nor `Prefer: return=minimal`.
fn wants_all(uri: &Uri, headers: &HeaderMap) -> bool {
    let query = uri.query().unwrap_or_default().as_bytes();
    let quiet = url::form_urlencoded::parse(query).any(|(name, value)| name == "verbose" && value == "false");
    let minimal = headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value
                .split([',', ';'])
                .any(|part| part.trim() == "return=minimal")
        });
    !quiet && !minimal
}

/// Judges every event of a body; what its first bytes say decides how it is read.
pub(crate) fn judge_all(sheet: &mut Sheet, bytes: &[u8], limit: usize) -> Result<(), DoorError> {
    let (bytes, start) = match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => (rest, 3),
        None => (bytes, 0),
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return judge_broken_text(sheet, bytes, start, limit);
    };
    match text.trim_start().as_bytes().first() {
        Some(b'[') => judge_array(sheet, text, start, limit),
        _ if is_one_value(text) => {
            judge_one(sheet, text.trim(), start, 1);
            Ok(())
        }
        _ => judge_lines(sheet, text, start, limit),
    }
}

/// Whether the body is a single value, perhaps over several lines: then its first line is no whole value.
fn is_one_value(text: &str) -> bool {
    let text = text.trim();
    match text.split_once('\n') {
        None => true,
        Some((first, _)) if is_whole(first) => false,
        Some((_, rest)) => is_whole(text) || !rest.split('\n').any(is_whole),
    }
}

fn judge_array(sheet: &mut Sheet, text: &str, start: usize, limit: usize) -> Result<(), DoorError> {
    let items: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(items) => items,
        Err(error) => {
            sheet.refuse(None, malformed(&error, text, start, 1), text.as_bytes());
            return Ok(());
        }
    };
    if items.len() > limit {
        return Err(DoorError::TooMany { limit });
    }
    let mut lines = LineCount::new(text);
    for item in items {
        let (at, line) = lines.place_of(item.get());
        judge_one(sheet, item.get(), start + at, line);
    }
    Ok(())
}

fn judge_lines(sheet: &mut Sheet, text: &str, start: usize, limit: usize) -> Result<(), DoorError> {
    let mut at = 0;
    for (number, line) in text.split('\n').enumerate() {
        if !line.trim_ascii().is_empty() {
            if sheet.judged() == limit {
                return Err(DoorError::TooMany { limit });
            }
            judge_one(sheet, line, start + at, number + 1);
        }
        at += line.len() + 1;
    }
    Ok(())
}

/// A body with bytes that are no UTF-8: a line each where there are lines, so that the sound ones are taken.
fn judge_broken_text(sheet: &mut Sheet, bytes: &[u8], start: usize, limit: usize) -> Result<(), DoorError> {
    if bytes.trim_ascii_start().first() == Some(&b'[')
        && let Err(error) = std::str::from_utf8(bytes)
    {
        sheet.refuse(None, not_utf8(error, bytes, start, 1), bytes);
        return Ok(());
    }
    let mut at = 0;
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if !line.trim_ascii().is_empty() {
            if sheet.judged() == limit {
                return Err(DoorError::TooMany { limit });
            }
            match std::str::from_utf8(line) {
                Ok(text) => judge_one(sheet, text, start + at, number + 1),
                Err(error) => sheet.refuse(None, not_utf8(error, line, start + at, number + 1), line),
            }
        }
        at += line.len() + 1;
    }
    Ok(())
}

/// Judges one event; `start` and `line` say where its text begins in the body.
fn judge_one(sheet: &mut Sheet, text: &str, start: usize, line: usize) {
    let bytes = text.as_bytes();
    match serde_json::from_str::<Envelope<'_>>(text) {
        Ok(envelope) => {
            let event_id = envelope.event_id();
            match envelope.into_draft() {
                Ok(draft) => sheet.judge(draft, bytes),
                Err(refusal) => sheet.refuse(event_id.as_deref(), refusal.into(), bytes),
            }
        }
        Err(error) if error.is_data() && is_whole(text) => {
            let refusal = Refusal::whole("not_an_object", "an event is to be a json object");
            sheet.refuse(None, refusal.into(), bytes);
        }
        Err(error) => sheet.refuse(None, malformed(&error, text, start, line), bytes),
    }
}

/// What parsing a body gave, outside a server.
///
/// For replays of dead letters, benchmarks, and programs that bring their own journal.
#[derive(Debug)]
pub struct Parsed {
    /// The accepted events; `None` when there are none.
    pub batch: Option<arrow::array::RecordBatch>,
    /// Why the others were refused, in the order of the body.
    pub refused: Vec<Refusal>,
}

impl Parsed {
    pub(crate) fn of(mut sheet: Sheet) -> Self {
        Self {
            refused: sheet.refusals().cloned().collect(),
            batch: sheet.take_batch(),
        }
    }
}

/// Parses and judges a decompressed body as `POST /v1/events` would.
///
/// Cost: about a microsecond an event. `None` when the body holds more than `max_events` events.
#[must_use]
pub fn parse_events(reception: Reception, body: &[u8], max_events: usize) -> Option<Parsed> {
    let mut sheet = Sheet::new(reception, true);
    judge_all(&mut sheet, body, max_events).ok()?;
    Some(Parsed::of(sheet))
}
