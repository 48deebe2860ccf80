//! The bytes of a package into a folder, or into nothing at all.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use cameo_domain::{ServicePath, Sha256};

use crate::{
    MANIFEST, SIGNATURE,
    error::PackageError,
    limits::{MANIFEST_BYTES_MAX, SIGNATURE_BYTES_MAX},
    manifest::Manifest,
    pack::Package,
    read::{self, Reader},
    signature::{PublicKey, Signature, TrustedKeys},
};

/// A package whose files lie in a folder again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedPackage {
    /// The bundle's folder.
    pub folder: PathBuf,
    /// Whose bundle it is.
    pub service: ServicePath,
    /// The git commit that it was made at.
    pub commit: Option<String>,
    /// Who signed it. Without trusted keys this says whose signature it is, not that it is worth
    /// anything.
    pub signed_by: Option<PublicKey>,
}

impl Package {
    /// Unpacks a package below `into`, an empty folder. With `trusted` keys one of them has to have
    /// signed it.
    ///
    /// # Errors
    /// [`PackageError`] with what was expected and found; `into` is then as empty as before.
    pub fn unpack(
        bytes: &[u8],
        into: &Path,
        trusted: Option<&TrustedKeys>,
    ) -> Result<UnpackedPackage, PackageError> {
        let failed = |source| PackageError::File { path: into.to_owned(), source };
        if fs::read_dir(into).map_err(failed)?.next().is_some() {
            return Err(PackageError::refused(
                "an empty folder",
                format!("files in {}", into.display()),
            ));
        }
        let mut tar = read::open(bytes)?;
        let mut reader = Reader::new(&mut tar)?;
        let (manifest, signed_by) = head(&mut reader, trusted)?;
        let written = files(&mut reader, &manifest, into);
        drop(reader);
        if let Err(error) = written.and_then(|()| read::finish(tar)) {
            // The folder was empty, so whatever lies there is from this package.
            let _ = fs::remove_dir_all(into.join(manifest.service.tenant.as_str()));
            return Err(error);
        }
        Ok(UnpackedPackage {
            folder: into
                .join(manifest.service.tenant.as_str())
                .join(manifest.service.service.as_str()),
            service: manifest.service,
            commit: manifest.commit,
            signed_by,
        })
    }
}

/// The manifest and who signed it, before any file is looked at.
fn head(
    reader: &mut Reader<'_, '_>,
    trusted: Option<&TrustedKeys>,
) -> Result<(Manifest, Option<PublicKey>), PackageError> {
    let text = reader.take(MANIFEST, MANIFEST_BYTES_MAX)?;
    let signature = match reader.peek()? {
        Some(SIGNATURE) => Some(reader.take(SIGNATURE, SIGNATURE_BYTES_MAX)?),
        _ => None,
    };
    let signature =
        signature.map(|bytes| parsed::<Signature>(&bytes, "a signature")).transpose()?;
    if let Some(trusted) = trusted {
        match &signature {
            None => return Err(PackageError::Unsigned { trusted: trusted.to_string() }),
            Some(signature) if !trusted.contains(&signature.key) => {
                let signer = signature.key;
                return Err(PackageError::Untrusted { signer, trusted: trusted.to_string() });
            }
            Some(_) => {}
        }
    }
    let signed_by = signature.map(|signature| signature.signer_of(&text)).transpose()?;
    let manifest: Manifest = parsed(&text, "a manifest")?;
    manifest.check()?;
    Ok((manifest, signed_by))
}

fn parsed<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, PackageError> {
    serde_json::from_slice(bytes).map_err(|error| PackageError::refused(what, error.to_string()))
}

/// Writes exactly the files of the manifest.
fn files(
    reader: &mut Reader<'_, '_>,
    manifest: &Manifest,
    into: &Path,
) -> Result<(), PackageError> {
    for file in &manifest.files {
        let content = reader.take(&file.name, file.bytes)?;
        if content.len() as u64 != file.bytes {
            return Err(PackageError::refused(
                format!("{} bytes of `{}`", file.bytes, file.name),
                content.len().to_string(),
            ));
        }
        let found = Sha256::of(&content);
        if found != file.sha256 {
            return Err(PackageError::refused(
                format!("`{}` with the SHA-256 {}", file.name, file.sha256),
                found.to_string(),
            ));
        }
        let path = into.join(&file.name);
        let failed = |source| PackageError::File { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut written = File::create_new(&path).map_err(failed)?;
        written.write_all(&content).map_err(failed)?;
    }
    match reader.peek()? {
        None => Ok(()),
        Some(name) => Err(PackageError::refused(
            "only files that the manifest names",
            format!("`{}`", name.escape_debug()),
        )),
    }
}
