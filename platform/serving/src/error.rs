//! Why a look-up has no answer.

use std::sync::Arc;

use cameo_domain::{ServicePath, key::KeyError};
use cameo_store::StoreError;

use crate::current::Current;

/// Why a look-up has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookupError {
    /// The tenant has no such service.
    #[error("there is no service `{0}`")]
    NotFound(String),
    /// The service exists, but nothing was published yet.
    #[error("{0} has not published predictions yet; its first run has not finished")]
    NotPublished(ServicePath),
    /// The current generation has no prediction for the key.
    #[error("{} has no prediction for key `{key}` in generation {}", .current.served.path, .current.served.generation)]
    UnknownKey {
        /// Where it was looked for.
        current: Arc<Current>,
        /// What was looked for.
        key: String,
    },
    /// The text is no key of the declared type.
    #[error(transparent)]
    BadKey(#[from] KeyError),
    /// The tenant hosts more services than one profile takes.
    #[error("expected at most {limit} services, found {found}; name those that are wanted")]
    TooManyServices {
        /// The most of one profile.
        limit: usize,
        /// How many there are.
        found: usize,
    },
    /// More look-ups wait than may wait.
    #[error("more look-ups wait for the database than the limit of {limit}; try again later")]
    Overloaded {
        /// The most that may wait.
        limit: usize,
    },
    /// The database did not answer.
    #[error("the database cannot be asked now: {0}")]
    Unavailable(Arc<StoreError>),
}

impl From<StoreError> for LookupError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}
