//! Makes the immutable file of each generation, and deletes those that nobody serves any more.
//!
//! That of a large generation is made by its run, before it is published: readers have it when its turn comes, instead
//! of asking Postgres until it is there. All others, and what went wrong then, wait in a queue. It has
//! loops of its own, because a large generation takes seconds, and one of them for small generations alone: whoever
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
    generations::{Generation, SMALL_ROWS_MAX},
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
/// How long a publication waits for its snapshot. Then it goes on without.
const PUBLICATION_WAITS_MAX: Duration = Duration::from_mins(10);
/// How many bytes of a snapshot readers fetch, verify and map in a second, at the least. Who is slower asks Postgres
/// until then.
const FETCHED_BYTES_PER_SECOND: f64 = 100e6;

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
    let Some(task) = snapshots::claim(store, lease_seconds(config), rows_max).await? else {
        metrics.snapshots.waiting(snapshots::waiting(store).await?);
        return Ok(false);
    };
    attempt(config, dependencies, &task).await?;
    Ok(true)
}

/// Makes the snapshot of a sealed generation that its run is about to publish, and gives readers the time to fetch it.
/// Whatever goes wrong is left to the queue: a publication never fails for its snapshot.
pub async fn make_before_publication(
    config: &Config,
    dependencies: &Dependencies,
    generation: &Generation,
) {
    let Dependencies { store, .. } = dependencies;
    let made = tokio::time::timeout(PUBLICATION_WAITS_MAX, async {
        let begun = snapshots::begin(store, generation, lease_seconds(config)).await?;
        let Some(task) = begun else { return Ok(None) };
        attempt(config, dependencies, &task).await
    });
    match made.await {
        Ok(Ok(None)) => {}
        Ok(Ok(Some(written))) => {
            let seconds = written.bytes as f64 / FETCHED_BYTES_PER_SECOND;
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        }
        Ok(Err(error)) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "publishing without a snapshot: the queue cannot be asked"
        ),
        Err(_) => tracing::warn!(
            after = ?PUBLICATION_WAITS_MAX,
            "publishing without a snapshot: it takes too long; it is made later"
        ),
    }
}

fn lease_seconds(config: &Config) -> u32 {
    config.lease_seconds.min(LEASE_SECONDS)
}

/// Works on a task, and gives it back where that fails. Gives what was made, if anything.
async fn attempt(
    config: &Config,
    dependencies: &Dependencies,
    task: &SnapshotTask,
) -> Result<Option<Written>, StoreError> {
    let Dependencies { store, metrics, .. } = dependencies;
    hit("snapshot_claimed");
    let kept = leases::keep(store, task, lease_seconds(config));
    let made = work(config, dependencies, task).await;
    drop(kept);
    match made {
        Ok(written) => return Ok(written),
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
            match snapshots::retry(store, task, reason, not_before).await {
                Ok(()) | Err(StoreError::StaleTask(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

async fn work(
    config: &Config,
    dependencies: &Dependencies,
    task: &SnapshotTask,
) -> Result<Option<Written>, MakeError> {
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
        return Ok(None);
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
    Ok(Some(written))
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
