//! Instants through PostgreSQL's date patterns.

use chrono::{Datelike as _, NaiveDateTime, Timelike as _};

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Field {
        keyword: &'static str,
        /// As written: names follow its case.
        written: String,
        /// `FM`: no padding.
        bare: bool,
        /// `TH` or `th` behind it.
        ordinal: Option<&'static str>,
    },
}

/// Longest first where one begins another.
const KEYWORDS: &[&str] = &[
    "SSSSS", "MONTH", "Y,YYY", "A.M.", "P.M.", "A.D.", "B.C.", "HH24", "HH12", "SSSS", "YYYY", "IYYY",
    "IDDD", "YYY", "IYY", "MON", "DAY", "DDD", "TZH", "TZM", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "HH",
    "MI", "SS", "MS", "US", "AM", "PM", "AD", "BC", "YY", "IY", "MM", "DY", "DD", "ID", "WW", "IW", "CC",
    "RM", "TZ", "OF", "Y", "I", "D", "W", "J", "Q",
];

/// Modifiers that are not spoken here; they would change the text.
const UNKNOWN: &[&str] = &["TM", "SP"];

/// Reads a pattern.
pub(super) fn parts(pattern: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    let mut bare = false;
    while !rest.is_empty() {
        if let Some(after) = starts(rest, "FM") {
            (bare, rest) = (true, after);
            continue;
        }
        if let Some(after) = starts(rest, "FX") {
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix('"') {
            let (text, after) = after.split_once('"').ok_or("a quotation mark is not closed")?;
            push_text(&mut parts, text);
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("\\\"") {
            push_text(&mut parts, "\"");
            rest = after;
            continue;
        }
        if let Some(unknown) = UNKNOWN.iter().find(|unknown| starts(rest, unknown).is_some()) {
            return Err(format!("'{unknown}' is not supported"));
        }
        let found = KEYWORDS
            .iter()
            .find_map(|keyword| Some((*keyword, starts(rest, keyword)?)));
        let Some((keyword, mut after)) = found else {
            let letter = rest.chars().next().map_or(1, char::len_utf8);
            push_text(&mut parts, &rest[..letter]);
            rest = &rest[letter..];
            continue;
        };
        let written = rest[..keyword.len()].to_owned();
        let mut ordinal = None;
        for suffix in ["TH", "th"] {
            if let Some(behind) = after.strip_prefix(suffix) {
                (ordinal, after) = (Some(suffix), behind);
            }
        }
        if starts(after, "SP").is_some() {
            return Err("'SP' is not supported".to_owned());
        }
        parts.push(Part::Field {
            keyword,
            written,
            bare,
            ordinal,
        });
        (bare, rest) = (false, after);
    }
    Ok(parts)
}

/// The pattern in the engine's words (those of strftime), for reading an instant; `None` where it has no word for a field.
pub(in crate::pg) fn strftime(pattern: &str) -> Option<String> {
    let mut words = String::new();
    for part in parts(pattern).ok()? {
        match part {
            Part::Text(text) => words.push_str(&text.replace('%', "%%")),
            Part::Field { ordinal: Some(_), .. } => return None,
            Part::Field { keyword, .. } => words.push_str(match keyword {
                "YYYY" => "%Y",
                "YY" => "%y",
                "MM" => "%m",
                "MON" => "%b",
                "MONTH" => "%B",
                "DD" => "%d",
                "DDD" => "%j",
                "HH24" => "%H",
                "HH12" | "HH" => "%I",
                "AM" | "PM" => "%p",
                "MI" => "%M",
                "SS" => "%S",
                "MS" => "%3f",
                "US" => "%6f",
                _ => return None,
            }),
        }
    }
    Some(words)
}

fn starts<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let front = text.get(..word.len())?;
    front.eq_ignore_ascii_case(word).then(|| &text[word.len()..])
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if let Some(Part::Text(last)) = parts.last_mut() {
        last.push_str(text);
    } else {
        parts.push(Part::Text(text.to_owned()));
    }
}

/// The text of an instant, UTC.
pub(super) fn write(parts: &[Part], at: &NaiveDateTime) -> String {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(plain) => text.push_str(plain),
            Part::Field {
                keyword,
                written,
                bare,
                ordinal,
            } => {
                let field = field(keyword, written, *bare, at);
                text.push_str(&field);
                if let Some(suffix) = ordinal {
                    let ending = ending(&field);
                    text.push_str(&if *suffix == "TH" {
                        ending.to_uppercase()
                    } else {
                        ending.to_owned()
                    });
                }
            }
        }
    }
    text
}

/// `st`, `nd`, `rd` or `th` of a number in digits.
pub(super) fn ending(digits: &str) -> &'static str {
    let number: u64 = digits.trim().trim_start_matches('-').parse().unwrap_or(0);
    match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}

fn field(keyword: &str, written: &str, bare: bool, at: &NaiveDateTime) -> String {
    let number = |value: i64, width: usize| {
        if bare {
            value.to_string()
        } else {
            format!("{value:0width$}")
        }
    };
    let name = |name: &str, width: usize| {
        let mut letters = written.chars();
        let first = letters.next().is_some_and(char::is_uppercase);
        let second = letters.next().is_some_and(char::is_uppercase);
        let name = match (first, second) {
            (true, true) => name.to_uppercase(),
            (true, false) => name.to_owned(),
            (false, _) => name.to_lowercase(),
        };
        if bare { name } else { format!("{name:<width$}") }
    };
    let half_day = |dots: bool, before: &str, after: &str, later: bool| {
        let plain = if later { after } else { before };
        let text = if dots {
            plain.chars().flat_map(|letter| [letter, '.']).collect()
        } else {
            plain.to_owned()
        };
        if written.starts_with(char::is_uppercase) {
            text
        } else {
            text.to_lowercase()
        }
    };
    let year = i64::from(at.year());
    // There is no year 0: it is 1 BC.
    let shown_year = if year > 0 { year } else { 1 - year };
    let week = at.iso_week();
    let iso_year = i64::from(week.year());
    let micros = i64::from(at.nanosecond() / 1_000);
    let day = at.format("%A").to_string();
    let month = at.format("%B").to_string();
    match keyword {
        "HH24" => number(i64::from(at.hour()), 2),
        "HH" | "HH12" => number(i64::from(at.hour12().1), 2),
        "MI" => number(i64::from(at.minute()), 2),
        "SS" => number(i64::from(at.second()), 2),
        "MS" => number((micros + 500) / 1_000, 3),
        "US" | "FF6" => format!("{micros:06}"),
        "FF1" => format!("{:01}", micros / 100_000),
        "FF2" => format!("{:02}", micros / 10_000),
        "FF3" => format!("{:03}", micros / 1_000),
        "FF4" => format!("{:04}", micros / 100),
        "FF5" => format!("{:05}", micros / 10),
        "SSSS" | "SSSSS" => at.num_seconds_from_midnight().to_string(),
        "AM" | "PM" => half_day(false, "AM", "PM", at.hour() >= 12),
        "A.M." | "P.M." => half_day(true, "AM", "PM", at.hour() >= 12),
        "AD" | "BC" => half_day(false, "BC", "AD", year > 0),
        "A.D." | "B.C." => half_day(true, "BC", "AD", year > 0),
        "Y,YYY" => format!("{},{:03}", shown_year / 1_000, shown_year % 1_000),
        "YYYY" => number(shown_year, 4),
        "YYY" => number(shown_year % 1_000, 3),
        "YY" => number(shown_year % 100, 2),
        "Y" => number(shown_year % 10, 1),
        "IYYY" => number(iso_year, 4),
        "IYY" => number(iso_year % 1_000, 3),
        "IY" => number(iso_year % 100, 2),
        "I" => number(iso_year % 10, 1),
        "MONTH" => name(&month, 9),
        "MON" => name(&month[..3], 3),
        "MM" => number(i64::from(at.month()), 2),
        "DAY" => name(&day, 9),
        "DY" => name(&day[..3], 3),
        "DDD" => number(i64::from(at.ordinal()), 3),
        "IDDD" => number(
            i64::from(week.week0()) * 7 + i64::from(at.weekday().number_from_monday()),
            3,
        ),
        "DD" => number(i64::from(at.day()), 2),
        "D" => number(i64::from(at.weekday().number_from_sunday()), 1),
        "ID" => number(i64::from(at.weekday().number_from_monday()), 1),
        "W" => number(i64::from((at.day() - 1) / 7 + 1), 1),
        "WW" => number(i64::from((at.ordinal() - 1) / 7 + 1), 2),
        "IW" => number(i64::from(week.week()), 2),
        "CC" => number((shown_year + 99) / 100, 2),
        // Day 1 of the common era is Julian day 1,721,426.
        "J" => (i64::from(at.num_days_from_ce()) + 1_721_425).to_string(),
        "Q" => number(i64::from((at.month() - 1) / 3 + 1), 1),
        "RM" => {
            const ROMAN: [&str; 12] = [
                "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII",
            ];
            let roman = ROMAN.get(at.month0() as usize).copied().unwrap_or_default();
            let roman = if written.starts_with(char::is_uppercase) {
                roman.to_owned()
            } else {
                roman.to_lowercase()
            };
            if bare { roman } else { format!("{roman:<4}") }
        }
        "TZ" if written.starts_with(char::is_uppercase) => "UTC".to_owned(),
        "TZ" => "utc".to_owned(),
        "TZH" | "OF" => "+00".to_owned(),
        "TZM" => "00".to_owned(),
        other => other.to_owned(),
    }
}
