//! Which small files to rewrite together. Pure: facts in, groups out.
//!
//! Files are merged only with files of about their size (each tier holds up to four times the rows of the one below), so
//! a row is rewritten about as often as there are tiers, however many commits there were.

use crate::{log::FileFacts, settings::LakeSettings};

/// Groups of files to merge, each into one file. No file is in two groups; a group has at least two files and, but for
/// the last file that fills it, stays under the target size.
pub(crate) fn plan(files: &[FileFacts], settings: &LakeSettings) -> Vec<Vec<FileFacts>> {
    let mut small: Vec<&FileFacts> = files.iter().filter(|file| is_small(file, settings)).collect();
    small.sort_by_key(|file| (tier(file.rows), file.times.map(|(first, _)| first)));
    let mut groups = Vec::new();
    for same_tier in small.chunk_by(|a, b| tier(a.rows) == tier(b.rows)) {
        let mut group = Group::default();
        for file in same_tier {
            group.push(file);
            if group.is_full(settings) {
                groups.push(std::mem::take(&mut group).files);
            }
        }
        if group.files.len() >= settings.compact_min_files {
            groups.push(group.files);
        }
    }
    groups.retain(|group| group.len() >= 2);
    groups
}

#[derive(Default)]
struct Group {
    files: Vec<FileFacts>,
    rows: u64,
    bytes: u64,
}

impl Group {
    fn push(&mut self, file: &FileFacts) {
        self.rows += file.rows;
        self.bytes += file.size;
        self.files.push(file.clone());
    }

    fn is_full(&self, settings: &LakeSettings) -> bool {
        self.rows >= settings.target_file_rows
            || self.bytes >= settings.target_file_bytes
            || self.files.len() >= settings.compact_max_files
    }
}

fn is_small(file: &FileFacts, settings: &LakeSettings) -> bool {
    file.rows < settings.target_file_rows / 2 && file.size < settings.target_file_bytes / 2
}

/// Files whose row counts lie within a factor of four share a tier.
fn tier(rows: u64) -> u32 {
    rows.max(1).ilog(4)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use revgauge_contract::Timestamp;

    use super::*;

    fn file(number: usize, rows: u64) -> FileFacts {
        let at = Timestamp(number as i64);
        FileFacts {
            path: format!("part-{number}"),
            size: rows * 10,
            rows,
            times: Some((at, at)),
        }
    }

    fn settings() -> LakeSettings {
        LakeSettings {
            compact_min_files: 4,
            compact_max_files: 16,
            target_file_rows: 1_000,
            target_file_bytes: 1 << 30,
            ..LakeSettings::default()
        }
    }

    #[test]
    fn few_or_large_files_are_left_alone() {
        let few: Vec<_> = (0..3).map(|number| file(number, 5)).collect();
        assert!(plan(&few, &settings()).is_empty());
        let large: Vec<_> = (0..9).map(|number| file(number, 600)).collect();
        assert!(plan(&large, &settings()).is_empty());
        let mixed: Vec<_> = (0..4)
            .map(|number| file(number, 4_u64.pow(number as u32)))
            .collect();
        assert!(
            plan(&mixed, &settings()).is_empty(),
            "one file in each tier is no reason to rewrite"
        );
    }

    /// Ten thousand commits: files stay few, and no row is rewritten more often than there are tiers (plus one for the
    /// merge that crosses the target).
    #[test]
    fn rewriting_stays_logarithmic() {
        let settings = settings();
        let (mut files, mut rewritten, mut commits) = (Vec::new(), 0, 0);
        for number in 0..10_000 {
            files.push(file(number, 1 + number as u64 % 7));
            commits += 1 + number as u64 % 7;
            for group in plan(&files, &settings) {
                let gone: HashSet<_> = group.iter().map(|file| file.path.clone()).collect();
                assert_eq!(gone.len(), group.len(), "a file twice");
                assert!(group.len() <= settings.compact_max_files);
                let rows = group.iter().map(|file| file.rows).sum();
                assert!(rows < settings.target_file_rows * 3 / 2);
                rewritten += rows;
                files.retain(|file| !gone.contains(&file.path));
                files.push(FileFacts {
                    path: format!("merged-{number}-{rows}"),
                    ..file(number, rows)
                });
            }
        }
        assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), commits);
        assert!(files.len() < 150, "{} files", files.len());
        assert!(rewritten < commits * 6, "{rewritten} of {commits} rewritten");
    }
}
