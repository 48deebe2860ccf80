//! Claims runs, executes their plans and publishes.
//!
//! A worker holds a lease on each run that it executes and renews it while it works. A worker that
//! is killed, or paused past its lease, loses the run to another one; the epoch of the claim makes
//! every late write of the first one fail.

mod anchoring;
mod comparison;
mod erasing;
mod execution;
mod housekeeping;
mod lineage;
mod metrics;
mod places;
mod queue_metrics;
mod repeat;
mod segment_metrics;
mod segments;
mod snapshot_metrics;
mod snapshots;
mod verdict;
mod webhooks;

use std::{path::PathBuf, sync::Arc, time::Duration};

use cameo_bundle::artifact::ArtifactStore;
use cameo_crashpoint::hit;
use cameo_isolation::Isolation;
use cameo_openlineage::{Emitter, Sending};
use cameo_runtime::clock::Clock;
use cameo_sealing::TenantKeys;
use cameo_store::{
    By, Store,
    generations::SMALL_ROWS_MAX,
    lookup::{self, Hint},
    runs,
};
use cameo_warehouse::Warehouse;
use places::Places;
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use cameo_openlineage::{Receiver, emitter::TIMEOUT as RECEIVER_TIMEOUT};
pub use cameo_pipeline::Ceilings;
pub use cameo_webhook::Reach;
pub use comparison::compare_next;
pub use erasing::erase_next;
pub use metrics::WorkerMetrics;
pub use segments::step as make_next_members;
pub use snapshots::{make_before_publication, step as make_next_snapshot};

/// How a worker behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who holds the lease, for people: host and process.
    pub name: String,
    /// Runs that this worker executes at the same time; at most half of them are of one tenant.
    pub runs_max: usize,
    /// Threads of the warehouse engine and tasks that score, for each run.
    pub threads: usize,
    /// COPY connections for each run.
    pub writers: usize,
    /// A lease that is not renewed for this many seconds is lost.
    pub lease_seconds: u32,
    /// How often an idle worker asks for work.
    pub poll: Duration,
    /// How long a stopping worker lets its runs finish.
    pub drain: Duration,
    /// What a run may use at most, whatever its bundle asks for.
    pub ceilings: Ceilings,
    /// Where the models of bundles work.
    pub isolation: Isolation,
    /// Longest time that a model may take for one batch, or to load.
    pub model_time: Duration,
    /// For files that go as soon as they have been used: snapshots, before they are stored, and members of
    /// segments. They may be as large as the largest generation.
    pub scratch: PathBuf,
    /// A generation of more rows has its snapshot made before it is published.
    pub snapshot_first_above: u64,
    /// Who is told of each attempt by OpenLineage events.
    pub openlineage: Option<Receiver>,
    /// Which addresses webhooks may have.
    pub webhook_reach: Reach,
    /// Where the API is for those who are told by webhooks.
    pub public_url: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            name: format!("worker-{}", std::process::id()),
            runs_max: 4,
            threads: cores,
            writers: 2,
            lease_seconds: 30,
            poll: Duration::from_millis(500),
            drain: Duration::from_secs(30),
            ceilings: Ceilings::default(),
            isolation: Isolation::None,
            // A little longer than the model's own limit, which says how far it came.
            model_time: Duration::from_secs(10 * 60 + 30),
            scratch: std::env::temp_dir(),
            snapshot_first_above: SMALL_ROWS_MAX,
            openlineage: None,
            webhook_reach: Reach::Public,
            public_url: None,
        }
    }
}

impl Config {
    /// Whether a generation of so many rows has its snapshot made before it is published.
    #[must_use]
    pub fn makes_snapshot_first(&self, rows: u64) -> bool {
        rows > self.snapshot_first_above
    }
}

/// What a worker works with.
#[derive(Clone)]
pub struct Dependencies {
    /// Control plane and generations.
    pub store: Store,
    /// Source of features.
    pub warehouse: Arc<dyn Warehouse>,
    /// Models by hash.
    pub artifacts: Arc<ArtifactStore>,
    /// What sensitive predictions are sealed with.
    pub tenant_keys: Arc<TenantKeys>,
    /// The time that predictions carry.
    pub clock: Arc<dyn Clock>,
    /// Counters and histograms.
    pub metrics: WorkerMetrics,
}

/// Works until `shutdown`, then lets its runs finish for [`Config::drain`] and hands back the rest.
pub async fn run(config: Config, mut dependencies: Dependencies, shutdown: CancellationToken) {
    dependencies.store = dependencies.store.acting(By::new(&config.name, "worker"));
    let (emitter, sending) = start_telling(&config, &dependencies).unzip();
    let config = Arc::new(config);
    let places = Arc::new(Places::new(config.runs_max));
    let abandon = CancellationToken::new();
    let mut running = JoinSet::new();
    let housekeeping =
        tokio::spawn(housekeeping::run(dependencies.clone(), shutdown.child_token()));
    let comparison =
        tokio::spawn(comparison::run(dependencies.store.clone(), shutdown.child_token()));
    let snapshots = tokio::spawn(snapshots::run(
        Arc::clone(&config),
        dependencies.clone(),
        shutdown.child_token(),
    ));

    let segments = tokio::spawn(segments::run(
        Arc::clone(&config),
        dependencies.clone(),
        shutdown.child_token(),
    ));
    let webhooks = tokio::spawn(webhooks::run(
        Arc::clone(&config),
        dependencies.clone(),
        shutdown.child_token(),
    ));
    let erasing = tokio::spawn(erasing::run(
        Arc::clone(&config),
        dependencies.clone(),
        shutdown.child_token(),
    ));

    let work = Arc::new(Notify::new());
    let wanted = |hint: &Hint| matches!(hint, Hint::Runs | Hint::Reconnected);
    let listener = tokio::spawn(lookup::wake(dependencies.store.clone(), wanted, work.clone()));

    tracing::info!(worker = config.name, runs_max = config.runs_max, "worker started");
    while let Some(free) = places.next_free(&shutdown).await {
        while running.try_join_next().is_some() {}
        let (store, lease_seconds) = (&dependencies.store, config.lease_seconds);
        match runs::claim_in(store, &config.name, lease_seconds, &places.turn()).await {
            Ok(Some(claimed)) => {
                hit("run_claimed");
                dependencies.metrics.queue.claimed(&claimed.path.tenant, claimed.waited_seconds);
                let place = places.take(free, &claimed.path.tenant);
                let threads = place.threads(config.threads);
                let config = Config { threads, ..Config::clone(&config) };
                let dependencies = dependencies.clone();
                let (abandon, emitter) = (abandon.clone(), emitter.clone());
                running.spawn(async move {
                    let _place = place;
                    execution::execute(&config, &dependencies, emitter.as_ref(), claimed, abandon)
                        .await;
                });
            }
            Ok(None) => pause(config.poll, &work, &shutdown).await,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not ask for work");
                dependencies.metrics.claim_errors.inc();
                pause(config.poll, &work, &shutdown).await;
            }
        }
    }

    listener.abort();
    tracing::info!(runs = running.len(), "worker draining");
    let finish = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(config.drain, finish).await.is_err() {
        abandon.cancel();
        while running.join_next().await.is_some() {}
    }
    let _ = tokio::join!(housekeeping, comparison, snapshots, segments, erasing, webhooks);
    drop(emitter);
    if let Some(sending) = sending {
        sending.flush().await;
    }
    tracing::info!("worker stopped");
}

/// Starts what sends lineage events, where they are wanted. A run is worth more than what is told of it:
/// where sending cannot start, it is worked without.
fn start_telling(config: &Config, dependencies: &Dependencies) -> Option<(Emitter, Sending)> {
    let receiver = config.openlineage.clone()?;
    match Emitter::start(receiver, dependencies.metrics.openlineage.clone()) {
        Ok(started) => Some(started),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "OpenLineage events cannot be sent"
            );
            None
        }
    }
}

/// Waits for work: at most `length`, because a hint may be lost.
async fn pause(length: Duration, work: &Notify, shutdown: &CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = work.notified() => {}
        () = tokio::time::sleep(length) => {}
    }
}
