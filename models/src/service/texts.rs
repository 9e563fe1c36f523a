//! What the texts of deals say, as records.

use revgauge_contract::{Timestamp, error::Failure, text::TextSignal};

use super::View;
use crate::{
    gather::Which,
    text::{Analysed, Hit},
};

/// Signals in the texts of all deals, open or closed, that are within their retention at the instant; a text that was
/// not read is one record without a signal. In the order of deals, then of time, then of place.
pub(super) async fn all(view: &View, at: Timestamp, chunk: usize) -> Result<Vec<TextSignal>, Failure> {
    let ids = view
        .directory
        .read()
        .ids(revgauge_contract::score::EntityKind::Deal);
    let mut found = Vec::new();
    for ids in ids.chunks(chunk.max(1)) {
        for facts in view.deals(Which::These(ids), at).await? {
            for text in facts.findings.alive(at) {
                if text.analysis.withheld.is_some() {
                    found.push(record(&facts.deal_id, text, None));
                }
                let hits = text.analysis.hits.iter();
                found.extend(hits.map(|hit| record(&facts.deal_id, text, Some(hit))));
            }
        }
    }
    Ok(found)
}

fn record(deal_id: &str, text: &Analysed, hit: Option<&Hit>) -> TextSignal {
    let document = &text.document;
    TextSignal {
        deal_id: deal_id.to_owned(),
        event_id: document.event_id.clone(),
        event_type: document.event_type.clone(),
        said_at: document.at,
        expires_at: text.expires,
        user_id: document.user_id.clone(),
        signal: hit.map(|hit| hit.signal.clone()),
        severity: hit.map(|hit| hit.severity.as_str().to_owned()),
        span_start: hit.map(|hit| hit.span.start as u64),
        span_end: hit.map(|hit| hit.span.end as u64),
        quote: hit.map(|hit| document.text[hit.sentence.clone()].to_owned()),
        value: hit.and_then(|hit| hit.value.clone()),
        speaker: hit.and_then(|hit| hit.speaker.clone()),
        role: hit.and_then(|hit| hit.role).map(|role| role.as_str().to_owned()),
        answered: hit.and_then(|hit| hit.answered),
        suggestion: hit.map(|hit| hit.suggestion.clone()),
        consent: document.consent.as_str().to_owned(),
        withheld: text.analysis.withheld.map(|reason| reason.as_str().to_owned()),
    }
}
