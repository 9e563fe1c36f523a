//! From TOML text to a checked definition, with every problem placed at its line and key.

use serde_json::to_vec;
use sha2::{Digest, Sha256};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Check, Definition, DefinitionError, Problem, Versioned, nearest};

/// Reads, checks and prepares one definition.
///
/// # Errors
/// [`DefinitionError::Invalid`] with all problems found; a text that is no TOML or has an unknown key gives the first.
pub(crate) fn read<T: Definition>(file: &str, text: &str) -> Result<Versioned<T>, DefinitionError> {
    let invalid = |problems| DefinitionError::Invalid {
        file: file.to_owned(),
        problems,
    };
    let mut body: T = toml::from_str(text).map_err(|error| invalid(vec![syntax_problem(text, &error)]))?;
    let mut check = Check::default();
    let (name, version) = body.header();
    check.ensure(
        &["name"],
        name == T::NAME,
        format!("must be '{}', got '{name}'", T::NAME),
    );
    check.ensure(&["version"], version > 0, "must be 1 or more");
    body.check(&mut check);
    if !check.found.is_empty() {
        return Err(invalid(
            check
                .found
                .into_iter()
                .map(|(path, message)| placed(text, &path, message))
                .collect(),
        ));
    }
    let canonical = to_vec(&body).expect("definitions have text keys and finite numbers");
    let sha256 = hexadecimal(&Sha256::digest(canonical));
    let id = format!("{}@{version}+{}", T::NAME, &sha256[..8]);
    body.prepare();
    let text = text.into();
    Ok(Versioned {
        body,
        id,
        sha256,
        text,
    })
}

/// Lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// A problem that the TOML reader found: its line, the key there, and a suggestion for a key it does not know.
fn syntax_problem(text: &str, error: &toml::de::Error) -> Problem {
    let span = error.span();
    let key = span
        .clone()
        .map_or_else(String::new, |span| key_at(text, span.start));
    Problem {
        line: span.map(|span| line_of(text, span.start)),
        key,
        message: with_suggestion(error.message()),
    }
}

/// Serde says "unknown field `x`, expected one of `a`, `b`"; the list is cut to what may be meant.
fn with_suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    match (unknown, quoted.next()) {
        (true, Some(word)) => match nearest(word, quoted.clone()) {
            Some(near) => format!("unknown key '{word}', did you mean '{near}'?"),
            None => {
                format!(
                    "unknown key '{word}', known here are {}",
                    quoted.collect::<Vec<_>>().join(", ")
                )
            }
        },
        _ => message.trim_end_matches('.').replace('\n', ", "),
    }
}

/// A problem at a key path: its line is that of the deepest part of the path that the file has.
fn placed(text: &str, path: &[String], message: String) -> Problem {
    let key = spelled(path.iter().map(String::as_str));
    let line = DeTable::parse(text)
        .ok()
        .and_then(|table| offset_of(table.get_ref(), path))
        .map(|at| line_of(text, at));
    Problem { line, key, message }
}

pub(super) fn spelled<'a>(path: impl Iterator<Item = &'a str>) -> String {
    let bare = |key: &str| {
        key.chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    path.map(|key| {
        if bare(key) {
            key.to_owned()
        } else {
            format!("\"{key}\"")
        }
    })
    .collect::<Vec<_>>()
    .join(".")
}

fn offset_of(table: &DeTable<'_>, path: &[String]) -> Option<usize> {
    let (head, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == head.as_str())?;
    Some(offset_in(value, rest).unwrap_or_else(|| key.span().start))
}

fn offset_in(value: &Spanned<DeValue<'_>>, path: &[String]) -> Option<usize> {
    let (head, rest) = path.split_first()?;
    match value.get_ref() {
        DeValue::Table(table) => offset_of(table, path),
        DeValue::Array(items) => {
            let item = items.get(head.parse::<usize>().ok()?)?;
            Some(offset_in(item, rest).unwrap_or_else(|| item.span().start))
        }
        _ => None,
    }
}

/// The key path at a place in the file; empty when the text is no TOML.
fn key_at(text: &str, offset: usize) -> String {
    let mut path = Vec::new();
    if let Ok(table) = DeTable::parse(text) {
        descend(table.get_ref(), offset, &mut path);
    }
    spelled(path.iter().map(String::as_str))
}

/// Appends the keys that lead to the offset; whether it is inside this table.
fn descend(table: &DeTable<'_>, offset: usize, path: &mut Vec<String>) -> bool {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        if key.span().contains(&offset) || within(value, offset, path) {
            return true;
        }
        path.pop();
    }
    false
}

fn within(value: &Spanned<DeValue<'_>>, offset: usize, path: &mut Vec<String>) -> bool {
    match value.get_ref() {
        DeValue::Table(table) => descend(table, offset, path) || value.span().contains(&offset),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                if within(item, offset, path) {
                    return true;
                }
                path.pop();
            }
            value.span().contains(&offset)
        }
        _ => value.span().contains(&offset),
    }
}
