//! SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677), made when a key is made, so that SQL doors opened later can check
//! keys without ever having seen them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a server keeps of a password for SCRAM-SHA-256. All binary parts are base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScramVerifier {
    /// Random salt, 16 bytes.
    pub salt: String,
    /// PBKDF2 rounds, 4096 or more.
    pub iterations: u32,
    /// `SHA-256(HMAC(salted, "Client Key"))`.
    pub stored_key: String,
    /// `HMAC(salted, "Server Key")`.
    pub server_key: String,
}

impl ScramVerifier {
    /// One that no password fits.
    pub(super) const fn none() -> Self {
        Self {
            salt: String::new(),
            iterations: 0,
            stored_key: String::new(),
            server_key: String::new(),
        }
    }

    /// The verifier of a password under a fresh salt. Cost: `iterations` rounds of HMAC.
    pub(super) fn of(password: &str, iterations: u32, random: &mut dyn RngCore) -> Self {
        let mut salt = [0_u8; 16];
        random.fill_bytes(&mut salt);
        Self::with_salt(password, &salt, iterations)
    }

    fn with_salt(password: &str, salt: &[u8], iterations: u32) -> Self {
        let mut salted = [0_u8; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut salted);
        Self {
            salt: STANDARD.encode(salt),
            iterations,
            stored_key: STANDARD.encode(Sha256::digest(keyed(&salted, b"Client Key"))),
            server_key: STANDARD.encode(keyed(&salted, b"Server Key")),
        }
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

    /// The exchange printed in RFC 7677, section 3.
    #[test]
    fn agrees_with_the_example_of_rfc_7677() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let verifier = ScramVerifier::with_salt("pencil", &salt, 4096);
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let server_key = STANDARD.decode(&verifier.server_key).expect("base64");
        let signature = STANDARD.encode(keyed(&server_key, message.as_bytes()));
        assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let stored = STANDARD.decode(&verifier.stored_key).expect("base64");
        let proof = STANDARD
            .decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
            .expect("base64");
        let client_key: Vec<u8> = keyed(&stored, message.as_bytes())
            .iter()
            .zip(proof)
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(Sha256::digest(client_key).to_vec(), stored);
    }
}
