//! Who changes something, and from where.

use serde::Serialize;

/// Who changes something, and from where; ledgers keep both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct By {
    /// Who: `cli:<user>`, `key:<prefix>`, `oidc:<sub>`, `scheduler` or a worker's name.
    pub actor: String,
    /// From where: `cli`, or `api` with the peer's address.
    pub origin: String,
}

impl By {
    /// An actor at an origin.
    pub fn new(actor: impl Into<String>, origin: impl Into<String>) -> Self {
        Self { actor: actor.into(), origin: origin.into() }
    }
}
