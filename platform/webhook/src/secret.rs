//! Secrets and signatures after Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};

/// What the text of a secret begins with; secret scanners look for it.
pub const SCHEME: &str = "whsec_";
/// Bytes of a new secret; the specification asks for 24 to 64.
const SECRET_BYTES: usize = 32;
/// Which kind of signature it is: HMAC-SHA-256 with a shared secret.
const VERSION: &str = "v1";

/// The operating system gives no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random numbers")]
pub struct NoRandomNumbers;

/// What sender and receiver share.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Draws a secret.
    pub fn generate() -> Result<Self, NoRandomNumbers> {
        let mut bytes = vec![0; SECRET_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomNumbers)?;
        Ok(Self(bytes))
    }

    /// A secret as it was kept.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What is kept.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text for the person who sets the receiver up.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{SCHEME}{}", STANDARD.encode(&self.0))
    }

    /// The signature of a message, as one entry of the header `webhook-signature`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut signed = format!("{id}.{timestamp}.").into_bytes();
        signed.extend_from_slice(body);
        format!("{VERSION},{}", STANDARD.encode(hmac::sign(&key, &signed)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn a_signature_is_that_of_the_reference_libraries() {
        let bytes = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let secret = Secret::from_bytes(bytes);
        let signature =
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_shown_only_where_it_is_asked_for() {
        let secret = Secret::generate().expect("random numbers");
        assert_ne!(secret, Secret::generate().expect("random numbers"));
        let text = secret.reveal();
        assert!(text.starts_with(SCHEME));
        assert!(!format!("{secret:?}").contains(&text[SCHEME.len()..]));
    }
}
