//! How large a package may be.

use cameo_bundle::MODEL_BYTES_MAX;

/// Most bytes of a package as a file.
pub const PACKAGE_BYTES_MAX: u64 = 2 * MODEL_BYTES_MAX;
/// Most bytes of all its files together: a model, a preprocess model and their texts.
pub const FILES_BYTES_MAX: u64 = 2 * MODEL_BYTES_MAX + (64 << 20);
/// Most bytes of one file.
pub const FILE_BYTES_MAX: u64 = MODEL_BYTES_MAX;
/// Most files.
pub const FILES_MAX: usize = cameo_bundle::FILES_MAX;
/// Most bytes of the manifest.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of the signature's entry.
pub(crate) const SIGNATURE_BYTES_MAX: u64 = 4 << 10;
/// Most bytes of a file's name, which is what the oldest tar holds without an extension.
pub const NAME_BYTES_MAX: usize = 100;
/// Most bytes of the tar: every entry has a header and is filled up to a whole block.
pub(crate) const TAR_BYTES_MAX: u64 = FILES_BYTES_MAX
    + MANIFEST_BYTES_MAX
    + SIGNATURE_BYTES_MAX
    + (FILES_MAX as u64 + 4) * 2 * BLOCK_BYTES;
/// Bytes of a block of a tar.
pub(crate) const BLOCK_BYTES: u64 = 512;
