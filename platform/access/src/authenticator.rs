//! From the text of a key to a caller.
//!
//! Keys are remembered for a few seconds, so the hot path asks nothing of the database: within
//! [`REFRESH_AFTER`] an answer is used as it is, within [`TRUST_FOR`] it is still used while it is read anew
//! in the background. A revoked key therefore stops working within about [`REFRESH_AFTER`] under load,
//! and at the latest after [`TRUST_FOR`].

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cameo_store::{Store, StoreError, keys};
use chrono::{DateTime, Utc};

use crate::{
    caller::Caller,
    key::{KeyError, KeyHash, PresentedKey},
};

/// From what age on a remembered key is read anew, in the background.
pub const REFRESH_AFTER: Duration = Duration::from_secs(3);
/// From what age on a remembered key is no longer believed.
pub const TRUST_FOR: Duration = Duration::from_secs(10);
/// Most prefixes that are remembered. Beyond it all are forgotten: the next requests ask again.
pub const REMEMBERED_MAX: usize = 10_000;

/// Why a caller is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// The text is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key is unknown, expired or revoked. Which of them is nobody's business.
    #[error("the API key is unknown, expired or revoked")]
    Refused,
    /// The database could not be asked.
    #[error("the API key cannot be checked")]
    Store(#[source] StoreError),
}

/// Checks keys; see the module.
pub struct Authenticator {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    remembered: RwLock<HashMap<String, Arc<Remembered>>>,
}

/// What the database said about a prefix, also when it knows none: guessing must not cost queries.
struct Remembered {
    read_at: Instant,
    refreshing: AtomicBool,
    grant: Option<Grant>,
}

struct Grant {
    hash: KeyHash,
    caller: Arc<Caller>,
    expires_at: Option<DateTime<Utc>>,
}

impl Authenticator {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { shared: Arc::new(Shared { store, remembered: RwLock::default() }) }
    }

    /// Whom the key speaks for.
    pub async fn authenticate(&self, text: &str) -> Result<Arc<Caller>, AuthenticateError> {
        let key = PresentedKey::parse(text)?;
        if let Some(remembered) = self.shared.recall(key.prefix()) {
            let age = remembered.read_at.elapsed();
            if age < TRUST_FOR {
                if age >= REFRESH_AFTER && !remembered.refreshing.swap(true, Ordering::Relaxed) {
                    self.refresh_in_background(key.prefix());
                }
                return remembered.admit(&key);
            }
        }
        let read = self.shared.read(key.prefix()).await.map_err(AuthenticateError::Store)?;
        let admitted = read.admit(&key);
        if admitted.is_ok() {
            self.shared.touch(key.prefix()).await;
        }
        admitted
    }

    fn refresh_in_background(&self, prefix: &str) {
        let (shared, prefix) = (self.shared.clone(), prefix.to_owned());
        tokio::spawn(async move {
            match shared.read(&prefix).await {
                // Only a key that is in use comes here, so this is when it was last used.
                Ok(read) if read.grant.is_some() => shared.touch(&prefix).await,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "cannot read an API key anew"),
            }
        });
    }
}

impl Shared {
    fn recall(&self, prefix: &str) -> Option<Arc<Remembered>> {
        self.remembered.read().unwrap_or_else(PoisonError::into_inner).get(prefix).cloned()
    }

    async fn read(&self, prefix: &str) -> Result<Arc<Remembered>, StoreError> {
        let read_at = Instant::now();
        let record = keys::find_by_prefix(&self.store, prefix).await?;
        let grant = record.filter(|record| record.revoked_at.is_none()).map(|record| Grant {
            hash: record.hash.into(),
            caller: Arc::new(Caller::new(record.tenant, prefix, record.scopes)),
            expires_at: record.expires_at,
        });
        let read = Arc::new(Remembered { read_at, refreshing: AtomicBool::new(false), grant });
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX && !remembered.contains_key(prefix) {
            remembered.clear();
        }
        remembered.insert(prefix.to_owned(), read.clone());
        Ok(read)
    }

    /// Notes the use; the store writes it down once a minute at most.
    async fn touch(&self, prefix: &str) {
        if let Err(error) = keys::touch(&self.store, prefix).await {
            tracing::warn!(%error, "cannot note when an API key was last used");
        }
    }
}

impl Remembered {
    fn admit(&self, key: &PresentedKey<'_>) -> Result<Arc<Caller>, AuthenticateError> {
        let grant = self.grant.as_ref().ok_or(AuthenticateError::Refused)?;
        let is_expired = grant.expires_at.is_some_and(|at| at <= Utc::now());
        if is_expired || grant.hash != key.hash() {
            return Err(AuthenticateError::Refused);
        }
        Ok(grant.caller.clone())
    }
}
