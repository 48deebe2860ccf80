//! Attaches snapshots to what is shown, and lets go of those that may not be served any more.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use cameo_domain::Sha256;
use cameo_store::snapshots::{self, SnapshotFile};
use tokio_util::sync::CancellationToken;

use crate::{
    current::Current,
    pointers::Pointers,
    snapshots::{FetchError, Snapshots},
};

/// How often copies are compared with what is recorded, when nothing else happens.
const PERIOD: Duration = Duration::from_secs(5);
/// How long a snapshot that could not be had is left alone; it doubles with each further time.
const PAUSE_FIRST: Duration = Duration::from_secs(10);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_mins(10);

/// When a snapshot that could not be had is tried again.
struct Failed {
    again_at: Instant,
    pause: Duration,
}

/// Fetches the snapshots of what is shown until `shutdown`, one after the other. One that cannot be had is
/// tried again later; meanwhile look-ups go to Postgres.
pub(crate) async fn keep(
    pointers: Arc<Pointers>,
    snapshots: Arc<Snapshots>,
    shutdown: CancellationToken,
) {
    let mut failed: HashMap<Sha256, Failed> = HashMap::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = pointers.wanting.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
        forget_what_is_gone(&pointers, &snapshots).await;
        let recorded = files_of(&pointers.shown());
        failed.retain(|sha256, _| recorded.contains(sha256));
        for current in pointers.shown() {
            let Some(file) = current.served.snapshot else { continue };
            let is_paused =
                failed.get(&file.sha256).is_some_and(|failed| Instant::now() < failed.again_at);
            if current.snapshot().is_some() || is_paused {
                continue;
            }
            let attached = tokio::select! {
                () = shutdown.cancelled() => return,
                attached = attach(&pointers, &snapshots, &current, &file) => attached,
            };
            match attached {
                Ok(()) => {
                    failed.remove(&file.sha256);
                }
                Err(error) => {
                    snapshots.count_failure();
                    let before = failed.get(&file.sha256).map(|failed| failed.pause * 2);
                    let pause = before.unwrap_or(PAUSE_FIRST).min(PAUSE_MAX);
                    failed.insert(file.sha256, Failed { again_at: Instant::now() + pause, pause });
                    tracing::warn!(
                        service = %current.served.path, generation = %current.served.generation,
                        error = &error as &dyn std::error::Error, ?pause,
                        "a snapshot cannot be had; Postgres answers, and it is tried again"
                    );
                }
            }
        }
    }
}

async fn attach(
    pointers: &Pointers,
    snapshots: &Snapshots,
    current: &Current,
    file: &SnapshotFile,
) -> Result<(), FetchError> {
    // Asked before each one: meanwhile something else may be shown.
    let snapshot = snapshots.fetch(file, &files_of(&pointers.shown())).await?;
    if current.attach(snapshot) {
        return Ok(());
    }
    Err(FetchError::OfAnother { sha256: file.sha256, generation: current.served.generation })
}

fn files_of(shown: &[Arc<Current>]) -> HashSet<Sha256> {
    shown.iter().filter_map(|current| Some(current.served.snapshot?.sha256)).collect()
}

/// Deletes copies whose table was dropped or has changed. Nothing is deleted unless the list was read.
async fn forget_what_is_gone(pointers: &Pointers, snapshots: &Snapshots) {
    if snapshots.is_empty() {
        return;
    }
    match snapshots::files(&pointers.store).await {
        Ok(recorded) => snapshots.keep_only(&recorded),
        Err(error) => tracing::debug!(%error, "cannot read which snapshots are recorded"),
    }
}
