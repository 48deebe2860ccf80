//! Whether a backup is what was written, file by file.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{
    BackupError, Manifest,
    files::digest_file,
    manifest::{FORMAT, MANIFEST, SUMS, Sums},
};

/// A backup that is what was written.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Where it is.
    pub folder: PathBuf,
    /// What it says about itself.
    pub manifest: Manifest,
}

/// Reads the whole backup in `folder` and compares every file with its digest.
///
/// # Errors
/// [`BackupError::NotABackup`], [`BackupError::Format`], [`BackupError::Incomplete`] and
/// [`BackupError::Altered`] say what is wrong with it.
pub async fn check(folder: &Path) -> Result<Checked, BackupError> {
    let sums = Sums::parse(folder, &text(folder, SUMS)?)?;
    // The manifest says which files there should be, so it comes first.
    compare(folder, PathBuf::from(MANIFEST), &sums).await?;
    let manifest = manifest(folder)?;
    for file in manifest.files() {
        compare(folder, file, &sums).await?;
    }
    for table in &manifest.contents.tables {
        if manifest.rows_of(table).is_none() {
            return Err(BackupError::NotABackup {
                folder: folder.to_owned(),
                reason: format!("{MANIFEST} counts no rows of {}.{}", table.schema, table.name),
            });
        }
    }
    Ok(Checked { folder: folder.to_owned(), manifest })
}

async fn compare(folder: &Path, file: PathBuf, sums: &Sums) -> Result<(), BackupError> {
    let expected = sums.of(&file)?;
    let found = match digest_file(folder.join(&file)).await {
        Err(BackupError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Err(BackupError::Incomplete(file));
        }
        found => found?,
    };
    if found != expected {
        return Err(BackupError::Altered { file, expected, found });
    }
    Ok(())
}

fn manifest(folder: &Path) -> Result<Manifest, BackupError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        format: u32,
    }
    let text = text(folder, MANIFEST)?;
    let wrong = |error: serde_json::Error| BackupError::NotABackup {
        folder: folder.to_owned(),
        reason: format!("{MANIFEST}: {error}"),
    };
    // Asked before the rest, which another format may say in other words.
    let Versioned { format } = serde_json::from_str(&text).map_err(wrong)?;
    if format != FORMAT {
        return Err(BackupError::Format { found: format, known: FORMAT });
    }
    serde_json::from_str(&text).map_err(wrong)
}

fn text(folder: &Path, name: &str) -> Result<String, BackupError> {
    let path = folder.join(name);
    fs::read_to_string(&path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => BackupError::NotABackup {
            folder: folder.to_owned(),
            reason: format!("it has no {name}; one that was broken off has none"),
        },
        _ => BackupError::Io { action: "read", path, source },
    })
}
