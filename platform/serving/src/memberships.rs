//! Membership files of segments, fetched and verified for those who read them.

use std::{
    collections::HashSet,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use cameo_bundle::{ArtifactError, ArtifactStore};
use cameo_domain::Sha256;
use cameo_segment::membership::{Membership, MembershipError};
use sha2::Digest as _;

/// Most files of which it is remembered that they are sound.
const VERIFIED_MAX: usize = 1_024;

/// How the folders of copies begin: workers delete old ones that killed processes left.
const FOLDER_PREFIX: &str = "cameo-segment-";

/// Why a membership file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MembershipFileError {
    /// The artifact store does not give it.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// It is no membership file.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// It cannot be kept while it is read.
    #[error("no file can be written for the members of a segment")]
    Scratch(#[source] io::Error),
    /// The task that verified it ended early.
    #[error("the task that verified a membership file ended early")]
    Ended,
}

/// Opens membership files by the hash of their bytes.
///
/// Where the artifact store is a folder of this machine, its file is read where it is. Else a copy is
/// fetched for each reader, and is gone when the reader is: memory and disk are bounded by the number of
/// readers.
#[derive(Debug)]
pub struct Memberships {
    artifacts: Arc<ArtifactStore>,
    scratch: PathBuf,
    verified: Mutex<HashSet<Sha256>>,
}

impl Memberships {
    /// Reads from `artifacts`, with copies in the folder `scratch`.
    #[must_use]
    pub fn new(artifacts: Arc<ArtifactStore>, scratch: PathBuf) -> Self {
        Self { artifacts, scratch, verified: Mutex::default() }
    }

    /// Opens a file whose bytes have the digest `hash`.
    pub async fn open(&self, hash: &Sha256) -> Result<Membership, MembershipFileError> {
        if let Some(path) = self.artifacts.file_of(hash) {
            let known = self.lock().contains(hash);
            let opened = opened(path, *hash, !known).await?;
            let mut verified = self.lock();
            if verified.len() >= VERIFIED_MAX {
                verified.clear();
            }
            verified.insert(*hash);
            return Ok(opened);
        }
        std::fs::create_dir_all(&self.scratch).map_err(MembershipFileError::Scratch)?;
        let folder = tempfile::Builder::new().prefix(FOLDER_PREFIX).tempdir_in(&self.scratch);
        let folder = folder.map_err(MembershipFileError::Scratch)?;
        let path = folder.path().join("members.arrow");
        self.artifacts.get_file(hash, &path).await?;
        // The name goes with the folder; what was opened stays readable.
        opened(path, *hash, true).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Sha256>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens, and where asked for verifies, on a thread that may block.
async fn opened(
    path: PathBuf,
    hash: Sha256,
    verify: bool,
) -> Result<Membership, MembershipFileError> {
    let task = tokio::task::spawn_blocking(move || {
        if verify {
            let found = digest(&path).map_err(MembershipFileError::Scratch)?;
            if found != hash {
                return Err(ArtifactError::Corrupt { expected: hash, found }.into());
            }
        }
        Ok(Membership::open(&path)?)
    });
    task.await.map_err(|_| MembershipFileError::Ended)?
}

fn digest(path: &Path) -> io::Result<Sha256> {
    let mut hasher = sha2::Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(Sha256::from(<[u8; 32]>::from(hasher.finalize())))
}
