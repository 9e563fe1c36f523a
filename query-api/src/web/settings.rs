//! Numbers of the dashboards.

use serde::{Deserialize, Serialize};

/// Limits of sessions and pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebSettings {
    /// Hours until a session ends and the person signs in again.
    pub session_hours: u32,
    /// Sessions kept; past it the one that ends first goes.
    pub max_sessions: usize,
    /// Attempts to sign in with one name a minute.
    pub sign_in_attempts_per_minute: u32,
    /// Minutes a sign-in link is good, once.
    pub link_minutes: u32,
    /// How long the answer to a query may serve further pages, milliseconds, or five times as long as the query took when it
    /// took longer than this. Many people on the same page cost one query; a page that was told of a change is given an answer
    /// from after it.
    pub fresh_ms: u64,
    /// How old an answer may be that a live page shows while a new one is made, milliseconds; it says so and fetches the new
    /// one by itself. 0 makes every page wait.
    pub stale_ms: u64,
    /// How long an answer about named instants of the past may serve, milliseconds; it stays true but for late events.
    pub past_ms: u64,
    /// Answers kept for each of the two.
    pub max_answers: usize,
    /// Most rows of a table on a page.
    pub page_rows: usize,
    /// Most people in the choice of whose numbers a page shows; where there are more, it offers a level of the hierarchy.
    pub offered_people: usize,
    /// A source that has brought nothing for so many hours is called stale on every page.
    pub stale_hours: u32,
}

impl Default for WebSettings {
    fn default() -> Self {
        Self {
            session_hours: 12,
            max_sessions: 10_000,
            sign_in_attempts_per_minute: 10,
            link_minutes: 60,
            fresh_ms: 500,
            stale_ms: 60_000,
            past_ms: 600_000,
            max_answers: 512,
            page_rows: 50,
            offered_people: 250,
            stale_hours: 24,
        }
    }
}
