//! The way back.

use std::path::Path;

use cameo_bundle::artifact::ArtifactStore;
use cameo_domain::AuditAnchor;
use cameo_store::{
    Store,
    backup::{DumpedTable, Load, note, prove},
    invariants::Breach,
    schema,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    BackupError, Checked, Manifest,
    files::read_lines,
    manifest::{ANCHORS, artifact_file, name_of, table_file},
};

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The instant as of which everything is.
    pub taken_at: String,
    /// The schema that the backup had.
    pub from: i64,
    /// The schema that the database has now.
    pub to: i64,
    /// How many rows.
    pub rows: u64,
    /// How many artifacts.
    pub artifacts: usize,
    /// What does not hold, although it should: empty unless something is badly wrong.
    pub breaches: Vec<Breach>,
}

/// Restores a backup, all of which was checked, into an empty database and brings it up to date.
///
/// The database is filled by one transaction: a restore that fails or is killed leaves it empty. Artifacts are
/// stored first, under their digests, so that no row refers to one that is missing.
pub async fn restore(
    store: &Store,
    artifacts: &ArtifactStore,
    checked: &Checked,
) -> Result<Restored, BackupError> {
    let Checked { folder, manifest } = checked;
    let anchors = anchors(folder)?;
    let mut load = Load::begin(store, manifest.contents.clone()).await?;
    for needed in &manifest.contents.artifacts {
        let file = folder.join(artifact_file(&needed.sha256));
        artifacts.put_file(&file, &needed.sha256).await.map_err(BackupError::Artifacts)?;
    }
    for anchor in &anchors {
        artifacts.put_anchor(anchor).await.map_err(BackupError::Artifacts)?;
    }
    for table in &manifest.contents.tables {
        fill(&mut load, table, manifest, folder).await?;
    }
    load.finish().await?;
    let migrated = schema::migrate(store).await?;
    let taken_at = manifest.contents.taken_at.to_rfc3339();
    let detail = json!({ "taken_at": taken_at, "schema": migrated.from });
    note(store, "platform.restored", &folder.display().to_string(), detail).await?;
    Ok(Restored {
        taken_at,
        from: migrated.from,
        to: migrated.to,
        rows: manifest.rows_total(),
        artifacts: manifest.contents.artifacts.len(),
        breaches: prove(store).await?,
    })
}

async fn fill(
    load: &mut Load,
    table: &DumpedTable,
    manifest: &Manifest,
    folder: &Path,
) -> Result<(), BackupError> {
    let mut chunks = read_lines(folder.join(table_file(table)));
    let mut into = load.table(table).await?;
    while let Some(chunk) = chunks.recv().await {
        into.send(&chunk?).await?;
    }
    let found = into.finish().await?;
    let expected = manifest.rows_of(table).unwrap_or(0);
    if found != expected {
        return Err(BackupError::Rows { table: name_of(table), expected, found });
    }
    Ok(())
}

fn anchors(folder: &Path) -> Result<Vec<AuditAnchor>, BackupError> {
    let path = folder.join(ANCHORS);
    let text = std::fs::read_to_string(&path).map_err(BackupError::io("read", &path))?;
    serde_json::from_str(&text).map_err(|error| BackupError::NotABackup {
        folder: folder.to_owned(),
        reason: format!("{ANCHORS}: {error}"),
    })
}
