//! The server's side of SCRAM-SHA-256 (RFC 5802) over a verifier: the password itself is never needed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::access::ScramVerifier;

/// The one mechanism offered. Channel binding is not: it needs the certificate's own hash.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub(super) struct Exchange {
    verifier: ScramVerifier,
    /// Whether the verifier is one of a usable key. If not, no proof is right, and nothing tells before.
    real: bool,
    header: String,
    nonce: String,
    first_messages: String,
}

impl Exchange {
    /// Reads `client-first-message` and gives the exchange with the answer to send. `None` for anything malformed.
    pub(super) fn begin(
        message: &str,
        verifier: ScramVerifier,
        real: bool,
        server_nonce: &str,
    ) -> Option<(Self, String)> {
        // gs2-header: "n,," or "y,," with an optional authzid.
        let mut parts = message.splitn(3, ',');
        let (flag, authzid, bare) = (parts.next()?, parts.next()?, parts.next()?);
        if !matches!(flag, "n" | "y") {
            return None;
        }
        let client_nonce = bare.split(',').find_map(|part| part.strip_prefix("r="))?;
        let nonce = format!("{client_nonce}{server_nonce}");
        let answer = format!("r={nonce},s={},i={}", verifier.salt, verifier.iterations);
        let exchange = Self {
            verifier,
            real,
            header: STANDARD.encode(format!("{flag},{authzid},")),
            first_messages: format!("{bare},{answer}"),
            nonce,
        };
        Some((exchange, answer))
    }

    /// Reads `client-final-message`; gives `server-final-message` when the proof holds.
    pub(super) fn finish(&self, message: &str) -> Option<String> {
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let expected = format!("c={},r={}", self.header, self.nonce);
        let proof = STANDARD.decode(proof).ok()?;
        let stored: [u8; 32] = STANDARD.decode(&self.verifier.stored_key).ok()?.try_into().ok()?;
        let server_key = STANDARD.decode(&self.verifier.server_key).ok()?;
        let signed = format!("{},{without_proof}", self.first_messages);
        let signature = keyed(&stored, signed.as_bytes());
        let client_key: Vec<u8> = signature.iter().zip(&proof).map(|(a, b)| a ^ b).collect();
        let digest: [u8; 32] = Sha256::digest(client_key).into();
        let right = digest.ct_eq(&stored).unwrap_u8() == 1;
        // Everything is computed before anything is decided: each wrong answer takes the same time.
        let accepted = right & self.real & (proof.len() == 32) & (without_proof == expected);
        let verdict = format!("v={}", STANDARD.encode(keyed(&server_key, signed.as_bytes())));
        accepted.then_some(verdict)
    }
}

/// A verifier for a user that is none: the same salt each time, as many rounds as others have, and no password that fits.
pub(super) fn nobody(user: &str, secret: &[u8; 32], iterations: u32) -> ScramVerifier {
    let part = |what: &str| keyed(secret, format!("{what}:{user}").as_bytes());
    ScramVerifier {
        salt: STANDARD.encode(&part("salt")[..16]),
        iterations,
        stored_key: STANDARD.encode(part("stored")),
        server_key: STANDARD.encode(part("server")),
    }
}

fn keyed(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of the exchange printed in RFC 7677, section 3 (password `pencil`).
    fn pencil() -> ScramVerifier {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let mut salted = [0_u8; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(b"pencil", &salt, 4096, &mut salted);
        ScramVerifier {
            salt: "W22ZaJ0SNY7soEsUEjb6gQ==".to_owned(),
            iterations: 4096,
            stored_key: STANDARD.encode(Sha256::digest(keyed(&salted, b"Client Key"))),
            server_key: STANDARD.encode(keyed(&salted, b"Server Key")),
        }
    }

    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn begun(real: bool) -> Exchange {
        let (exchange, answer) =
            Exchange::begin(FIRST, pencil(), real, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0").expect("well formed");
        assert_eq!(
            answer,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        exchange
    }

    #[test]
    fn the_exchange_of_rfc_7677() {
        let verdict = begun(true).finish(FINAL);
        assert_eq!(
            verdict.as_deref(),
            Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        );
    }

    #[test]
    fn wrong_proofs_nonces_and_keys_that_are_none_fail() {
        assert_eq!(begun(false).finish(FINAL), None);
        assert_eq!(begun(true).finish(&FINAL.replace("dHzb", "eHzb")), None);
        assert_eq!(begun(true).finish(&FINAL.replace("hvYD", "hvYE")), None);
        assert_eq!(begun(true).finish("p=x"), None);
        assert!(Exchange::begin("p=tls-server-end-point,,n=,r=x", pencil(), true, "y").is_none());
        assert!(Exchange::begin("garbage", pencil(), true, "y").is_none());
    }
}
