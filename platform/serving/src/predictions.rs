//! The use cases: one key, many keys.

use std::{ops::Range, sync::Arc};

use cameo_domain::{Key, KeyRef, ServicePath, TenantName};
use cameo_snapshot::Snapshot;
use cameo_store::{Store, StoreError, lookup, services};
use tokio_util::sync::CancellationToken;

use crate::{
    coalesce::Coalescer,
    current::Current,
    error::LookupError,
    keeping,
    pointers::{Pointers, SnapshotState},
    render::{Rows, Values, write_rows, write_values},
    snapshots::Snapshots,
};

/// What a service says about one key.
#[derive(Debug)]
pub struct Found {
    /// The generation that says it.
    pub current: Arc<Current>,
    /// The key as the service declares it.
    pub key: Key,
    /// What it says.
    pub rows: Rows,
}

/// What a service says about many keys, all from one generation.
#[derive(Debug)]
pub struct FoundMany {
    /// The generation that says it.
    pub current: Arc<Current>,
    answers: Answers,
}

/// For each key in the order asked: what the service says, or nothing.
#[derive(Debug)]
enum Answers {
    Snapshot(Arc<Snapshot>, Vec<Option<Range<usize>>>),
    Values(Vec<Option<Values>>),
}

impl FoundMany {
    /// Answers of `current` for keys in the order asked.
    #[must_use]
    pub fn of_rows(current: Arc<Current>, rows: Vec<Option<Rows>>) -> Self {
        let values = rows.into_iter().map(|rows| rows.map(|rows| rows.to_values()));
        Self { current, answers: Answers::Values(values.collect()) }
    }

    /// Whether a snapshot answered, and not Postgres.
    #[must_use]
    pub fn is_from_snapshot(&self) -> bool {
        matches!(self.answers, Answers::Snapshot(..))
    }

    /// What the service says about each key in the order asked, or nothing.
    #[must_use]
    pub fn into_rows(self) -> Vec<Option<Rows>> {
        match self.answers {
            Answers::Snapshot(snapshot, rows) => {
                let rows = rows.into_iter();
                rows.map(|rows| rows.map(|rows| Rows::Snapshot(Arc::clone(&snapshot), rows)))
                    .collect()
            }
            Answers::Values(values) => {
                values.into_iter().map(|values| values.map(Rows::Values)).collect()
            }
        }
    }

    /// Writes what the service says about the key at this place of those that were asked, as
    /// [`Rows::write`] does, and gives whether it says anything. `before` is written before it.
    pub fn write(&self, at: usize, before: &[u8], body: &mut Vec<u8>) -> bool {
        match &self.answers {
            Answers::Snapshot(snapshot, rows) => {
                let Some(Some(rows)) = rows.get(at) else { return false };
                body.extend_from_slice(before);
                write_rows(body, &self.current, snapshot, rows.clone());
            }
            Answers::Values(values) => {
                let Some(Some(values)) = values.get(at) else { return false };
                body.extend_from_slice(before);
                write_values(body, &self.current, values);
            }
        }
        true
    }
}

/// Looks predictions up.
pub struct Predictions {
    store: Store,
    pointers: Arc<Pointers>,
    coalescer: Coalescer,
}

impl Predictions {
    /// Starts the workers and the tasks that keep the list of current generations fresh, and their snapshots
    /// where there is a place for them, until `shutdown`; must be called within a Tokio runtime.
    #[must_use]
    pub fn start(
        store: Store,
        snapshots: Option<Arc<Snapshots>>,
        shutdown: CancellationToken,
    ) -> Self {
        let pointers = Arc::new(Pointers::new(store.clone(), snapshots.clone()));
        if let Some(snapshots) = snapshots {
            tokio::spawn(keeping::keep(pointers.clone(), snapshots, shutdown.clone()));
        }
        tokio::spawn(pointers.clone().keep_fresh(shutdown));
        Self { coalescer: Coalescer::start(&store), pointers, store }
    }

    /// Whether it is known which generation each service shows.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.pointers.is_fresh()
    }

    /// The generation that a service shows, as far as it is known without asking.
    #[must_use]
    pub fn known(&self, tenant: &str, service: &str) -> Option<Arc<Current>> {
        self.pointers.find(tenant, service)
    }

    /// Reads anew which generation each service shows.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.pointers.refresh().await
    }

    /// The generation that a service shows.
    ///
    /// Only a service that shows none costs a query: it may be unknown, or not published yet.
    pub async fn current(&self, tenant: &str, service: &str) -> Result<Arc<Current>, LookupError> {
        if let Some(current) = self.pointers.find(tenant, service) {
            return Ok(current);
        }
        let unknown = || LookupError::NotFound(format!("{tenant}/{service}"));
        let (Ok(tenant), Ok(service)) = (tenant.parse(), service.parse()) else {
            return Err(unknown());
        };
        let record = services::find(&self.store, &tenant, &service).await?.ok_or_else(unknown)?;
        if record.current_generation.is_some() {
            self.pointers.refresh().await?;
            if let Some(current) = self.pointers.find(tenant.as_str(), service.as_str()) {
                return Ok(current);
            }
        }
        Err(LookupError::NotPublished(ServicePath::new(tenant, service)))
    }

    /// The generations that a tenant's services show, by the services' names.
    ///
    /// As with [`Predictions::current`], only a tenant that shows none costs a query.
    pub async fn published(&self, tenant: &TenantName) -> Result<Vec<Arc<Current>>, LookupError> {
        let known = self.pointers.of_tenant(tenant.as_str());
        if !known.is_empty() {
            return Ok(known);
        }
        self.pointers.refresh().await?;
        Ok(self.pointers.of_tenant(tenant.as_str()))
    }

    /// How things stand with snapshots.
    #[must_use]
    pub fn snapshots(&self) -> SnapshotState {
        self.pointers.snapshots()
    }

    /// What `current`, or its successor, says about `key`.
    pub async fn one(&self, current: Arc<Current>, key: Key) -> Result<Found, LookupError> {
        if let Some(snapshot) = current.snapshot() {
            return match snapshot.find(key.as_ref()) {
                Some(rows) => {
                    let rows = Rows::Snapshot(Arc::clone(snapshot), rows);
                    Ok(Found { current, key, rows })
                }
                None => Err(LookupError::UnknownKey { current, key: key.to_string() }),
            };
        }
        let (current, found) = match self.coalescer.find(&current, key.clone()).await? {
            Err(error) if matches!(*error, StoreError::StaleGeneration(_)) => {
                let current = self.successor(&current).await?;
                let found = self.coalescer.find(&current, key.clone()).await?;
                (current, found)
            }
            found => (current, found),
        };
        match found.map_err(LookupError::Unavailable)? {
            Some(values) => Ok(Found { current, key, rows: Rows::Values(values) }),
            None => Err(LookupError::UnknownKey { current, key: key.to_string() }),
        }
    }

    /// What `current`, or its successor, says about `keys`; all answers are of one generation.
    pub async fn many(
        &self,
        current: Arc<Current>,
        keys: &[KeyRef<'_>],
    ) -> Result<FoundMany, LookupError> {
        if let Some(snapshot) = current.snapshot() {
            let snapshot = Arc::clone(snapshot);
            // All of them before any is written: one look-up's wait for memory covers the next one's.
            let rows: Vec<_> = keys.iter().map(|key| snapshot.find(*key)).collect();
            snapshot.preload(rows.iter().flatten().cloned());
            return Ok(FoundMany { current, answers: Answers::Snapshot(snapshot, rows) });
        }
        let keys = Arc::new(keys.iter().map(|key| key.to_key()).collect());
        match self.query_many(&current, &keys).await {
            Err(StoreError::StaleGeneration(_)) => {
                let current = self.successor(&current).await?;
                let values = self.query_many(&current, &keys).await?;
                Ok(FoundMany { current, answers: Answers::Values(values) })
            }
            found => Ok(FoundMany { current, answers: Answers::Values(found?) }),
        }
    }

    /// The generation that took the place of one whose table is gone: the copy of the pointer was
    /// older than the retention of generations.
    async fn successor(&self, gone: &Current) -> Result<Arc<Current>, LookupError> {
        self.pointers.refresh().await?;
        let path = &gone.served.path;
        self.current(path.tenant.as_str(), path.service.as_str()).await
    }

    async fn query_many(
        &self,
        current: &Arc<Current>,
        keys: &Arc<Vec<Key>>,
    ) -> Result<Vec<Option<Values>>, StoreError> {
        let (store, current, keys) = (self.store.clone(), current.clone(), keys.clone());
        // Its own task: a caller that goes away must not cut a query off on a pooled connection.
        let query = async move {
            let found = lookup::many(&store, &current.served, &keys).await?;
            Ok(found.into_iter().map(|found| found.map(|found| found.values)).collect())
        };
        match tokio::spawn(query).await {
            Ok(found) => found,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}
