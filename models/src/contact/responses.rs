//! Who spoke last, how often we wrote since, and whether it is time to stop: one pass over the rows of people.

use std::f64::consts::LN_2;

use revgauge_contract::{
    Timestamp,
    event::{Direction, MachineClass},
};

use crate::{
    decay::era_start,
    definitions::Actions,
    facts::{ActivityRow, ContactFacts},
};

/// What the rows say about who did what last.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Responses {
    pub(super) last_activity: Option<Timestamp>,
    pub(super) last_response: Option<Timestamp>,
    /// Last answer in writing (mail, message, form).
    pub(super) last_written: Option<Timestamp>,
    pub(super) last_touch: Option<Timestamp>,
    pub(super) first_touch: Option<Timestamp>,
    /// Touches since the last answer.
    pub(super) touches_since: i64,
    /// Whether that count is exact (else it is the likeliest within exact bounds).
    pub(super) touches_exact: bool,
    pub(super) two_way: bool,
    pub(super) last_booked: Option<Timestamp>,
    /// Latest start of a booked meeting.
    pub(super) meeting_start: Option<Timestamp>,
    pub(super) last_met: Option<Timestamp>,
    /// Last no-show or cancellation.
    pub(super) last_missed: Option<Timestamp>,
    pub(super) last_bounce: Option<Timestamp>,
    /// Last unsubscription or complaint.
    pub(super) last_opt_out: Option<Timestamp>,
    pub(super) actions_accepted: i64,
    pub(super) actions_rejected: i64,
}

/// Reads the rows of people; machines answer nothing.
pub(super) fn read(definition: &Actions, facts: &ContactFacts) -> Responses {
    let mut found = Responses {
        touches_exact: true,
        ..Responses::default()
    };
    let people = || {
        facts
            .activity
            .iter()
            .filter(|row| row.machine_class == MachineClass::None && row.n > 0)
    };
    for row in people() {
        found.take(definition, row);
    }
    for row in people().filter(|row| is_touch(definition, row)) {
        let (count, exact) = count_after(row, found.last_response);
        found.touches_since += count;
        found.touches_exact &= exact;
    }
    found
}

fn is_touch(definition: &Actions, row: &ActivityRow) -> bool {
    row.direction != Some(Direction::Inbound) && definition.roles(&row.event_type).touch
}

impl Responses {
    fn take(&mut self, definition: &Actions, row: &ActivityRow) {
        let last = Some(row.last_time);
        let later = |slot: &mut Option<Timestamp>| *slot = (*slot).max(last);
        let roles = definition.roles(&row.event_type);
        if is_touch(definition, row) {
            later(&mut self.last_touch);
            self.first_touch = self.first_touch.into_iter().chain([row.first_time]).min();
        }
        let ours = row.direction == Some(Direction::Outbound) && &*row.event_type != "call.completed";
        if !ours {
            if roles.activity {
                later(&mut self.last_activity);
            }
            if roles.response {
                later(&mut self.last_response);
            }
            self.two_way |= roles.two_way;
        }
        match &*row.event_type {
            "email.replied" | "linkedin.replied" | "sms.replied" | "form.submitted" if !ours => {
                later(&mut self.last_written);
            }
            "meeting.scheduled" => {
                later(&mut self.last_booked);
                self.meeting_start = self.meeting_start.max(row.value_max.and_then(start_of_meeting));
            }
            "meeting.attended" => later(&mut self.last_met),
            "meeting.no_show" | "meeting.cancelled" => later(&mut self.last_missed),
            "email.bounced" => later(&mut self.last_bounce),
            "email.unsubscribed" | "email.complained" => later(&mut self.last_opt_out),
            "action.accepted" => self.actions_accepted += row.n,
            "action.rejected" => self.actions_rejected += row.n,
            _ => {}
        }
    }

    /// Whether touches have gone unanswered often and long enough.
    pub(super) fn unresponsive(&self, definition: &Actions, at: Timestamp) -> bool {
        let limit = &definition.unresponsive;
        self.last_response.or(self.first_touch).is_some_and(|since| {
            self.touches_since >= i64::from(limit.touches) && at.days_since(since) >= limit.days
        })
    }

    /// Whether a meeting is booked for later than `at` and was not called off since.
    pub(super) fn meeting_ahead(&self, at: Timestamp) -> bool {
        self.meeting_start.is_some_and(|start| start > at) && self.last_missed <= self.last_booked
    }
}

/// Epoch seconds to an instant, where they are one.
#[expect(
    clippy::cast_possible_truncation,
    reason = "range checked: below year 3000 in microseconds"
)]
fn start_of_meeting(seconds: f64) -> Option<Timestamp> {
    (seconds > 0.0 && seconds < 3.25e10).then_some(Timestamp((seconds * 1e6) as i64))
}

/// How many events of a row came after an instant, and whether that is exact. See [`Spread`].
#[expect(clippy::cast_possible_truncation, reason = "counts far below 2^53")]
fn count_after(row: &ActivityRow, instant: Option<Timestamp>) -> (i64, bool) {
    let Some(instant) = instant.filter(|instant| row.first_time <= *instant) else {
        return (row.n, true);
    };
    if row.last_time <= instant {
        return (0, true);
    }
    let spread = Spread::of(row, instant);
    (spread.likely.round() as i64, spread.least >= spread.most)
}

/// How many events of a row came after an instant within its span.
///
/// A row keeps no times but the first and the last. Its decayed sums bound the count: seen from the instant, an event
/// after it weighs from 1 to `2^((last - instant) / h)`, one before at most 1. Within the bounds each half-life class
/// gives the count at which even spreads before and after the instant would weigh what the row weighs; the mean of
/// them is the estimate.
#[derive(Debug)]
struct Spread {
    least: f64,
    likely: f64,
    most: f64,
}

impl Spread {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    fn of(row: &ActivityRow, instant: Timestamp) -> Self {
        let n = row.n as f64;
        let (after, before) = (
            row.last_time.days_since(instant),
            instant.days_since(row.first_time),
        );
        let (mut least, mut most, mut estimates) = (1.0_f64, (n - 1.0).max(1.0), Vec::new());
        for (class, sum) in &row.sums {
            let half_life = f64::from(*class);
            let seen = sum * (-instant.days_since(era_start(row.era)) / half_life).exp2();
            let heaviest = (after / half_life).exp2();
            most = most.min((seen * (1.0 + 1e-9)).floor());
            if heaviest > 1.0 + 1e-9 {
                least = least.max(((seen - n) / (heaviest - 1.0) - 1e-9).ceil());
            }
            let (mean_after, mean_before) =
                (mean_weight(after / half_life), mean_weight(-before / half_life));
            estimates.push((seen - n * mean_before) / (mean_after - mean_before).max(1e-9));
        }
        let most = most.max(least);
        let bounded = estimates.iter().map(|estimate| estimate.clamp(least, most));
        let likely = bounded.sum::<f64>() / estimates.len().max(1) as f64;
        Self {
            least,
            likely: likely.clamp(least, most),
            most,
        }
    }
}

/// Mean of `2^u` over the span from 0 to `span` half-lives (either sign).
fn mean_weight(span: f64) -> f64 {
    let exponent = span * LN_2;
    if exponent.abs() < 1e-12 {
        1.0
    } else {
        exponent.exp_m1() / exponent
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::contact::tests::{NOW, days_ago, row};

    #[test]
    fn outside_the_span_the_count_is_exact() {
        let sent = row("email.sent", &[40.0, 39.0, 38.0, 5.0, 3.0, 1.0].map(days_ago));
        assert_eq!(count_after(&sent, None), (6, true));
        assert_eq!(count_after(&sent, Some(days_ago(41.0))), (6, true));
        assert_eq!(count_after(&sent, Some(days_ago(0.5))), (0, true));
        let (count, exact) = count_after(&sent, Some(days_ago(4.0)));
        assert!((1..=3).contains(&count) && !exact, "{count} for 2");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn the_true_count_is_within_the_bounds(
            ages in proptest::collection::vec(0.0..120.0_f64, 2..30),
            share in 0.0..1.0_f64,
        ) {
            let times: Vec<Timestamp> = ages.iter().map(|age| days_ago(*age)).collect();
            let sent = row("email.sent", &times);
            prop_assume!(times.iter().all(|time| time.era() == NOW.era()));
            let span = sent.last_time.days_since(sent.first_time);
            let instant = days_ago(NOW.days_since(sent.last_time) + span * share);
            prop_assume!(sent.first_time <= instant && instant < sent.last_time);
            let truth = times.iter().filter(|time| **time > instant).count() as f64;
            let spread = Spread::of(&sent, instant);
            prop_assert!(spread.least <= truth && truth <= spread.most, "{truth} of {spread:?}");
            prop_assert!(spread.least <= spread.likely && spread.likely <= spread.most);
        }
    }
}
