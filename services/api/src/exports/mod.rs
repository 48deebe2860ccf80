//! Exports: how many there may be, their files, and their bytes on the way to clients.
//!
//! An export may take minutes, so it is no request in flight once its head is sent: it has places of its
//! own, for the process and for each tenant, and it encodes in turns, so that look-ups keep a core.

mod stream;
mod target;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cameo_bundle::ArtifactStore;
use cameo_domain::{Sha256, TenantName};
use cameo_segment::{cursor::CursorKey, membership::Membership};
use cameo_serving::memberships::Memberships;
use cameo_store::{Store, StoreError, exports::cursor_secret};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::{
    config::Config,
    problem::{Code, Problem},
};

pub(crate) use target::{Wanted, wanted};

/// See the module.
pub(crate) struct Exports {
    memberships: Memberships,
    places: Arc<Semaphore>,
    /// How many exports each tenant has; without an entry none.
    tenants: Arc<Mutex<HashMap<TenantName, usize>>>,
    tenant_max: usize,
    turns: Arc<Semaphore>,
    stall: Duration,
    cursor_key: OnceCell<CursorKey>,
}

impl Exports {
    pub(crate) fn new(config: &Config, artifacts: Arc<ArtifactStore>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            memberships: Memberships::new(artifacts, config.scratch.clone()),
            places: Arc::new(Semaphore::new(config.exports_in_flight_max)),
            tenants: Arc::default(),
            tenant_max: config.exports_per_tenant_max,
            turns: Arc::new(Semaphore::new((cores / 2).max(1))),
            stall: config.export_stall,
            cursor_key: OnceCell::new(),
        }
    }

    /// A place for one more export of a tenant.
    pub(crate) fn begin(&self, tenant: &TenantName) -> Result<Place, Problem> {
        let refused = |whose: &str| {
            let detail =
                format!("{whose} as many exports under way as it can bear; try again later");
            Problem::new(Code::Overloaded, detail)
        };
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| refused("the server has"))?;
        let mut tenants = lock(&self.tenants);
        let count = tenants.entry(tenant.clone()).or_default();
        if *count >= self.tenant_max {
            return Err(refused("the tenant has"));
        }
        *count += 1;
        drop(tenants);
        Ok(Place { tenant: tenant.clone(), tenants: Arc::clone(&self.tenants), _of_process: place })
    }

    /// The members in a file.
    pub(crate) async fn open(&self, file: &Sha256) -> Result<Membership, Problem> {
        self.memberships.open(file).await.map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error, %file, "a membership file cannot be read"
            );
            Problem::new(Code::Unavailable, "the members cannot be read now; try again")
        })
    }

    /// What seals cursors.
    pub(crate) async fn cursor_key(&self, store: &Store) -> Result<&CursorKey, StoreError> {
        let read = async || Ok(CursorKey::new(&cursor_secret(store).await?));
        self.cursor_key.get_or_try_init(read).await
    }
}

/// The place of an export; free again when it is dropped.
pub(crate) struct Place {
    tenant: TenantName,
    tenants: Arc<Mutex<HashMap<TenantName, usize>>>,
    _of_process: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tenants = lock(&self.tenants);
        if let Some(count) = tenants.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                tenants.remove(&self.tenant);
            }
        }
    }
}

fn lock(tenants: &Mutex<HashMap<TenantName, usize>>) -> MutexGuard<'_, HashMap<TenantName, usize>> {
    tenants.lock().unwrap_or_else(PoisonError::into_inner)
}
