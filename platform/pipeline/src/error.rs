//! How a run can end without a generation.

use cameo_domain::Reason;
use cameo_isolation::Fault;
use cameo_sealing::{KeysError, SealError};
use cameo_store::StoreError;
use cameo_warehouse::WarehouseError;

/// Why a run did not publish. The worker acts on the difference.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The bundle or the data is at fault; a retry would end the same way.
    #[error("{0}")]
    Halt(Reason),
    /// Something outside the bundle failed; a retry may succeed.
    #[error("{0}")]
    Transient(Reason),
    /// Another worker has taken the run over; nothing more may be written.
    #[error("the lease of this run was lost to another worker")]
    StaleEpoch,
    /// The worker is shutting down.
    #[error("the worker is shutting down")]
    Cancelled,
}

impl RunError {
    pub(crate) fn halt(code: &str, message: impl Into<String>) -> Self {
        Self::Halt(Reason::new(code, message))
    }

    pub(crate) fn transient(code: &str, message: impl Into<String>) -> Self {
        Self::Transient(Reason::new(code, message))
    }
}

/// An error with its causes, joined as people read them.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl From<WarehouseError> for RunError {
    fn from(error: WarehouseError) -> Self {
        let message = chain(&error);
        match error {
            WarehouseError::Sql(_) => Self::halt("features_sql", message),
            WarehouseError::Limit { .. } => Self::halt("warehouse_limit", message),
            WarehouseError::Denied(_) => Self::halt("warehouse_denied", message),
            WarehouseError::Corrupt(_) => Self::halt("warehouse_corrupt", message),
            WarehouseError::Transient(_) => Self::transient("warehouse", message),
        }
    }
}

impl From<Fault> for RunError {
    fn from(fault: Fault) -> Self {
        let (code, message) = (fault.code(), fault.to_string());
        if fault.is_of_model() { Self::halt(code, message) } else { Self::transient(code, message) }
    }
}

impl From<KeysError> for RunError {
    fn from(error: KeysError) -> Self {
        let message = chain(&error);
        match error {
            KeysError::NoMaster => Self::halt("no_master_key", message),
            KeysError::Unwrap(_) | KeysError::Missing { .. } | KeysError::Open(_) => {
                Self::halt("tenant_key", message)
            }
            KeysError::Make(_) => Self::transient("tenant_key", message),
            KeysError::Store(error) => error.into(),
        }
    }
}

impl From<SealError> for RunError {
    fn from(error: SealError) -> Self {
        Self::halt("sealing", chain(&error))
    }
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::StaleEpoch { .. } => Self::StaleEpoch,
            // The key that Postgres names stays out of it: reasons are kept for good, in the audit trail
            // too, where nobody can be erased from.
            StoreError::DuplicateKey { .. } => Self::halt(
                "duplicate_key",
                "features.sql must give one row per key, but some keys occur more than once: GROUP BY the \
                 key, HAVING COUNT(*) > 1 finds them; add GROUP BY or QUALIFY ROW_NUMBER() OVER \
                 (PARTITION BY …) = 1",
            ),
            other => Self::transient("store", chain(&other)),
        }
    }
}
