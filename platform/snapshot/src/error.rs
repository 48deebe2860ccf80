//! Why a snapshot cannot be written or opened.

use std::path::PathBuf;

use arrow::error::ArrowError;
use cameo_domain::Sha256;

/// Why a snapshot cannot be written or opened.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be read or written.
    #[error("cannot {doing} the snapshot {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The content is not what was recorded: the file is damaged, cut short or another one.
    #[error(
        "the snapshot {} is damaged: expected the digest {expected}, found {found}; delete it, and it is fetched again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The digest that was recorded.
        expected: Sha256,
        /// The digest of what is there.
        found: Sha256,
    },
    /// The file is what was recorded, but no snapshot.
    #[error("the file {} is no snapshot: expected {expected}, found {found}", path.display())]
    NotASnapshot {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Arrow refuses the rows.
    #[error("the rows make no Arrow file")]
    Arrow(#[from] ArrowError),
    /// Rows must come in the order of what names them, each once.
    #[error("expected rows in ascending order of their key, found row {row} out of order")]
    OutOfOrder {
        /// The row, from 0.
        row: usize,
    },
    /// A row's number has 32 bits.
    #[error("expected at most {limit} rows, found more")]
    TooManyRows {
        /// The most rows of a snapshot.
        limit: usize,
    },
    /// So many keys have the same hash that look-ups would take long: someone chose them for that.
    #[error("expected keys whose hashes differ, found more than {limit} in one place of the index")]
    Crowded {
        /// The most slots that a look-up may visit.
        limit: usize,
    },
}
