//! The API on a port of its own, for clients that are programs of their own.

use cameo_api::{Config, Dependencies, SnapshotSettings};
use cameo_runtime::metrics::Metrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::World;

/// More than the snapshots of a scenario take.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;

/// The API, listening.
pub struct RunningApi {
    /// Where it is.
    pub url: String,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl World {
    /// Lets the API listen as it does in production.
    pub async fn serve(&self) -> RunningApi {
        let snapshots = SnapshotSettings {
            folder: self.place.folder.join("snapshots"),
            in_place: true,
            bytes_max: SNAPSHOT_BYTES_MAX,
        };
        let config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            snapshots: Some(snapshots),
            ..Config::default()
        };
        let listener = cameo_api::bind(&config).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let store = self.place.store("cameo-api").await;
        let dependencies = Dependencies {
            tenant_keys: std::sync::Arc::new(self.place.tenant_keys(store.clone())),
            store,
            metrics: Metrics::new(),
            warehouse: self.place.warehouse(),
            artifacts: self.place.artifacts(),
            trusted_keys: None,
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(cameo_api::serve(listener, config, dependencies, shutdown.clone()));
        RunningApi { url: format!("http://{address}"), shutdown, task }
    }
}

impl RunningApi {
    /// Asks it to stop, as SIGTERM does, and waits for its end.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("the API ends");
    }
}
