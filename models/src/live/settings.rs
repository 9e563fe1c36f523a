//! Settings of live scoring.

use serde::{Deserialize, Serialize};

/// Sizes, intervals and thresholds of live scoring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LiveSettings {
    /// Contacts scored in one turn.
    pub batch_contacts: usize,
    /// Accounts rolled up in one turn.
    pub batch_accounts: usize,
    /// Deals scored in one turn.
    pub batch_deals: usize,
    /// Entities of a background pass in one turn.
    pub batch_sweep: usize,
    /// Timers fired in one turn.
    pub batch_timers: usize,
    /// Entities waiting beyond which the listener waits (back-pressure on layer 1).
    pub max_pending: usize,
    /// Least time between two rounds of account roll-ups; contacts' own scores do not wait for it.
    pub rollup_interval_ms: u64,
    /// Time between two cuts of a tenant's population.
    pub recut_interval_ms: u64,
    /// Contacts sampled for a cut; all where there are fewer.
    pub recut_sample: usize,
    /// Longest sleep without anything to do: timers are looked at this often.
    pub poll_ms: u64,
    /// First wait after the feed refused an append.
    pub retry_ms: u64,
    /// Longest wait between two tries.
    pub retry_max_ms: u64,
    /// Change of each score below which nothing is written unless the tier changed.
    pub minimum_change: MinimumChange,
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            batch_contacts: 1_000,
            batch_accounts: 64,
            batch_deals: 200,
            batch_sweep: 500,
            batch_timers: 200,
            max_pending: 2_000_000,
            rollup_interval_ms: 500,
            recut_interval_ms: 3_600_000,
            recut_sample: 50_000,
            poll_ms: 100,
            retry_ms: 100,
            retry_max_ms: 5_000,
            minimum_change: MinimumChange::default(),
        }
    }
}

/// Least change of each score that is written, in the score's own unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MinimumChange {
    /// Engagement of contacts and accounts, relationship, health: 0-100.
    pub points: f64,
    /// Priority, intent, fit, authority: 0-1.
    pub fraction: f64,
    /// Urgency of the next action, 0-1; another action is always written.
    pub urgency: f64,
}

impl Default for MinimumChange {
    fn default() -> Self {
        Self {
            points: 1.0,
            fraction: 0.01,
            urgency: 0.1,
        }
    }
}

impl MinimumChange {
    pub(super) fn of(&self, score: &str) -> f64 {
        match score {
            "engagement" | "relationship" | "health" => self.points,
            "next_action" => self.urgency,
            _ => self.fraction,
        }
    }
}
