//! The REST API: look-ups, listings, run now, roll back, with `OpenAPI` and operations endpoints.
//!
//! A deployable role; it wires and translates. Who may see what is decided by `cameo_access`, what a
//! service says about a key by `cameo_serving`, everything else by `cameo_store`. A request passes, from
//! the outside: [`server`] (connections), [`envelope`] (id, place, metrics, errors), [`authorise`] (key and
//! tenant), [`limits`] (what the caller may use), its handler in [`routes`].

mod acting;
mod actions;
mod addresses;
mod app;
mod authorise;
mod body;
mod checked;
mod compression;
mod config;
mod envelope;
mod exports;
mod extract;
mod freshness;
mod limits;
mod metrics;
mod openapi;
mod problem;
mod progress;
mod router;
mod routes;
mod sensitive;
mod server;
mod values;

use std::{net::SocketAddr, sync::Arc};

use cameo_bundle::ArtifactStore;
use cameo_package::TrustedKeys;
use cameo_sealing::TenantKeys;
use cameo_serving::{Predictions, Snapshots};
use cameo_store::Store;
use cameo_warehouse::Warehouse;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use cameo_serving::SnapshotSettings;
pub use cameo_webhook::Reach;
pub use config::{Config, RateLimit, TenantLimits};
pub use router::document;

/// What the API stands on.
#[derive(Clone)]
pub struct Dependencies {
    /// The database, its migrations applied.
    pub store: Store,
    /// The process's metrics; the API adds its own and serves all of them.
    pub metrics: cameo_runtime::metrics::Metrics,
    /// What the features of a bundle that is planned are read from.
    pub warehouse: Arc<dyn Warehouse>,
    /// Where the models of a bundle that is applied go.
    pub artifacts: Arc<ArtifactStore>,
    /// Who may sign the bundles that are sent; without any, they need no signature.
    pub trusted_keys: Option<TrustedKeys>,
    /// What opens sensitive predictions.
    pub tenant_keys: Arc<TenantKeys>,
}

/// Why the API cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address or end what uses it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Listens; with port 0 the system chooses a port, which the listener knows.
pub async fn bind(config: &Config) -> Result<TcpListener, ApiError> {
    let address = config.listen;
    TcpListener::bind(address).await.map_err(|source| ApiError::Listen { address, source })
}

/// Serves on the configured address until `shutdown`, then drains.
pub async fn run(
    config: Config,
    dependencies: Dependencies,
    shutdown: CancellationToken,
) -> Result<(), ApiError> {
    let listener = bind(&config).await?;
    serve(listener, config, dependencies, shutdown).await;
    Ok(())
}

/// Serves on `listener` until `shutdown`, then drains.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    dependencies: Dependencies,
    shutdown: CancellationToken,
) {
    // The list of generations must stay fresh while requests drain.
    let drained = CancellationToken::new();
    let _stop = drained.clone().drop_guard();
    let operations_only = config.operations_only;
    let app = app(config, dependencies, drained);
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, operations_only, "listening");
    }
    server::serve(listener, router::router(&app), &app, shutdown).await;
}

/// The API as a service that needs no connection, for tests; background tasks end with `shutdown`.
pub fn router(
    config: Config,
    dependencies: Dependencies,
    shutdown: CancellationToken,
) -> axum::Router {
    router::router(&app(config, dependencies, shutdown))
}

fn app(config: Config, dependencies: Dependencies, shutdown: CancellationToken) -> app::App {
    let snapshots = config.snapshots.clone().filter(|_| !config.operations_only);
    let snapshots = snapshots.and_then(|settings| open_snapshots(settings, &dependencies));
    let store = dependencies.store.clone();
    let predictions = Predictions::start(store.clone(), snapshots, shutdown.clone());
    let app = app::Shared::new(config, dependencies, Arc::new(predictions));
    app.limits.start(store, shutdown);
    app
}

/// The place for snapshots. Answers are worth more than their speed: where it cannot be used, Postgres
/// answers.
fn open_snapshots(
    settings: SnapshotSettings,
    dependencies: &Dependencies,
) -> Option<Arc<Snapshots>> {
    match Snapshots::open(dependencies.artifacts.clone(), settings) {
        Ok(snapshots) => Some(Arc::new(snapshots)),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "snapshots cannot be used; every look-up goes to Postgres"
            );
            None
        }
    }
}
