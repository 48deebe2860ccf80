//! Copies each published generation to the warehouse, once.
//!
//! The outbox row is written by the transaction that publishes, so nothing published can be
//! forgotten. The load id follows from tenant, service and generation: a repeated load changes
//! nothing. After the load both sides are counted and summed up, and the result is recorded.
//!
//! A large generation takes minutes, so small ones have turns of their own beside it: whoever publishes ten million rows
//! after the other keeps nobody else's copies waiting.

mod metrics;

use std::{sync::Arc, time::Duration};

use cameo_batch::{RowDigest, arrow_schema};
use cameo_crashpoint::hit;
use cameo_domain::Reason;
use cameo_runtime::{backoff::Backoff, clock::Clock};
use cameo_store::{
    Store, StoreError,
    generations::SMALL_ROWS_MAX,
    leases,
    lookup::{self, Hint},
    outbox::{self, MirrorTask},
};
use cameo_warehouse::{LoadId, Warehouse, WarehouseError};
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use metrics::MirrorMetrics;

/// Between attempts. A mirror never gives up: the outbox row stays until it is done.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(2), max: Duration::from_mins(5) };

/// How a mirror behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// How often an idle mirror looks for work.
    pub poll: Duration,
    /// Another mirror may take a task over after this many seconds without a renewal.
    pub lease_seconds: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { poll: Duration::from_millis(500), lease_seconds: 60 }
    }
}

/// What a mirror works with.
#[derive(Clone)]
pub struct Dependencies {
    /// The outbox and the generations.
    pub store: Store,
    /// Where copies go.
    pub warehouse: Arc<dyn Warehouse>,
    /// When a failed load is tried again.
    pub clock: Arc<dyn Clock>,
    /// Counters and lag.
    pub metrics: MirrorMetrics,
}

/// Why a generation could not be mirrored this time.
#[derive(Debug, thiserror::Error)]
enum MirrorError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    #[error("the load id is unusable: {0}")]
    LoadId(#[from] cameo_warehouse::LoadIdError),
}

/// Mirrors until `shutdown`.
pub async fn run(config: Config, dependencies: Dependencies, shutdown: CancellationToken) {
    let work = Arc::new(Notify::new());
    let wanted = |hint: &Hint| matches!(hint, Hint::Outbox | Hint::Reconnected);
    let listener = tokio::spawn(lookup::wake(dependencies.store.clone(), wanted, work.clone()));
    tracing::info!("mirror started");
    let turns = Turns { config, dependencies, shutdown };
    // Only the turns for all are woken: the others find what those are too busy for.
    let never = Notify::new();
    tokio::join!(turns.take(None, &work), turns.take(Some(SMALL_ROWS_MAX), &never));
    listener.abort();
    tracing::info!("mirror stopped");
}

struct Turns {
    config: Config,
    dependencies: Dependencies,
    shutdown: CancellationToken,
}

impl Turns {
    /// Mirrors generations of at most `rows_max` rows, one after the other.
    async fn take(&self, rows_max: Option<u64>, work: &Notify) {
        while !self.shutdown.is_cancelled() {
            let worked = match next(&self.config, &self.dependencies, rows_max).await {
                Ok(worked) => worked,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "could not look for generations to mirror"
                    );
                    false
                }
            };
            if !worked {
                tokio::select! {
                    () = self.shutdown.cancelled() => break,
                    () = work.notified() => {}
                    () = tokio::time::sleep(self.config.poll) => {}
                }
            }
        }
    }
}

/// Mirrors the next generation; `false` when there is none.
///
/// # Errors
/// Only when the outbox cannot be asked; a failed load is recorded and retried later.
pub async fn step(config: &Config, dependencies: &Dependencies) -> Result<bool, StoreError> {
    next(config, dependencies, None).await
}

/// [`step`] for generations of at most `rows_max` rows.
async fn next(
    config: &Config,
    dependencies: &Dependencies,
    rows_max: Option<u64>,
) -> Result<bool, StoreError> {
    let Dependencies { store, metrics, .. } = dependencies;
    let lag = outbox::lag(store).await?;
    metrics.lag(lag);
    let Some(task) = outbox::claim(store, config.lease_seconds, rows_max).await? else {
        return Ok(false);
    };
    hit("mirror_claimed");
    // A load by two mirrors at once is harmless: both write the same load id.
    let kept = leases::keep(store, &task, config.lease_seconds);
    let result = mirror(dependencies, &task).await;
    drop(kept);
    match result {
        Ok(()) => {
            metrics.loaded.inc();
        }
        Err(error) => {
            metrics.errors.inc();
            let wait = BACKOFF.after(task.attempt);
            tracing::warn!(
                service = %task.path, generation = %task.generation, error = &error as &dyn std::error::Error, ?wait,
                "could not mirror a generation; will try again"
            );
            let reason = Reason::new("mirror", error.to_string());
            let not_before = dependencies.clock.now() + wait;
            outbox::retry(store, &task, reason, not_before).await?;
        }
    }
    Ok(true)
}

async fn mirror(dependencies: &Dependencies, task: &MirrorTask) -> Result<(), MirrorError> {
    let mut copy = load(dependencies, task, &task.load_id.to_string()).await?;
    if copy != Some(task.digest) {
        // The load was complete, or the load id would not have been accepted, but the copy is
        // damaged: another id replaces it.
        dependencies.metrics.mismatches.inc();
        tracing::error!(
            service = %task.path, generation = %task.generation, expected = ?task.digest,
            found = ?copy, "the mirror differs from the published generation; loading it again"
        );
        copy = load(dependencies, task, &format!("{}-{}", task.load_id, task.epoch)).await?;
    }
    let copy = copy.ok_or_else(|| {
        WarehouseError::Corrupt(format!("generation {} cannot be read back", task.generation))
    })?;
    hit("mirror_compared");
    outbox::complete(&dependencies.store, task, task.digest, copy).await?;
    hit("mirror_completed");
    tracing::info!(
        service = %task.path, generation = %task.generation, rows = copy.rows, "mirrored"
    );
    Ok(())
}

/// Loads the generation under `load_id`; gives count and checksum of what the warehouse then holds,
/// or nothing where that cannot be read.
async fn load(
    dependencies: &Dependencies,
    task: &MirrorTask,
    load_id: &str,
) -> Result<Option<RowDigest>, MirrorError> {
    let Dependencies { store, warehouse, .. } = dependencies;
    let (tenant, service) = (&task.path.tenant, &task.path.service);
    let load: LoadId = load_id.parse()?;
    let rows = outbox::rows(store, task).await?.map(|batch| {
        batch.map_err(|error| WarehouseError::Transient(format!("reading the generation: {error}")))
    });
    warehouse
        .load(tenant, service, &load, task.generation, arrow_schema(&task.schema), Box::pin(rows))
        .await?;
    hit("mirror_loaded");
    match warehouse.digest(tenant, service, task.generation).await {
        Ok(found) => Ok(Some(found)),
        Err(WarehouseError::Corrupt(reason)) => {
            tracing::warn!(service = %task.path, generation = %task.generation, reason, "no copy");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
