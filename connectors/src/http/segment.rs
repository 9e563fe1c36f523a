//! The Segment HTTP tracking API, as the Segment and RudderStack SDKs really speak it.
//!
//! Habits of those SDKs that this door is built around: one takes only 200 for success and resends on 202, one takes a
//! redirect for success and loses the events, one labels gzipped JSON as a form, and all resend a whole batch with the
//! same `messageId`s but a fresh `sentAt`. None reads a status per event, so a batch of which anything was taken is
//! answered with success and the rest goes to dead letters.

mod fields;
mod message;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use bytes::Bytes;
use revgauge_contract::event::{Reception, Refusal};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::event_names::EventNames;

use super::{
    body,
    credentials::key_of,
    door::{Door, Pass},
    error::DoorError,
    native::Parsed,
    sheet::{LineCount, Sheet, malformed, not_utf8},
};
use message::{Frame, drafts_of};

/// Name of this door as a source and in metrics.
const SOURCE: &str = "segment";

/// Which call an address stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Batch,
    Track,
    Identify,
    Page,
    Screen,
    Group,
    Alias,
}

impl Call {
    /// The message type a single call implies; `None` for a batch, whose messages say theirs.
    const fn message_type(self) -> Option<&'static str> {
        match self {
            Self::Batch => None,
            Self::Track => Some("track"),
            Self::Identify => Some("identify"),
            Self::Page => Some("page"),
            Self::Screen => Some("screen"),
            Self::Group => Some("group"),
            Self::Alias => Some("alias"),
        }
    }
}

/// Takes one request.
pub(crate) async fn receive(State(door): State<Arc<Door>>, call: Call, request: Request) -> Response<Body> {
    let timer = door.timer(SOURCE);
    let (head, body) = request.into_parts();
    let answer = take(&door, call, &head.headers, body).await;
    let response = answer.unwrap_or_else(DoorError::into_segment);
    timer.stop(response.status());
    response
}

/// Answers every method but POST.
pub(crate) async fn only_post() -> Response<Body> {
    DoorError::OnlyPost.into_segment()
}

async fn take(
    door: &Arc<Door>,
    call: Call,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Body>, DoorError> {
    let header_key = key_of(headers);
    let (pass, bytes, key) = match header_key {
        Some(key) => {
            let pass = door.admit_key(&key)?;
            let bytes = body::read(headers, body, door.settings()).await?;
            (pass, bytes, key)
        }
        None => {
            let place = door.place()?;
            let bytes = body::read(headers, body, door.settings()).await?;
            let key = key_in_body(&bytes).ok_or(DoorError::NoKey)?;
            drop(place);
            (door.admit_key(&key)?, bytes, key)
        }
    };
    door.count_bytes(SOURCE, bytes.len());
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(DoorError::Empty);
    }
    let mut sheet = judge(door, &pass, call, bytes).await?;
    let first = sheet.refusals().next().cloned();
    let settled = door.settle(&pass, &mut sheet, Some(&key)).await?;
    match first {
        Some(refusal) if settled.accepted == 0 => Ok(none_taken(&refusal, settled.refused)),
        _ => Ok(success()),
    }
}

async fn judge(door: &Arc<Door>, pass: &Pass, call: Call, bytes: Bytes) -> Result<Sheet, DoorError> {
    let mut sheet = Sheet::new(door.reception(pass, SOURCE), false);
    let rules = Rules::of(door);
    if bytes.len() <= door.settings().inline_bytes {
        rules.judge_body(&mut sheet, door.event_names(), call, &bytes)?;
        return Ok(sheet);
    }
    let door = Arc::clone(door);
    tokio::task::spawn_blocking(move || {
        rules
            .judge_body(&mut sheet, door.event_names(), call, &bytes)
            .map(|()| sheet)
    })
    .await
    .map_err(|error| DoorError::Lost(error.to_string()))?
}

/// Exactly 200 with this body: RudderStack's Python SDK resends on any other success.
fn success() -> Response<Body> {
    json(StatusCode::OK, r#"{"success": true}"#.to_owned())
}

fn none_taken(refusal: &Refusal, refused: usize) -> Response<Body> {
    let message = if refused > 1 {
        format!(
            "none of the {refused} events was taken; the first: {}",
            refusal.message
        )
    } else {
        refusal.message.clone()
    };
    let body = serde_json::json!({ "code": refusal.code, "message": message, "field": refusal.field });
    json(StatusCode::BAD_REQUEST, body.to_string())
}

fn json(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Browsers' `sendBeacon` can set no header, so the key may be in the body.
fn key_in_body(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Keyed {
        #[serde(rename = "writeKey")]
        write_key: Option<String>,
    }
    let keyed: Keyed = serde_json::from_slice(bytes).ok()?;
    keyed.write_key.filter(|key| !key.trim().is_empty())
}

#[derive(Debug, Deserialize)]
struct BatchBody<'a> {
    #[serde(borrow)]
    batch: Option<Vec<&'a RawValue>>,
    #[serde(rename = "sentAt")]
    sent_at: Option<Value>,
    context: Option<Value>,
}

/// The settings that judging a body needs.
#[derive(Debug, Clone, Copy)]
struct Rules {
    max_events: usize,
    skew_tolerance_us: i64,
}

impl Rules {
    fn of(door: &Door) -> Self {
        Self {
            max_events: door.settings().max_events,
            skew_tolerance_us: i64::from(door.settings().clock_skew_tolerance_ms) * 1_000,
        }
    }

    fn judge_body(
        &self,
        sheet: &mut Sheet,
        names: &EventNames,
        call: Call,
        bytes: &[u8],
    ) -> Result<(), DoorError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                sheet.refuse(None, not_utf8(error, bytes, 0, 1), bytes);
                return Ok(());
            }
        };
        let mut frame = Frame {
            message_type: call.message_type(),
            sent_at: None,
            context: None,
            skew_tolerance_us: self.skew_tolerance_us,
        };
        if call != Call::Batch {
            judge_message(sheet, names, &frame, text, (0, 1));
            return Ok(());
        }
        let body: BatchBody<'_> = match serde_json::from_str(text) {
            Ok(body) => body,
            Err(error) if error.is_data() => {
                let refusal = Refusal::whole("bad_batch", "the body is to be an object with a 'batch' array");
                sheet.refuse(None, refusal.into(), bytes);
                return Ok(());
            }
            Err(error) => {
                sheet.refuse(None, malformed(&error, text, 0, 1), bytes);
                return Ok(());
            }
        };
        let Some(batch) = body.batch else {
            let refusal = Refusal::field("missing_batch", "batch", "the body has no 'batch' array");
            sheet.refuse(None, refusal.into(), bytes);
            return Ok(());
        };
        if batch.len() > self.max_events {
            return Err(DoorError::TooMany {
                limit: self.max_events,
            });
        }
        frame.sent_at = body.sent_at;
        frame.context = body.context;
        let mut lines = LineCount::new(text);
        for message in batch {
            let place = lines.place_of(message.get());
            judge_message(sheet, names, &frame, message.get(), place);
        }
        Ok(())
    }
}

fn judge_message(
    sheet: &mut Sheet,
    names: &EventNames,
    frame: &Frame,
    text: &str,
    (start, line): (usize, usize),
) {
    let bytes = text.as_bytes();
    let message = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(message)) => message,
        Ok(_) => {
            let refusal = Refusal::whole("not_an_object", "a message is to be a json object");
            return sheet.refuse(None, refusal.into(), bytes);
        }
        Err(error) => return sheet.refuse(None, malformed(&error, text, start, line), bytes),
    };
    match drafts_of(message, frame, names, sheet.reception()) {
        Ok(drafts) => drafts
            .into_iter()
            .for_each(|draft| sheet.judge_owned(draft, bytes)),
        Err(refusal) => sheet.refuse(None, refusal.into(), bytes),
    }
}

/// Parses and judges what the Segment door once refused: a batch body, or one message as dead letters keep it.
///
/// A message that came to its own address carries no `type`; its fields tell. The `sentAt` of its batch is gone, so its
/// times are taken as they stand. `None` when a batch holds more than `max_events` messages.
#[must_use]
pub fn parse_segment(
    reception: Reception,
    names: &EventNames,
    body: &[u8],
    max_events: usize,
) -> Option<Parsed> {
    let rules = Rules {
        max_events,
        skew_tolerance_us: i64::MAX,
    };
    let mut sheet = Sheet::new(reception, false);
    rules.judge_body(&mut sheet, names, call_of(body), body).ok()?;
    Some(Parsed::of(sheet))
}

/// The call that a body was made for, by its fields.
fn call_of(body: &[u8]) -> Call {
    let Ok(fields) = serde_json::from_slice::<serde_json::Map<String, Value>>(body) else {
        return Call::Batch;
    };
    let has = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
    match fields.get("type").and_then(Value::as_str) {
        _ if has("batch") => Call::Batch,
        Some("track") => Call::Track,
        Some("identify") => Call::Identify,
        Some("page") => Call::Page,
        Some("screen") => Call::Screen,
        Some("group") => Call::Group,
        Some("alias") => Call::Alias,
        _ if has("event") => Call::Track,
        _ if has("previousId") => Call::Alias,
        _ if has("groupId") => Call::Group,
        _ if has("traits") => Call::Identify,
        _ if has("name") || has("properties") => Call::Page,
        _ => Call::Track,
    }
}

/// Judges a body and gives an outcome an event; accepted ones first, by id.
#[cfg(test)]
pub(crate) fn judge_for_tests(
    reception: Reception,
    names: &EventNames,
    call: Call,
    bytes: &[u8],
) -> Vec<crate::conformance::Outcome> {
    let rules = Rules {
        max_events: 1_000,
        skew_tolerance_us: 30_000_000,
    };
    let mut sheet = Sheet::new(reception, false);
    let judged = rules.judge_body(&mut sheet, names, call, bytes);
    judged.expect("within the limit");
    let Parsed { batch, refused } = Parsed::of(sheet);
    let ids = batch.iter().flat_map(|batch| {
        let ids = revgauge_contract::schema::text_column(batch, "event_id").expect("ids");
        ids.iter()
            .flatten()
            .map(|id| Ok(id.to_owned()))
            .collect::<Vec<_>>()
    });
    ids.chain(refused.into_iter().map(Err)).collect()
}
