//! Attaches snapshots to what is shown, fetches those of what is about to be, and lets go of those that may not be
//! served any more.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use cameo_domain::Sha256;
use cameo_store::snapshots::{self, SnapshotFile};
use tokio::time::MissedTickBehavior;
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

/// Fetches the snapshots of what is shown until `shutdown`, one after the other, then those of what is about to be. One
/// that cannot be had is tried again later; meanwhile look-ups go to Postgres.
pub(crate) async fn keep(
    pointers: Arc<Pointers>,
    snapshots: Arc<Snapshots>,
    shutdown: CancellationToken,
) {
    let mut failed = Failures::default();
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_all = tokio::select! {
            () = shutdown.cancelled() => return,
            () = pointers.wanting.notified() => true,
            _ = period.tick() => true,
            () = pointers.hinted.notified() => false,
        };
        let work = async {
            if is_all {
                forget_what_is_gone(&pointers, &snapshots).await;
                attach_all(&pointers, &snapshots, &mut failed).await;
            }
            fetch_upcoming(&pointers, &snapshots, &mut failed).await;
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = work => {}
        }
    }
}

async fn attach_all(pointers: &Pointers, snapshots: &Snapshots, failed: &mut Failures) {
    for current in pointers.shown() {
        let Some(file) = current.served.snapshot else { continue };
        if current.snapshot().is_some() || failed.is_paused(&file) {
            continue;
        }
        match attach(pointers, snapshots, &current, &file).await {
            Ok(()) => failed.remove(&file),
            Err(error) => {
                snapshots.count_failure();
                let pause = failed.add(&file);
                tracing::warn!(
                    service = %current.served.path, generation = %current.served.generation,
                    error = &error as &dyn std::error::Error, ?pause,
                    "a snapshot cannot be had; Postgres answers, and it is tried again"
                );
            }
        }
    }
}

async fn fetch_upcoming(pointers: &Pointers, snapshots: &Snapshots, failed: &mut Failures) {
    let upcoming = upcoming(pointers).await;
    for file in &upcoming {
        if failed.is_paused(file) {
            continue;
        }
        match snapshots.fetch(file, &files_of(&pointers.shown())).await {
            Ok(_) => failed.remove(file),
            Err(error) => {
                let pause = failed.add(file);
                tracing::info!(
                    snapshot = %file.sha256, error = &error as &dyn std::error::Error, ?pause,
                    "a snapshot cannot be had before its generation is published"
                );
            }
        }
    }
    let mut wanted = files_of(&pointers.shown());
    wanted.extend(upcoming.iter().map(|file| file.sha256));
    failed.keep_only(&wanted);
}

/// What could not be had lately.
#[derive(Default)]
struct Failures(HashMap<Sha256, Failed>);

impl Failures {
    fn is_paused(&self, file: &SnapshotFile) -> bool {
        self.0.get(&file.sha256).is_some_and(|failed| Instant::now() < failed.again_at)
    }

    /// Leaves a file alone for a time, which it gives.
    fn add(&mut self, file: &SnapshotFile) -> Duration {
        let before = self.0.get(&file.sha256).map(|failed| failed.pause * 2);
        let pause = before.unwrap_or(PAUSE_FIRST).min(PAUSE_MAX);
        self.0.insert(file.sha256, Failed { again_at: Instant::now() + pause, pause });
        pause
    }

    fn remove(&mut self, file: &SnapshotFile) {
        self.0.remove(&file.sha256);
    }

    fn keep_only(&mut self, wanted: &HashSet<Sha256>) {
        self.0.retain(|sha256, _| wanted.contains(sha256));
    }
}

/// The files of what is about to be published, as far as that is known.
async fn upcoming(pointers: &Pointers) -> Vec<SnapshotFile> {
    snapshots::upcoming(&pointers.store).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "cannot read what is about to be published");
        Vec::new()
    })
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
