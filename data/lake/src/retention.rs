//! Which files hold rows past the retention. Pure: facts and a cut-off in, two lists out.

use revgauge_contract::{Timestamp, time::DAY_US};

use crate::{log::FileFacts, settings::LakeSettings};

/// What to do with files that hold old rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RetentionPlan {
    /// Every row is too old: drop the file.
    pub drop: Vec<FileFacts>,
    /// Some rows are too old, by more than the slack: rewrite the file without them.
    pub rewrite: Vec<FileFacts>,
}

/// The instant before which rows go; `None` when everything is kept.
pub(crate) fn cut_off(now: Timestamp, settings: &LakeSettings) -> Option<Timestamp> {
    let days = settings.retention_days?;
    Some(now.plus_micros(-i64::from(days) * DAY_US))
}

/// Decides for every file. Files without known times are rewritten never and dropped never.
pub(crate) fn plan(files: &[FileFacts], before: Timestamp, settings: &LakeSettings) -> RetentionPlan {
    let rewrite_before = before.plus_micros(-i64::from(settings.retention_slack_days) * DAY_US);
    let mut plan = RetentionPlan::default();
    for file in files {
        match file.times {
            Some((_, last)) if last < before => plan.drop.push(file.clone()),
            Some((first, _)) if first < rewrite_before => plan.rewrite.push(file.clone()),
            _ => {}
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_files_go_and_mixed_ones_are_rewritten_past_the_slack() {
        let settings = LakeSettings {
            retention_days: Some(100),
            retention_slack_days: 10,
            ..LakeSettings::default()
        };
        let day = |number: i64| Timestamp(number * DAY_US);
        let file = |path: &str, first, last| FileFacts {
            path: path.to_owned(),
            size: 1,
            rows: 1,
            times: Some((day(first), day(last))),
        };
        let files = [
            file("old", 1, 899),
            file("mixed", 889, 950),
            file("slack", 895, 950),
            file("new", 901, 950),
        ];
        let before = cut_off(day(1_000), &settings).unwrap();
        assert_eq!(before, day(900));
        let plan = plan(&files, before, &settings);
        assert_eq!(plan.drop, files[..1]);
        assert_eq!(plan.rewrite, files[1..2]);
        assert_eq!(cut_off(day(1_000), &LakeSettings::default()), None);
    }
}
