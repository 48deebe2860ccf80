//! Taking a backup.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use cameo_bundle::artifact::{ArtifactError, ArtifactStore};
use cameo_store::{
    Store,
    backup::{Dump, NeededArtifact, note},
};
use futures_util::TryStreamExt;
use serde::Serialize;
use serde_json::json;

use crate::{
    BackupError, Manifest, TableRows,
    files::{LineWriter, digest_file, flush, write_small},
    manifest::{
        ANCHORS, ARTIFACTS, FORMAT, MANIFEST, SUMS, Sums, TABLES, artifact_file, name_of,
        table_file,
    },
};

const FOLDER_MODE: u32 = 0o700;

/// What was taken along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Where it is.
    pub folder: PathBuf,
    /// The schema of the database.
    pub schema: i64,
    /// How many tables.
    pub tables: usize,
    /// Their rows.
    pub rows: u64,
    /// How many artifacts.
    pub artifacts: usize,
    /// The size of all files.
    pub bytes: u64,
}

/// Takes a backup into the new folder `target`, which has its name when all of it is on the disk.
pub async fn take(
    store: &Store,
    artifacts: &ArtifactStore,
    target: &Path,
) -> Result<Taken, BackupError> {
    let target = std::path::absolute(target).map_err(BackupError::io("resolve", target))?;
    if fs::symlink_metadata(&target).is_ok() {
        return Err(BackupError::Exists(target));
    }
    let parent = target.parent().unwrap_or(&target).to_owned();
    fs::create_dir_all(&parent).map_err(BackupError::io("create the folder", &parent))?;
    let draft = tempfile::Builder::new()
        .prefix(".cameo-backup-")
        .tempdir_in(&parent)
        .map_err(BackupError::io("create a folder in", &parent))?;
    for folder in [TABLES, ARTIFACTS].map(|folder| draft.path().join(folder)) {
        DirBuilder::new()
            .mode(FOLDER_MODE)
            .create(&folder)
            .map_err(BackupError::io("create the folder", &folder))?;
    }

    let mut sums = Sums::default();
    let mut dump = Dump::begin(store).await?;
    let rows = tables(&mut dump, draft.path(), &mut sums).await?;
    let contents = dump.contents().clone();
    // Artifacts never change: the database need not wait for them.
    dump.end().await?;
    for needed in &contents.artifacts {
        sums.add(artifact_file(&needed.sha256), needed.sha256);
        copy(artifacts, needed, draft.path()).await?;
    }
    let mut anchors = artifacts.anchors().await.map_err(BackupError::Artifacts)?;
    // Of entries that were added since, the trail that comes back would seem cut off.
    anchors.retain(|anchor| anchor.entry <= contents.audit_entries);
    anchors.sort_by_key(|anchor| anchor.entry);
    let manifest =
        Manifest { format: FORMAT, cameo: env!("CARGO_PKG_VERSION").to_owned(), rows, contents };
    for (name, content) in [
        (ANCHORS, serde_json::to_vec_pretty(&anchors)),
        (MANIFEST, serde_json::to_vec_pretty(&manifest)),
    ] {
        let content = content.unwrap_or_default();
        sums.add(PathBuf::from(name), write_small(draft.path().join(name), content).await?);
    }
    write_small(draft.path().join(SUMS), sums.text().into_bytes()).await?;

    let bytes = settle(draft.path())?;
    let draft = draft.keep();
    fs::rename(&draft, &target).map_err(BackupError::io("give its name to", &target))?;
    flush(&parent)?;
    let taken = Taken {
        schema: manifest.contents.schema.version(),
        tables: manifest.rows.len(),
        rows: manifest.rows_total(),
        artifacts: manifest.contents.artifacts.len(),
        folder: target,
        bytes,
    };
    let detail = json!({ "taken_at": manifest.contents.taken_at, "rows": taken.rows });
    note(store, "platform.backed_up", &taken.folder.display().to_string(), detail).await?;
    Ok(taken)
}

async fn tables(
    dump: &mut Dump,
    folder: &Path,
    sums: &mut Sums,
) -> Result<Vec<TableRows>, BackupError> {
    let mut counted = Vec::new();
    for table in dump.contents().tables.clone() {
        let file = table_file(&table);
        let mut writer = LineWriter::create(folder.join(&file));
        let mut lines = std::pin::pin!(dump.rows(&table).await?);
        while let Some(line) = lines.try_next().await? {
            writer.write(&line).await;
        }
        let (rows, digest) = writer.finish().await?;
        sums.add(file, digest);
        counted.push(TableRows { table: name_of(&table), rows });
    }
    Ok(counted)
}

async fn copy(
    artifacts: &ArtifactStore,
    needed: &NeededArtifact,
    folder: &Path,
) -> Result<(), BackupError> {
    let file = folder.join(artifact_file(&needed.sha256));
    let failed = |source| BackupError::Artifact { needed_by: needed.needed_by.clone(), source };
    artifacts.get_file(&needed.sha256, &file).await.map_err(failed)?;
    let found = digest_file(file).await?;
    if found != needed.sha256 {
        return Err(failed(ArtifactError::Corrupt { expected: needed.sha256, found }));
    }
    Ok(())
}

/// Puts everything on the disk, and gives its size.
fn settle(folder: &Path) -> Result<u64, BackupError> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(BackupError::io("read", folder))? {
        let path = entry.map_err(BackupError::io("read", folder))?.path();
        bytes += if path.is_dir() {
            settle(&path)?
        } else {
            flush(&path)?;
            path.metadata().map_err(BackupError::io("read", &path))?.len()
        };
    }
    flush(folder)?;
    Ok(bytes)
}
