//! What must always hold, checked from outside.

use serde::Serialize;
use sqlx::FromRow;

use crate::{Store, StoreError};

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Breach {
    /// What should hold.
    pub invariant: String,
    /// Where it does not.
    pub detail: String,
}

/// Checks every invariant in one consistent view of the database; a sound one gives no breach.
pub async fn check(store: &Store) -> Result<Vec<Breach>, StoreError> {
    let breaches =
        sqlx::query_as(include_str!("invariants.sql")).fetch_all(store.control()).await?;
    Ok(breaches)
}
