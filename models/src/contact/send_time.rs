//! When to write (SO-36): the hour of the week at which the contact answers, smoothed towards the segment's.
//!
//! Layer 1 counts hours in UTC; local time is looked up here, at the instant asked for, so that daylight saving moves
//! the allowed hours and not the counts.

use chrono::{Datelike, Offset, TimeZone, Timelike};
use chrono_tz::Tz;
use revgauge_contract::{Timestamp, event::MachineClass, time::DAY_US};

use crate::{
    definitions::{Actions, Definitions, actions::SendTime},
    facts::{ContactFacts, Fields, RhythmRow},
};

const HOURS: usize = 168;
const HOUR_US: i64 = DAY_US / 24;

/// The best time to write.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BestTime {
    /// Hour of the week in UTC, 0 = Monday 00:00.
    pub(super) hour_of_week_utc: usize,
    /// Its next occurrence after the instant.
    pub(super) next: Timestamp,
    /// That occurrence for people, in the contact's zone where it is known.
    pub(super) local: String,
    /// Share of answers expected there, against the mean of the allowed hours, less 1.
    pub(super) lift: f64,
    /// Weighted events of the contact behind it.
    pub(super) events: f64,
}

/// Adds a contact's rhythm to that of its segment, weighted as the definition says; machines are left out.
///
/// Sum over the contacts of a segment (a time zone, a country, the tenant) and give the result to
/// [`crate::score_contact`].
pub fn add_rhythm(definitions: &Definitions, rows: &[RhythmRow], segment: &mut [f64; HOURS]) {
    add(&definitions.actions.send_time, rows, segment);
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn add(definition: &SendTime, rows: &[RhythmRow], hours: &mut [f64; HOURS]) -> f64 {
    let mut total = 0.0;
    for row in rows.iter().filter(|row| row.machine_class == MachineClass::None) {
        let weight = definition
            .events
            .get(&*row.event_type)
            .copied()
            .unwrap_or_default()
            * row.n as f64;
        if let Some(hour) = hours.get_mut(usize::from(row.hour_of_week)) {
            *hour += weight;
            total += weight;
        }
    }
    total
}

/// The contact's time zone, its own or that of its country, and which of the two fields said so.
pub(super) fn zone(definition: &SendTime, fields: &Fields) -> Option<(Tz, &'static str)> {
    let own = fields.get("timezone").and_then(|name| name.trim().parse().ok());
    own.map(|zone| (zone, "timezone")).or_else(|| {
        let country = fields.get("country")?.trim().to_lowercase();
        let name = definition.country_zones.get(&country)?;
        name.parse().ok().map(|zone| (zone, "country"))
    })
}

/// The best hour; `None` when neither the contact nor the segment shows any rhythm.
pub(super) fn best(
    definition: &Actions,
    facts: &ContactFacts,
    segment: &[f64; HOURS],
    at: Timestamp,
) -> Option<BestTime> {
    let definition = &definition.send_time;
    let mut own = [0.0; HOURS];
    let events = add(definition, &facts.rhythm, &mut own);
    let segment_total: f64 = segment.iter().filter(|share| share.is_finite()).sum();
    if events <= 0.0 && segment_total <= 0.0 {
        return None;
    }
    let zone = zone(definition, &facts.fields).map(|(zone, _)| zone);
    let offset = zone.map_or(0, |zone| offset_hours(zone, at));
    let allowed = |hour: usize| is_allowed(definition, hour, offset);
    let even = if segment_total > 0.0 {
        0.0
    } else {
        1.0 / HOURS as f64
    };
    let share = |hour: usize| {
        let prior = if segment_total > 0.0 {
            segment[hour] / segment_total
        } else {
            even
        };
        (definition.prior_strength * prior + around(&own, hour)) / (definition.prior_strength + events)
    };
    let hours: Vec<(usize, f64)> = (0..HOURS)
        .filter(|hour| allowed(*hour))
        .map(|hour| (hour, share(hour)))
        .collect();
    let mean = hours.iter().map(|(_, share)| share).sum::<f64>() / hours.len().max(1) as f64;
    let (hour, most) = hours
        .into_iter()
        .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?;
    if mean <= 0.0 {
        return None;
    }
    let next = next_occurrence(hour, at);
    Some(BestTime {
        hour_of_week_utc: hour,
        next,
        local: local(zone, next),
        lift: most / mean - 1.0,
        events,
    })
}

/// Half of the hour itself and a quarter of each neighbour, round the week: an answer at 9:55 speaks for 10 too.
fn around(hours: &[f64; HOURS], hour: usize) -> f64 {
    0.5 * hours[hour] + 0.25 * (hours[(hour + 1) % HOURS] + hours[(hour + HOURS - 1) % HOURS])
}

fn offset_hours(zone: Tz, at: Timestamp) -> i64 {
    let seconds = zone
        .offset_from_utc_datetime(&at.to_datetime().naive_utc())
        .fix()
        .local_minus_utc();
    i64::from(seconds).div_euclid(3_600)
}

#[expect(clippy::cast_possible_wrap, reason = "0 to 167")]
fn is_allowed(definition: &SendTime, hour: usize, offset: i64) -> bool {
    let local = (hour as i64 + offset).rem_euclid(HOURS as i64);
    let (day, hour) = (local / 24, local % 24);
    (definition.weekends || day < 5)
        && (i64::from(definition.earliest_hour)..=i64::from(definition.latest_hour)).contains(&hour)
}

/// The start of the next such hour after `at`. The epoch was a Thursday: 72 hours into its week.
#[expect(clippy::cast_possible_wrap, reason = "0 to 167")]
fn next_occurrence(hour_of_week: usize, at: Timestamp) -> Timestamp {
    let hours = at.micros().div_euclid(HOUR_US);
    let here = (hours + 72).rem_euclid(HOURS as i64);
    let ahead = (hour_of_week as i64 - here - 1).rem_euclid(HOURS as i64) + 1;
    Timestamp((hours + ahead) * HOUR_US)
}

fn local(zone: Option<Tz>, at: Timestamp) -> String {
    let utc = at.to_datetime();
    let Some(zone) = zone else {
        return format!("{} {:02}:{:02} UTC", utc.weekday(), utc.hour(), utc.minute());
    };
    let here = zone.from_utc_datetime(&utc.naive_utc());
    format!(
        "{} {:02}:{:02} {}",
        here.weekday(),
        here.hour(),
        here.minute(),
        zone.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_hour_of_the_week_is_ahead() {
        // 2026-11-20 is a Friday.
        let at: Timestamp = "2026-11-20T10:30:00Z".parse().expect("time");
        assert_eq!(
            next_occurrence(4 * 24 + 11, at).to_string(),
            "2026-11-20T11:00:00Z"
        );
        assert_eq!(
            next_occurrence(4 * 24 + 10, at).to_string(),
            "2026-11-27T10:00:00Z"
        );
        assert_eq!(next_occurrence(0, at).to_string(), "2026-11-23T00:00:00Z");
    }

    fn facts(timezone: &str, hour_of_week: u8) -> ContactFacts {
        ContactFacts {
            fields: [("timezone".to_owned(), timezone.to_owned())].into(),
            rhythm: vec![RhythmRow {
                event_type: "email.replied".into(),
                machine_class: MachineClass::None,
                hour_of_week,
                n: 12,
            }],
            ..ContactFacts::default()
        }
    }

    #[test]
    fn the_hour_is_told_in_local_time_and_kept_to_working_hours() {
        let definitions = Definitions::shipped();
        let at: Timestamp = "2026-11-20T10:30:00Z".parse().expect("time");
        // Tuesday 08:00 UTC is 09:00 in Berlin, 03:00 in New York.
        let berlin = best(
            &definitions.actions,
            &facts("Europe/Berlin", 32),
            &[0.0; HOURS],
            at,
        )
        .expect("best");
        assert_eq!(
            (berlin.hour_of_week_utc, berlin.local.as_str()),
            (32, "Tue 09:00 Europe/Berlin")
        );
        assert!(berlin.lift > 5.0, "{}", berlin.lift);
        let york = best(
            &definitions.actions,
            &facts("America/New_York", 32),
            &[0.0; HOURS],
            at,
        )
        .expect("best");
        assert_ne!(york.hour_of_week_utc, 32, "not in the middle of the night");
        assert!(best(&definitions.actions, &ContactFacts::default(), &[0.0; HOURS], at).is_none());
    }

    #[test]
    fn few_events_lean_on_the_segment() {
        let definitions = Definitions::shipped();
        let at: Timestamp = "2026-11-20T10:30:00Z".parse().expect("time");
        let mut segment = [0.0; HOURS];
        segment[24 + 10] = 900.0;
        let mut one = facts("Europe/London", 3 * 24 + 15);
        one.rhythm[0].n = 1;
        let found = best(&definitions.actions, &one, &segment, at).expect("best");
        assert_eq!(
            found.hour_of_week_utc, 34,
            "one answer does not outweigh the segment"
        );
        one.rhythm[0].n = 60;
        let found = best(&definitions.actions, &one, &segment, at).expect("best");
        assert_eq!(found.hour_of_week_utc, 87, "sixty do");
    }
}
