//! One request's events as they are judged: the batch of the accepted, the refused with their bytes, the verdicts.

use std::{borrow::Cow, io::Write as _, sync::Arc};

use arrow::array::RecordBatch;
use base64::{Engine, engine::general_purpose::STANDARD};
use revgauge_contract::{
    event::{EventDraft, Reception, Refusal},
    event_type::is_known,
    intake::DeadLetter,
    judge::BorrowedDraft,
    schema::EventBatchBuilder,
};

/// Where in the body a malformed text went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Offset in the decompressed body, from 0.
    pub(crate) byte: usize,
    /// Line of the decompressed body, from 1.
    pub(crate) line: usize,
    /// Byte within the line, from 1.
    pub(crate) column: usize,
}

/// A refusal with what the answer says beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) refusal: Refusal,
    pub(crate) place: Option<Place>,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, place: None }
    }
}

/// The events of one request. Verdicts are written as JSON while the events are borrowed, so ids are never copied.
#[derive(Debug)]
pub(crate) struct Sheet {
    reception: Reception,
    list_accepted: bool,
    batch: EventBatchBuilder,
    verdicts: Vec<u8>,
    index: usize,
    unknown_types: u64,
    refused: Vec<(Refusal, Vec<u8>)>,
}

impl Sheet {
    /// An empty sheet. `list_accepted`: whether accepted events get a line in the answer too.
    pub(crate) fn new(reception: Reception, list_accepted: bool) -> Self {
        Self {
            reception,
            list_accepted,
            batch: EventBatchBuilder::default(),
            verdicts: Vec::new(),
            index: 0,
            unknown_types: 0,
            refused: Vec::new(),
        }
    }

    pub(crate) const fn reception(&self) -> &Reception {
        &self.reception
    }

    /// Events judged so far.
    pub(crate) const fn judged(&self) -> usize {
        self.index
    }

    pub(crate) const fn accepted(&self) -> usize {
        self.batch.len()
    }

    pub(crate) fn refusals(&self) -> impl ExactSizeIterator<Item = &Refusal> {
        self.refused.iter().map(|(refusal, _)| refusal)
    }

    pub(crate) const fn unknown_types(&self) -> u64 {
        self.unknown_types
    }

    /// The verdicts as JSON objects with commas between, without brackets.
    pub(crate) fn verdicts(&self) -> &[u8] {
        &self.verdicts
    }

    /// Judges one draft; `bytes` is what it came as.
    pub(crate) fn judge(&mut self, draft: BorrowedDraft<'_>, bytes: &[u8]) {
        let event_id = draft.event_id.clone();
        match draft.accept(&self.reception) {
            Ok(event) => {
                self.batch.append_judged(&self.reception.tenant_id, &event);
                self.unknown_types += u64::from(!event.known_type);
                self.list_taken(&event.event_id);
            }
            Err(refusal) => self.refuse(event_id.as_deref(), refusal.into(), bytes),
        }
    }

    /// Judges one draft on its own text.
    pub(crate) fn judge_owned(&mut self, draft: EventDraft, bytes: &[u8]) {
        let event_id = draft.event_id.clone();
        match draft.accept(&self.reception) {
            Ok(event) => {
                self.batch.append(&event);
                self.unknown_types += u64::from(!is_known(&event.event_type));
                self.list_taken(&event.event_id);
            }
            Err(refusal) => self.refuse(event_id.as_deref(), refusal.into(), bytes),
        }
    }

    /// Refuses one event.
    pub(crate) fn refuse(&mut self, event_id: Option<&str>, fault: Fault, bytes: &[u8]) {
        let Fault { refusal, place } = fault;
        self.open_verdict();
        write_text(&mut self.verdicts, "event_id", event_id);
        self.verdicts.extend_from_slice(br#","status":"refused""#);
        write_text(&mut self.verdicts, "code", Some(&refusal.code));
        write_text(&mut self.verdicts, "field", refusal.field.as_deref());
        write_text(&mut self.verdicts, "message", Some(&refusal.message));
        if let Some(Place { byte, line, column }) = place {
            let written = write!(self.verdicts, r#","byte":{byte},"line":{line},"column":{column}"#);
            debug_assert!(written.is_ok(), "writing to memory does not fail");
        }
        self.verdicts.push(b'}');
        self.index += 1;
        self.refused.push((refusal, bytes.to_vec()));
    }

    fn list_taken(&mut self, event_id: &str) {
        if self.list_accepted {
            self.open_verdict();
            write_text(&mut self.verdicts, "event_id", Some(event_id));
            self.verdicts.extend_from_slice(br#","status":"accepted"}"#);
        }
        self.index += 1;
    }

    fn open_verdict(&mut self) {
        if !self.verdicts.is_empty() {
            self.verdicts.push(b',');
        }
        self.verdicts.extend_from_slice(br#"{"index":"#);
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        let mut rest = self.index;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.verdicts.extend_from_slice(&digits[at..]);
    }

    /// The batch of accepted events, taken out; `None` when there are none.
    pub(crate) fn take_batch(&mut self) -> Option<RecordBatch> {
        (!self.batch.is_empty()).then(|| self.batch.finish())
    }

    /// The dead letters of the refused events, taken out. `secret` is blanked in their bytes: a Segment body may carry
    /// its write key.
    pub(crate) fn take_letters(&mut self, secret: Option<&str>) -> Vec<DeadLetter> {
        let refused = std::mem::take(&mut self.refused);
        let reception = &self.reception;
        let letter = |(refusal, bytes): (Refusal, Vec<u8>)| {
            let (body, body_is_base64) = match String::from_utf8(bytes) {
                Ok(text) => (text, false),
                Err(error) => (STANDARD.encode(error.into_bytes()), true),
            };
            DeadLetter {
                tenant_id: Arc::clone(&reception.tenant_id).as_ref().to_owned(),
                refused_at: reception.received_at,
                source: reception.source.to_owned(),
                refusal,
                body: match secret {
                    Some(secret) if !secret.is_empty() => body.replace(secret, "***"),
                    _ => body,
                },
                body_is_base64,
            }
        };
        refused.into_iter().map(letter).collect()
    }
}

/// Writes `,"name":"text"`, or nothing.
fn write_text(out: &mut Vec<u8>, name: &str, text: Option<&str>) {
    let Some(text) = text else { return };
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    let plain = text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\');
    if plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        let escaped = serde_json::Value::String(text.to_owned()).to_string();
        out.extend_from_slice(escaped.as_bytes());
    }
}

/// Tells where parts of a text begin, asked in order; counts each line break once.
#[derive(Debug)]
pub(crate) struct LineCount<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> LineCount<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// Offset of the part in the text, and the number of the line it begins on.
    pub(crate) fn place_of(&mut self, part: &'a str) -> (usize, usize) {
        let at = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let between = self.text.as_bytes().get(self.at..at).unwrap_or_default();
        self.line += between.iter().filter(|byte| **byte == b'\n').count();
        self.at = at;
        (at, self.line)
    }
}

/// The refusal of text that is no JSON, with its place in the body.
///
/// `start` is where the text begins in the body, `line` the number of its first line.
pub(crate) fn malformed(error: &serde_json::Error, text: &str, start: usize, line: usize) -> Fault {
    let line_start = if error.line() <= 1 {
        0
    } else {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        breaks.map(|(at, _)| at + 1).nth(error.line() - 2).unwrap_or(0)
    };
    let column = error.column().max(1);
    let place = Place {
        byte: start + (line_start + column - 1).min(text.len()),
        line: line + error.line().max(1) - 1,
        column,
    };
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    let message = format!(
        "cannot read the json: {said} at byte {}, line {}, column {}",
        place.byte, place.line, place.column
    );
    Fault {
        refusal: Refusal::whole("malformed_json", message),
        place: Some(place),
    }
}

/// The refusal of bytes that are no UTF-8.
pub(crate) fn not_utf8(error: std::str::Utf8Error, bytes: &[u8], start: usize, line: usize) -> Fault {
    let at = error.valid_up_to();
    let before = &bytes[..at];
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |found| found + 1);
    let place = Place {
        byte: start + at,
        line: line + before.iter().filter(|byte| **byte == b'\n').count(),
        column: at - line_start + 1,
    };
    let message = format!(
        "cannot read the json: not utf-8 at byte {}, line {}, column {}",
        place.byte, place.line, place.column
    );
    Fault {
        refusal: Refusal::whole("malformed_json", message),
        place: Some(place),
    }
}

/// Text for an error message: short, whatever came.
pub(crate) fn clip(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(64) {
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
