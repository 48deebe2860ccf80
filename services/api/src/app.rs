//! What every request shares.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use cameo_access::Authenticator;
use cameo_bundle::ArtifactStore;
use cameo_isolation::Isolation;
use cameo_package::TrustedKeys;
use cameo_sealing::TenantKeys;
use cameo_serving::Predictions;
use cameo_store::Store;
use cameo_warehouse::Warehouse;
use tokio::sync::Semaphore;

use crate::{
    Dependencies, config::Config, envelope::RequestIds, exports::Exports, limits::Limits,
    metrics::Metrics,
};

/// Handed to every handler; a clone is a reference count.
pub(crate) type App = Arc<Shared>;

/// See [`App`].
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) predictions: Arc<Predictions>,
    pub(crate) authenticator: Authenticator,
    pub(crate) metrics: Metrics,
    pub(crate) process_metrics: cameo_runtime::metrics::Metrics,
    pub(crate) request_ids: RequestIds,
    pub(crate) limits: Arc<Limits>,
    /// Places for batch look-ups among the requests in flight.
    pub(crate) batches: Semaphore,
    pub(crate) deployments: Deployments,
    pub(crate) exports: Exports,
    pub(crate) tenant_keys: Arc<TenantKeys>,
    draining: AtomicBool,
}

/// What bundles are planned and applied with.
#[derive(Clone)]
pub(crate) struct Deployments {
    pub(crate) warehouse: Arc<dyn Warehouse>,
    pub(crate) artifacts: Arc<ArtifactStore>,
    /// Who may sign; without any, everybody.
    pub(crate) trusted_keys: Option<Arc<TrustedKeys>>,
    /// Whether bundles with sensitive predictions are taken.
    pub(crate) seals: bool,
    /// Where the models of bundles work.
    pub(crate) isolation: Isolation,
    /// Places for bundles that are being looked at.
    pub(crate) turns: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        dependencies: Dependencies,
        predictions: Arc<Predictions>,
    ) -> App {
        let Dependencies {
            store,
            metrics: process_metrics,
            warehouse,
            artifacts,
            trusted_keys,
            tenant_keys,
        } = dependencies;
        let exports = Exports::new(&config, Arc::clone(&artifacts));
        let deployments = Deployments {
            warehouse,
            artifacts,
            trusted_keys: trusted_keys.map(Arc::new),
            seals: tenant_keys.master().is_ok(),
            isolation: config.isolation.clone(),
            turns: Arc::new(Semaphore::new(config.deployments_in_flight_max)),
        };
        let metrics = Metrics::register(&process_metrics);
        Arc::new(Self {
            limits: Limits::new(&config, &metrics),
            batches: Semaphore::new(config.batches_in_flight_max),
            authenticator: Authenticator::new(store.clone(), config.oidc.clone()),
            deployments,
            exports,
            tenant_keys,
            request_ids: RequestIds::new(),
            draining: AtomicBool::new(false),
            config,
            store,
            predictions,
            metrics,
            process_metrics,
        })
    }

    /// From now on `/readyz` fails.
    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
