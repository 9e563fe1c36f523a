//! The text form of an API key: `rg_live_<key id>_<secret>`, both parts base 62.

use rand::RngCore;
use sha2::{Digest, Sha256};

const PREFIX: &str = "rg_live_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_LEN: usize = 12;
/// 32 characters of base 62 are 190 bits: a plain hash of it cannot be searched.
const SECRET_LEN: usize = 32;

/// A freshly drawn key.
pub(super) struct DrawnKey {
    /// Public part.
    pub(super) key_id: String,
    /// The whole text, shown once.
    pub(super) text: String,
}

/// Draws a key from the given randomness.
pub(super) fn draw(random: &mut dyn RngCore) -> DrawnKey {
    let key_id = base62(random, ID_LEN);
    let text = format!("{PREFIX}{key_id}_{}", base62(random, SECRET_LEN));
    DrawnKey { key_id, text }
}

/// The key id inside a key text; `None` when the text has not the form of a key.
pub(super) fn key_id_of(text: &str) -> Option<&str> {
    let (key_id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let plain = |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_alphanumeric());
    (plain(key_id, ID_LEN) && plain(secret, SECRET_LEN)).then_some(key_id)
}

/// SHA-256 of the whole key text.
pub(super) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn base62(random: &mut dyn RngCore, len: usize) -> String {
    let mut text = String::with_capacity(len);
    let mut bytes = [0_u8; 64];
    while text.len() < len {
        random.fill_bytes(&mut bytes);
        // 248 is the largest multiple of 62 in a byte; bytes above it would favour the first letters.
        let fair = bytes.iter().filter(|byte| **byte < 248);
        text.extend(
            fair.take(len - text.len())
                .map(|byte| char::from(ALPHABET[usize::from(byte % 62)])),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn drawn_keys_parse_back() {
        let key = draw(&mut StdRng::seed_from_u64(1));
        assert_eq!(key_id_of(&key.text), Some(key.key_id.as_str()));
        assert_eq!(key.text.len(), PREFIX.len() + ID_LEN + 1 + SECRET_LEN);
    }

    #[test]
    fn other_texts_are_no_keys() {
        let key = draw(&mut StdRng::seed_from_u64(1)).text;
        for text in [
            "",
            "rg_live_",
            "rg_test_a_b",
            &key[1..],
            &format!("{key}x"),
            &key.replace('_', "-"),
        ] {
            assert_eq!(key_id_of(text), None, "{text}");
        }
    }
}
