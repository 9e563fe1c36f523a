//! How far back ids count: by arrival time and by number.

use std::collections::VecDeque;

use revgauge_contract::{Position, Timestamp};
use serde::{Deserialize, Serialize};

/// Ids after which a bucket is full.
const BUCKET_IDS: u64 = 1 << 16;
/// Arrival time after which a bucket is full, microseconds.
const BUCKET_US: i64 = 60_000_000;

/// The ids first seen in a range of positions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    begun_us: i64,
    last_us: i64,
    last_position: Position,
    ids: u64,
}

/// The window of positions whose ids are remembered; a pure function of what was noted.
///
/// The window ends by whole buckets, so it is a little longer than asked for, and a checkpoint of it is small.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Window {
    floor: Position,
    ids: u64,
    buckets: VecDeque<Bucket>,
}

impl Window {
    /// Ids first seen at or below this position are forgotten.
    pub(crate) const fn floor(&self) -> Position {
        self.floor
    }

    /// Ids above the floor.
    pub(crate) const fn ids(&self) -> u64 {
        self.ids
    }

    /// Moves the floor for an object that arrived at `now`.
    pub(crate) fn advance(&mut self, now: Timestamp, horizon_us: i64, max_ids: u64) {
        while let Some(oldest) = self.buckets.front() {
            let past = oldest.last_us.saturating_add(horizon_us) < now.micros();
            if !past && self.ids <= max_ids {
                return;
            }
            self.floor = oldest.last_position;
            self.ids -= oldest.ids;
            self.buckets.pop_front();
        }
    }

    /// Notes how many ids an object brought first.
    pub(crate) fn note(&mut self, position: Position, written_at: Timestamp, ids: u64) {
        if ids == 0 {
            return;
        }
        let now = written_at.micros();
        self.ids += ids;
        match self.buckets.back_mut() {
            Some(open) if open.ids < BUCKET_IDS && now.saturating_sub(open.begun_us) < BUCKET_US => {
                open.last_us = now;
                open.last_position = position;
                open.ids += ids;
            }
            _ => self.buckets.push_back(Bucket {
                begun_us: now,
                last_us: now,
                last_position: position,
                ids,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    #[test]
    fn the_floor_follows_time_and_number() {
        let mut window = Window::default();
        for minute in 0..10 {
            let now = Timestamp(minute * MINUTE);
            window.advance(now, 3 * MINUTE, 1_000_000);
            window.note(Position(minute as u64 + 1), now, 10);
        }
        // At minute 9 what arrived before minute 6 is gone.
        assert_eq!((window.floor(), window.ids()), (Position(6), 40));
        window.advance(Timestamp(9 * MINUTE), 3 * MINUTE, 25);
        assert_eq!((window.floor(), window.ids()), (Position(8), 20));
    }

    #[test]
    fn positions_of_one_minute_share_a_bucket() {
        let mut window = Window::default();
        for position in 1..=100 {
            window.note(Position(position), Timestamp(position as i64), 1);
        }
        assert_eq!(window.buckets.len(), 1);
    }
}
