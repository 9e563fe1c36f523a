//! Instants: UTC microseconds, as text and as numbers, and the clock that is injected everywhere.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One second in microseconds.
pub const SECOND_US: i64 = 1_000_000;
/// One day in microseconds.
pub const DAY_US: i64 = 86_400 * SECOND_US;
/// Length of an era in seconds (four years of 365.25 days): forward decay restarts its exponent at each era,
/// so that `f64` never overflows (Cormode et al., *Forward decay*, ICDE 2009).
pub const ERA_SECONDS: i64 = 126_230_400;

/// An instant in microseconds since 1970-01-01T00:00:00Z. Text form is RFC 3339 with microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The earliest event time accepted, 1990-01-01.
    pub const EARLIEST_EVENT: Self = Self(631_152_000 * SECOND_US);

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch with fraction; the unit in which layer 1 computes decay.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds up to year 2255 are exact in f64"
    )]
    pub fn seconds_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The era (four-year bucket) this instant belongs to: `floor(epoch_seconds / ERA_SECONDS)`.
    #[must_use]
    pub const fn era(self) -> i64 {
        self.0.div_euclid(SECOND_US).div_euclid(ERA_SECONDS)
    }

    /// This instant moved by a number of microseconds, saturating at the ends of the range.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Days from `earlier` to `self` (negative when `self` is earlier).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "differences are far below 2^53")]
    pub fn days_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0) as f64 / DAY_US as f64
    }

    /// As a chrono date-time, for calendar questions. Out-of-range instants clamp to chrono's own range.
    #[must_use]
    pub fn to_datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(if self.0 < 0 {
            DateTime::<Utc>::MIN_UTC
        } else {
            DateTime::<Utc>::MAX_UTC
        })
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(value: DateTime<Utc>) -> Self {
        Self(value.timestamp_micros())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_datetime().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no instant we understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read '{0}' as a time: use RFC 3339 such as 2026-01-31T09:30:00Z")]
pub struct TimestampError(pub String);

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads RFC 3339 (with `T` or a space), a date-time without zone (taken as UTC) or a bare date (midnight UTC).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Some(at) = plain_utc(text.as_bytes()) {
            return Ok(at);
        }
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self(at.timestamp_micros()));
        }
        for format in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"] {
            if let Ok(at) = DateTime::parse_from_str(text, format) {
                return Ok(Self(at.timestamp_micros()));
            }
        }
        for format in [
            "%Y-%m-%dT%H:%M:%S%.f",
            "%Y-%m-%d %H:%M:%S%.f",
            "%Y-%m-%dT%H:%M",
            "%Y-%m-%d %H:%M",
        ] {
            if let Ok(at) = NaiveDateTime::parse_from_str(text, format) {
                return Ok(Self(at.and_utc().timestamp_micros()));
            }
        }
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()
            .and_then(|day| day.and_hms_opt(0, 0, 0))
            .map(|at| Self(at.and_utc().timestamp_micros()))
            .ok_or_else(|| TimestampError(text.chars().take(64).collect()))
    }
}

/// The form most machines write, `2026-01-31T09:30:00[.123456]Z`, an order of magnitude faster than the general reading.
/// `None` for every other form, and for what only the general reading can judge (leap seconds).
fn plain_utc(text: &[u8]) -> Option<Timestamp> {
    let (head, tail) = text.split_at_checked(19)?;
    let number = |from: usize, to: usize| {
        head[from..to].iter().try_fold(0_i64, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| head[*at] != *mark) {
        return None;
    }
    let fraction = tail.strip_suffix(b"Z")?;
    let micros = match fraction.split_first() {
        None => 0,
        Some((b'.', digits)) if (1..=9).contains(&digits.len()) => {
            let mut micros = 0;
            for place in 0..6 {
                let digit = digits.get(place).copied().unwrap_or(b'0');
                micros = micros * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
            }
            if !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            micros
        }
        Some(_) => return None,
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let day = NaiveDate::from_ymd_opt(
        i32::try_from(year).ok()?,
        u32::try_from(month).ok()?,
        u32::try_from(day).ok()?,
    )?;
    let days = i64::from(day.to_epoch_days());
    Some(Timestamp(
        ((days * 24 + hour) * 3600 + minute * 60 + second) * SECOND_US + micros,
    ))
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Where "now" comes from. Nothing but the composition root picks an implementation.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::from(Utc::now())
    }
}

/// A clock that moves only when told; for tests, simulation and replays.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock standing at `at`.
    #[must_use]
    pub const fn at(at: Timestamp) -> Self {
        Self(AtomicI64::new(at.0))
    }

    /// Moves the clock to `at`.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.0, Ordering::SeqCst);
    }

    /// Moves the clock forward by microseconds.
    pub fn advance(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_people_write() {
        for (text, micros) in [
            ("2026-01-02T03:04:05.678Z", 1_767_323_045_678_000),
            ("2026-01-02T03:04:05.678+00:00", 1_767_323_045_678_000),
            ("2026-01-02 03:04:05", 1_767_323_045_000_000),
            ("2026-01-02", 1_767_312_000_000_000),
        ] {
            assert_eq!(text.parse::<Timestamp>(), Ok(Timestamp(micros)), "{text}");
        }
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn the_fast_reading_agrees_with_the_general_one() {
        let mut read = 0;
        for text in [
            "1969-12-31T23:59:59.999999Z",
            "2024-02-29T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2026-01-02T03:04:05.6Z",
            "2026-01-02T03:04:05.678901234Z",
            "2026-01-02T03:04:05.67890123456Z",
            "2026-13-02T03:04:05Z",
            "2026-01-02T24:04:05Z",
            "2026-01-02T03:04:60Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05.6x8Z",
            "2026-01-02T03:04:05.6789012x8Z",
            "2026-01-02T03:04:05+01:00",
            "2026-01-0aT03:04:05Z",
        ] {
            let general = DateTime::parse_from_rfc3339(text)
                .ok()
                .map(|at| Timestamp(at.timestamp_micros()));
            if let Some(fast) = plain_utc(text.as_bytes()) {
                assert_eq!(Some(fast), general, "{text}");
                read += 1;
            }
        }
        assert_eq!(read, 4);
    }

    #[test]
    fn eras_floor_before_the_epoch() {
        assert_eq!(Timestamp(-1).era(), -1);
        assert_eq!(Timestamp(0).era(), 0);
        assert_eq!(Timestamp(ERA_SECONDS * SECOND_US).era(), 1);
    }
}
