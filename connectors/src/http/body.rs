//! The bytes of a request: bounded on the wire, bounded after decompression.

use std::{io::Read, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{error::DoorError, settings::HttpSettings};

/// Largest zstd window taken, as a power of two: 8 MiB, what RFC 9659 allows on the web. Bounds the decoder's memory.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Reads the body whole and decompresses it by its `Content-Encoding`, whatever its content type says.
///
/// # Errors
/// 413 past either limit, 408 when it is slow, 415 for an unknown encoding, 400 for a broken one.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    settings: &HttpSettings,
) -> Result<Bytes, DoorError> {
    let encodings = encodings(headers)?;
    // What is not compressed has the same length in both places.
    let limit_bytes = if encodings.is_empty() {
        settings.max_wire_bytes.min(settings.max_body_bytes)
    } else {
        settings.max_wire_bytes
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if announced
        .and_then(|text| text.parse::<u64>().ok())
        .is_some_and(|length| length > limit_bytes as u64)
    {
        return Err(DoorError::TooLong { limit_bytes });
    }
    let timeout = Duration::from_millis(settings.body_timeout_ms);
    let collected = tokio::time::timeout(timeout, Limited::new(body, limit_bytes).collect()).await;
    let mut bytes = match collected {
        Err(_) => {
            return Err(DoorError::Slow {
                timeout_ms: settings.body_timeout_ms,
            });
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(DoorError::TooLong { limit_bytes }),
        Ok(Err(error)) => return Err(DoorError::Cut(error.to_string())),
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    for encoding in encodings {
        bytes = decompress(encoding, bytes, settings).await?;
    }
    Ok(bytes)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Deflate,
    Zstd,
}

impl Encoding {
    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }
}

/// The encodings to undo, in the order of undoing. At most two, so that nesting cannot multiply the work.
fn encodings(headers: &HeaderMap) -> Result<Vec<Encoding>, DoorError> {
    let mut found = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let unknown = || DoorError::UnknownEncoding(String::from_utf8_lossy(value.as_bytes()).into_owned());
        for name in value.to_str().map_err(|_| unknown())?.split(',') {
            match name.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => {}
                "gzip" | "x-gzip" => found.push(Encoding::Gzip),
                "deflate" => found.push(Encoding::Deflate),
                "zstd" => found.push(Encoding::Zstd),
                _ => return Err(unknown()),
            }
        }
        if found.len() > 2 {
            return Err(unknown());
        }
    }
    found.reverse();
    Ok(found)
}

async fn decompress(encoding: Encoding, bytes: Bytes, settings: &HttpSettings) -> Result<Bytes, DoorError> {
    let limit_bytes = settings.max_body_bytes;
    if bytes.len() <= settings.inline_bytes / 8 {
        return inflate(encoding, &bytes, limit_bytes);
    }
    tokio::task::spawn_blocking(move || inflate(encoding, &bytes, limit_bytes))
        .await
        .map_err(|error| DoorError::Lost(error.to_string()))?
}

/// Inflates at most one byte more than the limit, so a bomb costs no more than an honest body.
fn inflate(encoding: Encoding, bytes: &[u8], limit_bytes: usize) -> Result<Bytes, DoorError> {
    let broken = |error: std::io::Error| DoorError::BrokenEncoding {
        encoding: encoding.name(),
        detail: error.to_string(),
    };
    let mut out = Vec::with_capacity(bytes.len().saturating_mul(4).min(limit_bytes));
    let most = limit_bytes as u64 + 1;
    match encoding {
        Encoding::Gzip => flate2::read::MultiGzDecoder::new(bytes)
            .take(most)
            .read_to_end(&mut out),
        Encoding::Deflate => flate2::read::ZlibDecoder::new(bytes)
            .take(most)
            .read_to_end(&mut out),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(broken)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(broken)?;
            decoder.take(most).read_to_end(&mut out)
        }
    }
    .map_err(broken)?;
    if out.len() > limit_bytes {
        return Err(DoorError::TooLong { limit_bytes });
    }
    Ok(Bytes::from(out))
}
