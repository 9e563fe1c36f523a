//! Which span of time does a period's name mean, and which periods lie before it?

use chrono::{DateTime, Datelike, NaiveDate, Utc};

use crate::Timestamp;

/// A named span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// As it is written, such as `2026-Q4`.
    pub name: String,
    /// Start, included.
    pub start: Timestamp,
    /// End, excluded.
    pub end: Timestamp,
}

/// When the fiscal year begins. A fiscal year bears the number of the calendar year in which it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FiscalCalendar {
    first_month: i32,
}

impl Default for FiscalCalendar {
    fn default() -> Self {
        Self { first_month: 1 }
    }
}

/// A name that is no period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot read '{0}' as a period: write a quarter as 2026-Q4, a month as 2026-11, a half as 2026-H2, a year as 2026, \
     or current, next or previous for a quarter"
)]
pub struct PeriodError(pub String);

impl FiscalCalendar {
    /// A calendar whose fiscal year begins with this month, 1 to 12; `None` for another number.
    #[must_use]
    pub fn starting(month: u32) -> Option<Self> {
        (1..=12).contains(&month).then_some(Self {
            first_month: month as i32,
        })
    }

    /// The fiscal quarter in which an instant lies.
    #[must_use]
    pub fn quarter_at(self, at: Timestamp) -> Period {
        let date = at.to_datetime();
        let month = date.year() * 12 + date.month0() as i32;
        let since = (month - (self.first_month - 1)).rem_euclid(12);
        self.span(month - since % 3, 3)
    }

    /// The period of a name: `2026-Q4`, `2026-H2`, `2026-11`, `2026`, `current`, `next` or `previous` (quarters).
    ///
    /// Quarters, halves and years are fiscal, months are those of the calendar.
    ///
    /// # Errors
    /// The name is no period, or its year is not within 1900 to 9998.
    pub fn period(self, name: &str, now: Timestamp) -> Result<Period, PeriodError> {
        let refused = || PeriodError(name.chars().take(32).collect());
        let current = self.quarter_at(now);
        match name {
            "current" => return Ok(current),
            "next" => return Ok(self.quarter_at(current.end)),
            "previous" => return Ok(self.quarter_at(current.start.plus_micros(-1))),
            _ => {}
        }
        let (year, part) = name
            .split_once('-')
            .map_or((name, None), |(year, part)| (year, Some(part)));
        let year: i32 = Some(year)
            .filter(|year| year.len() == 4)
            .and_then(|year| year.parse().ok())
            .filter(|year| (1900..=9998).contains(year))
            .ok_or_else(refused)?;
        let of = |text: &str, most: i32| {
            text.parse::<i32>()
                .ok()
                .filter(|number| (1..=most).contains(number))
                .ok_or_else(refused)
        };
        // Months since year 0 of the fiscal year's first month.
        let first = (year - i32::from(self.first_month > 1)) * 12 + self.first_month - 1;
        Ok(match part {
            None => self.span(first, 12),
            Some(part) => match part.split_at_checked(1) {
                Some(("Q" | "q", number)) => self.span(first + (of(number, 4)? - 1) * 3, 3),
                Some(("H" | "h", number)) => self.span(first + (of(number, 2)? - 1) * 6, 6),
                _ => self.span(year * 12 + of(part, 12)? - 1, 1),
            },
        })
    }

    /// `length` months from a month counted since year 0.
    fn span(self, first: i32, length: i32) -> Period {
        let since = first - (self.first_month - 1);
        // The fiscal year's number is that of the calendar year of its last month.
        let year = since.div_euclid(12) + i32::from(self.first_month > 1);
        let name = match length {
            1 => format!("{}-{:02}", first.div_euclid(12), first.rem_euclid(12) + 1),
            3 => format!("{year}-Q{}", since.rem_euclid(12) / 3 + 1),
            6 => format!("{year}-H{}", since.rem_euclid(12) / 6 + 1),
            _ => year.to_string(),
        };
        Period {
            name,
            start: month_start(first),
            end: month_start(first + length),
        }
    }
}

/// Midnight of the first day of a month counted since year 0.
fn month_start(month: i32) -> Timestamp {
    NaiveDate::from_ymd_opt(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, 1)
        .and_then(|day| day.and_hms_opt(0, 0, 0))
        .map_or(Timestamp(0), |at| Timestamp(at.and_utc().timestamp_micros()))
}

/// The span `back` spans before one (after, where negative): by months where it is whole months, else by its length.
#[must_use]
pub fn earlier(start: Timestamp, end: Timestamp, back: i64) -> (Timestamp, Timestamp) {
    let month = |at: Timestamp| {
        let date: DateTime<Utc> = at.to_datetime();
        let month = date.year() * 12 + date.month0() as i32;
        (month_start(month) == at).then_some(i64::from(month))
    };
    if let (Some(first), Some(last)) = (month(start), month(end))
        && last > first
    {
        let shift = back.saturating_mul(last - first);
        let at = |month: i64| month_start((month - shift).clamp(0, 12 * 9999) as i32);
        return (at(first), at(last));
    }
    let shift = back.saturating_mul(end.0.saturating_sub(start.0));
    (
        Timestamp(start.0.saturating_sub(shift)),
        Timestamp(end.0.saturating_sub(shift)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(calendar: FiscalCalendar, name: &str) -> String {
        let now: Timestamp = "2026-11-25T10:00:00Z".parse().expect("an instant");
        match calendar.period(name, now) {
            Ok(period) => {
                let day = |at: Timestamp| at.to_string()[..10].to_owned();
                format!("{} {} {}", period.name, day(period.start), day(period.end))
            }
            Err(error) => error.to_string().chars().take(24).collect(),
        }
    }

    #[test]
    fn names_mean_spans_and_come_back() {
        let february = FiscalCalendar::starting(2).expect("a month");
        for (calendar, name, wanted) in [
            (
                FiscalCalendar::default(),
                "2026-Q4",
                "2026-Q4 2026-10-01 2027-01-01",
            ),
            (
                FiscalCalendar::default(),
                "current",
                "2026-Q4 2026-10-01 2027-01-01",
            ),
            (FiscalCalendar::default(), "next", "2027-Q1 2027-01-01 2027-04-01"),
            (
                FiscalCalendar::default(),
                "previous",
                "2026-Q3 2026-07-01 2026-10-01",
            ),
            (FiscalCalendar::default(), "2026", "2026 2026-01-01 2027-01-01"),
            (
                FiscalCalendar::default(),
                "2026-H2",
                "2026-H2 2026-07-01 2027-01-01",
            ),
            (
                FiscalCalendar::default(),
                "2026-02",
                "2026-02 2026-02-01 2026-03-01",
            ),
            (february, "2027-Q1", "2027-Q1 2026-02-01 2026-05-01"),
            (february, "current", "2027-Q4 2026-11-01 2027-02-01"),
            (february, "2027", "2027 2026-02-01 2027-02-01"),
            (february, "2026-02", "2026-02 2026-02-01 2026-03-01"),
            (FiscalCalendar::default(), "2026-Q5", "cannot read '2026-Q5' as"),
            (FiscalCalendar::default(), "2026-13", "cannot read '2026-13' as"),
            (FiscalCalendar::default(), "26-Q1", "cannot read '26-Q1' as a"),
            (FiscalCalendar::default(), "99999", "cannot read '99999' as a"),
            (FiscalCalendar::default(), "2026-Ö", "cannot read '2026-Ö' as "),
        ] {
            assert_eq!(shown(calendar, name), wanted, "{name}");
        }
        assert_eq!(FiscalCalendar::starting(13), None);
    }

    #[test]
    fn whole_months_step_by_months_and_other_spans_by_their_length() {
        let at = |text: &str| text.parse::<Timestamp>().expect("an instant");
        let quarter = (at("2026-10-01"), at("2027-01-01"));
        assert_eq!(
            earlier(quarter.0, quarter.1, 3),
            (at("2026-01-01"), at("2026-04-01"))
        );
        assert_eq!(
            earlier(at("2026-01-02"), at("2026-01-12"), 1),
            (at("2025-12-23"), at("2026-01-02"))
        );
    }
}
