//! Samples and hold-outs: a share of all customers, the same one whenever it is asked for.
//!
//! Whether a customer is in a share depends on the customer's key and on the share's salt, and on
//! nothing else: not on who else is in a list, nor when it was made. So a hold-out stays held out when
//! the list changes, and two shares with different salts are independent of one another.

use std::fmt;

use cameo_domain::Key;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Into so many buckets are customers dealt: a share is in steps of a hundredth of a percent.
pub const BUCKETS: u64 = 10_000;
/// Longest salt, in bytes.
pub const SALT_BYTES_MAX: usize = 64;

/// A share of all customers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredShare", into = "StoredShare")]
pub struct Share {
    /// In hundredths of a percent, from 1 to [`BUCKETS`].
    buckets: u64,
    salt: String,
}

#[derive(Serialize, Deserialize)]
struct StoredShare {
    percent: f64,
    salt: String,
}

/// Why there is no such share.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ShareError {
    /// Outside of its bounds, or finer than a hundredth.
    #[error("expected a percentage from 0.01 to 100 in steps of 0.01, found {0}")]
    Percent(f64),
    /// Empty, too long, or with other characters.
    #[error(
        "expected a salt of 1 to {SALT_BYTES_MAX} letters, digits, `_`, `-` and `.`, found `{0}`"
    )]
    Salt(String),
}

impl Share {
    /// `percent` of all customers, chosen by `salt`.
    pub fn new(percent: f64, salt: &str) -> Result<Self, ShareError> {
        let hundredths = (percent * 100.0).round();
        let in_steps = (hundredths / 100.0 - percent).abs() < 1e-9;
        if !in_steps || !(1.0..=BUCKETS as f64).contains(&hundredths) {
            return Err(ShareError::Percent(percent));
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX || !salt.bytes().all(fits) {
            return Err(ShareError::Salt(salt.to_owned()));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and 10,000, and whole"
        )]
        let buckets = hundredths as u64;
        Ok(Self { buckets, salt: salt.to_owned() })
    }

    /// How much of all customers it is, in percent.
    #[must_use]
    pub fn percent(&self) -> f64 {
        self.buckets as f64 / 100.0
    }

    /// What chooses the customers.
    #[must_use]
    pub fn salt(&self) -> &str {
        &self.salt
    }

    /// Whether a customer is in it.
    #[must_use]
    pub fn has(&self, key: &Key) -> bool {
        match key {
            Key::Int(key) => self.has_int(*key),
            Key::String(key) => self.has_text(key),
        }
    }

    pub(crate) fn has_int(&self, key: i64) -> bool {
        self.has_text(&key.to_string())
    }

    pub(crate) fn has_text(&self, key: &str) -> bool {
        bucket(&self.salt, key) < self.buckets
    }
}

/// The bucket of a customer, from 0 to 9,999: the first 15 hexadecimal digits of the SHA-256 of
/// `salt:key` (an integer key in decimal digits) as a number, modulo 10,000. In SQL:
///
/// - GoogleSQL: `MOD(CAST(CONCAT('0x', SUBSTR(TO_HEX(SHA256(CONCAT(salt, ':', key))), 1, 15)) AS INT64), 10000)`
/// - Postgres: `('x' || left(encode(sha256(convert_to(salt || ':' || key, 'UTF8')), 'hex'), 15))::bit(60)::bigint % 10000`
#[must_use]
pub fn bucket(salt: &str, key: &str) -> u64 {
    let mut hasher = Sha256::new();
    for piece in [salt, ":", key] {
        hasher.update(piece.as_bytes());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let first = digest.first_chunk().copied().unwrap_or_default();
    (u64::from_be_bytes(first) >> 4) % BUCKETS
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} % by `{}`", self.percent(), self.salt)
    }
}

impl TryFrom<StoredShare> for Share {
    type Error = ShareError;

    fn try_from(stored: StoredShare) -> Result<Self, ShareError> {
        Self::new(stored.percent, &stored.salt)
    }
}

impl From<Share> for StoredShare {
    fn from(share: Share) -> Self {
        Self { percent: share.percent(), salt: share.salt }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CUSTOMERS: i64 = 40_000;

    fn counted(wanted: impl Fn(&Key) -> bool) -> f64 {
        (0..CUSTOMERS).filter(|key| wanted(&Key::Int(*key))).count() as f64
    }

    /// Six standard deviations of a binomial count.
    fn is_near(found: f64, share: f64) -> bool {
        let customers = CUSTOMERS as f64;
        let deviation = (customers * share * (1.0 - share)).sqrt();
        (found - customers * share).abs() <= 6.0 * deviation
    }

    #[test]
    fn the_bucket_is_what_the_documented_sql_gives() {
        // printf 'spring:17' | sha256sum → the first 15 digits modulo 10,000.
        assert_eq!(bucket("spring", "17"), EXPECTED_OF_SPRING_17);
        let share = Share::new(EXPECTED_OF_SPRING_17 as f64 / 100.0, "spring").expect("a share");
        assert!(!share.has(&Key::Int(17)), "a share ends before its number of buckets");
        let larger = Share::new((EXPECTED_OF_SPRING_17 + 1) as f64 / 100.0, "spring");
        assert!(larger.expect("a share").has(&Key::String("17".to_owned())));
    }

    const EXPECTED_OF_SPRING_17: u64 = 3_537;

    #[test]
    fn a_share_out_of_bounds_is_refused() {
        for percent in [0.0, 0.001, -1.0, 100.01, 33.333, f64::NAN, f64::INFINITY] {
            assert!(Share::new(percent, "a").is_err(), "{percent}");
        }
        for salt in ["", "a:b", "a b", "é", &"a".repeat(65)] {
            assert!(matches!(Share::new(1.0, salt), Err(ShareError::Salt(_))), "{salt}");
        }
        let stored = serde_json::to_string(&Share::new(12.34, "s").expect("a share"));
        assert_eq!(stored.expect("JSON"), r#"{"percent":12.34,"salt":"s"}"#);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn a_share_is_of_its_size_whatever_the_salt(
            salt in "[a-z0-9_.-]{1,20}", percent in prop_oneof![Just(0.5), Just(10.0), Just(50.0)],
        ) {
            let share = Share::new(percent, &salt).expect("a share");
            prop_assert!(is_near(counted(|key| share.has(key)), percent / 100.0));
        }

        #[test]
        fn shares_with_different_salts_are_independent(
            one in "[a-z]{1,8}", other in "[A-Z]{1,8}",
        ) {
            let (one, other) = (Share::new(20.0, &one), Share::new(30.0, &other));
            let (one, other) = (one.expect("a share"), other.expect("a share"));
            prop_assert!(is_near(counted(|key| one.has(key) && other.has(key)), 0.06));
        }

        #[test]
        fn a_larger_share_has_all_of_a_smaller_one_with_its_salt(
            key in any::<i64>(), salt in "[a-z]{1,8}", one in 1_u64..10_000, other in 1_u64..10_000,
        ) {
            let share = |buckets: u64| Share::new(buckets as f64 / 100.0, &salt).expect("a share");
            let (small, large) = (share(one.min(other)), share(one.max(other)));
            prop_assert!(!small.has(&Key::Int(key)) || large.has(&Key::Int(key)));
        }
    }
}
