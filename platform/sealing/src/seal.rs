//! Sealing the values of one generation.

use arrow::error::ArrowError;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use cameo_domain::{GenerationId, ServicePath};
use ring::{
    aead::{Aad, LessSafeKey, NONCE_LEN, Nonce},
    rand::{SecureRandom, SystemRandom},
};

use crate::{DataKey, PREFIX};

/// Why values could not be sealed. None of them is told.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The operating system gives no random bytes.
    #[error("no random bytes could be had from the operating system")]
    Random,
    /// The cipher or the key's derivation refused.
    #[error("a value could not be sealed")]
    Cipher,
    /// The batch is not of the schema with opened types.
    #[error("expected the sensitive column `{column}` as {expected}, found {found}")]
    Type {
        /// Which column.
        column: String,
        /// Its declared type.
        expected: cameo_domain::DataType,
        /// The type in the batch.
        found: arrow::datatypes::DataType,
    },
    /// The sealed columns make no batch.
    #[error("the sealed columns do not make a batch")]
    Batch(#[source] ArrowError),
}

/// Seals the values of one generation.
pub struct Sealer {
    version: u32,
    key: LessSafeKey,
    random: SystemRandom,
}

impl Sealer {
    /// For the values of a generation.
    pub fn new(
        key: &DataKey,
        path: &ServicePath,
        generation: GenerationId,
    ) -> Result<Self, SealError> {
        let derived = key.of(path, generation).ok_or(SealError::Cipher)?;
        Ok(Self { version: key.version(), key: derived, random: SystemRandom::new() })
    }

    /// Nonces for a column of a batch.
    pub(crate) fn nonces(&self) -> Result<Nonces, SealError> {
        let mut start = [0; NONCE_LEN];
        self.random.fill(&mut start).map_err(|_| SealError::Random)?;
        Ok(Nonces { next: start })
    }

    /// Seals what `value` holds, and leaves the sealed text in `text`. `value` is overwritten.
    pub(crate) fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        place: &[u8],
        value: &mut Vec<u8>,
        text: &mut String,
    ) -> Result<(), SealError> {
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(unique, Aad::from(place), value)
            .map_err(|_| SealError::Cipher)?;
        value.splice(0..0, self.version.to_be_bytes().into_iter().chain(nonce));
        text.clear();
        text.push_str(PREFIX);
        BASE64.encode_string(value.as_slice(), text);
        Ok(())
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer(version {})", self.version)
    }
}

/// Counts up from 96 random bits; see the crate's documentation.
pub(crate) struct Nonces {
    next: [u8; NONCE_LEN],
}

impl Nonces {
    pub(crate) fn take(&mut self) -> [u8; NONCE_LEN] {
        let taken = self.next;
        for byte in self.next.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_count_up_and_around_the_end() {
        let mut nonces = Nonces { next: [0xff; NONCE_LEN] };
        assert_eq!(nonces.take(), [0xff; NONCE_LEN]);
        assert_eq!(nonces.take(), [0; NONCE_LEN]);
        let mut one = [0; NONCE_LEN];
        one[NONCE_LEN - 1] = 1;
        assert_eq!(nonces.take(), one);
    }
}
