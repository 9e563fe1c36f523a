//! Free text of people and companies in a form that can be compared: lower case, single spaces, no punctuation.

use hashbrown::HashMap;

/// Lower-cased words with single spaces: `Co-Founder & CEO` becomes `co founder ceo`. `r&d` stays one word.
#[must_use]
pub(crate) fn normal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in words(&text.to_lowercase()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Runs of letters and digits; an `&` between them belongs to the word.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '+' | '#' | '&')))
        .map(|word| word.trim_matches('&'))
        .filter(|word| !word.is_empty())
}

/// Whether a normal text contains a normal phrase as whole words.
#[must_use]
pub(crate) fn contains(text: &str, phrase: &str) -> bool {
    text.match_indices(phrase).any(|(start, _)| {
        let end = start + phrase.len();
        (start == 0 || text.as_bytes()[start - 1] == b' ')
            && (end == text.len() || text.as_bytes()[end] == b' ')
    })
}

/// Phrases that mean one of several things. The longest phrase at a place wins and takes its words, so that
/// "vice president" is not also a president.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Lexicon {
    /// By first word: the further words and what the phrase means, longest first.
    by_first: HashMap<String, Vec<(Vec<String>, usize)>>,
}

impl Lexicon {
    /// From the lists of phrases of each meaning, numbered in order.
    pub(crate) fn new<'a>(meanings: impl Iterator<Item = &'a [String]>) -> Self {
        let mut by_first: HashMap<String, Vec<(Vec<String>, usize)>> = HashMap::new();
        for (meaning, phrases) in meanings.enumerate() {
            for phrase in phrases {
                let text = normal(phrase);
                let mut words = text.split(' ').map(str::to_owned);
                let Some(first) = words.next() else { continue };
                by_first
                    .entry(first)
                    .or_default()
                    .push((words.collect(), meaning));
            }
        }
        for phrases in by_first.values_mut() {
            phrases.sort_by_key(|(rest, _)| std::cmp::Reverse(rest.len()));
        }
        Self { by_first }
    }

    /// Meanings of a normal text in order of appearance.
    pub(crate) fn meanings<'a>(&'a self, text: &'a str) -> impl Iterator<Item = usize> + 'a {
        let words: Vec<&str> = text.split(' ').collect();
        let mut at = 0;
        std::iter::from_fn(move || {
            while at < words.len() {
                let rest = &words[at + 1..];
                let hit = self.by_first.get(words[at]).and_then(|phrases| {
                    phrases.iter().find(|(more, _)| {
                        more.len() <= rest.len() && more.iter().zip(rest).all(|(a, b)| a == b)
                    })
                });
                at += 1;
                if let Some((more, meaning)) = hit {
                    at += more.len();
                    return Some(*meaning);
                }
            }
            None
        })
    }
}

/// A number as people and vendors write it: `1,200`, `$4.5M`, `51-200` (its geometric middle), `10000+`.
#[must_use]
pub(crate) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    if let Some((low, high)) = text
        .split_once(['-', '–'])
        .filter(|(low, _)| !low.trim().is_empty())
    {
        let (low, high) = (amount(low)?, amount(high)?);
        return (low >= 0.0 && high >= low).then(|| (low.max(1.0) * high.max(1.0)).sqrt());
    }
    amount(text)
}

/// A number as people say it: `19.2M` for 19245363.
pub(crate) fn magnitude(number: f64) -> String {
    let (divisor, unit) = match number.abs() {
        size if size >= 1e9 => (1e9, "B"),
        size if size >= 1e6 => (1e6, "M"),
        size if size >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let text = format!("{:.1}", number / divisor);
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

fn amount(text: &str) -> Option<f64> {
    let lower = text.trim().to_lowercase();
    let digits: String = lower
        .chars()
        .filter(|c| !matches!(c, ',' | '_' | ' ' | '$' | '€' | '£' | '+' | '~' | '%'))
        .collect();
    let (digits, factor) = [("bn", 1e9), ("b", 1e9), ("mn", 1e6), ("m", 1e6), ("k", 1e3)]
        .iter()
        .find_map(|(suffix, factor)| digits.strip_suffix(suffix).map(|rest| (rest, *factor)))
        .unwrap_or((digits.as_str(), 1.0));
    digits
        .parse::<f64>()
        .ok()
        .map(|number| number * factor)
        .filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_write_them() {
        for (text, expected) in [
            ("1200", Some(1_200.0)),
            ("1,200", Some(1_200.0)),
            ("$4.5M", Some(4_500_000.0)),
            ("10000+", Some(10_000.0)),
            ("-3.5", Some(-3.5)),
            ("50-200", Some(100.0)),
            ("many", None),
            ("inf", None),
            ("", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_as_people_say_them() {
        for (number, expected) in [
            (19_245_363.0, "19.2M"),
            (3e9, "3B"),
            (12_000.0, "12k"),
            (250.0, "250"),
            (-0.5, "-0.5"),
        ] {
            assert_eq!(magnitude(number), expected);
        }
    }

    #[test]
    fn whole_words_only() {
        assert_eq!(normal("Co-Founder & CEO, R&D"), "co founder ceo r&d");
        assert!(contains("computer software", "software"));
        assert!(!contains("softwares", "software"));
    }

    #[test]
    fn the_longest_phrase_takes_its_words() {
        let lists = [
            vec!["president".to_owned()],
            vec!["vice president".to_owned(), "vp".to_owned()],
        ];
        let lexicon = Lexicon::new(lists.iter().map(Vec::as_slice));
        assert_eq!(
            lexicon
                .meanings("senior vice president sales")
                .collect::<Vec<_>>(),
            [1]
        );
        assert_eq!(lexicon.meanings("president and vp").collect::<Vec<_>>(), [0, 1]);
    }
}
