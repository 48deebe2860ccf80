//! The files of generations, searched at the end.

use std::path::PathBuf;

use cameo_bundle::artifact::ArtifactStore;
use cameo_domain::Key;
use cameo_snapshot::Snapshot;
use cameo_store::{
    Store,
    erasures::{self, Turn},
    snapshots::SnapshotFile,
};

use tempfile::TempDir;

use crate::ErasureError;

/// Searches the file of each generation that has one.
pub(crate) async fn search(
    store: &Store,
    artifacts: &ArtifactStore,
    turn: &Turn,
) -> Result<(), ErasureError> {
    for place in erasures::snapshots_to_search(store, turn).await? {
        let keys: Vec<Key> = place.keys.iter().map(|erased| erased.key.clone()).collect();
        let found = match &place.file {
            Some(file) => count(artifacts, file, keys).await?,
            None => vec![0; keys.len()],
        };
        erasures::snapshot_searched(store, turn, &place, &found).await?;
    }
    Ok(())
}

/// How many rows of each key a file has: where it lies, or fetched where the artifact store is elsewhere.
async fn count(
    artifacts: &ArtifactStore,
    file: &SnapshotFile,
    keys: Vec<Key>,
) -> Result<Vec<u64>, ErasureError> {
    let mut fetched: Option<TempDir> = None;
    let path: PathBuf = if let Some(path) = artifacts.file_of(&file.sha256) {
        path
    } else {
        let folder = tempfile::tempdir().map_err(ErasureError::Scratch)?;
        let path = folder.path().join("snapshot.arrow");
        artifacts.get_file(&file.sha256, &path).await?;
        fetched = Some(folder);
        path
    };
    let sha256 = file.sha256;
    let searching = tokio::task::spawn_blocking(move || -> Result<Vec<u64>, ErasureError> {
        let snapshot = Snapshot::open(&path, &sha256)?;
        let rows = |key: &Key| snapshot.find(key.as_ref()).map_or(0, |rows| rows.len() as u64);
        Ok(keys.iter().map(rows).collect())
    });
    let found = searching.await.map_err(|_| ErasureError::Ended)?;
    drop(fetched);
    found
}
