//! A tenant's key, from which the keys of its generations are derived.

use std::fmt;

use cameo_domain::{GenerationId, ServicePath};
use ring::{
    aead::{AES_256_GCM, LessSafeKey, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom, SystemRandom},
};

use crate::{MasterKeyError, place::with_length};

pub(crate) const DATA_KEY_BYTES: usize = 32;

/// One version of a tenant's key.
#[derive(Clone)]
pub struct DataKey {
    version: u32,
    bytes: [u8; DATA_KEY_BYTES],
}

impl DataKey {
    pub(crate) fn new(version: u32, bytes: [u8; DATA_KEY_BYTES]) -> Self {
        Self { version, bytes }
    }

    /// A new key.
    pub fn generate(version: u32) -> Result<Self, MasterKeyError> {
        let mut bytes = [0; DATA_KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| MasterKeyError::Random)?;
        Ok(Self { version, bytes })
    }

    /// Which of the tenant's keys it is, from 1.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn bytes(&self) -> &[u8; DATA_KEY_BYTES] {
        &self.bytes
    }

    /// The key of a generation's values.
    pub(crate) fn of(&self, path: &ServicePath, generation: GenerationId) -> Option<LessSafeKey> {
        let mut about = Vec::new();
        with_length(&mut about, path.tenant.as_str().as_bytes());
        with_length(&mut about, path.service.as_str().as_bytes());
        about.extend_from_slice(&generation.0.to_be_bytes());
        let secret = Salt::new(HKDF_SHA256, b"cameo:v1 generation").extract(&self.bytes);
        let info = [about.as_slice()];
        // Refused only for more bytes than HKDF gives.
        let derived = secret.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(derived)))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey(version {})", self.version)
    }
}
