//! Why a package cannot be made or is refused.

use std::{io, path::PathBuf};

use cameo_bundle::ArtifactError;

use crate::signature::PublicKey;

/// Why a package cannot be made or is refused.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file of the bundle cannot be had.
    #[error(transparent)]
    Bundle(#[from] ArtifactError),
    /// A file cannot be read or written.
    #[error("`{path}` cannot be read or written")]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A bound of [`crate::limits`].
    #[error("{what} is {found}: expected at most {limit}")]
    TooLarge {
        /// What was counted.
        what: String,
        /// How much there is.
        found: u64,
        /// How much there may be.
        limit: u64,
    },
    /// Not a gzip of a tar, or one that breaks off.
    #[error(
        "this is no whole package: expected a file that `cameo package` made, found {found}; copy it again"
    )]
    Damaged {
        /// What is wrong with it.
        found: String,
    },
    /// Not what `cameo package` writes.
    #[error("the package is refused: expected {expected}, found {found}")]
    Refused {
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Nobody signed it, and somebody has to.
    #[error(
        "the package is not signed: expected a signature of one of the trusted keys ({trusted}); make it with \
         `cameo package --sign`"
    )]
    Unsigned {
        /// The keys that are trusted.
        trusted: String,
    },
    /// Somebody else signed it.
    #[error("the package is signed by {signer}: expected one of the trusted keys ({trusted})")]
    Untrusted {
        /// Who signed.
        signer: PublicKey,
        /// The keys that are trusted.
        trusted: String,
    },
    /// The signature is of other content.
    #[error(
        "the signature does not belong to the package: expected one of its manifest by {signer}, found one of \
         something else; sign it again"
    )]
    WrongSignature {
        /// Who is said to have signed.
        signer: PublicKey,
    },
}

impl PackageError {
    pub(crate) fn refused(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Refused { expected: expected.into(), found: found.into() }
    }

    pub(crate) fn damaged(error: &io::Error) -> Self {
        let found = match error.kind() {
            io::ErrorKind::UnexpectedEof => "one that breaks off".to_owned(),
            _ => error.to_string(),
        };
        Self::Damaged { found }
    }
}
