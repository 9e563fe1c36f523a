//! File name patterns: `*` and `?`, without regard to case, against the whole name or the name without its endings.

/// Endings that say how a file is packed or written; `deals.csv.gz` is also just `deals`.
const ENDINGS: &[&str] = &[
    ".gz", ".gzip", ".zst", ".zstd", ".csv", ".tsv", ".txt", ".ndjson", ".jsonl", ".json", ".parquet",
    ".arrow", ".ipc",
];

/// The name without compression and format endings.
pub(crate) fn stem(name: &str) -> &str {
    let mut rest = name;
    while let Some(shorter) = ENDINGS.iter().find_map(|ending| strip_ending(rest, ending)) {
        rest = shorter;
    }
    rest
}

fn strip_ending<'a>(name: &'a str, ending: &str) -> Option<&'a str> {
    let cut = name.len().checked_sub(ending.len()).filter(|cut| *cut > 0)?;
    let (head, tail) = name.split_at_checked(cut)?;
    tail.eq_ignore_ascii_case(ending).then_some(head)
}

/// Whether the pattern names the file. A pattern without ending matches any format and compression.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let pattern = pattern.to_lowercase();
    let name = name.to_lowercase();
    wild(pattern.as_bytes(), name.as_bytes()) || wild(pattern.as_bytes(), stem(&name).as_bytes())
}

/// Wildcard match in linear space and at worst quadratic time: on a mismatch only the last `*` grows.
pub(crate) fn wild(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') => {
                p += 1;
                t += 1;
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star_p, star_t)) = star else {
                    return false;
                };
                star = Some((star_p, star_t + 1));
                p = star_p + 1;
                t = star_t + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_and_stems() {
        for (pattern, name) in [
            ("opportunity*.csv", "Opportunity_2026.csv"),
            ("opportunity", "Opportunity.csv.gz"),
            ("deal_?", "deal_1.parquet"),
            ("*", "x"),
            ("a*b*c", "aXbXbXc"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("opportunity", "OpportunityHistory.csv"),
            ("deal.csv", "deal.tsv"),
            ("a*b", "abc"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
