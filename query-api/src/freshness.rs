//! How fresh an answer is: said by every answer, in the body where it is JSON, in headers everywhere.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use revgauge_contract::{Timestamp, cut::Watermark};
use serde::Serialize;

/// Header with the instant the answer is for.
pub const AS_OF: HeaderName = HeaderName::from_static("revgauge-as-of");
/// Header with the latest event time seen of each source: `source=instant, ...`.
pub const WATERMARK: HeaderName = HeaderName::from_static("revgauge-watermark");

/// Freshness of one source, as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SourceMark {
    /// Latest event time seen.
    pub event_time: Timestamp,
    /// Latest receipt.
    pub ingested_at: Timestamp,
    /// Events seen.
    pub events: u64,
}

/// The instant an answer is for and how far its sources had come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Freshness {
    /// The instant.
    pub as_of: Timestamp,
    /// By source.
    pub watermarks: BTreeMap<String, SourceMark>,
}

impl Freshness {
    /// Freshness from the marks of a tenant, whose keys are `source` or `tenant/source`.
    #[must_use]
    pub fn of(tenant_id: &str, as_of: Timestamp, marks: BTreeMap<String, Watermark>) -> Self {
        let own = format!("{tenant_id}/");
        let shown = marks.into_iter().map(|(name, mark)| {
            let source = name.strip_prefix(&own).unwrap_or(&name).to_owned();
            let mark = SourceMark {
                event_time: mark.event_time,
                ingested_at: mark.ingested_at,
                events: mark.events,
            };
            (source, mark)
        });
        Self {
            as_of,
            watermarks: shown.collect(),
        }
    }

    /// Writes both headers.
    pub fn stamp(&self, headers: &mut HeaderMap) {
        let marks: Vec<_> = self
            .watermarks
            .iter()
            .map(|(source, mark)| format!("{}={}", header_text(source), mark.event_time))
            .collect();
        for (name, text) in [(AS_OF, self.as_of.to_string()), (WATERMARK, marks.join(", "))] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        }
    }
}

/// Source names come from clients; a header takes only visible ASCII.
fn header_text(source: &str) -> String {
    let visible = |c: char| {
        if c.is_ascii_graphic() && !matches!(c, ',' | '=') {
            c
        } else {
            '_'
        }
    };
    source.chars().map(visible).collect()
}
