//! The API key of a request, wherever clients put it.

use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};

/// The key in `Authorization: Bearer <key>`, in `Authorization: Basic` as the user name (Segment's write key, with an
/// empty password), or in `X-Api-Key`; the first of these that is there.
pub(crate) fn key_of(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = text(header::AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, rest) = value.trim().split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(rest.to_owned());
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
            return Some(
                pair.split_once(':')
                    .map_or(pair.as_str(), |(user, _)| user)
                    .to_owned(),
            );
        }
        None
    });
    authorization
        .or_else(|| text("x-api-key").map(|key| key.trim().to_owned()))
        .filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_where_clients_put_them() {
        let cases = [
            ("authorization", "Bearer rg_1", Some("rg_1")),
            ("authorization", "bearer  rg_1 ", Some("rg_1")),
            ("authorization", "Basic d2tfdGVzdF8xMjM6", Some("wk_test_123")),
            ("x-api-key", "rg_1", Some("rg_1")),
            ("authorization", "Basic !!", None),
            ("authorization", "Bearer ", None),
            ("authorization", "Digest x", None),
            ("cookie", "rg_1", None),
        ];
        for (name, value, key) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("header"));
            assert_eq!(key_of(&headers).as_deref(), key, "{name}: {value}");
        }
    }
}
