//! A webhook as Standard Webhooks has it: id, time and signature in headers, so that a receiver can tell who sent it and
//! that it has it already. <https://www.standardwebhooks.com>

use async_trait::async_trait;
use axum::body::Bytes;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use revgauge_contract::Timestamp;
use sha2::Sha256;

use super::saved::SavedError;

/// Sends to other people's servers. Implemented where the HTTP client lives.
#[async_trait]
pub trait WebhookSender: Send + Sync + std::fmt::Debug {
    /// POSTs a JSON body and gives the status. Follows no redirect, and reaches no private address that was not named.
    ///
    /// # Errors
    /// In words: nobody answered in time, or the address may not be reached.
    async fn post(&self, url: &str, headers: &[(&str, String)], body: Bytes) -> Result<u16, String>;
}

/// The key within `whsec_...`.
pub(super) fn key_of(secret: &str) -> Result<Vec<u8>, SavedError> {
    let key = secret
        .strip_prefix("whsec_")
        .and_then(|text| STANDARD.decode(text).ok())
        .filter(|key| (24..=64).contains(&key.len()));
    key.ok_or_else(|| {
        SavedError::Refused("a webhook's secret is 'whsec_' and 24 to 64 bytes in base64".to_owned())
    })
}

/// Headers that let the receiver check and recognise a message.
pub(super) fn headers(
    secret: &str,
    id: &str,
    at: Timestamp,
    body: &[u8],
) -> Result<[(&'static str, String); 3], SavedError> {
    let seconds = at.micros().div_euclid(1_000_000).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key_of(secret)?)
        .map_err(|error| SavedError::Refused(format!("its secret cannot sign: {error}")))?;
    for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
        mac.update(part);
    }
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    Ok([
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds),
        ("webhook-signature", signature),
    ])
}

/// Whether a status means that asking again may help.
pub(super) const fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429) || status >= 500
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        // The example of the specification's reference libraries.
        let headers = headers(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            Timestamp(1_614_265_330_000_000),
            br#"{"test": 2432232314}"#,
        )
        .expect("signed");
        assert_eq!(headers[2].1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
