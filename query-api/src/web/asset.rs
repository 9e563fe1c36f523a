//! The files that pages bring with them, each at an address that changes when its content does.

use axum::{
    extract::RawQuery,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

/// A file of the program.
pub(super) struct Asset {
    /// Where it is asked for, without its mark.
    pub(super) path: &'static str,
    kind: &'static str,
    text: &'static str,
    mark: u64,
}

pub(super) static STYLE: Asset = Asset::new(
    "/ui/assets/style.css",
    "text/css",
    include_str!("assets/style.css"),
);
pub(super) static SCRIPT: Asset = Asset::new(
    "/ui/assets/live.js",
    "text/javascript",
    include_str!("assets/live.js"),
);
pub(super) static ICON: Asset = Asset::new(
    "/ui/assets/icon.svg",
    "image/svg+xml",
    include_str!("assets/icon.svg"),
);

impl Asset {
    const fn new(path: &'static str, kind: &'static str, text: &'static str) -> Self {
        Self {
            path,
            kind,
            text,
            mark: mark(text.as_bytes()),
        }
    }

    /// The address with the mark of the content.
    pub(super) fn address(&self) -> String {
        format!("{}?v={:016x}", self.path, self.mark)
    }

    /// The file. At the address with its mark it never changes, so a browser keeps it for a year; at another for an hour.
    pub(super) async fn answer(&'static self, RawQuery(query): RawQuery) -> Response {
        let marked = query.is_some_and(|query| query == format!("v={:016x}", self.mark));
        let keep = if marked {
            "public, max-age=31536000, immutable"
        } else {
            "public, max-age=3600"
        };
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(self.kind)),
            (header::CACHE_CONTROL, HeaderValue::from_static(keep)),
        ];
        (headers, self.text).into_response()
    }
}

/// FNV-1a, 64 bits, when the program is built.
const fn mark(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_marked_address_is_kept_for_long() {
        let kept = async |query: &str| {
            let answer = STYLE.answer(RawQuery(Some(query.to_owned()))).await;
            answer.headers()[header::CACHE_CONTROL].clone()
        };
        let address = STYLE.address();
        let (_, query) = address.split_once('?').expect("a mark");
        assert_eq!(kept(query).await, "public, max-age=31536000, immutable");
        assert_eq!(kept("v=0000000000000000").await, "public, max-age=3600");
        assert_ne!(STYLE.mark, SCRIPT.mark);
    }
}
