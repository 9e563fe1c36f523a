//! What a saved report is: a person's query under a title, and when it goes where.

use chrono_tz::Tz;
use croner::Cron;
use revgauge_contract::{Classified, ErrorKind, Timestamp, time::SECOND_US};
use serde::{Deserialize, Serialize};

/// What can go wrong with saved reports.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// Title, query, pattern, zone or address cannot be used.
    #[error("cannot save the report: {0}")]
    Refused(String),
    /// No such report of this tenant.
    #[error("no saved report '{0}' of this tenant: list them to see their ids")]
    NoSuchReport(String),
    /// The setting `max_saved` is reached.
    #[error("cannot save another report: {0} exist, which is the setting 'max_saved'; remove one")]
    TooMany(usize),
    /// The object store failed.
    #[error("cannot reach the saved reports at '{path}': {source}")]
    Store {
        /// The object.
        path: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// What is stored is not what was written.
    #[error("cannot read the saved report at '{path}': {reason}")]
    Corrupt {
        /// The object.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

impl Classified for SavedError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(_) => ErrorKind::User,
            Self::NoSuchReport(_) => ErrorKind::NotFound,
            Self::TooMany(_) => ErrorKind::Limit,
            Self::Store { .. } => ErrorKind::External,
            Self::Corrupt { .. } => ErrorKind::Data,
        }
    }
}

/// A query that a person keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedReport {
    /// Given at its making: 16 hexadecimal digits.
    pub report_id: String,
    /// Whose.
    pub tenant_id: String,
    /// For people.
    pub title: String,
    /// One SELECT; it runs within its tenant's wall like any other.
    pub sql: String,
    /// Login or key id of the maker.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it goes where, if it does.
    #[serde(default)]
    pub schedule: Option<Schedule>,
}

/// When a report goes where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Five fields of cron (minute, hour, day of month, month, day of week), or six with seconds first.
    pub cron: String,
    /// IANA name of the zone that the pattern is read in.
    pub timezone: String,
    /// Where to.
    pub target: Target,
    /// Instants up to this one are not due: when the schedule was set.
    pub since: Timestamp,
}

/// Where a report goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// A CSV file in the deployment's store, under `reports/files/`.
    File,
    /// JSON by POST, signed as Standard Webhooks has it.
    Webhook {
        /// Where to.
        url: String,
        /// `whsec_` and the key in base64; made here when empty.
        #[serde(default)]
        secret: String,
    },
    /// A mail with a table and the CSV attached.
    Mail {
        /// Addresses.
        to: Vec<String>,
    },
}

impl Target {
    /// For people, without secrets.
    #[must_use]
    pub fn wording(&self) -> String {
        match self {
            Self::File => "file".to_owned(),
            Self::Webhook { url, .. } => format!("webhook {url}"),
            Self::Mail { to } => format!("mail to {}", to.join(", ")),
        }
    }
}

/// How the delivery for one due instant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Due, and tried at `next_try_at`.
    Waiting,
    /// An attempt began; found at a start, the process ended in the middle of it.
    Begun,
    /// The other side has it.
    Delivered,
    /// Given up; the message says why.
    Failed,
}

/// The delivery of one report for one due instant. There is one of each pair, whatever restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// For which instant.
    pub due_at: Timestamp,
    /// How it stands.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempts: u32,
    /// Not before.
    pub next_try_at: Timestamp,
    /// When it was delivered or given up.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// Rows that were delivered.
    #[serde(default)]
    pub rows: Option<usize>,
    /// What the last attempt met, or where the report went.
    #[serde(default)]
    pub message: String,
}

/// A cron pattern read in a zone.
#[derive(Debug, Clone)]
pub struct Pattern {
    cron: Cron,
    zone: Tz,
}

impl Pattern {
    /// Reads pattern and zone.
    ///
    /// # Errors
    /// Says which of the two cannot be read and how it is written.
    pub fn parse(cron: &str, timezone: &str) -> Result<Self, SavedError> {
        let zone = timezone.parse().map_err(|_| {
            let zone: String = timezone.chars().take(64).collect();
            SavedError::Refused(format!(
                "'{zone}' is no time zone; write it as Europe/Berlin or UTC"
            ))
        })?;
        let cron = cron.parse().map_err(|error| {
            let cron: String = cron.chars().take(64).collect();
            SavedError::Refused(format!(
                "'{cron}' is no cron pattern ({error}); '0 7 * * 1' is every Monday at seven"
            ))
        })?;
        Ok(Self { cron, zone })
    }

    /// The first instant of the pattern after another one; none when the pattern never comes again.
    #[must_use]
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        // Patterns are of whole seconds, and the reader of patterns keeps the fraction of what it is given.
        let second = Timestamp(at.micros().div_euclid(SECOND_US) * SECOND_US);
        let local = second.to_datetime().with_timezone(&self.zone);
        let next = self.cron.find_next_occurrence(&local, false).ok()?;
        let next = Timestamp(next.timestamp_micros());
        (next > at).then_some(next)
    }

    /// Instants after one and up to another, oldest first, at most so many.
    #[must_use]
    pub fn due(&self, after: Timestamp, until: Timestamp, most: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next_after(after), |at| self.next_after(*at))
            .take_while(|at| *at <= until)
            .take(most)
            .collect()
    }

    /// The shortest time between two of the next instants, microseconds.
    #[must_use]
    pub fn shortest_gap(&self, from: Timestamp) -> Option<i64> {
        /// Enough to see a pattern that bunches ("at :00 and :01").
        const LOOK: usize = 24;
        let instants = self.due(from, Timestamp(i64::MAX), LOOK);
        instants
            .windows(2)
            .map(|pair| pair[1].micros() - pair[0].micros())
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn a_pattern_keeps_the_wall_clock_across_both_changes_of_the_clock() {
        let every_morning = Pattern::parse("0 7 * * *", "Europe/Berlin").expect("a pattern");
        for (after, wanted) in [
            (
                "2026-03-27T12:00:00Z",
                vec!["2026-03-28T06:00:00Z", "2026-03-29T05:00:00Z"],
            ),
            (
                "2026-10-23T12:00:00Z",
                vec!["2026-10-24T05:00:00Z", "2026-10-25T06:00:00Z"],
            ),
        ] {
            let wanted: Vec<Timestamp> = wanted.into_iter().map(at).collect();
            assert_eq!(every_morning.due(at(after), Timestamp(i64::MAX), 2), wanted);
        }
    }

    #[test]
    fn every_instant_is_due_once_however_the_time_between_is_cut() {
        let pattern = Pattern::parse("*/7 * * * *", "America/New_York").expect("a pattern");
        let (from, to) = (at("2026-10-31T20:00:00Z"), at("2026-11-02T03:00:00Z"));
        let whole = pattern.due(from, to, 10_000);
        for step_minutes in [1, 5, 61, 1_439] {
            let mut cut = Vec::new();
            let mut last = from;
            let mut now = from;
            while now < to {
                now = Timestamp((now.micros() + step_minutes * 60_000_000).min(to.micros()));
                let due = pattern.due(last, now, 10_000);
                last = due.last().copied().unwrap_or(last);
                cut.extend(due);
            }
            assert_eq!(cut, whole, "steps of {step_minutes} minutes");
        }
        assert!(whole.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (cron, zone, wanted) in [
            ("", "UTC", "is no cron pattern"),
            ("61 * * * *", "UTC", "is no cron pattern"),
            ("0 7 * * 1", "Berlin", "is no time zone"),
            ("0 7 * * 1", "", "is no time zone"),
        ] {
            let error = Pattern::parse(cron, zone).expect_err("refused").to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let monthly = Pattern::parse("30 8 1 * *", "UTC").expect("a pattern");
        assert_eq!(
            monthly.next_after(at("2026-01-31T09:00:00.250Z")),
            Some(at("2026-02-01T08:30:00Z")),
            "on the second"
        );
        let never = Pattern::parse("0 0 30 2 *", "UTC").expect("reads well");
        assert_eq!(never.next_after(at("2026-01-01T00:00:00Z")), None);
    }
}
