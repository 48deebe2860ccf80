//! Identifiers that the database hands out.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::hash::{HashError, Sha256};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

number!(
    /// One execution of a release for one due instant.
    RunId,
    i64
);
number!(
    /// The immutable predictions that a run produced.
    GenerationId,
    i64
);
number!(
    /// One request to erase a customer.
    ErasureId,
    i64
);
number!(
    /// How often a run has been claimed. A write by an older claim is refused.
    Epoch,
    i32
);

/// One immutable version of a bundle: the hash of its config, SQL and model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseId(pub Sha256);

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ReleaseId {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        text.parse().map(Self)
    }
}
