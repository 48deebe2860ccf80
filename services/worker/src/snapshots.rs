//! Makes the immutable file of each published generation, and deletes those that nobody serves any more.
//!
//! Loops of their own, because a large generation takes seconds, and one of them for small generations alone: whoever
//! publishes ten million rows again and again keeps nobody else's look-ups at Postgres. Rows come sorted out of Postgres,
//! go to a file in the scratch folder and from there to the artifact store, all in bounded memory. A worker that dies
//! leaves a row that says which file it may have stored; the next one deletes that and begins anew.

use std::{path::Path, sync::Arc, time::Duration};

use cameo_bundle::{ArtifactError, ArtifactStore};
use cameo_crashpoint::hit;
use cameo_domain::Reason;
use cameo_runtime::backoff::Backoff;
use cameo_snapshot::{SnapshotError, SnapshotWriter, Written};
use cameo_store::{
    Store, StoreError,
    generations::SMALL_ROWS_MAX,
    leases,
    snapshots::{self, SnapshotFile, SnapshotTask},
};
use futures_util::TryStreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{Config, Dependencies, repeat::repeat};

/// Another worker may take a task over after this many seconds without a renewal.
const LEASE_SECONDS: u32 = 60;
/// Between attempts. A worker never gives up: Postgres answers until then.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(2), max: Duration::from_mins(5) };
/// How the folders in the scratch folder begin.
const FOLDER_PREFIX: &str = "cameo-snapshot-";
/// A folder that is older was left by a worker that was killed.
const LEFT_OVER_AFTER: Duration = Duration::from_hours(24);
/// Batches that wait for the file.
const BATCHES_WAITING_MAX: usize = 2;

/// Why a snapshot was not made this time.
#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("the scratch folder cannot be used")]
    Scratch(#[source] std::io::Error),
    #[error("the task that writes the file ended early")]
    Ended,
}

/// Makes and deletes until `shutdown`, as [`repeat`] says.
pub(crate) async fn run(
    config: Arc<Config>,
    dependencies: Dependencies,
    shutdown: CancellationToken,
) {
    sweep(&config.scratch, FOLDER_PREFIX);
    let turns = async |rows_max| {
        let turn = || next(&config, &dependencies, rows_max);
        let trouble = "could not look for generations without a snapshot";
        repeat(trouble, config.drain, &shutdown, turn).await;
    };
    tokio::join!(turns(None), turns(Some(SMALL_ROWS_MAX)));
}

/// Deletes the folders that killed processes left in the scratch folder, by how their names begin. Others may use it
/// now: what they write is never as old.
pub(crate) fn sweep(scratch: &Path, prefix: &str) {
    for entry in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(prefix);
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
        if is_ours && age > LEFT_OVER_AFTER {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Makes or deletes the next snapshot; `false` where there is none.
///
/// # Errors
/// Only when the queue cannot be asked; what failed otherwise is recorded and tried again later.
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
    let lease_seconds = config.lease_seconds.min(LEASE_SECONDS);
    let Some(task) = snapshots::claim(store, lease_seconds, rows_max).await? else {
        metrics.snapshots.waiting(snapshots::waiting(store).await?);
        return Ok(false);
    };
    hit("snapshot_claimed");
    let kept = leases::keep(store, &task, lease_seconds);
    let made = work(config, dependencies, &task).await;
    drop(kept);
    match made {
        Ok(()) => {}
        // Somebody else has it, or its table is gone: it is theirs to say what becomes of it.
        Err(MakeError::Store(
            error @ (StoreError::StaleTask(_) | StoreError::StaleGeneration(_)),
        )) => {
            tracing::info!(%error, "a snapshot is no longer wanted from here");
        }
        Err(error) => {
            metrics.snapshots.errors.inc();
            let wait = BACKOFF.after(task.attempt);
            tracing::warn!(
                service = %task.path, generation = %task.generation, error = &error as &dyn std::error::Error, ?wait,
                "could not make a snapshot; will try again"
            );
            let reason = Reason::new("snapshot", cameo_pipeline::chain(&error));
            let not_before = dependencies.clock.now() + wait;
            match snapshots::retry(store, &task, reason, not_before).await {
                Ok(()) | Err(StoreError::StaleTask(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(true)
}

async fn work(
    config: &Config,
    dependencies: &Dependencies,
    task: &SnapshotTask,
) -> Result<(), MakeError> {
    let Dependencies { store, artifacts, metrics, .. } = dependencies;
    if !task.unwanted.is_empty() {
        for sha256 in &task.unwanted {
            artifacts.delete(sha256).await?;
        }
        hit("snapshot_deleted");
        snapshots::cleaned(store, task).await?;
        metrics.snapshots.deleted.inc_by(task.unwanted.len() as u64);
    }
    if !task.wanted {
        return Ok(());
    }
    let started = tokio::time::Instant::now();
    std::fs::create_dir_all(&config.scratch).map_err(MakeError::Scratch)?;
    let folder = tempfile::Builder::new().prefix(FOLDER_PREFIX).tempdir_in(&config.scratch);
    let folder = folder.map_err(MakeError::Scratch)?;
    let file = folder.path().join("snapshot.arrow");
    let written = write(store, task, &file).await?;
    hit("snapshot_written");
    store_file(store, artifacts, task, &file, &written).await?;
    let seconds = started.elapsed().as_secs_f64();
    metrics.snapshots.made(written.bytes, seconds);
    tracing::info!(
        service = %task.path, generation = %task.generation, rows = written.rows, bytes = written.bytes, seconds,
        "made a snapshot"
    );
    Ok(())
}

/// Writes the generation's rows to a file. The file is written on a thread of its own, while the next
/// batches arrive.
async fn write(store: &Store, task: &SnapshotTask, to: &Path) -> Result<Written, MakeError> {
    let mut writer = SnapshotWriter::create(to, &task.schema, task.generation)?;
    let (sender, mut batches) = mpsc::channel(BATCHES_WAITING_MAX);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(batch) = batches.blocking_recv() {
            writer.write(&batch)?;
        }
        Ok::<_, SnapshotError>(writer)
    });
    let mut rows = snapshots::rows(store, task).await?;
    while let Some(batch) = rows.try_next().await? {
        // A writer that failed says why below.
        if sender.send(batch).await.is_err() {
            break;
        }
    }
    drop(sender);
    let writer = writing.await.map_err(|_| MakeError::Ended)??;
    let finished = tokio::task::spawn_blocking(move || writer.finish());
    Ok(finished.await.map_err(|_| MakeError::Ended)??)
}

async fn store_file(
    store: &Store,
    artifacts: &ArtifactStore,
    task: &SnapshotTask,
    file: &Path,
    written: &Written,
) -> Result<(), MakeError> {
    snapshots::announce(store, task, &written.sha256).await?;
    hit("snapshot_announced");
    artifacts.put_file(file, &written.sha256).await?;
    hit("snapshot_stored");
    let recorded = SnapshotFile { sha256: written.sha256, bytes: written.bytes };
    if let Err(error) = snapshots::complete(store, task, &recorded).await {
        // A worker that slept past its lease stores what another one has deleted already.
        snapshots::disown(store, task, &written.sha256).await?;
        return Err(error.into());
    }
    hit("snapshot_recorded");
    Ok(())
}
