//! The snapshots of what services show, on this machine: fetched, verified, mapped.
//!
//! A cache of files with a bound. What is shown is fetched in the background; until a snapshot is here, and
//! where it does not fit, look-ups go to Postgres. What is no longer shown stays as long as there is room, so
//! that a rollback finds it again; the least recently shown goes first. Where the artifact store is a folder
//! of this machine, its files are mapped where they are.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cameo_bundle::{ArtifactError, ArtifactStore};
use cameo_domain::{GenerationId, Sha256};
use cameo_snapshot::{Snapshot, SnapshotError};
use cameo_store::snapshots::SnapshotFile;

/// How the names of files that are whole end; they begin with their digest.
const WHOLE: &str = "arrow";
/// How the names of files end that are being fetched.
const PART: &str = "part";

/// Where snapshots are kept and how many of them.
#[derive(Debug, Clone)]
pub struct SnapshotSettings {
    /// The folder; no other process deletes or writes in it, apart from other APIs with the same settings.
    pub folder: PathBuf,
    /// Whether files are used where they are, if the artifact store is a folder of this machine; they are
    /// copied otherwise, as is right for a folder that is mounted from elsewhere.
    pub in_place: bool,
    /// Most bytes of all files, those that are mapped where the artifact store has them included.
    pub bytes_max: u64,
}

/// Why a snapshot is not here.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Even without everything that is not shown now there is no room.
    #[error(
        "a snapshot of {bytes} bytes does not fit beside those that are shown: the limit is {bytes_max} bytes"
    )]
    NoRoom {
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The artifact store does not give it.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// It is not what was recorded.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// It is whole, but of another generation than it was recorded for.
    #[error("the snapshot {sha256} is not of generation {generation}, for which it is recorded")]
    OfAnother {
        /// The file.
        sha256: Sha256,
        /// The generation.
        generation: GenerationId,
    },
    /// The folder cannot be used.
    #[error("the snapshots' folder {} cannot be used", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The task that verified it ended early.
    #[error("the task that verified a snapshot ended early")]
    Ended,
}

/// A file that is here.
#[derive(Debug)]
struct Held {
    bytes: u64,
    /// Mapped, once it was verified.
    snapshot: Option<Arc<Snapshot>>,
    place: Place,
    /// The greater, the more recently it was shown.
    used: u64,
}

#[derive(Debug)]
enum Place {
    /// In the folder of the cache.
    Cached(PathBuf),
    /// In the folder of the artifact store, which looks after it.
    Artifact,
}

/// The cache.
#[derive(Debug)]
pub struct Snapshots {
    artifacts: Arc<ArtifactStore>,
    settings: SnapshotSettings,
    held: Mutex<HashMap<Sha256, Held>>,
    uses: AtomicU64,
    parts: AtomicU64,
    failures: AtomicU64,
}

impl Snapshots {
    /// Takes over what an earlier process left in the folder. Nothing of it is served before it was verified.
    pub fn open(
        artifacts: Arc<ArtifactStore>,
        settings: SnapshotSettings,
    ) -> Result<Self, FetchError> {
        let unusable = |source| FetchError::Folder { folder: settings.folder.clone(), source };
        fs::create_dir_all(&settings.folder).map_err(unusable)?;
        let mut held = HashMap::new();
        for entry in fs::read_dir(&settings.folder).map_err(unusable)? {
            let entry = entry.map_err(unusable)?;
            let path = entry.path();
            let Some(sha256) = digest_of(&path) else { continue };
            let bytes = entry.metadata().map_err(unusable)?.len();
            let place = Place::Cached(path);
            held.insert(sha256, Held { bytes, snapshot: None, place, used: 0 });
        }
        Ok(Self {
            artifacts,
            settings,
            held: Mutex::new(held),
            uses: AtomicU64::new(1),
            parts: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    /// The snapshot, where it is mapped already.
    #[must_use]
    pub fn find(&self, file: &SnapshotFile) -> Option<Arc<Snapshot>> {
        let used = self.uses.fetch_add(1, Ordering::Relaxed);
        let mut held = self.lock();
        let held = held.get_mut(&file.sha256)?;
        held.used = used;
        held.snapshot.clone()
    }

    /// Bytes of all files that are here.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.lock().values().map(|held| held.bytes).sum()
    }

    /// How often a snapshot could not be had.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(crate) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Fetches, verifies and maps a snapshot, making room among those that are not `shown`.
    pub async fn fetch(
        &self,
        file: &SnapshotFile,
        shown: &HashSet<Sha256>,
    ) -> Result<Arc<Snapshot>, FetchError> {
        if let Some(snapshot) = self.find(file) {
            return Ok(snapshot);
        }
        let place = self.artifacts.file_of(&file.sha256).filter(|_| self.settings.in_place);
        if let Some(path) = place {
            self.make_room(file, shown)?;
            let snapshot = verified(&path, &file.sha256).await?;
            return Ok(self.keep(file, snapshot, Place::Artifact));
        }
        let whole = self.settings.folder.join(format!("{}.{WHOLE}", file.sha256));
        if whole.is_file() {
            match verified(&whole, &file.sha256).await {
                Ok(snapshot) => return Ok(self.keep(file, snapshot, Place::Cached(whole))),
                Err(error) => {
                    tracing::warn!(%error, "a cached snapshot cannot be used; it is fetched anew");
                    self.forget(&file.sha256);
                }
            }
        }
        self.make_room(file, shown)?;
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        let part = format!("{}-{}-{number}.{PART}", file.sha256, std::process::id());
        let part = Part(self.settings.folder.join(part));
        self.artifacts.get_file(&file.sha256, &part.0).await?;
        let snapshot = verified(&part.0, &file.sha256).await?;
        // Verified under its other name: a file of the name that counts is whole, and what is mapped
        // stays mapped.
        fs::rename(&part.0, &whole).map_err(|source| FetchError::Folder {
            folder: self.settings.folder.clone(),
            source,
        })?;
        Ok(self.keep(file, snapshot, Place::Cached(whole)))
    }

    fn keep(&self, file: &SnapshotFile, snapshot: Snapshot, place: Place) -> Arc<Snapshot> {
        let snapshot = Arc::new(snapshot);
        let used = self.uses.fetch_add(1, Ordering::Relaxed);
        let held =
            Held { bytes: snapshot.bytes(), snapshot: Some(Arc::clone(&snapshot)), place, used };
        self.lock().insert(file.sha256, held);
        snapshot
    }

    /// Deletes the least recently shown files until there is room for one more.
    fn make_room(&self, file: &SnapshotFile, shown: &HashSet<Sha256>) -> Result<(), FetchError> {
        let bytes_max = self.settings.bytes_max;
        let mut held = self.lock();
        loop {
            let others = held.iter().filter(|(sha256, _)| **sha256 != file.sha256);
            let taken: u64 = others.clone().map(|(_, held)| held.bytes).sum();
            if taken.saturating_add(file.bytes) <= bytes_max {
                return Ok(());
            }
            let idle = others.filter(|(sha256, _)| !shown.contains(sha256));
            let Some((sha256, _)) = idle.min_by_key(|(_, held)| held.used) else {
                return Err(FetchError::NoRoom { bytes: file.bytes, bytes_max });
            };
            let sha256 = *sha256;
            remove(&mut held, &sha256);
        }
    }

    /// Whether anything is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Deletes the copies of files that may not be served any more.
    pub(crate) fn keep_only(&self, recorded: &HashSet<Sha256>) {
        let mut held = self.lock();
        let gone: Vec<Sha256> =
            held.keys().filter(|sha256| !recorded.contains(sha256)).copied().collect();
        for sha256 in gone {
            remove(&mut held, &sha256);
        }
    }

    fn forget(&self, sha256: &Sha256) {
        remove(&mut self.lock(), sha256);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sha256, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a file, and deletes it where it is the cache's own. Who still answers from it keeps its map.
fn remove(held: &mut HashMap<Sha256, Held>, sha256: &Sha256) {
    if let Some(Held { place: Place::Cached(path), .. }) = held.remove(sha256)
        && let Err(error) = fs::remove_file(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "could not delete a snapshot");
    }
}

/// A file that is being fetched; deleted unless it was renamed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The digest that a whole file is named by.
fn digest_of(path: &Path) -> Option<Sha256> {
    let is_whole = path.extension().is_some_and(|extension| extension == WHOLE);
    is_whole.then(|| path.file_stem()?.to_str()?.parse().ok()).flatten()
}

/// Reads the whole file on a thread that may block.
async fn verified(path: &Path, expected: &Sha256) -> Result<Snapshot, FetchError> {
    let (path, expected) = (path.to_owned(), *expected);
    let opened = tokio::task::spawn_blocking(move || Snapshot::open(&path, &expected));
    Ok(opened.await.map_err(|_| FetchError::Ended)??)
}
