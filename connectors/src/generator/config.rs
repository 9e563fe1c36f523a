//! What organisation to make.

use revgauge_contract::{
    Timestamp,
    error::{Classified, ErrorKind},
    time::DAY_US,
};
use serde::{Deserialize, Serialize};

/// Size, span and seed of a generated organisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeneratorConfig {
    /// Same seed and sizes, same events.
    pub seed: u64,
    /// Companies; 1 to 10,000,000.
    pub accounts: u32,
    /// Mean people per company; 1 to 100.
    pub contacts_per_account: f64,
    /// Sales people; 1 to 100,000.
    pub reps: u32,
    /// First day (its midnight, UTC).
    pub start: Timestamp,
    /// Days to generate.
    pub days: u32,
    /// Multiplies every rate of activity; 1 is about 0.2 events a contact a day.
    pub intensity: f64,
    /// Share of contacts whose mail is opened by a privacy proxy, 0 to 1.
    pub proxy_share: f64,
    /// Share of companies whose mail passes a link scanner, 0 to 1.
    pub scanner_share: f64,
}

impl Default for GeneratorConfig {
    fn default() -> Self {
        Self {
            seed: 20_261_120,
            accounts: 120,
            contacts_per_account: 5.0,
            reps: 8,
            start: Timestamp(1_767_225_600_000_000),
            days: 180,
            intensity: 1.0,
            proxy_share: 0.35,
            scanner_share: 0.15,
        }
    }
}

/// A configuration no organisation can be made from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot simulate with {key}: {reason}")]
pub struct ConfigError {
    /// The setting at fault.
    pub key: &'static str,
    /// Its bounds.
    pub reason: String,
}

impl Classified for ConfigError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

/// Measured events per contact and day at intensity 1, for sizing by a wanted number of events.
const EVENTS_PER_CONTACT_DAY: f64 = 0.21;

impl GeneratorConfig {
    /// A configuration that gives about `events` events over its days, by scaling the number of accounts.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "sizes"
    )]
    pub fn sized_for(mut self, events: u64) -> Self {
        let per_account =
            EVENTS_PER_CONTACT_DAY * self.intensity * self.contacts_per_account * f64::from(self.days);
        self.accounts = (events as f64 / per_account.max(1e-9)).ceil().clamp(1.0, 1e7) as u32;
        self.reps = (self.accounts / 40).clamp(2, 5000);
        self
    }

    /// Moves the span so that its last day ends at the midnight before `now`.
    #[must_use]
    pub fn ending_before(mut self, now: Timestamp) -> Self {
        let midnight = now.micros().div_euclid(DAY_US) * DAY_US;
        self.start = Timestamp(midnight - i64::from(self.days) * DAY_US);
        self
    }

    /// Checks the bounds.
    ///
    /// # Errors
    /// Names the first setting out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bad = |key, reason: &str| {
            Err(ConfigError {
                key,
                reason: reason.to_owned(),
            })
        };
        let share = |value: f64| (0.0..=1.0).contains(&value);
        if !(1..=10_000_000).contains(&self.accounts) {
            return bad("accounts", "give 1 to 10000000");
        }
        if !(1.0..=100.0).contains(&self.contacts_per_account) {
            return bad("contacts_per_account", "give 1 to 100");
        }
        if !(1..=100_000).contains(&self.reps) {
            return bad("reps", "give 1 to 100000");
        }
        if !(1..=36_500).contains(&self.days) {
            return bad("days", "give 1 to 36500");
        }
        if !(0.001..=1000.0).contains(&self.intensity) {
            return bad("intensity", "give 0.001 to 1000");
        }
        if !share(self.proxy_share) || !share(self.scanner_share) {
            return bad("proxy_share and scanner_share", "give 0 to 1");
        }
        if self.start < Timestamp::EARLIEST_EVENT {
            return bad("start", "give a day from 1990 on");
        }
        Ok(())
    }
}
