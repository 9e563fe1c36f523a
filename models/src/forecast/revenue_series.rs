//! What does the series of monthly revenue alone say of the rest of a period?

use chrono::{Datelike, Months, NaiveDate};
use revgauge_contract::Timestamp;

use super::{BookDeal, forecast_series};
use crate::directory::Outcome;

/// Months without which a series says nothing but its mean.
const LEAST_MONTHS: usize = 6;
/// Months looked back.
const MOST_MONTHS: i32 = 60;
/// Months looked ahead: further on, the last one stands for all.
const MOST_AHEAD: usize = 36;
/// Months of a year.
const SEASON: usize = 12;

/// Months since year 0 of an instant.
fn month_of(at: Timestamp) -> i32 {
    let date = at.to_datetime();
    date.year() * 12 + date.month0() as i32
}

/// Midnight of the first day of a month counted since year 0.
fn start_of(month: i32) -> Option<Timestamp> {
    let year = NaiveDate::from_ymd_opt(month.div_euclid(12), 1, 1)?;
    let day = year.checked_add_months(Months::new(month.rem_euclid(12) as u32))?;
    Some(Timestamp(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros()))
}

/// Revenue expected from `at` on within `[start, end)` by the whole months before `at`, of deals of which the first was
/// created at `first`.
///
/// Damped trend, Theta and their like with the season of the year ([`forecast_series`]), from two years on; the mean of the
/// months below half a year; 0 without a whole month. A month that lies partly ahead counts by its share of days.
pub(super) fn seasonal<'a>(
    deals: impl Iterator<Item = &'a BookDeal>,
    first: Option<Timestamp>,
    at: Timestamp,
    (start, end): (Timestamp, Timestamp),
) -> f64 {
    let from = start.max(at);
    let Some(first) = first.filter(|_| from < end) else {
        return 0.0;
    };
    let now = month_of(at);
    // The month in which the first deal was created is no whole one.
    let begin = (month_of(first) + 1).max(now - MOST_MONTHS);
    let mut series = vec![0.0; usize::try_from(now - begin).unwrap_or(0)];
    for deal in deals.filter(|deal| deal.outcome == Outcome::Won) {
        let place = deal.ended.map(|ended| month_of(ended) - begin);
        if let Some(month) = place
            .and_then(|place| usize::try_from(place).ok())
            .and_then(|place| series.get_mut(place))
        {
            *month += deal.amount;
        }
    }
    if series.is_empty() {
        return 0.0;
    }
    let ahead = usize::try_from(month_of(end.plus_micros(-1)) - now + 1)
        .unwrap_or(1)
        .min(MOST_AHEAD);
    let mean = series.iter().sum::<f64>() / series.len() as f64;
    let point = if series.len() < LEAST_MONTHS {
        vec![mean; ahead]
    } else {
        let season = if series.len() >= 2 * SEASON { SEASON } else { 1 };
        forecast_series(&series, season, ahead, 0.8).map_or_else(|| vec![mean; ahead], |series| series.point)
    };
    let last = point.last().copied().unwrap_or(mean);
    (now..=month_of(end.plus_micros(-1)))
        .zip(point.into_iter().chain(std::iter::repeat(last)))
        .filter_map(|(month, value)| {
            let (opens, closes) = (start_of(month)?, start_of(month + 1)?);
            let share = closes.min(end).days_since(opens.max(from)).max(0.0) / closes.days_since(opens);
            Some(value.max(0.0) * share)
        })
        .sum()
}
