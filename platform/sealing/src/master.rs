//! The master key: what opens every tenant's data key.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use cameo_domain::{Sha256, TenantName};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};

use crate::data_key::{DATA_KEY_BYTES, DataKey};

const MASTER_KEY_BYTES: usize = 32;
/// Digits of a master key's name: enough to tell an operator's keys apart.
const NAME_DIGITS: usize = 16;

/// The operator's key. Without it nothing that is sealed can be opened, by anybody.
pub struct MasterKey {
    key: LessSafeKey,
    name: String,
}

/// A text that is no master key. It is not repeated: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyError {
    /// Not 32 bytes in base64.
    #[error(
        "expected a master key, {MASTER_KEY_BYTES} bytes in base64, as `cameo keys new-master` writes it"
    )]
    Text,
    /// The operating system gives no random bytes.
    #[error("no random bytes could be had from the operating system")]
    Random,
}

/// Why a data key cannot be unwrapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// It was wrapped by another master key.
    #[error(
        "the key of tenant {tenant} was wrapped by the master key {expected}, found {found}; start with \
         that one, for without it what the tenant has sealed is lost"
    )]
    OtherMaster {
        /// Whose key.
        tenant: TenantName,
        /// The name of the master key that wrapped it.
        expected: String,
        /// The name of the one at hand.
        found: String,
    },
    /// It was changed, or belongs to another tenant or version.
    #[error("the wrapped key of tenant {0} was changed; take it from a backup")]
    Changed(TenantName),
}

impl MasterKey {
    /// A new key, as the text that its file holds.
    pub fn generate() -> Result<String, MasterKeyError> {
        let mut bytes = [0; MASTER_KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| MasterKeyError::Random)?;
        Ok(format!("{}\n", BASE64.encode(bytes)))
    }

    /// A name that tells it apart from other master keys and gives nothing of it away.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The data key as the database keeps it.
    pub fn wrap(&self, tenant: &TenantName, key: &DataKey) -> Result<String, MasterKeyError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| MasterKeyError::Random)?;
        let mut wrapped = nonce.to_vec();
        let mut bytes = key.bytes().to_vec();
        let whose = Aad::from(whose(tenant, key.version()));
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), whose, &mut bytes)
            // Refused only for what is longer than 64 GiB.
            .map_err(|_| MasterKeyError::Random)?;
        wrapped.append(&mut bytes);
        Ok(BASE64.encode(wrapped))
    }

    /// The data key that was wrapped by the master key of this name.
    pub fn unwrap(
        &self,
        tenant: &TenantName,
        version: u32,
        wrapped: &str,
        by: &str,
    ) -> Result<DataKey, UnwrapError> {
        if by != self.name {
            return Err(UnwrapError::OtherMaster {
                tenant: tenant.clone(),
                expected: by.to_owned(),
                found: self.name.clone(),
            });
        }
        let changed = || UnwrapError::Changed(tenant.clone());
        let wrapped = BASE64.decode(wrapped).map_err(|_| changed())?;
        let (nonce, sealed) = wrapped.split_at_checked(NONCE_LEN).ok_or_else(changed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| changed())?;
        let mut sealed = sealed.to_vec();
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(whose(tenant, version)), &mut sealed)
            .map_err(|_| changed())?;
        let bytes: [u8; DATA_KEY_BYTES] = (&*opened).try_into().map_err(|_| changed())?;
        Ok(DataKey::new(version, bytes))
    }
}

/// What a wrapped key is bound to, so that nobody can pass one tenant's off as another's.
fn whose(tenant: &TenantName, version: u32) -> Vec<u8> {
    format!("cameo tenant key {tenant} {version}").into_bytes()
}

impl FromStr for MasterKey {
    type Err = MasterKeyError;

    fn from_str(text: &str) -> Result<Self, MasterKeyError> {
        let bytes = BASE64.decode(text.trim()).map_err(|_| MasterKeyError::Text)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| MasterKeyError::Text)?;
        let hash = Sha256::of_parts([("cameo master key", bytes.as_slice())]).to_string();
        Ok(Self { key: LessSafeKey::new(key), name: hash[..NAME_DIGITS].to_owned() })
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.name)
    }
}
