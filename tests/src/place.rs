//! Where a world's parts are, so that another process can join it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use cameo_bundle::ArtifactStore;
use cameo_isolation::{Isolation, Program, child};
use cameo_runtime::{
    background::Background,
    clock::{Clock, ManualClock, SystemClock},
    metrics::Metrics,
};
use cameo_sealing::TenantKeys;
use cameo_store::{ConnectOptions, Store};
use cameo_warehouse::{Lake, LakeLimits, Warehouse};
use cameo_worker::WorkerMetrics;
use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{BEGINNING, at};

/// 32 zero bytes: what is sealed in a world is nobody's secret.
const MASTER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Database and folder of a world.
#[derive(Debug, Clone)]
pub struct Place {
    /// The database.
    pub database_url: String,
    /// Holds the Lake, the artifacts, the bundles and what spills.
    pub folder: PathBuf,
}

impl Place {
    pub(crate) fn lake_folder(&self) -> PathBuf {
        self.folder.join("lake")
    }

    /// Where the artifacts are.
    #[must_use]
    pub fn artifact_folder(&self) -> PathBuf {
        self.folder.join("artifacts")
    }

    /// What goes as soon as it has been used.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.folder.join("scratch")
    }

    /// What time it is for the processes of the world (see [`Place::tell_time`]).
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        let last = ManualClock::new(at(BEGINNING));
        Arc::new(SharedClock { file: self.clock_file(), last })
    }

    /// Sets the clock of the processes of the world.
    pub fn tell_time(&self, now: DateTime<Utc>) {
        let (file, draft) = (self.clock_file(), self.folder.join(".clock"));
        fs::write(&draft, now.to_rfc3339()).expect("the time is written");
        fs::rename(draft, file).expect("the time is told");
    }

    fn clock_file(&self) -> PathBuf {
        self.folder.join("clock")
    }

    pub(crate) fn bundle_folder(&self) -> PathBuf {
        self.folder.join("bundles")
    }

    /// Connects under a name that Postgres shows.
    pub async fn store(&self, name: &str) -> Store {
        // As each `main` does before anything else: webhooks go over TLS.
        cameo_runtime::tls::install_provider();
        let options = ConnectOptions::from_url(&self.database_url).expect("a URL");
        Store::connect(&options.application_name(name)).await.expect("Postgres answers")
    }

    pub(crate) fn warehouse(&self) -> Arc<dyn Warehouse> {
        let limits = LakeLimits::with_scratch(self.scratch());
        Arc::new(Lake::open(&self.lake_folder(), limits).expect("the Lake opens"))
    }

    /// The models of the world.
    #[must_use]
    pub fn artifacts(&self) -> Arc<ArtifactStore> {
        Arc::new(open_artifacts(&self.artifact_folder()))
    }

    /// What sensitive predictions are sealed with: the same master key in each process of the world.
    #[must_use]
    pub fn tenant_keys(&self, store: Store) -> TenantKeys {
        TenantKeys::new(store, Some(MASTER_KEY.parse().expect("a master key")))
    }

    /// A worker by the clock on the wall, on threads that give way and leave so many cores to others, as `cameo up`
    /// starts it.
    #[must_use]
    pub fn worker_behind(&self, config: cameo_worker::Config, left: usize) -> RunningWorker {
        let background = Background::start("worker", left).expect("threads");
        let (place, shutdown) = (self.clone(), CancellationToken::new());
        let stop = shutdown.clone();
        let task = background.handle().spawn(async move {
            let dependencies = place.worker("cameo-worker", Arc::new(SystemClock)).await;
            cameo_worker::run(config, dependencies, stop).await;
        });
        RunningWorker { shutdown, task, _background: Some(background) }
    }

    /// What a worker works with. It has connections of its own, under its own name.
    pub async fn worker(&self, name: &str, clock: Arc<dyn Clock>) -> cameo_worker::Dependencies {
        cameo_worker::Dependencies {
            store: self.store(name).await,
            warehouse: self.warehouse(),
            artifacts: self.artifacts(),
            tenant_keys: Arc::new(self.tenant_keys(self.store(name).await)),
            clock,
            metrics: WorkerMetrics::register(&Metrics::new()),
        }
    }
}

/// Models work in processes of their own, as in production; see `src/bin/cameo-test-model.rs` for what is
/// different there.
#[must_use]
pub fn isolation() -> Isolation {
    let tests = std::env::current_exe().expect("this program");
    // Cargo builds the programs of this package before its tests, one folder above them.
    let built = tests.ancestors().nth(2).expect("cargo's folder").join("cameo-test-model");
    assert!(built.is_file(), "{} is missing; run the tests with cargo", built.display());
    Isolation::Process(Program { path: built, arguments: vec![child::ARGUMENT.into()] })
}

fn open_artifacts(folder: &Path) -> ArtifactStore {
    fs::create_dir_all(folder).expect("a folder");
    ArtifactStore::open(&folder.display().to_string()).expect("the artifacts open")
}

/// A clock that shows what a file says, for several processes at once. It stands still until it is moved.
struct SharedClock {
    file: PathBuf,
    last: ManualClock,
}

impl Clock for SharedClock {
    fn now(&self) -> DateTime<Utc> {
        let told = fs::read_to_string(&self.file).ok().and_then(|text| text.parse().ok());
        if let Some(told) = told {
            self.last.set(told);
        }
        self.last.now()
    }
}

/// A worker that runs beside the scenario.
pub struct RunningWorker {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    _background: Option<Background>,
}

impl RunningWorker {
    /// Starts working.
    #[must_use]
    pub fn start(config: cameo_worker::Config, dependencies: cameo_worker::Dependencies) -> Self {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(cameo_worker::run(config, dependencies, shutdown.clone()));
        Self { shutdown, task, _background: None }
    }

    /// Asks the worker to stop, as SIGTERM does, and waits for its end.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("the worker ends");
    }
}
