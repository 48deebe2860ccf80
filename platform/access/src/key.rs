//! The shape of an API key: `cameo_<prefix>_<secret>_<checksum>`.
//!
//! - The prefix names the key: it is stored in clear, indexed, and shown in listings.
//! - The secret carries [`SECRET_BYTES`] base-62 digits, 238 bits of entropy.
//! - The checksum is the CRC-32 of all before it, in base 62. A typo is refused without a question
//!   to the database, and a scanner of leaked secrets finds keys without false alarms.
//!
//! Only the SHA-256 of the whole key is stored. A slow password hash would add nothing: it protects
//! secrets that can be guessed, and 238 random bits cannot, however fast the hash is. A fast hash
//! keeps authentication off the critical path of a look-up.

use std::fmt;

use cameo_domain::Sha256;
use sha2::Digest;
use subtle::ConstantTimeEq;

/// What every key starts with; secret scanners look for it.
pub const SCHEME: &str = "cameo";
/// Digits of the part that names a key.
pub const PREFIX_BYTES: usize = 8;
/// Digits of the secret part.
pub const SECRET_BYTES: usize = 40;
/// Digits of the checksum: 62^6 exceeds 2^32.
pub const CHECKSUM_BYTES: usize = 6;
/// Length of a whole key: the parts and three separators.
pub const KEY_BYTES: usize = SCHEME.len() + PREFIX_BYTES + SECRET_BYTES + CHECKSUM_BYTES + 3;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Random bytes from here on are drawn again: 248 is the largest multiple of 62 in a byte, and
/// folding the rest would favour the first digits.
const UNBIASED_BELOW: u8 = 248;
/// Random bytes drawn at once.
const DRAW_BYTES: usize = 64;
/// Where the checksum begins, with its separator before it.
const CHECKSUM_AT: usize = KEY_BYTES - CHECKSUM_BYTES;

/// Why a text is not an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text has another shape.
    #[error("expected an API key like `cameo_<8 digits>_<40 digits>_<6 digits>`")]
    Shape,
    /// The shape is right, the digits are not.
    #[error("the API key is mistyped or cut: its checksum does not match")]
    Checksum,
}

/// A new key with its secret. Exists once, to be shown once; it cannot be printed by accident.
pub struct ApiKey {
    text: String,
}

impl ApiKey {
    /// Draws a key from the operating system's random numbers.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut text = String::with_capacity(KEY_BYTES);
        text.push_str(SCHEME);
        for length in [PREFIX_BYTES, SECRET_BYTES] {
            text.push('_');
            push_random(&mut text, length)?;
        }
        text.push('_');
        let checksum = checksum(&text.as_bytes()[..CHECKSUM_AT - 1]);
        text.extend(checksum.iter().map(|digit| char::from(*digit)));
        Ok(Self { text })
    }

    /// The whole key, for the person it is made for.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The part that names the key in listings and in the database.
    #[must_use]
    pub fn prefix(&self) -> &str {
        prefix_of(&self.text)
    }

    /// What is stored instead of the key.
    #[must_use]
    pub fn hash(&self) -> Sha256 {
        Sha256::of(&self.text)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({SCHEME}_{}_…)", self.prefix())
    }
}

/// A key as a caller presents it: its shape and checksum are right, its secret is not yet checked.
#[derive(Clone, Copy)]
pub struct PresentedKey<'a> {
    text: &'a str,
}

impl<'a> PresentedKey<'a> {
    /// Checks shape and checksum. Never asks the database.
    pub fn parse(text: &'a str) -> Result<Self, KeyError> {
        let bytes = text.as_bytes();
        if bytes.len() != KEY_BYTES || !bytes.starts_with(SCHEME.as_bytes()) {
            return Err(KeyError::Shape);
        }
        let prefix_at = SCHEME.len() + 1;
        let secret_at = prefix_at + PREFIX_BYTES + 1;
        let separators = [prefix_at - 1, secret_at - 1, CHECKSUM_AT - 1];
        let is_digit = |(at, byte): (usize, &u8)| {
            if separators.contains(&at) { *byte == b'_' } else { byte.is_ascii_alphanumeric() }
        };
        if !bytes.iter().enumerate().all(is_digit) {
            return Err(KeyError::Shape);
        }
        if checksum(&bytes[..CHECKSUM_AT - 1]) != bytes[CHECKSUM_AT..] {
            return Err(KeyError::Checksum);
        }
        Ok(Self { text })
    }

    /// The part that names the key.
    #[must_use]
    pub fn prefix(&self) -> &'a str {
        prefix_of(self.text)
    }

    /// The hash to compare with the stored one.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.text)
    }
}

impl fmt::Debug for PresentedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedKey({SCHEME}_{}_…)", self.prefix())
    }
}

/// What is kept of a key: its SHA-256. Comparison takes the same time wherever two hashes differ.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    pub(crate) fn of(text: &str) -> Self {
        Self(sha2::Sha256::digest(text).into())
    }
}

impl From<Sha256> for KeyHash {
    fn from(stored: Sha256) -> Self {
        Self(*stored.as_bytes())
    }
}

impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

impl Eq for KeyHash {}

fn prefix_of(text: &str) -> &str {
    let start = SCHEME.len() + 1;
    &text[start..start + PREFIX_BYTES]
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut rest = crc32fast::hash(bytes);
    let mut digits = [DIGITS[0]; CHECKSUM_BYTES];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

fn push_random(text: &mut String, length: usize) -> Result<(), getrandom::Error> {
    let end = text.len() + length;
    while text.len() < end {
        let mut random = [0; DRAW_BYTES];
        getrandom::fill(&mut random)?;
        let unbiased = random.into_iter().filter(|byte| *byte < UNBIASED_BELOW);
        let digits = unbiased.map(|byte| char::from(DIGITS[usize::from(byte % 62)]));
        text.extend(digits.take(end - text.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn key() -> ApiKey {
        ApiKey::generate().expect("the system gives random numbers")
    }

    #[test]
    fn a_generated_key_is_accepted_and_names_itself() {
        for _ in 0..200 {
            let key = key();
            let presented = PresentedKey::parse(key.reveal()).expect("its own checksum matches");
            assert_eq!(presented.prefix(), key.prefix());
            assert_eq!(presented.hash(), KeyHash::from(key.hash()));
        }
    }

    #[test]
    fn keys_do_not_repeat() {
        let keys: HashSet<String> = (0..1_000).map(|_| key().reveal().to_owned()).collect();
        assert_eq!(keys.len(), 1_000);
    }

    #[test]
    fn a_debug_print_never_shows_the_secret() {
        let key = key();
        let presented = PresentedKey::parse(key.reveal()).expect("its own checksum matches");
        for printed in [format!("{key:?}"), format!("{presented:?}")] {
            assert!(!printed.contains(&key.reveal()[15..30]), "{printed}");
        }
    }

    proptest! {
        #[test]
        fn one_wrong_digit_is_refused_without_the_database(at in 0..KEY_BYTES, digit in "[0-9A-Za-z_]") {
            let key = key();
            let mut typo = key.reveal().to_owned();
            typo.replace_range(at..=at, &digit);
            prop_assume!(typo != key.reveal());
            prop_assert!(PresentedKey::parse(&typo).is_err());
        }

        #[test]
        fn two_swapped_digits_are_refused_without_the_database(at in 0..KEY_BYTES - 1) {
            let key = key();
            let mut bytes = key.reveal().as_bytes().to_vec();
            bytes.swap(at, at + 1);
            let typo = String::from_utf8(bytes).expect("digits only");
            prop_assume!(typo != key.reveal());
            prop_assert!(PresentedKey::parse(&typo).is_err());
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}") {
            prop_assert!(PresentedKey::parse(&text).is_err());
        }

        #[test]
        fn different_keys_have_different_hashes(_ in 0..8_u8) {
            prop_assert_ne!(KeyHash::from(key().hash()), KeyHash::from(key().hash()));
        }
    }
}
