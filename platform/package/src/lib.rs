//! A bundle as one reproducible, signed file.
//!
//! A package is a gzip of a tar. Its first entry is the manifest (`manifest.json`): format, service,
//! git commit and, for each file, name, length and SHA-256. A signature of the manifest's bytes
//! follows where there is one (`manifest.sig`), then exactly the files of the manifest in the order of
//! their names. Owners, modes and times are fixed, so the same bundle always makes the same bytes.
//!
//! [`Package::unpack`] trusts nothing: it takes plain files only, each where, as long and with the hash
//! that the manifest says, within the bounds of [`limits`]; what is refused leaves no file behind.

mod error;
pub mod limits;
mod manifest;
mod pack;
mod read;
mod signature;
mod unpack;

pub use error::PackageError;
pub use manifest::{FORMAT, Manifest, PackedFile};
pub use pack::Package;
pub use signature::{KeyError, PublicKey, SigningKey, TrustedKeys};
pub use unpack::UnpackedPackage;

/// How a package's file name ends.
pub const EXTENSION: &str = "cameo";
/// Name of the manifest's entry.
const MANIFEST: &str = "manifest.json";
/// Name of the signature's entry.
const SIGNATURE: &str = "manifest.sig";
