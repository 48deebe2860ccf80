//! Makes the members of segments, whenever one of their services shows something else or their definition
//! changed, and deletes the files that nobody needs any more.
//!
//! A loop of its own, because millions of members take seconds. Predictions come from snapshots, members go to
//! a file in the scratch folder and from there to the artifact store. A worker that dies leaves a row that
//! says which file it may have stored; the next one deletes that and begins anew.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cameo_bundle::{ArtifactError, ArtifactStore};
use cameo_crashpoint::hit;
use cameo_domain::Sha256;
use cameo_runtime::backoff::Backoff;
use cameo_segment::{
    Catalog, DefinitionError, EvaluateError, Members, Read, Selection, Source,
    membership::{Label, MembershipError, MembershipWriter},
};
use cameo_snapshot::{Digesting, Snapshot, SnapshotError};
use cameo_store::{
    Store, StoreError, leases,
    segments::{self, LeftOver, Made, SegmentTask},
    snapshots,
};
use tokio_util::sync::CancellationToken;

use crate::{Config, Dependencies, repeat::repeat, snapshots::sweep};

/// Another worker may take a segment over after this many seconds without a renewal.
const LEASE_SECONDS: u32 = 60;
/// How long a segment waits for the snapshot of one of its services.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(1);
/// Between attempts. A worker never gives up: the last members stay.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(2), max: Duration::from_mins(5) };
/// How the folders in the scratch folder begin.
const FOLDER_PREFIX: &str = "cameo-segment-";

/// Why members were not made this time.
#[derive(Debug, thiserror::Error)]
enum MakeError {
    /// A worker makes the snapshot now.
    #[error("the snapshot of a service is not ready")]
    NoSnapshot,
    /// What the definition names is not there any more.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Membership(#[from] MembershipError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("the scratch folder cannot be used")]
    Scratch(#[source] std::io::Error),
    #[error("the task that made the members ended early")]
    Ended,
}

/// Makes members until `shutdown`, as [`repeat`] says.
pub(crate) async fn run(
    config: Arc<Config>,
    dependencies: Dependencies,
    shutdown: CancellationToken,
) {
    sweep(&config.scratch, FOLDER_PREFIX);
    let turn = || step(&config, &dependencies);
    repeat("could not look for segments that are due", config.drain, &shutdown, turn).await;
}

/// Deletes what nobody may read, and makes the members of the next segment that is due; `false` where none is, or
/// where it waits for a snapshot.
///
/// # Errors
/// Only when the queue cannot be asked; what failed otherwise is recorded and tried again later.
pub async fn step(config: &Config, dependencies: &Dependencies) -> Result<bool, StoreError> {
    let store = &dependencies.store;
    let lease_seconds = config.lease_seconds.min(LEASE_SECONDS);
    if let Some(left_over) = segments::claim_left_over(store, lease_seconds).await? {
        return delete(dependencies, &left_over).await;
    }
    let Some(task) = segments::claim(store, lease_seconds).await? else { return Ok(false) };
    hit("segment_claimed");
    let kept = leases::keep(store, &task, lease_seconds);
    let made = make(config, dependencies, &task).await;
    drop(kept);
    let is_waiting = matches!(made, Err(MakeError::NoSnapshot));
    let ended = match made {
        Ok(()) => Ok(()),
        Err(MakeError::Store(error)) if matches!(error, StoreError::StaleSegment { .. }) => {
            segments::let_go(store, &task).await.and(Err(error))
        }
        Err(MakeError::NoSnapshot) => {
            let not_before = dependencies.clock.now() + SNAPSHOT_WAIT;
            segments::retry(store, &task, None, not_before).await
        }
        // Trying again would find the same: the next publication, or another definition, may help.
        Err(
            error @ (MakeError::Definition(_)
            | MakeError::Evaluate(EvaluateError::Column { .. } | EvaluateError::Keys)),
        ) => {
            tracing::warn!(
                tenant = %task.tenant, segment = %task.segment, error = &error as &dyn std::error::Error,
                "a segment no longer fits what its services predict; its last members stay"
            );
            dependencies.metrics.segments.refused.inc();
            segments::refuse(store, &task, &error.to_string()).await
        }
        Err(error) => {
            dependencies.metrics.segments.errors.inc();
            let wait = BACKOFF.after(task.attempt);
            tracing::warn!(
                tenant = %task.tenant, segment = %task.segment, error = &error as &dyn std::error::Error,
                ?wait, "could not make the members of a segment; will try again"
            );
            let not_before = dependencies.clock.now() + wait;
            segments::retry(store, &task, Some(&error.to_string()), not_before).await
        }
    };
    match ended {
        // Nothing can be done before the snapshot is there.
        Ok(()) if is_waiting => Ok(false),
        // Somebody else has it: it is theirs to say what becomes of it.
        Ok(()) | Err(StoreError::StaleSegment { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Deletes files that are unwanted. Where that fails, the lease runs out and it is tried again.
async fn delete(dependencies: &Dependencies, left_over: &LeftOver) -> Result<bool, StoreError> {
    for file in &left_over.files {
        if let Err(error) = dependencies.artifacts.delete(file).await {
            tracing::warn!(
                tenant = %left_over.tenant, segment = %left_over.segment,
                error = &error as &dyn std::error::Error,
                "could not delete members that nobody may read; will try again"
            );
            return Ok(false);
        }
    }
    segments::left_over_deleted(&dependencies.store, left_over).await?;
    Ok(true)
}

async fn make(
    config: &Config,
    dependencies: &Dependencies,
    task: &SegmentTask,
) -> Result<(), MakeError> {
    let Dependencies { store, artifacts, .. } = dependencies;
    if let Some(left_over) = &task.announced {
        artifacts.delete(left_over).await?;
    }
    let started = tokio::time::Instant::now();
    std::fs::create_dir_all(&config.scratch).map_err(MakeError::Scratch)?;
    let folder = tempfile::Builder::new().prefix(FOLDER_PREFIX).tempdir_in(&config.scratch);
    let folder = folder.map_err(MakeError::Scratch)?;
    let files = fetch(store, artifacts, task, folder.path()).await?;
    let file = folder.path().join("members.arrow");
    let (to, of) = (file.clone(), task.clone());
    let made = tokio::task::spawn_blocking(move || write(&of, &files, &to));
    let made = made.await.map_err(|_| MakeError::Ended)??;
    hit("segment_written");
    segments::announce(store, task, &made.sha256).await?;
    hit("segment_announced");
    artifacts.put_file(&file, &made.sha256).await?;
    hit("segment_stored");
    if let Err(error) = segments::complete(store, task, made).await {
        // A commit whose answer was lost has recorded it: then it is nobody's to delete.
        segments::disown(store, task, &made.sha256).await?;
        return Err(error.into());
    }
    hit("segment_recorded");
    let seconds = started.elapsed().as_secs_f64();
    dependencies.metrics.segments.made(made.members, seconds);
    tracing::info!(
        tenant = %task.tenant, segment = %task.segment, number = task.number, members = made.members,
        bytes = made.bytes, seconds, "made the members of a segment"
    );
    Ok(())
}

/// Where the snapshot of each service lies on this machine, with its digest.
async fn fetch(
    store: &Store,
    artifacts: &ArtifactStore,
    task: &SegmentTask,
    folder: &Path,
) -> Result<Vec<(PathBuf, Sha256)>, MakeError> {
    let mut files = Vec::with_capacity(task.sources.len());
    for source in &task.sources {
        let file = snapshots::find(store, &task.tenant, source.generation).await?;
        let file = file.ok_or(MakeError::NoSnapshot)?;
        let path = if let Some(path) = artifacts.file_of(&file.sha256) {
            path
        } else {
            let path = folder.join(format!("{}.arrow", file.sha256));
            artifacts.get_file(&file.sha256, &path).await?;
            path
        };
        files.push((path, file.sha256));
    }
    Ok(files)
}

/// Writes the members to a file.
fn write(task: &SegmentTask, files: &[(PathBuf, Sha256)], to: &Path) -> Result<Made, MakeError> {
    let opened = files.iter().map(|(path, sha256)| Snapshot::open(path, sha256));
    let snapshots: Vec<Snapshot> = opened.collect::<Result<_, _>>()?;
    let of_services = || task.sources.iter().zip(&snapshots);
    let catalog: BTreeMap<_, _> = of_services()
        .map(|(source, snapshot)| (source.service.clone(), snapshot.schema().clone()))
        .collect();
    let Read { definition, condition } = task.definition.read(&Catalog::new(catalog))?;
    let sources: Vec<Source<'_>> = of_services()
        .map(|(source, snapshot)| Source {
            service: &source.service,
            schema: snapshot.schema(),
            batches: snapshot.batches(),
        })
        .collect();
    let selection = Selection {
        condition: &condition,
        sample: definition.sample.as_ref(),
        hold_out: definition.hold_out.as_ref(),
    };
    let members = Members::prepare(&selection, &definition.attributes, &sources)?;
    let label = Label {
        tenant: task.tenant.clone(),
        segment: task.segment.clone(),
        number: task.number,
        as_of: task.as_of(),
        generations: task.generations(),
    };
    let mut file = Digesting::new(File::create_new(to).map_err(MakeError::Scratch)?);
    let mut writer = MembershipWriter::new(&mut file, &label, members.schema())?;
    let count = members.each_batch(|batch| writer.write(&batch).map_err(MakeError::from))?;
    writer.finish()?;
    let bytes = file.bytes();
    let (sha256, _) = file.finish();
    Ok(Made { members: count.members, profiles: count.profiles, sha256, bytes })
}

/// Tells how far the segments of each tenant are.
pub(crate) async fn measure(dependencies: &Dependencies) {
    match segments::standing(&dependencies.store).await {
        Ok(standing) => dependencies.metrics.segments.standing(&standing),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "could not see how far the segments are"
        ),
    }
}

/// Deletes the files of materialisations that are no longer kept.
pub(crate) async fn clean(
    store: &Store,
    artifacts: &ArtifactStore,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for file in segments::expired(store).await? {
        artifacts.delete(&file.sha256).await?;
        segments::removed(store, &file).await?;
    }
    Ok(())
}
