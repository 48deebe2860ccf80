//! A bundle into the bytes of a package.

use std::{fs::File, io::Read};

use cameo_bundle::{Bundle, BundleFile};
use cameo_domain::Sha256;
use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use crate::{
    MANIFEST, SIGNATURE,
    error::PackageError,
    limits::FILE_BYTES_MAX,
    manifest::{FORMAT, Manifest, PackedFile, too_large},
    signature::SigningKey,
};

/// Readable for everyone; nothing in a package is run.
const MODE: u32 = 0o644;

/// Bundles as files that can be handed on.
pub struct Package;

impl Package {
    /// Packs the files of a bundle that was loaded without a problem. The same files, commit and key
    /// always give the same bytes.
    ///
    /// # Errors
    /// [`PackageError`] when a file has vanished or is larger than a package may hold.
    pub fn pack(
        bundle: &Bundle,
        commit: Option<String>,
        signer: Option<&SigningKey>,
    ) -> Result<Vec<u8>, PackageError> {
        let mut files = Vec::new();
        for file in bundle.files()? {
            let content = read(&file)?;
            let (bytes, sha256) = (content.len() as u64, Sha256::of(&content));
            files.push((PackedFile { name: file.name, bytes, sha256 }, content));
        }
        let listed = files.iter().map(|(file, _)| file.clone()).collect();
        let service = bundle.path.clone();
        let manifest = Manifest { format: FORMAT, service, commit, files: listed };
        manifest.check()?;
        let text = in_lines(&manifest);
        let mut entries = vec![(MANIFEST.to_owned(), text.clone())];
        if let Some(signer) = signer {
            entries.push((SIGNATURE.to_owned(), in_lines(&signer.sign(&text))));
        }
        entries.extend(files.into_iter().map(|(file, content)| (file.name, content)));
        archive(&entries)
    }
}

fn read(file: &BundleFile) -> Result<Vec<u8>, PackageError> {
    let failed = |source| PackageError::File { path: file.real.clone(), source };
    let mut content = Vec::new();
    File::open(&file.real)
        .and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut content))
        .map_err(failed)?;
    too_large(&format!("`{}`", file.name), content.len() as u64, FILE_BYTES_MAX)?;
    Ok(content)
}

/// JSON that a person can read in an unpacked package.
fn in_lines(value: &impl serde::Serialize) -> Vec<u8> {
    // Structs of texts and numbers always have a JSON form.
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}

/// A tar in which nothing depends on when, where and by whom it is made.
fn archive(entries: &[(String, Vec<u8>)]) -> Result<Vec<u8>, PackageError> {
    let failed = |source| PackageError::File { path: "package".into(), source };
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, content) in entries {
        let mut header = Header::new_ustar();
        header.set_path(name).map_err(failed)?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(content.len() as u64);
        header.set_mode(MODE);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        builder.append(&header, content.as_slice()).map_err(failed)?;
    }
    let encoder = builder.into_inner().map_err(failed)?;
    encoder.finish().map_err(failed)
}
