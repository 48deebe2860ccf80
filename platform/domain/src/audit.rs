//! What the audit trail leaves outside the database.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::hash::Sha256;

/// Where the chain of the audit trail stood: the number and the hash of an entry, which through the
/// hashes before it vouch for every entry up to it. The same entry always gives the same anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditAnchor {
    /// The entry, counted from 1.
    pub entry: i64,
    /// When it was added.
    pub at: DateTime<Utc>,
    /// Its hash.
    pub hash: Sha256,
}
