//! Sensitive predictions, sealed before they leave the process that made them.
//!
//! Each value is encrypted and authenticated (AES-256-GCM) and kept as a text, `cameo:v1:<base64>`, in the
//! generation's table, in its snapshot and in the mirror. Three keys stand above one another:
//!
//! 1. the *master key*, 32 bytes in a file of the operator's, never in the database ([`MasterKey`]);
//! 2. a *data key* for each tenant, in versions, kept wrapped by the master key ([`TenantKeys`]);
//! 3. a key for each generation, derived from the data key by HKDF-SHA-256 over tenant, service and
//!    generation ([`Sealer`], [`Opener`]), so that no key seals more than one generation's values.
//!
//! What is authenticated beside the value is its place: column, key and rank. A value that somebody moves to
//! another customer, column, service, generation or tenant does not open. A null is sealed as well, and as
//! long as a value of its type, for that there is none says something too; texts alone show their length.
//!
//! # Nonces
//! Each column of a batch starts at 96 random bits and counts up. Two values of one generation then share
//! a nonce with a probability below `b² · r / 2⁹⁵` for `b` columns of batches with `r` rows: of 4 billion values
//! in batches of 16,384 rows that is 2⁻⁴⁵. No counter is kept anywhere, so neither a second worker nor a
//! database that was restored from a backup can make one repeat.

mod batch;
mod data_key;
mod keys;
mod master;
mod open;
mod place;
mod seal;

pub use data_key::DataKey;
pub use keys::{KeysError, TenantKeys};
pub use master::{MasterKey, MasterKeyError, UnwrapError};
pub use open::{OpenError, Opener};
pub use seal::{SealError, Sealer};

/// Begins every sealed value.
pub const PREFIX: &str = "cameo:v1:";
