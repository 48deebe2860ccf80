//! Where bundles come from: a folder, or a package that is unpacked for as long as it is needed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use cameo_bundle::Diagnostic;
use cameo_package::{Package, TrustedKeys, limits::PACKAGE_BYTES_MAX};
use tempfile::TempDir;

/// Bundles that can be read.
pub(crate) struct Source {
    folder: PathBuf,
    package: Option<Unpacked>,
}

struct Unpacked {
    file: PathBuf,
    commit: Option<String>,
    place: TempDir,
}

impl Source {
    /// The folder, or the package with that name. With `trusted` keys only a package will do that one of
    /// them signed.
    pub(crate) fn open(path: &Path, trusted: Option<&TrustedKeys>) -> anyhow::Result<Self> {
        // What is not there is told with its code, as before there were packages.
        if !path.is_file() {
            if let Some(trusted) = trusted {
                bail!(
                    "{} is a folder, which nobody signed; expected a package signed by one of the trusted keys \
                     ({trusted}), so make it with `cameo package --sign`",
                    path.display()
                );
            }
            return Ok(Self { folder: path.to_owned(), package: None });
        }
        let name = path.display();
        let bytes = fs::metadata(path).with_context(|| format!("could not read {name}"))?.len();
        if bytes > PACKAGE_BYTES_MAX {
            bail!("{name} has {bytes} bytes: expected a package of at most {PACKAGE_BYTES_MAX}");
        }
        let content = fs::read(path).with_context(|| format!("could not read {name}"))?;
        let place = tempfile::tempdir().context("could not make a temporary folder")?;
        let unpacked = Package::unpack(&content, place.path(), trusted)
            .with_context(|| format!("{name} cannot be used"))?;
        Ok(Self {
            folder: unpacked.folder,
            package: Some(Unpacked { file: path.to_owned(), commit: unpacked.commit, place }),
        })
    }

    /// Where the bundles are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file, where the bundle came as a package.
    pub(crate) fn package(&self) -> Option<&Path> {
        Some(&self.package.as_ref()?.file)
    }

    /// The git commit that a package was made at; a folder's is git's to tell.
    pub(crate) fn packed_commit(&self) -> Option<&str> {
        self.package.as_ref()?.commit.as_deref()
    }

    /// Names files as whoever made the package knows them, not by the place where it was unpacked.
    pub(crate) fn name(&self, problems: &mut [Diagnostic]) {
        let Some(package) = &self.package else { return };
        for problem in problems {
            if let Ok(inside) = problem.file.strip_prefix(package.place.path()) {
                problem.file = package.file.join(inside);
            }
        }
    }
}

/// The keys that may sign, from files with a key a line. No file trusts nobody in particular.
pub(crate) fn trusted_keys(files: &[PathBuf]) -> anyhow::Result<Option<TrustedKeys>> {
    let mut trusted: Option<TrustedKeys> = None;
    for file in files {
        let name = file.display();
        let text = fs::read_to_string(file).with_context(|| format!("could not read {name}"))?;
        let keys: TrustedKeys =
            text.parse().with_context(|| format!("{name} holds no list of public keys"))?;
        match &mut trusted {
            Some(trusted) => trusted.extend(keys),
            None => trusted = Some(keys),
        }
    }
    Ok(trusted)
}
