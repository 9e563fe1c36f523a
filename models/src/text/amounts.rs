//! Amounts of money as people write them: `$48,000`, `€ 1.2m`, `48k dollars`.

use std::ops::Range;

/// An amount and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Amount {
    pub(super) range: Range<usize>,
    pub(super) value: f64,
}

/// The amounts within a range: digits with a currency sign before or a currency word after them.
pub(super) fn amounts(text: &str, within: Range<usize>) -> Vec<Amount> {
    let part = &text[within.clone()];
    let bytes = part.as_bytes();
    let mut found = Vec::new();
    let mut place = 0;
    while place < bytes.len() {
        if !bytes[place].is_ascii_digit() {
            place += 1;
            continue;
        }
        let mut end = place;
        while end < bytes.len()
            && (bytes[end].is_ascii_digit()
                || (matches!(bytes[end], b',' | b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit)))
        {
            end += 1;
        }
        let before = part[..place].trim_end();
        let signed = before
            .chars()
            .next_back()
            .filter(|sign| matches!(sign, '$' | '€' | '£'));
        let (scale, scaled) = scale(&part[end..]);
        let worded = currency_word(&part[end + scaled..]);
        if let Some(value) = number(&part[place..end])
            && (signed.is_some() || worded)
        {
            let start = signed.map_or(place, |sign| before.len() - sign.len_utf8());
            found.push(Amount {
                range: within.start + start..within.start + end + scaled,
                value: value * scale,
            });
        }
        place = end;
    }
    found
}

/// Digits with thousands separators: `48,000`, `48.000`, `1.25`, `1,234.50`.
fn number(digits: &str) -> Option<f64> {
    let decimals = digits
        .rfind(['.', ','])
        .filter(|place| digits.len() - place - 1 != 3);
    let plain: String = digits
        .char_indices()
        .filter_map(|(place, c)| match c {
            '.' | ',' => (Some(place) == decimals).then_some('.'),
            digit => Some(digit),
        })
        .collect();
    plain.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The factor a suffix stands for, and its length in bytes.
fn scale(rest: &str) -> (f64, usize) {
    let gap = rest.len() - rest.trim_start_matches(' ').len();
    let word: &str = rest[gap..]
        .split(|c: char| !c.is_ascii_alphabetic())
        .next()
        .unwrap_or_default();
    match word.to_ascii_lowercase().as_str() {
        "k" | "thousand" => (1e3, gap + word.len()),
        "m" | "mn" | "million" => (1e6, gap + word.len()),
        _ => (1.0, 0),
    }
}

fn currency_word(rest: &str) -> bool {
    let word = rest
        .trim_start_matches(' ')
        .split(|c: char| !c.is_alphabetic() && c != '€')
        .next()
        .unwrap_or_default()
        .to_lowercase();
    matches!(
        word.as_str(),
        "dollars" | "dollar" | "usd" | "euro" | "euros" | "eur" | "€" | "pounds" | "gbp"
    )
}
