//! The use cases: one key, many keys.

use std::sync::Arc;

use cameo_domain::{Key, ServicePath, TenantName};
use cameo_store::{
    Store, StoreError,
    lookup::{self, Value},
    services,
};
use tokio_util::sync::CancellationToken;

use crate::{coalesce::Coalescer, current::Current, error::LookupError, pointers::Pointers};

/// The values of the prediction columns, in declared order; of a service that ranks, one row after the other
/// by rank.
pub type Values = Vec<Value>;

/// What a service says about one key.
#[derive(Debug)]
pub struct Found {
    /// The generation that says it.
    pub current: Arc<Current>,
    /// The key as the service declares it.
    pub key: Key,
    /// What it says.
    pub values: Values,
}

/// What a service says about many keys, all from one generation.
#[derive(Debug)]
pub struct FoundMany {
    /// The generation that says it.
    pub current: Arc<Current>,
    /// For each key in the order asked: what it says, or nothing.
    pub values: Vec<Option<Values>>,
}

/// Looks predictions up.
pub struct Predictions {
    store: Store,
    pointers: Arc<Pointers>,
    coalescer: Coalescer,
}

impl Predictions {
    /// Starts the workers and the task that keeps the list of current generations fresh until
    /// `shutdown`; must be called within a Tokio runtime.
    #[must_use]
    pub fn start(store: Store, shutdown: CancellationToken) -> Self {
        let pointers = Arc::new(Pointers::new(store.clone()));
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

    /// What `current`, or its successor, says about `key`.
    pub async fn one(&self, current: Arc<Current>, key: Key) -> Result<Found, LookupError> {
        let (current, found) = match self.coalescer.find(&current, key.clone()).await? {
            Err(error) if matches!(*error, StoreError::StaleGeneration(_)) => {
                let current = self.successor(&current).await?;
                let found = self.coalescer.find(&current, key.clone()).await?;
                (current, found)
            }
            found => (current, found),
        };
        match found.map_err(LookupError::Unavailable)? {
            Some(values) => Ok(Found { current, key, values }),
            None => Err(LookupError::UnknownKey { current, key: key.to_string() }),
        }
    }

    /// What `current`, or its successor, says about `keys`; all answers are of one generation.
    pub async fn many(
        &self,
        current: Arc<Current>,
        keys: Vec<Key>,
    ) -> Result<FoundMany, LookupError> {
        let keys = Arc::new(keys);
        match self.query_many(&current, &keys).await {
            Err(StoreError::StaleGeneration(_)) => {
                let current = self.successor(&current).await?;
                let values = self.query_many(&current, &keys).await?;
                Ok(FoundMany { current, values })
            }
            found => Ok(FoundMany { current, values: found? }),
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
