//! Why a backup cannot be taken, trusted or restored.

use std::path::{Path, PathBuf};

use cameo_bundle::artifact::ArtifactError;
use cameo_domain::Sha256;
use cameo_store::StoreError;

/// Why a backup cannot be taken, trusted or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is something where the backup should go.
    #[error("{} exists: name a folder that does not, each backup goes into one of its own", .0.display())]
    Exists(PathBuf),
    /// The folder holds no backup, or an unfinished one.
    #[error("{} is no backup of Cameo: {reason}", folder.display())]
    NotABackup {
        /// The folder.
        folder: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// It was written by a version of Cameo that this one does not know.
    #[error("the backup has format {found}, this version of Cameo reads {known}: use a newer one")]
    Format {
        /// Its format.
        found: u32,
        /// The newest format that is read.
        known: u32,
    },
    /// A file is not what was written.
    #[error(
        "the backup is damaged: {} should have the digest {expected}, it has {found}; use another backup",
        file.display()
    )]
    Altered {
        /// The file.
        file: PathBuf,
        /// What was written.
        expected: Sha256,
        /// What is there.
        found: Sha256,
    },
    /// A file that belongs to the backup is not listed or not there.
    #[error("the backup is incomplete: {} is missing; use another backup", .0.display())]
    Incomplete(PathBuf),
    /// A table has more or fewer rows than were written.
    #[error("the backup is damaged: {table} should have {expected} rows, it has {found}")]
    Rows {
        /// The table.
        table: String,
        /// What the manifest says.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// An artifact that rows refer to cannot be had.
    #[error(
        "the artifact of {needed_by} cannot be copied; where it was removed at this moment, try again"
    )]
    Artifact {
        /// What refers to it.
        needed_by: String,
        /// What the artifact store says.
        source: ArtifactError,
    },
    /// The artifact store does not take an artifact, or the anchors.
    #[error("the artifact store failed")]
    Artifacts(#[source] ArtifactError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A task that reads or writes files ended early.
    #[error("a task of the backup ended early")]
    Ended,
}

impl BackupError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
