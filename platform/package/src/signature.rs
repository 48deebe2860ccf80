//! Ed25519 keys: who made a package, and who may.

use std::{
    fmt::{self, Write},
    str::FromStr,
};

use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use serde::{Deserialize, Serialize};

use crate::error::PackageError;

/// Starts the text of a secret key, so that nobody takes one for the other.
const SECRET_PREFIX: &str = "cameo-ed25519-secret:";
/// Starts the text of a public key.
const PUBLIC_PREFIX: &str = "cameo-ed25519:";
const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;
/// Most keys of a list.
const TRUSTED_MAX: usize = 1_000;

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the text of such a key. It is not repeated: it may be a secret.
    #[error("expected {0} and 64 hexadecimal digits, as `cameo package keygen` writes it")]
    Text(&'static str),
    /// A list without a key would trust nobody, or everybody.
    #[error("expected at least one line `{PUBLIC_PREFIX}…`, found no key")]
    NoKey,
    /// A list that is longer than any team's.
    #[error("expected at most {TRUSTED_MAX} keys, found {0}")]
    TooMany(usize),
    /// The operating system gives no random bytes.
    #[error("no random bytes could be had from the operating system")]
    Random,
}

/// The half of a key that signs; it stays with whoever makes packages.
pub struct SigningKey {
    seed: [u8; KEY_BYTES],
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// A new key.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::Random)?;
        Self::of_seed(seed)
    }

    fn of_seed(seed: [u8; KEY_BYTES]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|_| KeyError::Text(SECRET_PREFIX))?;
        Ok(Self { seed, pair })
    }

    /// The half that checks.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(key)
    }

    /// The key as a line of text, to be kept where only its owner reads.
    #[must_use]
    pub fn to_secret_text(&self) -> String {
        format!("{SECRET_PREFIX}{}\n", in_hex(&self.seed))
    }

    pub(crate) fn sign(&self, manifest: &[u8]) -> Signature {
        Signature { key: self.public(), signature: in_hex(&self.sign_bytes(manifest)) }
    }

    /// The signature of something that is no package. What is signed has to begin in a way that no manifest does, so
    /// that neither can be taken for the other.
    #[must_use]
    pub fn sign_bytes(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut signature = [0; SIGNATURE_BYTES];
        // A signature of Ed25519 is as long.
        signature.copy_from_slice(self.pair.sign(message).as_ref());
        signature
    }
}

impl FromStr for SigningKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let wrong = KeyError::Text(SECRET_PREFIX);
        let digits = text.trim().strip_prefix(SECRET_PREFIX).ok_or_else(|| wrong.clone())?;
        Self::of_seed(from_hex(digits).ok_or(wrong)?)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

/// The half of a key that checks signatures, written `cameo-ed25519:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// Whether this is its signature of these bytes.
    #[must_use]
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let key = text.strip_prefix(PUBLIC_PREFIX).and_then(from_hex);
        key.map(Self).ok_or(KeyError::Text(PUBLIC_PREFIX))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", in_hex(&self.0))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

/// The keys of those who may make packages for an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKeys(Vec<PublicKey>);

impl TrustedKeys {
    /// Adds the keys of another list.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether `key` is one of them.
    #[must_use]
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.0.contains(key)
    }
}

impl FromStr for TrustedKeys {
    type Err = KeyError;

    /// One key a line; what follows it, and lines that start with `#`, are for people.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let lines = text.lines().map(str::trim);
        let keys: Vec<PublicKey> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| line.split_whitespace().next().unwrap_or_default().parse())
            .collect::<Result<_, _>>()?;
        match keys.len() {
            0 => Err(KeyError::NoKey),
            count if count > TRUSTED_MAX => Err(KeyError::TooMany(count)),
            _ => Ok(Self(keys)),
        }
    }
}

impl fmt::Display for TrustedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, more) = match &self.0[..] {
            [] => return f.write_str("none"),
            [first, more @ ..] => (first, more.len()),
        };
        write!(f, "{first}")?;
        if more > 0 {
            write!(f, " and {more} more")?;
        }
        Ok(())
    }
}

/// The entry beside a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signature {
    pub(crate) key: PublicKey,
    signature: String,
}

impl Signature {
    /// Who signed these bytes.
    pub(crate) fn signer_of(&self, manifest: &[u8]) -> Result<PublicKey, PackageError> {
        let signature: Option<[u8; SIGNATURE_BYTES]> = from_hex(&self.signature);
        match signature {
            Some(signature) if self.key.has_signed(manifest, &signature) => Ok(self.key),
            _ => Err(PackageError::WrongSignature { signer: self.key }),
        }
    }
}

fn in_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_from_its_text_and_never_shown() {
        let key = SigningKey::generate().expect("random bytes");
        let again: SigningKey = key.to_secret_text().parse().expect("a key");
        assert_eq!(again.public(), key.public());
        assert_eq!(key.public().to_string().parse(), Ok(key.public()));
        assert!(!format!("{key:?}").contains(&in_hex(&key.seed)));
        assert!(key.public().to_string().parse::<SigningKey>().is_err());
        assert!(key.to_secret_text().trim().parse::<PublicKey>().is_err());
    }

    #[test]
    fn a_signature_is_of_its_bytes_alone() {
        let key = SigningKey::generate().expect("random bytes");
        let mut signature = key.sign(b"manifest");
        assert_eq!(signature.signer_of(b"manifest").ok(), Some(key.public()));
        assert!(signature.signer_of(b"manifesT").is_err());
        signature.key = SigningKey::generate().expect("random bytes").public();
        assert!(signature.signer_of(b"manifest").is_err());
        signature.signature.truncate(10);
        assert!(signature.signer_of(b"manifest").is_err());
    }

    #[test]
    fn a_list_of_keys_has_names_comments_and_at_least_one_key() {
        let key = SigningKey::generate().expect("random bytes").public();
        let list: TrustedKeys =
            format!("# who builds\n\n  {key} ci of team crm\n").parse().expect("a list");
        assert!(list.contains(&key));
        assert_eq!("# nobody\n".parse::<TrustedKeys>(), Err(KeyError::NoKey));
        assert!("ssh-ed25519 AAAA".parse::<TrustedKeys>().is_err());
    }
}
