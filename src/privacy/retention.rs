//! When words past their retention go without being told to: at a start that finds them due, and in a quiet hour of a
//! server that runs, which closes its doors for as long as it takes.
//!
//! The work needs a store at rest (`expire_texts`), so a running server ends and begins again within its process. What is
//! past its retention is neither read nor listed from the very instant on; the rounds only take it off the disk.

use std::time::Duration;

use anyhow::{Context as _, Result};
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, path::Path};
use revgauge_contract::{
    Clock as _, Timestamp,
    time::{DAY_US, SystemClock},
};
use serde::{Deserialize, Serialize};

use super::{Expired, expire_texts};
use crate::settings::Settings;

/// Where the last round is noted.
const MARK: &str = "privacy/texts.json";
const HOUR_US: i64 = DAY_US / 24;

/// Numbers of privacy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PrivacySettings {
    /// Hours between two rounds that take words past their retention off the disk; 0 leaves that to
    /// `revgauge privacy retain`.
    pub(crate) text_rounds_every_hours: u32,
    /// Hour of the day, UTC, in which a running server may close its doors for a round, 0 to 23.
    pub(crate) quiet_hour_utc: u32,
}

impl Default for PrivacySettings {
    fn default() -> Self {
        Self {
            text_rounds_every_hours: 168,
            quiet_hour_utc: 3,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    done_at: Timestamp,
}

/// When the next round is due for a store whose last one was then; `None` for never.
fn due_at(last: Timestamp, settings: &PrivacySettings) -> Option<Timestamp> {
    let hours = i64::from(settings.text_rounds_every_hours);
    (hours > 0).then(|| last.plus_micros(hours.saturating_mul(HOUR_US)))
}

/// The first quiet hour from an instant on.
fn quiet_from(at: Timestamp, settings: &PrivacySettings) -> Timestamp {
    let wanted_us = i64::from(settings.quiet_hour_utc.min(23)) * HOUR_US;
    let into_day = at.micros().rem_euclid(DAY_US);
    if (wanted_us..wanted_us + HOUR_US).contains(&into_day) {
        return at;
    }
    let ahead = (wanted_us - into_day).rem_euclid(DAY_US);
    at.plus_micros(ahead)
}

async fn last_round(store: &dyn ObjectStore) -> Result<Option<Timestamp>> {
    let path = Path::from(MARK);
    let bytes = match store.get(&path).await {
        Ok(found) => found.bytes().await?,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error).context("cannot read when texts were last looked through"),
    };
    let mark: Mark = serde_json::from_slice(&bytes).with_context(|| format!("cannot read '{path}'"))?;
    Ok(Some(mark.done_at))
}

async fn note_round(store: &dyn ObjectStore, done_at: Timestamp) -> Result<()> {
    let mark = serde_json::to_vec(&Mark { done_at })?;
    store.put(&Path::from(MARK), mark.into()).await?;
    Ok(())
}

/// Takes words past their retention off a store at rest when a round is due; `None` when none is.
///
/// Cost: one read of the store; a round reads the whole lake.
///
/// # Errors
/// What the store or the round met; doing it again finishes it.
pub(crate) async fn run_when_due(settings: &Settings) -> Result<Option<Expired>> {
    let store = revgauge_store::open(&settings.store.url, &settings.store.options)
        .await?
        .store;
    let now = SystemClock.now();
    let Some(last) = last_round(store.as_ref()).await? else {
        // A store that is new, or was never looked through: its time begins now, so that no start is held up unawares.
        note_round(store.as_ref(), now).await?;
        return Ok(None);
    };
    let due = due_at(last, &settings.privacy);
    if due.is_none_or(|due| due > now) {
        return Ok(None);
    }
    let expired = Box::pin(expire_texts(settings)).await?;
    note_round(store.as_ref(), now).await?;
    tracing::info!(
        before = %expired.before,
        lake_files = expired.lake_files_rewritten,
        journal_objects = expired.journal_objects,
        "words past their retention were taken off the disk"
    );
    Ok(Some(expired))
}

/// How long a server that starts now may run until its next round; `None` when it never has to stop for one.
///
/// # Errors
/// What the store met.
pub(crate) async fn until_round(settings: &Settings) -> Result<Option<Duration>> {
    let store = revgauge_store::open(&settings.store.url, &settings.store.options)
        .await?
        .store;
    let now = SystemClock.now();
    let last = last_round(store.as_ref()).await?.unwrap_or(now);
    Ok(due_at(last, &settings.privacy).map(|due| {
        let at = quiet_from(due.max(now), &settings.privacy);
        let wait_us = at.micros().saturating_sub(now.micros()).max(0);
        Duration::from_micros(wait_us.unsigned_abs())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_wait_for_their_time_and_a_quiet_hour() {
        let settings = PrivacySettings::default();
        let day = |days: i64, hour: i64| Timestamp(days * DAY_US + hour * HOUR_US);
        assert_eq!(due_at(day(10, 5), &settings), Some(day(17, 5)));
        for (from, quiet) in [
            (day(17, 5), day(18, 3)),
            (day(17, 2), day(17, 3)),
            (day(17, 3), day(17, 3)),
            (
                day(17, 3).plus_micros(HOUR_US - 1),
                day(17, 3).plus_micros(HOUR_US - 1),
            ),
            (day(17, 4), day(18, 3)),
        ] {
            assert_eq!(quiet_from(from, &settings), quiet);
        }
        let never = PrivacySettings {
            text_rounds_every_hours: 0,
            ..settings
        };
        assert_eq!(due_at(day(10, 5), &never), None);
    }
}
