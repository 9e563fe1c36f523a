//! Constants whose inner form PostgreSQL decides: one-dimensional arrays (`{a,"b, c",NULL}`) and patterns of LIKE.

/// The elements of an array literal; `None` for a missing value. Nothing when the text is not a well-formed array of one
/// dimension.
pub(super) fn elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut found = Vec::new();
    if inner.trim().is_empty() {
        return Some(found);
    }
    let mut letters = inner.chars().peekable();
    loop {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        let mut element = String::new();
        let quoted = letters.next_if_eq(&'"').is_some();
        if quoted {
            loop {
                match letters.next()? {
                    '"' => break,
                    '\\' => element.push(letters.next()?),
                    letter => element.push(letter),
                }
            }
            while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        } else {
            while let Some(letter) = letters.next_if(|letter| *letter != ',') {
                match letter {
                    '\\' => element.push(letters.next()?),
                    '{' | '}' | '"' => return None,
                    letter => element.push(letter),
                }
            }
            element.truncate(element.trim_end().len());
            if element.is_empty() {
                return None;
            }
        }
        found.push((quoted || !element.eq_ignore_ascii_case("null")).then_some(element));
        match letters.next() {
            None => return Some(found),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

/// A pattern of LIKE whose escape mark is `mark` (none: nothing is escaped), with the backslash as mark instead. Nothing
/// when the pattern ends in the mark.
pub(super) fn like_pattern(pattern: &str, mark: Option<char>) -> Option<String> {
    let mut written = String::with_capacity(pattern.len() + 4);
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if Some(letter) == mark {
            // The mark makes the next character stand for itself.
            let next = letters.next()?;
            if matches!(next, '%' | '_' | '\\') {
                written.push('\\');
            }
            written.push(next);
        } else {
            if letter == '\\' {
                written.push('\\');
            }
            written.push(letter);
        }
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::elements;

    #[test]
    fn arrays_as_postgres_writes_them() {
        let of = |list: &[Option<&str>]| Some(list.iter().map(|text| text.map(str::to_owned)).collect());
        for (text, expected) in [
            ("{}", of(&[])),
            ("{ a , b }", of(&[Some("a"), Some("b")])),
            ("{NULL,\"NULL\",null}", of(&[None, Some("NULL"), None])),
            (
                r#"{"a, b","c\"d","e\\f",""}"#,
                of(&[Some("a, b"), Some("c\"d"), Some("e\\f"), Some("")]),
            ),
            ("{a,}", None),
            ("{{1},{2}}", None),
            ("{\"a", None),
            ("a,b", None),
            ("{a", None),
        ] {
            assert_eq!(elements(text), expected, "{text}");
        }
    }
}
