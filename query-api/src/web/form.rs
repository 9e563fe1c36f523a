//! What a page request says: pairs of a query string or of a form.

use axum::{extract::Query, http::Uri};

use crate::problem::Problem;

/// Pairs in their order; empty values are as good as absent.
#[derive(Debug, Clone, Default)]
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    pub(super) fn of_uri(uri: &Uri) -> Result<Self, Problem> {
        let Query(mut pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Problem::bad("bad_query", format!("cannot read the address: {error}")))?;
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Self(pairs))
    }

    /// A body of `application/x-www-form-urlencoded`.
    pub(super) fn of_body(body: &[u8]) -> Result<Self, Problem> {
        let bad = || Problem::bad("bad_form", "cannot read the form that was sent");
        let text = std::str::from_utf8(body).map_err(|_| bad())?;
        let uri: Uri = format!("/?{text}").parse().map_err(|_| bad())?;
        Self::of_uri(&uri)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn all(&self) -> &[(String, String)] {
        &self.0
    }
}

/// Percent-encodes one value of an address.
pub(super) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// An SQL text literal.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_survives_address_and_form() {
        for text in [
            "",
            "a b",
            "a+b=c&d",
            "%41",
            "'; DROP",
            "\u{202e}evil",
            "😀",
            "<script>",
        ] {
            let uri: Uri = format!("/x?q={}&z=1", encode(text)).parse().expect("an address");
            let pairs = Pairs::of_uri(&uri).expect("pairs");
            assert_eq!(pairs.get("q").unwrap_or_default(), text);
            let form = Pairs::of_body(format!("q={}", encode(text)).as_bytes()).expect("pairs");
            assert_eq!(form.get("q").unwrap_or_default(), text);
        }
        assert_eq!(quoted("O'Neil"), "'O''Neil'");
    }
}
