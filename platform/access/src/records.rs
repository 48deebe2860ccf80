//! What the database says about keys, remembered by prefix for a moment.
//!
//! This is the way of keys that are not known to be good: it answers wrong secrets and unknown prefixes
//! without a query for each, so that guessing costs the guesser alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use cameo_checkpoint::{Check, is_off, passes};
use cameo_store::{Store, StoreError, keys};
use chrono::{DateTime, Utc};

use crate::{
    admitted::{REMEMBERED_MAX, Standing},
    authenticator::REFRESH_AFTER,
    caller::Caller,
    key::KeyHash,
};

/// Reads keys; see the module.
pub(crate) struct KeyRecords {
    store: Store,
    remembered: Mutex<HashMap<String, Arc<Remembered>>>,
}

/// What the database said about a prefix, also when it knows none.
pub(crate) struct Remembered {
    read_at: Instant,
    key: Option<KnownKey>,
}

struct KnownKey {
    hash: KeyHash,
    caller: Arc<Caller>,
    expires_at: Option<DateTime<Utc>>,
}

impl KeyRecords {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, remembered: Mutex::default() }
    }

    /// What was read lately, or is read now.
    pub(crate) async fn find(&self, prefix: &str) -> Result<Arc<Remembered>, StoreError> {
        match self.recall(prefix) {
            Some(lately) if lately.read_at.elapsed() < REFRESH_AFTER => Ok(lately),
            _ => self.read(prefix).await,
        }
    }

    /// What the database says now.
    pub(crate) async fn read(&self, prefix: &str) -> Result<Arc<Remembered>, StoreError> {
        let read_at = Instant::now();
        let record = keys::find_by_prefix(&self.store, prefix).await?;
        let record =
            record.filter(|record| passes(Check::KeyRevocation, record.revoked_at.is_none()));
        let key = record.map(|record| KnownKey {
            hash: record.hash.into(),
            caller: Arc::new(Caller::of_key(record.tenant, prefix, record.scopes, record.services)),
            expires_at: record.expires_at,
        });
        let read = Arc::new(Remembered { read_at, key });
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX && !remembered.contains_key(prefix) {
            remembered.clear();
        }
        remembered.insert(prefix.to_owned(), read.clone());
        Ok(read)
    }

    /// Notes the use; the store writes it down once a minute at most.
    pub(crate) async fn touch(&self, prefix: &str) {
        if let Err(error) = keys::touch(&self.store, prefix).await {
            tracing::warn!(%error, "cannot note when an API key was last used");
        }
    }

    fn recall(&self, prefix: &str) -> Option<Arc<Remembered>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).get(prefix).cloned()
    }
}

impl Remembered {
    /// Whom the key with this hash speaks for, if it opens anything.
    pub(crate) fn admit(&self, hash: &KeyHash) -> Option<Standing> {
        let key = self.key.as_ref()?;
        let left = match key.expires_at {
            Some(end) if !is_off(Check::KeyExpiry) => Some((end - Utc::now()).to_std().ok()?),
            _ => None,
        };
        // A key ends when no time is left, not after it.
        let is_over = left.is_some_and(|left| left == Duration::ZERO);
        if is_over || !passes(Check::KeySecret, key.hash == *hash) {
            return None;
        }
        let ends_at = left.and_then(|left| Instant::now().checked_add(left));
        Some(Standing { caller: key.caller.clone(), read_at: self.read_at, ends_at })
    }
}
