//! The tables `text_signals` and `compliance_report`: what the texts of deals say now.

use std::sync::Arc;

use revgauge_contract::{Timestamp, error::Failure, score::ScoreService, statistics::Knowledge};
use serde_json::Value;

use super::{
    catalog::CatalogTable,
    object_table::{Column, Reading, Records, column},
    session::{object_table, unprintable},
};
use crate::rest::compliance_report;

const TEXT_SIGNALS: &[Column] = &[
    column("deal_id", Reading::Text, &["deal_id"], "the deal", ""),
    column(
        "event_id",
        Reading::Text,
        &["event_id"],
        "event that carries the text",
        "",
    ),
    column("event_type", Reading::Text, &["event_type"], "its type", ""),
    column(
        "said_at",
        Reading::Instant,
        &["said_at"],
        "when it was said",
        "UTC",
    ),
    column(
        "expires_at",
        Reading::Instant,
        &["expires_at"],
        "when its retention ends",
        "UTC",
    ),
    column("user_id", Reading::Text, &["user_id"], "rep of the event", ""),
    column(
        "signal",
        Reading::Text,
        &["signal"],
        "what was found; NULL for a text not read",
        "",
    ),
    column(
        "severity",
        Reading::Text,
        &["severity"],
        "high, medium or low",
        "",
    ),
    column(
        "span_start",
        Reading::Number,
        &["span_start"],
        "first byte of the phrase in the text",
        "bytes",
    ),
    column(
        "span_end",
        Reading::Number,
        &["span_end"],
        "byte after its last",
        "bytes",
    ),
    column("quote", Reading::Text, &["quote"], "the sentence", ""),
    column(
        "value",
        Reading::Text,
        &["value"],
        "competitor or figure as said",
        "",
    ),
    column("speaker", Reading::Text, &["speaker"], "speaker as given", ""),
    column("role", Reading::Text, &["role"], "rep or buyer, where told", ""),
    column(
        "answered",
        Reading::Flag,
        &["answered"],
        "for price objections: whether our side answered",
        "",
    ),
    column(
        "suggestion",
        Reading::Text,
        &["suggestion"],
        "what to do or say instead",
        "",
    ),
    column(
        "consent",
        Reading::Text,
        &["consent"],
        "given, refused or unknown",
        "",
    ),
    column(
        "withheld",
        Reading::Text,
        &["withheld"],
        "why the text was not read",
        "",
    ),
];

const COMPLIANCE_REPORT: &[Column] = &[
    column("user_id", Reading::Text, &["user_id"], "rep", ""),
    column("signal", Reading::Text, &["signal"], "what was found", ""),
    column(
        "severity",
        Reading::Text,
        &["severity"],
        "high, medium or low",
        "",
    ),
    column("hits", Reading::Number, &["hits"], "number of hits", ""),
    column("texts", Reading::Number, &["texts"], "texts with one", ""),
    column("deals", Reading::Number, &["deals"], "deals with one", ""),
    column(
        "without_stated_consent",
        Reading::Number,
        &["without_stated_consent"],
        "hits in texts whose consent is not stated",
        "",
    ),
    column(
        "last_said_at",
        Reading::Instant,
        &["last_said_at"],
        "the last one",
        "UTC",
    ),
    column(
        "suggestion",
        Reading::Text,
        &["suggestion"],
        "what to say instead",
        "",
    ),
];

/// Both tables as of now.
pub(super) fn text_tables(
    service: &Arc<dyn ScoreService>,
    tenant_id: &Arc<str>,
    now: Timestamp,
) -> [CatalogTable; 2] {
    let (scores, tenant) = (Arc::clone(service), Arc::clone(tenant_id));
    let signals = move || -> Records {
        let (scores, tenant) = (Arc::clone(&scores), Arc::clone(&tenant));
        Box::pin(async move {
            let found = scores.text_signals(&tenant, now, Knowledge::Now).await?;
            found
                .iter()
                .map(|hit| serde_json::to_value(hit).map_err(|error| unprintable(&error)))
                .collect::<Result<Vec<Value>, Failure>>()
        })
    };
    let (scores, tenant) = (Arc::clone(service), Arc::clone(tenant_id));
    let report = move || -> Records {
        let (scores, tenant) = (Arc::clone(&scores), Arc::clone(&tenant));
        Box::pin(async move {
            let found = scores.text_signals(&tenant, now, Knowledge::Now).await?;
            Ok(compliance_report(&found))
        })
    };
    [
        object_table(
            "text_signals",
            "one row per signal in a transcript, mail or note within its retention, and per text not read",
            tenant_id,
            TEXT_SIGNALS,
            Arc::new(signals),
        ),
        object_table(
            "compliance_report",
            "one row per rep, signal and severity of what must not be said",
            tenant_id,
            COMPLIANCE_REPORT,
            Arc::new(report),
        ),
    ]
}
