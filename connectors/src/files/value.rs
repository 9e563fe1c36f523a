//! From a cell's text to a typed value: numbers, instants, days, durations, lists.

use chrono::{
    DateTime, Duration, NaiveDate, NaiveDateTime, TimeZone,
    format::{Item, StrftimeItems},
};
use chrono_tz::Tz;
use revgauge_contract::{Timestamp, domain::normal_email};
use serde_json::{Number, Value};

use super::mapping::{Unit, ValueType};

/// A cell after its conversion.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Typed {
    /// Text, and everything whose form is text (days, addresses).
    Text(String),
    /// A finite number.
    Number(Number),
    /// True or false.
    Bool(bool),
    /// An instant.
    Time(Timestamp),
    /// A list or an object.
    Json(Value),
}

impl Typed {
    /// As a payload value; instants as RFC 3339.
    pub(crate) fn into_json(self) -> Value {
        match self {
            Self::Text(text) => Value::String(text),
            Self::Number(number) => Value::Number(number),
            Self::Bool(value) => Value::Bool(value),
            Self::Time(at) => Value::String(at.to_string()),
            Self::Json(value) => value,
        }
    }

    /// As text for an envelope field.
    pub(crate) fn into_text(self) -> String {
        match self.into_json() {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }
}

/// One way of writing an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    /// RFC 3339 and its usual variants.
    Iso,
    /// Seconds since 1970, fraction allowed.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
    /// A strftime pattern.
    Pattern(String),
}

impl TimeFormat {
    /// Reads the name of a format: `iso`, `epoch_s`, `epoch_ms` or a strftime pattern.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "iso" => Ok(Self::Iso),
            "epoch_s" => Ok(Self::EpochSeconds),
            "epoch_ms" => Ok(Self::EpochMillis),
            pattern => {
                let sound = pattern.contains('%')
                    && !StrftimeItems::new(pattern).any(|item| matches!(item, Item::Error));
                if sound {
                    return Ok(Self::Pattern(pattern.to_owned()));
                }
                Err(format!(
                    "'{pattern}' is no time format: use iso, epoch_s, epoch_ms or a strftime pattern such as %d/%m/%Y"
                ))
            }
        }
    }
}

/// How a cell is read.
#[derive(Debug, Clone)]
pub(crate) struct Convert {
    pub(crate) value_type: ValueType,
    pub(crate) formats: Vec<TimeFormat>,
    pub(crate) zone: Tz,
    pub(crate) unit: Unit,
    pub(crate) scale: Option<f64>,
    pub(crate) decimal_comma: bool,
    pub(crate) separator: String,
}

impl Convert {
    /// Converts a non-empty, trimmed text. `Ok(None)` for what is empty after all (an empty list).
    pub(crate) fn apply(&self, text: &str) -> Result<Option<Typed>, String> {
        Ok(Some(match self.value_type {
            ValueType::Text => Typed::Text(text.to_owned()),
            ValueType::Number => number(self.amount(text)?)?,
            ValueType::Integer => whole(self.amount(text)?, text)?,
            ValueType::Boolean => Typed::Bool(read_boolean(text)?),
            ValueType::Time => Typed::Time(self.time(text)?),
            ValueType::Date => Typed::Text(self.day(text)?),
            ValueType::Duration => number(read_duration(text, self.unit)?)?,
            ValueType::Email => {
                Typed::Text(normal_email(text).ok_or_else(|| format!("'{}' is no mail address", clip(text)))?)
            }
            ValueType::List => match self.list(text) {
                parts if parts.is_empty() => return Ok(None),
                parts => Typed::Json(Value::Array(parts)),
            },
            ValueType::Json => {
                Typed::Json(serde_json::from_str(text).map_err(|error| format!("no valid JSON: {error}"))?)
            }
        }))
    }

    fn amount(&self, text: &str) -> Result<f64, String> {
        let number = if self.decimal_comma {
            let pointed: String = text.chars().filter(|c| *c != '.').collect();
            read_number(&pointed.replace(',', "."))?
        } else {
            read_number(text)?
        };
        Ok(self.scale.map_or(number, |scale| number * scale))
    }

    fn list(&self, text: &str) -> Vec<Value> {
        text.split(self.separator.as_str())
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Value::from)
            .collect()
    }

    /// Reads an instant by the first format that fits; texts without a zone are in the mapping's zone.
    pub(crate) fn time(&self, text: &str) -> Result<Timestamp, String> {
        self.formats
            .iter()
            .find_map(|format| self.by_format(format, text))
            .ok_or_else(|| {
                let tried: Vec<_> = self.formats.iter().map(TimeFormat::name).collect();
                format!(
                    "'{}' is no time (tried {}); set time_format",
                    clip(text),
                    tried.join(", ")
                )
            })
    }

    fn by_format(&self, format: &TimeFormat, text: &str) -> Option<Timestamp> {
        match format {
            TimeFormat::Iso => self.iso(text),
            TimeFormat::EpochSeconds => epoch(text, 1e6),
            TimeFormat::EpochMillis => epoch(text, 1e3),
            TimeFormat::Pattern(pattern) => self.by_pattern(pattern, text),
        }
    }

    fn iso(&self, text: &str) -> Option<Timestamp> {
        let text = text.strip_suffix(" UTC").unwrap_or(text);
        if self.zone == Tz::UTC {
            return text.parse().ok();
        }
        let zoned = text.ends_with('Z')
            || text
                .get(10..)
                .is_some_and(|tail| tail.contains('+') || tail.contains('-'));
        let at: Timestamp = text.parse().ok()?;
        if zoned {
            return Some(at);
        }
        Some(self.local(at.to_datetime().naive_utc()))
    }

    fn by_pattern(&self, pattern: &str, text: &str) -> Option<Timestamp> {
        if let Ok(at) = DateTime::parse_from_str(text, pattern) {
            return Some(Timestamp(at.timestamp_micros()));
        }
        if let Ok(at) = NaiveDateTime::parse_from_str(text, pattern) {
            return Some(self.local(at));
        }
        let day = NaiveDate::parse_from_str(text, pattern).ok()?;
        Some(self.local(day.and_hms_opt(0, 0, 0)?))
    }

    /// The instant of a wall-clock time. Of two (autumn) the earlier; of none (spring) the one an hour later.
    fn local(&self, wall: NaiveDateTime) -> Timestamp {
        let at = self
            .zone
            .from_local_datetime(&wall)
            .earliest()
            .or_else(|| {
                self.zone
                    .from_local_datetime(&(wall + Duration::hours(1)))
                    .earliest()
            })
            .map_or_else(|| wall.and_utc().timestamp_micros(), |at| at.timestamp_micros());
        Timestamp(at)
    }

    /// A day as text. A date-time is cut to its day on the mapping's calendar.
    fn day(&self, text: &str) -> Result<String, String> {
        if NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok() {
            return Ok(text.to_owned());
        }
        let at = self.time(text)?;
        let local = at.to_datetime().with_timezone(&self.zone);
        Ok(local.format("%Y-%m-%d").to_string())
    }
}

impl TimeFormat {
    fn name(&self) -> &str {
        match self {
            Self::Iso => "iso",
            Self::EpochSeconds => "epoch_s",
            Self::EpochMillis => "epoch_ms",
            Self::Pattern(pattern) => pattern,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn epoch(text: &str, micros_per_unit: f64) -> Option<Timestamp> {
    if let Ok(whole) = text.parse::<i64>() {
        return whole.checked_mul(micros_per_unit as i64).map(Timestamp);
    }
    let micros = text.parse::<f64>().ok()? * micros_per_unit;
    (micros.abs() < 9e18).then(|| Timestamp(micros.round() as i64))
}

/// A number as people and exports write it: `1200`, `1,200.50`, `$1200`, `85 %`.
fn read_number(text: &str) -> Result<f64, String> {
    let finite = |number: &f64| number.is_finite();
    if let Some(number) = text.parse::<f64>().ok().filter(finite) {
        return Ok(number);
    }
    let bare: String = text
        .trim_start_matches(['$', '€', '£', '¥'])
        .trim_end_matches('%')
        .chars()
        .filter(|c| *c != ',' && !c.is_whitespace())
        .collect();
    bare.parse::<f64>()
        .ok()
        .filter(finite)
        .ok_or_else(|| format!("'{}' is no number", clip(text)))
}

/// Whole numbers without a decimal point, so that `12` stays `12`.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn number(value: f64) -> Result<Typed, String> {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return Ok(Typed::Number(Number::from(value as i64)));
    }
    Number::from_f64(value)
        .map(Typed::Number)
        .ok_or_else(|| "the number is not finite".to_owned())
}

fn whole(value: f64, text: &str) -> Result<Typed, String> {
    if value.fract() != 0.0 {
        return Err(format!("'{}' is no whole number", clip(text)));
    }
    number(value)
}

/// True or false, however an export writes it.
pub(crate) fn read_boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "0" => Ok(false),
        _ => Err(format!("'{}' is neither true nor false", clip(text))),
    }
}

/// Seconds of `90` (in the unit), `1:30`, `0:01:30` or `PT1M30S`.
fn read_duration(text: &str, unit: Unit) -> Result<f64, String> {
    let wrong = || {
        format!(
            "'{}' is no duration: use a number with a unit, h:mm:ss or PT15M",
            clip(text)
        )
    };
    if let Ok(amount) = text.parse::<f64>() {
        return Ok(amount * unit.seconds());
    }
    if let Some(rest) = text.strip_prefix("PT") {
        return iso_duration(rest).ok_or_else(wrong);
    }
    let mut parts = text.split(':').rev();
    let mut seconds = 0.0;
    for size in [1.0, 60.0, 3_600.0] {
        match parts.next() {
            Some(part) => seconds += part.trim().parse::<f64>().map_err(|_| wrong())? * size,
            None => break,
        }
    }
    if text.contains(':') && parts.next().is_none() {
        return Ok(seconds);
    }
    Err(wrong())
}

fn iso_duration(text: &str) -> Option<f64> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.find(['H', 'M', 'S'])?;
        let (amount, tail) = rest.split_at(at);
        let size = match tail.as_bytes()[0] {
            b'H' => 3_600.0,
            b'M' => 60.0,
            _ => 1.0,
        };
        seconds += amount.parse::<f64>().ok()? * size;
        rest = &tail[1..];
    }
    (!text.is_empty()).then_some(seconds)
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(value_type: ValueType) -> Convert {
        Convert {
            value_type,
            formats: vec![TimeFormat::Iso],
            zone: Tz::UTC,
            unit: Unit::Seconds,
            scale: None,
            decimal_comma: false,
            separator: ";".to_owned(),
        }
    }

    fn text(convert: &Convert, cell: &str) -> String {
        match convert.apply(cell) {
            Ok(value) => value.map_or_else(|| "-".to_owned(), Typed::into_text),
            Err(message) => format!("! {message}"),
        }
    }

    #[test]
    fn cells_become_typed_values() {
        for (value_type, cell, expected) in [
            (ValueType::Number, "24120000", "24120000"),
            (ValueType::Number, "$1,200.50", "1200.5"),
            (ValueType::Number, "many", "! 'many' is no number"),
            (ValueType::Number, "NaN", "! 'NaN' is no number"),
            (ValueType::Integer, "12.5", "! '12.5' is no whole number"),
            (ValueType::Boolean, "TRUE", "true"),
            (ValueType::Boolean, "maybe", "! 'maybe' is neither true nor false"),
            (ValueType::Time, "2020-12-30 3:15:52", "2020-12-30T03:15:52Z"),
            (
                ValueType::Time,
                "2023-11-11 08:18:16.519000 UTC",
                "2023-11-11T08:18:16.519Z",
            ),
            (
                ValueType::Time,
                "soon",
                "! 'soon' is no time (tried iso); set time_format",
            ),
            (ValueType::Date, "2018-12-19 00:00:00", "2018-12-19"),
            (ValueType::Duration, "1:30", "90"),
            (ValueType::Duration, "PT1H5M", "3900"),
            (
                ValueType::Duration,
                "long",
                "! 'long' is no duration: use a number with a unit, h:mm:ss or PT15M",
            ),
            (ValueType::Email, "Jo@Acme.io", "jo@acme.io"),
            (ValueType::Email, "jo", "! 'jo' is no mail address"),
            (ValueType::List, "a; b;;", "[\"a\",\"b\"]"),
            (ValueType::List, ";", "-"),
            (ValueType::Json, "{\"a\":1}", "{\"a\":1}"),
        ] {
            assert_eq!(
                text(&convert(value_type), cell),
                expected,
                "{value_type:?} {cell}"
            );
        }
        assert!(text(&convert(ValueType::Json), "{").starts_with("! no valid JSON"));
    }

    #[test]
    fn wall_clock_times_follow_the_zone() {
        let mut berlin = convert(ValueType::Time);
        berlin.zone = Tz::Europe__Berlin;
        assert_eq!(text(&berlin, "2026-07-01 12:00:00"), "2026-07-01T10:00:00Z");
        assert_eq!(text(&berlin, "2026-07-01T12:00:00Z"), "2026-07-01T12:00:00Z");
        assert_eq!(text(&berlin, "2026-07-01T12:00:00+05:00"), "2026-07-01T07:00:00Z");
        assert_eq!(
            text(&berlin, "2026-03-29 02:30:00"),
            "2026-03-29T01:30:00Z",
            "skipped hour"
        );
        assert_eq!(
            text(&berlin, "2026-10-25 02:30:00"),
            "2026-10-25T00:30:00Z",
            "doubled hour"
        );
        berlin.formats = vec![
            TimeFormat::Pattern("%d/%m/%Y".to_owned()),
            TimeFormat::EpochMillis,
        ];
        assert_eq!(text(&berlin, "31/01/2026"), "2026-01-30T23:00:00Z");
        assert_eq!(text(&berlin, "1082040961000"), "2004-04-15T14:56:01Z");
    }

    #[test]
    fn bad_formats_are_named() {
        assert!(TimeFormat::parse("%Q").is_err());
        assert!(TimeFormat::parse("isoo").is_err());
    }
}
