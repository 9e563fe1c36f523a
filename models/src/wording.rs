//! How numbers and times are said to people in reasons.

use revgauge_contract::{Timestamp, time::DAY_US};

/// "3 replies", "1 reply".
pub(crate) fn counted(n: i64, one: &str, many: &str) -> String {
    if n == 1 {
        format!("1 {one}")
    } else {
        format!("{n} {many}")
    }
}

/// "2 days ago", "in 3 hours": the distance from `at` in the largest unit that fits.
pub(crate) fn ago(at: Timestamp, then: Timestamp) -> String {
    let distance_us = at.micros().saturating_sub(then.micros());
    let hours = distance_us.unsigned_abs() / (DAY_US.unsigned_abs() / 24);
    let (count, unit) = match hours {
        0 => return "just now".to_owned(),
        1..48 => (hours, "hour"),
        48..1_440 => (hours / 24, "day"),
        1_440..17_520 => (hours / 730, "month"),
        _ => (hours / 8_760, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if distance_us < 0 {
        format!("in {count} {unit}{plural}")
    } else {
        format!("{count} {unit}{plural} ago")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_read_naturally() {
        let at = Timestamp(1_800_000_000_000_000);
        for (days, text) in [
            (0.0, "just now"),
            (0.5, "12 hours ago"),
            (2.0, "2 days ago"),
            (61.0, "2 months ago"),
            (800.0, "2 years ago"),
            (-3.0, "in 3 days"),
        ] {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                reason = "small test numbers"
            )]
            let then = at.plus_micros(-(days * DAY_US as f64) as i64);
            assert_eq!(ago(at, then), text);
        }
        assert_eq!(counted(1, "reply", "replies"), "1 reply");
        assert_eq!(counted(0, "reply", "replies"), "0 replies");
    }
}
