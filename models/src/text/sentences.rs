//! Where sentences begin and end: bytes of the text, always on character bounds.

use std::ops::Range;

/// The sentences within a range of the text, without outer white space. A sentence ends at `.`, `!`, `?` or `…` before
/// white space or the end, and at a line feed; not after an abbreviation, and not after a number's dot within it.
pub(super) fn sentences(text: &str, within: Range<usize>, abbreviations: &[String]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = within.start;
    let part = &text[within.clone()];
    let mut marks = part.char_indices().peekable();
    while let Some((place, mark)) = marks.next() {
        let end = within.start + place + mark.len_utf8();
        let before_space = marks.peek().is_none_or(|(_, next)| next.is_whitespace());
        let ends = match mark {
            '\n' => true,
            '!' | '?' | '…' | '。' | '！' | '？' => before_space || mark.len_utf8() > 2,
            '.' => before_space && !abbreviated(&text[start..end - 1], abbreviations),
            _ => false,
        };
        if ends {
            push(text, start..end, &mut found);
            start = end;
        }
    }
    push(text, start..within.end, &mut found);
    found
}

fn abbreviated(before: &str, abbreviations: &[String]) -> bool {
    let word = before
        .rsplit(|c: char| c.is_whitespace() || c == '(')
        .next()
        .unwrap_or_default();
    !word.is_empty() && abbreviations.iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn push(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    let end = start + part.trim().len();
    if end > start {
        found.push(start..end);
    }
}
